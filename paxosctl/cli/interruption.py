"""SIGTERM and SIGHUP end a verb as Ctrl-C does, so that it tidies up.

By default they end the process within an instruction, and leave what it had begun: a ``.part`` file
beside the one that was to be written, a directory full of what was fetched. Here they interrupt the
verb, and the process ends by the signal once that is tidied up. A second one ends it at once.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDS = (signal.SIGTERM, signal.SIGHUP)


_came: list[int] = []
"""The signals of this process that were taken."""


def is_ending() -> bool:
    """Whether one of them came: a KeyboardInterrupt then is to end the process, not one verb."""
    return bool(_came)


@contextmanager
def interrupted_by_ends() -> Iterator[list[int]]:
    """Meanwhile these raise KeyboardInterrupt, but for one that is ignored (nohup). Gives the list
    of those that came. Call it in the main thread."""
    came = _came
    came.clear()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    taken = [each for each in ENDS if signal.getsignal(each) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
