"""The flight recorder, which later questions are answered from."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

OFF = Flaw(
    "recorder.off",
    Severity.WARNING,
    "A node records nothing of what it does: explain, why-slow and audit will have gaps.",
    "set recorder.enabled = true in the configuration of NODE, and restart it",
)
FAILING = Flaw(
    "recorder.failing",
    Severity.WARNING,
    "The recording of a node cannot be written, or has gaps.",
    "look at the disk of NODE and at recorder/ in its data directory",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    own, config = evidence.own_name, evidence.config
    if config is not None and evidence.own_status is None and not config.recorder.enabled:
        yield OFF.at(own, f"recorder.enabled = false in the file of {own}")
    for status in evidence.statuses:
        found = status.recorder
        if found is None:
            continue
        if not found.enabled:
            yield OFF.at(status.node, f"{status.node} records nothing of what it does")
        elif found.problem:
            yield FAILING.at(status.node, f"{status.node} cannot write its recording: "
                             f"{found.problem}")  # fmt: skip
        elif found.lost_events:
            yield FAILING.at(status.node, f"{status.node} dropped {found.lost_events} events of "
                             "its recording, because writing took too long")  # fmt: skip


CHECK = Check(
    "recorder",
    "Whether each node records what it does, and can write that.",
    Needs.EITHER,
    (OFF, FAILING),
    _look,
)
