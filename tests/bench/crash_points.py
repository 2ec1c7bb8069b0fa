"""A power cut at every boundary of a scripted run: before each write, sync, rename … of a disk,
each vote that is published and each answer to a client.

    python -m tests.bench.crash_points [--scripts 2] [--lots 3] [--jobs N] [--stride 1]

The script: three nodes boot and serve two clients, while each node in turn crashes and comes back,
so that boots and recoveries are part of what is cut. It is run once to count the boundaries, and
then once for each boundary, way and lot: there the power goes, and 120 ms later comes back.

    one     the node whose disk it is dies
    all     all nodes die at that moment
    kill    the node is killed with -9: what was not synced is still in the kernel's cache
    twice   the node dies, and again a few boundaries on, in the middle of its recovery

``--lots``: how often each boundary is tried with other sectors lost, torn and kept. After that
the script goes on to its end, and everything is checked as in any simulated run: promises and
votes that were sent are still there, one value per slot, nothing acknowledged is lost, nothing
doubled, the history is linearizable, the cluster goes on and all nodes end alike.

Exit 1 if a point shows a violation; each is printed with what runs it again.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from unittest.mock import patch

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import SimRun
from paxosd.sim.campaign.workers import Crashed, cores, run_seeds
from paxosd.sim.cluster.cluster import ClusterOptions
from paxosd.sim.cluster.crash_point import CrashPoint, SimulatedCrash
from paxosd.sim.cluster.life import ProcessOptions
from paxosd.sim.nemesis.schedule import LEADER, Directive, Schedule
from paxosd.sim.nemesis.shape import EAGER

NODES = ("n1", "n2", "n3")
PASSED_OVER = ("send", "forward")
"""Effects that are no boundaries: a message to one peer, or to a client through a peer."""
WAYS = ("one", "all", "kill", "twice")
BACK_MS = 120.0
AGAIN_MAX = 14
"""In the way "twice" the second crash is up to so many boundaries after the first: a recovery's."""
SHAPE = ClusterOptions(process=ProcessOptions(node=EAGER, segment_bytes=4096))
"""Small segments and little patience: much happens in little time."""
OPTIONS = RunOptions(nodes=3, duration_ms=2400, clients=2, operations=60, keys=4)
SCRIPT = Schedule(
    (
        Directive(at_ms=800, verb="crash", node="n1", args={"power": True}),
        Directive(at_ms=900, verb="restart", node="n1"),
        Directive(at_ms=1300, verb="crash", node=LEADER, args={"power": False}),
        Directive(at_ms=1400, verb="restart", node=""),
        Directive(at_ms=1900, verb="crash", node="", args={"power": True}),
        Directive(at_ms=2000, verb="restart", node=""),
    )
)


@dataclass(frozen=True, slots=True)
class Strike:
    """The power goes right before the ``boundary``-th of what any node does."""

    way: str
    boundary: int
    lot: int


@dataclass(frozen=True, slots=True)
class Point:
    """A strike and how it went. ``operation``: what was about to happen, on which node."""

    strike: Strike
    operation: str
    node: str
    acknowledged: int
    violation: str
    checked: str
    crashes: int


class CutPoint(CrashPoint):
    """``watcher(operation, file)``: called with each boundary right before it."""

    watcher = None

    def reach(self, what, file=""):
        super().reach(what, file)
        if self.watcher is not None and what not in PASSED_OVER:
            self.watcher(what, file)


