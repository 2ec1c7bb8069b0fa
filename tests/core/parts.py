"""One node's parts for direct calls: a Context with real roles and a recording machine."""

import random

from paxosd.core.acceptor import Acceptor
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.context import Context, Peer
from paxosd.core.learner import Learner
from paxosd.core.membership import UNKNOWN, Membership
from paxosd.core.messages import Prepare, PreVote, PreVoteReply
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer
from paxosd.core.quorum import Quorums
from paxosd.core.reads import LeaderReads
from paxosd.core.restart import Restart
from paxosd.core.state.leases import Leases
from paxosd.core.state.log_clock import NO_REIGN
from paxosd.core.types import NULL_BALLOT
from tests.core.member import PickleCodec


class ListMachine:
    """Remembers what was applied; each entry's result is its slot, once per command."""

    log_time_ms = 0
    membership = UNKNOWN
    settings = ClusterSettings()
    chain = 0
    latest_reign = NO_REIGN
    leases = Leases()
    """None, ever."""

    def __init__(self):
        self.applied = []
        self.checksums = {}

    def chain_at(self, slot):
        return None

    def apply(self, slot, batch, value=b""):
        self.applied.append((slot, batch))
        return [] if batch is None else [[slot] * len(e.commands) for e in batch.entries]


def make_options(name="n1", size=3, **options):
    quorums = options.pop("quorums", None) or Quorums([f"n{i + 1}" for i in range(size)])
    return NodeOptions(node=name, quorums=quorums, **options)


def make_context(name="n1", size=3, *, promised=None, accepted=None, commit=0, **options):
    settings = make_options(name, size, **options)
    ahead = settings.accept_ahead_slots_max
    ballots = [ballot for ballot, _ in (accepted or {}).values()]
    promised = max([promised or NULL_BALLOT, *ballots])
    acceptor = Acceptor(promised, accepted, commit, ahead)
    return Context(
        options=settings,
        membership=Membership.of_quorums(settings.quorums),
        rng=random.Random(1),
        acceptor=acceptor,
        learner=Learner(settings.quorums, commit, ahead),
        proposer=Proposer(settings),
        leader_reads=LeaderReads(settings.quorums),
        outbox=Outbox(name),
        machine=ListMachine(),
        codec=PickleCodec(),
        peers={n: Peer() for n in settings.quorums.voters if n != name},
        audience=[n for n in settings.quorums.voters if n != name],
    )


class Lone:
    """A whole node whose peers are the test: it collects what was persisted and sent."""

    def __init__(self, name="n1", size=3, *, run_id=1, records=(), **options):
        settings = make_options(name, size, **options.pop("settings", {}))
        contacts = [n for n in settings.quorums.voters if n != name]
        restart = Restart(machine=ListMachine(), run_id=run_id, **options)
        self.node = Node(settings, contacts, PickleCodec(), random.Random(1), restart)
        self.node.want_applied = True
        self.now = 0.0
        self.records, self.sends, self.publishes, self.applied = list(records), [], [], []
        self.replies = {}

    def turn(self, *, sync=True):
        """One turn of the loop; with ``sync`` the disk is done at once."""
        while True:
            self.node.tick(self.now, int(self.now))
            ready = self.node.ready()
            self.records += ready.persist
            self.sends += ready.sends
            self.publishes += ready.publishes
            self.applied += ready.applied
            self.replies.update(ready.replies)
            if not sync or not ready.ticket:
                return ready
            self.node.synced(ready.ticket)

    def hear(self, sender, message, *, run_id=1, sync=True):
        self.node.step(sender, run_id, message)
        return self.turn(sync=sync)

    def wait(self, ms):
        self.now += ms
        self.node.set_time(self.now, int(self.now))
        return self.turn()

    def sent(self, kind, to=None):
        return [m for dst, m in self.sends if isinstance(m, kind) and to in (None, dst)]

    def campaign(self, limit=40):
        """Let time pass with granted pre-votes until it sends a Prepare of a new campaign;
        returns its ballot."""
        before = self.node.status().elections
        for _ in range(limit):
            done = len(self.sends)
            self.wait(100)
            for to, message in self.sends[done:]:
                if isinstance(message, PreVote):
                    self.hear(to, PreVoteReply(message.ballot, True, NULL_BALLOT, 0))
            prepares = [m for _, m in self.sends[done:] if isinstance(m, Prepare)]
            if prepares and self.node.status().elections > before:
                return prepares[-1].ballot
        raise AssertionError("it does not campaign")
