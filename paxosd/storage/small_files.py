"""Small files of a data directory, each there as a whole or not at all, also on a full disk.

    usual        .NAME.tmp written and synced ─► renamed to NAME ─► directory synced
    no room      .reserve overwritten and synced; NAME linked to .reserve-old
                 .reserve ─► NAME, .reserve-old ─► .reserve ─► directory synced

What must be written down while the disk is full (that a peer has started anew, that this node
has) takes no room then: the reserve's blocks are there, and those of the file that it replaces
become the next reserve. A new NAME uses the reserve up. File systems that write every block to
a new place (btrfs, ZFS) keep a reserve of their own for that; one without hard links loses ours
at its first use.

A crash in between leaves NAME as it was or as it is to be; :func:`keep_reserve` clears up the rest.
"""

import errno
from contextlib import suppress

from paxosd.storage.disk import Disk

RESERVE = ".reserve"
RESERVE_BYTES = 16 << 10
"""Room for the runs of some 300 peers; more than any other of these files has."""
_OLD = ".reserve-old"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


def read_file(home: Disk, name: str) -> bytes:
    """All of a small file. Raises FileNotFoundError, OSError."""
    file = home.open(name)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def write_file(home: Disk, name: str, text: str) -> None:
    """Replace a file durably, as a whole or not at all. Raises OSError; then it is, after the next
    crash at the latest, either what it was or what it was to be."""
    data = text.encode()
    try:
        _write_new(home, name, data)
    except OSError as problem:
        if problem.errno not in _NO_ROOM or not home.exists(RESERVE):
            raise
        _write_reserved(home, name, data)


def replace_file(home: Disk, name: str, text: str) -> None:
    """The same, but it leaves the reserve alone: for what may fail on a full disk. Raises
    OSError."""
    _write_new(home, name, text.encode())


def note_file(home: Disk, name: str, text: str) -> bool:
    """The same for what the node can do without. Returns whether it was written."""
    try:
        replace_file(home, name, text)
    except OSError:
        return False
    return True


def keep_reserve(home: Disk) -> None:
    """See to it that there is a reserve, if there is room for one. Called at each start."""
    with suppress(OSError):
        if home.exists(_OLD):
            if home.exists(RESERVE):
                home.unlink(_OLD)  # it is the same file as the one that was to be replaced
            else:
                home.rename(_OLD, RESERVE)
        if not home.exists(RESERVE) or _size(home, RESERVE) < RESERVE_BYTES:
            _make_reserve(home)


def _write_new(home: Disk, name: str, data: bytes) -> None:
    temporary = f".{name}.tmp"
    if home.exists(temporary):
        home.unlink(temporary)  # of a start that did not get far
    file = home.open(temporary, create=True)
    try:
        try:
            if data:
                file.pwritev([data], 0)
            file.fdatasync()
        finally:
            file.close()
    except OSError:
        with suppress(OSError):
            home.unlink(temporary)
        raise
    home.rename(temporary, name)
    home.sync_dir()


def _write_reserved(home: Disk, name: str, data: bytes) -> None:
    file = home.open(RESERVE)
    try:
        if data:
            file.pwritev([data], 0)
        file.truncate(len(data))
        file.fdatasync()
    finally:
        file.close()
    linked = False
    if home.exists(name):
        with suppress(OSError):  # else the reserve is used up
            if home.exists(_OLD):
                home.unlink(_OLD)
            home.link(name, _OLD)
            linked = True
    home.rename(RESERVE, name)
    if linked:
        home.rename(_OLD, RESERVE)
    home.sync_dir()


def _make_reserve(home: Disk) -> None:
    temporary = f"{RESERVE}.tmp"
    file = home.open(temporary, create=True)
    try:
        file.allocate(RESERVE_BYTES)
        file.fdatasync()
    except OSError:
        home.unlink(temporary)
        raise
    finally:
        file.close()
    home.rename(temporary, RESERVE)
    home.sync_dir()


def _size(home: Disk, name: str) -> int:
    file = home.open(name)
    try:
        return file.size()
    finally:
        file.close()
