"""What the statuses of nodes say about the cluster: who votes, how many failures it survives, what
is wrong, and what to do about it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from paxosctl.cli.render import human_bytes
from paxosctl.cli.survey import NodeView
from paxosd.core.status import NodeStatus, PeerStatus, SumMismatch
from paxosd.host.wording import counted, lasted, listed

MEMORY_LOST = "memory-lost"
"""The role, in every table and answer, of a node that lost its memory."""
_ALARMS = frozenset({"near", "full"})


def role_of(status: NodeStatus) -> str:
    """As the node says; MEMORY_LOST if it must not vote because it forgot, for any version."""
    role = status.role
    lost = status.memory == "lost" and role != "diverged"
    return MEMORY_LOST if lost or role == "forgetful" else role


def memory_words(status: NodeStatus) -> str:
    """What is to be done about a node whose memory is lost; "" if it is not."""
    if status.memory != "lost":
        return ""
    node = status.node
    return f"{node} lost its memory and does not vote; to let it: paxosctl member rejoin {node}"


def memory_lines(statuses: Iterable[NodeStatus]) -> list[str]:
    """What is to be done about the nodes whose memory is lost: a line each, or one line for all if
    they are so many that no quorum is left to let them vote again."""
    known = list(statuses)
    final = lost_for_good(known)
    return [final[1]] if final else [words for words in map(memory_words, known) if words]


def lost_for_good(statuses: Iterable[NodeStatus]) -> tuple[str, str] | None:
    """If the voters that still have their memory are too few to let the others vote again: the node
    that has applied most, and what is to be done. None: they are enough, as far as these say."""
    known = list(statuses)
    lost = {status.node for status in known if status.memory == "lost"}
    if not lost:
        return None
    latest = max(known, key=lambda status: status.epoch)
    voters, quorum = set(latest.voters), latest.quorum
    if len(voters - lost) >= quorum:
        return None
    best = max(known, key=lambda status: status.applied)
    return best.node, (
        f"no quorum, and none to come: {listed(sorted(lost & voters))} lost their memory, so "
        f"that fewer than {quorum} of {len(voters)} voters may vote, and nobody can let them. Put "
        "their data directories back as they were, or begin a new cluster with what "
        f"{best.node} has, which has applied most ({best.applied} slots): paxosctl "
        "snapshot save --endpoint ENDPOINT FILE, then paxosctl snapshot restore"
    )


def waiting_lines(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which nodes wait for whom: a line for all that wait for the same, by the one that has waited
    longest."""
    groups: dict[tuple[str, tuple[str, ...], str], list[NodeStatus]] = {}
    for status in statuses:
        key = status.role, status.unconfirmed_by, status.leader
        groups.setdefault(key, []).append(status)
    lines = []
    for group in groups.values():
        longest = max(group, key=lambda status: status.unconfirmed_ms)
        if words := waiting_words(longest, [status.node for status in group]):
            lines.append(words)
    return lines


def waiting_words(status: NodeStatus, nodes: Sequence[str] = ()) -> str:
    """Whom a node waits for until it may act, for how long, and what is to be done; "": nobody.
    ``nodes``: all that wait as this one does; (): it alone."""
    names, waiting = listed(status.unconfirmed_by), listed(nodes or [status.node])
    if not names:
        return ""
    since = f" for {lasted(status.unconfirmed_ms)}" if status.unconfirmed_ms >= 0 else ""
    several = len(nodes) > 1
    words = f"{role_of(status)}: {waiting} {'have' if several else 'has'} waited{since} for {names}"
    if status.role != "newcomer":
        memory = "their memories" if several else "its memory"
        return f"{words} to compare {memory}: start or reconnect {names}"
    if not status.leader:
        new = "they are new and vote" if several else "it is new and votes"
        return (
            f"{words}: {new} once every member has been up: start or reconnect {names}; to found "
            f"the cluster without {names}: docs/RUNBOOKS.md"
        )
    return f"{words}, to confirm that {'they are' if several else 'it is'} new"


