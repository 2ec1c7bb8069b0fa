"""The commands of session 0 that change who is a member, by which settings the cluster runs,
and who may do what.

MEMBERS, CLUSTER and RIGHTS each name the version that they follow, and take effect only if that is
the present one. So of two concurrent changes one is applied, and the other one is answered
CAS_MISS.
"""

from contextlib import suppress
from typing import Any

from paxosd.core.client_name import client_name_fault
from paxosd.core.cluster_settings import (
    LEVEL_CLIENT_NAMES,
    LEVEL_KEYS,
    LEVEL_NAMED_OPEN,
    ClusterSettings,
    SettingsError,
)
from paxosd.core.commands import (
    CHECKSUM,
    CLOSE,
    CLUSTER,
    FENCE,
    MEMBERS,
    OPEN,
    OPENED_BY_MIN,
    RIGHTS,
    Batch,
    Command,
    Result,
    Status,
    changes_settings,
)
from paxosd.core.membership import Membership, MembershipError
from paxosd.core.rights import KEY_BYTES, RightsError, RightsTable
from paxosd.core.state.kv import MALFORMED_RESULT
from paxosd.core.types import Slot

_OK = int(Status.OK)
_CAS_MISS = int(Status.CAS_MISS)
_ARITY = {OPEN: 1, CLOSE: 1, CHECKSUM: 1, FENCE: 3, MEMBERS: 3, CLUSTER: 4, RIGHTS: 3}
_KEYED = frozenset((FENCE, MEMBERS, CLUSTER, RIGHTS))


def is_formed(command: Command, op: int, level: int = 0) -> bool:
    """Whether it is a command ``op`` of the right length at this level; for OPEN, CLOSE, CHECKSUM,
    FENCE, MEMBERS, CLUSTER and RIGHTS."""
    if type(command) not in (list, tuple) or not command:
        return False
    if type(command[0]) is not int or command[0] != op:
        return False
    if len(command) == _ARITY[op]:
        return op != RIGHTS
    return (
        level >= LEVEL_KEYS
        and op in _KEYED
        and len(command) == _ARITY[op] + 1
        and _is_requester(command[-1])
    )


def _is_requester(key: Any) -> bool:
    return type(key) is bytes and len(key) in (0, KEY_BYTES)


def opening_of(command: Command, number: int, level: int) -> tuple[int, str, bytes] | None:
    """What an OPEN that is well-formed at this level gives: the number that it names, 0: none; the
    client's name, "": none; and its key, b"": none. None: it is no such OPEN. ``number``: see
    ``OPENED_BY_MIN``."""
    opened_by = number if level >= LEVEL_NAMED_OPEN and number >= OPENED_BY_MIN else 0
    if is_formed(command, OPEN):
        return opened_by, "", b""
    if type(command) not in (list, tuple) or level < LEVEL_CLIENT_NAMES:
        return None
    if not 2 <= len(command) <= (3 if level >= LEVEL_KEYS else 2):
        return None
    op, name, *key = command
    nameless = key and type(name) is str and not name
    if type(op) is not int or op != OPEN or not (nameless or not client_name_fault(name)):
        return None
    if key and not _is_requester(key[0]):
        return None
    return opened_by, name, key[0] if key else b""


def change_members(present: Membership, slot: Slot, command: Command) -> tuple[Membership, Result]:
    """The membership after a well-formed MEMBERS in ``slot``, and the result of the command."""
    _, epoch, document = command[:3]
    if type(epoch) is not int or epoch != present.epoch:
        return present, (_CAS_MISS, present.epoch, None)
    try:
        changed = Membership.from_command(document, present.epoch + 1, slot + 1)
    except MembershipError:
        return present, MALFORMED_RESULT
    return changed, (_OK, changed.epoch, slot + 1)


def change_settings(
    present: ClusterSettings, present_epoch: int, slot: Slot, command: Command
) -> tuple[ClusterSettings, Result]:
    """The settings after a well-formed CLUSTER in ``slot``, and the result of the command.

    ``present_epoch``: that of the membership. Raises UnknownLevelError."""
    _, version, epoch, document = command[:4]
    if not _follows(present, present_epoch, version, epoch):
        return present, (_CAS_MISS, present.version, present_epoch)
    try:
        changed = present.follow(document)
    except SettingsError:
        return present, MALFORMED_RESULT
    return changed, (_OK, changed.version, slot + 1)


def change_rights(present: RightsTable, slot: Slot, command: Command) -> tuple[RightsTable, Result]:
    """The table after a well-formed RIGHTS in ``slot``, and the result of the command."""
    _, version, document, _ = command
    if type(version) is not int or version != present.version:
        return present, (_CAS_MISS, present.version, None)
    try:
        changed = present.follow(document)
    except RightsError:
        return present, MALFORMED_RESULT
    return changed, (_OK, changed.version, slot + 1)


def check_level(batch: Batch, present: ClusterSettings, present_epoch: int) -> None:
    """Raises UnknownLevelError if this batch may raise the feature level above those that this
    program knows. Called before anything of the batch is applied; a change that follows a later
    version than the present one counts, too, for an earlier command of the batch may lead there."""
    for entry in batch.entries:
        if entry.session != 0 or not changes_settings(entry):
            continue
        for command in entry.commands:
            if not is_formed(command, CLUSTER, present.level):
                continue
            _, version, epoch, document = command[:4]
            later = type(version) is int and version > present.version
            if later or _follows(present, present_epoch, version, epoch):
                with suppress(SettingsError):
                    present.follow(document)


def _follows(present: ClusterSettings, present_epoch: int, version: Any, epoch: Any) -> bool:
    """Whether a change that names this version and epoch follows the present settings."""
    return (
        type(version) is int
        and version == present.version
        and type(epoch) is int
        and epoch == present_epoch
    )
