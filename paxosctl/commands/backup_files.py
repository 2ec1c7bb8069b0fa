"""A directory of backups: which are there, which are good, which are removed.

    orders-20261130T025400Z-slot812.paxsnap       cluster, when it was taken, slot

A backup is a regular file of such a name, with a snapshot in it. Rules:

1. It gets its name once it is whole, synced and verified. What a crash left (``*.part``) is removed
   by the next one that is taken; one at a time is, by the lock on ``.lock``.
2. Only backups of the cluster that was just backed up are ever removed, only those that neither
   ``keep`` nor ``keep_days`` keeps, and only after a new one has been verified. What is kept is
   verified first; one that is damaged, or cannot be read, does not count as kept. So a good one
   always remains. The newest are those of the highest slots: a clock that was wrong once does not
   matter. A cluster that was founded anew under the same id is another cluster.
3. Anything else in the directory is left alone, be it called like a backup: links, directories.
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

from paxosctl.cli.new_file import sync_directory, unwritten
from paxosctl.cli.streams import StreamError
from paxosctl.commands.snapshot_files import (
    VERIFYING,
    SnapshotFileError,
    described,
    opened,
    save,
    verify,
)
from paxosd.core.cluster_settings import ClusterSettings, SettingsError, UnknownLevelError
from paxosd.host.progress import PhaseProgress
from paxosd.snapshot.file import SnapshotReader
from paxosd.storage.disk import RealFile

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
    """What a file holds, as ``snapshot status`` has it, and the ``founding`` of its cluster; {} if
    it is ``damaged`` or this user is ``refused``: each says why, and is "" else."""

    backup: Backup
    found: dict[str, Any]
    damaged: str = ""
    refused: str = ""

    @property
    def trouble(self) -> str:
        """Why it is not good, as far as it was read; "" if it is."""
        return self.damaged or self.refused

    @property
    def group(self) -> tuple[str, str]:
        """Whose it is: the id of the cluster, and its founding."""
        return self.backup.cluster, self.found.get("founding", "")


def backups_in(directory: Path) -> list[Backup]:
    """All backups, those of the highest slots first. Raises BackupError, PermissionError,
    StreamError."""
    found = []
    for name in _files_in(directory):
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        with suppress(ValueError):  # such as the 31st of February
            taken = datetime.strptime(match["taken"], STAMP).replace(tzinfo=UTC)
            found.append(Backup(directory / name, match["cluster"], taken, int(match["slot"])))
    return sorted(found, key=lambda each: (each.slot, each.taken), reverse=True)


def look_through(directory: Path, look: Callable[[Backup], Checked]) -> list[Checked]:
    """What ``look`` finds in each, but for those that were removed meanwhile: the cluster that was
    backed up last comes first, and of each cluster its newest. Raises as :func:`backups_in`."""
    found = [look(each) for each in backups_in(directory)]
    found = [each for each in found if not each.trouble or os.path.lexists(each.backup.path)]
    last: dict[tuple[str, str], datetime] = {}
    for each in found:
        if each.found:
            last[each.group] = max(last.get(each.group, each.backup.taken), each.backup.taken)
    order = sorted(last, key=lambda group: (last[group], group), reverse=True)
    return sorted(found, key=lambda each: _place(each, order))


def _place(checked: Checked, order: list[tuple[str, str]]) -> int:
    """One that cannot be read stands among those of the last cluster of its id."""
    if checked.found:
        return order.index(checked.group)
    ids = [cluster for cluster, _ in order]
    cluster = checked.backup.cluster
    return ids.index(cluster) if cluster in ids else len(ids)


def _files_in(directory: Path) -> list[str]:
    """Names of regular files: to open anything else may hang, or lead elsewhere."""
    try:
        with os.scandir(directory) as entries:
            return sorted(each.name for each in entries if each.is_file(follow_symlinks=False))
    except FileNotFoundError:
        raise BackupError(f"{directory}: there is no such directory; make it first") from None
    except PermissionError as error:
        raise PermissionError(f"{directory}: this user may not read it") from error
    except OSError as error:
        raise StreamError(f"{directory} cannot be read: {error.strerror}") from error


def glance(backup: Backup) -> Checked:
    """What its head says, without reading the rest."""

    def read(file: RealFile) -> dict[str, Any]:
        reader = SnapshotReader(file)
        head = reader.head
        return {
            "revision": head.revision,
            "keys": head.keys,
            "created_ms": reader.created_ms,
            "bytes": file.size(),
            "founding": _founding_of(reader),
        }

    return _checked(backup, read)


def check(backup: Backup, progress: PhaseProgress) -> Checked:
    """Read all of one."""

    def read(file: RealFile) -> dict[str, Any]:
        reader = verify(file, partial(progress, f"{VERIFYING} {backup.path.name}"))
        return described(reader) | {"founding": _founding_of(reader)}

    checked = _checked(backup, read)
    found = checked.found
    if found and (found["cluster"], found["slot"]) != (backup.cluster, backup.slot):
        said = f"{found['cluster']!r}, slot {found['slot']}"
        words = f"{backup.path} is of cluster {said}: its name says otherwise"
        return checked._replace(damaged=words)
    return checked


def _checked(backup: Backup, read: Callable[[RealFile], dict[str, Any]]) -> Checked:
    try:
        with opened(backup.path) as file:
            return Checked(backup, read(file))
    except (SnapshotFileError, StreamError) as error:  # a sector that cannot be read is damage, too
        return Checked(backup, {}, damaged=str(error))
    except PermissionError as error:
        return Checked(backup, {}, refused=str(error))


def _founding_of(reader: SnapshotReader) -> str:
    """What a cluster differs by from another one of the same id; "" from earlier versions."""
    try:
        return ClusterSettings.from_json(reader.head.settings).genesis
    except (SettingsError, UnknownLevelError):
        return ""


# -- taking one


class Taken(NamedTuple):
    """What came out. ``found``: what the new one holds; ``unusable``: older ones that do not count;
    ``removed``: those that retention removed; ``stuck``: those that it could not remove, each with
    the reason."""

    path: Path
    found: dict[str, Any]
    unusable: list[Checked]
    removed: list[Path]
    stuck: list[tuple[Path, str]]


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
        for name in _files_in(directory):
            if _PART.fullmatch(name):
                with suppress(OSError):  # no reason to have no backup
                    (directory / name).unlink()
        unnamed = directory / f".new-{os.urandom(8).hex()}.paxsnap"
        try:
            found = save(client, endpoint, unnamed, force=False, progress=progress)
            path = directory / _name_of(found, now())
            if path.exists():
                raise BackupError(f"{path} exists already: two backups within one second")
            os.rename(unnamed, path)
            sync_directory(directory)
        except OSError as error:
            raise unwritten(directory, error) from error
        finally:
            unnamed.unlink(missing_ok=True)
        new = Backup(path, found["cluster"], now(), found["slot"])
        unusable, old = _retained(new, retention, progress)
        removed, stuck = _remove(old)
        return Taken(path, found, unusable, removed, stuck)


def _name_of(found: dict[str, Any], taken: datetime) -> str:
    return f"{found['cluster']}-{taken.strftime(STAMP)}-slot{found['slot']}.paxsnap"


def _retained(
    new: Backup, retention: Retention, progress: PhaseProgress
) -> tuple[list[Checked], list[Path]]:
    """Which older ones do not count, and which are not to be kept."""
    others = _others(new) if retention.keep else []
    unusable: list[Checked] = []
    old: list[Path] = []
    if len(others) < max(retention.keep, 1):  # nothing is removed, and nothing need be read
        return unusable, old
    since, until = new.taken - timedelta(days=retention.keep_days), new.taken + timedelta(days=1)
    good = 1
    for each in others:
        if good < retention.keep:
            checked = check(each, progress)
            good += not checked.trouble
            unusable += [checked] if checked.trouble else []
        elif not (retention.keep_days and since <= each.taken <= until):
            old.append(each.path)
    return unusable, old


def _others(new: Backup) -> list[Backup]:
    """The other backups of the same cluster, those of the highest slots first. One whose head has
    no founding, or cannot be read, is taken for one of them."""
    others = [each for each in backups_in(new.path.parent) if each.cluster == new.cluster]
    others = [each for each in others if each.path != new.path]
    founding = glance(new).found.get("founding", "")
    if not founding:
        return others
    return [each for each in others if glance(each).found.get("founding", "") in ("", founding)]


def _remove(paths: list[Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Which were removed, and which could not be, and why."""
    stuck = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            stuck.append((path, error.strerror or str(error)))
    kept = {path for path, _ in stuck}
    return [path for path in paths if path not in kept], stuck


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One backup is taken into a directory at a time. Raises BackupError, PermissionError."""
    _files_in(directory)
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if isinstance(error, PermissionError) and os.path.lexists(directory / LOCK):
            words = "it is another user's, who has taken backups there: change its owner, and that"
            words = f"{directory / LOCK}: {words} of the backups"
            raise PermissionError(words) from error
        raise unwritten(directory, error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{directory}: another backup is being taken there now") from None
        yield
    finally:
        os.close(lock)
