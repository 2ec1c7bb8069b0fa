"""What is known before a change of the membership: who is up, the state of the newcomer, and which
nodes reach each other.

    look       every member's status            → Present
    interview  the newcomer's status and clock  → Newcomer
    try_links  leader and members → newcomer's peer and events endpoints, and back

Everything here only asks. A newcomer may belong to another cluster, so that a client of its own
asks it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosctl.cli.health import may_vote
from paxosctl.cli.public_names import identity_text
from paxosctl.cli.survey import DOWN_MS, NodeView, leader_of, statuses_of, survey
from paxosctl.client.client import Client
from paxosctl.client.credentials import Credentials
from paxosctl.client.errors import ClientError, RefusedError
from paxosctl.member.plan import Findings
from paxosd.core.client.calls import ClientOptions
from paxosd.core.membership import Member, Membership
from paxosd.core.status import NodeStatus, PeerStatus
from paxosd.host.clock import clock_ms
from paxosd.wire.status import decode_status

INTERVIEW_S = 1.5
LINKS_S = 5.0
"""How long all the probing may take."""
POLL_MS = 50
SKEW_MS_MAX = 1000.0
"""A clock that differs more from the leader's is reported: the nodes' logs could not be compared by
their times, and at feature level 0 log time follows the clock of the leader."""
BEHIND_SLOTS_MAX = 1000
"""A node that is no further behind the leader counts as caught up."""
PROBED_MEMBERS_MAX = 16


@dataclass(slots=True)
class Present:
    """The cluster as it is now. ``membership``: the latest that a node reports."""

    views: list[NodeView]
    membership: Membership
    cluster: str

    def status(self, name: str) -> NodeStatus | None:
        """What a node reports about itself; None if it did not answer."""
        return next((view.status for view in self.views if view.name == name), None)

    @property
    def leader(self) -> NodeStatus | None:
        """The leader's own status."""
        name, _ = leader_of(self.views)
        return self.status(name)

    @property
    def up(self) -> set[str]:
        """The members that are up, voters only if they may vote; also those that only the leader
        hears."""
        found = set()
        heard = self.leader.peers if self.leader is not None else {}
        for name in self.membership.members:
            status, peer = self.status(name), heard.get(name, PeerStatus())
            is_up = status is not None or peer.reachable
            votes = may_vote(status) if status is not None else peer.votes
            if is_up and (votes or not self.membership.members[name].voter):
                found.add(name)
        return found

    def behind(self, status: NodeStatus) -> int:
        """How many slots a node lacks of what the leader has applied."""
        applied = [each.applied for each in statuses_of(self.views)]
        top = self.leader.applied if self.leader is not None else max(applied, default=0)
        return max(0, top - status.applied)

    def caught_up(self, status: NodeStatus) -> bool:
        """Whether a node may get a vote without holding the others up. It must know of the
        present membership, too: it has applied all that came before."""
        knows = status.epoch >= self.membership.epoch
        return knows and self.behind(status) <= BEHIND_SLOTS_MAX


def look(client: Client) -> Present:
    """Ask every node. Raises the error of the first endpoint if not one answers."""
    views = survey(client)
    # At epoch 0 each node reports the endpoints of its own file, which may lack some.
    latest = max(statuses_of(views), key=lambda status: (status.epoch, _places(status)))
    return Present(views, latest.membership, latest.cluster)


def _places(status: NodeStatus) -> int:
    """Of how many members a node knows where they are reached."""
    return sum(bool(member.peer) for member in status.membership.members.values())


class Link(NamedTuple):
    """One way between the newcomer and a member. ``error``: "" if it is open."""

    source: str
    target: str
    kind: str
    endpoint: str
    error: str


@dataclass(slots=True)
class Newcomer:
    """A node that is to become a member, by its own report and that of others. ``why``: why it did
    not answer. ``skew_ms``: how many milliseconds its clock is ahead of the leader's. ``links``:
    the connections that were tried."""

    name: str
    member: Member
    status: NodeStatus | None = None
    why: str = ""
    skew_ms: float = 0.0
    links: list[Link] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.status is not None

    @property
    def directory_id(self) -> int:
        """The identity of its data directory; 0: not known."""
        return self.status.directory_id if self.status is not None else 0

    def data(self) -> dict[str, Any]:
        """For programs."""
        status = self.status
        return {
            "running": self.running,
            "message": self.why,
            "directory_id": identity_text(self.directory_id),
            "applied": status.applied if status is not None else None,
            "memory": status.memory if status is not None else None,
            "skew_ms": round(self.skew_ms, 1),
            "links": [link._asdict() for link in self.links],
        }

    def findings(self, cluster: str, *, fresh: bool) -> Findings:
        """What speaks against it. ``fresh``: it was no member yet, so it should be empty."""
        found = Findings()
        status = self.status
        if status is None:
            found.warnings.append(
                f"{self.name} does not answer at {self.member.client} ({self.why}), so nothing "
                "about it could be checked"
            )
            return found
        if status.cluster != cluster:
            found.blockers.append(
                f"the node at {self.member.client} belongs to cluster {status.cluster}, not "
                f"to {cluster} (cluster.id in its configuration)"
            )
        if status.node != self.name:
            found.blockers.append(
                f"the node at {self.member.client} is called {status.node}, not {self.name}"
            )
        if fresh and status.applied and not found.blockers:
            found.stops.append(
                f"{self.name} is not empty: it has applied {status.applied} slots. Was it a "
                "member once? Give it an empty data directory"
            )
        if abs(self.skew_ms) > SKEW_MS_MAX:
            ahead = "ahead of" if self.skew_ms > 0 else "behind"
            found.warnings.append(
                f"{self.name}'s clock is {abs(self.skew_ms) / 1000:.1f} s {ahead} the leader's"
            )
        found.stops += [
            f"{link.source} does not reach the {link.kind} endpoint {link.endpoint} of "
            f"{link.target}: {link.error}"
            for link in self.links
            if link.error
        ]
        return found


