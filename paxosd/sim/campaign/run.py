"""One simulated run from one seed: trouble, then peace, then the books are checked.

    run_seed(7, RunOptions())  →  RunReport(ok=True, operations=…, …)

    safety phase    clients work while the nemesis follows its schedule
    heal            every fault ends; who was down comes back
    liveness phase  every operation ends, a new one succeeds on each client, all nodes catch up,
                    the leader stays
    final checks    linearizable, exactly once, nothing acknowledged is lost, no stale read is older
                    than it says

Half of the runs are watched: ``sim/cluster/watchers.py`` checks each change that is published.

The same seed and options give the same run. A schedule that is handed in takes the place of the
drawn one and changes no other draw; that is what shrinking relies on.
"""

import gc
import hashlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from paxosd.check.ages import AgeTold, check_ages
from paxosd.check.exactly_once import FinalRow, check_exactly_once
from paxosd.check.history import UNKNOWN, History, Operation
from paxosd.check.linearizability import check_linearizable
from paxosd.check.verdict import NOT_CHECKED, VIOLATION, Verdict
from paxosd.core.client.watch import WatchOptions
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.commands import KeyValue
from paxosd.core.requests import RANGE
from paxosd.core.types import NodeId
from paxosd.sim.cluster.clients import SimClient
from paxosd.sim.cluster.cluster import SimCluster, node_names
from paxosd.sim.cluster.invariants import Violation
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.cluster.stale_reader import StaleReader
from paxosd.sim.cluster.watchers import make_watchers
from paxosd.sim.nemesis.changes import draw_changes, draw_relics, draw_settings
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.limits import draw_limits
from paxosd.sim.nemesis.misuse import MISUSE_KINDS, draw_misuse, is_rolled_back
from paxosd.sim.nemesis.nemesis import KINDS, draw_clocks, draw_schedule
from paxosd.sim.nemesis.schedule import Schedule
from paxosd.sim.nemesis.shape import (
    draw_cluster,
    draw_level,
    limited,
    make_clients,
    summing,
    waiting,
)
from paxosd.sim.nemesis.tails import draw_tails
from paxosd.sim.world.disk import TAIL_KINDS
from paxosd.sim.world.frame_limits import SHARE, Sizes, draw_sizes
from paxosd.sim.world.trace import TAIL_LINES, Trace
from paxosd.sim.world.world import World
from paxosd.storage.disk import CorruptionError

