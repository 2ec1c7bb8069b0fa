"""The data directory of one node: whose it is, that one daemon alone uses it, and how often.

    DIR/LOCK          flock(2) by the daemon that runs; holds its process id
    DIR/identity      JSON: format version, cluster id, node id, time of creation
    DIR/incarnation   a decimal number, one more at each start
    DIR/log-created   exists once the log was begun: a node whose log is gone later must not vote
    DIR/wal/          the log, see ``wal_format.py``

Each file but LOCK is written under a temporary name, synced, renamed, and the directory
synced. ``incarnation`` is written before ``identity``, so an identity without it is damage.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

from paxosd.disk import RealDisk, StorageError

FORMAT_VERSION = 1


class DataDirLocked(StorageError):  # noqa: N818 - the name the other modules agreed on
    """Another daemon uses this directory; ``pid`` is its process id, 0 if unknown."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


class IdentityError(StorageError):
    """The directory belongs to another node or cluster, or was damaged."""


class DataDir:
    """A locked data directory; made by :meth:`open`, usable as a context manager."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        """Use :meth:`open`."""
        self.path = path
        self.incarnation = 0
        """How often this directory was opened, this time included: 1 at the first start."""
        self.disk: RealDisk
        """The log's directory."""
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: str | os.PathLike[str], cluster_id: str, node_id: str) -> "DataDir":
        """Create (mode 0700) or check the directory, lock it, count the incarnation.

        Raises DataDirLocked, IdentityError, PermissionError, and StorageError for any other
        failure of the disk.
        """
        path = Path(path)
        try:
            opened = cls(path, _lock(path))
            try:
                opened._identify(cluster_id, node_id)
                (path / "wal").mkdir(mode=0o700, exist_ok=True)
                _sync_dir(path)
                opened.disk = RealDisk(path / "wal")
            except BaseException:
                opened.close()
                raise
        except PermissionError as problem:
            raise PermissionError(
                problem.errno,
                f"the data directory {path} is not usable by user id {os.geteuid()}: "
                f"{problem.strerror} ({problem.filename}). Change its owner, or node.data_dir",
            ) from problem
        except OSError as problem:
            raise StorageError(
                f"the data directory {path} is not usable: {problem.strerror or problem}",
                errno=problem.errno or 0,
            ) from problem
        return opened

    @property
    def log_created(self) -> bool:
        """Whether a log was begun here: pass ``create=not log_created`` to ``Wal.open``."""
        return (self.path / "log-created").exists()

    def mark_log_created(self) -> None:
        """Note durably that there is a log; does nothing the second time. Raises OSError."""
        if not self.log_created:
            _write(self.path, "log-created", "")

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._lock_fd >= 0:
            if hasattr(self, "disk"):
                self.disk.close()
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> "DataDir":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _identify(self, cluster_id: str, node_id: str) -> None:
        identity = self.path / "identity"
        if identity.exists():
            _check_identity(self.path, _read_json(identity), cluster_id, node_id)
            self.incarnation = _read_incarnation(self.path) + 1
            _write(self.path, "incarnation", f"{self.incarnation}\n")
            return
        if any((self.path / "wal").glob("wal-*")) or self.log_created:
            raise IdentityError(
                f"{self.path} holds a log but its identity file is missing: something removed "
                "it. Restore the directory as a whole, or let the node rejoin as a new member"
            )
        self.incarnation = 1
        _write(self.path, "incarnation", "1\n")
        fields = {
            "format": FORMAT_VERSION,
            "cluster": cluster_id,
            "node": node_id,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        _write(self.path, "identity", json.dumps(fields, indent=2) + "\n")


def _lock(path: Path) -> int:
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
        _sync_dir(path.parent)
    fd = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as problem:
        text = os.pread(fd, 32, 0).strip()
        os.close(fd)
        pid = int(text) if text.isdigit() else 0
        who = f"process {pid}" if pid else "another process"
        raise DataDirLocked(
            f"the data directory {path} is in use by {who}: stop it first, or give this node "
            "a directory of its own (node.data_dir)",
            pid,
        ) from problem
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_identity(path: Path, found: dict[str, Any], cluster_id: str, node_id: str) -> None:
    if found.get("format") != FORMAT_VERSION:
        raise IdentityError(
            f"{path} has format {found.get('format')!r}; this program knows {FORMAT_VERSION}"
        )
    for word, is_there, wanted in (
        ("cluster", found.get("cluster"), cluster_id),
        ("node", found.get("node"), node_id),
    ):
        if is_there != wanted:
            raise IdentityError(
                f"the data directory {path} belongs to {word} {is_there!r}, but the "
                f"configuration says {word} {wanted!r}: correct the configuration (node.data_dir, "
                "node.name, cluster.id)"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as problem:
        raise IdentityError(f"{path} is damaged: {problem}") from problem
    if not isinstance(found, dict):
        raise IdentityError(f"{path} is damaged: it is no JSON object")
    return found


def _read_incarnation(path: Path) -> int:
    file = path / "incarnation"
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        text = ""
    if not (text.isascii() and text.isdigit()):
        raise IdentityError(
            f"{file} is missing or damaged: without it peers would take this node's messages "
            "for replays. Restore it with a number higher than any before"
        )
    return int(text)


def _write(directory: Path, name: str, text: str) -> None:
    """Replace a file durably, as a whole or not at all."""
    temporary = directory / f".{name}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, directory / name)
    _sync_dir(directory)


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
