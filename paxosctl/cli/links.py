"""What the statuses of nodes say about the links between them: who cannot be reached, heard or
looked up, why as far as a node knows, and what to do next.

A line for the first of these that holds of a node A and its peer B; several links that share a node
share the line:

    A knows why it has no connection to B (keys, another program, …)
    both are up, and neither hears the other
    both are up, and only one hears the other: a one-way link
    A alone is asked, and has not heard B
"""

from collections.abc import Iterable, Iterator, Sequence

from paxosd.core.status import NodeStatus, PeerStatus
from paxosd.host.wording import lasted, listed

_ADVICE = "look at fault rules (paxosctl fault list), firewalls and routes between them"


def link_lines(statuses: Iterable[NodeStatus], *, alone: bool = False) -> list[str]:
    """What is wrong with links, as these nodes see it. ``alone``: only one node was asked, so
    nothing else says that a peer which it does not hear is down."""
    known = list(statuses)
    lines = _refused(known) + _not_heard(known)
    if alone:
        lines += [line for status in known for line in _alone(status)]
    return lines + [
        f"{status.node} cannot look up the host {host} of a peer: {found.error}. Repair the name "
        f"server, or /etc/hosts on the machine of {status.node}"
        for status in known
        for host, found in sorted(status.names.items())
        if found.error
    ]


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


def unheard(statuses: Iterable[NodeStatus]) -> Iterator[tuple[str, str]]:
    """Pairs of members that are up, of which the first does not hear the second, and neither knows
    why. A peer that did not answer is up where another one hears it; it says there whom it does not
    hear."""
    known = {status.node: status for status in statuses}
    for status in known.values():
        for name, peer in sorted(status.peers.items()):
            if peer.link_problem:
                continue
            if name not in known:
                if peer.reachable and not peer.hears:
                    yield name, status.node
                continue
            back = known[name].peers.get(status.node)
            if back is not None and not back.link_problem and not peer.reachable:
                yield status.node, name


def _not_heard(statuses: Iterable[NodeStatus]) -> list[str]:
    pairs = set(unheard(statuses))
    cut = {pair for pair in pairs if pair[::-1] in pairs}
    one_way = pairs - cut
    lines = [_cut_words(node, peers) for node, peers in _stars(cut)]
    for node, peers in _stars(one_way | {pair[::-1] for pair in one_way}):
        deaf = [each for each in peers if (each, node) in one_way]
        heard = [each for each in peers if (node, each) in one_way]
        lines += [_one_way_words(deaf, [node])] if deaf else []
        lines += [_one_way_words([node], heard)] if heard else []
    return lines


def _stars(pairs: set[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Pairs that are there both ways round, as few nodes with their partners, the most first."""
    left = set(pairs)
    while left:
        partners: dict[str, list[str]] = {}
        for one, other in sorted(left):
            partners.setdefault(one, []).append(other)
        one = max(sorted(partners), key=lambda each: len(partners[each]))
        yield one, partners[one]
        left = {pair for pair in left if one not in pair}


def _cut_words(one: str, others: Sequence[str]) -> str:
    if len(others) == 1:
        return (
            f"{listed(sorted([one, *others]))} are both up, and do not hear each other; {_ADVICE}"
        )
    names = listed(others)
    return f"{one} neither hears {names}, which are up, nor do they hear {one}; {_ADVICE}"


def _one_way_words(deaf: Sequence[str], heard: Sequence[str]) -> str:
    """One of the two is a single node."""
    names, sent = listed(deaf), listed(heard)
    do, whom = ("do", "them") if len(deaf) > 1 else ("does", names)
    hear, send = ("hear", "send") if len(heard) > 1 else ("hears", "sends")
    return (
        f"{names} {do} not hear {sent}, which {hear} {whom}: what {sent} {send} to {whom} is lost "
        f"on the way; {_ADVICE}"
    )


def _alone(status: NodeStatus) -> list[str]:
    node = status.node
    silent = {
        name: peer
        for name, peer in sorted(status.peers.items())
        if not peer.reachable and not peer.link_problem and name not in status.unconfirmed_by
    }
    if not silent:
        return []
    since = [f"{name} {_silence(peer)}" for name, peer in silent.items()]
    return [
        f"{node} does not hear {listed(since)}: down, or cut off from {node}? paxosctl status "
        "--cluster asks every node, paxosctl doctor says why"
    ]


def _silence(peer: PeerStatus) -> str:
    ago_ms = peer.heard_ms_ago
    return "(never heard)" if ago_ms < 0 else f"(silent for {lasted(ago_ms)})"
