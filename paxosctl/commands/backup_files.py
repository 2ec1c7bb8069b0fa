"""A directory of backups: which are there, which are good, which are removed.

    orders-20261130T025400Z-slot812.paxsnap       cluster, when it was taken, slot

A backup is a snapshot file. Rules:

1. It gets its name once it is whole, synced and verified. What a crash left (``*.part``) is removed
   by the next one that is taken; one at a time is, by the lock on ``.lock``.
2. Only backups of the cluster that was just backed up are ever removed, only those that neither
   ``keep`` nor ``keep_days`` keeps, and only after a new one has been verified. What is kept is
   verified first; one that is damaged does not count as kept. So a good one always remains.
   The newest are those of the highest slots: a clock that was wrong once does not matter.
3. Any other file in the directory is left alone.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from paxosctl.cli.streams import StreamError
from paxosctl.commands.snapshot_files import (
    VERIFYING,
    SnapshotFileError,
    described,
    opened,
    save,
    verify,
)
from paxosd.host.progress import PhaseProgress
from paxosd.snapshot.file import SnapshotReader

LOCK = ".lock"
STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(
    r"(?P<cluster>[A-Za-z0-9][A-Za-z0-9._-]{0,63})-(?P<taken>\d{8}T\d{6}Z)-slot(?P<slot>\d+)\.paxsnap"
)
_PART = re.compile(
    _NAME.pattern + r"\.[0-9a-f]+\.part|\.new-[0-9a-f]+\.paxsnap(\.[0-9a-f]+\.part)?"
)


class BackupError(Exception):
    """It cannot be done in this directory; the text says why and what to do."""


class Backup(NamedTuple):
    """One file, by its name. ``taken``: by the clock of the machine that took it."""

    path: Path
    cluster: str
    taken: datetime
    slot: int


class Retention(NamedTuple):
    """What stays: the newest ``keep`` (0: all), and besides all of the last ``keep_days`` (0: no
    more)."""

    keep: int = 0
    keep_days: int = 0


class Checked(NamedTuple):
    """What a file holds, as ``snapshot status`` has it; {} if it is ``damaged``, which says why."""

    backup: Backup
    found: dict[str, Any]
    damaged: str


def backups_in(directory: Path) -> list[Backup]:
    """All backups, the newest first. Raises BackupError, PermissionError, StreamError."""
    found = []
    for name in _names_in(directory):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        with suppress(ValueError):  # such as the 31st of February
            taken = datetime.strptime(match["taken"], STAMP).replace(tzinfo=UTC)
            found.append(Backup(directory / name, match["cluster"], taken, int(match["slot"])))
    return sorted(found, key=lambda each: (each.slot, each.taken), reverse=True)


def _names_in(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        raise BackupError(f"{directory}: there is no such directory; make it first") from None
    except PermissionError as error:
        raise PermissionError(f"{directory}: this user may not read it") from error
    except OSError as error:
        raise StreamError(f"{directory} cannot be read: {error.strerror}") from error


def glance(backup: Backup) -> dict[str, Any]:
    """What its head says, without reading the rest; {} if it has none. Raises as ``opened``."""
    try:
        with opened(backup.path) as file:
            reader = SnapshotReader(file)
            head = reader.head
            return {
                "revision": head.revision,
                "keys": head.keys,
                "created_ms": reader.created_ms,
                "bytes": file.size(),
            }
    except SnapshotFileError:
        return {}


def check(backup: Backup, progress: PhaseProgress) -> Checked:
    """Read all of one. Raises PermissionError, StreamError."""
    try:
        with opened(backup.path) as file:
            found = described(verify(file, partial(progress, f"{VERIFYING} {backup.path.name}")))
    except SnapshotFileError as error:
        return Checked(backup, {}, str(error))
    if (found["cluster"], found["slot"]) != (backup.cluster, backup.slot):
        said = f"{found['cluster']!r}, slot {found['slot']}"
        return Checked(
            backup, found, f"{backup.path} is of cluster {said}: its name says otherwise"
        )
    return Checked(backup, found, "")


# -- taking one


class Taken(NamedTuple):
    """What came out. ``found``: what the new one holds; ``damaged``: older ones that do not count;
    ``removed``: those that retention removed."""

    path: Path
    found: dict[str, Any]
    damaged: list[Checked]
    removed: list[Path]


def take(
    client: Any,
    endpoint: str,
    directory: Path,
    retention: Retention,
    now: Callable[[], datetime],
    progress: PhaseProgress,
) -> Taken:
    """Have the node take a snapshot, fetch it, verify it, give it its name; then remove what is not
    to be kept. Raises BackupError, SnapshotFileError, PermissionError, StreamError, ClientError:
    then nothing was removed, and there is no new file."""
    with _locked(directory):
        for name in _names_in(directory):
            if _PART.fullmatch(name):
                (directory / name).unlink()
        unnamed = directory / f".new-{os.urandom(8).hex()}.paxsnap"
        try:
            found = save(client, endpoint, unnamed, force=False, progress=progress)
            path = directory / _name_of(found, now())
            if path.exists():
                raise BackupError(f"{path} exists already: two backups within one second")
            os.rename(unnamed, path)
            _sync(directory)
        except OSError as error:
            raise _unwritten(directory, error) from error
        finally:
            unnamed.unlink(missing_ok=True)
        damaged, removed = _retain(directory, path, found["cluster"], retention, now(), progress)
        return Taken(path, found, damaged, removed)


def _name_of(found: dict[str, Any], taken: datetime) -> str:
    return f"{found['cluster']}-{taken.strftime(STAMP)}-slot{found['slot']}.paxsnap"


def _retain(
    directory: Path,
    new: Path,
    cluster: str,
    retention: Retention,
    now: datetime,
    progress: PhaseProgress,
) -> tuple[list[Checked], list[Path]]:
    """Which older ones are damaged, and which were removed."""
    if not retention.keep:
        return [], []
    others = [each for each in backups_in(directory) if each.cluster == cluster]
    others = [each for each in others if each.path != new]
    since, until = now - timedelta(days=retention.keep_days), now + timedelta(days=1)
    damaged: list[Checked] = []
    removed: list[Path] = []
    good = 1
    if len(others) >= retention.keep:  # else nothing is removed, and nothing need be read
        for each in others:
            if good < retention.keep:
                checked = check(each, progress)
                good += not checked.damaged
                damaged += [checked] if checked.damaged else []
            elif not since <= each.taken <= until:
                removed.append(each.path)
    for path in removed:
        path.unlink(missing_ok=True)
    return damaged, removed


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One backup is taken into a directory at a time. Raises BackupError, PermissionError."""
    _names_in(directory)
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise PermissionError(f"{directory}: this user may not write there") from error
    except OSError as error:
        raise _unwritten(directory, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{directory}: another backup is being taken there now") from None
        yield
    finally:
        os.close(lock)


def _unwritten(directory: Path, error: OSError) -> Exception:
    if isinstance(error, PermissionError):
        return PermissionError(f"{directory}: this user may not write there")
    return StreamError(f"{directory} cannot be written: {error.strerror or error}")


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
