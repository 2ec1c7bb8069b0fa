"""The versions of the programs, and the feature level of the cluster."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.wording import listed

MIXED = Flaw(
    "versions.mixed",
    Severity.WARNING,
    "The nodes run different versions: right during an upgrade, wrong after it.",
    "finish the upgrade: stop, replace and start the nodes of the older version one by one",
)
LAGGING = Flaw(
    "versions.level",
    Severity.WARNING,
    "The feature level waits for nodes that do not understand the next one, or that are away.",
    "upgrade the nodes that are named, or start them; see: paxosctl cluster show",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    nodes: dict[str, list[str]] = {}
    for status in evidence.statuses:
        nodes.setdefault(status.version, []).append(status.node)
    if len(nodes) > 1:
        words = "; ".join(f"{listed(names)}: {each or '?'}" for each, names in nodes.items())
        yield MIXED.at("", f"the nodes run different versions: {words}")
    leader = evidence.leader
    if leader is not None and leader.feature_level_lagging:
        names = listed(leader.feature_level_lagging)
        yield LAGGING.at("", f"the feature level is {leader.feature_level}, and the next one waits "
                         f"for {names}")  # fmt: skip


CHECK = Check(
    "versions",
    "The version that each node reports, and whom the feature level waits for.",
    Needs.ANSWER,
    (MIXED, LAGGING),
    _look,
)
