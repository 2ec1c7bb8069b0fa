"""Which peer ends the connection over large frames, again and again, without saying why.

    a frame that some nodes refuse ─► sent ─► the connection ends ─► … TIMES in a row: reported

A node of a version that does not announce its limits, and has a smaller one than this node, closes
a connection as soon as it reads how large the next frame is. Here that looks like any broken
connection. But if it breaks after every large frame, and only the one for bulk, it is no accident.
"""

from paxosd.core.options import MESSAGE_BYTES_MIN
from paxosd.core.peer_limits import frame_bytes_max
from paxosd.core.types import NodeId

LEAST_BYTES = frame_bytes_max(MESSAGE_BYTES_MIN)
"""Every node takes a frame of this size, whatever its file says."""
TIMES = 3
PASSED_MS = 5000
"""If the connection still stands so long after a frame, the peer took that frame."""


class LargeFrames:
    """Per peer, since the last large frame that was taken."""

    def __init__(self) -> None:
        self._last: dict[NodeId, tuple[int, int]] = {}
        """The size of the last one, and when it was sent: it may be on its way."""
        self._ended: dict[NodeId, int] = {}

    def sent(self, name: NodeId, frame_bytes: int, now_ms: int) -> None:
        """One of more than LEAST_BYTES was handed over."""
        if name in self._last and now_ms - self._last[name][1] >= PASSED_MS:
            self._ended.pop(name, None)
        self._last[name] = frame_bytes, now_ms

    def ended(self, name: NodeId) -> int:
        """The connection ended. The size of the frame over which it did, if it is one of many;
        0: not known."""
        frame_bytes, _ = self._last.pop(name, (0, 0))
        if not frame_bytes:
            return 0
        times = self._ended[name] = self._ended.get(name, 0) + 1
        return frame_bytes if times >= TIMES else 0

    def forget(self, name: NodeId) -> None:
        """All connections to it broke: it may be another process that is there next."""
        self._last.pop(name, None)
        self._ended.pop(name, None)
