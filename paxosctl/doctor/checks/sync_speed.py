"""How long the disks take to make a write durable, which every acknowledged write waits for."""

from collections.abc import Iterator, Sequence
from statistics import median

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.core.status import NodeStatus
from paxosd.host.bucket_counts import percentile_us
from paxosd.storage.health import (
    SLOW_MEDIAN_MS,
    SLOW_MS,
    SLOWER_THAN_OTHERS_MS,
    SLOWER_THAN_OTHERS_TIMES,
)

SYNCS_MIN = 20
"""Fewer say little."""
REMEDY = (
    "a disk with a write cache that survives a power cut (an SSD for servers), or fewer others on "
    "it; node NODE may follow with it, but should not be the one that a majority needs"
)

SLOW = Flaw(
    "fsync.slow",
    Severity.ERROR,
    f"A group commit takes {SLOW_MEDIAN_MS:.0f} ms in the median: so long every write waits that "
    "needs this node.",
    REMEDY,
)
TAIL = Flaw(
    "fsync.tail",
    Severity.WARNING,
    f"One in a hundred group commits takes {SLOW_MS:.0f} ms or more, a large part of an election "
    "timeout.",
    REMEDY,
)
ODD = Flaw(
    "fsync.odd",
    Severity.WARNING,
    f"The disk of one node is {SLOWER_THAN_OTHERS_TIMES:.0f} times slower than those of the "
    f"others, at {SLOWER_THAN_OTHERS_MS:.0f} ms or more.",
    REMEDY,
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    machine = evidence.machine
    if machine is not None and not evidence.is_running and machine.syncs_us:
        yield from _measured(evidence.own_name, sorted(machine.syncs_us))
    for status in evidence.statuses:
        yield from _reported(status, evidence.statuses)


def _measured(node: str, times_us: Sequence[int]) -> Iterator[Finding]:
    middle_us = median(times_us)
    tail_us = times_us[min(len(times_us) - 1, len(times_us) * 99 // 100)]
    yield from _judge(node, middle_us, tail_us, f"measured now, {len(times_us)} writes")


def _reported(status: NodeStatus, statuses: Sequence[NodeStatus]) -> Iterator[Finding]:
    disk = status.disk
    if disk.syncs < SYNCS_MIN:
        return
    tail_us = percentile_us(disk.sync_us_counts, 0.99)
    found = list(_judge(status.node, disk.sync_us_median, tail_us, "by its own word"))
    yield from found
    others = [each.disk.sync_us_median for each in statuses
              if each is not status and each.disk.syncs >= SYNCS_MIN]  # fmt: skip
    if others and not any(each.flaw == SLOW.id for each in found):
        usual_us = median(others)
        times = disk.sync_us_median / max(1.0, usual_us)
        if (
            disk.sync_us_median >= SLOWER_THAN_OTHERS_MS * 1000
            and times >= SLOWER_THAN_OTHERS_TIMES
        ):
            yield ODD.at(status.node, f"its disk takes {disk.sync_us_median / 1000:.1f} ms for a "
                         f"group commit, those of the others {usual_us / 1000:.1f} ms")  # fmt: skip


def _judge(node: str, middle_us: float, tail_us: float, how: str) -> Iterator[Finding]:
    if middle_us >= SLOW_MEDIAN_MS * 1000:
        yield SLOW.at(node, f"a group commit takes {middle_us / 1000:.1f} ms in the median ({how})")
    elif tail_us >= SLOW_MS * 1000:
        yield TAIL.at(node, f"one group commit in a hundred takes {tail_us / 1000:.0f} ms or more "
                      f"({how})")  # fmt: skip


CHECK = Check(
    "fsync",
    "How long fdatasync takes: of a running node by its own counts since the start, before that "
    "measured in the data directory with 4 KiB a write, for at most a second.",
    Needs.EITHER,
    (SLOW, TAIL, ODD),
    _look,
)
