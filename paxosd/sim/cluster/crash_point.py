"""The point at which a simulated process is to crash, or to be stopped: before a given effect.

Every send, publish, answer and change of a disk is an *effect*: something that can be seen from
outside, or that outlives the process. A process reports each of them here right before it happens.
"""

from collections.abc import Callable

from paxosd.sim.world.trace import TraceLog


class SimulatedCrash(BaseException):
    """The process dies here. It is no Exception, so that nothing in the product catches it."""


class CrashPoint:
    """Counts effects down to an armed crash or pause. ``power``: whether the power fails with the
    crash, so that what was not synced may be lost."""

    __slots__ = ("_left", "_log", "_pause", "_pause_ms", "power")

    def __init__(self, pause: Callable[[float], None], log: TraceLog) -> None:
        """``pause(duration_ms)``: stops the process for that long."""
        self._pause = pause
        self._log = log
        self._left = 0
        """Effects up to the armed one; 0 while nothing is armed."""
        self._pause_ms = 0.0
        self.power = True

    def arm(self, effects: int, *, power: bool) -> None:
        """Crash right before the ``effects``-th effect from now on, in this life or a later one."""
        self._left = max(1, effects)
        self._pause_ms = 0.0
        self.power = power

    def arm_pause(self, effects: int, duration_ms: float) -> None:
        """Stop for ``duration_ms`` right before the ``effects``-th effect from now on: in the
        middle of a turn, whose rest follows when the process goes on."""
        self.arm(effects, power=False)
        self._pause_ms = duration_ms

    def disarm(self) -> None:
        """Let all effects pass."""
        self._left = 0

    def reach(self, what: str, _file: str = "") -> None:
        """An effect is about to happen. Raises SimulatedCrash."""
        if not self._left:
            return
        self._left -= 1
        if self._left:
            return
        if self._pause_ms:
            self._log.info("process.pause_point", before=what)
            self._pause(self._pause_ms)
            return
        self._log.info("process.crash_point", before=what)
        raise SimulatedCrash(what)

    def crash(self) -> None:
        """Crash now, with a power cut. Raises SimulatedCrash."""
        self.power = True
        raise SimulatedCrash
