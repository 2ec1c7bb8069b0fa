"""Who votes, by epoch: from the founding record, from the log's entries, and from MEMBER events.

A change of the membership in slot s is in force from slot s + 1 on and makes the next epoch; a
ballot of epoch e has a round of at least e times 10^9. In a slot a value is chosen by a phase-2
quorum of the voters in force there, under a ballot of their epoch (Lamport, "Paxos Made Simple",
section 3, with alpha = 1 behind a change; docs/PROTOCOL.md has the documents).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from msgpack import unpackb

from paxosctl.audit.rights import RIGHTS_COMMAND, RightsChange, RightsInForce, rights_change

EPOCH_ROUNDS = 1_000_000_000
_MEMBERS_COMMAND = 10
_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class Membership:
    """``slot``: from which one on it is in force. ``voters``: name → the directory that votes in
    that name, 0: any. ``phase1``, ``phase2``: quorum sizes."""

    epoch: int
    slot: int
    voters: dict[str, int]
    phase1: int
    phase2: int


def make(epoch: int, slot: int, voters: dict[str, int], phase1: int, phase2: int) -> Membership:
    """A membership; a quorum size of 0 is a majority."""
    majority = len(voters) // 2 + 1
    return Membership(epoch, slot, voters, phase1 or majority, phase2 or majority)


def of_genesis(text: bytes) -> Membership | None:
    """That of epoch 0, from a founding record; None: it is not one."""
    try:
        members = json.loads(text)["members"]
        voters = {str(name): int(row[1]) for name, row in members.items() if row[0] is True}
    except _ERRORS:
        return None
    return make(0, 0, voters, 0, 0)


@dataclass(frozen=True, slots=True)
class Change:
    """A command that changes the membership, as it stands in slot ``slot``: it follows
    ``follows``, and has no effect if that is not the epoch in force there."""

    slot: int
    follows: int
    voters: dict[str, int]
    phase1: int
    phase2: int
    key: bytes = b""
    """Of who asked for it; b"": a node vouches for it."""


def changes_in(slot: int, value: bytes | memoryview) -> Iterator[Change | RightsChange]:
    """The changes of the membership and of the rights in the value of a slot, in order; a value
    that is no batch has none."""
    data = bytes(value)
    if b'"departed"' not in data and b'"principals"' not in data:
        return
    try:
        for blob in unpackb(data)[1]:
            for command in unpackb(blob)[3]:
                if command[0] == _MEMBERS_COMMAND:
                    key = command[3] if len(command) > 3 else b""
                    yield _change(slot, command[1], json.loads(command[2]), key)
                elif command[0] == RIGHTS_COMMAND:
                    yield rights_change(slot, command)
    except _ERRORS:
        return


def _change(slot: int, follows: int, document: dict[str, Any], key: bytes) -> Change:
    members = document["members"].items()
    voters = {str(name): int(row["directory"]) for name, row in members if row["voter"] is True}
    sizes = int(document["phase1"]), int(document["phase2"])
    return Change(slot, int(follows), voters, *sizes, key)


class Epochs:
    """All memberships that are known."""

    def __init__(self) -> None:
        self._known: dict[int, Membership] = {}
        self._gathered: tuple[int, int, int, dict[str, int]] | None = None
        """(epoch, slot, quorum sizes, voters) of the events that go by, one for each member."""
        self.contradictions: list[str] = []

    @property
    def known(self) -> dict[int, Membership]:
        """Epoch → membership."""
        self._settle()
        return self._known

    def _settle(self) -> None:
        if self._gathered is not None:
            epoch, slot, sizes, voters = self._gathered
            self._gathered = None
            if voters:
                self.add(make(epoch, slot, voters, sizes & 0xFFFFFFFF, sizes >> 32))

    def gather(self, epoch: int, slot: int, sizes: int, voter: dict[str, int]) -> None:
        """One member, with its directory if it votes; the others come right behind it, so that
        all are there when next somebody asks for what is known."""
        if self._gathered is None or self._gathered[:3] != (epoch, slot, sizes):
            self._settle()
            self._gathered = epoch, slot, sizes, {}
        self._gathered[3].update(voter)

    def add(self, found: Membership) -> None:
        """One more source for an epoch; of epoch 0 a source that names directories counts more
        than one that does not."""
        held = self._known.get(found.epoch)
        if held is None or (
            not any(held.voters.values()) and set(held.voters) == set(found.voters)
        ):
            self._known[found.epoch] = found
        elif set(held.voters) != set(found.voters):
            self.contradictions.append(
                f"epoch {found.epoch}: one source has the voters {', '.join(sorted(held.voters))}, "
                f"another {', '.join(sorted(found.voters))}"
            )

    def apply(self, changes: list[Change | RightsChange]) -> None:
        """Take in changes of chosen slots, in the order of the log."""
        rights = RightsInForce()
        for change in changes:
            if isinstance(change, RightsChange):
                rights.take(change)
                continue
            if not rights.may_change_members(change.slot, change.key):
                continue
            before = self.known.get(change.follows)
            if before is not None and change.slot >= before.slot:
                self.add(make(change.follows + 1, change.slot + 1, change.voters,
                              change.phase1, change.phase2))  # fmt: skip

    def of_ballot(self, round_: int) -> Membership | None:
        """Of the epoch that a ballot belongs to."""
        return self.known.get(round_ // EPOCH_ROUNDS)

    def in_force(self, membership: Membership, slot: int) -> bool:
        """Whether it is in force at a slot, as far as is known."""
        after = self.known.get(membership.epoch + 1)
        return slot >= membership.slot and (after is None or slot < after.slot)
