"""Real processes killed under load, and then an audit of what clients saw.

    python -m tests.bench.kill_campaign [--cycles 200] [--seed S] [--history FILE]

Three daemons on loopback and several clients that put, get, cas, delete and scan the same few
keys. Each cycle draws one of

    one       kill -9 of one node, start it again when the others have gone on
    leader    the same to the leader
    majority  kill -9 of two; start both
    all       kill -9 of all three at once; start all
    young     kill -9 of one, and again while it recovers
    stopped   SIGSTOP of the leader, and when the others have gone on, SIGCONT
    stopped+  SIGSTOP of the leader, and kill -9 while it is stopped
    frozen    SIGSTOP of a majority for half a second, then kill -9 of the third, then SIGCONT

and waits until writes are acknowledged again. At the end: linearizable, nothing lost, nothing
doubled, each revision of the store explained by one operation, one state on all nodes.

Exit 1 if not. ``--history`` keeps the history that the clients recorded, as JSON lines.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from paxosctl.faultrun.clients import Workers
from paxosctl.faultrun.plan import Workload
from tests.bench.audit import Audit, audit
from tests.processes.processes import Daemons, wait_for

PROGRESS = 40
"""So many writes acknowledged, and the cluster has gone on."""
PROGRESS_LIMIT_S = 60.0
KINDS = {"one": 3, "leader": 3, "majority": 2, "all": 2, "young": 1, "stopped": 2, "stopped+": 1,
         "frozen": 1}  # fmt: skip
WORKLOAD = Workload(
    clients=6,
    keys=12,
    pause_ms=5,
    timeout_ms=800,  # shorter than some elections: those writes end unknown
    mix={"put": 6, "get": 6, "cas": 4, "delete": 1, "range": 1, "delete_range": 0.2},
)


@dataclass
class Figures:
    """What a campaign found. ``kills``: processes killed, by kind of cycle."""

    seed: int
    cycles: Counter = field(default_factory=Counter)
    kills: Counter = field(default_factory=Counter)
    longest_gap_s: float = 0.0
    duration_s: float = 0.0
    audited_s: float = 0.0
    audit: Audit | None = None

    @property
    def kill_cycles(self):
        return sum(count for kind, count in self.cycles.items() if kind != "stopped")

    @property
    def ok(self):
        return self.audit.ok

    def lines(self):
        """For people."""
        yield f"seed {self.seed}, {self.duration_s:.0f} s"
        yield f"cycles: {sum(self.cycles.values())}, {self.kill_cycles} of them with kill -9"
        for kind, count in sorted(self.cycles.items()):
            yield f"  {kind:9} {count:4}  {self.kills[kind]} processes killed"
        yield f"longest time without an acknowledged write: {self.longest_gap_s:.2f} s"
        yield from self.audit.lines()
        yield f"audited in {self.audited_s:.1f} s"


class Campaign:
    """Cycles on a running cluster with its clients."""

    def __init__(self, daemons, workers, rng, figures):
        self.daemons, self.workers, self.rng, self.figures = daemons, workers, rng, figures
        self._leader = daemons.names[0]
        self._cycles = {
            "one": self._one,
            "leader": self._kill_leader,
            "majority": self._majority,
            "all": self._all,
            "young": self._young,
            "stopped": self._stopped,
            "stopped+": self._stopped_and_killed,
            "frozen": self._frozen,
        }

    def cycle(self):
        """One of them, drawn at random; returns its kind."""
        kind = self.rng.choices(list(KINDS), list(KINDS.values()))[0]
        self._cycles[kind](kind)
        self.figures.cycles[kind] += 1
        self.progress()
        return kind

    def progress(self, count=PROGRESS):
        """Wait until writes are acknowledged again. Raises AssertionError, and what broke a
        client."""
        acked = self.workers.acked_s
        goal = len(acked) + count

        def enough():
            self.workers.raise_error()
            for name, process in self.daemons.processes.items():
                assert process.poll() is None, f"{name} has ended: {self.daemons.stderr(name)}"
            return len(acked) >= goal

        wait_for(enough, PROGRESS_LIMIT_S, f"{count} acknowledged writes")

    def leader(self):
        """The leader that the first node that answers names; the last known one if none does."""
        for name in self.daemons.names:
            view = self.daemons.status(name)
            if view is not None and view["leader"]:
                self._leader = view["leader"]
                break
        return self._leader

    def kill(self, kind, *names):
        self.daemons.kill(*names)
        self.figures.kills[kind] += len(names)

    def _one(self, kind):
        self._kill_and_start(kind, self.rng.choice(self.daemons.names))

    def _kill_leader(self, kind):
        self._kill_and_start(kind, self.leader())

    def _kill_and_start(self, kind, name):
        self.kill(kind, name)
        if self.rng.random() < 0.7:
            self.progress()
        self.daemons.start(name)

    def _majority(self, kind):
        names = self.rng.sample(self.daemons.names, 2)
        self.kill(kind, *names)
        self.daemons.start(*names)

    def _all(self, kind):
        self.kill(kind, *self.daemons.names)
        self.daemons.start()

    def _young(self, kind):
        name = self.rng.choice(self.daemons.names)
        self.kill(kind, name)
        for _ in range(2):
            self.daemons.start(name)
            over = time.monotonic() + self.rng.uniform(0.05, 0.6)
            wait_for(lambda over=over: time.monotonic() >= over, what="a moment in which it runs")
            self.kill(kind, name)
        self.daemons.start(name)

    def _stopped(self, kind):
        name = self.leader()
        self.daemons.signal(name, signal.SIGSTOP)
        self.progress()
        self.daemons.signal(name, signal.SIGCONT)

    def _stopped_and_killed(self, kind):
        name = self.leader()
        self.daemons.signal(name, signal.SIGSTOP)
        self.progress()
        self.kill(kind, name)
        self.daemons.start(name)

    def _frozen(self, kind):
        first, *others = self.rng.sample(self.daemons.names, 3)
        for name in others:
            self.daemons.signal(name, signal.SIGSTOP)
        over = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() >= over, what="half a second")
        self.kill(kind, first)
        for name in others:
            self.daemons.signal(name, signal.SIGCONT)
        self.daemons.start(first)


def campaign(path, *, cycles, seed, workload=WORKLOAD, history=None, on_cycle=lambda n, kind: None):
    """Run it in ``path`` until ``cycles`` cycles had a kill; returns the figures."""
    rng = random.Random(f"{seed}/cycles")
    figures = Figures(seed)
    began_s = time.monotonic()
    with Daemons(path) as daemons:
        daemons.start()
        daemons.wait_leader()
        workers = Workers(daemons.endpoints, workload, seed, b"kill/")
        runner = Campaign(daemons, workers, rng, figures)
        workers.start()
        try:
            runner.progress()
            while figures.kill_cycles < cycles:
                kind = runner.cycle()
                on_cycle(figures.kill_cycles, kind)
        finally:
            workers.stop()
        ended_s = time.monotonic()
        figures.audit = audit(daemons, workers, history=history)
    figures.duration_s = ended_s - began_s
    figures.audited_s = time.monotonic() - ended_s
    acked = sorted(workers.acked_s)
    figures.longest_gap_s = max((b - a for a, b in pairwise(acked)), default=0)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cycles", type=int, default=200, help="cycles with a kill -9")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--history", type=Path, default=None, help="where to keep the history")
    options = parser.parse_args()
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    began_s = time.monotonic()

    def print_progress(number, kind):
        if number % 10 == 0 and kind != "stopped":
            print(f"{number} kill cycles, {time.monotonic() - began_s:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as path:
        figures = campaign(
            Path(path),
            cycles=options.cycles,
            seed=seed,
            history=options.history,
            on_cycle=print_progress,
        )
    for line in figures.lines():
        print(line)
    sys.exit(0 if figures.ok else 1)


if __name__ == "__main__":
    main()
