"""The limits in each node's configuration file: every node sends its own to its peers.

The same message carries the version of the node's program (``peer_monitor.py`` logs it).

    a peer says Hello, or is heard (again) ──► NodeLimits(document)
    NodeLimits of a peer    ──► kept; a limit that does not fit this node's is reported, once

The files of all members should have the same limits, and sometimes do not. A frame that is larger
than a peer takes ends the connection, again and again, without a reason that anybody could see. So
batches, promises and catch-up keep within the smallest limit of their receivers, and a client's
request that some member cannot take is refused. Times that do not fit are only reported, because
nothing can make up for them.

A node of an earlier version sends no limits, and counts as a node without limits. It does not know
this message, refuses it and logs that once. If it ends the connection over large frames again and
again (``paxosd/bus/large_frames.py``), messages to it keep within the size that every node takes,
until the connections to it break (the next process may be another one) or it sends its limits.
Nothing here decides what is chosen.
"""

import json
import re
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
"""An election timeout must be at least so many heartbeats, this node's and any peer's."""
DOCUMENT_BYTES_MAX = 4096
OVERHEAD_BYTES = 4096
"""What envelopes and lengths may add on the way."""
ADVICE = (
    "the files of all members should have the same: set it alike and restart the one that is "
    "wrong. Until then messages keep within the smaller limit, and larger requests are refused; "
    "times that do not fit make the members elect leaders again and again"
)
_NUMBER_MAX = 1 << 40
VERSION = "version"
"""The key of the program's version. Programs of before neither say it nor look at it."""
_VERSION = re.compile(r"[0-9A-Za-z.+!_-]{1,64}")


def frame_bytes_max(message_bytes_max: int, extra_bytes: int = FRAME_EXTRA_BYTES) -> int:
    """The largest frame between daemons that such a node takes. A batch that is nearly full may
    get one more entry, as large as a client's frame."""
    return 2 * message_bytes_max + extra_bytes


def value_bytes_max(message_bytes_max: int, extra_bytes: int = FRAME_EXTRA_BYTES) -> int:
    """The largest value that such a frame can hold."""
    return frame_bytes_max(message_bytes_max, extra_bytes) - OVERHEAD_BYTES


class PeerLimits:
    """What one node knows of its peers' limits. ``least``: the smallest ``message_bytes_max`` of
    any member, and that member's name; None: no member is known to take less than this node."""

    __slots__ = ("_context", "_cut", "_document", "_informed", "_members", "_noted", "_own",
                 "_said", "frames_max", "least")  # fmt: skip

    def __init__(self, context: Context) -> None:
        options = context.options
        self._context = context
        self._own = {
            MESSAGE: options.message_bytes_max,
            HEARTBEAT: int(options.heartbeat_ms),
            TIMEOUT: int(options.election_timeout_ms),
        }
        self._document = json.dumps(
            self._own | ({VERSION: options.version} if options.version else {})
        ).encode()
        self._said: dict[NodeId, dict[str, int]] = {}
        self._informed: set[NodeId] = set()
        self._cut: dict[NodeId, int] = {}
        """The frame over which a peer that says nothing ended a connection last, in bytes."""
        self._noted: dict[NodeId, list[Misfit]] = {}
        self._members: Any = None
        self.least: tuple[int, NodeId] | None = None
        self.frames_max: dict[NodeId, int] = {}
        """Per peer that takes smaller frames than this node may send: the largest that it takes."""

    # -- what this node says

    def announce(self) -> None:
        """Once a heartbeat: send this node's limits to peers that were heard and lack them."""
        context = self._context
        if not self._own[MESSAGE]:
            return
        for name in context.audience:
            if name not in self._informed and context.peers[name].seen_ms > float("-inf"):
                self._say(name)
        if context.membership is not self._members:
            self._find_least()

    def greet(self, name: NodeId) -> None:
        """A peer said Hello, which it repeats until it is answered. Send the limits again: the
        connection may have been broken when they were sent before."""
        if self._own[MESSAGE]:
            self._say(name)

    def _say(self, name: NodeId) -> None:
        context = self._context
        # A program that is older than feature levels does not know this message.
        if context.peers[name].level or context.machine.settings.level:
            self._informed.add(name)
            context.outbox.send(name, NodeLimits(self._document))

    def forget(self, name: NodeId) -> None:
        """The connection broke. The next process of that name may be another one."""
        self._informed.discard(name)
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

    # -- what peers say

    def receive(self, sender: NodeId, message: NodeLimits) -> None:
        """A peer's limits. Values that are not valid are ignored."""
        said, self._context.peers[sender].version = _read(message.document)
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
        """The most bytes that the values of one message to this peer may have; 0: no limit."""
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
        """Why an entry of this size must not be proposed; "": it may be."""
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
        """The limits of members that do not fit this node's own limits."""
        members = self._context.membership.members
        names = [name for name in sorted(self._said) if name in members]
        return PeerLimitsStatus(
            limits_differ=tuple(m for name in names for m in self._misfits_of(name)),
            frames_cut=tuple(
                FrameCut(name, size) for name, size in sorted(self._cut.items()) if name in members
            ),
            message_bytes_least=self.least[0] if self.least else self._own[MESSAGE],
        )


def _read(document: bytes) -> tuple[dict[str, int], str]:
    """The limits, and the version of the program; "": it does not say."""
    if len(document) > DOCUMENT_BYTES_MAX:
        return {}, ""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return {}, ""
    if not isinstance(found, dict):
        return {}, ""
    numbers = {key: found.get(key) for key in KEYS}
    limits = {k: n for k, n in numbers.items() if type(n) is int and 0 < n <= _NUMBER_MAX}
    version = found.get(VERSION)
    return limits, version if type(version) is str and _VERSION.fullmatch(version) else ""
