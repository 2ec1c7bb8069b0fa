"""Phase 2, execution and log exchange of one node without the other roles."""

import pickle

from paxosd.core.commands import PUT, Entry
from paxosd.core.execution import Execution
from paxosd.core.fair_queue import Waiting
from paxosd.core.log_exchange import LogExchange
from paxosd.core.messages import (
    Accept,
    Accepted,
)
from paxosd.core.replication import Replication
from paxosd.core.types import Ballot
from tests.core.parts import make_context
from tests.core.test_proposer import promise

B1, B2, B3, B9 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3"), Ballot(9, "n1")


ENTRY = Entry(1, 1, 0, [[PUT, b"k", b"v"]])


def value(name):
    return pickle.dumps((1, [pickle.dumps((1, 1, 0, [[PUT, b"k", name]]))]))


class Bench:
    """A Replication with its context; effects are taken by ``take``."""

    def __init__(self, name="n1", size=3, **options):
        self.context = make_context(name, size, **options)
        self.execution = Execution(self.context, lambda changed: None)
        self.exchange = LogExchange(self.context, self.execution)
        self.replication = Replication(self.context, self.execution, self.exchange)
        self.execution.want_applied = True

    def take(self, *, sync=True):
        """Effects since the last take; the node's own votes are counted."""
        outbox = self.context.outbox
        ready = self._drain()
        if sync and ready.ticket:
            outbox.synced(ready.ticket)
            more = self._drain()
            for kind in ("persist", "sends", "publishes", "serves", "replies", "applied"):
                getattr(ready, kind).extend(getattr(more, kind))
        return ready

    def _drain(self):
        outbox = self.context.outbox
        outbox.settle()
        while (message := outbox.self_message()) is not None:
            if isinstance(message, Accepted):
                self.replication.receive_accepted(self.context.node, 1, message)
        return outbox.take()

    def lead(self, *promises):
        proposer = self.context.proposer
        self.context.acceptor.promised = B9
        proposer.start(B9, self.context.learner.commit + 1, 0.0)
        for sender, message in promises or (("n1", promise(B9)), ("n2", promise(B9))):
            proposer.receive_promise(sender, message)
        commit = self.context.learner.commit
        self.replication.lead(proposer.take_lead(commit, self.context.now_ms, lambda v: False))

    def submit(self, token):
        waiting = Waiting(token, ENTRY, pickle.dumps(tuple(ENTRY)))
        assert self.context.proposer.enqueue(waiting)
        self.replication.propose_waiting()

    def accept(self, ballot, slot, held, commit=0, sender=None):
        message = Accept(ballot, slot, held, commit)
        return self.replication.receive_accept(sender or ballot.node, message)

    def votes(self, voter, ballot, first, last, seq=1):
        message = Accepted(ballot, ((first, last),), seq)
        self.replication.receive_accepted(voter, 1, message)

    def later(self, ms):
        self.context.now_ms += ms


def of(kind, sends, to=None):
    return [m for dst, m in sends if isinstance(m, kind) and to in (None, dst)]
