"""A member that goes on from a replay: the very node, with the simulator around it from now on."""

from dataclasses import replace

from paxosd.core.node import Node
from paxosd.core.types import NodeId
from paxosd.faults.disk import FaultyDisk
from paxosd.faults.plan import FaultPlan
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.life import Names, ProcessOptions
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.cluster.watched import WatchedNode
from paxosd.sim.world.bus import SimBus
from paxosd.sim.world.clock import EPOCH_MS, SimClock
from paxosd.sim.world.committer import SimCommitter
from paxosd.sim.world.helper import SimHelper
from paxosd.sim.world.network import Network
from paxosd.sim.world.trace import Trace
from paxosd.sim.world.world import World
from paxosd.trace.feed import Live
from paxosd.trace.memory_disk import MemoryDisk
from paxosd.trace.reader import Head
from paxosd.trace.replay import Replay
from paxosd.wire import PEER_KIND_NAMES

PLENTY_BYTES = 1 << 40


class TracedMemoryDisk(MemoryDisk):
    """The disk of a member: in memory, and it outlives the process. What was written stays: a
    crash here is that of a process, not of the power."""

    def __init__(self) -> None:
        super().__init__()
        self.before = lambda operation, name: None

    def forget_unsynced(self) -> None:
        """There is nothing unsynced."""


class AdoptedProcess(SimProcess):
    """A member whose first life, or whose disks, come from a trace."""

    def __init__(
        self,
        world: World,
        name: NodeId,
        names: Names,
        network: Network,
        invariants: Invariants,
        head: Head,
        trace: Trace | None,
    ) -> None:
        options = ProcessOptions(
            node={}, segment_bytes=head.segment_bytes, checksum_slots=head.checksum_slots
        )
        super().__init__(world, name, names, network, invariants, options, trace)
        self.home, self.log_disk = TracedMemoryDisk(), TracedMemoryDisk()
        self.disks.home = self.home  # type: ignore[assignment]  # it does all that a process asks for
        self.disks.log = self.log_disk  # type: ignore[assignment]  # the same
        self._around = replace(
            self._around,
            home=self.disks.home,
            disk=self.disks.log,
            head=head,
        )
        self.idle = False

    def adopt(self, replay: Replay) -> None:
        """Go on with the node of this replay, as it is now."""
        turn = replay.turn
        now_ms = turn.now_ms if turn is not None else 0.0
        wall_ms = turn.wall_ms if turn is not None else replay.trace.head.wall_ms
        skew_ms = wall_ms - EPOCH_MS - self.world.now_ms
        self.clock = SimClock(self.world, base_ms=now_ms, skew_ms=skew_ms)
        self._around = replace(self._around, clock=self.clock)
        self._life += 1
        self.plan = FaultPlan(
            self._on_fault,
            node=self.name,
            nodes=self._around.names,
            message_kinds=PEER_KIND_NAMES.values(),
        )
        self.disks.home.before = self.disks.log.before = self.crash_point.reach
        self.committer = SimCommitter(
            self._rng,
            self.sync_ms,
            later=self._later,
            run=self._run_job,
            wake=self._wake,
        )
        self.bus = self._make_bus(replay, self.plan)
        self.log_disk.free = lambda: PLENTY_BYTES
        replay.feed.live = Live(
            bus=self.bus,
            committer=self.committer,
            helper=SimHelper(self._rng, later=self._later, wake=self._wake),
            rng=self._rng,
            now_ms=self.clock.monotonic_ms,
            wall_ms=self.clock.wall_ms,
            free=lambda: PLENTY_BYTES,
        )
        replica = replay.replica
        node: Node = replica.node
        assert isinstance(node, WatchedNode)
        self._invariants.adopt(self.name, node, replica.machine, replica.wal)
        node.fresh.clear()
        node.watch(self._invariants, self.name, self._note_age)
        self.boot_count = replica.options.boot_count
        self._faulty_disk = FaultyDisk(
            self.disks.log,
            self.plan,
            now_ms=self.clock.monotonic_ms,
            sleep_ms=self._sleep,
            crash=self.crash_point.crash,
        )
        self._node, self._replica, self._take_turn = node, replica, replica.turn
        self._wake()

    def _make_bus(self, replay: Replay, plan: FaultPlan) -> SimBus:
        inbox = replay.bus.own_inbox
        return SimBus(
            self.name,
            replay.run_id,
            replay.bus.peers,
            self._network,
            plan,
            peer_runs=inbox.peer_runs,
            now_ms=self.clock.monotonic_ms,
            effect=self.crash_point.reach,
            wake=self._wake,
            log=self._lines,
            inbox_kind=lambda _name, plan, _runs, *, answer, refused: inbox.go_live(
                plan, answer, refused
            ),
        )
