"""Members of real clusters changed under load, and then an audit of what clients saw.

    python -m tests.bench.member_campaign [--rounds N] [--seed S] [--faults] [--parts A,B]

Each round runs these parts, every one on a cluster of its own, with clients that put, get, cas,
delete and scan the same few keys, and all changes by ``paxosctl member`` as a process:

    rolling   all three nodes replaced one after the other, the leader among them: new names, new
              directories; the clients know the first three endpoints only
    sizes     1 -> 3 -> 5 -> 3 -> 1, by add and remove
    lives     a wiped node rejoins; a leader removes itself; the lead goes back and forth
    quorums   of 4 voters: 3 to take over and 2 to write, with two voters stopped; and back

``--faults``: meanwhile kill -9 and SIGSTOP of one random node after another; a change that was
held up is asked for again until it is through.

One line for each step: how long it took until writes went on, and the longest time in it without
an acknowledged write. At the end: linearizable, nothing lost, nothing doubled, one state on all
members; without faults, no operation that failed or ended unknown. Exit 1 if not.
"""

import argparse
import random
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.faultrun.clients import Workers
from paxosctl.faultrun.plan import Workload
from tests.bench.audit import Audit, audit
from tests.bench.member_stage import Disturber, Stage, drawn
from tests.processes.growing import Growing

MIX = {"put": 6, "get": 6, "cas": 4, "delete": 1, "range": 1, "delete_range": 0.2}
TIMEOUT_MS = 15_000
"""Without faults nothing may fail, so nobody gives up early."""
TIMEOUT_FAULTS_MS = 800
"""With them: shorter than some elections, so that writes end unknown."""
TRANSFERS = 10
STOPPED_TRIES = 5


# -- the parts


def rolling(stage):
    """All three are replaced, one of them while it leads."""
    left = list(stage.daemons.founders)
    stage.rng.shuffle(left)
    for new in ("n4", "n5", "n6"):
        leader = stage.leader()
        old = leader if leader in left and new != "n4" else left[0]
        left.remove(old)
        with stage.step(f"replace {old} by {new}{leads(old, leader)}"):
            stage.replace(old, new)


def leads(name, leader):
    """A word about the node that leads."""
    return " (the leader)" if name == leader else ""


def sizes(stage):
    """From one to five voters and back to one."""
    for new in ("n2", "n3", "n4", "n5"):
        with stage.step(f"add {new}"):
            stage.add(new)
    for _ in range(4):
        members = stage.members()
        old = stage.rng.choice(members["voters"])
        with stage.step(f"remove {old}{leads(old, members['leader'])}"):
            stage.remove(old)


def peer_runs(stage):
    """What a cluster goes through in its years."""
    leader = stage.leader()
    wiped = stage.rng.choice([name for name in stage.daemons.founders if name != leader])
    with stage.step(f"wipe {wiped}, rejoin"):
        stage.rejoin(wiped)
    transfers(stage, TRANSFERS)
    leader = stage.leader()
    with stage.step(f"remove {leader}, that leads"):
        stage.remove(leader)
    with stage.step("add n4"):
        stage.add("n4")


def transfers(stage, count):
    """The lead goes from one to another and back."""
    for number in range(count):
        leader = stage.leader()
        name = stage.rng.choice([name for name in stage.members()["voters"] if name != leader])
        with stage.step(f"transfer-leader {name}, from {leader} ({number + 1})"):
            stage.transfer(name)
        stage.handover_gaps_s.append(stage.steps[-1].gap_s)


def quorums(stage):
    """Two of four write, while the other two are stopped."""
    with stage.step("add n4"):
        stage.add("n4")
    with stage.step("quorum: 3 to take over, 2 to write"):
        stage.quorum(3, 2)
    with stage.quiet(), stage.step("two of four stopped, writes go on"):
        two_stopped(stage)
    with stage.step("quorum: majorities"):
        stage.quorum(0, 0)


def two_stopped(stage):
    """Two of four voters are enough to write; not to take over, should the leader lose touch with
    the other one, on a busy machine: then the two go on, and it is tried again."""
    for _ in range(STOPPED_TRIES):
        leader = stage.leader()
        others = [name for name in stage.members()["voters"] if name != leader]
        stopped = stage.rng.sample(others, 2)
        for name in stopped:
            stage.daemons.signal(name, signal.SIGSTOP)
        found = stage.progress_unless(lambda leader=leader: not stage.leads(leader))
        for name in stopped:
            stage.daemons.signal(name, signal.SIGCONT)
        stage.progress()
        if found:
            return
    raise AssertionError(f"no writes by two of four voters in {STOPPED_TRIES} tries")


