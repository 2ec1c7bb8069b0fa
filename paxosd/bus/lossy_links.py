"""The links to peers whose packets are lost: on them what is small and matters takes two ways.

TCP brings what was sent on a connection in order, so that a message waits for whatever was lost
before it: for a second, if it was lost a few times (``net/retransmission.py``). The two connections
to a peer (``lanes.py``) lose different packets. So while one of them repeats what was lost,

    heartbeats, votes, phase 1, questions    leave on both of them
    an accept that is sent again             takes the other one than the first time

What comes first counts; the protocol expects messages in any order and number. Accepts as such are
not doubled: a lossy connection has little room, and heartbeats would wait behind them.

    SENT_AGAIN_MIN segments or more between two looks  → the link is lossy, and stays so for CALM_MS

While nothing is lost this costs two questions to the kernel for each peer and look.
"""

import socket
import struct
from collections.abc import Mapping
from contextlib import suppress

from paxosd.core.messages import Accept
from paxosd.core.types import NodeId, Slot
from paxosd.net.borrowed import borrowed

SENT_AGAIN_MIN = 2
"""A single segment may be sent again for nothing: its acknowledgement was late."""
CALM_MS = 5000

_TCP_INFO_BYTES = 256
_SENT_AGAIN_AT = 100  # tcpi_total_retrans, since Linux 2.6


def segments_sent_again(descriptor: int) -> int:
    """How many segments this TCP connection has sent again so far; 0 if it is none any more."""
    with suppress(OSError, struct.error), borrowed(descriptor) as connection:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("=I", info, _SENT_AGAIN_AT)[0])
    return 0


class LossyLinks:
    """One node's links. Times in ms, on a clock that never goes backward."""

    def __init__(self) -> None:
        self._counts: dict[tuple[NodeId, int], int] = {}
        """Peer and descriptor → the segments sent again by the last look."""
        self._newest: dict[NodeId, Slot] = {}
        """The peers whose links are lossy → the highest slot of an accept sent to it since."""
        self._until_ms: dict[NodeId, int] = {}

    def __contains__(self, name: NodeId) -> bool:
        return name in self._newest

    def __bool__(self) -> bool:
        return bool(self._newest)

    @property
    def names(self) -> list[NodeId]:
        """The peers whose links are lossy."""
        return list(self._newest)

    def look(self, descriptors: Mapping[NodeId, set[int]], now_ms: int) -> list[NodeId]:
        """To be called every now and then, with the connections to each peer; returns the peers
        whose links are lossy from now on."""
        begun = []
        counts = {
            (name, each): segments_sent_again(each)
            for name, found in descriptors.items()
            for each in found
        }
        for name in descriptors:
            more = sum(
                max(0, count - self._counts.get(key, count))
                for key, count in counts.items()
                if key[0] == name
            )
            if more >= SENT_AGAIN_MIN:
                if name not in self._newest:
                    self._newest[name] = 0
                    begun.append(name)
                self._until_ms[name] = now_ms + CALM_MS
        self._counts = counts
        for name, until_ms in list(self._until_ms.items()):
            if now_ms >= until_ms or name not in descriptors:
                del self._until_ms[name], self._newest[name]
        return begun

    def is_repeated(self, name: NodeId, accept: Accept) -> bool:
        """Whether an accept to this peer was probably sent before. Call it for each accept, while
        the link is lossy."""
        newest = self._newest[name]
        self._newest[name] = max(newest, accept.slot)
        return accept.slot <= newest
