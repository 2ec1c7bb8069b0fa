"""Whether every node answers."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

SILENT = Flaw(
    "answers.silent",
    Severity.ERROR,
    "A node does not answer; the words say whether its machine, its port or its process does not.",
    "start NODE, or reconnect it; on its machine: paxosctl doctor --config FILE",
)
KEYS = Flaw(
    "answers.key",
    Severity.ERROR,
    "A node is reached, and it and this client do not take each other's keys.",
    "ask with a key that the cluster knows (--key-file), and compare what the words name with "
    "paxosctl auth list and the nodes' trust files: docs/SECURITY.md",
)
STOPPED = Flaw(
    "answers.stopped",
    Severity.ERROR,
    "The node of this configuration was started before, and does not run now.",
    "start it: paxosd --config FILE. If it ends again, its last line says why",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    own, file = evidence.own_name, evidence.config_path
    stopped = own and not evidence.is_running and not evidence.is_new
    if stopped:
        yield STOPPED.at(own, f"{own} does not run", file=file)
    if evidence.is_new and not evidence.statuses:
        return  # before the first start of the cluster: nobody is there yet
    refusing = {view.name for view in evidence.views if view.refused_a_key}
    for name, why in evidence.silent.items():
        if name == own and (stopped or evidence.is_new):
            continue
        flaw = KEYS if name in refusing else SILENT
        yield flaw.at(name, f"{name} does not answer: {why}")


CHECK = Check(
    "answers",
    "Every member of the membership, of the configuration, and every endpoint that was given. "
    "Before the first start, when no node answers, that is no finding.",
    Needs.NOTHING,
    (SILENT, KEYS, STOPPED),
    _look,
)
