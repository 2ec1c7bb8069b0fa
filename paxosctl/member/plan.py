"""What a change of the membership would do, before the cluster is asked to make it. Pure.

    present membership ── add, promote, … ──► the next one ── plan ──► Plan(before, after,
    who is up ──────────────────────────────────────────────────────►       warnings, stops)

A *warning* is printed and the change goes on; a *stop* ends it, unless it is forced; what no
cluster can do, above all a change of a member that does not exist, raises PlanError.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.config.settings import nearest
from paxosd.core.membership import Member, Membership, MembershipError, follows
from paxosd.host.wording import counted
from paxosd.net.endpoints import Endpoint, parse_contact

KINDS = ("peer", "client", "events")


class PlanError(Exception):
    """No cluster can be changed in this way; the text says why, and names what was meant."""


class Contact(NamedTuple):
    """Where a new member is reached."""

    peer: str
    client: str
    events: str


class Move(NamedTuple):
    """Where a member will be reached; None: as before."""

    peer: str | None = None
    client: str | None = None
    events: str | None = None


class Figures(NamedTuple):
    """The quorums of a membership, and which voters are ``up`` and may vote."""

    voters: tuple[str, ...]
    phase1: int
    phase2: int
    up: tuple[str, ...]

    @property
    def need(self) -> int:
        """How many voters have to be up for reading, writing and taking over."""
        return max(self.phase1, self.phase2)

    @property
    def tolerates(self) -> int:
        """How many may fail if all are up."""
        return len(self.voters) - self.need


@dataclass(slots=True)
class Findings:
    """What was noticed about a change: ``blockers`` make it impossible, ``stops`` end it unless it
    is forced, ``warnings`` are only printed."""

    blockers: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """One change and what it would lead to. ``up``: the members that are up now. Afterwards
    ``joined_up`` are up as well, and ``lost_up`` are not."""

    before: Membership
    after: Membership
    up: frozenset[str]
    joined_up: frozenset[str]
    lost_up: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """In words: who joins, leaves, gets a vote."""
        return "; ".join(differences(self.before, self.after)) or "nothing changes"

    @property
    def figures_before(self) -> Figures:
        return figures(self.before, self.up)

    @property
    def figures_after(self) -> Figures:
        return figures(self.after, (self.up | self.joined_up) - self.lost_up)


def figures(membership: Membership, up: Collection[str]) -> Figures:
    """Of one membership, as of now."""
    quorums = membership.quorums
    living = tuple(name for name in quorums.voters if name in up)
    return Figures(quorums.voters, quorums.phase1, quorums.phase2, living)


# -- the changes


def add(before: Membership, name: str, contact: Contact) -> Membership:
    """With a new member, a learner."""
    if name in before.members:
        is_voter = before.members[name].voter
        hint = "" if is_voter else f"; to give it a vote: paxosctl member promote {name}"
        raise PlanError(f"{name} is a {_role(before, name)} already{hint}")
    _check_contact(before.members, contact)
    return _next(before, before.members | {name: Member(*contact, voter=False)})


def promote(before: Membership, name: str, directory: int) -> Membership:
    """With a vote for a learner, which only this data directory may use."""
    if known(before, name).voter:
        raise PlanError(f"{name} is a voter already")
    return _with(before, name, voter=True, directory_id=directory)


def demote(before: Membership, name: str) -> Membership:
    """Without the vote of a member, which becomes a learner."""
    if not known(before, name).voter:
        raise PlanError(f"{name} has no vote")
    return _with(before, name, voter=False, directory_id=0)


def remove(before: Membership, name: str) -> Membership:
    """Without a member."""
    known(before, name)
    return _next(before, {n: m for n, m in before.members.items() if n != name})


def replace(before: Membership, old: str, new: str, directory: int) -> Membership:
    """With a learner as a voter in the place of another, in one change."""
    if old == new:
        raise PlanError(
            f"{old} cannot replace itself; to let it vote again after a loss of its data: "
            f"paxosctl member rejoin {old}"
        )
    if not known(before, old).voter:
        raise PlanError(f"{old} has no vote to hand on: remove it, and add {new} with --learner")
    member = known(before, new)
    if member.voter:
        raise PlanError(f"{new} is a voter already; to remove {old}: member remove {old}")
    members = before.members | {new: member._replace(voter=True, directory_id=directory)}
    return _next(before, {n: m for n, m in members.items() if n != old})


def rejoin(before: Membership, name: str, directory: int) -> Membership:
    """With another data directory that may use a voter's vote."""
    if not known(before, name).voter:
        raise PlanError(f"{name} is a learner: it may use any data directory; just start it")
    return _with(before, name, directory_id=directory)


def update(before: Membership, name: str, move: Move) -> Membership:
    """With other endpoints of a member."""
    member = known(before, name)
    moved = member._replace(**{kind: text for kind, text in move._asdict().items() if text})
    others = {n: m for n, m in before.members.items() if n != name}
    _check_contact(others, Contact(*moved[:3]))
    return _next(before, before.members | {name: moved})


def set_quorum(before: Membership, phase1: int, phase2: int) -> Membership:
    """With other quorum sizes; 0: majorities. Sizes that are majorities are stored as 0, so that
    they follow the number of voters."""
    majority = len(before.voters) // 2 + 1
    if (phase1 or majority, phase2 or majority) == (majority, majority):
        phase1 = phase2 = 0
    return _next(before, before.members, phase1=phase1, phase2=phase2)


