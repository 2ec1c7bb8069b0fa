"""What a shell that completes is answered: the verbs, their options and values."""

import click

from paxosctl.cli.app import Settings
from paxosd.host.shell_completion import Program


def program_of(command: click.Command) -> Program:
    """``command``: all of ``paxosctl``."""
    return Program(command, "paxosctl", Settings)
