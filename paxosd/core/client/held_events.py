"""Live messages that wait while a watch pulls its history: in order, and bounded."""

from collections import deque

from paxosd.core.client.delivery_order import Event
from paxosd.core.events import ProgressEvent


class HeldEvents:
    """What waits. The oldest messages are dropped where there is no room: that is a gap like any
    other, which the next message shows."""

    __slots__ = ("_bytes", "_bytes_max", "_events", "_messages_max")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max, self._bytes_max = messages_max, bytes_max
        self._events: deque[Event] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: Event) -> None:
        """The newest one."""
        self._events.append(event)
        self._bytes += _weight(event)
        while len(self._events) > self._messages_max or self._bytes > self._bytes_max:
            self.take()

    def put_back(self, event: Event) -> None:
        """The oldest one, which is never dropped for its size."""
        self._events.appendleft(event)
        self._bytes += _weight(event)

    def take(self) -> Event:
        """The oldest one; it does not wait any more."""
        event = self._events.popleft()
        self._bytes -= _weight(event)
        return event

    def clear(self) -> None:
        """None waits."""
        self._events.clear()
        self._bytes = 0


def _weight(event: Event) -> int:
    """About the bytes that it takes."""
    if isinstance(event, ProgressEvent):
        return 64
    return 128 + len(event.key) + len(event.value or b"")
