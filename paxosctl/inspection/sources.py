"""What a verb was given to read: which files there are, of what kind, and what is none of ours.

    a data directory      recorder/rec-*.bin, and wal/ for what is in the slots
    a directory of them   each of them, and the *.log files beside them
    a recorder directory, a recorder file, a JSON log, an export of journald, any of these in gzip
    -                     one of these, on standard input

What a file is, its first bytes say, not its name.
"""

import gzip
import os
import shutil
import sys
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.cli.render import human_bytes
from paxosctl.cli.streams import StreamError
from paxosctl.inspection.log_lines import looks_like_log
from paxosd.recorder.block import MAGIC
from paxosd.recorder.files import DIRECTORY
from paxosd.recorder.reader import recorder_files
from paxosd.storage.node_directory import LOG_DIRECTORY

GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 64 << 10
UNPACKED_BYTES_MAX = 2 << 30
"""Of one file in gzip: a kilobyte can hold a gigabyte, and the disk is others', too."""
WAL_SUFFIXES = (".log", ".paxsnap")
"""Of segments and snapshots: a bundle without them has the small files beside them."""
LOG_SUFFIXES = (".log", ".log.gz", ".json", ".json.gz", ".export", ".export.gz")


@dataclass(slots=True)
class Sources:
    """Files by their kind. ``passed_over``: a sentence for each that is not used."""

    recordings: list[Path] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    wals: list[Path] = field(default_factory=list)
    """The directories of write-ahead logs."""
    passed_over: list[str] = field(default_factory=list)


def find_sources(names: list[str], scratch: Path) -> Sources:
    """Look at each of them. ``scratch``: a directory for what is unpacked. Raises StreamError for
    one that does not exist or cannot be read; what exists and is none of ours is passed over."""
    found = Sources()
    for name in dict.fromkeys(names):
        try:
            if name == "-":
                _add_file(found, _from_stdin(scratch), "standard input", scratch)
            else:
                _add(found, Path(name), scratch)
        except PermissionError as error:
            raise PermissionError(f"{name}: this user may not read it") from error
        except OSError as error:
            raise StreamError(f"{name} cannot be read: {error.strerror or error}") from error
    return found


def _from_stdin(scratch: Path) -> Path:
    if sys.stdin is None:
        raise StreamError("standard input is closed, and a log was to come from there")
    path = scratch / "stdin"
    with open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _add(found: Sources, path: Path, scratch: Path) -> None:
    if not path.is_dir():
        _add_file(found, path, str(path), scratch)
        return
    before = len(found.recordings) + len(found.logs) + len(found.wals)
    if not _add_directory(found, path):
        for entry in sorted(path.iterdir()):
            if entry.is_dir():
                _add_directory(found, entry)
            elif entry.name.endswith(LOG_SUFFIXES) and entry.stat().st_size:
                _add_file(found, entry, str(entry), scratch)
    if len(found.recordings) + len(found.logs) + len(found.wals) == before:
        found.passed_over.append(
            f"{path}: there is no recording and no log in it; name a data directory, the directory "
            "of several, or files"
        )


def _add_directory(found: Sources, path: Path) -> bool:
    """Whether it is a recorder directory or a data directory."""
    inner = path / DIRECTORY
    files = recorder_files(inner) if inner.is_dir() else recorder_files(path)
    found.recordings += files
    wal = path / LOG_DIRECTORY
    logged = wal.is_dir() and any(each.endswith(WAL_SUFFIXES) for each in os.listdir(wal))
    if logged:
        found.wals.append(wal)
    return bool(files) or logged


def _add_file(found: Sources, path: Path, name: str, scratch: Path) -> None:
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    packed = path if head[:2] == GZIP_MAGIC else None
    if packed is not None:
        head = _packed_head(packed)
        if MAGIC in head or looks_like_log(head):
            path, trouble = _unpack(packed, scratch, len(found.logs) + len(found.recordings))
            if trouble:
                found.passed_over.append(f"{name}: {trouble}")
    if not head:
        found.passed_over.append(f"{name}: there is nothing in it")
    elif MAGIC in head:
        found.recordings.append(path)
    elif looks_like_log(head):
        found.logs.append(path)
    else:
        found.passed_over.append(
            f"{name}: it is no recording and no JSON log of paxosd, and no export of journald"
        )


def _packed_head(path: Path) -> bytes:
    """The first bytes in the clear, as far as they can be had."""
    head = b""
    with gzip.open(path) as packed:
        try:
            while len(head) < HEAD_BYTES and (piece := packed.read1(HEAD_BYTES - len(head))):
                head += piece
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return head
    return head


def _unpack(path: Path, scratch: Path, number: int) -> tuple[Path, str]:
    """The file in the clear, and what is missing of it; "": nothing."""
    target = scratch / f"{number}-{path.name.removesuffix('.gz')}"
    left = UNPACKED_BYTES_MAX
    with gzip.open(path) as packed, open(target, "wb") as file:
        try:
            while piece := packed.read1(1 << 16):
                file.write(piece[:left])
                left -= len(piece)
                if left < 0:
                    return target, (
                        f"it holds more than {human_bytes(UNPACKED_BYTES_MAX)}: what is beyond; "
                        "unpack it yourself to have it read"
                    )
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return target, "the gzip file is damaged or cut off; its end"
    return target, ""


def make_scratch() -> "tempfile.TemporaryDirectory[str]":
    """Where files are unpacked; removed at the end."""
    return tempfile.TemporaryDirectory(prefix="paxosctl-")
