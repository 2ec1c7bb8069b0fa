"""Whether the node can listen, or does, where its configuration says."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

TAKEN = Flaw(
    "ports.taken",
    Severity.ERROR,
    "The node does not run, and another process has one of its ports.",
    "stop the process that has the port, or configure another one",
)
UNUSABLE = Flaw(
    "ports.unusable",
    Severity.ERROR,
    "The node could not listen there: not an address of this machine, or not allowed.",
    "set node.bind_host to an address of this machine, or configure a port above 1023",
)
OTHER = Flaw(
    "ports.other",
    Severity.ERROR,
    "Another node answers at the node's own client endpoint.",
    "compare the endpoints of both nodes in their configurations: every node needs its own",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    config, machine, node = evidence.config, evidence.machine, evidence.own_name
    assert config is not None
    for view in evidence.views:
        if view.endpoint == config.me.client and view.status is not None:
            found = view.status
            if (found.node, found.cluster) != (node, config.cluster.id):
                yield OTHER.at(node, f"at its client endpoint {view.endpoint} answers "
                               f"{found.node} of cluster {found.cluster}")  # fmt: skip
    for port in machine.ports if machine is not None and not evidence.is_running else ():
        if port.taken:
            who = f" by {port.holder}" if port.holder else ""
            yield TAKEN.at(node, f"its {port.what} port is in use{who}: {port.endpoint}")
        elif port.error:
            yield UNUSABLE.at(node, f"it cannot listen for {port.what} at {port.endpoint}: "
                              f"{port.error}")  # fmt: skip


CHECK = Check(
    "ports",
    "Before the node runs: whether its ports are free. While it runs: whether it is the one that "
    "answers there.",
    Needs.CONFIG,
    (TAKEN, UNUSABLE, OTHER),
    _look,
)
