"""Messages to peers, out: which version of the wire, which of two connections, which are too large.

Nothing waits: what a peer's queue does not take is dropped and counted, and the protocol sends it
again.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Protocol

import zmq

from paxosd.bus.inbox import Header
from paxosd.bus.lanes import SWIFT_BYTES_MAX, is_bulk
from paxosd.bus.large_frames import LEAST_BYTES, TIMES, LargeFrames
from paxosd.bus.link_doubts import LinkDoubts
from paxosd.bus.lossy_links import LossyLinks
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.sockets import BusConfig, BusSockets
from paxosd.core.messages import Accept, Accepted, Hello, PeerMessage
from paxosd.core.types import NodeId
from paxosd.host.byte_limits import PEER_BYTES_MAX
from paxosd.host.log import Log
from paxosd.wire import ACCEPTED_TOPIC, encode_old, encode_peer

CUT_ADVICE = (
    "it ends the connection each time after a frame of that size: its limits.message_bytes_max is "
    "smaller than here, and its version does not say so. Upgrade it, or set the limit there as "
    "here and restart it. Until then frames to it are kept small, and what is larger reaches it "
    "with snapshots"
)

_NOBLOCK = int(zmq.NOBLOCK)
_EVENTS = int(zmq.EVENTS)


class FrameLimits(Protocol):
    """How large the frames may be that peers take; for
    :class:`paxosd.core.peer_limits.PeerLimits`."""

    @property
    def frames_max(self) -> Mapping[NodeId, int]:
        """The largest frame that a peer takes, where that is known and less than this node's."""
        ...

    def cut_off(self, name: NodeId, frame_bytes: int) -> object:
        """A peer ends the connection over frames of this size, again and again."""
        ...


class OwnFrameLimit:
    """Every peer takes what this node takes."""

    frames_max: Mapping[NodeId, int] = MappingProxyType({})

    def cut_off(self, name: NodeId, frame_bytes: int) -> None:
        """Nothing to do."""


