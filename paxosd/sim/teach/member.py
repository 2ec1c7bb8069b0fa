"""One member of a lesson: its disks, and its runs, each the daemon's own assembly and turn.

The same :class:`paxosd.replica.replica.Replica` as in the daemon runs here, on a bus whose every
message can be held or lost (``wires.py``) and with a committer that can be held. The script decides
what goes wrong; the replica alone decides what follows from it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from paxosd.bus.peers import PeerEndpoints
from paxosd.core.effects import Ready, Record
from paxosd.core.messages import Envelope
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import Quorums
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.replica.assembly import Equipment, assemble, make_replica
from paxosd.replica.parts import Assembled
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.replica.replica import Replica
from paxosd.sim.teach.happenings import Recorder
from paxosd.sim.teach.member_bus import MemberBus, Read, Write
from paxosd.sim.teach.observer import Observer
from paxosd.sim.teach.wires import Wires
from paxosd.sim.world.alarm import Alarm
from paxosd.sim.world.committer import SimCommitter
from paxosd.sim.world.disk import SimDisk
from paxosd.sim.world.helper import SimHelper
from paxosd.sim.world.trace import TraceLog
from paxosd.sim.world.world import World
from paxosd.storage.node_directory import NodeDirectory
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.wal import SyncJob, WalOptions
from paxosd.wire import EntryLimits
from paxosd.wire.status import encode_status

CLUSTER = "lesson"
SEGMENT_BYTES = 256 << 10
SYNC_MS = (0.8, 1.2)
"""How long an fsync takes: low, high."""
_LOG = TraceLog(None, "")
"""A log that nobody reads: the narrator says what happened."""


class BandedRandom(random.Random):
    """Randomness of one node, all of it out of one part of each interval, so that a script can
    say whose timer runs out first. What the node draws, and when, is its own decision."""

    def __init__(self, seed: str, part: int, parts: int) -> None:
        super().__init__(seed)
        self._low = part / parts
        self._width = 0.4 / parts

    def uniform(self, a: float, b: float) -> float:
        """Between a and b, within this node's part."""
        return a + (b - a) * (self._low + self._width * self.random())


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all members of a stage share.

    ``order``: the names in the order in which their election timers run out. ``naive``: those that
    ask nobody whether they were here before, and are believed whatever they say of themselves.
    """

    world: World
    names: tuple[NodeId, ...]
    order: tuple[NodeId, ...]
    quorums: Quorums
    wires: Wires
    recorder: Recorder
    observer: Observer
    sync_rng: random.Random
    naive: set[NodeId] = field(default_factory=set)
    patient: set[NodeId] = field(default_factory=set)
    """Those whose election timers run out long after the others'."""


class NotedCommitter(SimCommitter):
    """Group commits of one run, each of which takes a while; says what is on disk when it is."""

    def __init__(
        self,
        around: Surroundings,
        later: Callable[[float, Callable[[], None]], None],
        wake: Callable[[], None],
        synced: Callable[[list[Record], float], None],
    ) -> None:
        """``synced(records, duration_ms)`` is called when a group is on disk."""
        super().__init__(
            around.sync_rng, SYNC_MS, later=later, run=self._run_noted, wake=wake, spikes=False
        )
        self.waiting: list[Record] = []
        """Records that were appended to the log since the last group began."""
        self._world = around.world
        self._synced = synced
        self._records: list[Record] = []
        self._began_ms = 0.0

    def start(self, job: SyncJob, *, may_block: bool) -> bool:
        self._records, self.waiting = self.waiting, []
        self._began_ms = self._world.now_ms
        return super().start(job, may_block=may_block)

    def _run_noted(self, job: SyncJob) -> float:
        job.run()
        self._synced(self._records, self._world.now_ms - self._began_ms)
        return 0.0