def interview(
    present: Present,
    name: str,
    member: Member,
    *,
    timeout_s: float,
    credentials: Credentials | None = None,
) -> Newcomer:
    """Ask the newcomer for its status, and compare its clock with the leader's."""
    found = Newcomer(name, member)
    try:
        found.status, skew_ms = _ask(member.client, timeout_s, credentials)
    except ClientError as error:
        found.why = str(error)
        return found
    leader = present.leader
    if leader is not None and leader.leader_client:
        try:
            _, leaders_ms = _ask(leader.leader_client, timeout_s, credentials)
        except ClientError:
            leaders_ms = 0.0  # then this machine's clock takes its place
        skew_ms -= leaders_ms
    found.skew_ms = skew_ms
    return found


def _ask(
    endpoint: str, timeout_s: float, credentials: Credentials | None
) -> tuple[NodeStatus, float]:
    """A node's status, and how many ms its clock is ahead of this machine's."""
    options = ClientOptions(unreachable_ms=int(timeout_s * 500))
    timeout_s = min(timeout_s, INTERVIEW_S)
    with Client([endpoint], timeout_s=timeout_s, options=options, key=credentials) as client:
        client.status(endpoint)  # now it is connected: the next answer takes one round trip
        before_ns = time.time_ns()
        status = decode_status(client.status(endpoint))
        middle_ms = (before_ns + time.time_ns()) / 2e6
    return status, 0.0 if status.wall_ms is None else status.wall_ms - middle_ms


def try_links(client: Client, present: Present, newcomer: Newcomer) -> None:
    """Have the leader and the members that are up probe the newcomer, and it probe them."""
    if newcomer.status is None or newcomer.status.cluster != present.cluster:
        return
    others = _probed(present, newcomer.name)
    asked: dict[str, tuple[str, Sequence[str]]] = {
        name: (member.client, newcomer.member[0:3:2]) for name, member in others.items()
    }
    whose = {
        getattr(member, kind): (name, kind)
        for name, member in [*others.items(), (newcomer.name, newcomer.member)]
        for kind in ("peer", "events")
    }
    theirs = [text for text, (name, _) in whose.items() if name != newcomer.name]
    if theirs:
        asked[newcomer.name] = newcomer.member.client, theirs
    for source, results in probe_all(client, asked).items():
        for endpoint, result in results.items():
            target, kind = whose[endpoint]
            words = "" if result["ok"] else str(result["error"])
            newcomer.links.append(Link(source, target, kind, endpoint, words))


def _probed(present: Present, newcomer: str) -> dict[str, Member]:
    """The members that take part: those that are up, voters first."""
    members = present.membership.members
    up = [name for name in members if name != newcomer and present.status(name) is not None]
    up.sort(key=lambda name: not members[name].voter)
    return {name: members[name] for name in up[:PROBED_MEMBERS_MAX]}


def probe_all(
    client: Client, asked: dict[str, tuple[str, Sequence[str]]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Have nodes connect to endpoints: node → endpoint → ``{ok, ms, error}``, for the nodes that
    could. ``asked``: node → its client endpoint, and what it is to try. All nodes are asked at the
    same time, and again until each has its results, for at most LINKS_S."""
    results: dict[str, dict[str, dict[str, Any]]] = {}
    until_ms = clock_ms() + int(LINKS_S * 1000)
    left = dict(asked)
    while left and clock_ms() < until_ms:
        calls = {
            name: client.start_admin(
                "probe", {"endpoints": list(endpoints)}, endpoint=at, patience_ms=DOWN_MS
            )
            for name, (at, endpoints) in left.items()
        }
        for name, call in calls.items():
            try:
                body = client.admin_result(call)
            except ClientError as error:
                if not (isinstance(error, RefusedError) and "busy" in str(error)):
                    # It cannot probe: then nothing is known, which does not stop the change.
                    del left[name]
                continue
            if not body["pending"]:
                results[name] = body["results"]
                del left[name]
        client.pause(POLL_MS)
    return results
