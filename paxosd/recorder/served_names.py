"""The files of a node that it hands out to who asks what happened, and what each is called.

    recorder/rec-00000007.bin   its recording, by file
    wal/wal-00000003.log        its log, by segment; wal/tail-mark
    identity, genesis, …        the small files of its data directory
    log                         the file that its log lines go to, if they go to one
    config.json                 its settings, without what is secret

One table for both ends: a node opens nothing that is not of one of these forms, and a client writes
nothing to a path that is not. A name is never taken for a path.
"""

from enum import Enum

from paxosd.recorder.files import DIRECTORY, file_number
from paxosd.storage.node_directory import LOG_DIRECTORY
from paxosd.storage.wal_format import segment_number
from paxosd.storage.wal_mark import NAME as TAIL_MARK

LOG = "log"
CONFIG = "config.json"

SMALL_FILES = ("identity", "incarnation", "genesis", "members", "peers", "restored-from")
"""Of the data directory (``docs/DATA.md``): who it belongs to, and whom it knows. They hold no keys
and no values."""


class FileClass(Enum):
    """What is in a file, and so when it is wanted."""

    RECORDING = "recording"
    WAL = "wal"
    """It holds keys and values."""
    SMALL = "small"
    LOG = "log"
    CONFIG = "config"


def class_of(name: str) -> FileClass | None:
    """Of a file that is handed out; None for any other name."""
    if name in SMALL_FILES:
        return FileClass.SMALL
    if name in (LOG, CONFIG):
        return FileClass(name.removesuffix(".json"))
    if not name.isascii():
        return None  # other digits are digits to a pattern, too
    directory, _, plain = name.partition("/")
    if directory == DIRECTORY and file_number(plain) is not None:
        return FileClass.RECORDING
    if directory == LOG_DIRECTORY and segment_number(plain) is not None:
        return FileClass.WAL
    if directory == LOG_DIRECTORY and plain == TAIL_MARK:
        return FileClass.SMALL
    return None
