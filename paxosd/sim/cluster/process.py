"""One simulated member: its runs, and the turns of its loop.

    start ─► recovery, parts (life.py)                     DOWN ──► UP ──► PAUSED ──► UP
    something arrives, or is due ─► turn of the Replica     ▲── crash, storage error ──┘

Only sockets, disks, clock and randomness are the simulator's. A crash ends the process:
``SimulatedCrash`` (``crash_point.py``) passes through the product's code, which does not catch it.
The disks (``disks.py``) outlive it; after a power cut without what was not synced.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from paxosd.check.ages import StatedAge
from paxosd.core.messages import Accepted, Envelope
from paxosd.core.requests import ClientMessage
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.replica.replica import Replica
from paxosd.sim.cluster.crash_point import CrashPoint, SimulatedCrash
from paxosd.sim.cluster.disks import MemberDisks
from paxosd.sim.cluster.fault_tally import FaultTally
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.life import Names, ProcessOptions, Surroundings, begin_life, found_alone
from paxosd.sim.cluster.records import RunRecords, log_of
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watched import WatchedMachine, WatchedNode
from paxosd.sim.world.alarm import NEVER_MS, Alarm
from paxosd.sim.world.clock import draw_clock
from paxosd.sim.world.network import Network
from paxosd.sim.world.trace import Trace, TraceLog
from paxosd.sim.world.world import World
from paxosd.storage.disk import CorruptionError, StorageError
from paxosd.storage.identity import RemovedError
from paxosd.storage.wal import SyncJob
from paxosd.wire import PEER_KIND_NAMES

LAZY_VOTES_MS = 10.0
"""How long votes may wait that nobody waits for; as in the daemon
(``paxosd.bus.pollers.HOT_MS``)."""
LOOK_MS = 20.0
"""How often the loop looks at fault rules that depend on time (``paxosd.faults.live.LOOK_MS``)."""


class SimProcess:
    """A member with all its runs: it starts, crashes, pauses, leaves, and starts again. What the
    product logs goes into its records, if it has any; to ``log`` what only the simulator knows."""

    def __init__(
        self,
        world: World,
        name: NodeId,
        names: Names,
        network: Network,
        invariants: Invariants,
        options: ProcessOptions,
        trace: Trace | None = None,
        streams: str = "",
        records: RunRecords | None = None,
    ) -> None:
        """``streams``: how the names of its random numbers begin; "": with its own name."""
        streams = streams or name
        self.name = name
        self.options = options
        self.world = world
        self.log = TraceLog(trace, name)
        self.clock = draw_clock(world, world.derive(f"{streams}/clock"), options.drift_ppm)
        self._records = records.of(name, self.clock) if records is not None else None
        self._lines = log_of(trace, name, self._records)
        self.tally = FaultTally()
        self.disks = MemberDisks(
            world, name, streams, invariants, self.tally, self.log, lambda: self.up
        )
        self.crash_point = CrashPoint(self._pause_in_turn, self.log)
        self.sync_ms = options.sync_ms
        """How long a group commit takes: low, high."""
        self.extra_turn_ms = 0.0
        """How much longer each turn takes: the process is starved."""
        self.paused = False
        self.failure = ""
        """Why it is down by itself; "" if it is not."""
        self.boot_count = 0
        self.crashes = 0
        self.ages: list[StatedAge] = []
        """What it stated about the age of its state, over all runs."""
        self.plan: FaultPlan | None = None
        """The faults of the present life, or of the last one."""
        self.relic = False
        """Whether it is an old machine whose directory was emptied (``sim/nemesis/changes.py``)."""
        self.idle = name not in names.first
        """Whether it is a spare that was not asked to join yet."""
        self.removed = False
        """Whether it has learned that it is no member any more, and has ended."""
        self._network = network
        self._invariants = invariants
        self._rng = world.derive(f"{streams}/process")
        self._life = 0
        self._replica: Replica | None = None
        self._node: WatchedNode | None = None
        self._alarm = Alarm(world, self._turn)
        self._ready_ms = 0.0
        self._look_due_ms = 0.0
        self._slept_ms = 0.0
        self._file = names.first, self.idle
        """What its own configuration file says: the members, and whether it joins them."""
        limit_bytes = options.message_bytes_max if streams == name else 0
        self._around = self._surroundings(names, limit_bytes, debug=trace is not None)
        network.add(name, self)

    def _surroundings(self, names: Names, message_bytes_max: int, *, debug: bool) -> Surroundings:
        return Surroundings(
            name=self.name,
            names=names.names,
            first=self._file[0],
            joins=self._file[1],
            options=self.options,
            home=self.disks.home,
            disk=self.disks.log,
            clock=self.clock,
            rng=self._rng,
            network=self._network,
            invariants=self._invariants,
            log=self._lines,
            records=self._records,
            debug=debug,
            clock_ns=lambda: int(self.world.now_ms * 1e6),
            sleep=self._sleep,
            die=self.crash_point.crash,
            effect=self.crash_point.reach,
            lost=self._on_lost,
            on_age=self._note_age,
            at_once_rng=self.world.derive(f"{self.name}/at-once"),
            later=self._later,
            run_job=self._run_job,
            wake=self._wake,
            message_bytes_max=message_bytes_max,
        )

    # -- what others see

    @property
    def up(self) -> bool:
        """Whether there is a process, running or stopped."""
        return self._replica is not None

    @property
    def replica(self) -> Replica:
        """Of the present life."""
        assert self._replica is not None, f"{self.name} is down"
        return self._replica

    @property
    def node(self) -> WatchedNode:
        assert self._node is not None, f"{self.name} is down"
        return self._node

    @property
    def machine(self) -> WatchedMachine:
        machine = self.replica.machine
        assert isinstance(machine, WatchedMachine)
        return machine

    @property
    def damaged(self) -> bool:
        """Whether a fault has damaged its log: then it may, or must, refuse to work."""
        self.collect_hits()
        return self.tally.harmed

    def collect_hits(self) -> None:
        """Bring ``tally`` up to what the present rules have done so far."""
        if self.plan is not None:
            self.tally.collect(self.plan, self.clock.monotonic_ms())

    # -- life and death

    def start(self) -> None:
        """Begin a new life. If its disks do not allow it, it is down again at once, with
        ``failure``."""
        assert self._replica is None, f"{self.name} is up already"
        if (
            not self._life
            and self._file[0] == [self.name]
            and not self.disks.home.exists("identity")
        ):
            found_alone(self._around)
        self._life += 1
        self.failure = ""
        self.paused = False
        try:
            self._boot()
        except SimulatedCrash:
            self._die(self.crash_point.power)
        except RemovedError:
            self._leave()  # an earlier life had learned of it, and then crashed
        except StorageError as error:
            self._fail(error)
        except OSError as error:
            self._fail(StorageError(f"could not start: {error}", errno=error.errno or 0))
        else:
            self._ready_ms = self.world.now_ms + self._rng.uniform(*self.options.boot_ms)
            self._wake_at(self._ready_ms)
            self._network.started(self.name)

    def _boot(self) -> None:
        self.disks.home.before = self.disks.log.before = self.crash_point.reach
        self.tally.begin_life()
        self.plan = FaultPlan(
            self._on_fault,
            node=self.name,
            nodes=self._around.names,
            message_kinds=PEER_KIND_NAMES.values(),
        )
        life = begin_life(self._around, self.plan, self.sync_ms)
        self.boot_count = life.boot_count
        self.bus = life.bus
        self.committer = life.committer
        self._faulty_disk = life.disk
        self._node = life.node
        self._replica = life.replica
        self._take_turn = life.turn

    def _note_age(self, age_ms: int, revision: int) -> None:
        """The node stated that its state is so old."""
        since_ms = self.clock.true_ms(self.clock.monotonic_ms() - age_ms)
        self.ages.append(StatedAge(self.name, self.world.now_ms, age_ms, since_ms, revision))

    def crash(self, *, power: bool) -> None:
        """Die now: with ``power`` by a power cut, which may lose what was not synced, else as by
        kill -9. A group commit that is under way may have got to any point."""
        if self._replica is None:
            if power:
                self.disks.cut_power()
            return
        job = self.committer.job
        if job is not None and not job.done:
            share = self._rng.randrange(3)
            if share:
                # It gets to one of the first few effects of the commit, or to its end.
                effects = self._rng.randint(1, 3) if share == 1 else 1 << 30
                self.crash_point.arm(effects, power=power)
                try:
                    job.run()
                except (SimulatedCrash, StorageError):
                    self.crash_point.disarm()
        self._die(power)

    def _die(self, power: bool) -> None:
        self.crashes += 1
        self.log.info("process.crash", power=power, boot_count=self.boot_count)
        self._end_life(silently=power, in_order=False)
        if power:
            self.disks.cut_power()

    def _leave(self) -> None:
        """It is no member any more, and ends by itself."""
        self.removed = True
        self.log.info("process.removed", boot_count=self.boot_count)
        self._end_life(silently=False)

    def join(self) -> None:
        """Start as a node that is to become a member, with empty disks."""
        self._begin_anew(self._file[0], joins=True)

    def come_back_emptied(self) -> None:
        """Start with empty disks and the file of the beginning, as one of its members."""
        self._begin_anew(sorted({*self._file[0], self.name}), joins=False)
        self.relic = True

    def _begin_anew(self, members: list[NodeId], *, joins: bool) -> None:
        if self._replica is not None:
            self.crash(power=True)
        self.disks.empty()
        self._file = members, joins
        self.configure(None)
        self.idle = self.removed = self.relic = False
        self.start()

    @property
    def misconfigured(self) -> bool:
        """Whether its configuration file is not its own."""
        return (self._around.first, self._around.joins) != self._file

    def configure(self, members: list[NodeId] | None) -> None:
        """From its next start on its file names these members of the cluster; None: its own file
        is back."""
        first, joins = self._file if members is None else (members, False)
        self._around = replace(self._around, first=first, joins=joins)

    def limit_messages(self, message_bytes_max: int) -> None:
        """From its next start on its file has this ``limits.message_bytes_max``."""
        self._around = replace(self._around, message_bytes_max=message_bytes_max)

    def _on_lost(self) -> None:
        """The product has set its log aside."""
        if not self.damaged:
            raise Violation("corruption", f"{self.name} takes its sound log for corrupt")

    def _fail(self, error: StorageError) -> None:
        """The product ends because of its disk."""
        self.failure = str(error)
        corrupt = isinstance(error, CorruptionError)
        if corrupt and not self.damaged:
            raise Violation("corruption", f"{self.name} takes its sound log for corrupt: {error}")
        self._lines.error("storage.corrupt" if corrupt else "storage.failed", message=str(error))
        # After a failed sync the kernel may have taken the pages for clean.
        if not corrupt and self._rng.random() < 0.5:
            self.disks.log.forget_unsynced()
        self._end_life(silently=False)

    def _end_life(self, *, silently: bool, in_order: bool = True) -> None:
        self.collect_hits()
        if self._records is not None:
            self._records.end_life(in_order=in_order)
        self._life += 1
        self.crash_point.disarm()
        self.disks.home.before = self.disks.log.before = lambda operation, name: None
        was_up = self._replica is not None
        if was_up and self._invariants.witnesses is not None:
            self._invariants.witnesses.died(self.name, paused=self.paused)
        self._replica = None
        self._node = None
        self._alarm.reset()
        self.paused = False
        if was_up:
            self._network.broke(self.name, silently=silently)

    def pause(self) -> None:
        """As SIGSTOP: it does nothing, and its sockets fill."""
        self.paused = self._replica is not None

    def _pause_in_turn(self, duration_ms: float) -> None:
        """Stop in the middle of a turn: what the rest of the turn sends stays in the sockets."""
        if self._replica is None:
            return  # it is only starting, and has nothing to send yet
        self.pause()
        self.bus.stall()
        self.world.at(duration_ms, self._resume_life, self._life)

    def resume(self) -> None:
        """As SIGCONT."""
        if self.paused:
            self.paused = False
            self.bus.go_on()
            self._wake()

    def heal(self) -> None:
        """Every fault that was put on it ends. It is not started."""
        self.crash_point.disarm()
        self.extra_turn_ms = 0.0
        self.clock.drift(0.0)
        self.clock.skew_ms = 0.0
        self.set_sync_ms(self.options.sync_ms)
        self.disks.set_free_bytes(-1)
        if self._replica is not None and self.plan is not None:
            self.plan.clear(self.clock.monotonic_ms())
            self.resume()

    def set_sync_ms(self, sync_ms: tuple[float, float]) -> None:
        """How long a group commit takes from now on: low, high."""
        self.sync_ms = sync_ms
        if self._replica is not None:
            self.committer.sync_ms = sync_ms

    # -- what comes

    def arrive(self, envelope: Envelope) -> None:
        """A peer's message has come to a socket."""
        replica = self._replica
        if replica is None or not self.bus.arrive(envelope):
            return
        if self._alarm.due_ms > self.world.now_ms:
            if type(envelope.body) is Accepted and not replica.votes_urgent:
                self._wake_at(self.world.now_ms + LAZY_VOTES_MS)
            else:
                self._wake()

    def arrive_request(self, client: bytes, message: ClientMessage) -> None:
        """A client's request has come to a socket."""
        if self._replica is not None:
            key = self._network.key_of(client, self._replica.authority)
            if key is not None and self.bus.arrive_request(client, message, key):
                self._wake()

    def arrive_subscription(self, subscribe: bool, topic: bytes) -> None:
        """A watcher subscribes to a topic, or the last subscriber of a topic is gone."""
        if self._replica is not None:
            self.bus.subscriptions.append((subscribe, topic))
            self._wake()

    def peer_lost(self, name: NodeId) -> None:
        """The connection to a peer broke."""
        if self._replica is not None:
            self.bus.lost.append(name)
            self._wake()

    # -- the loop

    def _later(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Do it after ``delay_ms``, unless this life has ended; later if the process is stopped."""
        self.world.at(delay_ms, self._if_alive, self._life, action)

    def _if_alive(self, life: int, action: Callable[[], None]) -> None:
        if life != self._life:
            return
        if self.paused:
            self.world.at(20.0, self._if_alive, life, action)
            return
        try:
            action()
        except SimulatedCrash:
            self._die(self.crash_point.power)

    def _wake(self) -> None:
        self._wake_at(self.world.now_ms)

    def _wake_at(self, due_ms: float) -> None:
        """Take a turn then, or as soon as the last one is over."""
        self._alarm.set(max(due_ms, self._ready_ms))

    def _turn(self) -> None:
        if self.paused:
            return  # resume wakes it
        replica = self._replica
        assert replica is not None
        now_ms = self.clock.monotonic_ms()
        plan = self.plan
        assert plan is not None
        try:
            wall_ms = self.clock.wall_ms()
            if plan.active:
                wall_ms += plan.clock_skew_ms(now_ms)
            self._take_turn(now_ms, wall_ms)
            self._invariants.on_turn(self.name, replica.turn_units)
            if replica.standing.removed:
                self._leave()
                return
            if self.node.fresh:
                self.node.check_log(
                    replica.wal.first_slot, replica.log_source.read, lambda: self.damaged
                )
            if plan.active and self._suffer(plan, now_ms):
                return
        except SimulatedCrash:
            self._die(self.crash_point.power)
            return
        except StorageError as error:
            self._fail(error)
            return
        self._plan_next(replica, plan, now_ms)

    def _plan_next(self, replica: Replica, plan: FaultPlan, now_ms: float) -> None:
        world_ms = self.world.now_ms
        if self._records is not None:
            self._records.flush_if_due()
        self._ready_ms = world_ms + self.options.turn_ms + self.extra_turn_ms + self._slept_ms
        self._slept_ms = 0.0
        bus = self.bus
        if bus.arrived or bus.requests:
            self._wake()
            return
        held_due_ms = bus.next_due_ms()
        due_ms = min(replica.next_due_ms(now_ms), NEVER_MS if held_due_ms is None else held_due_ms)
        if plan.timed_active:
            due_ms = min(due_ms, max(plan.next_due_ms(), self._look_due_ms))
        self._wake_at(world_ms + self.clock.until_ms(due_ms))

    def _suffer(self, plan: FaultPlan, now_ms: float) -> bool:
        """Do what fault rules do to the process itself; returns whether it is stopped now."""
        if now_ms < self._look_due_ms:
            return False
        self._look_due_ms = now_ms + LOOK_MS
        plan.expire(now_ms)
        self._faulty_disk.tick()
        if plan.crash_due(now_ms):
            self.crash_point.crash()
        pause_ms = plan.pause_due_ms(now_ms)
        if pause_ms:
            self.pause()
            self.world.at(pause_ms, self._resume_life, self._life)
            return True
        return False

    def _resume_life(self, life: int) -> None:
        if life == self._life:
            self.resume()

    def _run_job(self, job: SyncJob) -> float:
        before_ms, self._slept_ms = self._slept_ms, 0.0  # by the turn that it is part of
        job.run()
        slept_ms, self._slept_ms = self._slept_ms, before_ms
        return slept_ms

    def _sleep(self, duration_ms: float) -> None:
        self._slept_ms += duration_ms

    def _on_fault(self, event: str, fields: dict[str, Any]) -> None:
        self._lines.warning(event, **fields)
        self.tally.on_event(event, fields)
