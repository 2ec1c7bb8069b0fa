"""What a run is like besides its faults, drawn from the seed: bounds, disks, network, clients."""

import random
from dataclasses import replace
from typing import Any

from paxosd.check.history import History
from paxosd.check.workload import BALANCED, Mix
from paxosd.core.cluster_settings import DEFAULTS, ClusterSettings
from paxosd.core.state.chain import MARK_SLOTS
from paxosd.core.state.machine import CHECKSUM_SLOTS
from paxosd.core.types import NodeId
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import ClusterOptions, SimCluster
from paxosd.sim.cluster.life import ProcessOptions
from paxosd.sim.world.frame_limits import LARGE, Sizes
from paxosd.sim.world.network import NetworkOptions

TIGHT: dict[str, Any] = {
    "apply_commands_max": 2,
    "promise_bytes_max": 200,
    "accept_ahead_slots_max": 8,
    "catch_up_slots_max": 3,
    "window_slots_max": 6,
    "eager_slots_max": 6,
    "batch_commands_max": 1,
    "queue_commands_max": 2,
}
"""Bounds so small that every run meets them: paged promises, laggards, busy answers."""

EAGER: dict[str, Any] = {
    "election_timeout_ms": 250,
    "heartbeat_ms": 40,
    "retransmit_ms": 60,
    "eager_slots_max": 16,
}
"""Little patience and a deep pipeline."""

HASTY: dict[str, Any] = {
    "election_timeout_ms": 120,
    "heartbeat_ms": 30,
    "retransmit_ms": 50,
    "pull_after_ms": 10,
}
"""So little patience that on a slow network leaders change all the time."""

FEW: dict[str, Any] = {"slots_max": 150, "margin_slots": 20, "chunk_bytes": 2000}
MANY: dict[str, Any] = {
    "slots_max": 15,
    "log_bytes_max": 4000,
    "margin_slots": 0,
    "chunk_bytes": 300,
    "send_bytes_per_s": 30_000,
}
"""A snapshot every few slots and no log before it: who misses a moment needs one."""

SWIFT: dict[str, Any] = {"chunk_bytes": 2000, "send_bytes_per_s": 1 << 20}
"""Where values are a hundred times larger than elsewhere, snapshots are sent so much faster."""

MIXES: tuple[Mix, ...] = (
    BALANCED,
    {"put": 1, "get": 2},
    {"put": 2, "get": 2, "cas": 6, "cas_revision": 3, "delete": 1},
    {"put": 4, "get": 3, "delete": 3, "range": 2, "delete_range": 1},
)


def draw_cluster(rng: random.Random) -> ClusterOptions:
    """Bounds, disks and network."""
    node = rng.choice(({}, {}, TIGHT, EAGER, TIGHT | EAGER, HASTY, TIGHT | HASTY))
    network = NetworkOptions(
        delay_ms=rng.choice(((0.1, 0.6), (0.1, 0.6), (0.2, 4.0), (1.0, 30.0))),
        wire=rng.random() < 0.08,
    )
    process = ProcessOptions(
        node=node,
        segment_bytes=rng.choice((4096, 16 << 10, 64 << 10, 64 << 10)),
        turn_ms=rng.choice((0.05, 0.15, 1.0)),
        sync_ms=rng.choice(((0.2, 1.0), (0.3, 3.0), (2.0, 15.0), (10.0, 80.0))),
        drift_ppm=rng.choice((0.0, 0.0, 200.0, 50_000.0, 300_000.0)),
        snapshots=rng.choice((None, FEW, MANY, MANY)),
    )
    return ClusterOptions(network=network, process=process)


def waiting(shape: ClusterOptions, compare_wait_ms: float) -> ClusterOptions:
    """Nodes that wait so long for each of the others before they act. Where a running member is
    rolled back, the only one who knows may be stopped or cut off for long, and to decide without it
    is to lose what it knows (docs/ACTING.md): there they wait however long one is away."""
    node = {**shape.process.node, "compare_wait_ms": compare_wait_ms}
    return replace(shape, process=replace(shape.process, node=node))


def keeping(rng: random.Random, shape: ClusterOptions) -> ClusterOptions:
    """How much history all nodes keep: in most runs so little that it is trimmed all the time."""
    settings = ClusterSettings(history_revisions=rng.choice((10_000, 100, 20)))
    node = {**shape.process.node, "founding_settings": settings}
    return replace(shape, process=replace(shape.process, node=node))


def draw_level(
    rng: random.Random, shape: ClusterOptions, names: list[NodeId], duration_ms: float
) -> tuple[ClusterOptions, dict[NodeId, float]]:
    """How long sessions may be unused; and of a cluster that is upgraded meanwhile, which processes
    begin with an older program, and when they are started with the present one."""
    ttl_ms = rng.choice((3_600_000, 3_600_000, 15_000))
    settings = shape.process.node.get("founding_settings", DEFAULTS)
    settings = settings._replace(session_ttl_ms=ttl_ms)
    node = {**shape.process.node, "founding_settings": settings}
    upgrades: dict[NodeId, float] = {}
    if rng.random() < 0.3:
        old = rng.sample(names, rng.randint(1, len(names)))
        upgrades = {name: rng.uniform(0.1, 0.8) * duration_ms for name in sorted(old)}
    return replace(shape, process=replace(shape.process, node=node)), upgrades


def summing(rng: random.Random, shape: ClusterOptions) -> ClusterOptions:
    """States are summed up, and snapshots taken, more often than a run would ever come to."""
    slots = rng.choice((MARK_SLOTS, 2 * MARK_SLOTS, CHECKSUM_SLOTS))
    return replace(shape, process=replace(shape.process, checksum_slots=slots))


def limited(shape: ClusterOptions, sizes: Sizes | None) -> ClusterOptions:
    """A cluster whose nodes may have unequal limits. There are snapshots in it: a node gets what is
    in the log and larger than it takes by no other way."""
    if sizes is None:
        return shape
    process = replace(
        shape.process,
        message_bytes_max=LARGE,
        snapshots={**(shape.process.snapshots or FEW), **SWIFT},
    )
    return replace(shape, process=process)


def make_clients(
    cluster: SimCluster,
    history: History,
    *,
    count: int,
    operations: int,
    keys: int,
    duration_ms: float,
    sizes: Sizes | None = None,
    gives_name: bool = False,
) -> list[SimClient]:
    """The clients of a run, with the work divided among them."""
    rng = cluster.world.derive("clients")
    mix = rng.choice(MIXES)
    names: list[NodeId] = cluster.names
    each, rest = divmod(operations, count)
    clients = []
    for number in range(count):
        options = WorkOptions(
            operations=max(1, each + (number < rest)),
            duration_ms=duration_ms * 0.9,
            keys=tuple(b"k%d" % place for place in range(keys)),
            mix=mix,
            timeout_ms=rng.choice((1500, 5000, 10_000)),
            attempt_timeout_ms=rng.choice((300, 1000)),
            burst_mean=rng.choice((1.0, 4.0, 10.0, 30.0)),
            open_loop=rng.random() < 0.4,
            sizes=sizes,
            gives_name=gives_name,
        )
        name = f"c{number + 1}"
        clients.append(
            SimClient(
                cluster.world,
                cluster.network,
                name,
                names,
                history,
                options,
                sent=cluster.invariants.proposed.add,
            )
        )
    return clients
