"""Core dumps, which hold all keys and values of a node that crashes."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

ON = Flaw(
    "core-dumps.on",
    Severity.WARNING,
    "A crash of the node would leave its memory on the disk: all keys and values.",
    "LimitCORE=0 in the service, or ulimit -c 0 before the start, unless dumps are wanted",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    machine = evidence.machine
    if machine is None or machine.process.core_bytes == 0:
        return
    process = machine.process
    where = process.core_pattern or "the kernel's core_pattern"
    start = "" if process.pid else "started from here "
    yield ON.at(evidence.own_name, f"{start}it would leave a core dump when it crashes ({where})")


CHECK = Check(
    "core-dumps",
    "Whether the kernel would keep the memory of a node that crashes: of the running node, before "
    "the start by the limits of this shell.",
    Needs.CONFIG,
    (ON,),
    _look,
)
