"""How busy the thread is that calls it: is the generator itself the bottleneck?"""

import time


class Usage:
    """Processor time of this thread since the mark."""

    def __init__(self) -> None:
        self.is_marked = False
        self._cpu_ns = self._delayed_ns = 0

    def mark(self) -> None:
        """Count from here on."""
        self.is_marked = True
        self._cpu_ns, self._delayed_ns = time.thread_time_ns(), _delayed_ns()

    def since_mark(self) -> tuple[int, int]:
        """Nanoseconds that it ran, and that it was ready and had to wait."""
        return time.thread_time_ns() - self._cpu_ns, _delayed_ns() - self._delayed_ns


def _delayed_ns() -> int:
    """How long this thread waited for a processor since its start; 0 where Linux does not say."""
    try:
        with open("/proc/thread-self/schedstat", encoding="ascii") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
