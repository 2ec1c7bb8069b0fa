"""A client protocol on a desk: the test is the network, the cluster and the clock."""

import random

from paxosd.core.client.calls import ClientOptions
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.commands import OPEN
from paxosd.core.requests import RefusalAnswer, WriteAnswer, WriteRequest
from paxosd.wire.status import decode_status

NO_SCOUT_MS = 1 << 30
"""As ``scout_ms``: a silent target is given up after the time-out of an attempt, and not before."""

A, B, C = "tcp://a:1", "tcp://b:1", "tcp://c:1"


class Desk:
    """``sent``: (endpoint, message) handed out and not yet looked at."""

    def __init__(self, endpoints=(A, B, C), up=(A, B, C), learns=False, seed=7, **options):
        self.now = 1000
        self.up = set(up)
        self.sent = []
        self.connects = []
        self.protocol = ClientProtocol(
            endpoints,
            decode_status=decode_status,
            encode_entry=lambda entry: entry,  # stays an Entry, to be looked at
            rng=random.Random(seed),
            options=ClientOptions(**options),
            learns=learns,
        )

    def put(self, *commands, timeout_ms=5000):
        calls = [self.protocol.submit(list(c), self.now, timeout_ms) for c in commands]
        self.turn()
        return calls

    def turn(self):
        """Until nothing more is handed out: connections that are up come about at once."""
        self.protocol.on_tick(self.now)
        while True:
            connects, sends = self.protocol.take(self.now)
            self.connects += connects
            self.sent += sends
            for endpoint in connects:
                if endpoint in self.up:
                    self.protocol.on_connected(endpoint, self.now)
                else:
                    self.protocol.on_disconnected(endpoint, "refused", self.now)
            if not connects and not sends:
                return
            self.protocol.on_tick(self.now)

    def wait(self, ms):
        """Let time pass in the steps that the protocol itself asks for."""
        until = self.now + ms
        while self.now < until:
            self.now = min(until, max(self.now + 1, self.protocol.next_due_ms()))
            self.turn()

    def next(self):
        """The oldest thing sent that was not looked at."""
        assert self.sent, "nothing was sent"
        return self.sent.pop(0)

    def answer(self, message, results, slot=9):
        self.protocol.on_answer(WriteAnswer(message.request_id, slot, results), self.now)
        self.turn()

    def refuse(self, message, code, hint="", detail=0):
        refusal = RefusalAnswer(message.request_id, code, f"it says {code}", "", hint, detail)
        self.protocol.on_answer(refusal, self.now)
        self.turn()

    def lose(self, endpoint):
        self.up.discard(endpoint)
        self.protocol.on_disconnected(endpoint, "lost", self.now)
        self.turn()

    def gain(self, endpoint):
        """It can be reached again."""
        self.up.add(endpoint)
        self.protocol.on_connected(endpoint, self.now)
        self.turn()

    def open(self, session=77):
        """Answer the request for a session; call it once a command waits."""
        _, message = self.next()
        assert isinstance(message, WriteRequest)
        assert message.entry.commands == [[OPEN]]
        self.answer(message, [(0, 0, session)])