START_MS = 300.0
"""When the clients begin: the nodes have come up, and perhaps elected."""
IDLE_LIMIT_MS = 60_000.0
"""Each operation has its deadline, an outcome query after it another: all end within this."""
PROBE_LIMIT_MS = 20_000.0
PROBE_TIMEOUT_MS = 15_000
"""However short the clients' patience: an election may still be due when all is healed."""
CATCH_UP_LIMIT_MS = 30_000.0
CALM_MS = 3_000.0
CALM_TRIES = 4
LOG_TIME_RATE_MIN = 0.5
"""Whatever a clock drifts."""
REIGNS_AFTER_HEAL_MAX = 12
SPARES = 2
"""Nodes that may join where the membership changes."""
GROWN_SHARE = 0.4
"""How many of the clusters whose membership changes begin with one node."""
REJOIN_MS = 500.0
REJOIN_TRIES = 120
_MEMORY_LOSS = frozenset({"bit-rot", "log-loss", "wipe", "rollback", "roll-back", *TAIL_KINDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a run is made of; times are virtual.

    ``faults``: the kinds that the nemesis may draw from (``nemesis.KINDS``); None: all of them,
    empty: none. ``operations``: about how many the clients do in ``duration_ms``.
    """

    nodes: int = 3
    duration_ms: int = 60_000
    faults: frozenset[str] | None = None
    clients: int = 4
    operations: int = 1000
    keys: int = 8
    stale_readers: int = 1
    """Clients that read stale, beside the others."""
    level: int = LEVEL_LATEST
    """What the nodes' programs understand, at the end at least: some runs begin with older ones."""
    members: bool = False
    """Whether an operator changes the membership meanwhile, in some runs from one node on; then no
    node loses its memory, but for the old machines that are started emptied
    (``sim/nemesis/changes.py``)."""
    grows: bool | None = None
    """Whether the cluster begins with one node, which founds it alone, and all others are spares;
    None: as the seed has it, where the membership changes."""
    watchers: int | None = None
    """How many watch; None: as the seed has it, none in half of the runs."""
    unequal_limits: bool | None = None
    """Whether some nodes take smaller messages than others, and values come near what they take;
    None: as the seed has it, in a few, where the membership does not change."""
    compare_wait_ms: float | None = None
    """How long who starts waits for all voters; None: as a configuration has it by default, or as
    long as it takes where a member is rolled back."""


@dataclass(slots=True, kw_only=True)
class RunReport:
    """How a run ended.

    ``violation``: "" if there was none, else "kind: what was seen". ``checked``: "ok", or
    "not checked" if the history was too hard to decide within bounds. ``operations`` were begun,
    ``acknowledged`` of them ended well, of ``unknown`` nobody can say. ``watched``: changes
    that watchers were handed. ``faults``: kind → how
    often it struck. ``simulated_ms`` and ``wall_s``: how long it took there and here.
    ``tail``: the last lines of the trace (empty if ok and no trace was asked for). ``digest``:
    of the whole trace if one was kept, else of the history and the final states.
    """

    seed: int
    ok: bool
    violation: str = ""
    checked: str = "ok"
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    watched: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    leader_changes: int = 0
    simulated_ms: float = 0.0
    wall_s: float = 0.0
    schedule: Schedule = field(default_factory=Schedule)
    tail: list[str] = field(default_factory=list)
    digest: str = ""


def run_seed(
    seed: int,
    options: RunOptions | None = None,
    *,
    schedule: Schedule | None = None,
    trace: Trace | None = None,
) -> RunReport:
    """Run one seed to its end and report. Raises nothing for what goes wrong in the run.

    A run that breaks a rule is run once more for its last lines, unless a trace is given."""
    options = options or RunOptions()
    report = _Run(seed, options, schedule, trace).report()
    if report.violation and trace is None:
        again = _Run(seed, options, report.schedule, Trace("tail")).report()
        report.tail = again.tail
    return report


class _Run:
    """One run under way."""

    def __init__(
        self, seed: int, options: RunOptions, schedule: Schedule | None, trace: Trace | None
    ) -> None:
        self._began_s = time.perf_counter()
        self._seed = seed
        self._options = options
        self._trace = trace
        world = self.world = World(seed)
        names = node_names(options.nodes + SPARES * options.members)
        sizes = _draw_sizes(world, options)
        if schedule is None:
            schedule = _draw(world, names, options, unequal=sizes is not None)
            if sizes is not None:
                limits = draw_limits(world.derive("limits/nodes"), names, options.duration_ms)
                schedule = Schedule([*limits, *schedule])
        self._schedule = schedule
        shape = draw_cluster(world.derive("shape"))
        grows = options.grows
        if grows is None:
            share = GROWN_SHARE if options.members and options.level else 0.0
            grows = world.derive("grown").random() < share
        count = 1 if grows else options.nodes
        first, spares = names[:count], names[count:]
        if any(is_rolled_back(each) for each in schedule):
            shape = waiting(shape, 10 * options.duration_ms)
        if options.compare_wait_ms is not None:
            shape = waiting(shape, options.compare_wait_ms)
        self._upgrades: dict[NodeId, float] = {}
        if options.level:
            shape = summing(world.derive("sums"), shape)
            shape, self._upgrades = draw_level(
                world.derive("level"), shape, names, options.duration_ms
            )
        shape = limited(shape, sizes)
        self.cluster = SimCluster(world, first, shape, trace, spares)
        older = world.derive("older").randrange(options.level) if options.level else 0
        for name in names:
            level = older if name in self._upgrades else options.level
            self.cluster.invariants.understood[name] = level
        self.history = History(lambda: int(world.now_ms * 1000))
        self.clients = make_clients(
            self.cluster,
            self.history,
            count=options.clients,
            operations=options.operations,
            keys=options.keys,
            duration_ms=options.duration_ms,
            sizes=sizes,
        )
        self.readers = [
            StaleReader(self.cluster, f"r{number + 1}", self.clients[0].options.keys)
            for number in range(options.stale_readers)
        ]
        self.watchers = make_watchers(
            self.cluster, world.derive("watch"), options.watchers, options.keys
        )
        self._director = Director(self.cluster)
        self._checked = "ok"

    def report(self) -> RunReport:
        """Carry it out, and say how it ended."""
        violation = ""
        collecting = gc.isenabled()
        gc.disable()  # almost nothing here is cyclic, and a run's end frees it as a whole
        try:
            self._carry_out()
        except Violation as breach:
            violation = str(breach)
        except Exception as error:  # noqa: BLE001 - whatever the product raises is a finding
            violation = f"exception: {type(error).__name__}: {error} at {_place(error)}"
        finally:
            if collecting:
                gc.enable()
        if violation:
            self.cluster.note("violation", text=violation)
        trace = self._trace
        counts = self.history.counts()
        return RunReport(
            seed=self._seed,
            ok=not violation,
            violation=violation,
            checked=self._checked,
            operations=len(self.history),
            acknowledged=counts["ok"],
            unknown=counts["unknown"],
            watched=sum(watcher.delivered for watcher in self.watchers),
            faults=self._faults(),
            leader_changes=max(0, len(self.cluster.invariants.leaders) - 1),
            simulated_ms=self.world.now_ms,
            wall_s=time.perf_counter() - self._began_s,
            schedule=self._schedule,
            tail=trace.lines()[-TAIL_LINES:] if trace is not None else [],
            digest=trace.digest() if trace is not None else self._digest(),
        )

    def _carry_out(self) -> None:
        world, cluster, options = self.world, self.cluster, self._options
        cluster.note("run.begins", seed=self._seed)
        cluster.start()
        self._director.follow(self._schedule)
        for name, at_ms in self._upgrades.items():
            world.at(at_ms, cluster.run_program, name, options.level)
        for client in [*self.clients, *self.readers]:
            world.at(START_MS, client.start)
        for watcher in self.watchers:
            world.at(START_MS, watcher.start)
        world.run_until(options.duration_ms)
        self._heal()
        self._check_liveness()
        self._check_end()
        if not cluster.invariants.chosen:
            raise Violation("nothing-chosen", "no value was chosen in the whole run")

    # -- liveness

    def _heal(self) -> None:
        self.cluster.note("run.heals")
        for client in self.clients:
            client.stop()
        self._director.heal()
        self._reigns = len(self.cluster.invariants.leaders)

    def _probe(self, clients: list[SimClient]) -> list[Operation]:
        """One write of each, to its end."""
        probes = [client.probe(PROBE_TIMEOUT_MS) for client in clients]
        self._wait("a write begun after the heal has not ended", PROBE_LIMIT_MS,
                   lambda: all(probe.returned >= 0 for probe in probes))  # fmt: skip
        return probes

    def _check_liveness(self) -> None:
        cluster = self.cluster
        self._restore_memory()
        for process in cluster.processes.values():
            away = process.idle or process.removed
            if not process.up and not away and not process.damaged:
                raise Violation("stays-down", f"{process.name} does not start: {process.failure}")
        probes = self._probe(self.clients)
        # A clock that jumped past the life of sessions may have ended the one that a first write
        # began in: then its outcome is truly unknown, and the next must succeed.
        failed = [
            c for c, probe in zip(self.clients, probes, strict=True) if probe.outcome == UNKNOWN
        ]
        probes = [probe for probe in probes if probe.outcome != UNKNOWN] + self._probe(failed)
        for probe in probes:
            if not probe.acknowledged:
                raise Violation("liveness", f"a write after the heal did not succeed: {probe}")
        self._wait("operations have not ended", IDLE_LIMIT_MS,
                   lambda: all(client.idle for client in self.clients))  # fmt: skip
        for client in self.clients:
            client.read_all()
        cluster.world.run_until(cluster.world.now_ms + 50.0)
        self._wait("reads have not ended", PROBE_LIMIT_MS,
                   lambda: all(client.idle for client in self.clients))  # fmt: skip
        self._wait("the nodes do not catch up", CATCH_UP_LIMIT_MS, self._all_equal)
        # It may come to the one node that is of the present after all that are of the past.
        stale_ms = WatchOptions().stale_max_ms + WatchOptions().stale_grace_ms
        self._wait("a watch does not catch up",
                   CATCH_UP_LIMIT_MS + len(cluster.processes) * stale_ms,
                   lambda: all(watcher.caught_up for watcher in self.watchers))  # fmt: skip
        self._check_calm()
        for reader in self.readers:
            reader.stop()
        if self._options.level:
            self._check_level()

    def _restore_memory(self) -> None:
        """Whoever lost its memory is let back in, as an operator does who sees it."""
        cluster = self.cluster
        for _ in range(REJOIN_TRIES):
            forgetful = [each for each in cluster.members() if each.node.forgetful]
            if not forgetful:
                return
            self._director.operator.rejoin(forgetful[0].name)
            cluster.world.run_until(cluster.world.now_ms + REJOIN_MS)
        names = ", ".join(each.name for each in forgetful)
        raise Violation("liveness", f"{names} cannot rejoin")

    def _check_calm(self) -> None:
        """A leader stays. Messages from before the heal may be late still, and cost one its
        reign, but not one after the other."""
        world, leaders = self.cluster.world, self.cluster.invariants.leaders
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

    def _check_level(self) -> None:
        """The level was raised, and log time passes while somebody leads."""
        self._restore_memory()  # of one that has found out since that another directory votes
        cluster, world = self.cluster, self.cluster.world
        self._wait("the feature level is not raised", IDLE_LIMIT_MS,
                   lambda: cluster.invariants.level == self._options.level)  # fmt: skip
        for _ in range(CALM_TRIES):
            times, reigns = [], len(cluster.invariants.leaders)
            for _ in range(2):
                world.run_until(world.now_ms + CALM_MS)
                self._probe(self.clients[:1])
                times.append(max(p.machine.log_time_ms for p in cluster.members()))
            self._wait("the nodes do not catch up", CATCH_UP_LIMIT_MS, self._all_equal)
            if times[1] - times[0] >= CALM_MS * LOG_TIME_RATE_MIN:
                return
            if len(cluster.invariants.leaders) == reigns:
                break
        raise Violation("log-time", f"log time stands still: {times} within {CALM_MS:g} ms")

    def _wait(self, what: str, limit_ms: float, condition: Callable[[], bool]) -> None:
        if not self.cluster.run_until(condition, limit_ms):
            roles = ", ".join(
                f"{p.name} {p.node.role if p.up else 'down'}"
                for p in self.cluster.processes.values()
            )
            raise Violation("liveness", f"{what} {limit_ms / 1000:g} s after the heal ({roles})")

    def _all_equal(self) -> bool:
        cluster = self.cluster
        return cluster.agreed_leader() != "" and len(set(cluster.applied())) == 1

    # -- the books

    def _check_end(self) -> None:
        invariants = self.cluster.invariants
        processes = self.cluster.members()
        for process in processes:
            wal = process.replica.wal
            for slot in range(wal.first_slot, process.node.applied + 1):
                try:
                    value = wal.read(slot)[1]
                except CorruptionError:
                    if process.damaged:
                        break  # found where it was put
                    raise
                invariants.check_log(process.name, slot, value)
        stores = {process.name: _rows(process) for process in processes}
        first = processes[0].name
        for name, rows in stores.items():
            if rows != stores[first]:
                raise Violation("equal-states", f"{name} and {first} hold different data")
        truth = invariants.watch
        if truth is not None:
            held = [(row.key, row.value, row.modify_revision) for row in stores[first]]
            if held != truth.rows(b"", b"", truth.revision):
                raise Violation("watch", "the changes do not make the data that there is")
        lasting = {row.key: row for row in stores[first]}
        final = {
            key: FinalRow(*lasting[key][1:]) if key in lasting else None
            for key in sorted({*lasting, *self.clients[0].options.keys})
        }
        self._judge(check_exactly_once(self.history, final))
        self._judge(check_linearizable(self.history, alone=True))
        self._judge(check_ages(self.history, self._ages()))

    def _ages(self) -> list[AgeTold]:
        """What nodes said about the age of their states, and what clients were told of it."""
        told = [each for process in self.cluster.processes.values() for each in process.ages]
        return told + [each for reader in self.readers for each in reader.told]

    def _judge(self, verdict: Verdict) -> None:
        if verdict.status == VIOLATION:
            raise Violation("history", verdict.explanation)
        if verdict.status == NOT_CHECKED:
            self._checked = "not checked"

    def _faults(self) -> dict[str, int]:
        found = dict(self._director.counts)
        sources = [self.cluster.network.counters, self.cluster.network.events.counters]
        for process in self.cluster.processes.values():
            process.collect_hits()
            sources.append(process.faults)
        for source in sources:
            for kind, count in source.items():
                found[kind] = found.get(kind, 0) + count
        return dict(sorted(found.items()))

    def _digest(self) -> str:
        """Of what the clients saw and what the nodes have become."""
        digest = hashlib.sha256()
        for op in self.history:
            told = (op.kind, op.key, op.value, op.invoked, op.returned, op.outcome, op.result)
            digest.update(repr(told).encode())
        chains = [(p.name, p.machine.applied, p.machine.chain) for p in self.cluster.up()]
        digest.update(repr((chains, self.world.events, self.world.now_ms)).encode())
        return digest.hexdigest()


def _draw_sizes(world: World, options: RunOptions) -> Sizes | None:
    """Of a run with unequal limits; None: it has none."""
    rng = world.derive("limits")
    drawn = rng.random() < SHARE
    unequal = options.unequal_limits
    if unequal is None:
        unequal = drawn and bool(options.level) and not options.members
    return draw_sizes(rng) if unequal else None


def _draw(
    world: World, names: list[NodeId], options: RunOptions, *, unequal: bool = False
) -> Schedule:
    """What goes wrong, and what an operator does meanwhile."""
    faults = options.faults
    if options.members or unequal:
        # Each lost memory costs tolerance for good: with voters that go, it could cost the quorum,
        # and so it could where of those that are left one cannot take what another has accepted.
        faults = (frozenset(KINDS) if faults is None else faults) - _MEMORY_LOSS
    drawn = draw_schedule(world.derive("nemesis"), names, options.duration_ms, faults)
    if options.level and (faults is None or "clock-skew" in faults):
        clocks = draw_clocks(world.derive("clocks"), names, options.duration_ms)
        drawn = Schedule([*drawn, *clocks])
    if options.level:
        drawn = Schedule([*drawn, *draw_settings(world.derive("settings"), options.duration_ms)])
    if not options.members:
        tails = world.derive("nemesis/tails")
        drawn = Schedule([*drawn, *draw_tails(tails, names, options.duration_ms, faults, drawn)])
        if options.level or (faults or frozenset()) & MISUSE_KINDS.keys():
            misuse = world.derive("nemesis/misuse")
            more = draw_misuse(misuse, names, options.duration_ms, faults, drawn)
            drawn = Schedule([*drawn, *more])
        return drawn
    changes = draw_changes(world.derive("members"), options.duration_ms)
    if options.level:
        changes += draw_relics(world.derive("members/relics"), options.duration_ms)
    return Schedule([*drawn, *changes])


def _rows(process: SimProcess) -> list[KeyValue]:
    page = process.machine.query([[RANGE, b"", b"", 0, False, False]], 1 << 30)[0]
    rows: list[KeyValue] = page.rows
    return rows


def _place(error: Exception) -> str:
    """Where in the product it was raised: file, line, function."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"
