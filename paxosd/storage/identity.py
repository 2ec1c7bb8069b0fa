"""Whose data directory it is, and how often it was started, on any
:class:`~paxosd.storage.disk.Disk`.

    identity      JSON: format version, cluster id, node id, time of creation; the identity of the
                  directory; whether its memory is whole or lost, and whether its node was removed;
                  the hash of the founding record, if only others hold the record
    "incarnation" the boot count: a decimal number, one more at each start
    log-created   exists once the log was begun: a node whose log is missing later must not vote
    genesis       JSON: the founding record; a directory without it never votes, unless it is older
                  than founding records

Each file is complete or missing, and can be replaced on a full disk (``small_files.py``). The boot
count is written before ``identity``, so an identity without a boot count is damage.

    claim ──► whole ── renew ──► lost ── confirm ──► whole      renew: a new directory_id
                 ├────────── mark_removed ──► removed           claim refuses it from then on
                 └────────── mark_diverged ─► diverged          the next start sets its data aside

All words are in docs/ACTING.md.
"""

import json
import re
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

from paxosd.core.genesis import Founder, GenesisError, Record
from paxosd.core.types import Slot
from paxosd.storage.disk import Disk, StorageError
from paxosd.storage.small_files import keep_reserve, read_file, write_file

FORMAT_VERSION = 1
DIRECTORY_BITS = 48
_IDENTITY = "identity"
_BOOT_COUNT = "incarnation"
_LOG_CREATED = "log-created"
_GENESIS = "genesis"
_NUMBER = re.compile("[0-9a-f]{1,16}")
_ABSENT: dict[str, Any] = {
    "directory": 0,
    "lost": False,
    "repaired": False,
    "diverged": 0,
    "genesis": "0",
}
"""The values of fields that an older program did not write."""


class IdentityError(StorageError):
    """The directory belongs to another node or cluster, or was damaged."""


class RemovedError(IdentityError):
    """The directory's node was removed from the cluster: it never starts again."""


class Claim(NamedTuple):
    """What one start found in its data directory.

    ``boot_count``: how often it was started, this start included. ``directory_id``: its identity,
    1 ..= 2^48 - 1. ``lost``: it has lost its memory, and must not vote before ``member rejoin``.
    ``repaired``: the loss was damage that the node itself found, so that it may ask to rejoin.
    ``by_record``: the program that made the directory acts only with a founding record.
    ``genesis``: the hash given to :func:`write_number`; 0: none was.
    """

    boot_count: int
    directory_id: int
    lost: bool
    repaired: bool
    by_record: bool = False
    genesis: int = 0


