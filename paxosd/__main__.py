"""``python -m paxosd`` and the console script ``paxosd``."""

import os
import signal
import sys


def main() -> None:
    """Runs the command line and exits with its code (see :mod:`paxosd.daemon.exits`). A stop signal
    that no other part handles ends it without a traceback, also during the imports."""
    try:
        from paxosd.host.stop_signals import SIGNALS, StopRequested, end_by  # noqa: PLC0415 -- see below

        SIGNALS.catch()  # before the other imports, which take a tenth of a second and more
        try:
            from paxosd.host.standard_files import open_standard_files  # noqa: PLC0415 -- later

            open_standard_files()
            from paxosd.cli import run  # noqa: PLC0415 -- once signals and streams are ready

            sys.exit(run())
        except StopRequested as stop:
            end_by(stop.number)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
