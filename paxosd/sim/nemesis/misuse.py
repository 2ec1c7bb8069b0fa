"""Draws, from the seed, misuse that a node cannot notice as an error by itself.

These passes come after ``nemesis.py`` and ``tails.py`` and do not change what those draw. Each kind
comes in a part of the runs that may have everything, or in every run that asks for it by name.

    roll-back    a running member's directory, log and all, is put back to an earlier point of its
                 run; any of the others are down then, and come back soon
    wrong-file   a member is started with a configuration file that names too few or too many, also
                 the very first time, when nothing is founded yet; later its own file is back
    doubled      a second process runs out of a copy of a running member's directory

A roll-back strikes one of the minority whose memory may be lost, and only if another node heard a
vote that is lost by it, long enough before to surely remember it (``sim/cluster/witnesses.py``).
The product does not promise to survive a roll-back that no other node can know of
(docs/ACTING.md).
"""

import random
from collections.abc import Callable, Iterable

from paxosd.core.types import NodeId
from paxosd.sim.cluster.witnesses import KNOWN_MS
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.sim.nemesis.tails import doomed_names

MISUSE_KINDS: dict[str, str] = {
    "roll-back": "a running member's directory goes back to an earlier point of its run",
    "wrong-file": "a member is started with a file that names too few or too many",
    "doubled": "a second process runs out of a copy of a running member's directory",
}
SHARE_OF_RUNS = {"roll-back": 0.25, "wrong-file": 0.2, "doubled": 0.15}
"""How many of the runs that may have everything have each of them."""
BACK_MS = (50.0, 2000.0)
"""How long nodes stay down that are rolled back, or are away at the same time."""
UNFOUNDED_SHARE = 0.4
"""How many of the runs with wrong files begin with one."""


def draw_misuse(
    rng: random.Random,
    names: list[NodeId],
    duration_ms: float,
    kinds: Iterable[str] | None,
    before: Schedule,
) -> Schedule:
    """The episodes. ``kinds``: which may be drawn; None: all, each in some of the runs. ``before``:
    what is drawn already: a node that loses its memory by it is chosen first."""
    known = set(MISUSE_KINDS) if kinds is None else set(kinds)
    directives: list[Directive] = []
    for kind in MISUSE_KINDS:
        own = random.Random(rng.getrandbits(64))  # what one kind draws moves no other
        if kind in known and (kinds is not None or own.random() < SHARE_OF_RUNS[kind]):
            directives += _DRAW[kind](own, names, duration_ms, before)
    return Schedule(each for each in directives if each.at_ms < duration_ms)


def is_rolled_back(directive: Directive) -> bool:
    """Whether it is a roll-back of this module."""
    return directive.verb == "rollback" and bool(directive.args.get("witnessed"))


def _roll_backs(
    rng: random.Random, names: list[NodeId], duration_ms: float, before: Schedule
) -> list[Directive]:
    found: list[Directive] = []
    doomed = doomed_names(rng, names, before)
    at_ms = rng.uniform(max(6500.0, 0.15 * duration_ms), max(8500.0, 0.6 * duration_ms))
    while doomed and at_ms < duration_ms:
        found += _roll_back(rng, names, rng.choice(doomed), at_ms)
        at_ms += rng.uniform(6000.0, 25_000.0)
    return found


def _roll_back(
    rng: random.Random, names: list[NodeId], name: NodeId, at_ms: float
) -> list[Directive]:
    """A copy is taken, the run goes on, the copy is put back; others may be away at that time."""
    reach_ms = rng.uniform(KNOWN_MS + 500.0, rng.choice((8000.0, 15_000.0, max(at_ms, 8000.0))))
    copied_ms = max(0.0, at_ms - reach_ms)
    back_ms = at_ms + rng.uniform(*BACK_MS)
    found = [
        Directive(int(copied_ms), "remember", name),
        Directive(int(at_ms), "rollback", name, {"witnessed": True}),
        Directive(int(back_ms), "restart", name),
    ]
    for other in names:
        if other == name or rng.random() < 0.5:
            continue
        down_ms = max(0.0, at_ms - rng.choice((0.0, rng.uniform(0.0, 1500.0))))
        found.append(Directive(int(down_ms), "crash", other, {"power": rng.random() < 0.5}))
        found.append(Directive(int(back_ms + rng.uniform(-1500.0, 2500.0)), "restart", other))
    found.append(Directive(int(back_ms + 2500.0 + rng.uniform(500.0, 5000.0)), "rejoin", name))
    return found


def _wrong_files(
    rng: random.Random, names: list[NodeId], duration_ms: float, before: Schedule
) -> list[Directive]:
    found: list[Directive] = []
    at_ms = 0.0 if rng.random() < UNFOUNDED_SHARE else rng.uniform(0.05, 0.5) * duration_ms
    while at_ms < duration_ms:
        name = rng.choice(names)
        lasts_ms = rng.choice((rng.uniform(100.0, 3000.0), rng.uniform(0.1, 0.6) * duration_ms))
        file = _file(rng, names, name)
        found.append(Directive(int(at_ms), "configure", name, {"members": file}))
        found.append(Directive(int(at_ms + lasts_ms), "configure", name))
        if rng.random() < 0.3:  # and the leader dies while it is so
            at_crash_ms = at_ms + rng.uniform(0.0, lasts_ms)
            other = rng.choice(names)
            found.append(Directive(int(at_crash_ms), "crash", other, {"power": True}))
            found.append(Directive(int(at_crash_ms + rng.uniform(200.0, 2000.0)), "restart", other))
        at_ms += lasts_ms + rng.uniform(500.0, 10_000.0)
    return found


def _file(rng: random.Random, names: list[NodeId], name: NodeId) -> list[NodeId]:
    """A file's members: itself alone, itself and some others, or one too many."""
    others = [each for each in names if each != name]
    if not others or rng.random() < 0.3:
        return sorted([*names, f"n{len(names) + 1}"])
    if rng.random() < 0.5:
        return [name]
    return sorted([name, *rng.sample(others, rng.randint(1, max(1, len(others) - 1)))])


def _doubles(
    rng: random.Random, names: list[NodeId], duration_ms: float, before: Schedule
) -> list[Directive]:
    found: list[Directive] = []
    at_ms = rng.uniform(0.1, 0.6) * duration_ms
    while at_ms < duration_ms:
        lasts_ms = rng.uniform(500.0, 12_000.0)
        name = rng.choice(names)
        found.append(Directive(int(at_ms), "double", name, {"for_ms": int(lasts_ms)}))
        at_ms += lasts_ms + rng.uniform(2000.0, 15_000.0)
    return found


_DRAW: dict[str, Callable[[random.Random, list[NodeId], float, Schedule], list[Directive]]] = {
    "roll-back": _roll_backs,
    "wrong-file": _wrong_files,
    "doubled": _doubles,
}
