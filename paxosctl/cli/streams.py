"""Standard input, output and error of a command, any of which may be closed, full or broken.

    closed or full standard output     StreamError, exit code 74: an answer got lost
    a reader that has enough (a pipe)  BrokenOutputError: no failure, the reader ended it
    closed or broken standard error    what was to be said is dropped; the exit code stays

A stream that failed is pointed to /dev/null, for Python flushes it once more at its end, and would
complain again. Characters that the terminal's encoding lacks are written as escapes.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import click

from paxosd.host.output import silence
from paxosd.host.printable import escape_controls, escape_json_controls

_lost: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
"""Standard outputs that have failed, and why."""


class StreamError(Exception):
    """A standard stream, or a file that a verb was given, cannot be read or written: exit code 74.
    The text says which, and why."""


class BrokenOutputError(Exception):
    """The reader of standard output has closed it."""


def prepare() -> None:
    """Call once, first of all in the process. A number from 0 to 2 that is free would be given to
    the next file or socket, and what is meant for a standard stream would land there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish(code: int) -> int:
    """Flush what is left; returns the exit code of the process."""
    _unwrap()
    # click may have put others in their place: Python flushes those that stand there at its end.
    for stream in (sys.__stdout__, sys.stdout):
        error = _flush(stream)
        if error is not None and code == 0 and not isinstance(error, BrokenPipeError):
            say(f"paxosctl: standard output cannot be written: {error.strerror}")
            code = 74
    for stream in (sys.__stderr__, sys.stderr):
        _flush(stream)
    return code


def _unwrap() -> None:
    """Where the reader of a help text has gone, click puts wrappers in place of both streams, also
    of one that is closed: Python cannot flush that at its end, and exits with 120."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream).__module__.startswith("click."):
            setattr(sys, name, vars(stream).get("wrapped", stream))


def _flush(stream: Any) -> OSError | None:
    """Flush it; if that fails it is silenced, and flushed again, so that nothing is left in it."""
    try:
        if stream is not None and not stream.closed:
            stream.flush()
    except OSError as error:
        silence(stream)
        with suppress(OSError, ValueError):
            stream.flush()
        return error
    return None


def write(content: str | bytes, *, newline: bool = True) -> None:
    """To standard output, at once. Raises StreamError, BrokenOutputError."""
    if sys.stdout is None:
        raise StreamError("standard output is closed, and the answer was to go there")
    try:
        click.echo(content, nl=newline)
    except BrokenPipeError as error:
        lose_output("its reader has gone")
        raise BrokenOutputError from error
    except OSError as error:
        lose_output(str(error.strerror))
        raise StreamError(f"standard output cannot be written: {error.strerror}") from error
    except ValueError as error:  # it was closed meanwhile
        raise StreamError(f"standard output cannot be written: {error}") from error


def lose_output(why: str) -> None:
    """Standard output has failed: what is still written to it goes nowhere."""
    silence(sys.stdout)
    _lost[sys.stdout] = why


def lost_output() -> str:
    """Why standard output has failed; "": it has not."""
    return "" if sys.stdout is None else _lost.get(sys.stdout, "")


def write_bytes(piece: bytes) -> None:
    """A piece of something that is worth nothing unless it is whole, so that a reader who has gone
    is a failure, too. Raises StreamError."""
    try:
        write(piece, newline=False)
    except BrokenOutputError as error:
        raise StreamError("standard output cannot be written: its reader has gone") from error


def say(text: str = "", *, newline: bool = True, keep: str = "\n\t") -> None:
    """To standard error, for people, who may sit at a terminal: nothing in what others named moves
    its cursor, but what is in ``keep``. Lost if it cannot be written."""
    _say(escape_controls(text, keep), newline=newline)


def say_json(line: str) -> None:
    """To standard error, for programs. Lost if it cannot be written."""
    _say(escape_json_controls(line))


def _say(text: str, *, newline: bool = True) -> None:
    try:
        click.echo(text, err=True, nl=newline)
    except (OSError, ValueError):
        silence(sys.stderr)


def read_all() -> bytes:
    """All of standard input, byte for byte. Raises StreamError."""
    if sys.stdin is None:
        raise StreamError("standard input is closed, and the value was to come from there")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise StreamError(f"standard input cannot be read: {error.strerror}") from error


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is there, and a terminal."""
    return stream is not None and not stream.closed and bool(stream.isatty())
