"""Draws, from the seed, all of a run that is fixed before it begins.

    draw_run(world, options)  →  RunDraw: members and spares, shape, schedule, upgrades

Each draw has a stream of random numbers of its own (``World.derive``), so that a new draw does not
move the others: an old seed goes on meaning the same run.
"""

from dataclasses import dataclass, replace

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.lease_bounds import DRIFT_PPM_MAX
from paxosd.core.types import NodeId
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.cluster.cluster import ClusterOptions, node_names
from paxosd.sim.nemesis.changes import draw_changes, draw_quota, draw_relics, draw_settings
from paxosd.sim.nemesis.clocks import draw_clocks
from paxosd.sim.nemesis.kinds import BY_REQUEST, KINDS
from paxosd.sim.nemesis.limits import draw_limits
from paxosd.sim.nemesis.misuse import MISUSE_KINDS, draw_misuse, is_rolled_back
from paxosd.sim.nemesis.nemesis import draw_schedule
from paxosd.sim.nemesis.rights import draw_rights
from paxosd.sim.nemesis.schedule import Schedule
from paxosd.sim.nemesis.shape import draw_cluster, draw_level, keeping, limited, summing, waiting
from paxosd.sim.nemesis.tails import draw_tails
from paxosd.sim.world.disk import TAIL_KINDS
from paxosd.sim.world.frame_limits import SHARE, Sizes, draw_sizes
from paxosd.sim.world.world import World

SPARES = 2
"""Nodes that may join, where the membership changes."""
GROWN_SHARE = 0.4
"""The share of the clusters with a changing membership that begin with one node."""
AT_ONCE_SHARE = 1 / 3
"""The share of the runs in which disks are so fast that nodes wait for them within a turn."""
_USUAL = frozenset(KINDS) - BY_REQUEST
_MEMORY_LOSS = frozenset({"bit-rot", "log-loss", "wipe", "rollback", "roll-back", *TAIL_KINDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDraw:
    """What was drawn for one run."""

    first: list[NodeId]
    """The members of epoch 0."""
    spares: list[NodeId]
    shape: ClusterOptions
    sizes: Sizes | None
    """How large values are in a run with unequal limits; None: a few bytes."""
    schedule: Schedule
    levels: dict[NodeId, int]
    """Node → the feature level that the program understands with which it begins."""
    upgrades: dict[NodeId, float]
    """Node → when, in ms, it is started with the present program."""


def draw_run(world: World, options: RunOptions, schedule: Schedule | None = None) -> RunDraw:
    """Draw a run. A ``schedule`` takes the place of the drawn one and changes no other draw."""
    names = node_names(options.nodes + SPARES * options.members)
    sizes = _draw_sizes(world, options)
    if schedule is None:
        schedule = draw_faults(world, names, options, unequal=sizes is not None)
        if sizes is not None:
            limits = draw_limits(world.derive("limits/nodes"), names, options.duration_ms)
            schedule = Schedule([*limits, *schedule])
    shape = draw_cluster(world.derive("shape"))
    if any(is_rolled_back(each) for each in schedule):
        shape = waiting(shape, 10 * options.duration_ms)
    if options.compare_wait_ms is not None:
        shape = waiting(shape, options.compare_wait_ms)
    if options.locks:
        shape = replace(shape, process=replace(shape.process, drift_ppm=float(DRIFT_PPM_MAX)))
    shape = _draw_at_once(world, options, shape)
    upgrades: dict[NodeId, float] = {}
    older = 0
    if options.level:
        shape = summing(world.derive("sums"), shape)
        shape = keeping(world.derive("history"), shape)
        shape, upgrades = draw_level(world.derive("level"), shape, names, options.duration_ms)
        older = world.derive("older").randrange(options.level)
        if options.rights:  # there are keys from the start on
            upgrades = {}
    count = 1 if _draw_grows(world, options) else options.nodes
    return RunDraw(
        first=names[:count],
        spares=names[count:],
        shape=limited(shape, sizes),
        sizes=sizes,
        schedule=schedule,
        levels={name: older if name in upgrades else options.level for name in names},
        upgrades=upgrades,
    )


def _draw_grows(world: World, options: RunOptions) -> bool:
    if options.grows is not None:
        return options.grows
    share = GROWN_SHARE if options.members and options.level else 0.0
    return world.derive("grown").random() < share


def _draw_at_once(world: World, options: RunOptions, shape: ClusterOptions) -> ClusterOptions:
    """How many of the group commits are carried out within their turn."""
    rng = world.derive("at-once")
    drawn = rng.random() < AT_ONCE_SHARE and options.level == LEVEL_LATEST
    at_once = drawn if options.at_once is None else options.at_once
    if not at_once:
        return shape
    share = rng.choice((0.3, 0.9, 1.0))
    return replace(shape, process=replace(shape.process, at_once_share=share))


def _draw_sizes(world: World, options: RunOptions) -> Sizes | None:
    """The sizes of values in a run with unequal limits; None if the run has equal limits."""
    rng = world.derive("limits")
    drawn = rng.random() < SHARE
    unequal = options.unequal_limits
    if unequal is None:
        unequal = drawn and bool(options.level) and not options.members
    return draw_sizes(rng) if unequal else None


def draw_faults(
    world: World, names: list[NodeId], options: RunOptions, *, unequal: bool = False
) -> Schedule:
    """What goes wrong, and what an operator does during the run. ``unequal``: some nodes take
    smaller messages than others."""
    faults = options.faults
    if options.locks:
        faults = (_USUAL if faults is None else faults) - {"clock-drift"}
    if options.members or unequal:
        # Each lost memory reduces the tolerance for good. Where voters leave, that could cost the
        # quorum; so it could where a remaining voter cannot take what another has accepted.
        faults = (_USUAL if faults is None else faults) - _MEMORY_LOSS
    drawn = draw_schedule(world.derive("nemesis"), names, options.duration_ms, faults)
    if options.level and (faults is None or "clock-skew" in faults):
        clocks = draw_clocks(world.derive("clocks"), names, options.duration_ms)
        drawn = Schedule([*drawn, *clocks])
    if options.level:
        drawn = Schedule([*drawn, *draw_settings(world.derive("settings"), options.duration_ms)])
    if options.rights:
        drawn = Schedule([*drawn, *draw_rights(world.derive("rights"), options.duration_ms)])
    if options.quota:
        drawn = Schedule([*drawn, *draw_quota(world.derive("quota"), options.duration_ms)])
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
