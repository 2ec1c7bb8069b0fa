"""Nodes that do not vote, and why."""

from collections.abc import Iterator

from paxosctl.cli.health import MEMORY_LOST, lost_for_good, role_of
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.core.status import NodeStatus
from paxosd.host.wording import listed

LOST = Flaw(
    "votes.memory-lost",
    Severity.ERROR,
    "The directory of a voter was wiped, rolled back or damaged: it must not vote, for it forgot "
    "what it promised.",
    "paxosctl member rejoin NODE",
)
NEW = Flaw(
    "votes.newcomer",
    Severity.ERROR,
    "A node belongs to no founded cluster yet: every member has to be up once, and say the same "
    "in its file.",
    "start the members that are named, with the same [cluster.members]; a node alone: paxosd init "
    "--config FILE; one that joins later: paxosctl member add NODE",
)
WAITING = Flaw(
    "votes.waiting",
    Severity.WARNING,
    "A node that was started does not vote until others have compared its memory, or until it has "
    "applied the latest membership.",
    "wait; if it stays so, start the voters that are named",
)
CONFLICT = Flaw(
    "votes.conflict",
    Severity.ERROR,
    "Somebody runs a cluster of the same id with another founding.",
    "find it (bus.other_genesis in the log of NODE names its address), and stop one of the two",
)
REMOVED = Flaw(
    "votes.removed",
    Severity.ERROR,
    "A node that was removed from the membership runs.",
    "leave NODE stopped; to take its machine in again, begin with an empty directory: paxosctl "
    "member add NODE",
)

_WAITING = frozenset({"returning", "catching-up"})


def _look(evidence: Evidence) -> Iterator[Finding]:
    final = lost_for_good(evidence.statuses)
    for status in evidence.statuses:
        role, node = role_of(status), status.node
        if role == MEMORY_LOST and final is None:
            yield LOST.at(node, f"{node} lost its memory, and does not vote")
        elif role in _WAITING:
            yield WAITING.at(node, f"{node} does not vote yet ({role}){_whom(status)}")
        elif role == "newcomer" and not status.leader:
            yield NEW.at(node, f"{node} is new, and belongs to no founded cluster yet"
                         f"{_whom(status)}")  # fmt: skip
        elif role == "conflict":
            yield CONFLICT.at(node, f"{node} heard of another founding of cluster {status.cluster}")
        elif role == "removed":
            yield REMOVED.at(node, f"{node} is no member any more, and runs")


def _whom(status: NodeStatus) -> str:
    waits_for = status.unconfirmed_by
    return f": it waits for {listed(waits_for)}" if waits_for else ""


CHECK = Check(
    "votes",
    "Every node that is up and does not vote, by its role (docs/ACTING.md has the rules).",
    Needs.ANSWER,
    (LOST, NEW, WAITING, CONFLICT, REMOVED),
    _look,
)
