"""When the next command is due: at once (closed loop), or by a clock (open loop).

An open loop has a schedule of its own: what the cluster does not take in time is late, and its
latency counts from when it was due. A generator that waits for answers instead sends the less the
slower they come, and so leaves the worst of them out of its record: "coordinated omission" (Gil
Tene, "How NOT to Measure Latency", 2013).
"""

import math

from paxosctl.load.load import Load

SECOND_NS = 1_000_000_000
NEVER_NS = 1 << 62
ROUNDING = 1e-6
GRACE_NS = 50_000_000
"""So long after the end what was due before it is still sent. What is later is not sent at all."""


class Pace:
    """The schedule of one process: ``place`` of ``of``, whose turns interleave. All begin at
    ``begin_ns``."""

    def __init__(self, load: Load, begin_ns: int, *, place: int = 0, of: int = 1) -> None:
        self.measured_ns = begin_ns + load.warmup_ms * 1_000_000
        self.ends_ns = NEVER_NS
        """Nothing is due from then on."""
        if load.duration_ms:
            self.ends_ns = self.measured_ns + load.duration_ms * 1_000_000
        self.is_open = load.rate > 0
        self._a_command_ns = SECOND_NS / load.rate if self.is_open else 0.0
        phase_ns = self._a_command_ns * place / of
        self._first_measured_ns = self.measured_ns + phase_ns
        self._due_ns = begin_ns + phase_ns
        self._left = load.count or NEVER_NS
        self.is_over = False

    def due_ns(self, now_ns: int) -> int:
        """When the next command is due; never after ``now_ns`` in a closed loop."""
        if not self.is_open:
            return now_ns
        if self._due_ns < self.measured_ns <= now_ns:
            # What is late from the warm-up is not to be made up for in the measured time.
            self._due_ns = self._first_measured_ns
        return int(self._due_ns)

    def take(self, due_ns: int, count_max: int) -> int:
        """How many of ``count_max`` commands, due at ``due_ns``, are to be sent; 0: it is over."""
        if due_ns >= self.ends_ns or not self._left:
            self.is_over = True
            return 0
        self._due_ns += self._a_command_ns * count_max
        if due_ns < self.measured_ns:
            return count_max
        count = min(count_max, self._left)
        self._left -= count
        return count

    def is_over_at(self, now_ns: int) -> bool:
        """Whether nothing more is to be sent."""
        return self.is_over or now_ns >= self.ends_ns + GRACE_NS

    def unsent(self, now_ns: int) -> int:
        """Commands of an open loop that were due before its end and before ``now_ns``, and were not
        taken."""
        until_ns = min(now_ns, self.ends_ns)
        if not self.is_open or self._due_ns >= until_ns:
            return 0
        late = (until_ns - self._due_ns) / self._a_command_ns
        return min(self._left, math.ceil(late - ROUNDING))
