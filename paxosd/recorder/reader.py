"""Reads recorder files: of a directory, in the order in which they were written."""

from collections.abc import Iterator
from pathlib import Path

from paxosd.recorder.block import Losses, blocks_of, events_of
from paxosd.recorder.event import Event
from paxosd.recorder.files import file_number


def recorder_files(directory: Path) -> list[Path]:
    """The recorder's files in a directory, the oldest first. Raises OSError."""
    found = [(file_number(path.name), path) for path in directory.iterdir() if path.is_file()]
    return [path for number, path in sorted((n, p) for n, p in found if n is not None)]


def read_events(files: list[Path], losses: Losses) -> Iterator[Event]:
    """The events of these files, one file in memory at a time. What cannot be read is passed over
    and counted in ``losses``. Raises OSError."""
    for path in files:
        for head, events in blocks_of(path.read_bytes(), losses):
            yield from events_of(head, events)
