"""File descriptors: as many as this process may have, and some that no connection can take.

At start the soft limit is raised to the hard one, less a reserve. Other code that opens
descriptors (libzmq accepts connections in a thread of its own) stops at the soft limit. The node's
own files, and the sockets to its peers, are opened inside :func:`reserved`, for which the limit is
the hard one. The limit belongs to the whole process, and so does the state of this module.
"""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE})
RESERVE = 96
"""For old segments of the log that are read, snapshots, small files and sockets to peers. If the
limit is low, the reserve is one part in RESERVE_SHARE of it."""
RESERVE_SHARE = 4
LEAST, A_MEMBER = 64, 16
"""With fewer than that a node cannot work at all: its own files and sockets take about half."""
LIMIT_MAX = 1 << 20
"""No more are asked for: it is what the kernel allows by default."""
ADVICE = "raise it: ulimit -n, LimitNOFILE= of the service, ulimits of the container"


class Limits(NamedTuple):
    """``total``: how many descriptors this process may have; ``reserve``: how many of them are kept
    for its own files and its sockets to peers."""

    total: int
    reserve: int

    @property
    def shared(self) -> int:
        """What connections may take, together with all else."""
        return self.total - self.reserve


class DescriptorsError(Exception):
    """The limit is too low for this node, or all are taken; the text says what to do."""


_lock = threading.Lock()
_limits: Limits | None = None
_inside = 0


def needed(members: int) -> int:
    """How many descriptors a node of a cluster of so many members cannot do without."""
    return LEAST + A_MEMBER * members


def set_up(needed: int = 0) -> Limits:
    """Raise the limit, and set the reserve apart from now on. Raises DescriptorsError if fewer
    than ``needed`` are to be had."""
    global _limits  # noqa: PLW0603 - the limit is the process's
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    total = LIMIT_MAX if hard == resource.RLIM_INFINITY else min(hard, LIMIT_MAX)
    if total < needed:
        raise DescriptorsError(
            f"this process may have {total} file descriptors, and needs {needed}: {ADVICE}"
        )
    if needed and (present := used()) + needed > total:
        raise DescriptorsError(
            f"this process may have {total} file descriptors, and was started with {present} of "
            f"them open; it needs {needed}: {ADVICE}, or have who starts it close some"
        )
    with _lock:
        _limits = Limits(total, min(RESERVE, total // RESERVE_SHARE))
        _set(_limits.total if _inside else _limits.shared)
    return _limits


def require(count: int) -> None:
    """Raises DescriptorsError unless so many may still be opened, the reserve included."""
    present = used()
    total = _limits.total if _limits is not None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if present + count > total:
        raise DescriptorsError(
            f"{present} of the {total} file descriptors that this process may have are open, and "
            f"it needs {count} more: {ADVICE}"
        )


@contextmanager
def reserved() -> Iterator[None]:
    """What is opened in here may come out of the reserve. In any thread; keep it short."""
    global _inside  # noqa: PLW0603 - as above
    if _limits is None:
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _set(_limits.total)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _set(_limits.shared)


def used() -> int:
    """How many are open; -1 if that is not known."""
    try:
        with reserved():
            return len(os.listdir("/proc/self/fd")) - 1
    except OSError as error:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if error.errno in EXHAUSTED else -1


def words(number: int) -> str:
    """What to do about this errno, one of EXHAUSTED."""
    if number == errno.ENFILE:
        return "the machine has no file descriptor left: raise fs.file-max, or find who has them"
    limit = _limits.total if _limits is not None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"this process has all the {limit} file descriptors that it may have: {ADVICE}"


def lack_of(error: BaseException) -> DescriptorsError | None:
    """What an error is to people that came about because a descriptor could not be had; None: it
    is another one. It goes by ``errno``, which errors of the system, of ZeroMQ and of the storage
    have alike."""
    number = getattr(error, "errno", None)
    if isinstance(error, DescriptorsError) or number not in EXHAUSTED:
        return None
    said, advice = str(error), words(number)
    return DescriptorsError(said if advice in said else advice)


def _set(soft: int) -> None:
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
