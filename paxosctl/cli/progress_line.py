"""The line on the terminal while something long goes on.

It is for a person who waits: it stands on standard error if that is a terminal, from QUIET_S on,
and is gone at the end. Programs never see it: there is none with ``-o json`` or ``--quiet``.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from paxosctl.cli.app import Settings
from paxosctl.cli.colour import can_draw, drawing_console
from paxosctl.cli.render import human_bytes
from paxosd.host.progress import PhaseProgress, how_far

if TYPE_CHECKING:
    from rich.status import Status

QUIET_S = 2.0
"""What takes no longer shows no progress."""


class _Line:
    """The line. It is drawn for the first time once QUIET_S have passed."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._status: Status | None = None

    def passed_s(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._began_s

    def show(self, words: str) -> None:
        """Show these words now."""
        if self._status is None:
            console = drawing_console()
            assert console is not None, "is_wanted() has said so"
            self._status = console.status(words)
            self._status.start()
        self._status.update(words)

    def end(self) -> None:
        """Remove it."""
        if self._status is not None:
            self._status.stop()


def is_wanted() -> bool:
    """Whether a person waits who can see it."""
    context = click.get_current_context(silent=True)
    settings = context.find_object(Settings) if context is not None else None
    unwanted = settings is not None and (settings.quiet or settings.output == "json")
    return can_draw() and not unwanted


@contextmanager
def progress(
    words: str, share: Callable[[], float] | None = None
) -> Iterator[Callable[[int], None]]:
    """Gives what to call with how many more commands were acknowledged. ``share``: how much of all
    is done, 0 to 1 (0: not known), from which the time that is left is reckoned."""
    if not is_wanted():
        yield lambda _: None
        return
    line, done = _Line(), 0

    def step(more: int) -> None:
        nonlocal done
        done += more
        passed_s = line.passed_s()
        if passed_s >= QUIET_S:
            left = left_words(passed_s, share() if share is not None else 0.0)
            rate = done / passed_s
            line.show(f"{words}: {done:,} in {passed_s:.0f} s, {rate:,.0f} a second{left}")

    try:
        yield step
    finally:
        line.end()


@contextmanager
def work_progress(unit: Callable[[int], str] = human_bytes) -> Iterator[PhaseProgress]:
    """Gives what to call with what is done now, how much of it is done, and how much it is in all
    (0: not known): ``verifying: 1.2 MiB of 4.0 MiB, 30 %, 7 s left``. The time that is left is that
    of this kind of work. ``unit``: an amount in words."""
    if not is_wanted():
        yield lambda what, done, total: None
        return
    line, now, began_s = _Line(), "", 0.0

    def step(what: str, done: int, total: int) -> None:
        nonlocal now, began_s
        passed_s = line.passed_s()
        if what != now:
            now, began_s = what, passed_s
        if passed_s >= QUIET_S:
            amount = f": {unit(done)} of {unit(total)}" if total else ""
            left = how_far(done, total, (passed_s - began_s) * 1000)
            line.show(f"{what}{amount}{', ' * bool(left)}{left}")

    try:
        yield step
    finally:
        line.end()


@contextmanager
def stages(words: str) -> Iterator[Callable[[str], None]]:
    """Gives what to call with the name of each stage when it begins. The line comes by itself: a
    stage may be long."""
    console = drawing_console() if is_wanted() else None
    if console is None:
        yield lambda _: None
        return
    status = console.status(words)
    timer = threading.Timer(QUIET_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda stage: status.update(f"{words}: {stage}")
    finally:
        timer.cancel()
        timer.join()  # it may be starting the line at this very moment
        status.stop()


def left_words(passed_s: float, share: float) -> str:
    """How much is done, and how long the rest takes if it goes on like that; "": not known."""
    if not 0 < share <= 1:
        return ""
    return f", {share:.0%}, {passed_s * (1 / share - 1):.0f} s left"
