"""Room on the disk, against what the log, its snapshots and the recordings may take."""

from collections.abc import Iterator

from paxosctl.cli.render import human_bytes
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosctl.doctor.machine import Machine
from paxosd.config.schema import Config
from paxosd.storage.health import LOW_FILES, LOW_SEGMENTS

LOG_TIMES = 2
"""The log grows to about so many times snapshots.log_bytes_max: it is kept from the older of two
snapshots on."""
SNAPSHOTS = 3
"""Two are kept, while a third is written."""

FULL = Flaw(
    "space.full",
    Severity.ERROR,
    "The disk is nearly full, or has few inodes left: a node that cannot write its log stops.",
    "free some space, or remove some files where the inodes run out",
)
TIGHT = Flaw(
    "space.tight",
    Severity.WARNING,
    "There is less room than log, snapshots and recordings may take by the settings.",
    "make room, or lower snapshots.log_bytes_max, recorder.bytes_max or trace.bytes_max",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    own = evidence.own_name
    if evidence.config is not None and evidence.machine is not None:
        yield from _here(evidence.config, evidence.machine)
    low = {name for status in evidence.statuses for name in status.low_space}
    for name in sorted(low - ({own} if evidence.machine is not None else set())):
        status = evidence.status(name)
        left = "" if status is None else f": {human_bytes(status.disk.free_bytes)} are free, and " \
            f"{status.disk.free_files} files"  # fmt: skip
        yield FULL.at(name, f"its disk is nearly full{left}")


def _here(config: Config, machine: Machine) -> Iterator[Finding]:
    node, disk = config.node.name, machine.file_system
    path, free = machine.directory.path, disk.free_bytes
    if 0 <= disk.free_files < LOW_FILES:
        yield FULL.at(node, f"{disk.free_files} inodes are left on the file system of {path}")
    if free < 0:
        return
    if free < LOW_SEGMENTS * config.wal.segment_bytes:
        yield FULL.at(node, f"{human_bytes(free)} are free on the file system of {path}, less than "
                      f"{LOW_SEGMENTS} segments of the log")  # fmt: skip
    elif free < (missing := still_to_come(config, machine)):
        yield TIGHT.at(node, f"{human_bytes(free)} are free for {path}; log, snapshots and "
                       f"recordings may take {human_bytes(missing)} more")  # fmt: skip


def still_to_come(config: Config, machine: Machine) -> int:
    """How many bytes more the data directory may take by its settings, as large as the store is
    now."""
    most = LOG_TIMES * config.snapshots.log_bytes_max + LOW_SEGMENTS * config.wal.segment_bytes
    most += SNAPSHOTS * machine.directory.snapshot_bytes
    most += config.recorder.bytes_max if config.recorder.enabled else 0
    most += config.trace.bytes_max if config.trace.enabled else 0
    return max(0, most - machine.directory.held_bytes)


CHECK = Check(
    "space",
    "Space and inodes, against what the log, two snapshots and one that is written, and the "
    "recordings may take; of other nodes, whether they say that their disks are nearly full.",
    Needs.EITHER,
    (FULL, TIGHT),
    _look,
)
