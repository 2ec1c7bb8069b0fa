"""What is done to a cluster of two versions: the runbook "Upgrade" of docs/OPERATING.md, its ways
back, and what a person may do wrong meanwhile.

    whole(stage)  short(stage)  lasting(stage, seconds)    generators of what went wrong, in words
"""

import signal
import time

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.daemon.exits import CONFIG, OK, STORAGE
from tests.bench.member_stage import Disturber, Stage
from tests.bench.version_cluster import NEW, OLD, wait_role
from tests.bench.version_verbs import newer_refused
from tests.processes.processes import wait_for

LEVEL_LIMIT_S = 60.0
TOO_OLD = (
    (CONFIG, f"raised its feature level to {LEVEL_LATEST}"),
    (CONFIG, "this program knows 1 to"),
    (STORAGE, "this program knows 1 to"),
    (None, "this program knows 1 to"),
)
"""How a program ends that the cluster has left behind: exit code, and a part of what it writes. By
the log, or by a snapshot of a later format, its own or that of another node, for which versions of
before level 5 have another exit code, or none."""
END_LIMIT_S = 60.0
SNAPSHOT_LIMIT_S = 120.0


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
            with self.step(f"{name} holds the level no more"), self.quiet():
                self.end_hold(name)
        with self.step(f"level {LEVEL_LATEST}"):
            self.wait_level()

    def end_hold(self, name):
        """Start it without the hold."""
        self.daemons.release(name)
        self._stop(name)
        self.daemons.start(name)
        wait_role(self.daemons, name)

    def wait_level(self):
        """Until all running nodes are at the latest level."""
        reached = lambda: self.daemons.levels() == {LEVEL_LATEST}  # noqa: E731 - reads better
        wait_for(reached, LEVEL_LIMIT_S, f"feature level {LEVEL_LATEST} on all nodes")

    def raise_without(self, away):
        """The level is raised while ``away``, whose new version the leader has heard, is down. The
        node that held the level may not lead: it has not heard the other since its start."""
        cluster = self.daemons
        (holder,) = cluster.held
        with self.quiet(), self.step(f"level {LEVEL_LATEST} while {away} is down"):
            wait_for(lambda: self.knows(away, holder), LEVEL_LIMIT_S, f"a greeting of {away}")
            self._stop(away)
            self.end_hold(holder)
            if self.leads(holder):
                self.transfer(next(n for n in cluster.processes if n != holder))
            self.wait_level()

    def knows(self, name, *but):
        """Whether all running nodes, without ``but`` and the node itself, have heard the level that
        it takes now."""
        cluster = self.daemons
        most = cluster.before.level if name in cluster.held else LEVEL_LATEST
        views = [cluster.status(each) for each in cluster.processes if each not in (name, *but)]
        return all(view and view["peers"][name]["level"] == most for view in views)


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
    with stage.quiet():
        yield from newer_refused(cluster)
    yield from leave_behind(stage)


def leave_behind(stage):
    """The level is raised with all nodes up, without a node that comes back later, also as the
    version before, or not before an older node has been upgraded. Yields what is wrong."""
    cluster, rng = stage.daemons, stage.rng
    others = [name for name in cluster.names if name not in cluster.held]
    lot, away = rng.randrange(3), rng.choice(others)
    if lot == 0:
        stage.finish_upgrade()
        away = rng.choice(cluster.names)
    elif lot == 1:
        stage.raise_without(away)
    else:
        yield from check_waits(stage, away)
    yield from check_too_old(stage, away)


def lasting(stage, seconds):
    """Rolling restarts, to and fro, for so long; then the level is raised."""
    cluster, rng = stage.daemons, stage.rng
    until_s = time.monotonic() + seconds
    holder = rng.choice(cluster.names)
    cluster.hold(holder)
    while time.monotonic() < until_s:
        lot, name = rng.random(), rng.choice(cluster.names)
        if lot < 0.6:
            stage.change(name, OLD if cluster.programs[name] == NEW else NEW)
        elif lot < 0.8:
            stage.snapshot(name)
        else:
            program = rng.choice((OLD, NEW))
            for each in rng.sample(cluster.names, len(cluster.names)):
                stage.change(each, program)
    for name in rng.sample(cluster.names, len(cluster.names)):
        stage.change(name, NEW)
    yield from check_held(stage)
    yield from leave_behind(stage)


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
        words = show(cluster)
        expected = (
            f"the feature level is {cluster.before.level}; level {LEVEL_LATEST} waits for "
            f"{holder} (its file has protocol.feature_level_max = {cluster.before.level})"
        )
        if expected not in words:
            yield f"`cluster show` does not say why the level is held: {words}"


def start_too_old(cluster, name):
    """Start a node that is too old. How it ended and what it wrote; None, and why it takes no
    snapshot, if it was behind so far that it needed one: the versions of before level 5 stay up
    then, without what came since."""
    wrote, refused = len(cluster.stderr(name)), len(cluster.events(name, "snapshot.bad"))
    cluster.start(name)
    process = cluster.processes[name]
    bad = lambda: cluster.events(name, "snapshot.bad")[refused:]  # noqa: E731 - asked twice
    wait_for(lambda: process.poll() is not None or bad(), END_LIMIT_S, f"the end of {name}")
    if process.poll() is None:
        cluster.kill(name)
        return None, bad()[0]["reason"]
    return cluster.wait_end(name), cluster.stderr(name)[wrote:]


def check_waits(stage, away):
    """Nobody holds the level any more, but one node is down, and of the version before: the level
    waits for it. Yields what is wrong."""
    cluster = stage.daemons
    stage.change(away, OLD)
    (holder,) = cluster.held
    with stage.quiet():
        with stage.step(f"level {cluster.before.level} while {away} (old) is down"):
            stage.end_hold(holder)
            cluster.kill(away)
        if cluster.levels() != {cluster.before.level}:
            yield f"{away} is older and down, but the levels are {cluster.levels()}"
        words = show(cluster)
        if f"level {LEVEL_LATEST} waits for {away} (does not answer" not in words:
            yield f"`cluster show` does not say that {away} is waited for: {words}"
        with stage.step(f"{away} comes back as it was"):
            cluster.start(away)
            wait_role(cluster, away)
    stage.change(away, NEW)
    with stage.step(f"level {LEVEL_LATEST}"):
        stage.wait_level()


def show(cluster):
    """What ``cluster show`` says, in one line."""
    endpoints = ",".join(cluster.endpoints)
    done = cluster.run("paxosctl", "--endpoints", endpoints, "cluster", "show")
    return " ".join((done.stdout + done.stderr).split())


def check_too_old(stage, name):
    """The version before does not start in a directory of the new level, or ends once it hears of
    it; the newer one goes on with what is there. Yields what is wrong."""
    cluster = stage.daemons
    with stage.quiet(), stage.step(f"{name} is too old now"):
        if name in cluster.processes:
            cluster.kill(name)
        cluster.run_as(name, OLD)
        code, words = start_too_old(cluster, name)
        if not any(code == expected and text in words for expected, text in TOO_OLD):
            yield f"the version before ended with {code}: {words}"
        cluster.run_as(name, NEW)
        cluster.start(name)
        wait_role(cluster, name)
