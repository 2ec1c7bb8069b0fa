"""Every check, made on the evidence that there is."""

from collections.abc import Sequence
from typing import NamedTuple

from paxosctl.doctor.catalogue import CHECKS
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Severity


class Examination(NamedTuple):
    """``findings``: errors first, else in the order of the checks. ``made``: the checks that were
    made; ``skipped``: the others, with what was missing."""

    findings: tuple[Finding, ...]
    made: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]

    def count(self, severity: Severity) -> int:
        """How many findings are of this severity."""
        return sum(each.severity is severity for each in self.findings)

    def is_well(self, *, strict: bool) -> bool:
        """Whether nothing was found that matters; ``strict``: warnings matter, too."""
        return not self.findings if strict else not self.count(Severity.ERROR)


def examine(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> Examination:
    """Make the checks that the evidence is enough for."""
    made: list[str] = []
    skipped: list[tuple[str, str]] = []
    findings: list[Finding] = []
    for check in checks:
        if not check.needs.are_met(evidence):
            skipped.append((check.id, check.needs.value))
            continue
        made.append(check.id)
        findings += dict.fromkeys(check.look(evidence))
    findings.sort(key=lambda each: each.severity is Severity.WARNING)
    return Examination(tuple(findings), tuple(made), tuple(skipped))
