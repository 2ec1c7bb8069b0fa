"""How far something long is, for whoever waits for its end."""

from collections.abc import Callable

from paxosd.host.wording import lasted

Progress = Callable[[int, int], object]
"""``progress(done, total)``, both in the unit of the work; ``total`` 0: not known. Who works calls
it often, and only after more was done; so it must be cheap, and may raise to end the work."""
PhaseProgress = Callable[[str, int, int], object]
"""The same for work of several kinds, one after the other: ``progress(what is done, done, total)``.
"""


def no_progress(done: int, total: int) -> None:
    """Nobody waits."""


def how_far(done: int, total: int, passed_ms: float) -> str:
    """``42 %, 12 s left``, if it goes on as in the ``passed_ms`` since it began; "": not known."""
    if not 0 < done <= total:
        return ""
    return f"{100 * done // total} %, {lasted(passed_ms * (total - done) / done)} left"
