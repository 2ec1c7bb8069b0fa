"""The checks that follow the heal: nothing hangs, and the cluster comes to rest.

Every operation ends, a new one succeeds on each client, all nodes catch up, a leader stays, the
feature level is raised, and log time passes. A breach raises Violation.
"""

from collections.abc import Callable, Sequence
from operator import lt

from paxosd.check.history import UNKNOWN, Operation
from paxosd.core.client.watch_effects import WatchOptions
from paxosd.sim.cluster.clients import SimClient
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.lease_holder import LeaseHolder
from paxosd.sim.cluster.lock_client import LockClient
from paxosd.sim.cluster.rights_client import RightsClient
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watchers import SimWatcher
from paxosd.sim.nemesis.changes import Operator
from paxosd.sim.nemesis.rights import RightsAdmin

IDLE_LIMIT_MS = 60_000.0
"""Each operation has a deadline, and an outcome query after it has another: all end within this."""
PROBE_LIMIT_MS = 20_000.0
PROBE_TIMEOUT_MS = 15_000
"""Longer than the clients' own timeouts: an election may still be due when all is healed."""
CATCH_UP_LIMIT_MS = 30_000.0
CALM_MS = 3_000.0
CALM_TRIES = 4
LOG_TIME_RATE_MIN = 0.5
"""The least rate of log time, however far a clock drifts."""
REIGNS_AFTER_HEAL_MAX = 12
LEASES_LIMIT_MS = 60_000.0
LOCKS_LIMIT_MS = 300_000.0
"""Each of a few clients holds it once more, for some TTLs of at most 20 s."""
RIGHTS_LIMIT_MS = 30_000.0
RIGHTS_LOOK_MS = 500.0
REJOIN_MS = 500.0
REJOIN_TRIES = 120


