"""Draws, from the seed, which nodes have a smaller limit on messages, and from when on."""

import random

from paxosd.core.types import NodeId
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.frame_limits import LARGE, SMALL


def draw_limits(rng: random.Random, names: list[NodeId], duration_ms: float) -> list[Directive]:
    """Who is started again with another limit; the first times are before any client works."""
    drawn = []
    for name in sorted(rng.sample(names, (len(names) - 1) // 2)):
        at_ms = 0.0 if rng.random() < 0.5 else rng.uniform(0.05, 0.8) * duration_ms
        small = rng.choice(SMALL)
        while at_ms < duration_ms:
            args = {"message_bytes_max": small}
            drawn.append(Directive(int(at_ms), "limits", name, args))
            small = rng.choice((LARGE, *SMALL))
            at_ms += rng.uniform(0.2, 1.5) * duration_ms
    return drawn
