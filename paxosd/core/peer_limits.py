"""What each node's own file allows, told to the others: what is sent to one keeps within it.

    a peer says hello, or is heard (again) ──► NodeLimits(document)
    NodeLimits of a peer    ──► kept; a limit that does not fit one's own is reported, once

Files should be alike, and sometimes are not. A frame that is larger than a peer takes would end the
connection, again and again, and nobody would say why. So batches, promises and catch-up keep within
the smallest limit of those whom they go to, and a client's request that not every member can take
is refused. Times that do not fit are only reported: nothing here can make up for them.

A node of an earlier version says nothing, and counts as one without limits. It does not know this
kind of message, refuses it and logs that once. If it ends the connection over large frames again
and again (``paxosd/bus/large_frames.py``), what goes to it keeps within what every node takes,
until the connections to it break, for then it may be another process, or it tells its limits after
all. Nothing here decides what is chosen.
"""

import json
from typing import Any

from paxosd.core.context import Context
from paxosd.core.messages import NodeLimits
from paxosd.core.options import FRAME_EXTRA_BYTES
from paxosd.core.status import FrameCut, Misfit, PeerLimitsStatus
from paxosd.core.types import NodeId

MESSAGE = "limits.message_bytes_max"
HEARTBEAT = "protocol.heartbeat_ms"
TIMEOUT = "protocol.election_timeout_ms"
KEYS = (MESSAGE, HEARTBEAT, TIMEOUT)
HEARTBEATS_MIN = 3
"""An election timeout holds so many heartbeats at least, one's own and those of others."""
DOCUMENT_BYTES_MAX = 4096
OVERHEAD_BYTES = 4096
"""What envelopes and lengths may add on the way."""
ADVICE = (
    "the files of all members should have the same: set it alike and restart the one that is "
    "wrong. Until then messages keep within the smaller limit, and larger requests are refused; "
    "times that do not fit make the members elect leaders again and again"
)
_NUMBER_MAX = 1 << 40


def frame_bytes_max(message_bytes_max: int, extra_bytes: int = FRAME_EXTRA_BYTES) -> int:
    """The largest frame between daemons that such a node takes. One batch may hold an entry as
    large as a client's frame on top of a batch that was nearly full."""
    return 2 * message_bytes_max + extra_bytes


def value_bytes_max(message_bytes_max: int, extra_bytes: int = FRAME_EXTRA_BYTES) -> int:
    """The largest value that such a frame can hold."""
    return frame_bytes_max(message_bytes_max, extra_bytes) - OVERHEAD_BYTES


