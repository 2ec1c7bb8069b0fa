"""A client on a desk that learns, and statuses for it to learn from."""

from paxosd.core.client.learning import (
    FIRST_MS,
    SPREAD_MS,
)
from paxosd.core.commands import PUT
from paxosd.core.requests import (
    AdminAnswer,
    AdminRequest,
    WriteRequest,
)
from tests.core.client.protocol_desk import Desk

MIB = 1 << 20
ONE = [PUT, b"k", b"v"]
HUGE = [PUT, b"k", bytes(17 * MIB)]


def status(*members, node="n1", leader="n1", epoch=0, value_bytes_max=MIB, **more):
    """A node's status, as far as a client reads it."""
    names = [f"n{number}" for number in range(1, len(members) + 1)]
    return {
        "node": node,
        "cluster": "test",
        "leader": leader,
        "epoch": epoch,
        "members": {
            name: {"client": client, "events": "tcp://events:1"}
            for name, client in zip(names, members, strict=True)
        },
        "settings": {"level": 1, "key_bytes_max": 4096, "value_bytes_max": value_bytes_max,
                     "commands_per_request_max": 1024, "session_window_max": 8192},
        "message_room": {"message_bytes_max": 16 * MIB, "part_bytes_max": 4 * MIB},
    } | more  # fmt: skip


class LearningDesk(Desk):
    """It learns, and has a session."""

    def __init__(self, *args, **options):
        super().__init__(*args, learns=True, **options)
        self.losses = 0

    def report(self, body):
        """Answer the oldest question for a status; returns the endpoint that it was sent to."""
        where, message = self.next()
        assert isinstance(message, AdminRequest), message
        self.protocol.on_answer(AdminAnswer(message.request_id, body), self.now)
        self.turn()
        return where

    def begin(self, body):
        """Have a session, and have learned once."""
        (call,) = self.put(ONE)
        self.open()
        self.answer(self.next()[1], [1])
        assert call.result == 1
        self.wait_question(FIRST_MS, FIRST_MS + SPREAD_MS)
        self.report(body)

    @property
    def asks(self):
        return any(isinstance(message, AdminRequest) for _, message in self.sent)

    def wait_question(self, least_ms, most_ms):
        """Let time pass until it asks for a status, which it does within these bounds."""
        began = self.now
        while not self.asks:
            assert self.now - began < most_ms, f"no question within {most_ms} ms"
            due = min(self.protocol.next_due_ms(), began + most_ms)
            self.wait(max(1, due - self.now))
        assert self.now - began >= least_ms
        return self.now - began

    def next_write(self):
        """The oldest write sent; what it asks for itself stays."""
        for sent in self.sent:
            if isinstance(sent[1], WriteRequest):
                self.sent.remove(sent)
                return sent
        raise AssertionError(f"no write was sent, but {self.sent}")

    @property
    def known(self):
        return [each.name for each in self.protocol.endpoints]