class PeerSender:
    """Sends one node's messages. ``header`` and ``new_speakers`` are the inbox's, which keeps them
    up to date."""

    def __init__(
        self,
        config: BusConfig,
        sockets: BusSockets,
        header: Header,
        new_speakers: set[NodeId],
        *,
        limits: FrameLimits,
        doubts: LinkDoubts,
        publish: Callable[[bytes, bytes], object],
        counters: Counter[str],
        log: Log,
        now_ms: Callable[[], int],
    ) -> None:
        """``publish(topic, payload)``: on the events socket, for votes. ``counters``: where to
        count (``sent.peer``, ``unsent.NODE``)."""
        self._config = config
        self._sockets = sockets
        self._header = header
        self._new_speakers = new_speakers
        self._limits = limits
        self._doubts = doubts
        self._publish = publish
        self.counters = counters
        self._log = log
        self._unsent_log = RefusalLog(log, interval_ms=60_000)
        self._now_ms = now_ms
        self._frame_bytes_max = config.peer_bytes_max
        self._large_frames = LargeFrames()
        self._lossy = LossyLinks()
        self._accepted_topic = ACCEPTED_TOPIC + config.node.encode()
        self._encoded: tuple[PeerMessage | None, bytes] = (None, b"")
        """The last message sent, with its frame."""

    def tick(self, now_ms: int) -> None:
        """To be called now and then: log what could not be sent and was only counted, and look
        which links lose packets."""
        self._unsent_log.tick(now_ms)
        for name in self._lossy.look(self._sockets.descriptors, now_ms):
            self._log.info("bus.lossy", to=name)

    def on_disconnected(self, name: NodeId) -> None:
        """All connections to a peer broke: it may be another process that is there next."""
        self._large_frames.forget(name)

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        """Send to one peer; False if it has no connection, its queue is full or it is no peer. The
        same message to several peers in a row is encoded once."""
        if not self._header.genesis and to not in self._new_speakers:
            return self._send_old(to, message)
        if message is not self._encoded[0]:
            self._encoded = (message, self._encode(message))
        return self._send_frame(to, message, self._encoded[1])

    def _encode(self, message: PeerMessage) -> bytes:
        config, header = self._config, self._header
        return encode_peer(
            message,
            config.cluster,
            config.node,
            config.run_id,
            header.genesis,
            header.epoch,
            header.log_mark,
        )

    def _encode_old(self, message: PeerMessage) -> bytes:
        config = self._config
        return encode_old(message, config.cluster, config.node, config.run_id)

    def _send_old(self, to: NodeId, message: PeerMessage) -> bool:
        """Send in the old form, to a peer that may be a program from before the founding records,
        in a cluster that has none. A Hello, or a kind that such a program does not know, goes out
        in the new form, so that each learns that the other speaks it."""
        frame = self._encode_old(message)
        sent = False
        if not frame or type(message) is Hello:  # the new form first: it says all
            sent = self._send_frame(to, message, self._encode(message))
        return (bool(frame) and self._send_frame(to, message, frame)) or sent

    def _send_frame(self, to: NodeId, message: PeerMessage, frame: bytes) -> bool:
        if len(frame) > self._limits.frames_max.get(to, self._frame_bytes_max):
            # The peer would close the connection over it, again and again.
            self._note_unsent(to, f"{len(frame)} bytes are more than a frame may have")
            return False
        link = self._sockets.links.get(to)
        if link is None:
            self._note_unsent(to, "it is no peer")
            return False
        if is_bulk(message, len(frame)):
            if len(frame) > LEAST_BYTES and self._is_cut(to):
                self._note_unsent(to, f"it took no frame of {len(frame)} bytes")
                return False
            if self._send_bulk(to, frame):
                if to in self._lossy:
                    self._repeat_accept(to, message, frame)
                return True
            if len(frame) > SWIFT_BYTES_MAX:
                self._note_unsent(to, "not connected, or its queue is full")
                return False
        try:
            link.dealer.send(frame, _NOBLOCK)
        except zmq.Again:
            self._note_unsent(to, "not connected, or its queue is full")
            return False
        self.counters["sent.peer"] += 1
        if to in self._lossy:
            self._send_bulk(to, frame)
        if type(message) is Hello:
            self._doubts.said_hello(to, self._now_ms())
        return True

    def _repeat_accept(self, to: NodeId, message: PeerMessage, frame: bytes) -> None:
        """An accept that was lost, or waits for what was: on the swift connection as well."""
        if type(message) is Accept and self._lossy.is_repeated(to, message):
            self._send_swift(to, frame)

    def _send_swift(self, to: NodeId, frame: bytes) -> None:
        """A copy of a frame; no matter if it has no room."""
        with suppress(zmq.Again):
            if len(frame) <= SWIFT_BYTES_MAX:
                self._sockets.links[to].dealer.send(frame, _NOBLOCK)
                self.counters["sent.peer"] += 1

    def _send_bulk(self, to: NodeId, frame: bytes) -> bool:
        """Whether the bulk connection took it. A single message may be larger than the bound."""
        link = self._sockets.links[to]
        dealer, unsent = link.bulk, link.unsent
        if unsent.held_bytes + len(frame) > PEER_BYTES_MAX and not unsent.idle:
            # What a broken connection held is dropped only once its socket is used: without this
            # it would count as held for ever, for nothing more is sent.
            dealer.get(_EVENTS)
            self.counters["unsent.peer_full"] += 1
            return False
        try:
            unsent.send(dealer, frame)
        except zmq.Again:
            return False
        self.counters["sent.peer"] += 1
        if len(frame) > LEAST_BYTES:
            self._large_frames.sent(to, len(frame), self._now_ms())
        return True

    def _is_cut(self, to: NodeId) -> bool:
        """Whether the connection for bulk has ended over a large frame so often that it is no
        accident. Then that is reported, and the core sends no more frames of that size."""
        if not self._sockets.bulk_ended(to):
            return False
        frame_bytes = self._large_frames.ended(to)
        if not frame_bytes:
            return False
        self._log.warning(
            "bus.frames_cut", to=to, frame_bytes=frame_bytes, times=TIMES, advice=CUT_ADVICE
        )
        self._limits.cut_off(to, frame_bytes)
        return True

    def _note_unsent(self, to: NodeId, reason: str) -> None:
        self.counters[f"unsent.{to}"] += 1
        self._unsent_log.note("bus.send_failed", to, reason, self._now_ms(), to=to)

    def publish_accepted(self, message: Accepted) -> None:
        """Publish a durable vote of this node to every learner."""
        peers = self._sockets.links.keys()
        all_new = not self._header.speaks_old or self._new_speakers >= peers
        frame = self._encode(message) if all_new else self._encode_old(message)
        self._publish(self._accepted_topic, frame)
        for name in self._lossy.names if self._lossy else ():
            self._send_swift(name, frame)
