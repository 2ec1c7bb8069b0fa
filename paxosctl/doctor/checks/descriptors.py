"""File descriptors: how many the node may have, and whether its connections have taken them."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.descriptors import needed

ENOUGH = 1024
"""Below that a node has room for few clients."""
REMEDY = "raise the limit of NODE: ulimit -n, LimitNOFILE= of the service, ulimits of the container"

TOO_FEW = Flaw(
    "descriptors.too-few",
    Severity.ERROR,
    "The node would not start: it may have fewer file descriptors than it needs.",
    REMEDY,
)
FEW = Flaw(
    "descriptors.few",
    Severity.WARNING,
    f"The node may have fewer than {ENOUGH} file descriptors, and so takes few clients.",
    REMEDY,
)
FULL = Flaw(
    "descriptors.full",
    Severity.ERROR,
    "The node has as many connections of a kind as it may have, and refuses others.",
    "close some connections, or raise the limit of NODE: LimitNOFILE= of the service, ulimit -n",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    config, machine, own = evidence.config, evidence.machine, evidence.own_name
    if config is not None and machine is not None and not evidence.is_running:
        limit = machine.process.descriptors
        least = needed(len(config.cluster.members))
        if 0 <= limit < least:
            yield TOO_FEW.at(own, f"started from here it may have {limit} file descriptors, and "
                             f"needs {least}")  # fmt: skip
        elif 0 <= limit < ENOUGH:
            yield FEW.at(own, f"started from here it may have {limit} file descriptors")
    for status in evidence.statuses:
        total = status.descriptors.total if status.descriptors is not None else ENOUGH
        if 0 < total < ENOUGH:
            yield FEW.at(status.node, f"it may have {total} file descriptors")
        for what, port in sorted(status.connections.items()):
            if 0 < port.most <= port.open:
                yield FULL.at(status.node, f"it has {port.open} {what} connections, as many as it "
                              "may have, and refuses others")  # fmt: skip


CHECK = Check(
    "descriptors",
    "The limit on open files: of running nodes by their own word, before the start that of this "
    "shell (a service has its own).",
    Needs.EITHER,
    (TOO_FEW, FEW, FULL),
    _look,
)
