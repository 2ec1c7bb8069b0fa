"""A cluster that was made from a snapshot: whether all of its nodes were, and who still names the
cluster before."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.wording import counted, listed

MIXED = Flaw(
    "restored.mixed",
    Severity.ERROR,
    "Some nodes began with a snapshot, and founders beside them with another one, or empty: what "
    "was restored could be outvoted.",
    "stop all nodes, and restore the same snapshot for each of them: paxosctl snapshot restore",
)
CLIENTS = Flaw(
    "restored.clients",
    Severity.WARNING,
    "The cluster was restored, and clients or watchers from before still name the old one: every "
    "request of theirs is refused.",
    "restart the programs that were connected before (bus.refused in the log of NODE names their "
    "addresses), so that they make new clients",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    restored = {status.node: status.restored_from for status in evidence.statuses}
    if not any(restored.values()):
        return
    founders = {name for status in evidence.statuses if status.founding is not None
                for name in status.founding.members}  # fmt: skip
    origins = {name: each for name, each in restored.items() if each or name in founders}
    if len(set(origins.values())) > 1:
        words = "; ".join(
            f"{name}: {f'{each.cluster} as of slot {each.slot}' if each else 'empty'}"
            for name, each in sorted(origins.items())
        )
        yield MIXED.at("", f"the nodes did not begin alike: {words}")
    olds = listed(sorted({each.cluster for each in restored.values() if each}))
    for status in evidence.statuses:
        count = status.counters.get("refused.cluster", 0)
        if count:
            yield CLIENTS.at(status.node, f"{counted(count, 'frame')} of another cluster came to "
                             f"{status.node} since its start; this one was restored from {olds}: "
                             "clients or watchers from before?")  # fmt: skip


CHECK = Check(
    "restored",
    "Of a cluster that was restored from a snapshot: whether all founders were, from the same one, "
    "and whether frames of another cluster still come in.",
    Needs.ANSWER,
    (MIXED, CLIENTS),
    _look,
)