class Member:
    """One member, up or down."""

    def __init__(self, name: NodeId, around: Surroundings) -> None:
        rng = around.world.derive(f"{name}/disk")
        self.name = name
        self.home = SimDisk(rng)
        """The data directory: identity, count of starts, the note that there is a log."""
        self._disk = SimDisk(rng)
        """The log's directory in it."""
        self._around = around
        self._life: Life | None = None

    @property
    def life(self) -> "Life":
        """The present life. It must be up."""
        assert self._life is not None, f"{self.name} is down"
        return self._life

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self._life is not None

    def start(self) -> None:
        """A new life, with what the disks hold. Raises StorageError if it must not start."""
        self.begin(self.assemble(arriving=self.name not in self._around.naive))

    def assemble(self, *, arriving: bool) -> Assembled:
        """The daemon's own start: identity, log, replay, node. ``arriving``: whether it asks its
        peers how they know it, as it must."""
        assert self._life is None
        around, name = self._around, self.name
        return assemble(
            NodeDirectory(
                cluster=CLUSTER, node=name, home=self.home, log_disk=self._disk, place=name
            ),
            NodeOptions(node=name, quorums=around.quorums, cluster=CLUSTER, compare_wait_ms=0),
            {peer: PeerEndpoints(peer, peer) for peer in around.names if peer != name},
            self._equipment(around.world.derive(f"{name}/{around.world.now_ms}")),
            arriving=arriving,
        )

    def begin(self, parts: Assembled) -> None:
        """Be up, made of these parts, and take a first turn."""
        self._life = Life(self.name, parts, self._around)
        self._life.turn()

    def crash(self) -> None:
        """Power off: what was not synced is gone."""
        self.life.end()
        self._life = None
        self._disk.restore(self._disk.copy())
        self.home.restore(self.home.copy())

    def wipe(self, *, whole: bool) -> None:
        """While it is down it loses its log; if ``whole``, all of its data directory."""
        assert self._life is None
        self._disk.wipe()
        if whole:
            self.home.wipe()

    def _equipment(self, rng: random.Random) -> Equipment:
        around = self._around
        world = around.world
        part = around.order.index(self.name)
        if self.name in around.patient:
            part += 2 * len(around.names)
        return Equipment(
            log=_LOG,
            log_disk=lambda claim: self._disk,
            now_ms=lambda: world.now_ms,
            wall_ms=lambda: int(world.now_ms),
            rng=BandedRandom(str(rng.random()), part, len(around.names)),
            wal_options=WalOptions(
                segment_bytes=SEGMENT_BYTES,
                prepare_ahead=False,
                random_bytes=rng.randbytes,
                clock_ns=lambda: int(world.now_ms * 1e6),
            ),
            random_bits=rng.getrandbits,
            identity_bits=lambda: rng.getrandbits,
            node_kind=_observed(self._see),
            peer_runs_kind=_trusting(around.naive),
        )

    def _see(self, node: Node, ready: Ready) -> None:
        """What the node wants done is about to be done."""
        self._around.observer.promised(self.name, node.promised)
        for notice in ready.notices:
            self._around.recorder.note("notice", self.name, body=notice)
        self.life.committer.waiting += ready.persist


class Life:
    """One life of a member: a replica with its bus and committer, and its turns."""

    def __init__(self, name: NodeId, parts: Assembled, around: Surroundings) -> None:
        self.node = parts.node
        self.machine = parts.memory.machine
        self.wal = parts.memory.wal
        self.bus = MemberBus(name, parts.run_id, parts.peer_runs, around.wires, around.recorder)
        self.committer = NotedCommitter(around, self._later, self.turn, self._synced)
        self._ended = False
        self._name = name
        self._around = around
        self._alarm = Alarm(around.world, self.turn)
        self._replica = self._make_replica(parts)

    def _make_replica(self, parts: Assembled) -> Replica:
        world = self._around.world
        options = ReplicaOptions(
            cluster=CLUSTER,
            node=self._name,
            boot_count=parts.claim.boot_count,
            contacts=parts.links.peers,
            entry_limits=EntryLimits(),
            read_bytes_max=1 << 20,
            catch_up_bytes_max=1 << 20,
            subscriptions_max=1,
        )
        ports = Ports(
            bus=self.bus,
            committer=self.committer,
            helper=SimHelper(self._around.sync_rng, later=self._later, wake=self.turn),
            log=_LOG,
            plan=FaultPlan(),
            faults_enabled=False,
            now_ms=lambda: world.now_ms,
            status=lambda: encode_status(parts.node.status()),
            crash=lambda: None,
        )
        return make_replica(parts, options, None, ports)

    def take(self, source: str, message: Envelope | Write | Read) -> None:
        """Something has arrived: a peer's message or a client's request."""
        if isinstance(message, Envelope):
            self.bus.arrive(message)
        else:
            self.bus.take_request(source, message)
        self.turn()

    def turn(self) -> None:
        """The replica's turn, and when the next one is due."""
        now_ms = self._around.world.now_ms
        self._replica.turn(now_ms, int(now_ms))
        self._alarm.set(max(self._replica.next_due_ms(now_ms), now_ms + 0.01))

    def end(self) -> None:
        """The power is off."""
        self._alarm.reset()
        self._ended = True

    def _later(self, delay_ms: float, action: Callable[[], None]) -> None:
        """Do it then, unless the power is off by then."""

        def act() -> None:
            if not self._ended:
                action()

        self._around.world.at(delay_ms, act)

    def _synced(self, records: list[Record], duration_ms: float) -> None:
        self._around.recorder.note("sync", self._name, body=records, duration_ms=duration_ms)
        self._around.observer.synced(self._name, records)


def _observed(see: Callable[[Node, Ready], None]) -> type[Node]:
    """A node, each of whose batches of effects is shown before it is carried out."""

    class ObservedNode(Node):
        def ready(self) -> Ready:
            ready = super().ready()
            see(self, ready)
            return ready

    return ObservedNode


def _trusting(naive: set[NodeId]) -> type[PeerRuns]:
    """Believes naive members whatever they say of themselves: as if nobody had written down which
    runs it heard."""

    class TrustingRuns(PeerRuns):
        def admit(self, sender: NodeId, run_id: int, *given: Any, **named: Any) -> int:
            if sender in naive:
                return run_id
            return super().admit(sender, run_id, *given, **named)

    return TrustingRuns
