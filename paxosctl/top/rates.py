"""What a node did between two looks at its status."""

from typing import NamedTuple

from paxosd.core.status import NodeStatus
from paxosd.host.bucket_counts import between, percentile_us

READS = ("requests.read", "requests.stale_read")


class Rates(NamedTuple):
    """A second, unless named otherwise. ``writes``: revisions that the node applied; ``reads`` and
    ``requests``: what clients asked this node for; ``cpu``: of one processor, 1.0 is all of it;
    ``sync_p99_us``: of the group commits meanwhile, None if there was none."""

    writes: float
    reads: float
    requests: float
    slots: float
    cpu: float
    syncs: float
    sync_p99_us: float | None


def rates(before: NodeStatus, after: NodeStatus, passed_s: float) -> Rates | None:
    """None: the process is another one, whose counts began anew, or no time has passed."""
    if before.run_id != after.run_id or passed_s <= 0:
        return None

    def counter(*names: str) -> float:
        more = sum(after.counters.get(n, 0) - before.counters.get(n, 0) for n in names)
        return max(0, more) / passed_s

    syncs = between(before.disk.sync_us_counts, after.disk.sync_us_counts)
    return Rates(
        writes=max(0, after.revision - before.revision) / passed_s,
        reads=counter(*READS),
        requests=counter("requests"),
        slots=max(0, after.applied - before.applied) / passed_s,
        cpu=max(0, after.cpu_ms - before.cpu_ms) / 1000 / passed_s,
        syncs=sum(syncs.values()) / passed_s,
        sync_p99_us=percentile_us(syncs, 0.99) if syncs else None,
    )
