"""Changes of members, settings and rights, before they are proposed.

When such a change is applied, only the version that it follows counts: mistakes of a person are
refused here, in words. One is a change of the rights after which too few voters have a key: it
would be the last change of all, for no quorum would hear of another one.
"""

from collections.abc import Callable

from paxosd.core.cluster_settings import SettingsError
from paxosd.core.commands import Entry, changes_members, changes_rights, changes_settings
from paxosd.core.membership import Membership, MembershipError, follows
from paxosd.core.message_room import MessageRoom
from paxosd.core.node import Node
from paxosd.core.rights import RightsError
from paxosd.core.state.machine import Machine
from paxosd.core.types import NodeId
from paxosd.replica.permissions import Permissions

KeysOf = Callable[[NodeId], tuple[bytes, ...]]
"""A node → its public keys."""
TOO_LOW = (
    "the settings are not replicated yet: the cluster is at feature level 0, and its leader raises "
    "it by itself once every member runs a version that knows level 1; `paxosctl cluster show` "
    "names those that are waited for"
)


def control_refusal(
    entry: Entry,
    node: Node,
    machine: Machine,
    room: MessageRoom | None,
    permissions: Permissions,
) -> str:
    """Why a change that an entry makes is not to be proposed; "" if it may be, or makes none.
    ``room``: what this node's sockets take; None: anything. ``permissions``: who has which key."""
    if entry.session != 0:
        return ""
    for changes, what in (
        (changes_members, "the membership"),
        (changes_settings, "the settings"),
        (changes_rights, "the rights"),
    ):
        if not changes(entry):
            continue
        if len(entry.commands) != 1:
            return f"a change of {what} comes alone"
        if changes is changes_members:
            return _members_refusal(entry, node)
        if changes is changes_settings:
            return _settings_refusal(entry, machine, room)
        return _rights_refusal(entry, node, machine, permissions)
    return ""


def _members_refusal(entry: Entry, node: Node) -> str:
    membership = node.membership
    _, epoch, document = entry.commands[0][:3]
    if epoch != membership.epoch:
        return ""  # the answer will say so
    try:
        follows(Membership.from_command(document, epoch + 1, 1), membership)
    except MembershipError as error:
        return str(error)
    return ""


def _settings_refusal(entry: Entry, machine: Machine, room: MessageRoom | None) -> str:
    """Clients may not change the level and the founding record."""
    before = machine.settings
    if not before.level:
        return TOO_LOW
    _, version, _, document = entry.commands[0][:4]
    if version != before.version:
        return ""  # the answer will say so
    try:
        after = before.follow(document)
    except SettingsError as error:
        return str(error)
    if (after.level, after.genesis) != (before.level, before.genesis):
        return "the feature level and the genesis are the cluster's own to set"
    return room.refusal(after) if room is not None else ""


def _rights_refusal(entry: Entry, node: Node, machine: Machine, permissions: Permissions) -> str:
    _, version, document, _ = entry.commands[0]
    before = machine.rights
    if version != before.version:
        return ""  # the answer will say so
    try:
        after = before.follow(document)
    except RightsError as error:
        return str(error)
    return _cut_off_words(node.membership, permissions.keys_under(before).keys_of,
                          permissions.keys_under(after).keys_of)  # fmt: skip


def _cut_off_words(membership: Membership, before: KeysOf, after: KeysOf) -> str:
    """Why voters may not lose their keys, ``before`` and ``after``: the keys of a node; "": none
    does, or those that are left are enough."""
    voters = membership.voters
    lost = [name for name in voters if before(name) and not after(name)]
    left = [name for name in voters if after(name)]
    if not lost:
        return ""
    needed = max(membership.quorums.phase1, membership.quorums.phase2)
    if len(left) >= needed:
        return ""
    return (
        f"{', '.join(lost)} would have no key any more, and with {len(left)} of {len(voters)} "
        f"voters that are heard, where {needed} are needed, nothing could be agreed on any more, "
        f"not even to take this back: enter a new key first (paxosctl auth rotate {lost[0]} "
        "--public-key KEY), and start the node with it"
    )
