"""Which versions the nodes of a cluster run, and what holds its feature level back, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from paxosctl.cli.survey import NodeView, leader_of, members_of, statuses_of
from paxosd.core.status import NodeStatus, PeerStatus

KEY = "protocol.feature_level_max"


def taken_level(status: NodeStatus) -> int:
    """The highest feature level that a node takes, by its own word; 0: its version does not say."""
    known, most = status.feature_level_known, status.feature_level_max
    return max(min(known, most or known), status.feature_level) if known else 0


def node_versions(views: Sequence[NodeView]) -> dict[str, dict[str, Any]]:
    """Node → its version and the levels that it knows and takes, under the names of docs/JSON.md.
    What a node that does not answer, or is of an earlier version, does not say is null."""
    heard = _heard(views)
    found = {}
    for view in views:
        status = view.status if view.status is not None else NodeStatus()
        peer = heard.get(view.name, PeerStatus())
        found[view.name] = {
            "version": status.version or peer.version or None,
            "feature_level_known": status.feature_level_known or None,
            "feature_level_max": status.feature_level_max or None,
            "feature_level_taken": taken_level(status) or peer.feature_level or None,
        }
    return found


def version_lines(views: Sequence[NodeView]) -> list[str]:
    """A line for the nodes of each version, if there are several; and what the next level waits
    for."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for name, each in node_versions(views).items():
        taken = each["feature_level_taken"]
        if each["version"] is None and taken is None:
            continue  # nobody has heard of it yet
        words = "?" if taken is None else str(taken)
        nodes.setdefault((each["version"] or "unknown", words), []).append(name)
    lines = [
        f"{', '.join(names)}: version {version}, up to feature level {taken}"
        for (version, taken), names in sorted(nodes.items(), key=lambda each: each[1])
    ]
    return (lines if len(lines) > 1 else []) + waiting_lines(views)


def waiting_lines(views: Sequence[NodeView]) -> list[str]:
    """What keeps the cluster from the latest level that any of its nodes knows; none: nothing."""
    known = statuses_of(views)
    present = max((status.feature_level for status in known), default=0)
    latest = max((status.feature_level_known for status in known), default=0)
    if present >= latest:
        return []
    members = members_of(views)
    reasons = [reason_of(view, latest, _heard(views)) for view in views if view.name in members]
    why = "; ".join(filter(None, reasons)) or "nobody: a leader raises it at once, if there is one"
    return [f"the feature level is {present}; level {latest} waits for {why}"]


def reason_of(view: NodeView, latest: int, heard: Mapping[str, PeerStatus]) -> str:
    """Why a member does not take the latest level; "": it does."""
    status, peer = view.status, heard.get(view.name)
    said = peer.feature_level if peer is not None else 0
    if status is None:
        last = f"it last took level {said}" if said else "nobody has heard it yet"
        return f"{view.name} (does not answer; {last})" if said < latest else ""
    if not status.feature_level_known:
        return f"{view.name} (version {status.version or 'unknown'}, up to level {said or '?'})"
    if status.feature_level_known < latest:
        return f"{view.name} (version {status.version}, up to level {status.feature_level_known})"
    if taken_level(status) < latest:
        return f"{view.name} (its file has {KEY} = {status.feature_level_max})"
    return ""


def own_level_words(status: NodeStatus) -> str:
    """What one node says of the feature level, the versions of its peers included."""
    waits = [_own_reason(status, name) for name in status.feature_level_lagging]
    if not waits or status.feature_level >= status.feature_level_known > 0:
        return str(status.feature_level)
    return f"{status.feature_level}; the next waits for {', '.join(waits)}"


def _own_reason(status: NodeStatus, name: str) -> str:
    if name == status.node:
        return f"{name} (its file has {KEY} = {status.feature_level_max})"
    peer = status.peers.get(name)
    if peer is None or not peer.feature_level:
        return f"{name} (not heard yet)"
    version = f"version {peer.version}, " if peer.version else ""
    return f"{name} ({version}up to level {peer.feature_level})"


def _heard(views: Sequence[NodeView]) -> Mapping[str, PeerStatus]:
    """The other nodes as the leader sees them, and the leader as another node does; or, without a
    leader, all as one node does."""
    leader, _ = leader_of(views)
    known = sorted(statuses_of(views), key=lambda status: status.node != leader)
    if not known:
        return {}
    by_others = (status.peers[leader] for status in known[1:] if leader in status.peers)
    own = next(by_others, None)
    return known[0].peers if own is None else {leader: own, **known[0].peers}
