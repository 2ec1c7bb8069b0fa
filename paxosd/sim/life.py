"""One life of a simulated member: the daemon's own parts, put together as the daemon does.

    identity ─► log, state machine ─► node ─► bus, committer, admin ─► replica

What ``paxosd/startup.py`` and ``paxosd/daemon.py`` are to the daemon, with the simulator's disk,
clock, network and randomness in the places of the real ones.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paxosd import identity
from paxosd.admin import Admin
from paxosd.core.membership import UNKNOWN
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import NOBODY, Quorums
from paxosd.core.types import NodeId
from paxosd.disk import Disk
from paxosd.faults import FaultPlan
from paxosd.faulty_disk import FaultyDisk
from paxosd.lives import LOT_BITS, PeerLives, life_number
from paxosd.member_links import PeerEndpoints, links
from paxosd.recovery import Memory, make_node, recover
from paxosd.replica import Replica, ReplicaOptions
from paxosd.sim.bus import SimBus
from paxosd.sim.clock import SimClock
from paxosd.sim.committer import SimCommitter
from paxosd.sim.disk import SimDisk
from paxosd.sim.helper import SimHelper
from paxosd.sim.invariants import Invariants, WatchedMachine, WatchedNode
from paxosd.sim.network import Network
from paxosd.sim.trace import TraceLog
from paxosd.snapshot_jobs import Jobs
from paxosd.snapshots import SnapshotOptions, Snapshots
from paxosd.standing import Standing
from paxosd.wal import SyncJob, WalOptions
from paxosd.wire import EntryLimits

CLUSTER = "sim"
CRASH_AFTER_MS = 20.0
"""Between a ``fault_crash`` directive and the crash (``paxosd.daemon.CRASH_AFTER_MS``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """What every process of a cluster is made with; times in ms, of true time.

    ``node``: settings of the core besides its name and quorums; see NodeOptions. ``turn_ms``:
    how long a turn of the loop takes. ``sync_ms``: low, high of a group commit. ``drift_ppm``:
    clocks run so much too fast or too slow, at most; each process at a rate of its own.
    """

    node: Mapping[str, Any]
    segment_bytes: int = 64 << 10
    turn_ms: float = 0.15
    sync_ms: tuple[float, float] = (0.3, 1.5)
    boot_ms: tuple[float, float] = (20.0, 200.0)
    drift_ppm: float = 0.0
    snapshots: Mapping[str, Any] | None = None
    """When snapshots are taken; see SnapshotOptions. None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a life is put into: the member's own things, and what it can do to its process."""

    name: NodeId
    names: list[NodeId]
    first: list[NodeId]
    """The members of epoch 0."""
    joins: bool
    """Whether this one is none of them."""
    options: ProcessOptions
    home: SimDisk
    disk: SimDisk
    clock: SimClock
    rng: random.Random
    network: Network
    invariants: Invariants
    log: TraceLog
    debug: bool
    clock_ns: Callable[[], int]
    sleep: Callable[[float], object]
    """The disk is slow by so many ms."""
    die: Callable[[], None]
    """Raises."""
    effect: Callable[[str], None]
    """About to be done: something that others can see."""
    later: Callable[[float, Callable[[], None]], None]
    lost: Callable[[], None]
    """Its log was found damaged, and set aside. Raises Violation if it was sound."""
    run_job: Callable[[SyncJob], float]
    wake: Callable[[], None]


@dataclass(slots=True)
class Life:
    """The parts of one life."""

    incarnation: int
    disk: FaultyDisk
    node: WatchedNode
    bus: SimBus
    committer: SimCommitter
    replica: Replica


def begin_life(around: Surroundings, plan: FaultPlan, sync_ms: tuple[float, float]) -> Life:
    """Recover, and be ready for the first turn. Raises StorageError, OSError."""
    clock = around.clock
    disk = FaultyDisk(
        around.disk, plan, now_ms=clock.monotonic_ms, sleep_ms=around.sleep, crash=around.die
    )
    claim = identity.claim(
        around.home,
        CLUSTER,
        around.name,
        place=around.name,
        created="",
        has_log=any(name.startswith("wal-") for name in around.disk.list()),
        random_bits=_apart(around.rng).getrandbits,
    )
    incarnation = claim.incarnation
    memory = recover(
        around.home,
        disk,
        cluster=CLUSTER,
        node=around.name,
        wal_options=WalOptions(
            segment_bytes=around.options.segment_bytes,
            prepare_ahead=False,
            random_bytes=around.rng.randbytes,
            clock_ns=around.clock_ns,
        ),
        log=around.log,
        now_ms=clock.monotonic_ms,
        machine=WatchedMachine(around.invariants, around.name),
        random_bits=around.rng.getrandbits,
    )
    if memory.lost or claim.repaired:  # now, or by a start that crashed when that was done
        around.lost()
        around.invariants.forgive(around.name, memory.directory or claim.directory)
    around.invariants.recovered(around.name, memory.recovered)
    life = life_number(incarnation, around.rng.getrandbits(LOT_BITS))
    node = _make_node(around, memory, life, claim)
    peers, pins = links(node.membership, around.name, _contacts(around))
    bus = SimBus(
        around.name,
        life,
        peers,
        around.network,
        plan,
        lives=PeerLives(around.home, peers, pins),
        now_ms=clock.monotonic_ms,
        effect=around.effect,
    )
    committer = SimCommitter(
        around.rng, sync_ms, later=around.later, run=around.run_job, wake=around.wake
    )
    snapshots = _make_snapshots(around, memory, disk)
    standing = Standing(
        around.home,
        node,
        around.log,
        lost=claim.lost or memory.lost,
        random_bits=_apart(around.rng).getrandbits,
    )
    replica = _make_replica(
        around, memory, node, bus, committer, snapshots, plan, incarnation, standing
    )
    return Life(incarnation, disk, node, bus, committer, replica)


def _apart(rng: random.Random) -> random.Random:
    """One that goes on like ``rng``, which it leaves as it is: what a seed leads to does not
    depend on whether a data directory is new."""
    apart = random.Random()
    apart.setstate(rng.getstate())
    return apart


def _contacts(around: Surroundings) -> dict[NodeId, PeerEndpoints]:
    """A node that joins knows all; the others know the members of epoch 0."""
    known = around.names if around.joins else around.first
    return {name: PeerEndpoints(name, name) for name in known if name != around.name}


def _make_node(
    around: Surroundings, memory: Memory, life: int, claim: identity.Claim
) -> WatchedNode:
    node: Node = make_node(
        memory,
        NodeOptions(
            node=around.name,
            quorums=NOBODY if around.joins else Quorums(around.first),
            bootstrap=UNKNOWN if around.joins else None,
            level_target=around.invariants.understood.get(around.name, 0),
            **around.options.node,
        ),
        list(_contacts(around)),
        around.rng,
        incarnation=life,
        now_ms=around.clock.monotonic_ms(),
        wall_ms=around.clock.wall_ms(),
        kind=WatchedNode,
        directory=claim.directory,
        lost=claim.lost,
        repaired=claim.repaired,
    )
    assert isinstance(node, WatchedNode)
    node.invariants, node.name = around.invariants, around.name
    return node


def _make_snapshots(around: Surroundings, memory: Memory, disk: Disk) -> Snapshots | None:
    settings = around.options.snapshots
    if settings is None:
        return None
    members = {name: {"peer": name} for name in around.names}
    return Snapshots(
        SnapshotOptions(cluster=CLUSTER, members=members, **settings),
        machine=memory.machine,
        wal=memory.wal,
        disk=disk,
        jobs=Jobs(SimHelper(around.rng, later=around.later, wake=around.wake)),
        kept=memory.kept,
        log=around.log,
    )


def _make_replica(
    around: Surroundings,
    memory: Memory,
    node: WatchedNode,
    bus: SimBus,
    committer: SimCommitter,
    snapshots: Snapshots | None,
    plan: FaultPlan,
    incarnation: int,
    standing: Standing,
) -> Replica:
    admin = Admin(
        node.status,
        memory.machine,
        plan,
        True,
        around.clock.monotonic_ms,
        lambda: around.later(CRASH_AFTER_MS, around.die),
    )
    options = ReplicaOptions(
        cluster=CLUSTER,
        node=around.name,
        incarnation=incarnation,
        contacts=_contacts(around),
        entry_limits=EntryLimits(),
        read_bytes_max=1 << 20,
        catch_up_bytes_max=1 << 20,
        subscriptions_max=16,
        debug=around.debug,
    )
    return Replica(
        options,
        node=node,
        machine=memory.machine,
        wal=memory.wal,
        codec=memory.codec,
        bus=bus,
        committer=committer,
        admin=admin.handle,
        log=around.log,
        snapshots=snapshots,
        standing=standing,
    )
