"""Nodes whose files allow messages of different sizes, and connections that end over larger ones.

    draw_sizes(rng)                 → how large the values of a run are, near the limits
    FrameLimits.passes(envelope, …) → whether a frame gets there; one that is too large ends the
                                      connection that it came on, as ZeroMQ does (MAXMSGSIZE), and
                                      what comes before the next connection is up is lost

Everything is a fraction of what a daemon has, so that a run of seconds meets it often. Fewer than
half of the nodes have a smaller limit: what a majority cannot take could never be chosen.
"""

import random
from typing import Any, NamedTuple

from paxosd.bus.lanes import is_bulk
from paxosd.core.messages import Decisions, Envelope, Promise
from paxosd.core.peer_limits import frame_bytes_max, value_bytes_max
from paxosd.core.requests import ClientMessage, VouchedRequest, WriteRequest
from paxosd.core.types import NodeId
from paxosd.sim.world.slow_links import size_of
from paxosd.wire import encode_client, encode_peer

SHARE = 0.1
"""Of the seeds, so many have unequal limits."""
LARGE = 128 << 10
SMALL = (4096, 6000, 8192)
FRAME_EXTRA_BYTES = 16 << 10
PART_SHARE = 4
"""Batches, promises and parts of the log have this share of a node's own limit, as
``paxosd/config/check.py`` and ``paxosd/daemon/startup.py`` have it."""
ABOUT_BYTES = 64
"""What a value takes besides itself, and more."""
CLIENT_FRAME_BYTES = 1536
"""As much as clients pack into one request, if its commands are not larger: all nodes take it."""
AGAIN_AFTER_MS = (100.0, 300.0)
"""How long it takes until a connection that ended is up again."""

_Way = tuple[NodeId, NodeId, bool]


class Sizes(NamedTuple):
    """Of values: this share of them is about as large as one of ``around``."""

    share: float
    around: tuple[int, ...]

    def pad(self, value: bytes, rng: random.Random) -> bytes:
        """The value, perhaps made larger."""
        if rng.random() >= self.share:
            return value
        size = rng.choice(self.around) + rng.randint(-200, 50)
        return value.ljust(size, b".")


def draw_sizes(rng: random.Random) -> Sizes:
    """Near what a smaller or larger limit allows in a request, in a batch and in a frame."""
    small = rng.choice(SMALL)
    around = (small // 4, small, 2 * small, value_bytes_max(small, FRAME_EXTRA_BYTES), LARGE // 3)
    return Sizes(rng.choice((0.05, 0.15, 0.4)), around)


def part_of(message_bytes_max: int) -> int:
    """How large a batch, a promise or a part of the log is."""
    return message_bytes_max // PART_SHARE


def node_options(message_bytes_max: int, node: Any) -> dict[str, Any]:
    """Settings of the core that such a limit brings with it, beside those of ``node``."""
    part = part_of(message_bytes_max)
    return {
        "message_bytes_max": message_bytes_max,
        "message_bytes_min": min(SMALL),
        "frame_extra_bytes": FRAME_EXTRA_BYTES,
        "batch_bytes_max": part,
        "promise_bytes_max": min(part, node.get("promise_bytes_max", part)),
    }


class FrameLimits:
    """``message_bytes_max``: process → the largest request that it takes; empty: all take all."""

    def __init__(self, cluster: str, rng: random.Random) -> None:
        self.message_bytes_max: dict[NodeId, int] = {}
        self._cluster = cluster
        self._rng = rng
        self._up_ms: dict[_Way, float] = {}
        """When a connection that ended is up again."""

    def frame_bytes_max(self, name: NodeId) -> int:
        """The largest frame that it takes from another process."""
        return frame_bytes_max(self.message_bytes_max[name], FRAME_EXTRA_BYTES)

    def size_of(self, envelope: Envelope) -> int:
        """Of a frame, in bytes; exactly if it may be near a limit."""
        body = envelope.body
        values = len(body.values) if isinstance(body, Decisions) else 1
        values = len(body.accepted) if isinstance(body, Promise) else values
        about = size_of(body) + ABOUT_BYTES * values
        return about if about <= FRAME_EXTRA_BYTES else self._exact_size_of(envelope)

    def _exact_size_of(self, envelope: Envelope) -> int:
        return len(
            encode_peer(
                envelope.body,
                self._cluster,
                envelope.sender,
                envelope.run_id,
                envelope.genesis,
                envelope.epoch,
                envelope.log_mark,
            )
        )

    def passes(self, envelope: Envelope, to: NodeId, now_ms: float) -> bool | None:
        """Whether the frame that arrives now is taken; None: the connection ends over it."""
        if to not in self.message_bytes_max:
            return True
        size = self.size_of(envelope)
        way = envelope.sender, to, is_bulk(envelope.body, size)
        if now_ms < self._up_ms.get(way, 0.0):
            return False
        if size <= self.frame_bytes_max(to):
            return True
        self._up_ms[way] = now_ms + self._rng.uniform(*AGAIN_AFTER_MS)
        return None

    def takes_request(self, message: ClientMessage, to: NodeId) -> bool:
        """Whether a request is no larger than the process takes."""
        most = self.message_bytes_max.get(to)
        if most is None or not isinstance(message, WriteRequest | VouchedRequest):
            return True
        return len(message.entry) + ABOUT_BYTES * 4 <= most or (
            len(encode_client(message, self._cluster)) <= most
        )
