"""The data directory of a node, looked at from outside: whose it is, who uses it, how large it is.

Nothing is locked meanwhile: a node that starts at that very moment must not be hindered. Who has
it locked is in ``/proc/locks``.
"""

import json
import os
import stat
from pathlib import Path

from paxosctl.doctor.facts.file_systems import existing
from paxosctl.doctor.machine import Directory

_LOCKS = Path("/proc/locks")
ENTRIES_MAX = 100_000
"""A data directory has some hundred."""


def look_at(path: Path) -> Directory:
    """What can be known of it."""
    place = str(path)
    try:
        found = path.stat()
    except FileNotFoundError:
        return Directory(path=place, problem=_cannot_make(path))
    except NotADirectoryError:
        return Directory(path=place, problem="something above it is no directory")
    except OSError as error:
        return Directory(path=place, problem=error.strerror or str(error), hidden=True)
    if not stat.S_ISDIR(found.st_mode):
        return Directory(path=place, problem="it is no directory")
    mode = stat.S_IMODE(found.st_mode)
    if not os.access(path, os.R_OK | os.X_OK):
        return Directory(path=place, hidden=True, mode=mode)
    cluster, node, damage = _identity(path)
    held_bytes, snapshot_bytes = _sizes(path)
    return Directory(
        path=place,
        problem="" if os.access(path, os.W_OK) else "this user may not write in it",
        cluster=cluster,
        node=node,
        damage=damage,
        mode=mode,
        owner=found.st_uid,
        locked_by=_locked_by(path / "LOCK"),
        held_bytes=held_bytes,
        snapshot_bytes=snapshot_bytes,
    )


def _cannot_make(path: Path) -> str:
    """Why a directory that is not there cannot be made; "": it can."""
    place = existing(path)
    if not place.is_dir():
        return f"{place} is no directory"
    if os.access(place, os.W_OK | os.X_OK):
        return ""
    return f"it is not there, and this user may not make it in {place}"


def _identity(path: Path) -> tuple[str, str, str]:
    """Cluster and node of the directory, and what is wrong with it."""
    try:
        found = json.loads((path / "identity").read_bytes())
        return str(found["cluster"]), str(found["node"]), ""
    except FileNotFoundError:
        logs = list((path / "wal").glob("wal-*"))
        return "", "", "it holds a log, and its identity file is missing" if logs else ""
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return "", "", f"its identity file cannot be read: {error}"


def _locked_by(lock: Path) -> int | None:
    """The process that holds the lock, 0 if only that somebody does is known; None: nobody."""
    try:
        inode = lock.stat().st_ino
        lines = _LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        # "1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF"; a waiting one has "->" before FLOCK
        fields = line.split()
        if len(fields) > 5 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            pid = int(fields[4]) if fields[4].isdigit() else 0
            if pid == _noted(lock) or not pid:
                return pid
    return None


def _noted(lock: Path) -> int:
    """The process id in the file."""
    try:
        text = lock.read_bytes()[:32].strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _sizes(path: Path) -> tuple[int, int]:
    """What all files take on the disk, and the size of the newest snapshot."""
    held, newest = 0, (0, 0)
    for count, (folder, _, names) in enumerate(os.walk(path)):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except OSError:
                continue  # it was removed meanwhile
            held += found.st_blocks * 512
            if name.endswith(".paxsnap"):
                newest = max(newest, (found.st_mtime_ns, found.st_size))
        if count >= ENTRIES_MAX:
            break
    return held, newest[1]
