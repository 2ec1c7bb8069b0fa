"""The line on the terminal while something long goes on."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from paxosctl.cli.streams import is_terminal

if TYPE_CHECKING:
    from rich.status import Status

QUIET_S = 2.0
"""What takes no longer shows no progress."""


@contextmanager
def progress(
    words: str, share: Callable[[], float] | None = None
) -> Iterator[Callable[[int], None]]:
    """A line on standard error, if that is a terminal; gives what to call with how many more
    commands were acknowledged. ``share``: how much of all is done, 0 to 1 (0: not known), from
    which the time that is left is reckoned."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 -- slow to start

    status: Status | None = None
    began_s, done = time.monotonic(), 0

    def step(more: int) -> None:
        nonlocal done, status
        done += more
        passed_s = time.monotonic() - began_s
        if passed_s < QUIET_S:
            return
        if status is None:
            status = Console(stderr=True).status(words)
            status.start()
        left = left_words(passed_s, share() if share is not None else 0.0)
        rate = done / passed_s
        status.update(f"{words}: {done:,} in {passed_s:.0f} s, {rate:,.0f} a second{left}")

    try:
        yield step
    finally:
        if status is not None:
            status.stop()


@contextmanager
def stages(words: str) -> Iterator[Callable[[str], None]]:
    """A line on standard error, if that is a terminal, once it has taken longer than QUIET_S in
    all; gives what to call with the name of each stage when it begins."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 -- slow to start

    status = Console(stderr=True).status(words)
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
