"""The head of a snapshot: all of the state but its sessions, leases, history and rows.

What it says is not trusted: it came from a disk or a peer.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from zlib import crc32

from paxosd.core.cluster_settings import BOUNDS, LEVEL_COORDINATION, ClusterSettings, SettingsError
from paxosd.core.commands import Reign
from paxosd.core.lease_bounds import FIRST_ID
from paxosd.core.membership import Membership, MembershipError
from paxosd.core.rights import RightsError, RightsTable
from paxosd.core.state.log_clock import NO_REIGN, NUMBER_MAX
from paxosd.core.transactions import PARTS_MAX
from paxosd.core.types import NodeId, Slot

Members = Mapping[NodeId, Mapping[str, str]]
"""Who is a member, and its endpoints by kind: peer, client, events."""

_CRC_MAX = (1 << 32) - 1


class SnapshotError(ValueError):
    """This is no snapshot, or not a complete one; the text says where."""


class SnapshotHead(NamedTuple):
    """Everything except the sessions, the leases and the rows.

    ``slot``: the last one applied. ``next_session``: the id that the next OPEN gets. ``sessions``
    and ``keys``: how many follow. ``members``: those of the configuration, for people.
    ``membership``: the one in the log, as JSON; b"" at epoch 0. ``settings``: those in the log, as
    JSON; b"" at version 0. ``reign``: where the stopwatch of log time stands; () if it never ran.
    ``next_lease``: the id that the next GRANT gets that asks for none. ``leases``: how many follow.
    ``rights``: the rights table in the log, as JSON; b"" at version 0.
    """

    slot: Slot
    revision: int
    log_time_ms: int
    chain: int
    next_session: int
    sessions: int
    keys: int
    members: Members
    membership: bytes = b""
    settings: bytes = b""
    reign: tuple[Any, ...] = ()
    next_lease: int = FIRST_ID
    leases: int = 0
    rights: bytes = b""

    def moved(self, bump: int) -> "SnapshotHead":
        """The head of the same state for another cluster, which goes on ``bump`` numbers later.

        The snapshot's cluster went on after it was taken, and what it handed out then is lost here:
        a fencing token, the id of a session or lease. As long as that were fewer than ``bump``, no
        number is handed out a second time. The chain has it, so that nodes whose heads were moved
        by different numbers notice it with the first slot. The stopwatch has not run yet: the new
        cluster counts its ballots from 1 on, and to earlier reigns than the latest log time would
        stand still. Raises SnapshotError."""
        has_leases = settings_of(self).level >= LEVEL_COORDINATION
        moved = self._replace(
            revision=self.revision + bump,
            reign=(),
            next_session=self.next_session + bump,
            next_lease=self.next_lease + bump if has_leases else self.next_lease,
            chain=crc32(b"moved by %d" % bump, self.chain) if bump else self.chain,
        )
        if max(moved.revision, moved.next_session, moved.next_lease) > NUMBER_MAX:
            raise SnapshotError(f"no room is left for numbers {bump} higher")
        return moved


def head_has_sum(head: SnapshotHead) -> bool:
    """Whether a snapshot carries the checksum of its state: it does at feature level 1."""
    return bool(head.settings)


def check_head(head: SnapshotHead, sessions_max: int) -> None:
    """Raises SnapshotError for numbers that cannot be."""
    for name, value, least, most in (
        ("slot", head.slot, 1, NUMBER_MAX),
        ("revision", head.revision, 0, NUMBER_MAX),
        ("log_time_ms", head.log_time_ms, 0, NUMBER_MAX),
        ("chain", head.chain, 0, _CRC_MAX),
        ("next_session", head.next_session, 1, NUMBER_MAX),
        # Not what the settings allow: they may have come down below what is there.
        ("sessions", head.sessions, 0, sessions_max),
        ("keys", head.keys, 0, PARTS_MAX * head.revision),  # of a transaction in one revision
        ("next_lease", head.next_lease, FIRST_ID, NUMBER_MAX),
        ("leases", head.leases, 0, BOUNDS["leases_max"][1]),
    ):
        if type(value) is not int or not least <= value <= most:
            raise SnapshotError(f"the head's {name} is not a number from {least} to {most}")


def membership_of(head: SnapshotHead) -> Membership:
    """The membership in a head. Raises SnapshotError."""
    if type(head.membership) is not bytes:
        raise SnapshotError("the head's membership is none")
    try:
        membership = Membership.from_json(head.membership)
    except MembershipError as error:
        raise SnapshotError(f"the head's membership: {error}") from None
    if membership.slot > head.slot + 1:
        raise SnapshotError("the head's membership is of a later slot")
    return membership


def settings_of(head: SnapshotHead) -> ClusterSettings:
    """The settings in a head. Raises SnapshotError."""
    if type(head.settings) is not bytes:
        raise SnapshotError("the head's settings are none")
    try:
        return ClusterSettings.from_json(head.settings)
    except SettingsError as error:
        raise SnapshotError(f"the head's settings: {error}") from None


def rights_of(head: SnapshotHead) -> RightsTable:
    """The rights table in a head. Raises SnapshotError."""
    if type(head.rights) is not bytes:
        raise SnapshotError("the head's rights are none")
    try:
        return RightsTable.from_json(head.rights)
    except RightsError as error:
        raise SnapshotError(f"the head's rights: {error}") from None


def reign_of(head: SnapshotHead) -> Reign:
    """Where the stopwatch stands. Raises SnapshotError."""
    if head.reign == ():
        return NO_REIGN
    if type(head.reign) is not tuple or len(head.reign) != len(Reign._fields):
        raise SnapshotError("the head's reign is none")
    reign = Reign(*head.reign)
    numbers = reign.round, reign.elapsed_ms
    if type(reign.node) is not str or not all(
        type(number) is int and 0 <= number <= NUMBER_MAX for number in numbers
    ):
        raise SnapshotError("the head's reign is none")
    return reign
