"""One node that has just started; the test is its peers."""

import random

from paxosd.core.cluster_settings import DEFAULTS
from paxosd.core.founding import Proposal
from paxosd.core.genesis import Founder, Record
from paxosd.core.messages import (
    Accept,
    Heartbeat,
    HeartbeatAck,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    TransferLeadership,
    Welcome,
)
from paxosd.core.messages import Founding as FoundingMessage
from paxosd.core.node import Node
from paxosd.core.restart import Restart
from paxosd.core.run_id import make_run_id
from paxosd.core.state.machine import Machine
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.member import PickleCodec
from tests.core.parts import make_options

RUN_ID = make_run_id(1, 77)


B = Ballot(3, "n2")


PEERS_RUN_ID = make_run_id(1, 5)


WAIT_MS = 15_000


DIRECTORIES = {"n1": 7, "n2": 8, "n3": 9}


SETTINGS = DEFAULTS.to_command().decode()


def record(**directories):
    """The founding record of n1, n2, n3, out of these directories."""
    found = DIRECTORIES | directories
    return Record("c", {name: Founder(True, found[name]) for name in found}, SETTINGS)


class Newcomer:
    """n1 of three, which has just started."""

    def __init__(self, size=3, promised=NULL_BALLOT, run_id=RUN_ID, machine=None, **standing):
        names = [f"n{i + 1}" for i in range(size)]
        self.node = Node(
            make_options("n1", size, cluster="c"), names[1:], PickleCodec(), random.Random(1),
            Restart(machine=machine or Machine(), run_id=run_id, promised=promised, arriving=True,
                    **standing),
        )  # fmt: skip
        self.written = []
        self.now = 0.0
        self.notices = []

    def run(self, ms=0.0):
        """Time passes; what it sends meanwhile, all records being durable at once."""
        sent = []
        end = self.now + ms
        while True:
            self.node.tick(self.now, int(self.now))
            for _ in range(2):
                ready = self.node.ready()
                sent += ready.sends + [("all", accepted) for accepted in ready.publishes]
                self.notices += ready.notices
                if ready.ticket:
                    self.node.synced(ready.ticket)
                if self.node.founding_record is not None:
                    self.written.append(self.node.founding_record)
                    self.node.use_genesis(self.node.founding_record)
            if self.now >= end:
                return sent
            self.now = min(end, self.now + 50)

    def hear(self, sender, message, run_id=PEERS_RUN_ID):
        self.node.set_time(self.now, int(self.now))
        self.node.step(sender, run_id, message)

    def welcomed(self, *names):
        for name in names or ("n2", "n3"):
            self.hear(name, Welcome(self.node.run_id))
        return self

    def logged(self):
        return [notice.event for notice in self.notices]


def kinds(sent):
    return {type(message) for _, message in sent}


REQUESTS = [
    PreVote(B, 0),
    Prepare(B, 1),
    Accept(B, 1, b"", 0),
    Heartbeat(B, "n2", 0, 0, 1, 0),
    TransferLeadership(B),
]


ANSWERS = {PreVoteReply, Promise, Nack, HeartbeatAck, Prepare}


def proposal(members=("n1", "n2", "n3"), settings=SETTINGS, **directories):
    found = {name: DIRECTORIES.get(name, 0) for name in members} | directories
    return FoundingMessage(Proposal(dict.fromkeys(members, True), settings, found).to_json())


def restarted(**standing):
    """n1 with a memory, at its second start."""
    known = {"directory_id": 7, "record": record(), "start_mark": 20}
    return Newcomer(promised=B, run_id=make_run_id(2, 1), **known | standing)
