"""Asking every node of a cluster at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paxosctl.client import Client
from paxosctl.errors import ClientError
from paxosd.core.client_calls import Call

PROBE_S = 1.0
"""A node that has not told its status by then counts as silent."""


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
    calls = {each: client.start_admin(verb, args, endpoint=each) for each in endpoints}
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


def leader_of(views: Iterable[NodeView]) -> tuple[str, str]:
    """Name and client endpoint of the leader that the highest ballot knows; "" if none does."""
    best: tuple[list[Any], str, str] = ([0, ""], "", "")
    for view in views:
        status = view.status
        if status is not None and status["leader"]:
            best = max(best, (status["ballot"], status["leader"], status["leader_endpoint"]))
    return best[1], best[2]


def memory_words(status: dict[str, Any]) -> str:
    """What is to be done about a node whose memory is lost; "" if it is not."""
    if status.get("memory") != "lost":
        return ""
    node = status["node"]
    return f"{node} lost its memory and does not vote; to let it: paxosctl member rejoin {node}"


def live_tolerance(status: dict[str, Any], views: Iterable[NodeView]) -> int:
    """How many more voters may fail, by what the leader hears (``status``) and by what each of
    those says of its memory; -1: nothing can be written now."""
    forgetful = {
        view.name
        for view in views
        if view.status is not None and view.status.get("memory", "whole") != "whole"
    }
    heard, lost = voters_heard(status)
    heard -= len(forgetful & set(status["voters"]) - set(lost))
    left: int = heard - status["quorum"]
    return max(left, -1)


def voters_heard(status: dict[str, Any]) -> tuple[int, list[str]]:
    """How many voters a node hears, itself included, and the names of those it does not."""
    lost = [
        name
        for name in status["voters"]
        if name != status["node"] and not status["peers"].get(name, {}).get("reachable", False)
    ]
    return len(status["voters"]) - len(lost), lost


def _name_of(endpoint: str, members: dict[str, str]) -> str:
    return next((name for name, client in members.items() if client == endpoint), endpoint)
