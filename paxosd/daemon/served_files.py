"""The files that a running node hands out: its recording, its log, its settings.

Everything here is called in a thread beside the loop (``file_thread.py``), and reads only. A name
that a client sends is compared with the forms of ``recorder/served_names.py``; what it stands for
is opened without following a link, and must be a regular file, so that nothing that somebody put
there can make the thread hang or lead it elsewhere.
"""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paxosd.config.redaction import redacted
from paxosd.config.schema import SECTIONS, Config
from paxosd.recorder.files import DIRECTORY
from paxosd.recorder.served_names import CONFIG, LOG, SMALL_FILES, FileClass, class_of
from paxosd.replica.admin import FILE_READ_BYTES_MAX
from paxosd.storage.node_directory import LOG_DIRECTORY

FILES_MAX = 2000
"""In one list: the newest of each directory."""
_ZEROS = bytes(4096)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class ServedFiles:
    """Those of one daemon."""

    def __init__(self, config: Config) -> None:
        self._home = Path(config.node.data_dir)
        self._log = Path(config.log.file) if config.log.file else None
        self._config = json.dumps(shown_settings(config), indent=1, sort_keys=True).encode()
        self._notes: list[str] = []
        if self._log is None:
            self._notes.append(
                "its log goes to standard error, where it cannot be read back: add it as a file, "
                "such as journalctl -u 'paxosd@*' -o export"
            )
        if not config.recorder.enabled:
            self._notes.append("its recorder is switched off ([recorder] enabled = false)")

    def listed(self) -> dict[str, Any]:
        """``{files: [{name, bytes, mtime_ms}, …], notes: [text, …]}``, the newest last."""
        files = [{"name": CONFIG, "bytes": len(self._config), "mtime_ms": 0}]
        notes = list(self._notes)
        for name, path in self._candidates(notes):
            try:
                found = os.lstat(path)
            except OSError:
                continue  # it was dropped meanwhile, or was never made
            if name == LOG:
                found = os.stat(path)
            if stat.S_ISREG(found.st_mode):
                mtime_ms = found.st_mtime_ns // 1_000_000
                files.append({"name": name, "bytes": found.st_size, "mtime_ms": max(0, mtime_ms)})
        return {"files": files, "notes": notes}

    def _candidates(self, notes: list[str]) -> Iterator[tuple[str, Path]]:
        for name in SMALL_FILES:
            yield name, self._home / name
        for directory in (DIRECTORY, LOG_DIRECTORY):
            place = self._home / directory
            try:
                plain = sorted(os.listdir(place))
            except FileNotFoundError:
                continue
            except OSError as problem:
                notes.append(f"{directory} cannot be read: {problem.strerror or problem}")
                continue
            names = [f"{directory}/{each}" for each in plain]
            served = [each for each in names if class_of(each) is not None]
            for name in served[-FILES_MAX:]:
                yield name, self._home / name
        if self._log is not None:
            yield LOG, self._log

    def read(self, name: str, offset: int, count: int) -> dict[str, Any]:
        """``{name, offset, total, bytes, data}``: ``bytes`` of the file from ``offset`` on, of
        which ``data`` has all but the zeros at the end. Raises LookupError, OSError."""
        count = min(count, FILE_READ_BYTES_MAX)
        kind = class_of(name)
        if kind is None:
            raise LookupError(f'"{name:.60}" is no file that this node hands out; file_list')
        if kind is FileClass.CONFIG:
            return _piece(name, offset, len(self._config), self._config[offset : offset + count])
        path = self._log if kind is FileClass.LOG else self._home / name
        if path is None:
            raise LookupError(self._notes[0])
        flags = _FLAGS & ~os.O_NOFOLLOW if kind is FileClass.LOG else _FLAGS
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            raise LookupError(f"{name} is gone, or was never there") from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise LookupError(f"{name} is no regular file")
            # An offset at the end of all numbers is refused by the kernel.
            data = os.pread(descriptor, count, offset) if offset < found.st_size else b""
            return _piece(name, offset, found.st_size, data)
        finally:
            os.close(descriptor)


def _piece(name: str, offset: int, total: int, data: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "offset": offset,
        "total": total,
        "bytes": len(data),
        "data": without_zeros(data),  # a segment of the log is zeros from its end on
    }


def without_zeros(data: bytes) -> bytes:
    """Without the zeros at its end. Compared in blocks: byte by byte, as ``rstrip`` does it, 256
    KiB of zeros take 0.65 ms, in which no other thread runs, the loop's included."""
    end = len(data)
    while end >= len(_ZEROS) and data[end - len(_ZEROS) : end] == _ZEROS:
        end -= len(_ZEROS)
    return data[:end].rstrip(b"\0")


def shown_settings(config: Config) -> dict[str, Any]:
    """All settings as plain values, with REDACTED where one is secret; ``sources``: where each came
    from, if it is no default."""
    settings: dict[str, Any] = {name: asdict(getattr(config, name)) for name in SECTIONS}
    settings = redacted(json.loads(json.dumps(settings, default=str)))
    return settings | {"sources": dict(config.sources)}
