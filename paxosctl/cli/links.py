"""What the statuses of nodes say about the links between them: who cannot be reached, heard or
looked up, why as far as a node knows, and what to do next.

A line each for the first of these that holds of a node A and its peer B:

    A knows why it has no connection to B (keys, another program, …)
    both are up, and neither hears the other
    both are up, and only one hears the other: a one-way link
    A alone is asked, and has not heard B, or hears from B that B does not hear A
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

from paxosd.core.status import NodeStatus, PeerStatus
from paxosd.host.wording import lasted, listed

_ADVICE = "look at fault rules (paxosctl fault list), firewalls and routes between the two"


def link_lines(statuses: Iterable[NodeStatus], *, alone: bool = False) -> list[str]:
    """A line for each link that is broken, as these nodes see it. ``alone``: only one node was
    asked, so nothing else says that a peer which it does not hear is down."""
    known = {status.node: status for status in statuses}
    explained = {pair for status in known.values() for pair in _explained(status)}
    lines = _refused(known.values())
    for one, two in combinations(sorted(known), 2):
        if (one, two) not in explained and (two, one) not in explained:
            lines += _between(known[one], known[two])
    if alone:
        lines += [line for status in known.values() for line in _alone(status)]
    return lines + [
        f"{status.node} cannot look up the host {host} of a peer: {found.error}. Repair the name "
        f"server, or /etc/hosts on the machine of {status.node}"
        for status in known.values()
        for host, found in sorted(status.names.items())
        if found.error
    ]


def _explained(status: NodeStatus) -> Iterator[tuple[str, str]]:
    return ((status.node, name) for name, peer in status.peers.items() if peer.link_problem)


def _refused(statuses: Iterable[NodeStatus]) -> list[str]:
    """Who cannot connect, and why: a line for all nodes that say the same of a peer."""
    nodes: dict[str, list[str]] = {}
    for status in statuses:
        for _, peer in sorted(status.peers.items()):
            if peer.link_problem:
                nodes.setdefault(peer.link_problem, []).append(status.node)
    return [
        f"{listed(names)} {'have' if len(names) > 1 else 'has'} no connection to a peer: {problem}"
        for problem, names in nodes.items()
    ]


def _between(one: NodeStatus, two: NodeStatus) -> list[str]:
    """Two nodes that both answered."""
    hears = [_hears(one, two.node), _hears(two, one.node)]
    if None in hears or all(hears):
        return []
    if not any(hears):
        return [f"{one.node} and {two.node} are both up, and do not hear each other; {_ADVICE}"]
    deaf, heard = (two.node, one.node) if hears[0] else (one.node, two.node)
    return [
        f"{deaf} does not hear {heard}, which hears {deaf}: what {heard} sends to {deaf} is lost "
        f"on the way; {_ADVICE}"
    ]


def _hears(status: NodeStatus, name: str) -> bool | None:
    """None: it does not count that one among its peers."""
    peer = status.peers.get(name)
    return None if peer is None else peer.reachable


def _alone(status: NodeStatus) -> list[str]:
    node = status.node
    silent = {
        name: peer
        for name, peer in sorted(status.peers.items())
        if not peer.reachable and not peer.link_problem and name not in status.unconfirmed_by
    }
    lines = []
    if silent:
        since = [f"{name} {_silence(peer)}" for name, peer in silent.items()]
        lines.append(
            f"{node} does not hear {listed(since)}: down, or cut off from {node}? paxosctl status "
            "--cluster asks every node, paxosctl doctor says why"
        )
    return lines + [
        f"{name} reports that it does not hear {node}: what {node} sends to {name} is lost on the "
        f"way; {_ADVICE}"
        for name, peer in sorted(status.peers.items())
        if peer.reachable and not peer.hears
    ]


def _silence(peer: PeerStatus) -> str:
    ago_ms = peer.heard_ms_ago
    return "(never heard)" if ago_ms < 0 else f"(silent for {lasted(ago_ms)})"
