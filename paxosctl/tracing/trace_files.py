"""Which traces are meant: files, trace directories, data directories, or the directory of several.

DIR/n1/trace/trace-00000003.trc      one file a run; the last of a directory is the newest run
"""

from pathlib import Path

from paxosctl.cli.streams import StreamError
from paxosctl.client.errors import RefusedError
from paxosd.trace.packing import DIRECTORY, file_number


def find_traces(sources: list[Path]) -> list[Path]:
    """All files, those of one directory in order. Raises StreamError if a source has none."""
    found: dict[Path, None] = {}
    for source in sources:
        try:
            files = [source] if source.is_file() else _files_of(source)
        except PermissionError as error:
            raise RefusedError("permission", f"{source}: this user may not read it") from error
        if not files:
            raise StreamError(
                f"{source} holds no trace: a node makes one with [trace] enabled = true, the "
                "simulator with paxosctl sim run --record DIR"
            )
        found |= dict.fromkeys(files)
    return list(found)


def _files_of(directory: Path) -> list[Path]:
    """Of the directory itself, of a data directory, or of each data directory in it."""
    for place in (directory, directory / DIRECTORY):
        if files := _numbered(place):
            return files
    return [
        file
        for node in sorted(directory.iterdir())
        if node.is_dir()
        for file in _numbered(node / DIRECTORY)
    ]


def _numbered(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    numbers = {number: path for path in place.iterdir()
               if (number := file_number(path.name)) is not None}  # fmt: skip
    return [numbers[number] for number in sorted(numbers)]


def read_file(path: Path) -> bytes:
    """Its bytes. Raises StreamError, RefusedError."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise RefusedError("permission", f"{path}: this user may not read it") from error
    except OSError as error:
        raise StreamError(f"{path} cannot be read: {error.strerror or error}") from error
