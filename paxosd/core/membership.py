"""Who is a member, who votes, from which slot on: the configuration that the log itself holds.

    MEMBERS command in slot s ──► chosen, applied ──► in force from slot s + 1 on: the next epoch

Rules:

- Memberships are numbered by *epochs* from 0, that of the configuration files. A change names the
  epoch that it follows: of two changes at once the second finds another epoch, and does nothing.
- A leader that has a change in flight proposes nothing behind it: which quorum slot s + 1 needs is
  known only once slot s is applied. (Lamport, "Paxos Made Simple", section 3, lets the state after
  slot i govern slot i + alpha; here alpha is 1 behind a change, and the window drains there.)
- A ballot belongs to one epoch, and those of a later epoch are higher (``types.py``). In slot i a
  value is chosen only by a phase-2 quorum of the membership in force at i, under a ballot of its
  epoch; and a node promises and accepts ballots of its own epoch alone, once it has applied,
  durably, all that came before it. So whatever was accepted under an older membership is
  outranked, phase 1 within the epoch finds all that was chosen within it, and the two memberships
  need not overlap.
- Nodes that promise under the new membership have applied all earlier decisions, durably. So a
  removed node may be stopped once it hears of a leader of the new epoch.

A command holds the whole membership: a node that joins need not know the one before. It is JSON, so
that a person can read it in the log.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from paxosd.core.json_object import load_object
from paxosd.core.quorum import NOBODY, Quorums
from paxosd.core.types import NodeId, Slot

MEMBERS_MAX = 64
DEPARTED_MAX = 8
DOCUMENT_BYTES_MAX = 32 << 10
TEXT_CHARS_MAX = 300
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NUMBER_MAX = (1 << 63) - 1
MEMBER_KEYS = ("peer", "client", "events", "voter", "directory")
"""A member's fields in the log and in the daemon's answers: the format that every version reads."""


class MembershipError(ValueError):
    """Not a membership that a cluster can have; the text says why."""


class Member(NamedTuple):
    """One member. The endpoints read ``tcp://HOST:PORT``.

    ``directory_id``: of the data directory that may vote in this name; 0: any that never
    lost its memory (the members of the configuration files, see ``admission.py``).
    """

    peer: str
    client: str
    events: str
    voter: bool = True
    directory_id: int = 0

    def document(self) -> dict[str, Any]:
        """As plain values, under the names that the log has for them."""
        return dict(zip(MEMBER_KEYS, self, strict=True))

    @classmethod
    def from_document(cls, fields: Mapping[str, Any]) -> "Member":
        """What :meth:`document` gave; nothing is checked. Raises KeyError."""
        return cls(*(fields[key] for key in MEMBER_KEYS))


class Membership:
    """One configuration; immutable. ``slot``: from which one on it is in force.

    ``phase1``, ``phase2``: the quorum sizes, 0: majorities. ``departed``: the last few members that
    were removed; they get Removed. Raises MembershipError.
    """

    __slots__ = ("departed", "epoch", "members", "phase1", "phase2", "quorums", "slot")

    def __init__(
        self,
        members: Mapping[NodeId, Member],
        *,
        epoch: int = 0,
        slot: Slot = 0,
        phase1: int = 0,
        phase2: int = 0,
        departed: Mapping[NodeId, Member] | None = None,
    ) -> None:
        self.members: dict[NodeId, Member] = dict(sorted(members.items()))
        self.departed: dict[NodeId, Member] = dict(departed or {})
        self.epoch = epoch
        self.slot = slot
        self.phase1, self.phase2 = phase1, phase2
        voters = [name for name, member in self.members.items() if member.voter]
        if len(self.members) > MEMBERS_MAX:
            raise MembershipError(f"{len(self.members)} members are more than {MEMBERS_MAX}")
        try:
            self.quorums = Quorums(voters, phase1, phase2)
        except ValueError as error:
            raise MembershipError(str(error)) from None

    @classmethod
    def of_quorums(cls, quorums: Quorums) -> "Membership":
        """Epoch 0, where only the quorums matter: the endpoints are the configuration's."""
        made = cls.__new__(cls)
        made.members = {name: Member("", "", "") for name in quorums.voters}
        made.departed = {}
        made.epoch, made.slot = 0, 0
        majority = len(quorums.voters) // 2 + 1
        sizes = quorums.phase1, quorums.phase2
        made.phase1, made.phase2 = (0, 0) if sizes == (majority, majority) else sizes
        made.quorums = quorums
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Membership) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        return f"Membership({self.to_json().decode()})"

    def replaced(self, members: Mapping[NodeId, Member], **sizes: int) -> "Membership":
        """The next membership: the same with other members (and ``phase1``, ``phase2``). Members
        that are not in it any more have departed. Raises MembershipError."""
        gone = {n: m for n, m in self.members.items() if n not in members}
        departed = {n: m for n, m in (self.departed | gone).items() if n not in members}
        last = dict(list(departed.items())[-DEPARTED_MAX:])
        settings = {"phase1": self.phase1, "phase2": self.phase2} | sizes
        return Membership(members, epoch=self.epoch + 1, departed=last, **settings)

    @property
    def voters(self) -> tuple[NodeId, ...]:
        return self.quorums.voters

    @property
    def learners(self) -> tuple[NodeId, ...]:
        """The members without a vote."""
        return tuple(name for name, member in self.members.items() if not member.voter)

    # -- as text

    def document(self) -> dict[str, Any]:
        """All of it but epoch and slot, as plain values: what a command carries."""
        return {
            "members": {name: member.document() for name, member in self.members.items()},
            "departed": {name: member.document() for name, member in self.departed.items()},
            "phase1": self.phase1,
            "phase2": self.phase2,
        }

    def to_command(self) -> bytes:
        """The bytes of a MEMBERS command that brings this membership about."""
        return _dump(self.document())

    def to_json(self) -> bytes:
        """All of it; b"" for an unknown one."""
        if not self.members:
            return b""
        return _dump(self.document() | {"epoch": self.epoch, "slot": self.slot})

    @classmethod
    def from_command(cls, document: bytes, epoch: int, slot: Slot) -> "Membership":
        """The membership of ``epoch``, in force from ``slot`` on, that a command brings about.
        Depends on its arguments alone, so that all nodes see the same. Raises MembershipError."""
        found = _load(document, {"members", "departed", "phase1", "phase2"})
        return _make(found, epoch, slot)

    @classmethod
    def from_json(cls, text: bytes) -> "Membership":
        """What :meth:`to_json` made. Raises MembershipError."""
        if not text:
            return UNKNOWN
        found = _load(text, {"members", "departed", "phase1", "phase2", "epoch", "slot"})
        return _make(found, _number(found, "epoch"), _number(found, "slot"))


