"""An election alone, its peers played by the test."""

from paxosd.core.election import Election
from paxosd.core.messages import (
    Heartbeat,
    Nack,
    PreVote,
    PreVoteReply,
    Promise,
)
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.parts import make_context

B5 = Ballot(5, "n2")
TIMEOUT_MS = 600


class Bench:
    """An Election with its context; what it would send is durable at once when asked for."""

    def __init__(self, name="n1", size=3, **options):
        self.context = make_context(name, size, **options)
        self.led, self.stopped = [], []
        self.election = Election(self.context, self.led.append, self.on_stop)

    def on_stop(self, reason):
        self.stopped.append(reason)
        self.context.proposer.stop()

    def take(self, *, sync=True):
        outbox = self.context.outbox
        outbox.settle()
        ready = outbox.take()
        sends = ready.sends
        if sync and ready.ticket:
            outbox.synced(ready.ticket)
        while (message := outbox.self_message()) is not None:
            if isinstance(message, Promise):
                self.election.receive_promise("n1", message)
            elif isinstance(message, Nack):
                self.election.receive_nack("n1", message)
        outbox.settle()
        more = outbox.take()
        self.records = [*ready.persist, *more.persist]
        return [*sends, *more.sends]

    def wait(self, ms):
        self.context.now_ms += ms
        self.election.tick()
        return self.take()

    def prevote(self):
        """Wait until it asks for pre-votes; returns the ballot it asks about."""
        for _ in range(40):
            asked = [m for _, m in self.wait(50) if isinstance(m, PreVote)]
            if asked:
                return asked[0].ballot
        raise AssertionError("it asks for no pre-vote")

    def campaign(self):
        ballot = self.prevote()
        for voter in self.context.peers:
            self.election.receive_prevote_reply(
                voter, PreVoteReply(ballot, True, NULL_BALLOT, 0)
            )  # fmt: skip
        return self.context.proposer.ballot

    def lead(self):
        ballot = self.campaign()
        self.take()
        for voter in self.context.peers:
            self.election.receive_promise(voter, Promise(ballot, 1, 0, 0, ()))
        assert self.context.proposer.leading
        self.take()
        return ballot

    def heartbeat(self, sender, ballot, leader=None):
        message = Heartbeat(ballot, leader or sender, 0, 0, 0, 0)
        return self.election.receive_heartbeat(sender, message)


def answer_to(sends, kind):
    return [m for _, m in sends if isinstance(m, kind)]
