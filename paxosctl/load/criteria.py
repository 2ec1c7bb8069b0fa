"""Whether a cluster carries a load of a given size: the loads and the rules of ``check perf``.

Loads and limits are those of ``etcdctl check perf`` (etcdctl/ctlv3/command/check.go of etcd 3.5):
writes of 1 KiB at a given rate by many clients, of which 90 % must be carried out, none in more
than half a second, with a standard deviation of at most a tenth. Here latencies count from when a
write was due, which is stricter: a stall meets all writes that are due in it.
"""

from typing import NamedTuple

from paxosctl.load.load import Load
from paxosctl.load.report import LoadReport

VALUE_BYTES = 1024
KEYS = 10_000
WARMUP_MS = 1000
DURATION_MS = 60_000
THROUGHPUT_SHARE_MIN = 0.9
SLOWEST_MS_MAX = 500.0
DEVIATION_MS_MAX = 100.0


class Size(NamedTuple):
    """A size of a cluster: ``rate`` writes a second of ``clients`` clients."""

    clients: int
    rate: int


SIZES = {"s": Size(50, 150), "m": Size(200, 1000), "l": Size(500, 8000), "xl": Size(1000, 15_000)}


class Check(NamedTuple):
    """One criterion: ``value`` was found, ``limit`` is the least or the most."""

    check: str
    ok: bool
    value: float
    limit: float
    message: str


def load_of_size(size: str, duration_ms: int) -> Load:
    """The load of a key of SIZES."""
    clients, rate = SIZES[size]
    return Load(
        outstanding=clients,
        connections=clients,
        clients=clients,
        per_frame=1,
        size=VALUE_BYTES,
        keys=KEYS,
        rate=float(rate),
        duration_ms=duration_ms,
        warmup_ms=WARMUP_MS,
    )


def judge(report: LoadReport) -> list[Check]:
    """All criteria, in the order in which they are shown."""
    least = report.load.rate * THROUGHPUT_SHARE_MIN
    slowest_ms = report.total.quantile_ms(1.0)
    deviation_ms = report.total.deviation_ms
    return [
        Check(
            "errors", not report.failed, report.failed_count, 0,
            f"{report.failed_count} writes failed"
            + (f"; the first: {report.first_error}" if report.first_error else ""),
        ),
        Check(
            "throughput", report.per_s >= least, round(report.per_s, 1), least,
            f"Throughput is {report.per_s:,.1f} writes/s, of {report.load.rate:,.0f} asked for; "
            f"at least {least:,.0f} are needed",
        ),
        Check(
            "slowest", 0 < slowest_ms <= SLOWEST_MS_MAX, round(slowest_ms, 3), SLOWEST_MS_MAX,
            f"The slowest request took {slowest_ms:,.1f} ms; it may take {SLOWEST_MS_MAX:.0f}",
        ),
        Check(
            "deviation", bool(slowest_ms) and deviation_ms <= DEVIATION_MS_MAX,
            round(deviation_ms, 3), DEVIATION_MS_MAX,
            f"The standard deviation is {deviation_ms:,.1f} ms; it may be {DEVIATION_MS_MAX:.0f}",
        ),
    ]  # fmt: skip
