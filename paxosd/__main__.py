"""``python -m paxosd`` and the console script ``paxosd``."""

from paxosd.standard_files import open_standard_files
from paxosd.stop_signals import SIGNALS, StopRequested, end_by


def main() -> None:
    """Runs the command line and exits with its code (see :mod:`paxosd.exits`)."""
    SIGNALS.catch()  # before the imports, which take a tenth of a second and more
    open_standard_files()
    try:
        from paxosd.cli import cli  # noqa: PLC0415 - see above

        cli.main(prog_name="paxosd")
    except StopRequested as stop:
        end_by(stop.number)


if __name__ == "__main__":
    main()
