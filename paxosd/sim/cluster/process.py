"""One simulated member: its lives, the loop's turns, and what may befall it.

    start ─► recovery, parts (life.py)                     DOWN ──► UP ──► PAUSED ──► UP
    something arrives, or is due ─► turn of the Replica     ▲── crash, storage error ──┘

Only sockets, disk, clock and randomness are the simulator's. Every send, publish, answer and
change of the disk is a numbered *effect*: an armed crash strikes right before one. What dies is
the process (``SimulatedCrash`` runs through the product's code as nothing there catches it); its
disks remain, after a power cut without what was not synced.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from paxosd.check.ages import StatedAge
from paxosd.core.messages import Accepted, Envelope
from paxosd.core.requests import ClientMessage
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.replica.replica import Replica
from paxosd.sim.cluster.invariants import Invariants, WatchedMachine, WatchedNode
from paxosd.sim.cluster.life import CLUSTER, ProcessOptions, Surroundings, begin_life, found_alone
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.world.alarm import Alarm
from paxosd.sim.world.bus import ARRIVED_MAX
from paxosd.sim.world.clock import SimClock
from paxosd.sim.world.disk import PLENTY_BYTES, TAIL_KINDS, SimDisk
from paxosd.sim.world.network import Network
from paxosd.sim.world.trace import Trace, TraceLog
from paxosd.sim.world.world import World
from paxosd.storage.disk import CorruptionError, StorageError
from paxosd.storage.identity import RemovedError
from paxosd.storage.wal import SyncJob
from paxosd.wire import PEER_KIND_NAMES

LAZY_VOTES_MS = 10.0
"""As long as the daemon lets votes lie that nobody waits for (``paxosd.bus.bus.HOT_MS``)."""
LOOK_MS = 20.0
"""How often the loop looks at fault rules that go by time (``paxosd.faults.live.LOOK_MS``)."""


class SimulatedCrash(BaseException):
    """The process dies here. No Exception: nothing in the product may take it for an error."""


class Names(Protocol):
    """``names`` of all processes; ``first``: those of the members of epoch 0."""

    @property
    def names(self) -> list[NodeId]: ...

    @property
    def first(self) -> list[NodeId]: ...


def _ignore(what: str) -> None:
    """What an effect runs while no crash is armed."""


class _Copy(NamedTuple):
    """What was durable at ``at_ms``."""

    home: dict[str, bytes]
    disk: dict[str, bytes]
    at_ms: float


class SimProcess:
    """A member with all its lives. ``failure``: why it is down by itself ("" if it is not)."""

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
    ) -> None:
        """``streams``: the names of its random numbers begin so; "": with its own name."""
        streams = streams or name
        self.name = name
        self.options = options
        self.world = world
        self.disk = SimDisk(world.derive(f"{streams}/disk"))
        self.home = SimDisk(world.derive(f"{streams}/home"), beside=self.disk)
        self.clock = _make_clock(world, streams, options.drift_ppm)
        self.sync_ms = options.sync_ms
        self.extra_turn_ms = 0.0
        """How much longer each turn takes: the process is starved."""
        self.paused = False
        self.failure = ""
        self.boot_count = 0
        self.crashes = 0
        self.failed_syncs = 0
        self.faults: dict[str, int] = {}
        """Kind of fault rule → hits, over all lives."""
        self.ages: list[StatedAge] = []
        """What it said about the age of its state, over all lives."""
        self.log = TraceLog(trace, name)
        self._network = network
        self._invariants = invariants
        self._rng = world.derive(f"{streams}/process")
        self._life = 0
        self.plan: FaultPlan | None = None
        """Of the present life, or of the last."""
        self._counted: dict[str, int] = {}
        """Hits of each rule that are in ``faults`` already."""
        self._replica: Replica | None = None
        self._node: WatchedNode | None = None
        self._alarm = Alarm(world, self._turn)
        self._ready_ms = 0.0
        self._look_due_ms = 0.0
        self._slept_ms = 0.0
        self._effects_left = 0
        self._armed_power = True
        self._armed_pause_ms = 0.0
        self._effect: Callable[[str], None] = _ignore
        self.relic = False
        """Whether it is an old machine whose directory was emptied (``sim/nemesis/changes.py``)."""
        self.idle = name not in names.first
        """Whether it is a spare that was not asked to join yet."""
        self.removed = False
        """Whether it was told that it is no member any more, and has ended."""
        self._remembered: _Copy | None = None
        self._file = names.first, name not in names.first
        """What its own configuration file says: the members, and whether it joins them."""
        self._around = Surroundings(
            name=name,
            names=names.names,
            first=names.first,
            joins=name not in names.first,
            options=options,
            home=self.home,
            disk=self.disk,
            clock=self.clock,
            rng=self._rng,
            network=network,
            invariants=invariants,
            log=self.log,
            debug=trace is not None,
            clock_ns=lambda: int(world.now_ms * 1e6),
            sleep=self._sleep,
            die=self._crash_now,
            effect=self._on_effect,
            lost=self._on_lost,
            later=self._later,
            run_job=self._run_job,
            wake=self._wake,
            message_bytes_max=0 if streams != name else options.message_bytes_max,
        )
        network.add(name, self)

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
    def directory_id(self) -> int:
        """The identity of its data directory, as the operator reads it off its status."""
        return self.node.directory_id

    @property
    def damaged(self) -> bool:
        """Whether its log was harmed behind its back: then it may, or must, refuse to work."""
        self.collect_hits()
        harms = ("bit-rot", "log-loss", "wipe", *TAIL_KINDS)
        return any(self.faults.get(kind) for kind in harms)

    # -- life and death

    def start(self) -> None:
        """A new life; if its disk does not do, it is down again at once, with ``failure``."""
        assert self._replica is None, f"{self.name} is up already"
        if not self._life and self._file[0] == [self.name] and not self.home.exists("identity"):
            found_alone(self._around)
        self._life += 1
        self.failure = ""
        self.paused = False
        try:
            self._boot()
        except SimulatedCrash:
            self._die("crash", self._armed_power)
        except RemovedError:
            self._leave()  # it knew, and its process had ended before it said so
        except StorageError as error:
            self._fail(error)
        except OSError as error:
            self._fail(StorageError(f"could not start: {error}", errno=error.errno or 0))
        else:
            low_ms, high_ms = self.options.boot_ms
            self._ready_ms = self.world.now_ms + self._rng.uniform(low_ms, high_ms)
            self._wake_at(self._ready_ms)
            self._network.started(self.name)

    def _boot(self) -> None:
        self.home.before = self.disk.before = self._on_disk
        self._counted.clear()
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
        self._node.on_age = self._note_age
        self._replica = life.replica

    def _note_age(self, age_ms: int, revision: int) -> None:
        """It says that its state is so old."""
        since_ms = self.clock.true_ms(self.clock.monotonic_ms() - age_ms)
        self.ages.append(StatedAge(self.name, self.world.now_ms, age_ms, since_ms, revision))

    def crash(self, *, power: bool) -> None:
        """Die now. With ``power`` what was not synced may be lost, else it is as kill -9. Of a
        group commit under way anything may have happened."""
        if self._replica is None:
            if power:
                self._cut_power()
            return
        job = self.committer.job
        if job is not None and not job.done:
            share = self._rng.randrange(3)
            if share:
                # As far as a boundary among the first few of a commit, or to its end.
                self._arm(self._rng.randint(1, 3) if share == 1 else 1 << 30, power)
                try:
                    job.run()
                except (SimulatedCrash, StorageError):
                    self._disarm()
        self._die("crash", power)

    def _die(self, how: str, power: bool) -> None:
        self.crashes += 1
        self.log.info(f"process.{how}", power=power, boot_count=self.boot_count)
        self._end_life(silently=power)
        if power:
            self._cut_power()

    def _leave(self) -> None:
        """It is no member any more, and ends by itself."""
        self.removed = True
        self.log.info("process.removed", boot_count=self.boot_count)
        self._end_life(silently=False)

    def join(self) -> None:
        """Start as a node that is to become a member, with an empty disk."""
        if self._replica is not None:
            self.crash(power=True)
        self.home.wipe()
        self.disk.wipe()
        self._invariants.forgive(self.name)
        self._file = self._file[0], True
        self._begin_anew()

    def come_back_emptied(self) -> None:
        """Start with an empty disk and the file of the beginning, as one of its members."""
        if self._replica is not None:
            self.crash(power=True)
        self.home.wipe()
        self.disk.wipe()
        self._invariants.forgive(self.name)
        self._file = sorted({*self._file[0], self.name}), False
        self._begin_anew()
        self.relic = True

    def _begin_anew(self) -> None:
        self.configure(None)
        self.idle = self.removed = self.relic = False
        self.start()

    @property
    def misconfigured(self) -> bool:
        """Whether its configuration file is not its own."""
        return (self._around.first, self._around.joins) != self._file

    def configure(self, members: list[NodeId] | None) -> None:
        """From its next start on its file names these as the members of the cluster; None: its own
        file is back."""
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
        """The product gives up for its disk."""
        self.failure = str(error)
        corrupt = isinstance(error, CorruptionError)
        if corrupt and not self.damaged:
            raise Violation("corruption", f"{self.name} takes its sound log for corrupt: {error}")
        self.log.error("storage.corrupt" if corrupt else "storage.failed", message=str(error))
        # After a failed sync the kernel may have taken the pages for clean.
        if not corrupt and self._rng.random() < 0.5:
            self.disk.forget_unsynced()
        self._end_life(silently=False)

    def _end_life(self, *, silently: bool) -> None:
        self.collect_hits()
        self._life += 1
        self._disarm()
        self.home.before = self.disk.before = lambda operation, name: None
        was_up = self._replica is not None
        if was_up and self._invariants.witnesses is not None:
            self._invariants.witnesses.died(self.name, paused=self.paused)
        self._replica = None
        self._node = None
        self._alarm.reset()
        self.paused = False
        if was_up:
            self._network.broke(self.name, silently=silently)

    def _cut_power(self) -> None:
        self.home.power_cut()
        self.disk.power_cut()

    def pause(self) -> None:
        """As SIGSTOP: it does nothing, and its sockets fill."""
        self.paused = self._replica is not None

    def resume(self) -> None:
        """As SIGCONT."""
        if self.paused:
            self.paused = False
            self.bus.go_on()
            self._wake()

    def heal(self) -> None:
        """Whatever was done to it on purpose ends; it is not started."""
        self._disarm()
        self.extra_turn_ms = 0.0
        self.clock.drift(0.0)
        self.clock.skew_ms = 0.0
        self.set_sync_ms(self.options.sync_ms)
        self.set_free_bytes(-1)
        if self._replica is not None and self.plan is not None:
            self.plan.clear(self.clock.monotonic_ms())
            self.resume()

    # -- the disk as a whole

    def bit_rot(self, lot: int) -> None:
        """A bit of the log flips; which one, the number says."""
        where = self.disk.bit_rot(lot)
        self.faults["bit-rot"] = self.faults.get("bit-rot", 0) + 1
        self.log.info("disk.bit_rot", where=where)

    def harm_tail(self, how: str, lot: int, *, witness: bool = True) -> None:
        """The log loses its end: ``how`` and where, as :meth:`SimDisk.harm_tail` has it. Only while
        it is down. Without its ``witness`` a loss in a file of full length cannot be noticed here:
        then what the node told is not held against it."""
        assert self._replica is None
        where = self.disk.harm_tail(how, lot, witness=witness)
        self.log.info("disk.tail", how=how, where=where)
        if where:
            kind = f"tail-{how}"
            self.faults[kind] = self.faults.get(kind, 0) + 1
            if not witness and how != "cut":
                self._invariants.forgive(self.name)

    def lose_log(self) -> None:
        """The log's directory is empty; the mark that there was a log is still there. Only while
        it is down."""
        assert self._replica is None
        self.disk.wipe()
        self.faults["log-loss"] = self.faults.get("log-loss", 0) + 1

    def wipe(self) -> None:
        """A new disk. Only while it is down."""
        assert self._replica is None
        self.home.wipe()
        self.disk.wipe()
        self.faults["wipe"] = self.faults.get("wipe", 0) + 1
        self._invariants.forgive(self.name)

    def remember(self) -> None:
        """Keep a copy of what is durable now."""
        self._remembered = _Copy(self.home.copy(), self.disk.copy(), self.world.now_ms)

    def rollback(self, file: str = "") -> bool:
        """Back to the copy, if there is one; ``file``: only the last of the log's files whose
        name begins so. Only while it is down."""
        assert self._replica is None
        if self._remembered is None:
            return False
        if file:
            names = [name for name in self._remembered.disk if name.startswith(file)]
            if not names:
                return False
            now = self.disk.copy()
            self.disk.restore(now | {max(names): self._remembered.disk[max(names)]})
            return True
        self.home.restore(self._remembered.home)
        self.disk.restore(self._remembered.disk)
        return True

    @property
    def remembered_ms(self) -> float:
        """When the copy was made; for ever from now if there is none."""
        return self._remembered.at_ms if self._remembered is not None else float("inf")

    def go_back(self) -> bool:
        """Back to the copy, on purpose: what it told after that is not held against it."""
        if not self.rollback():
            return False
        self._invariants.forgive(self.name)
        self._remembered = None
        return True

    def set_sync_ms(self, sync_ms: tuple[float, float]) -> None:
        """How long a group commit takes from now on: low, high."""
        self.sync_ms = sync_ms
        if self._replica is not None:
            self.committer.sync_ms = sync_ms

    def set_free_bytes(self, free_bytes: int) -> None:
        """How much room log and directory have left; negative: plenty."""
        self.disk.free = free_bytes if free_bytes >= 0 else PLENTY_BYTES

    # -- crash points

    def arm(self, effects: int, *, power: bool) -> None:
        """Die right before the ``effects``-th effect from now on, in this life or a later."""
        self._arm(effects, power)

    def arm_pause(self, effects: int, duration_ms: float) -> None:
        """Be stopped for so long right before the ``effects``-th effect from now on: in the
        middle of a turn, whose rest comes when the process goes on."""
        self._arm(effects, power=False)
        self._armed_pause_ms = duration_ms

    def _arm(self, effects: int, power: bool) -> None:
        self._armed_pause_ms = 0.0
        self._effects_left = effects
        self._armed_power = power
        self._effect = self._count_down

    def _disarm(self) -> None:
        self._effect = _ignore

    def _on_effect(self, what: str) -> None:
        self._effect(what)

    def _on_disk(self, operation: str, name: str) -> None:
        self._effect(operation)

    def _count_down(self, what: str) -> None:
        self._effects_left -= 1
        if self._effects_left <= 0:
            self._disarm()
            if self._armed_pause_ms:
                self.log.info("process.pause_point", before=what)
                self._stop_here(self._armed_pause_ms)
                return
            self.log.info("process.crash_point", before=what)
            raise SimulatedCrash(what)

    def _stop_here(self, duration_ms: float) -> None:
        if self._replica is None:
            return  # it is only starting: there is nothing to say yet
        self.pause()
        self.bus.stall()
        self.world.at(duration_ms, self._resume_life, self._life)

    def _crash_now(self) -> None:
        self._armed_power = True
        raise SimulatedCrash

    # -- what comes

    def arrive(self, envelope: Envelope) -> None:
        """A peer's message has come to a socket."""
        replica = self._replica
        if replica is None:
            return
        bus = self.bus
        if len(bus.arrived) >= ARRIVED_MAX:
            bus.dropped += 1
            return
        bus.arrived.append(envelope)
        if self._alarm.due_ms > self.world.now_ms:
            if type(envelope.body) is Accepted and not replica.votes_urgent:
                self._wake_at(self.world.now_ms + LAZY_VOTES_MS)
            else:
                self._wake_at(self.world.now_ms)

    def arrive_request(self, client: bytes, message: ClientMessage) -> None:
        """A client's request has come to a socket."""
        if self._replica is None:
            return
        if len(self.bus.requests) < ARRIVED_MAX:
            self.bus.requests.append((client, message))
            self._wake()

    def arrive_subscription(self, subscribe: bool, topic: bytes) -> None:
        """A watcher's wish has come to a socket, or the last one who had it is gone."""
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
        """Do it then, unless this life has ended; not while the process is stopped."""
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
            self._die("crash", self._armed_power)

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
        clock = self.clock
        now_ms = clock.monotonic_ms()
        plan = self.plan
        assert plan is not None
        try:
            wall_ms = clock.wall_ms()
            if plan.active:
                wall_ms += plan.clock_skew_ms(now_ms)
            replica.turn(now_ms, wall_ms)
            self._invariants.on_turn(self.name, replica.turn_units)
            if replica.standing.removed:
                self._leave()
                return
            if self.node.fresh:
                self._check_log(replica)
            if plan.active and self._suffer(plan, now_ms):
                return
        except SimulatedCrash:
            self._die("crash", self._armed_power)
            return
        except StorageError as error:
            self._fail(error)
            return
        self._plan_next(replica, plan, now_ms)

    def _plan_next(self, replica: Replica, plan: FaultPlan, now_ms: float) -> None:
        world_ms = self.world.now_ms
        self._ready_ms = world_ms + self.options.turn_ms + self.extra_turn_ms + self._slept_ms
        self._slept_ms = 0.0
        bus = self.bus
        if bus.arrived or bus.requests:
            self._wake_at(world_ms)
            return
        due_ms = replica.next_due_ms(now_ms)
        held_due_ms = bus.next_due_ms()
        if held_due_ms is not None and held_due_ms < due_ms:
            due_ms = held_due_ms
        if plan.timed_active:
            due_ms = min(due_ms, max(plan.next_due_ms(), self._look_due_ms))
        self._wake_at(world_ms + self.clock.until_ms(due_ms))

    def _suffer(self, plan: FaultPlan, now_ms: float) -> bool:
        """What fault rules do to the process itself; True if it stops now."""
        if now_ms < self._look_due_ms:
            return False
        self._look_due_ms = now_ms + LOOK_MS
        plan.expire(now_ms)
        self._faulty_disk.tick()
        if plan.crash_due(now_ms):
            self._armed_power = True
            raise SimulatedCrash
        pause_ms = plan.pause_due_ms(now_ms)
        if pause_ms:
            self.pause()
            self.world.at(pause_ms, self._resume_life, self._life)
            return True
        return False

    def _resume_life(self, life: int) -> None:
        if life == self._life:
            self.resume()

    def _check_log(self, replica: Replica) -> None:
        node = self.node
        fresh, node.fresh = node.fresh, []
        for slot in fresh:
            if slot < replica.wal.first_slot:
                continue  # in a snapshot that is just being taken in
            try:
                value = replica.log_source.read(slot)[1]
            except KeyError:
                if self.damaged:
                    continue  # found where it was put, and it is being made good
                raise
            self._invariants.check_log(self.name, slot, value)

    def _run_job(self, job: SyncJob) -> float:
        self._slept_ms = 0.0
        try:
            job.run()
        except StorageError:
            self.failed_syncs += 1
            raise
        slept_ms, self._slept_ms = self._slept_ms, 0.0
        return slept_ms

    def _sleep(self, duration_ms: float) -> None:
        self._slept_ms += duration_ms

    # -- faults

    def _on_fault(self, event: str, fields: dict[str, Any]) -> None:
        self.log.warning(event, **fields)
        if event == "fault.healed":
            self._note_hits(fields["fault"], fields["kind"], fields["hits"])
            self._counted.pop(fields["fault"], None)

    def collect_hits(self) -> None:
        """Bring ``faults`` up to what the present rules have done so far."""
        if self.plan is not None:
            for rule in self.plan.list(self.clock.monotonic_ms()):
                self._note_hits(rule["name"], rule["kind"], rule["hits"])

    def _note_hits(self, name: str, kind: str, hits: int) -> None:
        """This rule of this life has struck so often by now."""
        before = self._counted.get(name, 0)
        if hits > before:
            self._counted[name] = hits
            self.faults[kind] = self.faults.get(kind, 0) + hits - before


def _make_clock(world: World, streams: str, drift_ppm: float) -> SimClock:
    lots = world.derive(f"{streams}/clock")
    clock = SimClock(world, base_ms=lots.uniform(0, 1e7))
    clock.drift(lots.uniform(-1.0, 1.0) * drift_ppm)
    return clock


__all__ = ["CLUSTER", "ProcessOptions", "SimProcess", "SimulatedCrash", "Violation"]
