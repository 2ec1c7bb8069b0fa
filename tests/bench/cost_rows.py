"""What the cost model measures: groups of points, each a load on a cluster of a certain kind."""

from typing import NamedTuple

from tests.bench.compare_rows import named

STATE_SIZE = 100


class Point(NamedTuple):
    """``x``: where it stands on the group's axis. ``load``: fields of paxosctl.load.load.Load.
    ``nodes``: of the cluster. ``keys``: how many are there beforehand, made offline; 0: those of
    the load are written before."""

    x: int
    title: str
    load: dict
    nodes: int = 3
    keys: int = 0


class Group(NamedTuple):
    """Points of one table and plot. ``kind``: ``load``; ``stages``, with timers in the daemons;
    ``syscalls``, under strace; ``state``, the state machine alone in a process."""

    name: str
    title: str
    x_label: str
    kind: str
    points: tuple


def load_of(clients, *, connections=None, per_frame=1, size=100, keys=1000):
    """Puts in a closed loop."""
    return {
        "verb": "put", "clients": clients, "connections": connections or clients,
        "per_frame": per_frame, "outstanding": clients * per_frame, "size": size, "keys": keys,
    }  # fmt: skip


IN_FLIGHT = (
    Point(1, "1 client", load_of(1)),
    Point(100, "100 in flight, ten a frame", load_of(10, per_frame=10)),
    Point(1000, "1000 in flight, ten a frame", load_of(100, per_frame=10)),
    Point(1001, "1000 clients, one a frame", load_of(1000)),
)
"""Those of tests.bench.compare_rows."""

GROUPS = (
    Group("stages", "Where the time of a put goes", "in flight", "stages", IN_FLIGHT),
    Group("syscalls", "System calls of a put", "in flight", "syscalls",
          (IN_FLIGHT[0], IN_FLIGHT[2])),
    Group("clients", "More clients, each with one put under way", "clients", "load", tuple(
        Point(n, f"{n:,}", load_of(n)) for n in (1, 10, 100, 1000))),
    Group("values", "Larger values, 16 clients", "bytes of a value", "load", tuple(
        Point(n, f"{n:,} B", load_of(16, size=n)) for n in (16, 100, 1024, 4096, 16_384, 65_536))),
    Group("keys", "More keys, 100 clients", "keys", "load", (
        *(Point(n, f"{n:,}", load_of(100, keys=n)) for n in (1000, 10_000, 100_000)),
        Point(10**6, "1,000,000", load_of(100, keys=10**6), keys=10**6))),
    Group("nodes", "More nodes, 100 clients", "nodes", "load", tuple(
        Point(n, f"{n}", load_of(100), nodes=n) for n in (1, 3, 5, 7))),
    Group("state", "The state alone: decode and apply", "keys", "state", tuple(
        Point(10**n, f"{10**n:,}", {}) for n in range(3, 8))),
)  # fmt: skip


def groups_of(names):
    """The groups of these names, as :func:`tests.bench.compare_rows.named`."""
    return named(GROUPS, names)
