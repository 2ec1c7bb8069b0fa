"""A rolling upgrade from the version before, and the way back, on real processes under load.

    python -m tests.bench.version_skew [--seed N] [--rounds N] [--before LEVEL] [--nodes N] [--calm]
    python -m tests.bench.version_skew --minutes 15 --nodes 3

Each round has a cluster of its own, of three or five nodes, that a version before
(``version_before.py``) has founded, with clients of both versions (``version_clients.py``). It
follows the runbook "Upgrade" in docs/OPERATING.md (``version_acts.py``):

    upgrade   one node after the other, by SIGTERM or kill -9; the first one's file holds the level
    snapshot  a node of each version is away until it needs a snapshot, and gets it from the other
    back      nodes that were upgraded go on with the version before, in the middle and at the end
    held      what needs a later level is refused, and says so
    raise     all nodes reach the latest level, also one that was away meanwhile, but none before an
              older node that is down has been upgraded
    too old   the version before does not start any more, and says why

Meanwhile, without ``--calm``: kill -9, SIGSTOP and partitions, of one node at a time. With
``--minutes`` nodes change their version to and fro for so long.

At the end: linearizable, nothing lost, nothing doubled, one state on all nodes. Each watcher has
seen each revision, in order, once, but for history that was refused to it as gone. Sessions have
lived on, counters have counted, kept leases are there, locks had one holder at a time, and fenced
writes of earlier ones were refused. `paxosctl audit` finds no broken rule in what the nodes of both
versions recorded. Exit 1 if not.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.faultrun.clients import Workers
from paxosctl.faultrun.plan import Workload
from paxosd.check.history import History
from paxosd.check.locks import check_locks
from paxosd.check.verdict import Verdict
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.bench.audit import Audit, audit
from tests.bench.member_stage import drawn
from tests.bench.version_acts import LEVEL_LIMIT_S, Nemesis, Upgrade, lasting, whole
from tests.bench.version_before import LEVELS, build
from tests.bench.version_clients import Load
from tests.bench.version_cluster import NEW, OLD, MixedVersions, OldClients
from tests.bench.version_judge import counted, locked, wrong_of
from tests.processes.processes import clean_environ, wait_for

PREFIX = "skew/"
KEYS, STEADY, LATE = PREFIX + "keys/", PREFIX + "steady/", PREFIX + "late/"
WORKLOAD = {
    "clients": 3,
    "keys": 8,
    "pause_ms": 5,
    "timeout_ms": 800,  # shorter than some elections: those writes end unknown
    "mix": {"put": 6, "get": 6, "cas": 4, "delete": 1, "range": 1, "delete_range": 0.2},
}
"""Of each version's clients; what all versions know."""
COORDINATION = 300
"""So many writes more once transactions, leases and locks are there."""
HISTORY_REVISIONS = 3000
LEASES_END_S = 60.0
RULES_LIMIT_S = 600.0
"""`paxosctl audit` reads all recordings of a quarter of an hour."""


@dataclass
class Outcome:
    """What one round came to. ``before``: the level of the version before. ``wrong``: what is wrong
    beside the audit, in words. ``gaps``: how often a watcher of which version was refused history
    that was gone. ``rules``: what `paxosctl audit` says."""

    seed: int
    size: int
    before: int
    steps: list = field(default_factory=list)
    faults: tuple = (0, 0, 0)
    wrong: list = field(default_factory=list)
    gaps: dict = field(default_factory=dict)
    added: dict = field(default_factory=dict)
    audit: Audit | None = None
    late: Audit | None = None
    locks: Verdict | None = None
    rules: str = ""

    @property
    def ok(self):
        judged = [self.audit, self.locks] + ([self.late] if self.late else [])
        return all(each and each.ok for each in judged) and not self.wrong

    def lines(self):
        """For people."""
        kills, stops, cuts = self.faults
        yield f"  faults: {kills} kill -9, {stops} SIGSTOP, {cuts} partitions"
        yield f"  watchers that had to begin anew: {self.gaps}; counted: {self.added}"
        for each in filter(None, (self.audit, self.late)):
            yield from (f"  {line}" for line in each.lines())
        if self.locks:
            yield f"  locks: {self.locks.status}: {self.locks.explanation}"
        if self.rules:
            yield f"  paxosctl audit: {self.rules}"
        yield from (f"  WRONG: {line}" for line in self.wrong)
        yield f"  {'ok' if self.ok else 'VIOLATED'}"


def run_round(path, before, *, seed, size=3, calm=False, act=whole, report=lambda line: None):
    """One round in ``path``; returns its outcome. ``act(stage)``: what is done, a generator of
    what was wrong."""
    outcome = Outcome(seed, size, before.level)
    with MixedVersions(path, before, size) as cluster:
        cluster.start_founders()
        reached = lambda: cluster.levels() == {before.level}  # noqa: E731 - reads as what it is
        wait_for(reached, LEVEL_LIMIT_S, f"feature level {before.level} of the version before")
        if before.level >= LEVEL_COORDINATION:
            _shorten(cluster)
        load = Load(_given(cluster, NEW, seed))
        old = OldClients(cluster, _given(cluster, OLD, seed + 1))
        try:
            nemesis = None if calm else Nemesis(cluster, drawn(seed, "faults"))
            acts = drawn(seed, "acts")
            stage = Upgrade(cluster, load.workers, acts, disturber=nemesis, report=report)
            late = _perform(stage, load, nemesis, act, outcome)
            outcome.steps = stage.steps
            if nemesis is not None:
                outcome.faults = nemesis.kills, nemesis.stops, nemesis.cuts
            _conclude(cluster, load, old, outcome)
            if late is not None:
                outcome.late, outcome.locks = (
                    audit(cluster, late, alone=False),
                    check_locks(late.locks),
                )
        finally:
            load.halt()
            old.close()
    return outcome


