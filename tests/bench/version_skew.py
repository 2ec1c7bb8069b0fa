"""A rolling upgrade from the version before, and the way back, on real processes under load.

    python -m tests.bench.version_skew [--seed N] [--rounds N] [--calm]

Each round has a cluster of its own, of three or five nodes (in turn), that the version before
(``version_before.py``) has founded, with clients and a watcher of both versions. It follows the
runbook "Upgrade" in docs/OPERATING.md:

    upgrade   one node after the other, by SIGTERM or kill -9; the first one's file holds the level
    snapshot  a node of each version is away until it needs a snapshot, and gets it from the other
    back      nodes that were upgraded go on with the version before, in the middle and at the end
    raise     the hold is taken away: all nodes reach the latest level
    too old   the version before does not start any more, and says why

Meanwhile, without ``--calm``: kill -9, SIGSTOP and partitions, of one node at a time. At the end:
linearizable, nothing lost, nothing doubled, one state on all nodes, and each watcher has seen each
revision, in order, once, but for history that was refused to it as gone. Exit 1 if not.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.faultrun.clients import Workers
from paxosctl.faultrun.plan import Workload
from paxosd.check.history import History
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.daemon.exits import CONFIG, OK, STORAGE
from tests.bench.audit import Audit, audit
from tests.bench.member_stage import Disturber, Stage, drawn
from tests.bench.version_before import build
from tests.bench.version_clients import Watching
from tests.bench.version_cluster import NEW, OLD, MixedVersions, OldClients, wait_role
from tests.processes.processes import wait_for

PREFIX = b"skew/"
WORKLOAD = {
    "clients": 3,
    "keys": 8,
    "pause_ms": 5,
    "timeout_ms": 800,  # shorter than some elections: those writes end unknown
    "mix": {"put": 6, "get": 6, "cas": 4, "delete": 1, "range": 1, "delete_range": 0.2},
}
"""Of each version's clients; what both versions know."""
LEVEL_LIMIT_S = 60.0
TOO_OLD = (
    (CONFIG, f"raised its feature level to {LEVEL_LATEST}"),
    (CONFIG, "this program knows 1 to"),
    (STORAGE, "this program knows 1 to"),
)
"""How a program ends that the cluster has left behind: exit code, and a part of what it writes. By
the log, or by a snapshot of a later format, for which the version before has another exit code."""
SNAPSHOT_LIMIT_S = 60.0


class Nemesis(Disturber):
    """Cuts one node off as well, by a rule at each running node of whichever version."""

    cuts = 0

    @property
    def total(self):
        """How many faults there were."""
        return self.kills + self.stops + self.cuts

    def _disturb(self):
        if self._rng.random() < 0.7:
            super()._disturb()
            return
        self.cuts += 1
        victim = self._rng.choice(list(self._daemons.processes))
        oneway = self._rng.random() < 0.5
        self._daemons.fault("cut", "partition", victim, "*", oneway=oneway)
        self._over.wait(self._rng.uniform(0.2, 1.5))
        self._daemons.heal()


@dataclass
class Outcome:
    """What one round came to. ``wrong``: what is wrong beside the audit, in words. ``gaps``: how
    often a watcher of which version was refused history that was gone."""

    seed: int
    size: int
    steps: list = field(default_factory=list)
    faults: tuple = (0, 0, 0)
    wrong: list = field(default_factory=list)
    gaps: dict = field(default_factory=dict)
    audit: Audit | None = None

    @property
    def ok(self):
        return bool(self.audit and self.audit.ok and not self.wrong)

    def lines(self):
        """For people."""
        kills, stops, cuts = self.faults
        yield f"  faults: {kills} kill -9, {stops} SIGSTOP, {cuts} partitions"
        yield f"  watchers that had to begin anew: {self.gaps}"
        yield from (f"  {line}" for line in self.audit.lines())
        yield from (f"  WRONG: {line}" for line in self.wrong)
        yield f"  {'ok' if self.ok else 'VIOLATED'}"


# -- what is done to the cluster


