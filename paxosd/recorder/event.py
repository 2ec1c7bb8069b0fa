"""One recorded event: 40 bytes of numbers, whatever it is about.

    at_us u32       since the time at the head of its block
    kind u8         the number of the message's kind on the wire, or one of the kinds below
    peer u8         the other node, as a place in the block's names; 255: none
    voter u8        the node of the ballot, likewise
    code u8         what was done with a message, or how a request ended
    slot u64        the slot, or the first of a run
    round u64       of the ballot; 0: no ballot
    x u64, y u64    by kind, see ``messages.py`` and the constants here

An event's name is the node, the number of its start and its place in that run: ``n1/3:4711``.
Events of one node are in order. Across nodes a message is known by what it says (kind, ballot, slot
or stream number): it arrives after the first time that it was sent, so that one order fits all
nodes without a clock, and nothing on the wire is made for it.
"""

from struct import Struct
from typing import NamedTuple

EVENT_FORM = "IBBBBQQQQ"
"""One event, for ``struct``: little-endian, without gaps."""
EVENT_FIELDS = len(EVENT_FORM)
FORM = Struct(f"<{EVENT_FORM}")
EVENT_BYTES = FORM.size
KIND_AT = 4
"""Where the kind stands in it."""
NOBODY = 255
"""In place of a node."""
U64 = (1 << 64) - 1

# What was done with a message.
SENT = 1
RECEIVED = 2
PUBLISHED = 3
UNSENT = 4
"""It could not be handed to its connection."""

# Kinds that are no messages.
START = 128
"""A run begins. slot: applied; round, voter: the promise; x: the commit index of the log; y: the
directory's identity; code: 1 if its memory is known to be lost."""
COUNT_BIT = 48
WRITE = 129
"""A client's write was answered. x: session; y: the number of its first command, and from bit 48
on how many there are; slot: where it was chosen; round: how long ago it came, in microseconds;
code: how it ended."""
READ = 130
"""A client's linearizable read was answered. slot: up to which the state had been applied; round:
how long ago it came, in microseconds; y: its request id; code: how it ended."""
SYNCED = 131
"""A group commit is durable. slot: its number; round: its size in bytes; x: how long it took, in
microseconds; y: the records in it."""
APPLIED = 132
"""A slot was applied. round, voter: the ballot at which it was chosen, as far as is known here; x:
the chain after it (``core/state/chain.py``); y: the digest of its value."""
ADOPTED = 133
"""A promise reported this proposal. peer: whose promise; x: 0; y: the digest of its value."""
NOTE = 134
"""A line of the log, at level info or above. x: its place among the block's texts."""
PROMISED = 135
"""A promise was handed to the log, to be durable before anybody hears of it."""
VOTED = 136
"""A vote was handed to the log. y: the digest of its value."""

INSTALLED = 137
"""A snapshot took the place of all slots up to this one. slot: the last of them."""
MEMBER = 138
"""A membership is in force, with one event for each member, at a start and after each change. peer:
the member; code: 1 a voter; slot: from which one on; round: the epoch; x: the directory that votes
in its name, 0: any; y: the quorum of phase 1 and, from bit 32 on, of phase 2, 0: majorities."""
SUM = 139
"""A heartbeat carried this sum of its sender's state. peer, code: as of the heartbeat; slot: after
which one; x: the sum; y: its version and, from bit 8 on, its kind (``core/agreement.py``)."""
PROCESSOR = 140
"""What the loop's thread had of the processors since the event of this kind before. slot: how long
that was; x: how much of it it ran; y: how much of it it was ready to run and had to wait, all in
microseconds. What is left it slept, or was stopped."""

PARTIAL_BIT = 63
"""Set in the ``y`` of a promise whose report goes on in another one."""

KIND_NAMES = {
    START: "start",
    WRITE: "write",
    READ: "read",
    SYNCED: "synced",
    APPLIED: "applied",
    ADOPTED: "adopted",
    NOTE: "note",
    PROMISED: "promised",
    VOTED: "voted",
    INSTALLED: "installed",
    MEMBER: "member",
    SUM: "sum",
    PROCESSOR: "processor",
}
# How a request ended: 0 well, or the number of its refusal.
OUTCOMES = {
    "not_leader": 1,
    "no_leader": 2,
    "busy": 3,
    "invalid": 4,
    "interrupted": 5,
    "stopping": 6,
    "forbidden": 7,
    "compacted": 8,
    "diverged": 9,
    "unconfirmed_rights": 10,
}
OTHER_OUTCOME = 255
CODE_NAMES = {SENT: "sent", RECEIVED: "received", PUBLISHED: "published", UNSENT: "unsent"}


class Event(NamedTuple):
    """An event as it is read. ``mono_us``: on its node's own clock; ``wall_us``: the same on the
    wall clock of its node. ``peer``, ``voter``: names, "" for none. ``text``: of a note."""

    node: str
    boot_count: int
    seq: int
    mono_us: int
    wall_us: int
    kind: int
    peer: str
    voter: str
    code: int
    slot: int
    round: int
    x: int
    y: int
    text: str = ""

    @property
    def id(self) -> str:
        """Its name: ``n1/3:4711``."""
        return f"{self.node}/{self.boot_count}:{self.seq}"
