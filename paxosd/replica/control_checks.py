"""Changes of members, settings and rights, before they are proposed.

When such a change is applied, only the version that it follows counts: mistakes of a person are
refused here, in words.
"""

from paxosd.core.cluster_settings import SettingsError
from paxosd.core.commands import Entry, changes_members, changes_rights, changes_settings
from paxosd.core.membership import Membership, MembershipError, follows
from paxosd.core.message_room import MessageRoom
from paxosd.core.node import Node
from paxosd.core.rights import RightsError
from paxosd.core.state.machine import Machine

TOO_LOW = (
    "the settings are not replicated yet: the cluster is at feature level 0, and its leader raises "
    "it by itself once every member runs a version that knows level 1; `paxosctl cluster show` "
    "names those that are waited for"
)


def control_refusal(entry: Entry, node: Node, machine: Machine, room: MessageRoom | None) -> str:
    """Why a change that an entry makes is not to be proposed; "" if it may be, or makes none.
    ``room``: what this node's sockets take; None: anything."""
    if entry.session != 0:
        return ""
    for changes, check, what in (
        (changes_members, _members_refusal, "the membership"),
        (changes_settings, _settings_refusal, "the settings"),
        (changes_rights, _rights_refusal, "the rights"),
    ):
        if changes(entry):
            if len(entry.commands) != 1:
                return f"a change of {what} comes alone"
            return check(entry, node, machine, room)
    return ""


def _members_refusal(entry: Entry, node: Node, _machine: Machine, _room: MessageRoom | None) -> str:
    membership = node.membership
    _, epoch, document = entry.commands[0][:3]
    if epoch != membership.epoch:
        return ""  # the answer will say so
    try:
        follows(Membership.from_command(document, epoch + 1, 1), membership)
    except MembershipError as error:
        return str(error)
    return ""


def _settings_refusal(entry: Entry, _node: Node, machine: Machine, room: MessageRoom | None) -> str:
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


def _rights_refusal(entry: Entry, _node: Node, machine: Machine, _room: MessageRoom | None) -> str:
    _, version, document, _ = entry.commands[0]
    if version != machine.rights.version:
        return ""  # the answer will say so
    try:
        machine.rights.follow(document)
    except RightsError as error:
        return str(error)
    return ""
