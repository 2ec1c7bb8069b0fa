"""What is known of the cluster: of each node its last status, its rates, their history; the events
that followed from it. Pure: who takes a look says when it was."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosctl.cli.health import (
    live_tolerance,
    memory_lines,
    scarce_words,
    space_words,
    state_words,
    waiting_lines,
)
from paxosctl.cli.links import link_lines
from paxosctl.cli.survey import NodeView, leader_of
from paxosctl.client.errors import ClientError
from paxosctl.top.changes import changes, common_changes
from paxosctl.top.rates import Rates, rates
from paxosd.core.status import NodeStatus

HISTORY = 120
"""Rates that are kept of each node, for its picture."""
EVENTS_MAX = 200


class Sighting(NamedTuple):
    """One look at one node, at ``at_s`` on a steady clock. ``status``: None if it did not answer,
    for ``error``. ``name``: the endpoint, as long as no node says who is there."""

    name: str
    endpoint: str
    status: NodeStatus | None
    error: ClientError | None
    at_s: float


class Event(NamedTuple):
    """``wall``: the time of day on this machine."""

    wall: str
    words: str


@dataclass(slots=True)
class Node:
    """``status``: the last one, also of a node that is silent now, since ``silent_s``; None: it
    never answered. ``writes``: how many a second, the last ones. ``rules``: its fault rules."""

    name: str
    endpoint: str
    status: NodeStatus | None = None
    seen_s: float = 0.0
    silent_s: float | None = None
    error: ClientError | None = None
    rates: Rates | None = None
    writes: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    rules: tuple[Mapping[str, Any], ...] = ()

    @property
    def answers(self) -> bool:
        """Whether it answered the last time."""
        return self.silent_s is None and self.status is not None

    @property
    def view(self) -> NodeView:
        """As the other verbs see nodes."""
        status = self.status if self.answers else None
        return NodeView(self.name, self.endpoint, status, self.error)


class Model:
    """``nodes``: by name, in the order of names. ``events``: the newest first."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self.operations: deque[float] = deque(maxlen=HISTORY)
        """Writes and reads a second, of all nodes, one for each round of looks."""
        self.now_s = 0.0
        self._latest = NodeStatus()
        self._leader = ""

    def take(self, seen: Sighting, wall: str) -> None:
        """A node was looked at. ``wall``: the time of day, for events."""
        self.now_s = max(self.now_s, seen.at_s)
        name = seen.status.node if seen.status is not None else self._name_of(seen)
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = Node(name, seen.endpoint)
            self.nodes = dict(sorted(self.nodes.items()))
        node.error = seen.error
        if seen.status is None:
            self._take_silence(node, seen, wall)
        else:
            self._take_status(node, seen.status, seen, wall)
        self._forget_strangers()
        self._note_leader(wall)

    def take_rules(self, name: str, rules: tuple[Mapping[str, Any], ...]) -> None:
        """The fault rules of a node."""
        if name in self.nodes:
            self.nodes[name].rules = rules

    def end_round(self) -> None:
        """Every node was looked at once more, or is late."""
        self.operations.append(self.writes_per_s + self.reads_per_s)

    def note(self, words: str, wall: str) -> None:
        """Something happened that no status shows."""
        self.events.appendleft(Event(wall, words))

    # -- the cluster as a whole ---------------------------------------------------------------

    @property
    def views(self) -> list[NodeView]:
        return [node.view for node in self.nodes.values()]

    @property
    def statuses(self) -> list[NodeStatus]:
        """Of the nodes that answer."""
        return [node.status for node in self.nodes.values() if node.answers and node.status]

    @property
    def leader(self) -> NodeStatus | None:
        """Its status; None if there is none, or it does not answer."""
        name, _ = leader_of(self.views)
        node = self.nodes.get(name)
        return node.status if node is not None and node.answers else None

    @property
    def survives(self) -> int | None:
        """How many more voters may fail; None: nothing can be written, as far as is known."""
        leader = self.leader
        count = -1 if leader is None else live_tolerance(leader, self.views)
        return None if count < 0 else count

    @property
    def writes_per_s(self) -> float:
        """Of the cluster: what the node applied that applied most."""
        known = [each.rates.writes for each in self.nodes.values() if each.answers and each.rates]
        return max(known, default=0.0)

    @property
    def reads_per_s(self) -> float:
        """Read requests, of all nodes together."""
        return sum(each.rates.reads for each in self.nodes.values() if each.answers and each.rates)

    def troubles(self) -> list[str]:
        """What is wrong, by the nodes' own words, each in a sentence."""
        known = self.statuses
        lines = memory_lines(known) + waiting_lines(known) + state_words(known)
        return lines + scarce_words(known) + space_words(known) + link_lines(known)

    # -- inside -------------------------------------------------------------------------------

    def _name_of(self, seen: Sighting) -> str:
        """By the endpoint, as long as it does not answer."""
        for node in self.nodes.values():
            if node.endpoint == seen.endpoint:
                return node.name
        return seen.name

    def _take_silence(self, node: Node, seen: Sighting, wall: str) -> None:
        if node.silent_s is None:
            node.silent_s = seen.at_s
            node.writes.append(0.0)
            if node.status is not None:
                self.note(f"{node.name} does not answer: {seen.error}", wall)
        node.rates = None

    def _take_status(self, node: Node, status: NodeStatus, seen: Sighting, wall: str) -> None:
        before, was_silent = node.status, node.silent_s is not None
        if was_silent and before is not None and before.run_id == status.run_id:
            self.note(f"{status.node} answers again", wall)
        if before is not None:
            for words in changes(before, status):
                self.note(words, wall)
            node.rates = rates(before, status, seen.at_s - node.seen_s)
            node.writes.append(node.rates.writes if node.rates is not None else 0.0)
        node.endpoint, node.status = seen.endpoint, status
        node.seen_s, node.silent_s = seen.at_s, None
        if not status.fault_count:
            node.rules = ()
        if (status.epoch, status.applied) > (self._latest.epoch, self._latest.applied):
            if self._latest.node:
                for words in common_changes(self._latest, status):
                    self.note(words, wall)
            self._latest = status

    def _forget_strangers(self) -> None:
        """A node that is no member any more goes once it does not answer; so does an endpoint under
        which a node has answered that is reached elsewhere, too."""
        members = self._latest.membership.members
        if not members:
            return
        reached = {each.endpoint for each in self.nodes.values() if each.status is not None}
        for name, node in list(self.nodes.items()):
            is_known = node.status is not None or name in members
            if (not node.answers and name not in members and node.status is not None) or (
                not is_known and node.endpoint in reached
            ):
                del self.nodes[name]

    def _note_leader(self, wall: str) -> None:
        name, _ = leader_of(self.views)
        if self._leader and not name:
            self.note(f"no leader: {self._leader} was the last one", wall)
        self._leader = name
