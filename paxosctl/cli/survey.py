"""Asking every node of a cluster at the same time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, beside
from paxosd.core.client.calls import Call
from paxosd.core.client.endpoints import HANDSHAKE_REFUSED
from paxosd.core.status import NodeStatus, Reached
from paxosd.core.types import NULL_BALLOT
from paxosd.wire.status import decode_status

PROBE_S = 1.0
"""A node that has not answered by then counts as silent."""
DOWN_MS = 600
"""A node that cannot be connected to for so long counts as down, for a look at all nodes is about
how they are now. It is longer than the longest pause between two tries to connect."""


@dataclass(slots=True)
class NodeView:
    """What one node answered. ``name``: its endpoint, as long as no node says who that is."""

    name: str
    endpoint: str
    status: NodeStatus | None
    error: ClientError | None

    @property
    def why(self) -> str:
        """Why there is no status, in a few words, which name neither node nor endpoint first."""
        if self.error is None:
            return ""
        return beside(self.endpoint, str(self.error)).removeprefix(f"{self.name} ")

    @property
    def refused_a_key(self) -> bool:
        """Whether it was reached, and node and client do not take each other's keys."""
        return self.error is not None and self.error.code in HANDSHAKE_REFUSED


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

    @property
    def status(self) -> NodeStatus | None:
        """Of an answer to the verb ``status``; None if there is none."""
        return decode_status(self.body) if self.error is None else None


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
        known = [answer.status for answer in answers.values() if answer.status is not None]
        members = {name: member.client for name, member in _latest_members(known).items()}
        missing = [each for each in members.values() if each not in answers]
        heard = {status.node for status in known}
        missing = [each for each in missing if _name_of(each, members) not in heard]
        answers |= ask_all(client, missing, "status")
    finally:
        client.timeout_s = timeout_s
    errors = [answer.error for answer in answers.values() if answer.error is not None]
    if len(errors) == len(answers):
        raise errors[0]
    views: dict[str, NodeView] = {}
    for endpoint, answer in answers.items():
        status = answer.status
        name = status.node if status is not None else _name_of(endpoint, members)
        if name not in views or views[name].status is None:
            views[name] = NodeView(name, endpoint, status, answer.error)
    return [views[name] for name in sorted(views)]


def statuses_of(views: Iterable[NodeView]) -> list[NodeStatus]:
    """Of the nodes that answered."""
    return [view.status for view in views if view.status is not None]


def members_of(views: Iterable[NodeView]) -> Mapping[str, Reached]:
    """The members by the latest membership that a node reports, with where they are reached."""
    return _latest_members(statuses_of(views))


def _latest_members(statuses: Iterable[NodeStatus]) -> Mapping[str, Reached]:
    return max(statuses, key=lambda status: status.epoch, default=NodeStatus()).members


def leader_of(views: Iterable[NodeView]) -> tuple[str, str]:
    """Name and client endpoint of the leader with the highest ballot; "" if no node knows one.
    A node that says that it does not lead is no leader, although others may name it for a while."""
    known = statuses_of(views)
    denied = {status.node for status in known if status.role != "leader"}
    best = (NULL_BALLOT, "", "")
    for status in known:
        if status.leader and status.leader not in denied:
            best = max(best, (status.ballot, status.leader, status.leader_client))
    return best[1], best[2]


def _name_of(endpoint: str, members: dict[str, str]) -> str:
    return next((name for name, client in members.items() if client == endpoint), endpoint)
