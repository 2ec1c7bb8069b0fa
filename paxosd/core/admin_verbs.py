"""The admin verbs: what an operator can ask one node for, and what each verb may do.

One table for both ends. The daemon (``replica/admin.py``) refuses by it: an unknown verb, an
argument that the verb does not have, a directive that its configuration does not permit. The client
(``paxosctl/client/client.py``) decides by it whether a request may be sent a second time when no
answer came.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from paxosd.core.commands import CHECKSUM, CLUSTER, FENCE, MEMBERS, OPEN, RIGHTS


class Permission(Enum):
    """What a request may do, and so who may ask for it once rights are required: the table is
    ``replica/permissions.py``. The first five are of admin verbs, the others of commands."""

    OBSERVE = "observe"
    """It changes nothing."""
    OPERATE = "operate"
    """It changes what the node does, never what it stores for the cluster; or it has the node reach
    for what the asker may not reach."""
    FAULTS = "faults"
    """It makes the node fail on purpose: forbidden unless ``[faults] enabled`` is true there."""
    SNAPSHOT = "snapshot"
    """It has the node write a snapshot, for itself or for who takes backups."""
    DATA = "data"
    """It hands out what the store holds, whatever the key."""
    SESSION = "session"
    """It opens a session, or asks what became of a command of one's own."""
    MEMBERS = "members"
    """It changes who is a member."""
    SETTINGS = "settings"
    """It changes the replicated settings."""
    RIGHTS = "rights"
    """It changes who may do what."""


class AdminVerb(NamedTuple):
    """``arguments``: the names that the verb takes; None: the verb checks them itself.
    ``repeatable``: whether the request has the same effect if it is carried out twice. ``help``:
    one sentence, with the shape of the answer."""

    name: str
    arguments: frozenset[str] | None
    permission: Permission
    repeatable: bool
    help: str


_NO_ARGUMENTS: frozenset[str] = frozenset()

_ROWS = (
    AdminVerb(
        "alive",
        _NO_ARGUMENTS,
        Permission.OBSERVE,
        True,
        "Answers {} at once: asked by a client that waits for another answer.",
    ),
    AdminVerb(
        "status",
        _NO_ARGUMENTS,
        Permission.OBSERVE,
        True,
        "Answers the status of the node: its role, its ballot, its peers and so on.",
    ),
    AdminVerb(
        "checksum",
        frozenset({"slot"}),
        Permission.OBSERVE,
        True,
        "Answers {slot, checksum, pending, progress}: the checksum of the state after the CHECKSUM "
        "command in a slot.",
    ),
    AdminVerb(
        "snapshot_take",
        _NO_ARGUMENTS,
        Permission.SNAPSHOT,
        True,
        "Takes a snapshot soon, and answers {applied, slot, running}.",
    ),
    AdminVerb(
        "snapshot_read",
        frozenset({"slot", "offset"}),
        Permission.DATA,
        True,
        "Answers {slot, offset, total, data}: a piece of a snapshot's file.",
    ),
    AdminVerb(
        "transfer_leader",
        frozenset({"name"}),
        Permission.OPERATE,
        False,
        "Lets this leader hand over to a voter, and answers {transferring}.",
    ),
    AdminVerb(
        "probe",
        frozenset({"endpoints"}),
        Permission.OPERATE,
        True,
        "Answers {pending, results}: whether the machine of the node reaches endpoints.",
    ),
    AdminVerb(
        "log_level",
        frozenset({"level", "for_ms"}),
        Permission.OPERATE,
        True,
        "Changes the level of the log for a while, and answers {node, level, configured, left_ms}.",
    ),
    AdminVerb(
        "file_list",
        _NO_ARGUMENTS,
        Permission.DATA,
        True,
        "Answers {files, notes}: which files of its recording and its logs the node hands out.",
    ),
    AdminVerb(
        "file_read",
        frozenset({"name", "offset", "count"}),
        Permission.DATA,
        True,
        "Answers {name, offset, total, bytes, data}: a piece of one of these files.",
    ),
    AdminVerb(
        "rights",
        _NO_ARGUMENTS,
        Permission.OBSERVE,
        True,
        "Answers {version, required, principals, …}: the rights table, or one's own part of it.",
    ),
    AdminVerb(
        "fault_add",
        None,
        Permission.FAULTS,
        False,
        "Adds a fault rule, and answers {added}.",
    ),
    AdminVerb(
        "fault_list",
        _NO_ARGUMENTS,
        Permission.OBSERVE,
        True,
        "Answers {enabled, rules}: the fault rules that are active.",
    ),
    AdminVerb(
        "fault_rm",
        frozenset({"name"}),
        Permission.FAULTS,
        False,
        "Removes a fault rule, and answers {removed, hits}.",
    ),
    AdminVerb(
        "fault_clear",
        _NO_ARGUMENTS,
        Permission.FAULTS,
        False,
        "Removes all fault rules, and answers {removed}.",
    ),
    AdminVerb(
        "fault_crash",
        _NO_ARGUMENTS,
        Permission.FAULTS,
        False,
        "Ends the process as a power cut would, and answers {crashing} before.",
    ),
)

COMMAND_PERMISSIONS: Mapping[int, Permission] = MappingProxyType(
    {
        OPEN: Permission.SESSION,
        FENCE: Permission.SESSION,
        CHECKSUM: Permission.OPERATE,
        MEMBERS: Permission.MEMBERS,
        CLUSTER: Permission.SETTINGS,
        RIGHTS: Permission.RIGHTS,
    }
)
"""Command of session 0 → what it may do. Those of a session go by prefixes
(``core/state/rights_check.py``)."""
ADMIN_VERBS: Mapping[str, AdminVerb] = MappingProxyType({row.name: row for row in _ROWS})
"""Name → verb."""


def is_repeatable(name: str) -> bool:
    """Whether a request with this verb may be sent again when no answer came. A verb that is not in
    the table is one of a later version, of which nothing is known but that it may be asked for."""
    verb = ADMIN_VERBS.get(name)
    return verb is None or verb.repeatable
