"""What a thread waits for in a client: a call, or a time."""

from paxosd.core.client.calls import NO_DEADLINE_MS, Call
from paxosd.host.clock import clock_ms

LATE_MS = 2000
"""What is waited for comes in time, or its time is over. If neither is noticed, the thread that
drove was interrupted in the midst of it (Ctrl-C between two lines); after this nobody waits."""


class CallWish:
    """The end of a call."""

    __slots__ = ("_call", "until_ms")
    acts = False

    def __init__(self, call: Call) -> None:
        self._call = call
        self.until_ms = call.deadline_ms

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self._call.done

    def turn(self) -> int:
        """The protocol does what is due."""
        return NO_DEADLINE_MS


class Moment:
    """A time, in ms of the clock."""

    __slots__ = ("until_ms",)
    acts = False

    def __init__(self, until_ms: int) -> None:
        self.until_ms = until_ms

    @property
    def ready(self) -> bool:
        """Whether it has come."""
        return clock_ms() >= self.until_ms

    def turn(self) -> int:
        """Nothing is due before."""
        return self.until_ms
