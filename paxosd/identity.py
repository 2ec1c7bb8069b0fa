"""Who a data directory belongs to and how often it was used, on any :class:`~paxosd.disk.Disk`.

    identity      JSON: format version, cluster id, node id, time of creation
    incarnation   a decimal number, one more at each start
    log-created   exists once the log was begun: a node whose log is gone later must not vote

Each file is written under a temporary name, synced, renamed, and the directory synced: it is
there as a whole or not at all. ``incarnation`` is written before ``identity``, so an identity
without it is damage.
"""

import json
from typing import Any

from paxosd.disk import Disk, StorageError

FORMAT_VERSION = 1
_IDENTITY = "identity"
_INCARNATION = "incarnation"
_LOG_CREATED = "log-created"


class IdentityError(StorageError):
    """The directory belongs to another node or cluster, or was damaged."""


def claim(
    home: Disk, cluster_id: str, node_id: str, *, place: str, created: str, has_log: bool
) -> int:
    """Check whose directory ``home`` is, or make it this node's; returns its incarnation: 1 at
    the first start, one more at each later one.

    ``place``: its name for people; ``created``: the time, to be written down; ``has_log``:
    whether there are log files. Raises IdentityError, OSError.
    """
    if home.exists(_IDENTITY):
        _check(place, _read_identity(home, place), cluster_id, node_id)
        incarnation = _read_incarnation(home, place) + 1
        write_file(home, _INCARNATION, f"{incarnation}\n")
        return incarnation
    if has_log or log_created(home):
        raise IdentityError(
            f"{place} holds a log but its identity file is missing: something removed it. "
            "Restore the directory as a whole, or let the node rejoin as a new member"
        )
    write_file(home, _INCARNATION, "1\n")
    fields = {
        "format": FORMAT_VERSION,
        "cluster": cluster_id,
        "node": node_id,
        "created": created,
    }
    write_file(home, _IDENTITY, json.dumps(fields, indent=2) + "\n")
    return 1


def log_created(home: Disk) -> bool:
    """Whether a log was begun here: pass ``create=not log_created`` to ``Wal.open``."""
    return home.exists(_LOG_CREATED)


def mark_log_created(home: Disk) -> None:
    """Note durably that there is a log; does nothing the second time. Raises OSError."""
    if not log_created(home):
        write_file(home, _LOG_CREATED, "")


def _check(place: str, found: dict[str, Any], cluster_id: str, node_id: str) -> None:
    if found.get("format") != FORMAT_VERSION:
        raise IdentityError(
            f"{place} has format {found.get('format')!r}; this program knows {FORMAT_VERSION}"
        )
    for word, is_there, wanted in (
        ("cluster", found.get("cluster"), cluster_id),
        ("node", found.get("node"), node_id),
    ):
        if is_there != wanted:
            raise IdentityError(
                f"the data directory {place} belongs to {word} {is_there!r}, but the "
                f"configuration says {word} {wanted!r}: correct the configuration (node.data_dir, "
                "node.name, cluster.id)"
            )


def _read_identity(home: Disk, place: str) -> dict[str, Any]:
    try:
        found = json.loads(read_file(home, _IDENTITY))
    except ValueError as problem:
        raise IdentityError(f"{place}/{_IDENTITY} is damaged: {problem}") from problem
    if not isinstance(found, dict):
        raise IdentityError(f"{place}/{_IDENTITY} is damaged: it is no JSON object")
    return found


def _read_incarnation(home: Disk, place: str) -> int:
    try:
        text = read_file(home, _INCARNATION).decode("ascii", "replace").strip()
    except FileNotFoundError:
        text = ""
    if not (text.isascii() and text.isdigit()):
        raise IdentityError(
            f"{place}/{_INCARNATION} is missing or damaged: without it peers would take this "
            "node's messages for replays. Restore it with a number higher than any before"
        )
    return int(text)


def read_file(home: Disk, name: str) -> bytes:
    """All of a small file. Raises FileNotFoundError, OSError."""
    file = home.open(name)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def write_file(home: Disk, name: str, text: str) -> None:
    """Replace a file durably, as a whole or not at all. Raises OSError."""
    temporary = f".{name}.tmp"
    if home.exists(temporary):
        home.unlink(temporary)  # of a start that did not get far
    file = home.open(temporary, create=True)
    try:
        if text:
            file.pwritev([text.encode()], 0)
        file.fdatasync()
    finally:
        file.close()
    home.rename(temporary, name)
    home.sync_dir()