class Upgrade(Stage):
    """The steps of the runbook."""

    def change(self, name, program):
        """Stop a node, in one way or the other, and start it as that program."""
        cluster = self.daemons
        with self.step(f"{name} becomes {program}{self.leading(name)}"):
            with self.quiet():
                self._stop(name)
                cluster.run_as(name, program)
                cluster.start(name)
            wait_role(cluster, name)
            self.wait_fault()

    def _stop(self, name):
        if self.rng.random() < 0.5:
            self.daemons.kill(name)
            return
        assert self.daemons.kill(name, sig=signal.SIGTERM) == [OK]

    def wait_fault(self):
        """Until one more fault has been done to these versions of the nodes, and is over."""
        nemesis = self.disturber
        if nemesis is None:
            return
        done = nemesis.total
        wait_for(lambda: nemesis.total > done, what="a fault")
        with nemesis.lock:
            return

    def leading(self, name):
        """A word about the leader."""
        status = self.daemons.status(name)
        return " (the leader)" if status and status["role"] == "leader" else ""

    def snapshot(self, name):
        """``name`` is away until the others have given the log back that it needs."""
        cluster = self.daemons
        words = f"{name} ({cluster.programs[name]}) needs a snapshot"
        with self.quiet(), self.step(words):
            installed = len(cluster.events(name, "snapshot.installed"))
            cluster.kill(name)
            top = max(cluster.first_slot(each, "last_slot") for each in cluster.processes)
            others = list(cluster.processes)
            wait_for(
                lambda: all(cluster.first_slot(each) > top for each in others),
                SNAPSHOT_LIMIT_S, "snapshots of the others, and shorter logs",
            )  # fmt: skip
            cluster.start(name)
            wait_for(
                lambda: len(cluster.events(name, "snapshot.installed")) > installed,
                SNAPSHOT_LIMIT_S, f"a snapshot at {name}",
            )  # fmt: skip
            wait_role(cluster, name)

    def finish_upgrade(self):
        """The hold ends, and the level is raised."""
        cluster = self.daemons
        held = sorted(cluster.held)
        for name in held:
            with self.step(f"{name} holds the level no more"):
                with self.quiet():
                    cluster.release(name)
                    self._stop(name)
                    cluster.start(name)
                wait_role(cluster, name)
        with self.step(f"level {LEVEL_LATEST}"):
            reached = lambda: cluster.levels() == {LEVEL_LATEST}  # noqa: E731 - a name for two uses
            wait_for(reached, LEVEL_LIMIT_S, f"feature level {LEVEL_LATEST} on all nodes")


def whole(stage):
    """All of the runbook, in an order that the seed draws; yields what went wrong."""
    cluster, rng = stage.daemons, stage.rng
    names = rng.sample(cluster.names, len(cluster.names))
    first, *rest = names
    cluster.hold(first)
    stage.change(first, NEW)
    stage.snapshot(first)  # from nodes of before
    turning = rng.choice(names[:2])
    for name in rest[:-1]:
        stage.change(name, NEW)
    stage.snapshot(rest[-1])  # from newer nodes, or from what is left of the older ones
    stage.change(turning, OLD)
    stage.change(turning, NEW)
    stage.change(rest[-1], NEW)
    yield from check_held(stage)
    for name in rng.sample(names, len(names)):
        stage.change(name, OLD)
    with stage.step("all are back"):
        pass
    for name in names:
        stage.change(name, NEW)
    yield from check_held(stage)
    stage.finish_upgrade()
    yield from check_too_old(stage, rng.choice(names))


def short(stage):
    """A slice of it: one node goes back, and the level is raised."""
    cluster, rng = stage.daemons, stage.rng
    names = rng.sample(cluster.names, len(cluster.names))
    cluster.hold(names[0])
    for name in names:
        stage.change(name, NEW)
    yield from check_held(stage)
    turning = rng.choice(names)
    stage.change(turning, OLD)
    stage.change(turning, NEW)
    stage.finish_upgrade()
    yield from check_too_old(stage, rng.choice(names))


def check_held(stage):
    """All run the newer version, and the level is that of the version before; `cluster show` says
    why. Yields what is wrong."""
    cluster = stage.daemons
    with stage.quiet():
        stage.progress()
        if cluster.levels() != {cluster.before.level}:
            yield f"held at level {cluster.before.level}, but the levels are {cluster.levels()}"
        (holder,) = cluster.held
        wait_for(lambda: cluster.status(holder), what=f"an answer of {holder}")
        endpoints = ",".join(cluster.endpoints)
        done = cluster.run("paxosctl", "--endpoints", endpoints, "cluster", "show")
        words = " ".join(done.stdout.split())
        expected = (
            f"the feature level is {cluster.before.level}; level {LEVEL_LATEST} waits for "
            f"{holder} (its file has protocol.feature_level_max = {cluster.before.level})"
        )
        if expected not in words:
            yield f"`cluster show` does not say why the level is held: {words} {done.stderr}"


def check_too_old(stage, name):
    """The version before does not start in a directory of the new level. Yields what is wrong."""
    cluster = stage.daemons
    with stage.quiet(), stage.step(f"{name} is too old now"):
        cluster.kill(name)
        cluster.run_as(name, OLD)
        code, words = cluster.fails_to_start(name)
        if not any(code == expected and text in words for expected, text in TOO_OLD):
            yield f"the version before ended with {code}: {words}"
        cluster.run_as(name, NEW)
        cluster.start(name)
        wait_role(cluster, name)


