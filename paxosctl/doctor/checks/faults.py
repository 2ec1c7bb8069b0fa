"""Failures on purpose that were left on."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.wording import counted

ACTIVE = Flaw(
    "faults.active",
    Severity.ERROR,
    "Fault rules are at work on a node: it fails on purpose.",
    "end them: paxosctl fault clear, or one: paxosctl fault rm NAME",
)
ENABLED = Flaw(
    "faults.enabled",
    Severity.WARNING,
    "A node takes fault directives from whoever reaches its client port.",
    "set faults.enabled = false in the configuration of NODE, and restart it, unless it is for "
    "drills",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    enabled = {status.node for status in evidence.statuses if status.faults_enabled}
    for status in evidence.statuses:
        if status.fault_count:
            names = ", ".join(evidence.rules.get(status.node, ()))
            yield ACTIVE.at(status.node, f"{counted(status.fault_count, 'fault rule')} at work on "
                            f"{status.node}{f': {names}' if names else ''}")  # fmt: skip
    config = evidence.config
    if config is not None and config.faults.enabled:
        enabled.add(evidence.own_name)
    for node in sorted(enabled):
        yield ENABLED.at(node, f"[faults] enabled is true on {node}")


CHECK = Check(
    "faults",
    "Fault rules that are active, and nodes that would take some.",
    Needs.EITHER,
    (ACTIVE, ENABLED),
    _look,
)
