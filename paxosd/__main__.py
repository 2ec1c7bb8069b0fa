"""``python -m paxosd`` and the console script ``paxosd``."""

from paxosd.cli import cli


def main() -> None:
    """Runs the command line and exits with its code (see :mod:`paxosd.exits`)."""
    cli.main(prog_name="paxosd")


if __name__ == "__main__":
    main()
