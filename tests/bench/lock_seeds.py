"""Many simulated runs in which little but a lock is used, and much of what is bad for it happens.

    python -m tests.bench.lock_seeds FIRST COUNT [--procs 2]

Each seed: a cluster of three and six processes that want one lock or places of one semaphore again
and again. Their clocks drift by up to 500 ppm, they are stopped, die and go on; in each run leaders
are killed, stopped and cut off, and messages get lost. ``paxosd/sim/cluster/lock_checks.py`` judges
in true time. A run is short: of what follows the heal only that is waited for which locks need.
The checks of everything else are those of ``paxosctl sim run``.

Prints a line every ten seconds, and each seed that breaks a rule at once; at the end how often the
lock was acquired and lost, and how many fenced writes took effect and were refused. Exit code 1 if
a rule was broken.
"""

import argparse
import random
import sys
import time
from collections import Counter

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import SimRun
from paxosd.sim.campaign.workers import Crashed, run_seeds
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.nemesis.schedule import LEADER, Directive, Schedule
from tests.bench.processor_limit import RUN_CPU_S_MAX, processor_limit

DURATION_MS = 5500
BRIEF_LOCKS = RunOptions(
    level=LEVEL_LATEST, duration_ms=DURATION_MS, clients=1, operations=4, keys=1, locks=6,
    brief_locks=True, watchers=0, stale_readers=0, revision_readers=0, holders=0,
    unequal_limits=False,
)  # fmt: skip
LOCKS = RunOptions(
    level=LEVEL_LATEST, duration_ms=12_000, clients=1, operations=20, keys=2, locks=4,
    watchers=0, stale_readers=0, revision_readers=0, holders=0, at_once=False,
    faults=frozenset({"pause", "partition", "isolate", "crash", "client-cut", "drop"}),
)  # fmt: skip
"""With all the checks that other runs have, and TTLs of up to a minute."""
LOCKS_LIMIT_MS = 120_000.0
SAY_S = 10.0


def draw_lock_schedule(rng):
    """Three or four times something bad, to the leader for the most part."""
    drawn = []
    at_ms = rng.uniform(800, 1600)
    while at_ms < DURATION_MS - 300:
        drawn += _draw_trouble(rng, at_ms, rng.choice([LEADER, LEADER, LEADER, "n1", "n2", "n3"]))
        at_ms += rng.uniform(800, 2800)
    return Schedule(drawn)


def _draw_trouble(rng, at_ms, node):
    lasts_ms = rng.choice((rng.uniform(50, 600), rng.uniform(300, 2500)))
    begin, end = int(at_ms), int(at_ms + lasts_ms)
    name = f"f{begin}"
    what = rng.choice(("crash", "crash", "pause", "isolate", "cut", "drop", "clients"))
    if what == "crash":
        power = rng.random() < 0.5
        return [Directive(begin, "crash", node, {"power": power}), Directive(end, "restart")]
    if what == "pause":
        return [Directive(begin, "pause", node), Directive(end, "resume")]
    if what == "clients":
        return [Directive(begin, "client_cut", node), Directive(end, "client_heal")]
    rule = {"name": name, "for_ms": int(lasts_ms)}
    if what == "isolate":
        rule |= {"kind": "isolate", "on": [node]}
    elif what == "cut":
        one, other = rng.sample(("n1", "n2", "n3"), 2)
        rule |= {"kind": "partition", "from": [one], "to": [other]}
    else:
        rule |= {"kind": "drop", "probability": rng.choice((0.1, 0.5))}
    return [Directive(begin, "fault_add", "", rule)]


class LockRun(SimRun):
    """A run that ends as soon as whoever waits for the lock has had it."""

    def _check_liveness(self):
        cluster = self.cluster
        if not cluster.run_until(lambda: all(each.idle for each in self.lockers), LOCKS_LIMIT_MS):
            raise Violation("liveness", "who waits for the lock does not get it")

    def _check_end(self):
        self.lockers[0].checks.check_end()

    def counts(self):
        """What happened in it, to be added up."""
        checks = self.lockers[0].checks
        return Counter(
            acquired=len(checks.acquired), lost=checks.lost, written=checks.written,
            refused=checks.refused, stopped=checks.stopped,
            reigns=len(self.cluster.invariants.leaders), brief=len(checks.acquired) < 5,
            semaphores=checks.shared > 1,
        )  # fmt: skip


def run_seed(seed):
    """(seed, what was wrong, counts, processor seconds)."""
    began_s = time.process_time()
    run = LockRun(seed, BRIEF_LOCKS, draw_lock_schedule(random.Random(f"locks/{seed}")))
    try:
        with processor_limit(RUN_CPU_S_MAX):
            violation = run.report().violation
    except TimeoutError as hang:
        violation = f"hang: {hang}"
    return seed, violation, run.counts(), time.process_time() - began_s


def run_all(seeds, procs, say=print):
    """Run them; the seeds that broke a rule, and what was seen in all."""
    failing, total, began_s, said_s = [], Counter(), time.monotonic(), time.monotonic()
    for result in run_seeds(run_seed, seeds, jobs=procs):
        total["seeds"] += 1
        if isinstance(result, Crashed):
            failing.append(result.seed)
            say(f"SEED {result.seed} crashed: {result.reason}")
            continue
        seed, violation, counts, cpu_s = result
        total.update(counts)
        total["cpu_ms"] += round(1000 * cpu_s)
        if violation:
            failing.append(seed)
            say(f"SEED {seed}: {violation}")
        if time.monotonic() - said_s > SAY_S:
            said_s = time.monotonic()
            say(f"{said_s - began_s:.0f} s, to seed {seed}: {_words(total)}")
    return failing, total


def _words(total):
    found = ", ".join(f"{name} {count}" for name, count in total.items() if name != "cpu_ms")
    return f"{found}, cpu {total['cpu_ms'] / max(1, total['seeds']) / 1000:.2f} s a seed"


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--procs", type=int, default=2)
    options = parser.parse_args()

    def say(words):
        print(words, flush=True)

    seeds = range(options.first, options.first + options.count)
    failing, total = run_all(seeds, options.procs, say)
    say(f"done: {_words(total)}")
    say(f"failing seeds: {failing or 'none'}")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
