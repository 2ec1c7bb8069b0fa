"""Copies of keys outside of the cluster: export, import."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import click

from paxosctl.cli import complete
from paxosctl.cli.app import (
    DiagnosedError,
    Settings,
    check_key,
    global_options,
    negative,
    raw,
    verb,
)
from paxosctl.cli.new_file import NotReplacedError, new_file
from paxosctl.cli.progress_line import is_wanted, progress
from paxosctl.cli.render import View
from paxosctl.cli.streams import StreamError, say, write
from paxosctl.client.errors import ClientError, OutcomeUnknownError, RefusedError
from paxosctl.commands.key_lines import (
    LINE_BYTES_MAX,
    KeyLine,
    KeyLineError,
    end_line,
    head_line,
    read_lines,
    row_line,
)
from paxosd.core.commands import CAS_REVISION, PUT, Status, prefix_end
from paxosd.host.file_path import FilePath
from paxosd.host.wording import counted
from paxosd.wire.status import decode_status

UNDER_WAY_MAX = 2048
"""Commands that an import has under way, …"""
UNDER_WAY_BYTES_MAX = 8 << 20
"""… and bytes of their keys and values."""
TURN_COMMANDS = 256


@click.command("export")
@click.option(
    "--prefix",
    default="",
    shell_complete=complete.keys,
    help="Only the keys that start with this.",
)
@click.option("-o", "--output-file", "target", type=FilePath(path_type=Path, dir_okay=False),
              help="The file to write, which appears once it is complete.  [default: standard "
              "output]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file if it exists and is a regular file.")
@click.make_pass_decorator(Settings, ensure=True)
def _export(settings: Settings, prefix: str, target: Path | None, force: bool) -> None:
    """Write keys and values as JSON lines, any bytes, to be read by import or by other programs.

    docs/JSON.md has the format. All of it is of one revision, which the first line names, whatever
    is written meanwhile. Exit code 77, and no file, if the cluster's history moves past that
    revision before the last key is read (`cluster set history_revisions=N` keeps more). Leases are
    left out: an imported key is attached to none. Sessions, settings and members are not in it
    either: for all of the state, snapshot save.
    """
    check_key(prefix, prefix=True)
    with settings.client() as client, _written(target, force=force) as put:
        keys, revision = _copy(client, raw(prefix), put)
    words = f"{counted(keys, 'key')} exported, as of revision {revision}"
    if target is None:
        say(words)
        return
    data = {"file": str(target), "keys": keys, "revision": revision}
    settings.show(View(data=data, plain=b"%d\n" % keys, text=f"{target}: {words}"))


export_verb = global_options(_export, with_output=False)


def _copy(client: Any, prefix: bytes, put: Callable[[bytes], object]) -> tuple[int, int]:
    """How many keys there were, and the revision that they are of; for a cluster below feature
    level 4, that of the last page."""
    keys = 0
    revision = -1
    total = 0
    if is_wanted() and not prefix:
        total = decode_status(client.status()).keys
    with progress("exporting", lambda: keys / total if total else 0.0) as step:
        for page in client.pages(prefix, prefix_end(prefix)):
            if revision < 0:
                put(head_line(client.cluster, prefix, page.revision))
            rows = page.results[0].rows
            revision = page.revision
            put(b"".join(map(row_line, rows)))
            keys += len(rows)
            step(len(rows))
    put(end_line(keys, revision))
    return keys, revision


@contextmanager
def _written(target: Path | None, *, force: bool) -> Iterator[Callable[[bytes], object]]:
    if target is None:
        yield lambda piece: write(piece, newline=False)
        return
    try:
        with new_file(target, force=force) as (file, _):
            yield file.write
    except NotReplacedError as error:
        negative(str(error))
    except PermissionError as error:
        raise RefusedError("permission", str(error)) from error


class _Counts:
    """How far an import is."""

    def __init__(self) -> None:
        self.imported = self.skipped = 0
        self.line = 0
        """All lines up to this one are done."""


@verb("import")
@click.argument("file", type=FilePath(path_type=Path, dir_okay=False), default="-")
@click.option("--skip-existing", is_flag=True, help="Leave keys alone that exist: to go on with an "
              "import that was interrupted, or to add what is missing.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Read and check all of it; write nothing.")
def import_verb(settings: Settings, file: Path, skip_existing: bool, dry_run: bool) -> None:
    """Write the keys and values in FILE, JSON lines as export makes them; "-": standard input.

    Each key is a write of its own, many are under way at a time, and other keys stay as they are.
    If it ends early, everything up to the line that it names was written: once more does no harm,
    with --skip-existing it takes up where it ended.
    """
    counts = _Counts()
    try:
        with _opened(file) as source:
            lines = _Lines(source)
            rows = read_lines(lines)
            if dry_run:
                for row in rows:
                    counts.imported, counts.line = counts.imported + 1, row.line
            else:
                with (
                    settings.client() as client,
                    progress("importing", lambda: lines.share) as step,
                ):
                    _Import(client, counts, step, skip_existing=skip_existing).run(rows)
    except KeyLineError as error:
        done = "" if dry_run else f"; {_done(counts)}"
        negative(f"{error}{done}", _view(counts, dry_run))
    except (ClientError, DiagnosedError, StreamError):
        say(_done(counts))
        raise
    settings.show(_view(counts, dry_run))


class _UnderWay(NamedTuple):
    row: KeyLine
    call: Any
    size: int


class _Import:
    """Writes keys, many at a time, in order of their lines."""

    def __init__(
        self, client: Any, counts: _Counts, step: Callable[[int], None], *, skip_existing: bool
    ) -> None:
        self._client = client
        self._counts = counts
        self._step = step
        self._skips = skip_existing
        self._waiting: deque[_UnderWay] = deque()
        self._bytes = 0
        self._keys: dict[bytes, int] = {}
        """How many writes of a key are under way: two at a time could end in any order."""

    def run(self, rows: Iterator[KeyLine]) -> None:
        """Raises the ClientError of the first that failed."""
        unsent = 0
        for row in rows:
            size = len(row.key) + len(row.value)
            while self._waiting and (
                len(self._waiting) >= UNDER_WAY_MAX
                or self._bytes + size > UNDER_WAY_BYTES_MAX
                or row.key in self._keys
            ):
                self._finish()
            self._waiting.append(_UnderWay(row, self._submit(row), size))
            self._bytes += size
            self._keys[row.key] = 1
            unsent += 1
            if unsent >= TURN_COMMANDS:
                unsent = 0
                self._client.turn()
        while self._waiting:
            self._finish()

    def _submit(self, row: KeyLine) -> Any:
        if self._skips:
            return self._client.submit([CAS_REVISION, row.key, 0, row.value])
        return self._client.submit([PUT, row.key, row.value])

    def _finish(self) -> None:
        """Wait for the oldest. One whose outcome is unknown is written once more: a second time
        does no harm."""
        row, call, size = self._waiting[0]
        self._client.finish(call)
        if call.failure is not None:
            error = self._client.failure_of(call)
            if not isinstance(error, OutcomeUnknownError):
                raise error
            call = self._client.finish(self._submit(row))
            if call.failure is not None:
                raise self._client.failure_of(call)
        self._waiting.popleft()
        self._bytes -= size
        del self._keys[row.key]
        result = call.result
        if isinstance(result, int):
            self._counts.imported += 1
        else:
            assert result[0] == Status.CAS_MISS
            self._counts.skipped += 1
        self._counts.line = row.line
        self._step(1)


def _done(counts: _Counts) -> str:
    if not counts.line:
        return "nothing is known to be written"
    words = f"everything up to line {counts.line} is written"
    return f"{words} ({counted(counts.imported, 'key')}, {counts.skipped} skipped)"


def _view(counts: _Counts, dry_run: bool) -> View:
    data = {
        "imported": 0 if dry_run else counts.imported,
        "skipped": counts.skipped,
        "keys": counts.imported + counts.skipped,
        "lines": counts.line,
        "dry_run": dry_run,
    }
    if dry_run:
        words = f"{counted(counts.imported, 'key')} can be imported; nothing was written"
    else:
        words = f"{counted(counts.imported, 'key')} imported, {counts.skipped} skipped"
    return View(data=data, plain=b"%d\n" % data["imported"], text=words)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        if sys.stdin is None:
            raise StreamError("standard input is closed, and the keys were to come from there")
        yield sys.stdin.buffer
        return
    try:
        with open(file, "rb") as source:
            yield source
    except PermissionError as error:
        raise RefusedError("permission", f"{file}: this user may not read it") from error
    except OSError as error:
        raise StreamError(f"{file} cannot be read: {error.strerror}") from error


class _Lines:
    """The lines of a file or stream; how much of it was read, from 0 to 1 (0: not known)."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._read_bytes = 0
        self._size_bytes = 0
        with suppress(OSError, ValueError):  # it may be no file
            self._size_bytes = os.fstat(source.fileno()).st_size

    @property
    def share(self) -> float:
        return self._read_bytes / self._size_bytes if self._size_bytes else 0.0

    def __iter__(self) -> Iterator[bytes]:
        number = 0
        while line := self._source.readline(LINE_BYTES_MAX):
            number += 1
            if len(line) == LINE_BYTES_MAX:
                raise KeyLineError(f"line {number} has more than {LINE_BYTES_MAX} bytes")
            self._read_bytes += len(line)
            yield line
