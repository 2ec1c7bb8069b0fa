"""Damage and failures of the disks, as the nodes found them."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

FAILED = Flaw(
    "storage.failed",
    Severity.ERROR,
    "A write or a sync of the log failed; the node takes nothing more, and ends.",
    "look at the kernel's log on the machine of NODE, and replace the disk if it is at fault",
)
DAMAGED = Flaw(
    "storage.damaged",
    Severity.ERROR,
    "Damaged files were found that could not be repaired from memory.",
    "keep the node running if it does; replace its disk, and let it learn anew: stop NODE, start "
    "it with an empty directory, then: paxosctl member rejoin NODE",
)
REPAIRED = Flaw(
    "storage.repaired",
    Severity.WARNING,
    "Damaged files were found and repaired: the disk changes what it holds.",
    "watch the disk of NODE (smartctl), and replace it if that goes on",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    for status in evidence.statuses:
        node = status.node
        if status.disk.poisoned:
            yield FAILED.at(node, f"a write or a sync of the log of {node} failed")
        scrub = status.snapshot.scrub if status.snapshot is not None else None
        if scrub is None or not scrub.found:
            continue
        if scrub.found > scrub.repaired:
            yield DAMAGED.at(node, f"{node} found {scrub.found} damaged files since its start, and "
                             f"repaired {scrub.repaired}")  # fmt: skip
        else:
            yield REPAIRED.at(node, f"{node} found and repaired {scrub.found} damaged files since "
                              "its start")  # fmt: skip


CHECK = Check(
    "storage",
    "Writes that failed, and what the nodes found when they read their files again.",
    Needs.ANSWER,
    (FAILED, DAMAGED, REPAIRED),
    _look,
)
