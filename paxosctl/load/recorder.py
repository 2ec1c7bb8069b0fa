"""What one generator records: windows of a second, each with the latencies of every verb."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from paxosctl.load.latencies import Latencies, PackedLatencies

WINDOW_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """What ended in second ``second`` of the measured time (from 0): acknowledged commands by verb,
    and how many failed; and how often a command was refused that is sent again."""

    second: int
    latencies: dict[str, PackedLatencies]
    failed: int
    refused: int

    @property
    def count(self) -> int:
        """Acknowledged commands."""
        return sum(each.count for each in self.latencies.values())


class FirstError(NamedTuple):
    """The first failure: its code, and words."""

    code: str
    message: str

    def __str__(self) -> str:
        return self.message


class ProcessReport(NamedTuple):
    """What one process saw. Times are of the monotonic clock, which all processes share."""

    measured_ns: int
    """When the warm-up was over."""
    ended_ns: int
    windows: list[Window]
    failed: dict[str, int]
    """How many commands ended with which code, the warm-up included."""
    refused: dict[str, int]
    """How often a command was refused with which code, and sent again later; the warm-up
    included."""
    unknown: bool
    """Whether the outcome of some of them is unknown."""
    first_error: FirstError | None
    unsent: int
    """Of an open loop: commands that were due before the end, and for which no client was free."""
    cpu_ns: int
    """Processor time of the generator's thread, from the end of the warm-up on."""
    delayed_ns: int
    """For how long in this time the thread was ready to run and had no processor."""


class Recorder:
    """Counts and times what ends from ``measured_ns`` on. ``on_window`` gets each window once its
    second is over."""

    def __init__(self, measured_ns: int, on_window: Callable[[Window], None]) -> None:
        self._measured_ns = measured_ns
        self._on_window = on_window
        self._second = 0
        self._ends_ns = measured_ns + WINDOW_NS
        self._latencies: dict[str, Latencies] = {}
        self._failed_here = self._refused_here = 0
        self.windows: list[Window] = []
        self.failed: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.has_unknown = False
        self.first_error: FirstError | None = None

    def record(self, verb: str, now_ns: int, latency_ns: int, count: int) -> None:
        """``count`` commands ended well at ``now_ns``."""
        if now_ns >= self._ends_ns:
            self.tick(now_ns)
        latencies = self._latencies.get(verb)
        if latencies is None:
            latencies = self._latencies[verb] = Latencies()
        latencies.record(latency_ns, count)

    def fail(self, code: str, message: str, count: int, *, is_unknown: bool) -> None:
        """``count`` commands did not end well, or nobody knows."""
        self.has_unknown |= is_unknown
        self.failed[code] = self.failed.get(code, 0) + count
        self._failed_here += count
        if self.first_error is None:
            self.first_error = FirstError(code, message)

    def refuse(self, code: str, count: int) -> None:
        """``count`` commands were refused, and are sent again."""
        self.refused[code] = self.refused.get(code, 0) + count
        self._refused_here += count

    def tick(self, now_ns: int) -> None:
        """Close the windows that are over."""
        while now_ns >= self._ends_ns:
            self._close()
            self._second += 1
            self._ends_ns += WINDOW_NS

    def finish(self, now_ns: int) -> None:
        """Close the last window, which may be shorter than a second."""
        self.tick(now_ns)
        if self._latencies or self._failed_here or self._refused_here:
            self._close()

    def _close(self) -> None:
        packed = {verb: each.pack() for verb, each in self._latencies.items()}
        window = Window(self._second, packed, self._failed_here, self._refused_here)
        self._latencies, self._failed_here, self._refused_here = {}, 0, 0
        self.windows.append(window)
        self._on_window(window)
