"""The figures of one measured run, and the arithmetic over several: medians and their ratios.

Runs alternate, so that what else the machine does meets both systems alike; the ratio of medians is
compared, because single runs are noisy on a machine that others use.
"""

import statistics
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. ``ops``: acknowledged commands in ``elapsed_s``; the latencies are of commands, or
    of frames that carry several. ``gap_ms``: the longest time in which no client got an
    acknowledgement; ``client_gap_ms``: in which one of them did not."""

    ops: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    errors: int = 0
    generator_cpu_s: float = 0.0
    gap_ms: float = 0.0
    client_gap_ms: float = 0.0
    cpu_s: dict = field(default_factory=dict)
    """Node → processor time in the measured part, in seconds."""
    rss_bytes: dict = field(default_factory=dict)
    leader: str = ""

    @classmethod
    def of_json(cls, found):
        """Those of a load generator's JSON object; fields that are not known are left out."""
        return cls(**{name: found[name] for name in cls.__slots__ if name in found})

    def with_nodes(self, cpu_s, leader, rss_bytes):
        """The same, with what the nodes used."""
        return replace(self, cpu_s=cpu_s, leader=leader, rss_bytes=rss_bytes)

    @property
    def per_s(self):
        """Acknowledged commands in a second."""
        return self.ops / self.elapsed_s if self.elapsed_s else 0.0

    def cpu_us_per_op(self, node):
        """Processor time of one node for one command, in microseconds."""
        return self.cpu_s.get(node, 0.0) * 1e6 / self.ops if self.ops else 0.0

    @property
    def leader_us(self):
        """Processor time of the leader for one command, in microseconds."""
        return self.cpu_us_per_op(self.leader)

    @property
    def follower_us(self):
        """Processor time of a follower for one command, the mean of both, in microseconds."""
        others = [self.cpu_us_per_op(node) for node in self.cpu_s if node != self.leader]
        return sum(others) / len(others) if others else 0.0

    def as_json(self):
        """A JSON object of all of it."""
        return asdict(self) | {
            "per_s": round(self.per_s, 1),
            "leader_us_per_op": round(self.leader_us, 1),
            "follower_us_per_op": round(self.follower_us, 1),
        }


def metric_of(row):
    """The name of the property of Figures by which the systems are compared in this row."""
    if row.is_failover:
        return "gap_ms"
    return "p50_ms" if row.is_latency else "per_s"


def median_of(runs, metric):
    """The median of one property over several runs; None without runs."""
    return statistics.median(getattr(run, metric) for run in runs) if runs else None


def advantage(row, ours, theirs):
    """How many times better ours is than theirs, by the ratio of the medians of the row's metric:
    above 1, ours is better, whichever way the metric points. None if one was not measured, or
    measured nothing."""
    metric = metric_of(row)
    mine, other = median_of(ours, metric), median_of(theirs, metric)
    if not mine or not other:
        return None
    return other / mine if row.is_latency else mine / other


def extremes(runs, metric):
    """(least, most) of one property over several runs."""
    values = [getattr(run, metric) for run in runs]
    return min(values), max(values)
