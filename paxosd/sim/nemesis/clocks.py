"""Draws, from the seed, wall clocks that show anything between 1970 and 2106."""

import random

from paxosd.core.types import NodeId
from paxosd.sim.nemesis.schedule import LEADER, Directive

WALL_MS_MAX = (1 << 32) * 1000
"""The wall clock in 2106, when 32 bits of seconds end."""


def draw_clocks(rng: random.Random, names: list[NodeId], duration_ms: float) -> list[Directive]:
    """Wall clocks that show anything between 1970 and 2106, for a while or for good. Apart from the
    nemesis, so that what it draws does not depend on it; most runs have none."""
    directives: list[Directive] = []
    if rng.random() < 0.6:
        return directives
    at_ms = rng.uniform(0.0, 0.2) * duration_ms
    while at_ms < duration_ms:
        name = LEADER if rng.random() < 0.5 else rng.choice(names)
        wall_ms = rng.choice((0, rng.randrange(WALL_MS_MAX), rng.randrange(WALL_MS_MAX)))
        directives.append(Directive(int(at_ms), "clock_set", name, {"wall_ms": wall_ms}))
        at_ms += rng.uniform(0.05, 0.4) * duration_ms
    return directives
