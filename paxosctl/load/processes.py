"""A load on one process, or shared out over several whose records are merged.

    parent ── (target, load, place) ──► child    connects, opens its sessions
           ◄─ "ready" ─────────────────
           ── begin_ns ───────────────►          all begin at the same time of the monotonic clock
           ◄─ a number ────────────────          each second: how many commands it acknowledged
           ◄─ ProcessReport ───────────

Processes are spawned, so that nothing of the parent's sockets comes along. A child that cannot
begin sends the error instead of "ready"; the parent then ends the others.
"""

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from paxosctl.client.client import Client
from paxosctl.client.errors import (
    ClientError,
    NotSubmittedError,
    RefusedError,
    for_the_leader,
)
from paxosctl.load.generator import Generator, Target
from paxosctl.load.load import Load
from paxosctl.load.recorder import ProcessReport
from paxosctl.load.report import LoadReport, merge
from paxosd.core.client.cluster_info import ClusterInfo, Limits
from paxosd.core.status import NodeStatus
from paxosd.host.clock import clock_ns
from paxosd.wire.status import decode_status

TIMEOUT_MS = 30_000
BEGIN_S = 0.05
"""From the last "ready" to the beginning."""
END_S = 10.0
"""How long an ended child may take to be gone."""
CONNECTIONS_A_PROCESS = 500
RATE_A_PROCESS = 5000
"""Commands a second in requests of their own that one generator sends without being late."""
CORES_BESIDE = 4
"""Where the cluster may be on this machine, one generator for so many cores: the rest are its."""

Progress = Callable[[int], None]
"""Called with how many more commands were acknowledged, about once a second."""


def find_target(client: Client, *, stale: bool = False) -> Target:
    """Where a load goes, once a write has shown that there is a leader. ``stale``: reads go to all
    members that the leader hears. Raises ClientError."""
    leader = find_leader(client)
    status = _status_of(client, leader)
    members = {status.node: leader}
    members |= {name: each.client for name, each in status.peers.items() if each.reachable}
    readers = list(members.values()) if stale else [leader]
    limits = ClusterInfo.of_status(status).limits
    return Target(leader, tuple(readers), limits, tuple(sorted(members.items())))


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
    with _children(target, load, timeout_ms, processes) as pipes:
        for pipe in pipes:
            _receive(pipe)
        on_begin()
        begin_ns = clock_ns() + int(BEGIN_S * 1e9)
        for pipe in pipes:
            pipe.send(begin_ns)
        return merge(load, _collect(pipes, on_progress))


def _collect(pipes: Sequence[Connection], on_progress: Progress) -> list[ProcessReport]:
    open_pipes, reports = list(pipes), []
    while open_pipes:
        for pipe in wait(open_pipes):
            assert isinstance(pipe, Connection)
            found = _receive(pipe)
            if isinstance(found, ProcessReport):
                reports.append(found)
                open_pipes.remove(pipe)
            else:
                assert isinstance(found, int)
                on_progress(found)
    return reports


class _Failure(NamedTuple):
    """A ClientError on its way to the parent."""

    code: str
    message: str
    is_refusal: bool


@contextmanager
def _children(
    target: Target, load: Load, timeout_ms: int, processes: int
) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    children, pipes = [], []
    try:
        for place in range(processes):
            own, other = context.Pipe()
            part = (target, load.share(place, processes), timeout_ms, place, processes)
            child = context.Process(target=_serve, args=(other, *part), daemon=True)
            child.start()
            other.close()
            children.append(child)
            pipes.append(own)
        yield pipes
    except BaseException:
        for child in children:
            child.terminate()
        raise
    finally:
        for pipe in pipes:
            pipe.close()
        for child in children:
            child.join(END_S)
            if child.is_alive():
                child.kill()
                child.join()


def _receive(pipe: Connection) -> object:
    """What a child sent. Raises its error, and NotSubmittedError if it has died."""
    try:
        found: object = pipe.recv()
    except EOFError:
        words = "a generator process ended without a report; see its message above"
        raise NotSubmittedError("generator_died", words) from None
    if isinstance(found, _Failure):
        kind = RefusedError if found.is_refusal else NotSubmittedError
        raise kind(found.code, found.message)
    return found


def _serve(
    pipe: Connection, target: Target, load: Load, timeout_ms: int, place: int, of: int
) -> None:
    """One child, from its start to its report."""
    # Ctrl-C reaches the whole group; the parent ends its children by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        generator = Generator(target, load, timeout_ms, place=place, of=of)
        generator.open()
    except ClientError as error:
        pipe.send(_Failure(error.code, str(error), isinstance(error, RefusedError)))
        return
    pipe.send("ready")
    try:
        begin_ns = pipe.recv()
        pipe.send(generator.run(begin_ns, lambda window: pipe.send(window.count)))
    except (EOFError, BrokenPipeError):
        return  # the parent has given up