# -- a round


def run_round(path, *, seed, size=3, calm=False, act=whole, before=None, report=lambda line: None):
    """One round in ``path``; returns its outcome. ``act(stage)``: what is done, a generator of
    what was wrong. Raises NoBuildError."""
    before = before or build()
    outcome = Outcome(seed, size)
    with MixedVersions(path, before, size) as cluster:
        cluster.start_founders()
        reached = lambda: cluster.levels() == {before.level}  # noqa: E731 - reads as what it is
        wait_for(reached, LEVEL_LIMIT_S, f"feature level {before.level} of the version before")
        workload = Workload(**WORKLOAD, transactors=0, lockers=0)
        workers = Workers(cluster.endpoints, workload, seed, PREFIX)
        watching = Watching(cluster.endpoints, PREFIX)
        old = OldClients(cluster, WORKLOAD, seed + 1, PREFIX)
        try:
            watching.start()
            nemesis = None if calm else Nemesis(cluster, drawn(seed, "faults"))
            stage = Upgrade(cluster, workers, drawn(seed, "acts"), disturber=nemesis, report=report)
            outcome.wrong += _perform(stage, workers, nemesis, act)
            outcome.steps = stage.steps
            if nemesis is not None:
                outcome.faults = nemesis.kills, nemesis.stops, nemesis.cuts
            _conclude(cluster, workers, watching, old, outcome)
        finally:
            workers.over.set()
            old.close()
    return outcome


def _perform(stage, workers, nemesis, act):
    """The steps, with clients and faults; returns what went wrong."""
    workers.start()
    try:
        stage.progress()
        if nemesis is not None:
            nemesis.start()
        return list(act(stage))
    finally:
        if nemesis is not None:
            nemesis.stop()
        workers.stop()


def _conclude(cluster, workers, watching, old, outcome):
    """All clients have ended, or end now: their histories as one, and what the watchers saw."""
    cluster.wait_leader()
    old.stop()
    cluster.wait_equal(60.0)
    revision = cluster.status(cluster.names[0])["revision"]
    watching.finish(revision)
    history, changes, gaps = old.finish(revision)
    workers.history = History.of([*workers.history, *history])
    outcome.audit = audit(cluster, workers)
    with cluster.client(timeout_s=60.0) as client:
        rows = {row.key: row.value for row in client.scan(PREFIX)}
    for version, seen, lost in (
        (NEW, watching.changes, watching.gaps),
        (OLD, changes, gaps),
    ):
        wrong = watched(seen, revision, rows, lost)
        outcome.wrong += [f"watcher ({version}): {line}" for line in wrong]
        outcome.gaps[version] = len(lost)


def watched(changes, revision, rows, gaps=()):
    """What is wrong with what a watcher saw of a store that is at ``revision`` and has ``rows``.
    ``gaps``: what it was said to be gone, see ``version_clients.py``."""
    numbers = [number for number, _, _ in changes]
    if numbers != sorted(numbers):
        yield "changes out of order"
    if len({(number, key) for number, key, _ in changes}) != len(changes):
        yield "a change came twice"
    missing = set(range(1, revision + 1)) - set(numbers)
    for first, end in gaps:
        missing -= set(range(first, end))
    if missing:
        yield f"revisions are missing: {sorted(missing)[:10]} of {revision}"
    since = max([end for _, end in gaps], default=0)
    last = {key: value for number, key, value in changes if number >= since}
    kept = {key: value for key, value in rows.items() if key in last or not gaps}
    if {key: value for key, value in last.items() if value is not None} != kept:
        yield f"its last values are not those of the store: {last}, {rows}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="of three and five nodes, in turn")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--calm", action="store_true", help="no faults but stops and kills")
    options = parser.parse_args()
    first = random.randrange(1 << 30) if options.seed is None else options.seed
    before = build()
    print(f"the version before: level {before.level}, {before.path}", flush=True)
    good = True
    for number in range(options.rounds):
        seed, size = first + number, (3, 5)[number % 2]
        print(f"seed {seed}, {size} nodes", flush=True)
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory() as path:
            outcome = run_round(
                Path(path), seed=seed, size=size, calm=options.calm, before=before,
                report=lambda line: print(f"  {line}", flush=True),
            )  # fmt: skip
        for line in outcome.lines():
            print(line)
        print(f"  {time.monotonic() - began_s:.0f} s", flush=True)
        good = good and outcome.ok
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
