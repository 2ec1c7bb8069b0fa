"""Makes sure that standard input, output and error are open.

A process that was started without one of them gives its number to the next file that it opens. If
that were the log of the acceptor, a message to standard error would be written into the log.
"""

import os
import sys

_closed: set[int] = set()


def was_closed(number: int) -> bool:
    """Whether this process was started without it."""
    return number in _closed


def open_standard_files() -> None:
    """Open /dev/null in place of each that is closed."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
