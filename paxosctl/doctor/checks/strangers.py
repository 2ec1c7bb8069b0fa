"""Who else sends to the nodes: other clusters, other foundings, a second process with one name."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.wording import counted

DOUBLED = Flaw(
    "strangers.doubled",
    Severity.ERROR,
    "Two processes speak under the name of one node, as when a machine was cloned.",
    "stop one of the two: bus.doubled in the log of NODE has both addresses",
)
FOUNDING = Flaw(
    "strangers.founding",
    Severity.ERROR,
    "A node of this cluster's id that was founded at another time sends to this cluster.",
    "find it (bus.other_genesis in the log of NODE names its address), and stop it or give it an "
    "empty directory",
)
OTHERS = Flaw(
    "strangers.others",
    Severity.WARNING,
    "Frames that are none of this cluster came in: of another cluster id, another program or "
    "another version.",
    "bus.refused in the log of NODE names the addresses: correct the endpoints or the cluster id "
    "of whoever sends them",
)

_ODD = ("not_msgpack", "envelope", "kind", "unknown_sender", "own_name")
"""Not ``version``: a member that begins with an empty directory sends a few of them, and one of
another version is found by the check of versions."""


def _look(evidence: Evidence) -> Iterator[Finding]:
    for status in evidence.statuses:
        node = status.node
        counts = {reason: status.counters.get(f"refused.{reason}", 0)
                  for reason in ("doubled", "genesis", "cluster", *_ODD)}  # fmt: skip
        if counts["doubled"]:
            yield DOUBLED.at(node, f"{node} refused {counted(counts['doubled'], 'message')} of a "
                             "second process with the name of a peer")  # fmt: skip
        if counts["genesis"]:
            yield FOUNDING.at(node, f"{node} refused {counted(counts['genesis'], 'message')} of a "
                              "node with another founding")  # fmt: skip
        odd = {reason: counts[reason] for reason in _ODD if counts[reason]}
        if counts["cluster"] and status.restored_from is None:
            odd["cluster"] = counts["cluster"]
        if odd:
            words = ", ".join(f"{count} for {reason}" for reason, count in odd.items())
            yield OTHERS.at(node, f"{node} refused frames since its start: {words}")


CHECK = Check(
    "strangers",
    "What the nodes refused since they were started, by reason (`paxosctl status -o json`, "
    "counters).",
    Needs.ANSWER,
    (DOUBLED, FOUNDING, OTHERS),
    _look,
)
