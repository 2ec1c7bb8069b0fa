"""One life of a simulated member: the daemon's own assembly (``paxosd/replica/assembly.py``), with
the simulator's disk, clock, network and randomness in the places of the real ones.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from paxosd.bus.inbox import Inbox
from paxosd.bus.peers import PeerEndpoints
from paxosd.core.cluster_settings import DEFAULTS
from paxosd.core.membership import UNKNOWN, Member, Membership
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import NOBODY, Quorums
from paxosd.core.state.machine import CHECKSUM_SLOTS
from paxosd.core.types import NodeId
from paxosd.faults.disk import FaultyDisk
from paxosd.faults.plan import FaultPlan
from paxosd.recorder.recorder import Recorder
from paxosd.replica.assembly import Equipment, assemble, make_replica
from paxosd.replica.parts import Assembled
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.replica.replica import Replica
from paxosd.replica.request_times import RequestTimes
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.keys import ROOT, SimKeys
from paxosd.sim.cluster.records import NodeRecords
from paxosd.sim.cluster.traces import RunTraces
from paxosd.sim.cluster.watched import WatchedMachine, WatchedNode
from paxosd.sim.world import frame_limits
from paxosd.sim.world.bus import SimBus
from paxosd.sim.world.clock import SimClock
from paxosd.sim.world.committer import SimCommitter
from paxosd.sim.world.disk import SimDisk
from paxosd.sim.world.helper import SimHelper
from paxosd.sim.world.network import Network
from paxosd.sim.world.trace import TraceLog
from paxosd.snapshot.keeper import SnapshotOptions
from paxosd.storage import identity
from paxosd.storage.node_directory import NodeDirectory
from paxosd.storage.wal import SyncJob, WalOptions
from paxosd.trace.reader import Head
from paxosd.trace.recording import TraceRecorder
from paxosd.wire import EntryLimits
from paxosd.wire.status import encode_status

CLUSTER = "sim"
CRASH_AFTER_MS = 20.0
"""Between a ``fault_crash`` directive and the crash (``paxosd.daemon.daemon.CRASH_AFTER_MS``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """The options of every process of a cluster; times are true times in ms.

    ``node``: settings of the core, apart from its name and quorums; see NodeOptions. ``turn_ms``:
    how long a turn of the loop takes. ``sync_ms``: low and high of a group commit. ``boot_ms``: low
    and high of a start. ``drift_ppm``: how much clocks run too fast or too slow at most; each
    process has a rate of its own.
    """

    node: Mapping[str, Any]
    segment_bytes: int = 64 << 10
    turn_ms: float = 0.15
    sync_ms: tuple[float, float] = (0.3, 1.5)
    at_once_share: float = 0.0
    """The share of the group commits that are carried out within the turn that begins them."""
    boot_ms: tuple[float, float] = (20.0, 200.0)
    drift_ppm: float = 0.0
    snapshots: Mapping[str, Any] | None = None
    """When snapshots are taken; see SnapshotOptions. None: never."""
    checksum_slots: int = CHECKSUM_SLOTS
    """After so many slots each a checksum of the state is made; the same on all nodes, and a power
    of two."""
    message_bytes_max: int = 0
    """``limits.message_bytes_max`` in the first file of each node; 0: no limit."""
    slow_request_ms: float = 250.0
    """``log.slow_request_ms``."""
    traces: RunTraces | None = None
    """Where each life is traced; None: nowhere."""
    measured: bool = False
    """Whether each life notes how long its requests took, as with ``[http]``."""


class Names(Protocol):
    """``names`` of all processes; ``first``: those of the members of epoch 0."""

    @property
    def names(self) -> list[NodeId]: ...

    @property
    def first(self) -> list[NodeId]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a life runs in: disks, clock and network of the member, and the hooks of its process."""

    name: NodeId
    names: list[NodeId]
    first: list[NodeId]
    """The members of epoch 0."""
    joins: bool
    """Whether this node joins later, and is none of them."""
    options: ProcessOptions
    home: SimDisk
    disk: SimDisk
    clock: SimClock
    rng: random.Random
    network: Network
    invariants: Invariants
    log: TraceLog
    records: NodeRecords | None
    """What it leaves behind; None: nothing."""
    debug: bool
    clock_ns: Callable[[], int]
    sleep: Callable[[float], object]
    """Called when the disk is slow, with the delay in ms."""
    die: Callable[[], None]
    """Raises."""
    effect: Callable[[str], None]
    """Called right before an effect; see ``crash_point.py``."""
    on_age: Callable[[int, int], object] = lambda age_ms, revision: None
    """Called with each age in ms that its node states, and the revision that is meant."""
    at_once_rng: random.Random
    """Which group commits are carried out within their turn."""
    later: Callable[[float, Callable[[], None]], None]
    lost: Callable[[], None]
    """Its log was found damaged, and set aside. Raises Violation if it was sound."""
    run_job: Callable[[SyncJob], float]
    wake: Callable[[], None]
    message_bytes_max: int = 0
    """Of its present file; see ProcessOptions."""
    head: Head | None = None
    """The settings of a node that goes on from a trace; None: those of the simulator."""


@dataclass(slots=True)
class Life:
    """The parts of one life."""

    boot_count: int
    disk: FaultyDisk
    node: WatchedNode
    bus: SimBus
    committer: SimCommitter
    replica: Replica
    turn: Callable[[float, int], None]
    """A turn of the replica; see there."""


def found_alone(around: Surroundings) -> None:
    """As ``paxosd init``: an operator does it once, before the first start, for a cluster that
    begins with this node alone."""
    bits = _apart(around.rng).getrandbits
    claim = node_directory(around).claim(bits)
    settings = around.options.node.get("founding_settings", DEFAULTS)
    document = settings.to_command().decode()
    identity.found_alone(around.home, CLUSTER, around.name, claim.directory_id, document)


def begin_life(around: Surroundings, plan: FaultPlan, sync_ms: tuple[float, float]) -> Life:
    """Recover, and be ready for the first turn. Raises StorageError, OSError."""
    clock = around.clock
    disk = FaultyDisk(
        around.disk, plan, now_ms=clock.monotonic_ms, sleep_ms=around.sleep, crash=around.die
    )
    home = FaultyDisk(
        around.home,
        plan,
        now_ms=clock.monotonic_ms,
        sleep_ms=around.sleep,
        crash=around.die,
        home=True,
    )
    tracer = _make_tracer(around)
    equipment = _equipment(around, disk)
    parts = assemble(
        replace(node_directory(around), home=home),
        _node_options(around),
        _contacts(around),
        equipment if tracer is None else tracer.equip(equipment),
    )
    _watch(around, parts)
    bus = SimBus(
        around.name,
        parts.run_id,
        parts.links.peers,
        around.network,
        plan,
        peer_runs=parts.peer_runs,
        now_ms=clock.monotonic_ms,
        effect=around.effect,
        wake=around.wake,
        log=around.log,
        frames_max=parts.node.limits.frames_max if around.message_bytes_max else None,
        inbox_kind=Inbox if tracer is None else tracer.inbox,
    )
    if around.message_bytes_max:
        around.network.frames.message_bytes_max[around.name] = around.message_bytes_max
    committer = _make_committer(around, sync_ms)
    ports = _make_ports(around, parts, plan, bus, committer)
    replica = make_replica(
        parts,
        _replica_options(around, parts.claim.boot_count),
        _snapshot_options(around),
        ports if tracer is None else tracer.ports(ports),
    )
    turn = replica.turn
    if tracer is not None:
        tracer.begin()
        turn = partial(tracer.turn, replica)
    assert isinstance(parts.node, WatchedNode)
    return Life(parts.claim.boot_count, disk, parts.node, bus, committer, replica, turn)


def _make_ports(
    around: Surroundings, parts: Assembled, plan: FaultPlan, bus: SimBus, committer: SimCommitter
) -> Ports:
    return Ports(
        bus=bus,
        committer=committer,
        helper=SimHelper(around.rng, later=around.later, wake=around.wake),
        log=around.log,
        plan=plan,
        faults_enabled=True,
        now_ms=around.clock.monotonic_ms,
        status=lambda: encode_status(parts.node.status()),
        crash=lambda: around.later(CRASH_AFTER_MS, around.die),
        recorder=_make_recorder(around, parts),
        request_times=RequestTimes() if around.options.measured else None,
    )


def _make_tracer(around: Surroundings) -> TraceRecorder | None:
    if around.options.traces is None:
        return None
    return around.options.traces.begin_life(
        {"home": around.home, "log": around.disk},
        segment_bytes=around.options.segment_bytes,
        checksum_slots=around.options.checksum_slots,
        node_options=_node_options(around),
        contacts=_contacts(around),
        replica_options=_replica_options(around, 0),
        snapshot_options=_snapshot_options(around),
    )


def _make_committer(around: Surroundings, sync_ms: tuple[float, float]) -> SimCommitter:
    share, draw = around.options.at_once_share, around.at_once_rng.random
    return SimCommitter(
        around.rng,
        sync_ms,
        later=around.later,
        run=around.run_job,
        wake=around.wake,
        at_once=lambda: share > 0 and draw() < share,
    )


def _make_recorder(around: Surroundings, parts: Assembled) -> Recorder | None:
    if around.records is None:
        return None
    return around.records.begin_life(
        Recorder(
            CLUSTER, around.name, parts.claim.boot_count, parts.run_id, parts.node.directory_id
        )
    )


def node_directory(around: Surroundings) -> NodeDirectory:
    """The member's data directory."""
    return NodeDirectory(
        cluster=CLUSTER if around.head is None else around.head.cluster,
        node=around.name,
        home=around.home,
        log_disk=around.disk,
        place=around.name,
    )


def _equipment(around: Surroundings, disk: FaultyDisk) -> Equipment:
    rng, clock = around.rng, around.clock
    return Equipment(
        log=around.log,
        log_disk=lambda claim: disk,
        now_ms=clock.monotonic_ms,
        wall_ms=clock.wall_ms,
        rng=rng,
        wal_options=WalOptions(
            segment_bytes=around.options.segment_bytes,
            prepare_ahead=False,
            random_bytes=rng.randbytes,
            clock_ns=around.clock_ns,
        ),
        random_bits=rng.getrandbits,
        identity_bits=lambda: _apart(rng).getrandbits,
        machine=WatchedMachine(around.invariants, around.name, around.options.checksum_slots),
        node_kind=WatchedNode,
    )


def _watch(around: Surroundings, parts: Assembled) -> None:
    """From now on the invariants check what the node does."""
    claim, memory, node = parts.claim, parts.memory, parts.node
    if memory.lost or claim.repaired:  # now, or by a start that crashed when that was done
        around.lost()
        around.invariants.forgive(around.name, memory.directory_id or claim.directory_id)
    around.invariants.recovered(around.name, memory.recovered)
    around.invariants.started(around.name, node.promised, memory.recovered)
    assert isinstance(node, WatchedNode)
    node.watch(around.invariants, around.name, around.on_age)


def _apart(rng: random.Random) -> random.Random:
    """A copy of ``rng``, which stays as it is: a run does not depend on whether a data directory
    is new."""
    apart = random.Random()
    apart.setstate(rng.getstate())
    return apart


def _contacts(around: Surroundings) -> dict[NodeId, PeerEndpoints]:
    """A node that joins knows all nodes; the others know the members of epoch 0."""
    if around.head is not None:
        return dict(around.head.contacts)
    known = around.names if around.joins else around.first
    return {name: PeerEndpoints(name, name) for name in known if name != around.name}


def _node_options(around: Surroundings) -> NodeOptions:
    if around.head is not None:
        return around.head.node_options
    return NodeOptions(
        node=around.name,
        quorums=NOBODY if around.joins else Quorums(around.first),
        # With the endpoints, so that a node can inform a client where the leader is.
        bootstrap=UNKNOWN if around.joins else _of_file(around.first),
        cluster=CLUSTER,
        peer_endpoint=around.name,
        events_endpoint=around.name,
        level_target=around.invariants.understood.get(around.name, 0),
        **_core_options(around),
    )


def _core_options(around: Surroundings) -> dict[str, Any]:
    node = dict(around.options.node)
    if around.message_bytes_max:
        node |= frame_limits.node_options(around.message_bytes_max, node)
    return node


def _of_file(names: Sequence[NodeId]) -> Membership:
    return Membership({name: Member(name, name, name) for name in names})


def _snapshot_options(around: Surroundings) -> SnapshotOptions | None:
    if around.head is not None:
        return around.head.snapshot_options
    settings = around.options.snapshots
    if settings is None:
        return None
    members = {name: {"peer": name} for name in around.names}
    return SnapshotOptions(cluster=CLUSTER, members=members, **settings)


def _replica_options(around: Surroundings, boot_count: int) -> ReplicaOptions:
    if around.head is not None:
        return replace(around.head.replica_options, boot_count=boot_count)
    is_keyed = around.network.keys is not None
    return ReplicaOptions(
        cluster=CLUSTER,
        node=around.name,
        boot_count=boot_count,
        contacts=_contacts(around),
        trusted_peers=SimKeys(around.names).nodes if is_keyed else {},
        trusted_admins={"root": ROOT} if is_keyed else {},
        entry_limits=EntryLimits(),
        read_bytes_max=1 << 20,
        catch_up_bytes_max=frame_limits.part_of(around.message_bytes_max) or 1 << 20,
        subscriptions_max=16,
        debug=around.debug,
        slow_request_ms=around.options.slow_request_ms,
    )
