"""A disk that hangs: what waits for it is bounded in bytes, and nothing is lost."""

import pytest

from paxosd.replica import group_commit
from tests.sim.simple import make_cluster, run_for
from tests.sim.test_slow_link import Writer

VALUE_BYTES = 20_000
LIMIT_BYTES = 200_000
HANG_MS = 10_000.0


@pytest.mark.parametrize("of_leader", [False, True])
def test_a_log_takes_no_more_than_this(of_leader, monkeypatch):
    monkeypatch.setattr(group_commit, "LOG_WAITING_BYTES_MAX", LIMIT_BYTES)
    print("seed=9")
    cluster = make_cluster(9, segment_bytes=8 << 20)
    leader = cluster.elect()
    writer = Writer(cluster, leader)
    name = next(each for each in cluster.names if (each == leader) == of_leader)
    process = cluster.processes[name]
    process.set_sync_ms((HANG_MS, HANG_MS))
    most = 0
    began_ms = cluster.world.now_ms
    for number in range(100):
        # Nobody waits: a leader whose disk hangs may take no more.
        writer.number += 1
        writer.seq += 1
        writer.submit(number, VALUE_BYTES)
        run_for(cluster, 20)
        most = max(most, process.replica.wal.waiting_bytes)
    assert cluster.world.now_ms - began_ms < HANG_MS
    assert LIMIT_BYTES < most < LIMIT_BYTES + 10 * VALUE_BYTES
    process.set_sync_ms((0.3, 1.5))
    assert cluster.run_until(lambda: writer.seq in writer.done, 60_000)
    assert cluster.run_until(lambda: len(set(cluster.applied())) == 1, 60_000)