def claim(
    home: Disk,
    cluster_id: str,
    node_id: str,
    *,
    place: str,
    created: str,
    has_log: bool,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> Claim:
    """Check whose directory ``home`` is, or make it this node's, and count the start.

    ``place``: its name for people; ``created``: the time, to be written down; ``has_log``:
    whether there are log files; ``random_bits``: that many of them, for a new directory's
    identity. Raises IdentityError, OSError.
    """
    if home.exists(_IDENTITY):
        found = _read_identity(home, f"{place}/")
        _check(place, found, cluster_id, node_id)
        boot_count = _read_boot_count(home, place) + 1
        write_file(home, _BOOT_COUNT, f"{boot_count}\n")
        keep_reserve(home)
        if not found["directory"]:  # an older program made it
            found["directory"] = _draw(random_bits)
            _write_identity(home, found)
        return Claim(
            boot_count,
            found["directory"],
            found["lost"],
            found["repaired"],
            found.get("by_record") is True,
            int(found["genesis"], 16),
        )
    if has_log or log_created(home):
        raise IdentityError(
            f"{place} holds a log but its identity file is missing: something removed it. "
            "Put that very file back, if it can be found. If not, move the directory away and "
            "start the node with an empty one: it learns all from the other members, and votes "
            f"again after: paxosctl member rejoin {node_id}"
        )
    write_file(home, _BOOT_COUNT, "1\n")
    directory_id = _draw(random_bits)
    fields = {
        "format": FORMAT_VERSION,
        "cluster": cluster_id,
        "node": node_id,
        "created": created,
        "directory": directory_id,
        "lost": False,
        "repaired": False,
        "by_record": True,
    }
    _write_identity(home, fields)
    keep_reserve(home)
    return Claim(1, directory_id, lost=False, repaired=False, by_record=True)


def renew(
    home: Disk, *, repaired: bool, random_bits: Callable[[int], int] = secrets.randbits
) -> int:
    """The memory is lost: the directory gets a new identity, and must not vote in the node's name
    until :func:`confirm`. Durable. ``repaired``: see :class:`Claim`. Returns the new identity.
    Raises IdentityError, OSError."""
    directory_id = _draw(random_bits)
    found = _read_identity(home)
    _write_identity(home, found | {"directory": directory_id, "lost": True, "repaired": repaired})
    return directory_id


def confirm(home: Disk) -> None:
    """A membership has named this directory as the one that votes in the node's name: the loss no
    longer matters. Durable; does nothing the second time. Raises IdentityError, OSError."""
    found = _read_identity(home)
    if found["lost"] or found["repaired"]:
        _write_identity(home, found | {"lost": False, "repaired": False})


def mark_removed(home: Disk, epoch: int, slot: int) -> None:
    """The node is no member since ``slot``, by the membership of ``epoch``: this directory must not
    be started again. Durable; a second call changes nothing. Raises IdentityError, OSError."""
    found = _read_identity(home)
    if "removed" not in found:
        _write_identity(home, found | {"removed": {"epoch": epoch, "slot": slot}})


def mark_diverged(home: Disk, slot: Slot) -> None:
    """The state in this directory differs from the decided one, at ``slot`` or before: the next
    start must not use it. Durable; a second call changes nothing. Raises IdentityError, OSError."""
    found = _read_identity(home)
    if not found["diverged"]:
        _write_identity(home, found | {"diverged": slot})


def diverged(home: Disk) -> Slot:
    """The slot given to :func:`mark_diverged`; 0: none was. Raises IdentityError, OSError."""
    slot: Slot = _read_identity(home)["diverged"] if home.exists(_IDENTITY) else 0
    return slot


def end_divergence(home: Disk) -> None:
    """The diverged data is set aside. Durable. Raises IdentityError, OSError."""
    _write_identity(home, _read_identity(home) | {"diverged": 0})


def log_created(home: Disk) -> bool:
    """Whether a log was begun here: pass ``create=not log_created`` to ``open_wal``."""
    return home.exists(_LOG_CREATED)


def mark_log_created(home: Disk) -> None:
    """Note durably that there is a log; does nothing the second time. Raises OSError."""
    if not log_created(home):
        write_file(home, _LOG_CREATED, "")


def forget_log(home: Disk) -> None:
    """The log is gone on purpose. Durable once ``home`` is synced."""
    if log_created(home):
        home.unlink(_LOG_CREATED)


def write_genesis(home: Disk, record: Record) -> None:
    """The cluster is founded: durable, and never written again. Raises OSError."""
    write_file(home, _GENESIS, record.to_json().decode() + "\n")


def write_number(home: Disk, genesis: int) -> None:
    """The cluster that this directory has become a member of was founded under this number (the
    hash of the record): it is known after a start even if no member has the record any more.
    Durable. Raises IdentityError, OSError."""
    _write_identity(home, _read_identity(home) | {"genesis": f"{genesis:016x}"})


def read_genesis(home: Disk) -> Record | None:
    """The founding record; None: there is none. Raises IdentityError, OSError."""
    if not home.exists(_GENESIS):
        return None
    try:
        return Record.from_json(read_file(home, _GENESIS).strip())
    except GenesisError as problem:
        raise IdentityError(
            f"the file {_GENESIS} of the data directory is damaged: {problem}. Copy it from the "
            "data directory of another founder: it is the same there"
        ) from problem


def uncount(home: Disk, claimed: Claim) -> None:
    """That claim was no start: no node ran with it. Raises OSError."""
    write_file(home, _BOOT_COUNT, f"{claimed.boot_count - 1}\n")


def found_alone(
    home: Disk, cluster_id: str, node_id: str, directory_id: int, settings: str
) -> Record:
    """Found a cluster of this one node: an operator's explicit act, done once. Raises OSError."""
    record = Record(cluster_id, {node_id: Founder(True, directory_id)}, settings)
    write_genesis(home, record)
    return record


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
    removed = found.get("removed")
    if removed is not None:
        raise RemovedError(
            f"node {node_id} was removed from the cluster at slot {removed['slot']}: what {place} "
            "holds is of no more use to it. To use this machine again give it an empty data "
            "directory and add it with paxosctl member add"
        )


def _draw(random_bits: Callable[[int], int]) -> int:
    return random_bits(DIRECTORY_BITS) or 1  # 0 means that no directory is known


def _write_identity(home: Disk, fields: dict[str, Any]) -> None:
    write_file(home, _IDENTITY, json.dumps(fields, indent=2) + "\n")


def _read_identity(home: Disk, prefix: str = "") -> dict[str, Any]:
    """The fields, with those that a file of an older program lacks. Raises IdentityError."""
    try:
        found = json.loads(read_file(home, _IDENTITY))
    except (ValueError, RecursionError) as problem:
        raise IdentityError(f"{prefix}{_IDENTITY} is damaged: {problem}") from problem
    if not isinstance(found, dict):
        raise IdentityError(f"{prefix}{_IDENTITY} is damaged: it is no JSON object")
    found = _ABSENT | found
    removed = found.get("removed", {"slot": 0})
    for name, holds in (
        ("directory", _is_number(found["directory"]) and not found["directory"] >> DIRECTORY_BITS),
        ("lost", type(found["lost"]) is bool),
        ("repaired", type(found["repaired"]) is bool),
        ("diverged", _is_number(found["diverged"])),
        ("genesis", type(found["genesis"]) is str and _NUMBER.fullmatch(found["genesis"])),
        ("removed", isinstance(removed, dict) and _is_number(removed.get("slot"))),
    ):
        if not holds:
            raise IdentityError(
                f'{prefix}{_IDENTITY} is damaged: "{name}" cannot be {found[name]!r}'
            )
    return found


def _is_number(value: Any) -> bool:
    return type(value) is int and value >= 0


def _read_boot_count(home: Disk, place: str) -> int:
    try:
        text = read_file(home, _BOOT_COUNT).decode("ascii", "replace").strip()
    except FileNotFoundError:
        text = ""
    if not (text.isascii() and text.isdigit()):
        raise IdentityError(
            f"{place}/{_BOOT_COUNT} is missing or damaged: without it peers would take this "
            "node's messages for replays. Restore it with a number higher than any before"
        )
    return int(text)
