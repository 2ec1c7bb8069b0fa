"""The monotonic clock of this machine: it never goes back, and nobody can set it.

Deadlines, waiting times and ages are measured on it. It starts anywhere, so that its values mean
nothing to another process. Every function here reads the same clock.
"""

import time


def clock_ms() -> int:
    """Whole milliseconds, rounded down."""
    return time.monotonic_ns() // 1_000_000


def precise_clock_ms() -> float:
    """Milliseconds with their fraction: for the daemon, which judges how old an answer is, and
    must not judge it younger than it is by rounding."""
    return time.monotonic() * 1000.0


def clock_ns() -> int:
    """Nanoseconds, to measure how long something took."""
    return time.monotonic_ns()
