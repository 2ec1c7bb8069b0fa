"""The log lines of the nodes: whether they get where they should."""

from collections.abc import Iterator

from paxosctl.cli.render import human_bytes
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.host.wording import counted

ROOM_BYTES_MIN = 100 << 20

DROPPED = Flaw(
    "logs.dropped",
    Severity.WARNING,
    "A node dropped lines of its log, because the disk or the reader of the log was too slow, or "
    "full.",
    "make room where the log of NODE is written, or read it faster; lower its level: paxosctl node "
    "log-level info",
)
ROOM = Flaw(
    "logs.room",
    Severity.WARNING,
    "The file system of the log file is nearly full: lines will be dropped.",
    "make room there, rotate the log (SIGHUP opens it anew), or set log.file to another disk",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    machine, config = evidence.machine, evidence.config
    if machine is not None and config is not None:
        free = machine.log_free_bytes
        if 0 <= free < ROOM_BYTES_MIN:
            where = f"where {config.log.file} is written"
            yield ROOM.at(evidence.own_name, f"{human_bytes(free)} are free {where}")
    for status in evidence.statuses:
        dropped = status.log.dropped if status.log is not None else 0
        if dropped:
            yield DROPPED.at(status.node, f"{status.node} dropped {counted(dropped, 'line')} of "
                             "its log since its start")  # fmt: skip


CHECK = Check(
    "logs",
    "Lines that were dropped, and the room for the log file of this node.",
    Needs.EITHER,
    (DROPPED, ROOM),
    _look,
)
