"""Asking every node of a cluster at a time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosd.core.client.calls import Call
from paxosd.host.wording import counted, listed

PROBE_S = 1.0
"""A node that has not told its status by then counts as silent."""
DOWN_MS = 600
"""A node that cannot be connected to for so long counts as down: whoever looks at all of them wants
to know how they are now. Longer than the longest pause between two tries to connect."""


@dataclass(slots=True)
class NodeView:
    """What one node says. ``name`` is its endpoint as long as nobody says whose that is."""

    name: str
    endpoint: str
    status: dict[str, Any] | None
    error: ClientError | None

    @property
    def why(self) -> str:
        """Why there is no status, in a few words."""
        return str(self.error) if self.error is not None else ""


class Answer:
    """What one node answered to an admin request: ``body``, or ``error``."""

    __slots__ = ("body", "error")

    def __init__(self, client: Client, call: Call) -> None:
        self.body: dict[str, Any] = {}
        self.error: ClientError | None = None
        try:
            self.body = client.admin_result(call)
        except ClientError as error:
            self.error = error


def ask_all(
    client: Client, endpoints: Iterable[str], verb: str, args: dict[str, Any] | None = None
) -> dict[str, Answer]:
    """Endpoint → what it answered. All are asked at the same time."""
    calls = {
        each: client.start_admin(verb, args, endpoint=each, patience_ms=DOWN_MS)
        for each in endpoints
    }
    return {each: Answer(client, call) for each, call in calls.items()}


def survey(client: Client) -> list[NodeView]:
    """Every node that the given endpoints lead to, by name; reachable or not.

    Raises the error of the first endpoint if not one node answers.
    """
    timeout_s = client.timeout_s
    client.timeout_s = min(timeout_s, PROBE_S)
    try:
        answers = ask_all(client, client.endpoints, "status")
        # As the latest membership has it: a node that lags may still name one that has left.
        latest = max(answers.values(), key=lambda answer: answer.body.get("epoch", -1))
        members = {n: str(m["client"]) for n, m in latest.body.get("members", {}).items()}
        missing = [each for each in members.values() if each not in answers]
        heard = {answer.body["node"] for answer in answers.values() if answer.error is None}
        missing = [each for each in missing if _name_of(each, members) not in heard]
        answers |= ask_all(client, missing, "status")
    finally:
        client.timeout_s = timeout_s
    errors = [answer.error for answer in answers.values() if answer.error is not None]
    if len(errors) == len(answers):
        raise errors[0]
    views: dict[str, NodeView] = {}
    for endpoint, answer in answers.items():
        status = answer.body if answer.error is None else None
        name = str(status["node"]) if status is not None else _name_of(endpoint, members)
        if name not in views or views[name].status is None:
            views[name] = NodeView(name, endpoint, status, answer.error)
    return [views[name] for name in sorted(views)]


def members_of(views: Iterable[NodeView]) -> dict[str, dict[str, Any]]:
    """The members by the latest membership that a node told of, with where they are reached."""
    told = [view.status for view in views if view.status is not None]
    latest = max(told, key=lambda status: status.get("epoch", -1), default={})
    members: dict[str, dict[str, Any]] = latest.get("members", {})
    return members


def leader_of(views: Iterable[NodeView]) -> tuple[str, str]:
    """Name and client endpoint of the leader that the highest ballot knows; "" if none does. Others
    may name one for a while that says itself that it leads no more: that is none."""
    told = [view.status for view in views if view.status is not None]
    denied = {status["node"] for status in told if status["role"] != "leader"}
    best: tuple[list[Any], str, str] = ([0, ""], "", "")
    for status in told:
        if status["leader"] and status["leader"] not in denied:
            best = max(best, (status["ballot"], status["leader"], status["leader_endpoint"]))
    return best[1], best[2]


MEMORY_LOST = "memory-lost"
"""The one word for a node that lost its memory: its role in every table and answer."""


def role_of(status: Mapping[str, Any]) -> str:
    """As the node says; of one that must not vote for it forgot, that, whatever its version."""
    role = str(status["role"])
    lost = status.get("memory") == "lost" and role != "diverged"
    return MEMORY_LOST if lost or role == "forgetful" else role


def memory_words(status: dict[str, Any]) -> str:
    """What is to be done about a node whose memory is lost; "" if it is not."""
    if status.get("memory") != "lost":
        return ""
    node = status["node"]
    return f"{node} lost its memory and does not vote; to let it: paxosctl member rejoin {node}"


def memory_lines(statuses: Iterable[dict[str, Any]]) -> list[str]:
    """What is to be done about the nodes whose memory is lost: a line each, or one for all where
    they are so many that nobody can let them vote again."""
    told = list(statuses)
    final = lost_for_good(told)
    return [final[1]] if final else [words for words in map(memory_words, told) if words]


def lost_for_good(statuses: Iterable[dict[str, Any]]) -> tuple[str, str] | None:
    """The node that has applied most, and what is to be done, if too few voters are left that have
    their memory to let the others vote again; None: it is not so bad, as far as these say."""
    told = list(statuses)
    lost = {status["node"] for status in told if status.get("memory") == "lost"}
    if not lost:
        return None
    latest = max(told, key=lambda status: status.get("epoch", -1))
    voters, quorum = set(latest["voters"]), latest["quorum"]
    if len(voters - lost) >= quorum:
        return None
    best = max(told, key=lambda status: status.get("applied", 0))
    return best["node"], (
        f"no quorum, and none to come: {listed(sorted(lost & voters))} lost their memory, so "
        f"that fewer than {quorum} of {len(voters)} voters may vote, and nobody can let them. Put "
        "their data directories back as they were, or begin a new cluster with what "
        f"{best['node']} has, which has applied most ({best.get('applied', 0)} slots): paxosctl "
        "snapshot save --endpoint ENDPOINT FILE, then paxosctl snapshot restore"
    )


def scarce_words(statuses: Iterable[dict[str, Any]]) -> list[str]:
    """Which nodes have as many connections of a kind as they may have: a line for each."""
    return [
        f"{status['node']} has as many {what} connections as it may have ({port['most']}), and "
        "refuses others: close some, or raise its limit on file descriptors "
        f"({status['descriptors']['total']})"
        for status in statuses
        for what, port in sorted(status.get("connections", {}).items())
        if port["open"] >= port["most"]
    ]


def limit_words(statuses: Iterable[dict[str, Any]]) -> list[str]:
    """Whose files have limits that do not fit together: a line for each node and limit, by what
    the first node that knows of it says."""
    lines: dict[tuple[str, str], str] = {}
    told = list(statuses)
    for status in told:
        node = str(status["node"])
        for misfit in status.get("limits_differ", ()):
            member, key, value, own_key, own = (
                misfit[name] for name in ("member", "key", "value", "own_key", "own")
            )
            if (node, own_key) in lines and own_key == key:
                continue  # said already, from the other side
            alike = "set both alike" if own_key == key else "they do not fit together"
            lines.setdefault(
                (str(member), str(key)),
                f"{member} has {key} = {value}, and {node} has {own_key} = {own}: {alike}",
            )
    return list(lines.values()) + _cut_words(told)


def _cut_words(statuses: Iterable[dict[str, Any]]) -> list[str]:
    """Which members do not say their limits, and show that they have smaller ones."""
    cut = {
        str(each["member"]): (status["node"], each["frame_bytes"])
        for status in statuses
        for each in status.get("frames_cut", ())
    }
    return [
        f"{member} ends its connection to {node} over frames of {size} bytes: its "
        "limits.message_bytes_max is smaller, and its version does not say so; upgrade it, or set "
        "both alike"
        for member, (node, size) in sorted(cut.items())
    ]


def state_words(statuses: Iterable[dict[str, Any]]) -> list[str]:
    """Whose state differs from whose, by what some nodes say: a line for each such node, or for a
    dispute; none: no difference is known."""
    told = list(statuses)
    lines: dict[str, str] = {}
    for status in told:
        node, found = status["node"], status.get("state_difference")
        if not found:
            continue
        others = listed(found["members"])
        if status["state"] == "diverged":
            lines[node] = _differs(node, found, others)
        else:
            lines[node] = (
                f"{node} and {others} have different states from slot {found['slot']} on, and no "
                "majority of the voters says which is right: nothing is acknowledged. Start the "
                "voters that are down"
            )
    for status in told:
        for name, found in status.get("state_odd", {}).items():
            lines.setdefault(name, _differs(name, found, f"{status['node']} and the majority"))
    return [lines[name] for name in sorted(lines)]


def _differs(node: str, found: dict[str, Any], others: str) -> str:
    return (
        f"the state of {node} differs from that of {others} from slot {found['slot']} on "
        f"({found['sum']}): it serves nothing. Find the cause, restart it, and once it has caught "
        f"up: paxosctl member rejoin {node}"
    )


def may_vote(status: Mapping[str, Any]) -> bool:
    """Whether a node, by its own word, may vote, if it is a voter."""
    votes: bool = status.get("votes", True)
    return votes and status.get("memory", "whole") == "whole"


class VotersSeen(NamedTuple):
    """The voters as one node sees them, itself included: how many are ``voting``, and
    the names of those that do not: ``silent`` ones, and ``voteless`` ones that are up."""

    voting: int
    silent: tuple[str, ...]
    voteless: tuple[str, ...]

    def __str__(self) -> str:
        """``2 of 3``; where some of those that are heard do not count, that as well."""
        heard = self.voting + len(self.voteless)
        votes = f" ({counted(self.voting, 'vote')})" if self.voteless else ""
        return f"{heard} of {heard + len(self.silent)}{votes}"

    def lacking(self) -> str:
        """What is wrong with those that do not count, in words; "" if all do."""
        words = []
        if self.silent:
            words.append(f"not heard: {', '.join(self.silent)}")
        if self.voteless:
            words.append(f"up, but without a vote now: {', '.join(self.voteless)}")
        return "; ".join(words)


def voters_seen(status: Mapping[str, Any], views: Iterable[NodeView] = ()) -> VotersSeen:
    """As one node sees the voters, and by what each of ``views`` says of itself."""
    denied = {view.name for view in views if view.status is not None and not may_vote(view.status)}
    silent, voteless = [], []
    for name in status["voters"]:
        peer = status["peers"].get(name, {})
        own = name == status["node"]
        votes = may_vote(status) if own else peer.get("votes", True)
        if not own and not peer.get("reachable", False):
            silent.append(name)
        elif name in denied or not votes:
            voteless.append(name)
    count = len(status["voters"]) - len(silent) - len(voteless)
    return VotersSeen(count, tuple(silent), tuple(voteless))


def live_tolerance(status: dict[str, Any], views: Iterable[NodeView]) -> int:
    """How many more voters may fail, by what the leader hears (``status``) and by what each of
    those says of itself; -1: nothing can be written now."""
    return max(voters_seen(status, views).voting - int(status["quorum"]), -1)


def survives(status: Mapping[str, Any]) -> int | None:
    """How many more voters may fail, as one node sees it alone; None: nothing can be written."""
    count = min(status["fault_tolerance"], voters_seen(status).voting - status["quorum"])
    return None if count < 0 else count


def no_quorum_words(status: dict[str, Any], seen: VotersSeen) -> str:
    """Why nothing can be written, as one node sees it: who is missing."""
    node, total, need = status["node"], len(status["voters"]), status["quorum"]
    return (
        f"no quorum: {node} counts {seen.voting} of {total} voters and needs {need}, so nothing "
        f"can be written through it; {seen.lacking()}"
    )


def _name_of(endpoint: str, members: dict[str, str]) -> str:
    return next((name for name, client in members.items() if client == endpoint), endpoint)