def scarce_words(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which nodes have as many connections of a kind as they may have: a line for each."""
    return [
        f"{status.node} has as many {what} connections as it may have ({port.most}), and "
        "refuses others: close some, or raise its limit on file descriptors "
        f"({status.descriptors.total if status.descriptors else '?'})"
        for status in statuses
        for what, port in sorted(status.connections.items())
        if 0 < port.most <= port.open
    ]


def key_words(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which nodes take everybody although other machines reach them: a line for each."""
    return [
        f"{status.node}: {status.security.warning}"
        for status in statuses
        if status.security is not None and status.security.warning
    ]


def space_words(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which nodes' disks are nearly full: a line for each; and a line for the quota, if the store
    is near it."""
    known = list(statuses)
    names = {name for status in known for name in status.low_space}
    fullest = max((s for s in known if s.quota in _ALARMS), key=lambda s: s.applied, default=None)
    return [
        f"the disk of {name} is nearly full, and a node that cannot write its log stops: free some "
        "space, or some files where the inodes run out"
        for name in sorted(names)
    ] + ([f"{quota_words(fullest)}: delete something, or raise it"] if fullest else [])


def quota_words(status: NodeStatus) -> str:
    """How much of the quota is in use, and whether that is much; "": there is none."""
    limit = status.settings.quota_bytes if status.settings is not None else 0
    if not status.quota or not limit:
        return ""
    held = status.held_bytes
    full = ", and writes are refused" if status.quota == "full" else ""
    return (
        f"the store has {human_bytes(held)} of {human_bytes(limit)} of its quota "
        f"({100 * held // limit} %){full}"
    )


def limit_words(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which nodes' files have limits that do not fit together: a line for each node and limit, by
    the report of the first node that noticed."""
    lines: dict[tuple[str, str], str] = {}
    known = list(statuses)
    for status in known:
        node = status.node
        for misfit in status.limits_differ:
            member, key, value, own_key, own = misfit
            if (node, own_key) in lines and own_key == key:
                continue  # said already, from the other side
            alike = "set both alike" if own_key == key else "they do not fit together"
            lines.setdefault(
                (member, key),
                f"{member} has {key} = {value}, and {node} has {own_key} = {own}: {alike}",
            )
    return list(lines.values()) + _cut_words(known)


def _cut_words(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which members do not say their limits, and show that they have smaller ones."""
    cut = {
        each.member: (status.node, each.frame_bytes)
        for status in statuses
        for each in status.frames_cut
    }
    return [
        f"{member} ends its connection to {node} over frames of {size} bytes: its "
        "limits.message_bytes_max is smaller, and its version does not say so; upgrade it, or set "
        "both alike"
        for member, (node, size) in sorted(cut.items())
    ]


def state_words(statuses: Iterable[NodeStatus]) -> list[str]:
    """Which nodes have a state that differs from that of others: a line for each such node, and for
    each dispute; empty if no difference is known."""
    known = list(statuses)
    lines: dict[str, str] = {}
    for status in known:
        node, found = status.node, status.state_difference
        if not found:
            continue
        others = listed(found.members)
        if status.state == "diverged":
            lines[node] = _differs(node, found, others)
        else:
            lines[node] = (
                f"{node} and {others} have different states from slot {found.slot} on, and no "
                "majority of the voters says which is right: nothing is acknowledged. Start the "
                "voters that are down"
            )
    for status in known:
        for name, odd in status.state_odd.items():
            lines.setdefault(name, _differs(name, odd, f"{status.node} and the majority"))
    return [lines[name] for name in sorted(lines)]


def _differs(node: str, found: SumMismatch, others: str) -> str:
    return (
        f"the state of {node} differs from that of {others} from slot {found.slot} on "
        f"({found.sum}): it serves nothing. Find the cause, restart it, and once it has caught "
        f"up: paxosctl member rejoin {node}"
    )


def may_vote(status: NodeStatus) -> bool:
    """Whether a node, by its own word, may vote, if it is a voter."""
    return status.votes and status.memory == "whole"


class VotersSeen(NamedTuple):
    """The voters as one node sees them, itself included: how many are ``voting``, and
    the names of those that do not: ``silent`` ones, and ``voteless`` ones that are up."""

    voting: int
    silent: tuple[str, ...]
    voteless: tuple[str, ...]

    def __str__(self) -> str:
        """``2 of 3``; where some of those that are heard do not count, that as well."""
        return self._counts("")

    @property
    def heard_words(self) -> str:
        """``2 of 3 voters``; where some of those that are heard do not count, that as well."""
        return self._counts(" voters")

    def _counts(self, noun: str) -> str:
        heard = self.voting + len(self.voteless)
        votes = f" ({counted(self.voting, 'vote')})" if self.voteless else ""
        return f"{heard} of {heard + len(self.silent)}{noun}{votes}"

    def lacking(self) -> str:
        """What is wrong with those that do not count, in words; "" if all do."""
        words = []
        if self.silent:
            words.append(f"not heard: {', '.join(self.silent)}")
        if self.voteless:
            words.append(f"up, but without a vote now: {', '.join(self.voteless)}")
        return "; ".join(words)


def voters_seen(status: NodeStatus, views: Iterable[NodeView] = ()) -> VotersSeen:
    """As one node sees the voters, and by what each of ``views`` says of itself."""
    denied = {view.name for view in views if view.status is not None and not may_vote(view.status)}
    silent, voteless = [], []
    for name in status.voters:
        peer = status.peers.get(name, PeerStatus())
        own = name == status.node
        votes = may_vote(status) if own else peer.votes
        if not own and not peer.reachable:
            silent.append(name)
        elif name in denied or not votes:
            voteless.append(name)
    count = len(status.voters) - len(silent) - len(voteless)
    return VotersSeen(count, tuple(silent), tuple(voteless))


def live_tolerance(status: NodeStatus, views: Iterable[NodeView]) -> int:
    """How many more voters may fail, by which voters the leader hears (``status``) and what each of
    them says of itself; -1: nothing can be written now."""
    return max(voters_seen(status, views).voting - status.quorum, -1)


def survives(status: NodeStatus) -> int | None:
    """How many more voters may fail, as one node sees it alone; None: nothing can be written."""
    count = min(status.fault_tolerance, voters_seen(status).voting - status.quorum)
    return None if count < 0 else count


def no_quorum_words(status: NodeStatus, seen: VotersSeen) -> str:
    """Why nothing can be written, as one node sees it: who is missing."""
    node, total, need = status.node, len(status.voters), status.quorum
    return (
        f"no quorum: {node} counts {seen.voting} of {total} voters and needs {need}, so nothing "
        f"can be written through it; {seen.lacking()}"
    )