UNKNOWN = Membership.of_quorums(NOBODY)
"""The membership of a joining node before it has learned any: at epoch 0 the members are those of
the founders' configuration, which it does not have."""


def follows(new: Membership, old: Membership) -> None:
    """Whether a person may ask for ``new`` after ``old``: one voter in, one out, at a time, as
    each costs the cluster tolerance until the newcomer has caught up. (Safety asks for less.)

    Raises MembershipError with words."""
    joining = sorted(set(new.voters) - set(old.voters))
    leaving = sorted(set(old.voters) - set(new.voters))
    if len(joining) > 1 or len(leaving) > 1:
        raise MembershipError(
            "one voter may join and one may leave at a time, not "
            f"{', '.join(joining) or 'none'} and {', '.join(leaving) or 'none'}"
        )
    for name in joining:
        if name not in old.members:
            raise MembershipError(
                f"{name} is no member yet: add it as a learner first (member add), and promote it "
                "when it has caught up"
            )
    renewed = [
        name
        for name, member in new.members.items()
        if member.voter
        and name in old.members
        and old.members[name].voter
        and old.members[name].directory_id != member.directory_id
    ]
    if len(renewed) + len(joining) > 1:
        raise MembershipError("one voter may come back without its memory at a time")


def _make(found: dict[str, Any], epoch: int, slot: Slot) -> Membership:
    departed = _members(found, "departed")
    if len(departed) > DEPARTED_MAX:
        raise MembershipError(f"more than {DEPARTED_MAX} departed members")
    return Membership(
        _members(found, "members"),
        epoch=epoch,
        slot=slot,
        phase1=_number(found, "phase1"),
        phase2=_number(found, "phase2"),
        departed=departed,
    )


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _load(document: bytes, keys: set[str]) -> dict[str, Any]:
    if type(document) is not bytes or len(document) > DOCUMENT_BYTES_MAX:
        raise MembershipError(f"a membership is text of at most {DOCUMENT_BYTES_MAX} bytes")
    try:
        found = load_object(document)
    except ValueError:
        raise MembershipError(
            "a membership is a JSON object, in which a name stands once"
        ) from None
    if found.keys() != keys:
        raise MembershipError(f"a membership has {', '.join(sorted(keys))}")
    return found


def _number(found: dict[str, Any], key: str) -> int:
    value = found[key]
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise MembershipError(f"{key} is a number from 0 up")
    return value


def _members(found: dict[str, Any], key: str) -> dict[NodeId, Member]:
    table = found[key]
    if not isinstance(table, dict) or len(table) > MEMBERS_MAX:
        raise MembershipError(f"{key} is a table of at most {MEMBERS_MAX} members")
    return {name: _member(name, fields) for name, fields in table.items()}


def _member(name: str, fields: Any) -> Member:
    if not NAME_PATTERN.fullmatch(name):
        raise MembershipError(f'a member cannot be called "{name:.80}"')
    if not isinstance(fields, dict) or fields.keys() != set(MEMBER_KEYS):
        raise MembershipError(f"member {name} has {', '.join(MEMBER_KEYS)}")
    for kind in ("peer", "client", "events"):
        text = fields[kind]
        if type(text) is not str or not text.isprintable() or len(text) > TEXT_CHARS_MAX:
            raise MembershipError(f"member {name}: {kind} is no endpoint")
    if type(fields["voter"]) is not bool:
        raise MembershipError(f"member {name}: voter is true or false")
    _number(fields, "directory")
    return Member.from_document(fields)
