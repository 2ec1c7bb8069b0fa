"""``python -m paxosctl`` and the console script ``paxosctl``."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
"""As in ``paxosctl/client/errors.py``, which is not imported before Ctrl-C is taken care of."""


def main() -> None:
    """Run the command line of this process, and exit. Ctrl-C ends it with 130 and no traceback,
    also during the imports, which take longer than many a verb."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is to be ignored
        signal.signal(signal.SIGINT, _end)
    from paxosctl.cli import main as command_line  # noqa: PLC0415 - see above

    try:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = command_line.run_process()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)  # nothing is left to be interrupted but Python's end
    sys.exit(code)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
