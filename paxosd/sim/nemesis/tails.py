"""Draws, from the seed, when a node that is down loses the end of its log, and who else is down.

A pass of its own, after ``nemesis.py``: what a seed drew before is not moved by it. The node is
one of the minority whose memory may be lost; each of the others may be down at that time, and
comes back before it or after it. What happens to the file is up to ``SimDisk.harm_tail``.
"""

import random
from collections.abc import Iterable

from paxosd.core.types import NodeId
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.sim.world.disk import TAIL_KINDS

_HARMS = frozenset({"wipe", "tail", "bit_rot", "rollback"})
"""The verbs that cost a memory."""
SHARE_OF_RUNS = 0.25
"""How many of the runs that may have everything have these."""


def draw_tails(
    rng: random.Random,
    names: list[NodeId],
    duration_ms: float,
    kinds: Iterable[str] | None,
    before: Schedule,
) -> Schedule:
    """The episodes. ``kinds``: which may be drawn; None: all, in some of the runs. ``before``: what
    is drawn already: whose memory is lost by it is lost first."""
    known = set(TAIL_KINDS) if kinds is None else set(kinds)
    allowed = [kind for kind in TAIL_KINDS if kind in known]
    doomed = doomed_names(rng, names, before)
    if not allowed or not doomed or (kinds is None and rng.random() >= SHARE_OF_RUNS):
        return Schedule()
    directives: list[Directive] = []
    at_ms = rng.uniform(0.2, 0.7) * duration_ms
    while at_ms < duration_ms:
        directives += _episode(rng, names, rng.choice(doomed), rng.choice(allowed), at_ms)
        at_ms += rng.uniform(4000.0, 20_000.0)
    return Schedule(each for each in directives if each.at_ms < duration_ms)


def harms(directive: Directive) -> bool:
    """Whether it costs a node its memory."""
    is_rot = directive.verb == "fault_add" and directive.args.get("kind") == "bit-rot"
    return is_rot or directive.verb in _HARMS


def doomed_names(rng: random.Random, names: list[NodeId], before: Schedule) -> list[NodeId]:
    """The minority whose memory may be lost, those first that lose it anyhow by what is drawn
    already: all passes together harm no more."""
    lost = {each.node for each in before if harms(each)} & set(names)
    others = [name for name in names if name not in lost]
    rng.shuffle(others)
    return sorted([*sorted(lost), *others][: (len(names) - 1) // 2])


def _episode(
    rng: random.Random, names: list[NodeId], name: NodeId, kind: str, at_ms: float
) -> list[Directive]:
    """It dies, its log loses its end, it comes back; any of the others may be away meanwhile."""
    found = [
        Directive(
            int(at_ms), "tail", name, {"how": kind.partition("-")[2], "lot": rng.randrange(1 << 30)}
        )
    ]
    back_ms = at_ms + rng.uniform(50.0, 2000.0)
    found.append(Directive(int(back_ms), "restart", name))
    for other in names:
        if other == name or rng.random() < 0.5:
            continue
        down_ms = max(0.0, at_ms - rng.uniform(0.0, 1500.0))
        found.append(Directive(int(down_ms), "crash", other, {"power": rng.random() < 0.5}))
        found.append(Directive(int(back_ms + rng.uniform(-500.0, 2500.0)), "restart", other))
    return found
