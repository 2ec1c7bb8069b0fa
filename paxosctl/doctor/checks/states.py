"""Whether all nodes have the same state, and are about as far."""

from collections.abc import Iterator

from paxosctl.cli.health import state_words
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.wording import counted

LAG_SLOTS_MAX = 1000
"""As /readyz has it: a node further behind should get no requests."""

DIFFER = Flaw(
    "states.differ",
    Severity.ERROR,
    "The state of a node is not what was decided: it serves nothing.",
    "keep its data directory for the search for the cause; restart NODE, and once it has caught "
    "up: paxosctl member rejoin NODE. If no majority is known, start the voters that are down",
)
BEHIND = Flaw(
    "states.behind",
    Severity.WARNING,
    f"A node is more than {LAG_SLOTS_MAX} slots behind what was chosen.",
    "wait while it catches up; if it falls further behind: its disk (fsync), its links (reach), "
    "its processor",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    for words in state_words(evidence.statuses):
        named = [each.node for each in evidence.statuses if each.node in words.split()]
        yield DIFFER.at(named[0] if named else "", words.partition(" Find the cause")[0])
    for status in evidence.statuses:
        if status.lag_slots > LAG_SLOTS_MAX:
            lag = counted(status.lag_slots, "slot")
            yield BEHIND.at(status.node, f"it is {lag} behind what was chosen")


CHECK = Check(
    "states",
    "What the nodes found when they compared their states while running, and how far they are.",
    Needs.ANSWER,
    (DIFFER, BEHIND),
    _look,
)
