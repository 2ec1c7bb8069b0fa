"""Standard output of ``paxosd``'s commands that answer: what they say there must not get lost."""

import os
import sys
from contextlib import suppress
from typing import Any

import click

from paxosd.host import standard_files


class OutputError(Exception):
    """Standard output cannot be written. The text says why."""


def write(text: str) -> None:
    """A line to standard output, at once. Raises OutputError; a reader that has gone wants no
    more."""
    if standard_files.was_closed(1):
        raise OutputError("standard output is closed, and the answer was to go there")
    try:
        click.echo(text)
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        raise failed(error) from error


def failed(error: OSError) -> OutputError:
    """What to raise for an error of standard output."""
    silence(sys.stdout)
    return OutputError(f"standard output cannot be written: {error.strerror}")


def silence(stream: Any) -> None:
    """A standard stream failed. Python flushes it once more at its end, and would complain."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
