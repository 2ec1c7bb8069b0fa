"""A load on one process, or shared out over several whose records are merged (``children.py``)."""

import math
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

from paxosctl.client.client import Client
from paxosctl.client.errors import NotSubmittedError, for_the_leader
from paxosctl.load.children import Progress, begin, children, collect, wait_ready
from paxosctl.load.generator import Generator, Target
from paxosctl.load.load import Load
from paxosctl.load.recorder import ProcessReport
from paxosctl.load.report import LoadReport, merge
from paxosd.core.client.cluster_info import ClusterInfo, Limits
from paxosd.core.status import NodeStatus
from paxosd.host.clock import clock_ns
from paxosd.wire.status import decode_status

TIMEOUT_MS = 30_000
CONNECTIONS_A_PROCESS = 500
RATE_A_PROCESS = 5000
"""Commands a second in requests of their own that one generator sends without being late."""
CORES_BESIDE = 4
"""Where the cluster may be on this machine, one generator for so many cores: the rest are its."""


def find_target(client: Client, *, stale: bool = False) -> Target:
    """Where a load goes, once a write has shown that there is a leader. ``stale``: reads go to all
    members that the leader hears. Raises ClientError."""
    leader = find_leader(client)
    status = _status_of(client, leader)
    members = {status.node: leader}
    members |= {name: each.client for name, each in status.peers.items() if each.reachable}
    readers = list(members.values()) if stale else [leader]
    limits = ClusterInfo.of_status(status).limits
    places = tuple(sorted(members.items()))
    return Target(leader, tuple(readers), limits, places, client.credentials)


def limits_at(client: Client, leader: str) -> Limits:
    """The limits of the leader. Raises ClientError."""
    return ClusterInfo.of_status(_status_of(client, leader)).limits


def _status_of(client: Client, leader: str) -> NodeStatus:
    with for_the_leader(leader, "a load goes straight to it"):
        return decode_status(client.status(leader))


def find_leader(client: Client) -> str:
    """The leader's endpoint, once a write has shown that there is one. Raises ClientError."""
    client.put(b"bench/warm-up", b"")
    leader = decode_status(client.status()).leader_client
    if not leader:
        raise NotSubmittedError("no_leader", "no leader is known; try again")
    return leader


def default_processes(load: Load) -> int:
    """How many generators a load gets: one for every CONNECTIONS_A_PROCESS connections or
    RATE_A_PROCESS commands a second, and no more than leave the cluster its cores if it is on this
    machine, too."""
    cores = len(os.sched_getaffinity(0))
    wanted = max(
        math.ceil(load.connections / CONNECTIONS_A_PROCESS),
        math.ceil(load.rate / max(1, load.per_frame) / RATE_A_PROCESS),
    )
    return max(1, min(wanted, cores // CORES_BESIDE, load.connections))


def run_load(
    target: Target,
    load: Load,
    timeout_ms: int = TIMEOUT_MS,
    *,
    processes: int = 1,
    on_progress: Progress = lambda _: None,
    on_begin: Callable[[], None] = lambda: None,
) -> LoadReport:
    """Run a load to its end. Raises ClientError if it cannot begin."""
    if processes == 1:
        generator = Generator(target, load, timeout_ms)
        generator.open()
        on_begin()
        part = generator.run(clock_ns(), lambda window: on_progress(window.count))
        return merge(load, [part])
    parts = [
        (target, load.share(place, processes), timeout_ms, place, processes)
        for place in range(processes)
    ]
    with children(_work, parts) as pipes:
        wait_ready(pipes)
        on_begin()
        begin(pipes)
        return merge(load, collect(pipes, ProcessReport, on_progress))


def _work(
    target: Target, load: Load, timeout_ms: int, place: int, of: int
) -> Callable[[Connection, int, Progress], ProcessReport]:
    """One child's part."""
    generator = Generator(target, load, timeout_ms, place=place, of=of)
    generator.open()
    return lambda _, begin_ns, on_progress: generator.run(
        begin_ns, lambda window: on_progress(window.count)
    )
