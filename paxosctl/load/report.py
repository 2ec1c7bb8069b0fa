"""What a load found, put together from the records of its processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from paxosctl.load.latencies import Latencies
from paxosctl.load.load import Load
from paxosctl.load.recorder import FirstError, ProcessReport, Window

BUSY_SHARE = 0.9
"""Of a processor: a thread that needs more is at its own limit. The rest are short sleeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """What ended in one second."""

    at_s: int
    operations: int
    failed: int
    refused: int
    latencies: Latencies


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """``latencies``: of the commands that were acknowledged, by verb. ``failed``: of the rest, by
    the code of the failure. ``refused``: how often a command was refused and sent again, by code;
    its latency counts from the first time."""

    load: Load
    elapsed_ns: int
    """Of the measured time: from the end of the warm-up to its own end, or to the last answer."""
    latencies: Mapping[str, Latencies]
    windows: Sequence[WindowReport]
    failed: Mapping[str, int]
    refused: Mapping[str, int]
    unknown: bool
    """Whether the outcome of some of them is unknown."""
    first_error: FirstError | None
    unsent: int
    """Of an open loop: commands for which no client was free before the end. They are in no
    latency; each would have been later than the last that was sent."""
    processes: int
    cpu_shares: Sequence[float]
    """Of each process: which share of the time its generator ran."""
    delay_shares: Sequence[float] = field(default=())
    """Of each process: which share of the time it was ready to run and had no processor."""

    @cached_property
    def total(self) -> Latencies:
        """Of all verbs."""
        if len(self.latencies) == 1:
            return next(iter(self.latencies.values()))
        total = Latencies()
        for each in self.latencies.values():
            total.add(each.pack())
        return total

    @property
    def operations(self) -> int:
        """Acknowledged commands."""
        return sum(each.count for each in self.latencies.values())

    @property
    def per_s(self) -> float:
        """Acknowledged commands in a second."""
        return self.operations / (self.elapsed_ns / 1e9)

    @property
    def generator_bound(self) -> bool:
        """Whether a generator had no time left, so that this measures it and not the cluster."""
        return sum(self.busiest) > BUSY_SHARE

    @property
    def busiest(self) -> tuple[float, float]:
        """Of the busiest process: for which share of the time it ran, and had to wait to run."""
        shares = zip(self.cpu_shares, self.delay_shares, strict=True)
        return max(shares, key=sum, default=(0.0, 0.0))

    @property
    def failed_count(self) -> int:
        """Commands without an acknowledgement."""
        return sum(self.failed.values())

    @property
    def refused_count(self) -> int:
        """How often a command was refused, and sent again."""
        return sum(self.refused.values())


def merge(load: Load, parts: Sequence[ProcessReport]) -> LoadReport:
    """One report of all processes' records."""
    measured_ns = min(part.measured_ns for part in parts)
    elapsed_ns = max(1, max(part.ended_ns for part in parts) - measured_ns)
    latencies: dict[str, Latencies] = {}
    failed: dict[str, int] = {}
    refused: dict[str, int] = {}
    by_second: dict[int, list[Window]] = {}
    for part in parts:
        for code, count in part.failed.items():
            failed[code] = failed.get(code, 0) + count
        for code, count in part.refused.items():
            refused[code] = refused.get(code, 0) + count
        for window in part.windows:
            by_second.setdefault(window.second, []).append(window)
            for verb, packed in window.latencies.items():
                latencies.setdefault(verb, Latencies()).add(packed)
    return LoadReport(
        load=load,
        elapsed_ns=elapsed_ns,
        latencies=latencies,
        windows=[_window(second, by_second[second]) for second in sorted(by_second)],
        failed=failed,
        refused=refused,
        unknown=any(part.unknown for part in parts),
        first_error=next((each.first_error for each in parts if each.first_error), None),
        unsent=sum(part.unsent for part in parts),
        processes=len(parts),
        cpu_shares=[part.cpu_ns / elapsed_ns for part in parts],
        delay_shares=[part.delayed_ns / elapsed_ns for part in parts],
    )


def _window(second: int, windows: Sequence[Window]) -> WindowReport:
    latencies = Latencies()
    for window in windows:
        for packed in window.latencies.values():
            latencies.add(packed)
    return WindowReport(
        at_s=second,
        operations=latencies.count,
        failed=sum(window.failed for window in windows),
        refused=sum(window.refused for window in windows),
        latencies=latencies,
    )
