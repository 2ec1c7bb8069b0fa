"""Whether the nodes save their state in time: without snapshots the log grows, and a restart reads
all of it."""

from collections.abc import Iterator

from paxosctl.cli.render import human_bytes
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.config.schema import SnapshotsConfig
from paxosd.core.status import NodeStatus

TIMES = 3
"""Nodes wait up to a third longer than slots_max, and begin then; so late is too late."""

AWAY = Flaw(
    "snapshots.away",
    Severity.WARNING,
    "A node has applied several times as many slots since its last snapshot as its settings allow: "
    "the log is not given back.",
    "look at the room on its disk and for snapshot lines in the log of NODE; take one by hand: "
    "paxosctl snapshot save FILE",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    for status in evidence.statuses:
        own = evidence.config if status.node == evidence.own_name else None
        settings = own.snapshots if own is not None else SnapshotsConfig()
        words = _late(status, settings)
        if words:
            whose = "its settings" if own is not None else "the default settings"
            yield AWAY.at(status.node, f"{words} ({whose} have a snapshot each "
                          f"{settings.slots_max} slots)")  # fmt: skip


def _late(status: NodeStatus, settings: SnapshotsConfig) -> str:
    if status.snapshot is None or status.snapshot.running:
        return ""
    slot = status.snapshot.slot
    behind = status.applied - slot
    if behind <= TIMES * settings.slots_max:
        return ""
    last = f"its last snapshot is {behind} slots old" if slot else "it has no snapshot"
    return f"{last}, and its log has {human_bytes(status.disk.wal_bytes)}"


CHECK = Check(
    "snapshots",
    "How many slots were applied since each node's last snapshot. The settings of other nodes are "
    "not known, so that the defaults stand for them.",
    Needs.ANSWER,
    (AWAY,),
    _look,
)
