"""A kind of runs in which one key has all the sessions that it may have."""

import random
from dataclasses import replace

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.nemesis.schedule import Directive, Schedule

SESSIONS_40, EVICT_AT_ONCE = 3, 1
"""Lots of the operator in ``paxosd/sim/nemesis/changes.py``."""


def crowded(plain: RunOptions) -> RunOptions:
    """Most of the clients have the same key."""
    more = {"level": LEVEL_LATEST, "rights": 1, "clients": 24, "operations": 300}
    return replace(plain, **more)


def draw_crowd_schedule(rng: random.Random) -> Schedule:
    """There may be 40 sessions, which end as soon as others need room. Nodes begin again with
    snapshots."""
    directives = [
        Directive(at_ms + after_ms, "settings", "", {"lot": lot})
        for at_ms in (1500, 2000)
        for after_ms, lot in ((0, SESSIONS_40), (200, EVICT_AT_ONCE))
    ]
    for at_ms in range(4000, 11_000, 1200):
        node = rng.choice(("n1", "n2", "n3"))
        directives.append(Directive(at_ms, "crash", node, {"power": True}))
        directives.append(Directive(at_ms + 700, "restart"))
    return Schedule(directives)
