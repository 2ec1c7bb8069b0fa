"""One simulated run from one seed: faults, then the heal, then the checks of what came out.

    run_seed(7, RunOptions())  →  RunReport(ok=True, operations=…, …)

    safety phase    clients work while the nemesis follows its schedule
    heal            every fault ends; processes that are down are started again
    liveness phase  see ``liveness.py``
    final checks    all nodes hold the same data; the history is judged (``check/judge.py``)

Half of the runs are watched: ``sim/cluster/watchers.py`` checks each change that is published.

The same seed and options give the same run. A schedule that is handed in takes the place of the
drawn one and changes no other draw; shrinking relies on that.
"""

import gc
import hashlib
import time
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path

from paxosd.check.ages import StatedAge
from paxosd.check.exactly_once import FinalRow
from paxosd.check.history import History
from paxosd.check.judge import judge
from paxosd.check.transactions import check_transactions
from paxosd.check.verdict import NOT_CHECKED, VIOLATION
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.commands import KeyValue
from paxosd.core.requests import RANGE
from paxosd.sim.campaign.draw import draw_run
from paxosd.sim.campaign.liveness import LivenessChecks
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.lease_checks import PREFIX
from paxosd.sim.cluster.lease_holder import make_holders
from paxosd.sim.cluster.lock_client import make_lock_clients
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.cluster.revision_reader import RevisionReader
from paxosd.sim.cluster.rights_client import make_rights_clients
from paxosd.sim.cluster.stale_reader import StaleReader
from paxosd.sim.cluster.traces import RunTraces
from paxosd.sim.cluster.transactor import make_transactors
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watchers import make_watchers
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.rights import RightsAdmin
from paxosd.sim.nemesis.schedule import Schedule
from paxosd.sim.nemesis.shape import make_clients
from paxosd.sim.world.trace import TAIL_LINES, Trace
from paxosd.sim.world.world import World
from paxosd.storage.disk import CorruptionError

START_MS = 300.0
"""When the clients begin: the nodes have come up, and perhaps elected a leader."""
LIFT_LIMIT_MS = 60_000.0
LIFT_AGAIN_MS = 500.0
"""How often an operator tries to lift the quota after the heal."""


@dataclass(slots=True, kw_only=True)
class RunReport:
    """How a run ended.

    ``violation``: "" if there was none, else "kind: what was seen". ``checked``: "ok", or
    "not checked" if the history was too hard to decide within the bounds of the checkers.
    ``operations``: how many began; ``acknowledged`` of them ended well, and of ``unknown`` the
    outcome is not known. ``watched``: changes that were delivered to watchers. ``leases``: grants
    and renewals of leases that were confirmed; ``acquired``: how often the lock was.
    ``longest_gap_ms``: the longest time between two acknowledged operations, whoever's.
    ``faults``: kind → how often it struck. ``simulated_ms`` and
    ``wall_s``: how long the run took in virtual and in real time. ``tail``: the last lines of the
    trace (empty if ok and no trace was asked for). ``digest``: of the whole trace if one was kept,
    else of the history and the final states.
    """

    seed: int
    ok: bool
    violation: str = ""
    checked: str = "ok"
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    watched: int = 0
    leases: int = 0
    acquired: int = 0
    transactions: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    leader_changes: int = 0
    longest_gap_ms: float = 0.0
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
    records: RunRecords | None = None,
    traces: RunTraces | None = None,
) -> RunReport:
    """Run one seed to its end and report. What goes wrong in the run is reported, not raised.

    ``records``: where the nodes' data directories are written once the run is over, with what they
    recorded; ``traces``: what goes into each. Both change nothing of the run. Raises OSError if
    they cannot be written. A run that breaks a rule is repeated for the last lines of its trace,
    unless a trace is given."""
    options = options or RunOptions()
    run = SimRun(seed, options, schedule, trace, records, traces)
    report = run.report()
    if records is not None:
        records.write(run.cluster.processes.values())
    if traces is not None:
        traces.write()
    if report.violation and trace is None:
        again = SimRun(seed, options, report.schedule, Trace("tail")).report()
        report.tail = again.tail
    return report