def known(before: Membership, name: str) -> Member:
    """The member of that name. Raises PlanError, which names the most similar one."""
    if name not in before.members:
        raise PlanError(f'there is no member "{name}"; {nearest(name, before.members)}')
    return before.members[name]


def _with(before: Membership, name: str, **fields: Any) -> Membership:
    """With one member otherwise."""
    return _next(before, before.members | {name: before.members[name]._replace(**fields)})


def _next(before: Membership, members: dict[str, Member], **sizes: int) -> Membership:
    """The next membership. Raises PlanError if the daemons would refuse it."""
    nowhere = [name for name, member in members.items() if not all(member[:3])]
    if nowhere:
        raise PlanError(
            f"the node that was asked does not know where {', '.join(nowhere)} can be reached, for "
            "its configuration file does not say: correct its cluster.members, or ask another node "
            "with --endpoints"
        )
    try:
        after = before.replaced(members, **sizes)
        Membership.from_command(after.to_command(), after.epoch, 1)
        follows(after, before)
    except MembershipError as error:
        hint = ""
        if "need not meet" in str(error) and not sizes:
            hint = "; first: paxosctl member quorum --majority"
        raise PlanError(f"{error}{hint}") from None
    return after


def _check_contact(others: Mapping[str, Member], contact: Contact) -> None:
    taken = {
        _canonical(getattr(member, kind)): f"the {kind} endpoint of {name}"
        for name, member in others.items()
        for kind in KINDS
    }
    for kind, text in zip(KINDS, contact, strict=True):
        try:
            endpoint = parse_contact(text)
        except ValueError as error:
            raise PlanError(f"--{kind}: {error}") from None
        key = _canonical(text)
        if key in taken:
            raise PlanError(f"--{kind}: {endpoint} is {taken[key]} already")
        taken[key] = f"--{kind}"


def _canonical(endpoint: str) -> str:
    """Equal for two ways to write the same endpoint."""
    try:
        return str(Endpoint.parse(endpoint).canonical)
    except ValueError:  # of a member that is there already
        return endpoint


# -- the judgement


def plan(
    before: Membership,
    after: Membership,
    up: Iterable[str],
    *,
    joined_up: Iterable[str] = (),
    lost_up: Iterable[str] = (),
    findings: Findings | None = None,
) -> Plan:
    """``up``: the members that are up; a voter counts only if it may vote. ``joined_up``,
    ``lost_up``: those that will begin, and cease, to count as up with this change. ``findings``:
    what was noticed otherwise."""
    findings = findings or Findings()
    bare = Plan(before, after, frozenset(up), frozenset(joined_up), frozenset(lost_up))
    was, will = bare.figures_before, bare.figures_after
    warnings, stops = [*findings.warnings], [*findings.stops]
    if len(was.up) < was.need:
        warnings.append(f"{_short(was)} now, and a change needs them as any write does")
    if len(will.up) < will.need:
        stops.append(f"{_short(will)} afterwards: nothing could be written")
    if len(will.voters) % 2 == 0 and len(will.voters) != len(was.voters):
        count = len(will.voters)
        warnings.append(f"{count} voters survive no more failures than {count - 1}")
    if will.tolerates < was.tolerates:
        warnings.append(
            f"it will survive {counted(will.tolerates, 'failure')}, not {was.tolerates} as now"
        )
    return Plan(before, after, bare.up, bare.joined_up, bare.lost_up, tuple(warnings), tuple(stops))


def differences(before: Membership, after: Membership) -> list[str]:
    """In which ways two memberships differ, in words."""
    found = []
    for name in sorted(before.members.keys() | after.members.keys()):
        old, new = before.members.get(name), after.members.get(name)
        if old is None:
            found.append(f"{name} joins as a {_role(after, name)}")
        elif new is None:
            found.append(f"{name} leaves")
        elif old.voter != new.voter:
            found.append(f"{name} {'gets a' if new.voter else 'loses its'} vote")
        elif old.directory_id != new.directory_id:
            found.append(f"{name} votes with another data directory")
        found += [f"{name} is reached at {kind} {text}" for kind, _, text in moves(old, new)]
    if (before.phase1, before.phase2) != (after.phase1, after.phase2):
        found.append(f"the quorums become {quorum_words(figures(after, ()))}")
    return found


def moves(old: Member | None, new: Member | None) -> list[tuple[str, str, str]]:
    """The endpoints of a member that change: which, from, to."""
    if old is None or new is None:
        return []
    return [each for each in zip(KINDS, old[:3], new[:3], strict=True) if each[1] != each[2]]


def quorum_words(found: Figures) -> str:
    """``2 of 3``, or both sizes if they differ."""
    count = len(found.voters)
    if found.phase1 == found.phase2:
        return f"{found.need} of {count}"
    return f"{found.phase1} of {count} to take over, {found.phase2} of {count} to write"


def _short(found: Figures) -> str:
    count = len(found.up)
    up = f"only {', '.join(found.up)}" if found.up else "none"
    votes = "is up and votes" if count < 2 else "are up and vote"
    return f"of the voters {', '.join(found.voters)} {up} {votes}, and it takes {found.need}"


def _role(membership: Membership, name: str) -> str:
    return "voter" if membership.members[name].voter else "learner"
