"""What a node that does not answer left on this machine: its data directory, and the log beside it.

Files are copied by the names that a running node would hand out (``recorder/served_names.py``), so
that both end in the same layout.
"""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from paxosctl.evidence.running_nodes import (
    LOG_BYTES_MAX,
    NODE_BYTES_MAX,
    SLACK_MS,
    is_node_name,
    place_of,
)
from paxosd.recorder.files import DIRECTORY
from paxosd.recorder.served_names import LOG, SMALL_FILES, FileClass, class_of
from paxosd.storage.node_directory import LOG_DIRECTORY

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def data_directories(paths: list[Path], troubles: list[str]) -> dict[str, Path]:
    """Node → its data directory: each of the paths, or the directories in it. A sentence is added
    to ``troubles`` for a path that has none. Raises OSError."""
    found: dict[str, Path] = {}
    for path in paths:
        inner = [path] if _is_one(path) else [p for p in sorted(path.iterdir()) if _is_one(p)]
        if not inner:
            troubles.append(f"{path} is no data directory, and there is none in it")
        for directory in inner:
            name = _node_of(directory)
            if not is_node_name(name):
                troubles.append(f"{directory}: whose it is, it does not say")
            elif name in found and found[name].resolve() != directory.resolve():
                troubles.append(f"{directory} is not used: {found[name]} is of {name}, too")
            else:
                found[name] = directory
    return found


def _is_one(path: Path) -> bool:
    return path.is_dir() and any(
        (path / each).exists() for each in ("identity", DIRECTORY, LOG_DIRECTORY)
    )


def _node_of(directory: Path) -> str:
    try:
        return str(json.loads((directory / "identity").read_bytes())["node"])
    except (OSError, ValueError, KeyError, TypeError):
        return directory.resolve().name


def copy_left_behind(
    node: str, source: Path, target: Path, kinds: frozenset[FileClass], since_ms: int
) -> list[str]:
    """Copy what there is of these kinds, the newest first and no more than of a running node.
    Returns a sentence for each thing that could not be copied."""
    troubles: list[str] = []
    for kind in sorted(kinds, key=lambda each: each.value):
        left = LOG_BYTES_MAX if kind is FileClass.LOG else NODE_BYTES_MAX
        for name, path in reversed(list(_files(node, source, kind))):
            try:
                size, mtime_ms = _look(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                troubles.append(f"{path} cannot be read: {error.strerror or error}")
                continue
            old = kind is FileClass.RECORDING and mtime_ms + SLACK_MS < since_ms
            if old or (size > left and kind is not FileClass.LOG):
                troubles += [] if old else [f"{path}, and what is older, is above the limit"]
                break
            place = place_of(target, node, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                _copy(path, place, max(0, size - left))
            except OSError as error:
                troubles.append(f"{path} cannot be read: {error.strerror or error}")
            left -= min(size, left)
    return troubles


def _files(node: str, source: Path, kind: FileClass) -> Iterator[tuple[str, Path]]:
    """Names and paths, the oldest first."""
    if kind is FileClass.LOG:
        yield LOG, source.resolve().parent / f"{node}.log"
    elif kind is FileClass.SMALL:
        for name in (*SMALL_FILES, f"{LOG_DIRECTORY}/tail-mark"):
            yield name, source / name
    else:
        directory = DIRECTORY if kind is FileClass.RECORDING else LOG_DIRECTORY
        place = source / directory
        for plain in sorted(os.listdir(place)) if place.is_dir() else ():
            if class_of(f"{directory}/{plain}") is kind:
                yield f"{directory}/{plain}", place / plain


def _look(path: Path) -> tuple[int, int]:
    """Size and time of the last change, ms. Raises OSError for what is no regular file."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is no regular file")
    return found.st_size, found.st_mtime_ns // 1_000_000


def _copy(path: Path, place: Path, begin: int) -> None:
    with open(os.open(path, _FLAGS), "rb") as source, open(place, "wb") as target:
        source.seek(begin)
        if begin:
            source.readline()  # from the first whole line on
        shutil.copyfileobj(source, target, 1 << 20)


def head_of(path: Path, count: int) -> tuple[int, bytes]:
    """The size of a file, and its beginning. Raises OSError."""
    with open(os.open(path, _FLAGS), "rb") as file:
        return os.fstat(file.fileno()).st_size, file.read(count)


def segments_of(source: Path) -> list[tuple[str, Path]]:
    """The segments of the log in a data directory. Raises OSError."""
    return list(_files("", source, FileClass.WAL))
