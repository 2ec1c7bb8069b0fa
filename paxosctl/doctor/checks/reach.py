"""Whether the members reach each other, both ways."""

from collections.abc import Iterator

from paxosctl.cli.links import unheard
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.core.status import NodeStatus

CLOSED = Flaw(
    "reach.closed",
    Severity.ERROR,
    "The machine of one node cannot connect to an endpoint of another one that runs.",
    "look at the firewalls and routes between the two, and at the address: it is the one that "
    "others connect to (paxosctl member list)",
)
DEAF = Flaw(
    "reach.deaf",
    Severity.ERROR,
    "A node that is up is not heard by another one, though its port can be reached: messages get "
    "lost on the way, or one of the two hangs.",
    "look at fault rules (paxosctl fault list), at bus.refused in the log of NODE, and at the "
    "network between the two",
)
REFUSED = Flaw(
    "reach.refused",
    Severity.ERROR,
    "A node has no connection to another one: they do not take each other's keys, or another "
    "program listens there.",
    "compare the keys of the two with paxosctl auth list and [peers] of their trust files: "
    "docs/SECURITY.md",
)
UNRESOLVED = Flaw(
    "reach.name",
    Severity.WARNING,
    "The machine of a node could not look up the name of another one; it goes on with the last "
    "addresses that it knows, if there are any.",
    "repair the name server, or /etc/hosts on the machine of NODE",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    up = {status.node for status in evidence.statuses}
    closed = set()
    for link in evidence.links:
        if link.error and link.target in up:
            closed.add((link.source, link.target))
            yield CLOSED.at(link.source, f"{link.source} does not reach the {link.kind} endpoint "
                            f"{link.endpoint} of {link.target}: {link.error}")  # fmt: skip
    for status in evidence.statuses:
        for _, peer in sorted(status.peers.items()):
            if peer.link_problem:
                yield REFUSED.at(status.node, f"{status.node} has no connection to a peer: "
                                 f"{peer.link_problem}")  # fmt: skip
        for host, found in sorted(status.names.items()):
            if found.error:
                yield UNRESOLVED.at(status.node, f"{status.node} cannot look up {host}: "
                                    f"{found.error}")  # fmt: skip
    for deaf, heard in unheard(evidence.statuses):
        if (deaf, heard) not in closed:
            yield DEAF.at(deaf, _deaf_words(evidence.status(deaf), deaf, heard))


def _deaf_words(status: NodeStatus | None, deaf: str, heard: str) -> str:
    if status is None:
        return f"{heard} hears from {deaf} again and again that {deaf} does not hear {heard}"
    ago_ms = status.peers[heard].heard_ms_ago
    since = "has never heard it" if ago_ms < 0 else f"last did {ago_ms / 1000:.1f} s ago"
    return f"{deaf} does not hear {heard}, which is up ({since})"


CHECK = Check(
    "reach",
    "Every node that answers tries to connect to the three endpoints of every other member; whom "
    "each has heard of late; the names that each looks up.",
    Needs.ANSWER,
    (CLOSED, DEAF, REFUSED, UNRESOLVED),
    _look,
)
