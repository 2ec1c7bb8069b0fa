"""What a load cost the nodes: processor, memory and syncs, from what each says of itself.

    sample ── the load ── sample ──► the difference of the two

Nodes count since their start, so nothing is reset, and nobody is asked while the load runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from paxosctl.client.client import Client
from paxosctl.client.credentials import Credentials
from paxosctl.client.errors import ClientError
from paxosd.core.status import NodeStatus
from paxosd.wire.status import decode_status

ANSWER_S = 2.0
"""How long a node may take: it may have died under the load, whose own time-out can be long."""


class NodeCost(NamedTuple):
    """Of one node, over the whole load and its warm-up. None: not known, ``message`` says why."""

    node: str
    cpu_percent: float | None = None
    """Of one core; more than 100: its threads ran at the same time."""
    rss_bytes: int | None = None
    """At the end."""
    syncs: int | None = None
    """Group commits: a write to the log and its fdatasync."""
    sync_p50_ms: float | None = None
    sync_p99_ms: float | None = None
    sync_max_ms: float | None = None
    """To an eighth: nodes count in buckets."""
    message: str = ""


Sample = Mapping[str, NodeStatus | str]
"""Node → its status, or why there is none."""


def sample(members: Iterable[tuple[str, str]], credentials: Credentials | None = None) -> Sample:
    """The status of each member now; ``members``: their names and client endpoints."""
    found: dict[str, NodeStatus | str] = {}
    for name, endpoint in members:
        try:
            with Client([endpoint], timeout_s=ANSWER_S, key=credentials) as client:
                found[name] = decode_status(client.status(endpoint))
        except ClientError as error:
            found[name] = str(error)
    return found


def costs(before: Sample, after: Sample) -> list[NodeCost]:
    """What happened between the two."""
    return [_cost(name, before[name], after[name]) for name in before]


def _cost(name: str, before: NodeStatus | str, after: NodeStatus | str) -> NodeCost:
    if isinstance(before, str) or isinstance(after, str):
        problem = before if isinstance(before, str) else after
        return NodeCost(name, message=f"it did not answer: {problem}")
    if before.run_id != after.run_id:
        return NodeCost(name, rss_bytes=after.rss_bytes, message="it was restarted meanwhile")
    passed_ms = after.uptime_ms - before.uptime_ms
    counts = {
        int(below_us): count - before.disk.sync_us_counts.get(below_us, 0)
        for below_us, count in after.disk.sync_us_counts.items()
    }
    known = after.cpu_ms > 0
    return NodeCost(
        name,
        cpu_percent=(
            round(100 * (after.cpu_ms - before.cpu_ms) / passed_ms, 1)
            if known and passed_ms > 0
            else None
        ),
        rss_bytes=after.rss_bytes,
        syncs=after.disk.syncs - before.disk.syncs,
        sync_p50_ms=quantile_ms(counts, 0.5),
        sync_p99_ms=quantile_ms(counts, 0.99),
        sync_max_ms=quantile_ms(counts, 1.0),
        message="" if known else "its version reports neither processor time nor times of syncs",
    )


def quantile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """The upper bound of the bucket, by its bound in microseconds, up to which there are so many;
    None if there are none."""
    total = sum(counts.values())
    seen = 0
    for below_us in sorted(counts):
        seen += counts[below_us]
        if total and seen >= share * total:
            return below_us / 1000
    return None


def cost_rows(nodes: Sequence[NodeCost]) -> list[str]:
    """A line for each node, for people."""
    lines = []
    for each in nodes:
        parts = []
        if each.cpu_percent is not None:
            parts.append(f"{each.cpu_percent:.0f} % CPU")
        if each.rss_bytes is not None:
            parts.append(f"{each.rss_bytes / (1 << 20):.0f} MiB")
        if each.syncs is not None:
            parts.append(f"{each.syncs} syncs of the log")
        if each.sync_p50_ms is not None:
            parts.append(f"p50 {each.sync_p50_ms:.2f} ms, p99 {each.sync_p99_ms:.2f} ms, "
                         f"max {each.sync_max_ms:.2f} ms")  # fmt: skip
        if each.message:
            parts.append(each.message)
        lines.append(f"{each.node}: {', '.join(parts)}")
    return lines
