"""How many bytes a ZeroMQ socket still holds for a connection, for it counts only messages.

    hand over ──► open ──► (mark_bytes are open: this message is a mark) ──► marks ──► sent: done

libzmq reports when it has finished with a message that was handed over without a copy. Messages of
one connection leave in order, so one such message, a *mark*, stands for all before it: every large
message is a mark, and of small ones each that fills ``mark_bytes``. What was handed over after the
last mark counts as held.

A connection that breaks drops what it holds, and its marks are done, as soon as its socket is used
again, if only to be asked for its events: who does not send because too much is held must do that.
"""

from collections import deque

import zmq

MARK_BYTES = 32 << 10
"""For the connection to one of many clients."""
BUSY_MARK_BYTES = 256 << 10
"""For one of the few connections that carry everything: a mark costs some 0.1 ms, of the sender's
thread and of the one of ZeroMQ that reports it."""
MESSAGE_OVERHEAD_BYTES = 100
"""What a message takes besides its frame."""
TRACKERS_MAX = 4096
"""With more clients than that, those for which nothing is held are forgotten."""

_NOBLOCK = int(zmq.NOBLOCK)

Socket = zmq.Socket[bytes]


class SendTracker:
    """What is held for one connection, or for all subscribers of a socket together."""

    __slots__ = ("_mark_bytes", "_marked_bytes", "_marks", "open_bytes")

    def __init__(self, mark_bytes: int = MARK_BYTES) -> None:
        self._mark_bytes = mark_bytes
        self.open_bytes = 0
        """Handed over since the last mark."""
        self._marked_bytes = 0
        self._marks: deque[tuple[zmq.MessageTracker, int]] = deque()

    @property
    def held_bytes(self) -> int:
        """At most so many bytes are held; ``mark_bytes`` of them may have left."""
        marks = self._marks
        while marks and marks[0][0].done:
            self._marked_bytes -= marks.popleft()[1]
        return self._marked_bytes + self.open_bytes

    @property
    def idle(self) -> bool:
        """Whether nothing is known to be held."""
        return not self._marks or self.held_bytes == self.open_bytes

    def send(self, socket: Socket, frame: bytes, *, mark: bool = False) -> None:
        """Send the last part of a message. ``mark``: make it a mark, however small it is. Raises
        zmq.ZMQError; nothing was counted then."""
        size = len(frame) + MESSAGE_OVERHEAD_BYTES
        if self.open_bytes + size < self._mark_bytes and not mark:
            socket.send(frame, _NOBLOCK)
            self.open_bytes += size
            return
        tracker = socket.send(frame, _NOBLOCK, copy=False, track=True)
        assert tracker is not None
        self._marks.append((tracker, self.open_bytes + size))
        self._marked_bytes += self.open_bytes + size
        self.open_bytes = 0


class AnswerTrackers:
    """What is held for each client, and for all of them together."""

    def __init__(self, client_bytes_max: int, bytes_max: int) -> None:
        self._client_bytes_max = client_bytes_max
        self._bytes_max = bytes_max
        self._trackers: dict[bytes, SendTracker] = {}
        self._at_most = 0
        """No less than :attr:`held_bytes`, which costs a look at each client."""

    @property
    def held_bytes(self) -> int:
        """The bytes held for all clients; up to MARK_BYTES of each client are not counted."""
        return sum([tracker.held_bytes - tracker.open_bytes for tracker in self._trackers.values()])

    def of(self, client: bytes) -> SendTracker:
        """The tracker of this client; a new one, if none is known."""
        tracker = self._trackers.get(client)
        if tracker is None:
            if len(self._trackers) >= TRACKERS_MAX:
                known = self._trackers.items()
                self._trackers = {each: found for each, found in known if not found.idle}
            tracker = self._trackers[client] = SendTracker()
        return tracker

    def has_room(self, tracker: SendTracker, size: int) -> bool:
        """Whether an answer of so many bytes may be handed over. To a client that holds nothing a
        small one always may; a large one unless all of them hold too much together."""
        if tracker.open_bytes + size < MARK_BYTES and tracker.idle:
            return True
        if not tracker.idle and tracker.held_bytes + size > self._client_bytes_max:
            return False
        if self._at_most + size > self._bytes_max:
            self._at_most = self.held_bytes
        self._at_most += size
        return self._at_most <= self._bytes_max

    def forget(self, client: bytes) -> None:
        """This client has gone."""
        self._trackers.pop(client, None)
