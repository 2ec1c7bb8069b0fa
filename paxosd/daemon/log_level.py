"""The level of the log, changed while the node runs, and back by itself after a while.

configured ── change(level, for_ms) ──► level ── its time is over, or change(configured) ──► back
"""

from collections.abc import Callable
from typing import Any

from paxosd.config.settings import nearest
from paxosd.daemon.logs import Logs
from paxosd.host.log_levels import LEVELS

FOR_MS_MAX = 86_400_000


class LogLevel:
    """One node's. ``trace(on)``: have debug events made, or not. ``now_ms``: a steady clock."""

    def __init__(
        self, logs: Logs, trace: Callable[[bool], None], now_ms: Callable[[], float]
    ) -> None:
        self._logs = logs
        self._trace = trace
        self._now_ms = now_ms
        self._configured = logs.level
        self._until_ms: float | None = None

    def change(self, level: str, for_ms: int) -> dict[str, Any]:
        """Log at this level for ``for_ms`` ("": change nothing). Returns :meth:`status` after that.
        Raises ValueError with words for people."""
        if level:
            self._check(level, for_ms)
            self._until_ms = None
            if level != self._configured:
                self._until_ms = self._now_ms() + for_ms
            self._use(level, for_ms if self._until_ms is not None else 0)
        return self.status()

    def configure(self, level: str) -> None:
        """The configuration has this level now; another one that was set for a while stays until
        its time is over."""
        self._configured = level
        if self._until_ms is None:
            self._use(level, 0)

    def tick(self) -> None:
        """Now and then: go back if it is time."""
        if self._until_ms is not None and self._now_ms() >= self._until_ms:
            self._until_ms = None
            self._use(self._configured, 0)

    def status(self) -> dict[str, Any]:
        """``level``; ``configured``: that of the configuration; ``left_ms``: how long another level
        is still in force, 0 if none is."""
        left_ms = 0.0 if self._until_ms is None else max(0.0, self._until_ms - self._now_ms())
        return {
            "level": self._logs.level,
            "configured": self._configured,
            "left_ms": round(left_ms),
        }

    def _check(self, level: str, for_ms: int) -> None:
        if level not in LEVELS:
            raise ValueError(f'there is no level "{level:.40}"; {nearest(level, LEVELS)}')
        if not 1 <= for_ms <= FOR_MS_MAX:
            raise ValueError(f"for_ms is from 1 to {FOR_MS_MAX}, a day")

    def _use(self, level: str, for_ms: int) -> None:
        """The line about it is written while the wordier of the two is in force, so it shows."""
        before = self._logs.level
        if level == before and not for_ms:
            return
        wordier = min(level, before, key=LEVELS.index)
        self._logs.level = wordier
        log = getattr(self._logs.logger, max(wordier, "info", key=LEVELS.index))
        log("log.level", **{"from": before, "to": level, "for_ms": for_ms})
        self._logs.level = level
        self._trace(self._logs.debug)