class CrashRun(SimRun):
    """The script under one seed, with a strike or without. ``boundaries``: every operation that
    changes a disk, every vote published, every answer, in order: (node, operation, file)."""

    def __init__(self, seed, strike=None):
        with (
            patch("paxosd.sim.cluster.process.CrashPoint", CutPoint),
            patch("paxosd.sim.campaign.draw.draw_cluster", lambda rng: SHAPE),
        ):
            super().__init__(seed, OPTIONS, SCRIPT, None)
        self.boundaries = []
        self.struck = None
        self._strike = strike
        self._left = strike.boundary if strike is not None else -1
        self._again = 0
        self._victim = ""
        for process in self.cluster.processes.values():
            process.crash_point.watcher = partial(self._count, process)
            if strike is not None:
                lots = random.Random(f"{seed}/{strike}")
                process.disks.home._rng = process.disks.log._rng = lots
                if strike.way == "twice":
                    self._again = lots.randint(1, AGAIN_MAX)

    def heal(self):
        """From now on whoever is started has to stay up."""
        for process in self.cluster.processes.values():
            process.crash_point.watcher = None
        super().heal()

    def _count(self, process, operation, name):
        """Whoever dies here dies in the middle of it."""
        self.boundaries.append((process.name, operation, name))
        if self._left < 0 or (self._victim and process.name != self._victim):
            return
        self._left -= 1
        if self._left == 0:
            self._hit(process, operation)

    def _hit(self, process, operation):
        way = self._strike.way
        if self.struck is None:
            self.struck = (operation, process.name)
        if self._again:
            # From now on only this node's operations count, up to the second strike.
            self._left, self._again, self._victim = self._again, 0, process.name
        cluster, world = self.cluster, self.world
        if way == "all":
            for other in cluster.processes.values():
                if other is not process and other.up:
                    other.crash(power=True)
            world.at(BACK_MS, cluster.start)
        else:
            world.at(BACK_MS, cluster.start, process.name)
        process.crash_point.power = way != "kill"
        raise SimulatedCrash


def boundaries(seed):
    """The boundaries of an undisturbed script. Raises AssertionError if it goes wrong."""
    run = CrashRun(seed)
    report = run.report()
    assert report.ok, report.violation
    return run.boundaries


def strike(seed, what):
    """Run the script with one strike."""
    run = CrashRun(seed, what)
    report = run.report()
    operation, node = run.struck or ("", "")
    crashes = sum(process.crashes for process in run.cluster.processes.values())
    return Point(what, operation, node, report.acknowledged, report.violation, report.checked,
                 crashes)  # fmt: skip


def all_strikes(count, ways, lots, stride=1, first=1):
    """Every boundary, in every way, with every lot."""
    return [
        Strike(way, boundary, lot)
        for boundary in range(first, count + 1, stride)
        for way in ways
        for lot in range(lots)
    ]


def _work(seed, planned, place):
    return strike(seed, planned[place])


def enumerate_points(seed, planned, jobs, on_done=None):
    """The points of one script."""
    work = partial(_work, seed, planned)
    yield from run_seeds(work, range(len(planned)), jobs=jobs, on_done=on_done)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scripts", type=int, default=2, help="how many scripts: seeds 1 …")
    parser.add_argument("--lots", type=int, default=3, help="tries with other sectors lost")
    parser.add_argument("--stride", type=int, default=1, help="every so many-th boundary only")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--again", default="", help="SEED:WAY:BOUNDARY:LOT, one point alone")
    options = parser.parse_args()
    if options.again:
        seed, way, boundary, lot = options.again.split(":")
        print(strike(int(seed), Strike(way, int(boundary), int(lot))))
        return
    began_s = time.monotonic()
    failed = total = 0
    for seed in range(1, options.scripts + 1):
        found = boundaries(seed)
        kinds = Counter(operation for _, operation, _ in found)
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        print(f"script {seed}: {len(found)} boundaries: {listed}")
        planned = all_strikes(len(found), options.ways.split(","), options.lots, options.stride)
        ways = Counter()
        unchecked = 0
        for point in enumerate_points(seed, planned, options.jobs):
            total += 1
            if isinstance(point, Crashed):
                failed += 1
                print(f"VIOLATION {seed}:{planned[point.seed]}: {point.reason}")
                continue
            ways[point.strike.way] += bool(point.operation)
            unchecked += point.checked != "ok"
            if point.violation:
                failed += 1
                what = point.strike
                print(
                    f"VIOLATION --again {seed}:{what.way}:{what.boundary}:{what.lot} "
                    f"before {point.operation} on {point.node}: {point.violation}"
                )
        listed = ", ".join(f"{count} {way}" for way, count in ways.items())
        print(f"  {len(planned)} runs: {listed}; {unchecked} histories not checked", flush=True)
    print(
        f"{total} points, {failed} with a violation, {time.monotonic() - began_s:.0f} s "
        f"on {options.jobs} cores"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
