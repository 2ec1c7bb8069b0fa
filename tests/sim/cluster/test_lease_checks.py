"""The checks of leases see what they are for; and a leader ends leases where nobody writes."""

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import GRANT, KEEPALIVE, OPEN, PUT, Entry, Reign
from paxosd.core.lease_bounds import FIRST_ID
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.lease_checks import LeaseChecks
from paxosd.sim.cluster.violation import Violation
from tests.core.cluster import Cluster
from tests.core.state.test_leases import LeaseLog


class Scene:
    """A log with one lease of 5 s, granted at 1 s, whose grant was sent at 0.9 s."""

    def __init__(self):
        self.now = 1000.0
        self.log = LeaseLog()
        self.checks = LeaseChecks(lambda: self.now, rate_max=1.0)
        self.lease = self.log.grant(5000)
        self.checks.on_applied(self.log.machine.applied, self.log.machine)

    def confirm(self, sent_ms):
        self.checks.renewed(self.lease, 5000, sent_ms)

    def end(self, at_ms, log_ms=9000):
        self.now = at_ms
        self.log.wait(log_ms)
        self.checks.on_applied(self.log.machine.applied, self.log.machine)


def test_an_end_in_time_is_right():
    scene = Scene()
    scene.confirm(900)
    scene.end(5900)
    assert scene.checks.expired == 1


def test_an_end_too_early_is_seen():
    scene = Scene()
    scene.confirm(900)
    with pytest.raises(Violation, match=r"lease: .* of 5000 ms ended in slot \d+, 4999 ms after"):
        scene.end(5899)


def test_so_it_is_if_the_renewal_is_confirmed_later():
    scene = Scene()
    scene.end(5899)
    with pytest.raises(Violation, match="lease"):
        scene.confirm(900)


def test_the_last_confirmed_renewal_counts():
    scene = Scene()
    scene.confirm(3000)
    scene.confirm(900)
    with pytest.raises(Violation, match="2999 ms after"):
        scene.end(5999)


def test_one_that_is_revoked_may_end_at_any_time():
    scene = Scene()
    scene.confirm(900)
    scene.checks.revoking(scene.lease)
    scene.end(1100)
    assert scene.checks.expired == 0


def test_runs_with_leases_keep_the_promise():
    for seed in (3, 9):
        report = run_seed(seed, RunOptions(duration_ms=8000, operations=120, holders=3))
        assert report.ok, report.violation
        assert report.leases > 10


class TestTicks:
    """Of real nodes: who lets log time pass."""

    def cluster(self):
        cluster = Cluster(3)
        leader = cluster.elect()
        level = ClusterSettings(level=LEVEL_COORDINATION)
        cluster.submit(leader, level.to_entry(ClusterSettings(), 0))
        cluster.run(100)
        cluster.submit(leader, Entry(0, 1, 0, [[OPEN]]))
        cluster.run(100)
        put = [PUT, b"k", b"v", FIRST_ID]
        cluster.submit(leader, Entry(1, 1, 0, [[GRANT, 2000, 0], put]))
        cluster.run(100)
        return cluster, leader

    def leases(self, cluster):
        return [len(member.machine.leases) for member in cluster.up()]

    def test_a_lease_ends_where_nobody_writes(self):
        cluster, _ = self.cluster()
        cluster.run(1500)
        assert self.leases(cluster) == [1, 1, 1]
        cluster.run(800)
        assert self.leases(cluster) == [0, 0, 0]
        assert all(not len(member.machine.store) for member in cluster.up())
        cluster.check_equal()

    def test_few_batches_are_made_for_it(self):
        cluster, leader = self.cluster()
        before = cluster.members[leader].machine.applied
        cluster.run(10_000)
        assert cluster.members[leader].machine.applied - before <= 2

    def test_without_leases_none_are(self):
        cluster, leader = self.cluster()
        cluster.run(3000)
        before = cluster.members[leader].machine.applied
        cluster.run(30_000)
        assert cluster.members[leader].machine.applied == before

    def test_a_new_leader_starts_the_stopwatch_and_goes_on(self):
        cluster, leader = self.cluster()
        cluster.submit(leader, Entry(1, 3, 0, [[KEEPALIVE, [FIRST_ID]]]))
        cluster.run(100)
        cluster.crash(leader)
        cluster.run_until(lambda: self.leases(cluster) == [0, 0], 10_000)
        machine = cluster.up()[0].machine
        assert machine.clock.reign > Reign(*cluster.members[leader].machine.clock.reign)