PARTS = {"rolling": (rolling, 3, 3), "sizes": (sizes, 1, 4), "lives": (peer_runs, 3, 1),
         "quorums": (quorums, 3, 1)}  # fmt: skip
"""Name → what is done, how many nodes begin, how many more there may be."""


# -- a part and its outcome


@dataclass
class PartOutcome:
    """What one part came to."""

    part: str
    seed: int
    faults: bool
    steps: list = field(default_factory=list)
    handover_gaps_s: list = field(default_factory=list)
    kills: int = 0
    stops: int = 0
    audit: Audit | None = None

    @property
    def spotless(self):
        """No operation failed, and none ended without an answer."""
        counts = self.audit.counts
        return not (self.audit.settled or counts.get("failed") or counts.get("unknown"))

    @property
    def ok(self):
        return bool(self.audit.ok and (self.faults or self.spotless))

    def lines(self):
        """For people."""
        if self.faults:
            yield f"  faults: {self.kills} kill -9, {self.stops} SIGSTOP"
        yield from (f"  {line}" for line in self.audit.lines())
        yield f"  {'ok' if self.ok else 'VIOLATED'}"


def run_part(path, part, *, seed, faults=False, act=None, report=lambda line: None, history=None):
    """One part on a cluster of its own in ``path``; returns its outcome. ``act``: what to do on
    the stage instead, with three nodes and two more. ``report(line)``: called after each step."""
    found, size, more = PARTS[part] if act is None else (act, 3, 2)
    outcome = PartOutcome(part, seed, faults)
    timeout_ms = TIMEOUT_FAULTS_MS if faults else TIMEOUT_MS
    # A transaction may be refused for a lease that has ended, and how a lease ends nobody is
    # answered: without faults each operation is to have its answer.
    more_kinds = {} if faults else {"transactors": 0, "lockers": 0}
    workload = Workload(
        clients=6, keys=12, pause_ms=5, timeout_ms=timeout_ms, mix=MIX, **more_kinds
    )
    with Growing(path, size=size, more=more) as daemons:
        daemons.start_founders()
        known = [daemons.endpoint(name) for name in daemons.founders]
        workers = Workers(known, workload, seed, b"member/")
        disturber = Disturber(daemons, drawn(seed, "faults")) if faults else None
        stage = Stage(daemons, workers, drawn(seed, part), disturber=disturber, report=report)
        workers.start()
        try:
            stage.progress()
            if disturber is not None:
                disturber.start()
            found(stage)
        finally:
            if disturber is not None:
                disturber.stop()
                outcome.kills, outcome.stops = disturber.kills, disturber.stops
            workers.stop()
        daemons.wait_leader()
        outcome.audit = audit(daemons, workers, *daemons.processes, history=history)
    outcome.steps, outcome.handover_gaps_s = stage.steps, stage.handover_gaps_s
    return outcome


def summary(outcomes):
    """All parts in a few lines."""
    steps = [step for outcome in outcomes for step in outcome.steps]
    gaps = [gap * 1000 for outcome in outcomes for gap in outcome.handover_gaps_s]
    worst = max(steps, key=lambda step: step.gap_s)
    operations = sum(sum(outcome.audit.counts.values()) for outcome in outcomes)
    yield f"{len(steps)} steps, {operations} operations; median gap of a step " + (
        f"{statistics.median(step.gap_s for step in steps) * 1000:.0f} ms, "
        f"longest {worst.gap_s * 1000:.0f} ms ({worst.what})"
    )
    if gaps:
        yield (
            f"{len(gaps)} hand-overs: gap median {statistics.median(gaps):.0f} ms, "
            f"longest {max(gaps):.0f} ms"
        )
    bad = [f"{outcome.part} (seed {outcome.seed})" for outcome in outcomes if not outcome.ok]
    yield f"violations: {', '.join(bad) or 'none'}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--faults", action="store_true", help="kill -9 and SIGSTOP meanwhile")
    parser.add_argument("--parts", default=",".join(PARTS), help="which of them, with commas")
    options = parser.parse_args()
    first = random.randrange(1 << 30) if options.seed is None else options.seed
    outcomes = []
    for number in range(options.rounds):
        seed = first + number
        for part in options.parts.split(","):
            print(f"{part}, seed {seed}", flush=True)
            began_s = time.monotonic()
            with tempfile.TemporaryDirectory() as path:
                outcome = run_part(
                    Path(path), part, seed=seed, faults=options.faults,
                    report=lambda line: print(f"  {line}", flush=True),
                )  # fmt: skip
            for line in outcome.lines():
                print(line)
            print(f"  {time.monotonic() - began_s:.0f} s", flush=True)
            outcomes.append(outcome)
    for line in summary(outcomes):
        print(line)
    sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
