"""The data directory of one node on real disks: one daemon alone uses it.

DIR/LOCK          flock(2) by the daemon that runs; holds its process id
DIR/wal/          the log, see ``wal_format.py``
DIR/identity, DIR/incarnation, DIR/log-created: see ``identity.py``

Which node it belongs to, and how often it was started, is checked by :meth:`NodeDirectory.claim`
once it is locked (``replica/assembly.py``).
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from paxosd.host.descriptors import EXHAUSTED, words
from paxosd.storage.disk import RealDisk, StorageError
from paxosd.storage.node_directory import LOG_DIRECTORY, NodeDirectory

_PID_BYTES = 16
"""The number is padded to this length, because it is written in place."""


class DataDirLocked(StorageError):  # noqa: N818 - the name the other modules agreed on
    """Another daemon uses this directory; ``pid`` is its process id, 0 if unknown."""

    def __init__(self, message: str, pid: int) -> None:
        super().__init__(message)
        self.pid = pid


class DataDir:
    """A locked data directory; made by :meth:`open`, usable as a context manager. ``home``: the
    directory itself; ``disk``: that of the log and the snapshots in it; ``node_directory``: both,
    with the cluster and the node that they belong to."""

    def __init__(
        self,
        path: Path,
        home: RealDisk,
        disk: RealDisk,
        node_directory: NodeDirectory,
        opened: ExitStack,
    ) -> None:
        """Use :meth:`open`. ``opened``: closes both directories, then releases the lock."""
        self.path = path
        self.home = home
        self.disk = disk
        self.node_directory = node_directory
        self._opened = opened

    @classmethod
    def open(cls, path: str | os.PathLike[str], cluster_id: str, node_id: str) -> "DataDir":
        """Create (mode 0700) the directory if it is not there, and lock it. Raises what
        :func:`usable` does, and DataDirLocked."""
        path = Path(path)
        with usable(path), ExitStack() as opened:
            opened.callback(os.close, _lock(path))
            home = RealDisk(path)
            opened.callback(home.close)
            (path / LOG_DIRECTORY).mkdir(mode=0o700, exist_ok=True)
            _sync_dir(path)
            disk = RealDisk(path / LOG_DIRECTORY)
            opened.callback(disk.close)
            kept = opened.pop_all()
        node_directory = NodeDirectory(
            cluster=cluster_id,
            node=node_id,
            home=home,
            log_disk=disk,
            place=str(path),
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        return cls(path, home, disk, node_directory, kept)

    def close(self) -> None:
        """Release the lock; a second call does nothing."""
        self._opened.close()

    def __enter__(self) -> "DataDir":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """An error in here is reported as one of the data directory ``path``, with what to do.
    Raises PermissionError, and StorageError for any other failure of the disk."""
    try:
        yield
    except PermissionError as problem:
        raise PermissionError(
            problem.errno,
            f"the data directory {path} is not usable by user id {os.geteuid()}: "
            f"{problem.strerror} ({problem.filename}). Change its owner, or node.data_dir",
        ) from problem
    except OSError as problem:
        number = problem.errno or 0
        why = words(number) if number in EXHAUSTED else problem.strerror or problem
        raise StorageError(
            f"the data directory {path} is not usable: {why}", errno=number
        ) from problem


def _lock(path: Path) -> int:
    if not path.exists():
        path.mkdir(mode=0o700, parents=True)
        _sync_dir(path.parent)
    fd = os.open(path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(OSError):  # on a full disk: the lock counts, the number is for people
            os.pwrite(fd, f"{os.getpid()}\n".encode().ljust(_PID_BYTES), 0)
            os.ftruncate(fd, _PID_BYTES)
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