class PeerLimits:
    """One node's knowledge of the others' limits. ``least``: the smallest message that any member
    takes, and who it is; None: nobody takes less than this node, as far as is known."""

    __slots__ = ("_context", "_cut", "_members", "_noted", "_own", "_said", "_told", "frames_max",
                 "least")  # fmt: skip

    def __init__(self, context: Context) -> None:
        options = context.options
        self._context = context
        self._own = {
            MESSAGE: options.message_bytes_max,
            HEARTBEAT: int(options.heartbeat_ms),
            TIMEOUT: int(options.election_timeout_ms),
        }
        self._said: dict[NodeId, dict[str, int]] = {}
        self._told: set[NodeId] = set()
        self._cut: dict[NodeId, int] = {}
        """The frame over which a peer that says nothing ended a connection last, in bytes."""
        self._noted: dict[NodeId, list[Misfit]] = {}
        self._members: Any = None
        self.least: tuple[int, NodeId] | None = None
        self.frames_max: dict[NodeId, int] = {}
        """The largest frame that a peer takes, of those that take less than this node sends."""

    # -- telling

    def tell(self) -> None:
        """Once a heartbeat: say one's own to those who were heard, and have not been told."""
        context = self._context
        if not self._own[MESSAGE]:
            return
        for name in context.audience:
            if name not in self._told and context.peers[name].seen_ms > float("-inf"):
                self._say(name)
        if context.membership is not self._members:
            self._find_least()

    def greet(self, name: NodeId) -> None:
        """It said hello, as it does until it gets an answer: what was said before it may not have
        come, for the connection to it may have been broken still."""
        if self._own[MESSAGE]:
            self._say(name)

    def _say(self, name: NodeId) -> None:
        context = self._context
        # One of the time before feature levels knows no such message.
        if context.peers[name].level or context.machine.settings.level:
            self._told.add(name)
            context.outbox.send(name, NodeLimits(json.dumps(self._own).encode()))

    def forget(self, name: NodeId) -> None:
        """The connection broke: it may be another process that is heard next."""
        self._told.discard(name)
        if self._cut.pop(name, 0):
            del self.frames_max[name]
            self._context.peers[name].message_bytes_max = 0

    def cut_off(self, name: NodeId, frame_bytes: int) -> None:
        """A peer ends the connection over frames of this size."""
        options, peer = self._context.options, self._context.peers.get(name)
        if peer is None or MESSAGE in self._said.get(name, {}):
            return
        self._cut[name] = frame_bytes
        peer.message_bytes_max = options.message_bytes_min
        self.frames_max[name] = frame_bytes_max(
            options.message_bytes_min, options.frame_extra_bytes
        )

    # -- hearing

    def receive(self, sender: NodeId, message: NodeLimits) -> None:
        """What a peer says; whatever is wrong with that is no limit."""
        said = _read(message.document)
        if said == self._said.get(sender):
            return
        self._said[sender] = said
        self._cut.pop(sender, None)
        message_bytes_max = said.get(MESSAGE, 0)
        self._context.peers[sender].message_bytes_max = message_bytes_max
        self.frames_max.pop(sender, None)
        if 0 < message_bytes_max < self._own[MESSAGE]:
            extra_bytes = self._context.options.frame_extra_bytes
            self.frames_max[sender] = frame_bytes_max(message_bytes_max, extra_bytes)
        self._find_least()
        misfits = self._misfits_of(sender)
        for misfit in misfits:
            if misfit not in self._noted.get(sender, ()):
                fields = misfit._asdict() | {"advice": ADVICE}
                self._context.outbox.notice("config.limits_differ", "warning", **fields)
        self._noted[sender] = misfits

    def _find_least(self) -> None:
        context = self._context
        self._members = context.membership
        known = [
            (said[MESSAGE], name)
            for name, said in self._said.items()
            if name in context.audience and MESSAGE in said
        ]
        least = min(known, default=None)
        own = self._own[MESSAGE]
        self.least = least if least is not None and (not own or least[0] < own) else None
        batch_max = context.options.batch_bytes_max
        if self.least is not None:
            batch_max = min(batch_max, 2 * self.least[0])
        context.proposer.batch_bytes_max = batch_max

    # -- what follows

    def room_of(self, name: NodeId) -> int:
        """What the values of one message to this peer may come to, in bytes; 0: anything."""
        return 2 * self._taken_by(name)

    def takes(self, name: NodeId, value_bytes: int) -> bool:
        """Whether a message to this peer can hold one value of this size."""
        message_bytes_max = self._taken_by(name)
        room = value_bytes_max(message_bytes_max, self._context.options.frame_extra_bytes)
        return not message_bytes_max or value_bytes <= room

    def _taken_by(self, name: NodeId) -> int:
        if name in self._cut:
            return self._context.options.message_bytes_min
        return self._said.get(name, {}).get(MESSAGE, 0)

    def refusal(self, entry_bytes: int) -> str:
        """Why an entry of this size is not to be proposed; "": it may be."""
        bytes_min = self._context.options.message_bytes_min
        if self.least is None or entry_bytes <= max(bytes_min, self.least[0]):
            return ""
        return (
            f"the request is {entry_bytes} bytes, and member {self.least[1]} takes messages of at "
            f"most {self.least[0]} (its limits.message_bytes_max; here it is {self._own[MESSAGE]}):"
            " send less at a time, or raise the limit there"
        )

    def _misfits_of(self, name: NodeId) -> list[Misfit]:
        said, own = self._said.get(name, {}), self._own
        found = []
        if said.get(MESSAGE, own[MESSAGE]) != own[MESSAGE]:
            found.append(Misfit(name, MESSAGE, said[MESSAGE], MESSAGE, own[MESSAGE]))
        if said.get(TIMEOUT, own[TIMEOUT]) < HEARTBEATS_MIN * own[HEARTBEAT]:
            found.append(Misfit(name, TIMEOUT, said[TIMEOUT], HEARTBEAT, own[HEARTBEAT]))
        if HEARTBEATS_MIN * said.get(HEARTBEAT, 0) > own[TIMEOUT]:
            found.append(Misfit(name, HEARTBEAT, said[HEARTBEAT], TIMEOUT, own[TIMEOUT]))
        return found

    def status(self) -> PeerLimitsStatus:
        """What the members have that does not fit what this node has."""
        members = self._context.membership.members
        names = [name for name in sorted(self._said) if name in members]
        return PeerLimitsStatus(
            limits_differ=tuple(m for name in names for m in self._misfits_of(name)),
            frames_cut=tuple(
                FrameCut(name, size) for name, size in sorted(self._cut.items()) if name in members
            ),
            message_bytes_least=self.least[0] if self.least else self._own[MESSAGE],
        )


def _read(document: bytes) -> dict[str, int]:
    if len(document) > DOCUMENT_BYTES_MAX:
        return {}
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    numbers = {key: found.get(key) for key in KEYS}
    return {k: n for k, n in numbers.items() if type(n) is int and 0 < n <= _NUMBER_MAX}
