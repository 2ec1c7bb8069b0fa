"""What the service manager hears while a node reads its log: how far it is, and that it goes on.

Only work that was done brings more time: a start that hangs runs into TimeoutStartSec, and the
service manager ends it. A stop that was asked for meanwhile takes hold here.
"""

from collections.abc import Callable

from paxosd.daemon.notify import Notifier
from paxosd.host.progress import how_far
from paxosd.host.stop_signals import SIGNALS

EXTEND_MS = 60_000
"""How much longer the start may take from each report on. A step between two reports takes far
less: it reads one segment of the log, or one block of a snapshot."""
REPORT_MS = 1000.0


class StartProgress:
    """To be called with each step of a start. ``now_ms``: a steady clock."""

    def __init__(self, notifier: Notifier, now_ms: Callable[[], float]) -> None:
        self._notifier = notifier
        self._now_ms = now_ms
        self._what = ""
        self._began_ms = 0.0
        self._due_ms = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        """``what``: such as "reading the log"; done and total in any unit. Raises StopRequested."""
        SIGNALS.raise_noted()
        now_ms = self._now_ms()
        if what != self._what:
            self._what, self._began_ms = what, now_ms
        elif now_ms < self._due_ms:
            return
        self._due_ms = now_ms + REPORT_MS
        far = how_far(done, total, now_ms - self._began_ms)
        self._notifier.extend_timeout(EXTEND_MS, f"starting: {what}{', ' * bool(far)}{far}")
