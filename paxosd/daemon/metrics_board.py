"""Where the loop posts an observation, and the HTTP thread takes it: neither waits for the other.

    HTTP thread: ask() ──► wanted ──► the loop, at its next look: observe ──► latest, posted

Only references and whole numbers are exchanged, so that no lock is needed. However many monitors
ask, the loop observes at most once a look, ten times a second; if none asks, it never does.
"""

from collections.abc import Callable

from paxosd.metrics.observation import Observation

STALE_MS = 1000.0
"""A monitor waits so long for a new observation; then the last one must do."""


class MetricsBoard:
    """``observe``: makes an observation, in the loop's thread; the clock is in milliseconds."""

    def __init__(self, observe: Callable[[float], Observation], now_ms: float) -> None:
        self._observe = observe
        self.turned_ms = now_ms
        """When the loop looked last."""
        self._wanted = True
        self._posted = 0
        self._latest: Observation | None = None

    def look(self, now_ms: float) -> None:
        """For the loop, now and then."""
        self.turned_ms = now_ms
        if self._wanted:
            self._wanted = False
            self._latest = self._observe(now_ms)
            self._posted += 1

    def ask(self) -> int:
        """For the other thread: a new observation is wanted. Which one it is, for ``taken``."""
        number = self._posted + 1
        self._wanted = True
        return number

    def taken(self, number: int, waited_ms: float) -> Observation | None:
        """The observation that was asked for, or a later one; after STALE_MS the last one that
        there is. None: wait."""
        if self._posted >= number or waited_ms >= STALE_MS:
            return self._latest
        return None