class LivenessChecks:
    """The checks of one run. Make it at the heal: reigns are counted from then on."""

    def __init__(
        self,
        cluster: SimCluster,
        operator: Operator,
        clients: list[SimClient],
        watchers: list[SimWatcher],
        level: int,
        holders: Sequence[LeaseHolder] = (),
        lockers: Sequence[LockClient] = (),
        transactors: Sequence[SimClient] = (),
    ) -> None:
        """``operator``: lets nodes rejoin. ``level``: the feature level that must be reached; 0 if
        levels are not used."""
        self._cluster = cluster
        self._operator = operator
        self._clients = clients
        self._watchers = watchers
        self._level = level
        self._holders = holders
        self._lockers = lockers
        self._transactors = transactors
        self._reigns = len(cluster.invariants.leaders)

    def check(self) -> None:
        """Let time pass until everything has ended and caught up. Raises Violation."""
        cluster = self._cluster
        self._restore_memory()
        for process in cluster.processes.values():
            away = process.idle or process.removed
            if not process.up and not away and not process.damaged:
                raise Violation("stays-down", f"{process.name} does not start: {process.failure}")
        self._check_writes()
        self._wait("operations have not ended", IDLE_LIMIT_MS, self._all_idle)
        for client in self._clients:
            client.read_all()
        cluster.world.run_until(cluster.world.now_ms + 50.0)
        self._wait("reads have not ended", PROBE_LIMIT_MS, self._all_idle)
        self._wait("the nodes do not catch up", CATCH_UP_LIMIT_MS, self._all_equal)
        # A watcher may try all the nodes whose state is old before it comes to the one that is
        # up to date.
        stale_ms = WatchOptions().stale_max_ms + WatchOptions().stale_grace_ms
        self._wait(
            "a watch does not catch up",
            CATCH_UP_LIMIT_MS + len(cluster.processes) * stale_ms,
            lambda: all(watcher.caught_up for watcher in self._watchers),
        )
        self._check_calm()
        self._wait(
            "who waits for the lock does not get it",
            LOCKS_LIMIT_MS,
            lambda: all(locker.idle for locker in self._lockers),
        )
        self._wait(
            "transactions have not ended",
            IDLE_LIMIT_MS,
            lambda: all(transactor.idle for transactor in self._transactors),
        )
        if self._holders:  # what was granted before has ended by now, with what was written since
            self._holders[0].leave_one()
        if self._holders or self._lockers:
            self._wait("leases do not end", LEASES_LIMIT_MS, self._no_leases)

    def check_rights(self, admin: RightsAdmin, clients: Sequence[RightsClient]) -> None:
        """Once each has its rights again, each can write what is its own. Raises Violation."""
        world = self._cluster.world
        until_ms = world.now_ms + RIGHTS_LIMIT_MS
        while not admin.restored():
            if world.now_ms > until_ms:
                raise Violation("liveness", "rights are not restored after the heal")
            world.run_until(world.now_ms + RIGHTS_LOOK_MS)
        before = [client.succeeded for client in clients]
        for client in clients:
            client.begin_again()
            client.ask_once()
        self._wait(
            "a client that has its rights again cannot write",
            RIGHTS_LIMIT_MS,
            lambda: all(map(lt, before, [client.succeeded for client in clients])),
        )

    def _no_leases(self) -> bool:
        """Nobody writes: it is the leader that lets log time pass. Who is no member any more may
        never hear of it."""
        quiet = all(holder.idle for holder in self._holders)
        return quiet and not any(each.machine.leases.table for each in self._cluster.members())

    def _check_writes(self) -> None:
        """A write that a client begins now succeeds."""
        probes = self._probe(self._clients)
        # A clock that jumped past the life of sessions may have ended the session in which a first
        # write began. Then its outcome is truly unknown, and the next write must succeed.
        failed = [
            client
            for client, probe in zip(self._clients, probes, strict=True)
            if probe.outcome == UNKNOWN
        ]
        probes = [probe for probe in probes if probe.outcome != UNKNOWN] + self._probe(failed)
        for probe in probes:
            if not probe.acknowledged:
                raise Violation("liveness", f"a write after the heal did not succeed: {probe}")

    def _probe(self, clients: list[SimClient]) -> list[Operation]:
        """One write of each, to its end."""
        probes = [client.probe(PROBE_TIMEOUT_MS) for client in clients]
        self._wait(
            "a write begun after the heal has not ended",
            PROBE_LIMIT_MS,
            lambda: all(probe.returned >= 0 for probe in probes),
        )
        return probes

    def _restore_memory(self) -> None:
        """Let each node that lost its memory rejoin, as an operator does who sees it."""
        cluster = self._cluster
        for _ in range(REJOIN_TRIES):
            forgetful = [each for each in cluster.members() if each.node.forgetful]
            if not forgetful:
                return
            self._operator.rejoin(forgetful[0].name)
            cluster.world.run_until(cluster.world.now_ms + REJOIN_MS)
        names = ", ".join(each.name for each in forgetful)
        raise Violation("liveness", f"{names} cannot rejoin")

    def _check_calm(self) -> None:
        """A leader stays. Messages from before the heal may still arrive and end a reign, but they
        cannot end one reign after the other."""
        world, leaders = self._cluster.world, self._cluster.invariants.leaders
        for _ in range(CALM_TRIES):
            before = len(leaders)
            world.run_until(world.now_ms + CALM_MS)
            if len(leaders) == before:
                break
        else:
            raise Violation("liveness", "leaders still change long after all was healed")
        reigns = len(leaders) - self._reigns
        if reigns > REIGNS_AFTER_HEAL_MAX:
            raise Violation("liveness", f"{reigns} leaders after the heal")
        self._wait("the nodes do not catch up", CATCH_UP_LIMIT_MS, self._all_equal)

    def check_level(self) -> None:
        """The feature level was raised, and log time passes while there is a leader. Nothing to
        check at level 0. Raises Violation."""
        if not self._level:
            return
        # A node may have found out only since then that another directory votes in its name.
        self._restore_memory()
        cluster, world = self._cluster, self._cluster.world
        self._wait(
            "the feature level is not raised",
            IDLE_LIMIT_MS,
            lambda: cluster.invariants.level == self._level,
        )
        for _ in range(CALM_TRIES):
            times, reigns = [], len(cluster.invariants.leaders)
            for _ in range(2):
                world.run_until(world.now_ms + CALM_MS)
                self._probe(self._clients[:1])
                times.append(max(p.machine.log_time_ms for p in cluster.members()))
            self._wait("the nodes do not catch up", CATCH_UP_LIMIT_MS, self._all_equal)
            if times[1] - times[0] >= CALM_MS * LOG_TIME_RATE_MIN:
                return
            if len(cluster.invariants.leaders) == reigns:
                break
        raise Violation("log-time", f"log time stands still: {times} within {CALM_MS:g} ms")

    def _wait(self, what: str, limit_ms: float, condition: Callable[[], bool]) -> None:
        if not self._cluster.run_until(condition, limit_ms):
            roles = ", ".join(
                f"{p.name} {p.node.role if p.up else 'down'}"
                for p in self._cluster.processes.values()
            )
            raise Violation("liveness", f"{what} {limit_ms / 1000:g} s after the heal ({roles})")

    def _all_idle(self) -> bool:
        return all(client.idle for client in self._clients)

    def _all_equal(self) -> bool:
        cluster = self._cluster
        return cluster.agreed_leader() != "" and len(set(cluster.applied())) == 1