def _shorten(cluster):
    """Less history, which is in each snapshot, and the next one is not taken before the log has
    grown by as much."""
    endpoints = ",".join(cluster.endpoints)
    words = ["cluster", "set", f"history_revisions={HISTORY_REVISIONS}"]
    done = cluster.run("paxosctl", "--endpoints", endpoints, "--timeout", "30s", *words)
    assert done.returncode == 0, done.stderr


def _given(cluster, name, seed):
    """What a Load is to do; ``name``: of which version."""
    return {
        "endpoints": cluster.endpoints, "seed": seed, "name": name, "keys": KEYS, "steady": STEADY,
        "watched": PREFIX, "pairs": int(cluster.before.level >= LEVEL_COORDINATION),
        "workload": WORKLOAD,
    }  # fmt: skip


def _perform(stage, load, nemesis, act, outcome):
    """The steps, with clients and faults. Returns the clients of what the version before did not
    know, which have ended; None: it knew all."""
    load.start()
    try:
        stage.progress()
        if nemesis is not None:
            nemesis.start()
        outcome.wrong += act(stage)
        load.raise_error()
        is_new = stage.daemons.before.level < LEVEL_COORDINATION
        return _coordinate(stage, load, outcome.seed) if is_new else None
    finally:
        if nemesis is not None:
            nemesis.stop()
        load.stop()


def _coordinate(stage, load, seed):
    """Transactions, leases and a lock for a while, by new clients and in sessions that were opened
    below their level."""
    load.coordinate()
    workload = Workload(**WORKLOAD | {"clients": 0}, transactors=2, lockers=2)
    late = Workers(stage.daemons.endpoints, workload, seed, LATE.encode())
    late.start()
    try:
        with stage.step("transactions, leases and a lock"):
            wait_for(lambda: len(late.acked_s) >= COORDINATION, 60.0, "writes of the later level")
    finally:
        late.stop()
    return late


def _conclude(cluster, load, old, outcome):
    """All clients have ended, or end now: their histories as one, and what the watchers saw."""
    cluster.wait_leader()
    old.stop()
    with cluster.client(timeout_s=60.0) as client:
        wait_for(lambda: not list(client.leases()), LEASES_END_S, "the end of all leases")
        cluster.wait_equal(60.0)
        revision = cluster.status(cluster.names[0])["revision"]
        rows = {row.key: row.value for row in client.scan(PREFIX.encode())}
    history, by_old = old.finish(revision)
    seen = {NEW: load.finish(revision), OLD: by_old}
    workers = load.workers
    workers.history = History.of([*workers.history, *history])
    outcome.audit = audit(cluster, workers, alone=False)  # steady clients write, too
    for name, each in seen.items():
        outcome.wrong += wrong_of(name, each, revision, rows)
        outcome.gaps[name] = len(each["gaps"])
        outcome.added[name] = each["added"]
    outcome.wrong += counted(seen.values(), rows, STEADY.encode())
    if not seen[NEW]["added"]["incr"]:
        outcome.wrong.append("no session has done a transaction")
    if outcome.before >= LEVEL_COORDINATION:
        outcome.locks = locked(seen.values())
    outcome.rules = _rules(cluster, outcome.wrong)


def _rules(cluster, wrong):
    """What `paxosctl audit` says of all directories; more that is wrong goes into ``wrong``."""
    where = [str(cluster.path / name) for name in cluster.names]
    command = [sys.executable, "-m", "paxosctl", "audit", *where]
    done = subprocess.run(
        command, capture_output=True, text=True, env=clean_environ(), check=False,
        timeout=RULES_LIMIT_S,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    kept = [line.split()[0] for line in lines if " kept " in line]
    if done.returncode or "violated" in done.stdout or not kept:
        wrong.append(f"paxosctl audit ended with {done.returncode}: {done.stdout}{done.stderr}")
    return f"{len(kept)} rules kept"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--nodes", type=int, choices=(3, 5), help="both, in turn, if left out")
    parser.add_argument("--before", type=int, choices=LEVELS, help="all, in turn, if left out")
    parser.add_argument("--minutes", type=float, help="one round that lasts so long")
    parser.add_argument("--calm", action="store_true", help="no faults but stops and kills")
    options = parser.parse_args()
    first = random.randrange(1 << 30) if options.seed is None else options.seed
    act = whole
    if options.minutes:
        options.rounds, act = 1, lambda stage: lasting(stage, options.minutes * 60)
    good = True
    for number in range(options.rounds):
        seed = first + number
        size = options.nodes or (3, 5)[number % 2]
        before = build(options.before or LEVELS[number // 2 % len(LEVELS)])
        print(f"seed {seed}, {size} nodes, from level {before.level}", flush=True)
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory() as path:
            outcome = run_round(
                Path(path), before, seed=seed, size=size, calm=options.calm, act=act,
                report=lambda line: print(f"  {line}", flush=True),
            )  # fmt: skip
        for line in outcome.lines():
            print(line)
        print(f"  {time.monotonic() - began_s:.0f} s", flush=True)
        good = good and outcome.ok
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