class SimRun:
    """One run under way: its cluster, clients, readers and watchers, and what they saw."""

    def __init__(
        self,
        seed: int,
        options: RunOptions,
        schedule: Schedule | None = None,
        trace: Trace | None = None,
        records: RunRecords | None = None,
        traces: RunTraces | None = None,
    ) -> None:
        """Draw everything; nothing is started yet."""
        self._began_s = time.perf_counter()
        self._seed = seed
        self._options = options
        self._trace = trace
        world = self.world = World(seed)
        self._draw = draw = draw_run(world, options, schedule)
        shape = replace(draw.shape, process=replace(draw.shape.process, traces=traces))
        self.cluster = SimCluster(
            world, draw.first, shape, trace, draw.spares, records, keyed=options.rights > 0
        )
        self.cluster.invariants.understood.update(draw.levels)
        self.history = History(lambda: int(world.now_ms * 1000))
        self.clients = make_clients(
            self.cluster,
            self.history,
            count=options.clients,
            operations=options.operations,
            keys=options.keys,
            duration_ms=options.duration_ms,
            sizes=draw.sizes,
            gives_name=options.client_names,
        )
        self.readers = [
            StaleReader(self.cluster, f"r{number + 1}", self.clients[0].options.keys)
            for number in range(options.stale_readers)
        ]
        has_leases = options.level >= LEVEL_COORDINATION
        self.holders = make_holders(self.cluster, options.holders if has_leases else 0)
        self.lockers = make_lock_clients(
            self.cluster, options.locks if has_leases else 0, brief=options.brief_locks
        )
        self.transactors = make_transactors(self.cluster, options.transactors if has_leases else 0)
        self.keyed = make_rights_clients(self.cluster, options.rights)
        self._rights_admin = RightsAdmin(self.cluster, self.keyed)
        self.watchers = make_watchers(
            self.cluster, world.derive("watch"), options.watchers, options.keys
        )
        self.revision_readers = self._make_revision_readers()
        self._director = Director(self.cluster, self._rights_admin)
        self._checked = "ok"

    def _make_revision_readers(self) -> list[RevisionReader]:
        count = self._options.revision_readers
        if not count:
            return []
        invariants, keys = self.cluster.invariants, self.clients[0].options.keys
        truth = invariants.watch or invariants.watch_changes()
        names = [f"v{number + 1}" for number in range(count)]
        return [RevisionReader(self.cluster, truth, name, keys) for name in names]

    def report(self) -> RunReport:
        """Carry it out, and report how it ended."""
        violation = ""
        collecting = gc.isenabled()
        gc.disable()  # almost nothing here is cyclic, and all of it is freed when the run ends
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
            leases=sum(holder.renewals for holder in self.holders),
            acquired=len(self.lockers[0].checks.acquired) if self.lockers else 0,
            transactions=self._transactions(),
            faults=self._faults(),
            leader_changes=max(0, len(self.cluster.invariants.leaders) - 1),
            longest_gap_ms=self.history.longest_gap_ms(),
            simulated_ms=self.world.now_ms,
            wall_s=time.perf_counter() - self._began_s,
            schedule=self._draw.schedule,
            tail=trace.lines()[-TAIL_LINES:] if trace is not None else [],
            digest=trace.digest() if trace is not None else self._digest(),
        )

    def _carry_out(self) -> None:
        world, cluster, options = self.world, self.cluster, self._options
        cluster.note("run.begins", seed=self._seed)
        cluster.start()
        self._director.follow(self._draw.schedule)
        for name, at_ms in self._draw.upgrades.items():
            world.at(at_ms, cluster.run_program, name, options.level)
        readers = [*self.readers, *self.revision_readers]
        others = [*readers, *self.holders, *self.lockers, *self.transactors, *self.keyed]
        if self.keyed:
            self._rights_admin.start()
        for client in [*self.clients, *others]:
            world.at(START_MS, client.start)
        for watcher in self.watchers:
            world.at(START_MS, watcher.start)
        world.run_until(options.duration_ms)
        self.heal()
        self._check_liveness()
        self._check_end()
        if not cluster.invariants.chosen:
            raise Violation("nothing-chosen", "no value was chosen in the whole run")

    def heal(self) -> None:
        """The clients begin nothing more, every fault ends, and all processes run."""
        self.cluster.note("run.heals")
        workers = [*self.holders, *self.lockers, *self.transactors, *self.keyed]
        for client in [*self.clients, *workers]:
            client.stop()
        self._director.heal()

    def _lift_quota(self) -> None:
        """As an operator does who sees that writes are refused."""
        world = self.world
        until_ms = world.now_ms + LIFT_LIMIT_MS
        while not self._director.operator.lift_quota() and world.now_ms < until_ms:
            world.run_until(world.now_ms + LIFT_AGAIN_MS)

    def _check_liveness(self) -> None:
        if self._options.quota:
            self._lift_quota()
        checks = LivenessChecks(
            self.cluster,
            self._director.operator,
            self.clients,
            self.watchers,
            self._options.level,
            self.holders,
            self.lockers,
            self.transactors,
        )
        checks.check()
        if self.keyed:
            checks.check_rights(self._rights_admin, self.keyed)
        for reader in [*self.readers, *self.revision_readers]:
            reader.stop()
        checks.check_level()

    # -- the final checks

    def _check_end(self) -> None:
        invariants = self.cluster.invariants
        if self.lockers:
            self.lockers[0].checks.check_end()
        processes = self.cluster.members()
        for process in processes:
            wal = process.replica.wal
            for slot in range(wal.first_slot, process.node.applied + 1):
                try:
                    value = wal.read(slot)[1]
                except CorruptionError:
                    if process.damaged:
                        break  # the damage was done on purpose
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
        lasting = {row.key: row for row in stores[first] if not row.key.startswith(PREFIX)}
        final = {
            key: FinalRow(*lasting[key][1:]) if key in lasting else None
            for key in sorted({*lasting, *self.clients[0].options.keys})
        }
        others = invariants.leases.revisions if invariants.leases is not None else ()
        verdict = judge(self.history, final, alone=True, others=others, ages=self._ages()).verdict
        if verdict.status == VIOLATION:
            raise Violation("history", verdict.explanation)
        if self.transactors:
            found = check_transactions(self.transactors[0].records)
            if found.status == VIOLATION:
                raise Violation("transactions", found.explanation)
            if found.status == NOT_CHECKED:
                self._checked = "not checked"
        if verdict.status == NOT_CHECKED:
            self._checked = "not checked"

    def _transactions(self) -> int:
        records = self.transactors[0].records if self.transactors else ()
        return sum(record.outcome == "ok" for record in records)

    def _ages(self) -> list[StatedAge]:
        """What nodes stated about the age of their states, in all their runs, to all readers."""
        stated = [each for process in self.cluster.processes.values() for each in process.ages]
        return stated + [each for reader in self.readers for each in reader.stated]

    def _faults(self) -> dict[str, int]:
        found = dict(self._director.counts)
        sources = [self.cluster.network.counters, self.cluster.network.events.counters]
        for process in self.cluster.processes.values():
            process.collect_hits()
            sources.append(process.tally.counts)
        for source in sources:
            for kind, count in source.items():
                found[kind] = found.get(kind, 0) + count
        return dict(sorted(found.items()))

    def _digest(self) -> str:
        """Of the history and of the final states of the nodes."""
        digest = hashlib.sha256()
        for op in self.history:
            seen = (op.kind, op.key, op.value, op.invoked, op.returned, op.outcome, op.result)
            digest.update(repr(seen).encode())
        chains = [(p.name, p.machine.applied, p.machine.chain) for p in self.cluster.up()]
        digest.update(repr((chains, self.world.events, self.world.now_ms)).encode())
        return digest.hexdigest()


def _rows(process: SimProcess) -> list[KeyValue]:
    rows: list[KeyValue] = []
    start: bytes | None = b""
    while start is not None:
        page = process.machine.query([[RANGE, start, b"", 0, False, False]], 1 << 30)[0]
        rows += page.rows
        start = page.more
    return rows


def _place(error: Exception) -> str:
    """Where in the product it was raised: file, line, function."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno} {last.name}"
