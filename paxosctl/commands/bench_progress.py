"""The line on the terminal while a load runs."""

import sys
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
def progress(words: str) -> Iterator[Callable[[int], None]]:
    """A line on standard error, if that is a terminal; gives what to call with how many more
    commands were acknowledged."""
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
        status.update(f"{words}: {done:,} in {passed_s:.0f} s, {done / passed_s:,.0f} a second")

    try:
        yield step
    finally:
        if status is not None:
            status.stop()
