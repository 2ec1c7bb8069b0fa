"""The data directory of one node: whose it is, that one daemon alone uses it, and how often.

DIR/LOCK          flock(2) by the daemon that runs; holds its process id
DIR/wal/          the log, see ``wal_format.py``
DIR/identity, DIR/incarnation, DIR/log-created: see ``identity.py``
"""

import fcntl
import os
import secrets
import time
from pathlib import Path

from paxosd import identity
from paxosd.disk import RealDisk, StorageError
from paxosd.identity import IdentityError
from paxosd.lives import LOT_BITS, life_number

__all__ = ["DataDir", "DataDirLocked", "IdentityError"]


class DataDirLocked(StorageError):  # noqa: N818 - the name the other modules agreed on
    """Another daemon uses this directory; ``pid`` is its process id, 0 if unknown."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


class DataDir:
    """A locked data directory; made by :meth:`open`, usable as a context manager."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        """Use :meth:`open`."""
        self.path = path
        self.incarnation = 0
        """How often this directory was opened, this time included: 1 at the first start."""
        self.life = 0
        """This start's life, as the peers know it: see ``lives.py``."""
        self.directory = 0
        """The identity of the directory, and whether it has lost its memory: see
        :class:`paxosd.identity.Claim`."""
        self.lost = False
        self.repaired = False
        self.home: RealDisk
        """The directory itself …"""
        self.disk: RealDisk
        """… and the log's."""
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
                opened.home = RealDisk(path)
                claim = identity.claim(
                    opened.home,
                    cluster_id,
                    node_id,
                    place=str(path),
                    created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    has_log=any((path / "wal").glob("wal-*")),
                )
                opened.incarnation, opened.directory, opened.lost, opened.repaired = claim
                opened.life = life_number(opened.incarnation, secrets.randbits(LOT_BITS))
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

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._lock_fd >= 0:
            for disk in ("disk", "home"):
                if hasattr(self, disk):
                    getattr(self, disk).close()
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> "DataDir":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


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


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
