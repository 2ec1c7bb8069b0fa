"""Memory: the limit of the control group, what is left, and whether the node was swapped out."""

from collections.abc import Iterator

from paxosctl.cli.render import human_bytes
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity

LEFT_BYTES_MIN = 512 << 20
"""A node needs about 100 MiB without any data, and what may wait takes several hundred
(docs/MEMORY.md)."""
SHARE_MAX = 0.8

LITTLE = Flaw(
    "memory.little",
    Severity.WARNING,
    "This machine, or the control group, has little memory for a node that keeps all keys and "
    "values in it.",
    "give it more memory, or bound the store: paxosctl cluster set quota_bytes=BYTES",
)
NEAR = Flaw(
    "memory.near",
    Severity.ERROR,
    "The node has nearly as much memory as its control group allows, and the kernel will end it.",
    "raise MemoryMax= of the service or the limit of the container, or bound the store: paxosctl "
    "cluster set quota_bytes=BYTES",
)
SWAPPED = Flaw(
    "memory.swapped",
    Severity.WARNING,
    "A part of the node was swapped out: what needs it waits for the disk, heartbeats included.",
    "turn swap off for the node (MemorySwapMax=0 of the service), and give the machine more memory",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    machine, node = evidence.machine, evidence.own_name
    if machine is None:
        return
    process = machine.process
    limit, resident = process.memory_limit_bytes, process.resident_bytes
    if process.pid and limit > 0 and resident > SHARE_MAX * limit:
        yield NEAR.at(node, f"it has {human_bytes(resident)} of the {human_bytes(limit)} that its "
                      "control group may have")  # fmt: skip
    elif not process.pid and 0 < limit < LEFT_BYTES_MIN:
        yield LITTLE.at(node, f"started from here its control group may have {human_bytes(limit)}")
    if 0 <= machine.available_bytes < LEFT_BYTES_MIN:
        yield LITTLE.at(node, f"{human_bytes(machine.available_bytes)} of memory are left on this "
                        "machine")  # fmt: skip
    if process.swapped_bytes:
        yield SWAPPED.at(node, f"{human_bytes(process.swapped_bytes)} of it are swapped out")


CHECK = Check(
    "memory",
    "What memory this machine and the control group of the node have left, and whether the node "
    "was swapped out.",
    Needs.CONFIG,
    (LITTLE, NEAR, SWAPPED),
    _look,
)
