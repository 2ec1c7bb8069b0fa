"""How full the store is, if it has a quota."""

from collections.abc import Iterator

from paxosctl.cli.health import quota_words
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

REMEDY = "delete something, or raise it: paxosctl cluster set quota_bytes=BYTES"

FULL = Flaw(
    "quota.full",
    Severity.ERROR,
    "The quota is reached, and writes that need room are refused.",
    REMEDY,
)
NEAR = Flaw("quota.near", Severity.WARNING, "80 % of the quota are in use.", REMEDY)


def _look(evidence: Evidence) -> Iterator[Finding]:
    flaws = {"full": FULL, "near": NEAR}
    alarmed = [each for each in evidence.statuses if each.quota in flaws]
    worst = max(alarmed, key=lambda each: (each.quota == "full", each.applied), default=None)
    if worst is not None:
        yield flaws[worst.quota].at("", quota_words(worst) or f"the quota is {worst.quota}")


CHECK = Check(
    "quota", "What the keys count towards `quota_bytes`.", Needs.ANSWER, (FULL, NEAR), _look
)
