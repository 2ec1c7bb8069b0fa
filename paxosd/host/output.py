"""Standard output of those ``paxosd`` commands that print an answer: it must not get lost."""

import os
import sys
from contextlib import suppress
from typing import Any

import click

from paxosd.host import standard_files


class OutputError(Exception):
    """Standard output cannot be written. The text says why."""


def write(text: str) -> None:
    """Print a line to standard output, at once. Raises OutputError. It is no error if the reader
    has gone."""
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
    """Point a standard stream that failed to /dev/null: Python flushes it once more when it ends,
    and would report the error again."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
