"""What the comparison measures: one row for each kind of load, the same for every system."""

from typing import NamedTuple

PUT, GET, STALE_GET, WATCH = "put", "get", "stale-get", "watch"
KILL, STOP = "kill", "stop"
LOAD, GAP = "load", "gap"
KEYS = 1000
FAILOVER_CLIENTS = 20


class Row(NamedTuple):
    """``clients``: commands under way at a time, or watchers. ``per_frame``: how many of them
    share a frame, where a client has such a thing. ``rate``: puts a second in an open loop, 0 for
    a closed loop."""

    name: str
    title: str
    operation: str
    clients: int
    connections: int
    per_frame: int = 1
    rate: int = 0
    value_bytes: int = 100

    @property
    def is_failover(self):
        """Whether the figure is a gap after the loss of the leader."""
        return self.operation in (KILL, STOP)

    @property
    def is_latency(self):
        """Whether less is better: the time of one command is what the row shows."""
        return self.clients == 1 or self.rate > 0 or self.operation == WATCH or self.is_failover


ROWS = (
    Row("put-1", "put, 1 client", PUT, 1, 1),
    Row("get-1", "linearizable get, 1 client", GET, 1, 1),
    Row("put-100", "put, 100 in flight, 10 connections, ten a frame", PUT, 100, 10, 10),
    Row("put-1000", "put, 1000 in flight, 100 connections, ten a frame", PUT, 1000, 100, 10),
    Row("put-1000c", "put, 1000 clients on 1000 connections", PUT, 1000, 1000),
    Row("get-1000c", "linearizable get, 1000 clients on 1000 connections", GET, 1000, 1000),
    Row("put-open", "put of 1 KB, open loop, 15,000/s", PUT, 1000, 100, 1, 15_000, 1024),
    Row("stale-get", "stale get, 1000 clients on 1000 connections", STALE_GET, 1000, 1000),
    Row("watch", "watch, 1000 watchers of one key", WATCH, 1000, 100),
    Row("kill", "leader killed (kill -9): no write for", KILL, FAILOVER_CLIENTS, FAILOVER_CLIENTS),
    Row("stop", "leader stopped (SIGSTOP): no write for", STOP, FAILOVER_CLIENTS, FAILOVER_CLIENTS),
)
FIRST = ("put-1", "get-1", "put-100", "put-1000", "put-1000c")
"""What is measured if nothing else is asked for."""


def named(table, names):
    """What has these names, in the order of ``table``; ``all`` is all of it. Raises ValueError that
    names what there is."""
    known = {each.name: each for each in table}
    if names == ["all"]:
        return list(table)
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ValueError(f"no such row: {', '.join(wrong)}; there are {', '.join(known)}")
    return [each for each in table if each.name in names]


def rows_of(names):
    """The rows of these names: see :func:`named`."""
    return named(ROWS, names)
