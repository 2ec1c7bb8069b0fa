"""Two scenes of time that runs wrong, each of which needs more than what a seed draws in a while.

    run_scene(seed, "slow_holder")     raises Violation if a checker sees one; see SCENES

Their checkers are those of every simulated run: ``lock_checks.py``, ``lease_checks.py`` and
``clock_checks.py`` of ``paxosd/sim/cluster``.
"""

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.lease_bounds import DRIFT_PPM_MAX
from paxosd.sim.cluster.lock_checks import LockChecks
from paxosd.sim.cluster.lock_client import LockClient, LockWork
from tests.sim.simple import make_client, make_cluster, rule, run_for, write

LONG_TTL_MS = 300_000
"""Two clocks at the bounds of their drift are 0.3 s apart after this time; a lease ends up to 0.1 s
later than it may."""
REIGN_MS = 9000
"""How long the old leader has led before it is stopped."""


class Contender(LockClient):
    """Wants the lock once, and keeps it. Its clock runs wrong by ``drift_ppm``."""

    def __init__(self, cluster, name, checks, drift_ppm):
        super().__init__(cluster, name, LockWork((LONG_TTL_MS,), 1.0), checks)
        self._clock.drift(drift_ppm)

    def _acquired(self):
        self.checks.on_acquired(self.name, self._lock.token)

    def _pause(self):
        """It always runs: only then must it know before others do."""

    def cut_off(self):
        """From now on nothing that it sends arrives, and nothing reaches it."""
        self._network.forget_client(self.id)


def _newest_cluster(seed, records):
    """Three nodes at the latest feature level, with a leader."""
    cluster = make_cluster(seed, records=records)
    for name in cluster.names:
        cluster.run_program(name, LEVEL_LATEST)
    cluster.elect()
    assert cluster.run_until(lambda: cluster.invariants.level == LEVEL_LATEST, 10_000)
    run_for(cluster, 500)
    assert cluster.agreed_leader()
    return cluster


def slow_holder(cluster):
    """Who holds a lock has a slow clock, and nobody hears it any more; the leader's clock is fast.
    Another waits for the lock, and has it as soon as the lease has ended."""
    cluster.invariants.watch_leases(lambda: cluster.world.now_ms)
    leader = cluster.leader()
    for process in cluster.processes.values():
        process.clock.drift(DRIFT_PPM_MAX if process.name == leader else 0.0)
    checks = LockChecks(1)
    holder = Contender(cluster, "slow", checks, -DRIFT_PPM_MAX)
    waiter = Contender(cluster, "waits", checks, 0.0)
    holder.start()
    assert cluster.run_until(lambda: len(checks.acquired) == 1, 10_000)
    holder.cut_off()
    waiter.start()
    assert cluster.run_until(lambda: len(checks.acquired) == 2, 2 * LONG_TTL_MS)
    assert cluster.leader() == leader, "another leader starts the stopwatch anew"


def old_batches(cluster):
    """A leader of many seconds proposes two batches that nobody else gets, and is stopped. The next
    one has one batch of its own chosen in the slot of the first, and dies. The old one goes on, and
    what it adopts then is that batch and, behind it, the second of its own."""
    old = cluster.leader()
    writer, _ = make_client(cluster, "c1")
    write(cluster, writer)
    run_for(cluster, REIGN_MS)
    write(cluster, writer)
    rule(cluster, "", "drop", message_kinds=["accept"], **{"from": [old]})
    proposer = cluster.processes[old].node._context.proposer
    for name in ("lost-1", "lost-2"):
        _propose_and_die(cluster, name, proposer)
    cluster.pause(old)
    assert cluster.run_until(lambda: cluster.leader() not in ("", old), 10_000)
    write(cluster, writer)
    cluster.crash(cluster.leader())
    cluster.resume(old)
    assert cluster.run_until(cluster.leader, 10_000)
    write(cluster, writer)


def _propose_and_die(cluster, name, proposer):
    """A client has something proposed in a slot of its own, and asks for it never again."""
    client, _ = make_client(cluster, name)
    before = proposer.next_slot
    client.probe(60_000)
    assert cluster.run_until(lambda: proposer.next_slot > before, 5000)
    client._die()


SCENES = {each.__name__: each for each in (slow_holder, old_batches)}


def run_scene(seed, what, records=None):
    """One scene. ``records``: see ``run_seed``."""
    cluster = _newest_cluster(seed, records)
    try:
        SCENES[what](cluster)
    finally:
        if records is not None:
            records.write(cluster.processes.values())
