"""The cost model: what a put costs, and how that grows with clients, values, keys and nodes.

    python -m tests.bench.cost_model --json FILE [--rows stages,clients|all] [--rounds 3]
        [--seconds 2] [--dir DIR] [--page] [--short]
    python -m tests.bench.cost_model --from FILE --page

Each point is saved to FILE as soon as it is measured, and one that fails is left out with a word;
with a FILE that is there already its other rows are kept. ``--page`` writes the tables into
docs/COST_MODEL.md and draws its pictures; with ``--from`` of a saved run. ``--short``: one round of
a second each, without the points that take long. The page says how to read it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.compare_cluster import LoadFailedError
from tests.bench.compare_results import describe_machine
from tests.bench.compare_syscalls import Tracer
from tests.bench.cost_cluster import CostCluster
from tests.bench.cost_figures import figures_of, stages_of
from tests.bench.cost_report import PAGE, write_page
from tests.bench.cost_rows import GROUPS, groups_of
from tests.bench.state_file import write_states

WARMUP_S = 1.0
LEADER_S = 300.0
STATE_LIMIT_S = 600.0
SHORT_KEYS_MAX = 10_000
FAILURES = (LoadFailedError, AssertionError, OSError, LookupError, ValueError,
            subprocess.SubprocessError)  # fmt: skip
"""What ends a point, or a cluster, and not the run."""


def parse(arguments):
    """The options. Ends with exit code 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.cost_model", description=__doc__.split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--rows", default="all", help=f"of {[group.name for group in GROUPS]}")
    parser.add_argument("--json", type=Path, help="where the results are saved")
    parser.add_argument("--from", dest="saved", type=Path, help="measure nothing: a saved run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run, without warm-up")
    parser.add_argument("--dir", default=".", help="on the disk that is measured")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} and its pictures")
    parser.add_argument("--short", action="store_true", help="to try it: fewer and shorter runs")
    options = parser.parse_args(arguments)
    try:
        options.groups = groups_of(options.rows.split(","))
    except ValueError as error:
        parser.error(str(error))
    if options.json is None and options.saved is None:
        parser.error("--json FILE, or --from FILE")
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds are above 0")
    if options.short:
        options.rounds, options.seconds = 1, 1.0
    return options


def note(words):
    """Progress, on standard error."""
    print(words, file=sys.stderr, flush=True)


class Run:
    """One run of the model, saved to ``path`` after each point. What ``path`` has already of other
    groups is kept."""

    def __init__(self, path, groups, machine, rounds, seconds):
        self._path = path
        measured = {group.name for group in groups}
        kept = json.loads(path.read_text()) if path.exists() else {"points": [], "failures": []}
        self.found = {
            "machine": machine, "commit": commit(), "rounds": rounds, "seconds": seconds,
            "points": [each for each in kept["points"] if each["group"] not in measured],
            "failures": [each for each in kept["failures"] if each["group"] not in measured],
        }  # fmt: skip

    def add(self, group, point, figures):
        """One more measurement of a point."""
        self.found["points"].append({"group": group.name, "x": point.x, **figures})
        self._save()
        shown = {name: value for name, value in figures.items() if type(value) in (int, float)}
        note(f"{group.name:9s} {point.title:28s} " + ", ".join(
            f"{name} {value:,.4g}" for name, value in shown.items()))  # fmt: skip

    def fail(self, group, what, error):
        """One that is not there."""
        words = f"{what}: {type(error).__name__}: {error}"
        self.found["failures"].append({"group": group.name, "message": words})
        self._save()
        note(f"{group.name:9s} failed: {words}")

    def _save(self):
        self.found["machine"]["load_after"] = round(os.getloadavg()[0], 2)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(self.found, indent=1))
        part.rename(self._path)


def commit():
    """The commit that is measured; "unknown" outside of a repository."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True
    )
    return asked.stdout.strip() or "unknown"


def measure_cluster(run, group, points, options, folder):
    """These points, all of one kind of cluster, in rounds."""
    first = points[0]
    with CostCluster(folder, first.nodes, staged=group.kind == "stages") as cluster:
        if first.keys:
            write_states(cluster, first.keys, first.load["size"])
        cluster.start()
        cluster.wait_leader(LEADER_S)
        counted = group.kind == "syscalls"  # which differs little from one round to the next
        measure = measure_syscalls if counted else measure_load
        for _ in range(1 if counted else options.rounds):
            for point in points:
                try:
                    measure(run, group, point, cluster, options)
                except FAILURES as error:
                    run.fail(group, point.title, error)


def measure_load(run, group, point, cluster, options):
    leader = cluster.wait_leader(LEADER_S)
    output, before, after = cluster.run(point.load, options.seconds, WARMUP_S, fill=not point.keys)
    figures = figures_of(output, before, after, leader)
    if group.kind == "stages":
        figures |= stages_of(before, after, leader)
    run.add(group, point, figures)


def measure_syscalls(run, group, point, cluster, options):
    """The leader under strace, then a follower. Only the counts are of use: it slows them down."""
    leader = cluster.wait_leader(LEADER_S)
    follower = next(name for name in cluster.names if name != leader)
    found = {}
    for role, name in (("leader", leader), ("follower", follower)):
        tracer = Tracer(cluster.processes[name].pid, cluster.path / "strace")
        output, before, after = cluster.run(point.load, options.seconds, WARMUP_S, meanwhile=tracer)
        figures = figures_of(output, before, after, leader)
        puts = figures["puts"]
        found[role] = {call: count / puts for call, count in tracer.calls().items()}
        found[f"{role}_puts_a_slot"] = figures["puts_a_slot"]
    run.add(group, point, found)


def measure_state(run, group, point):
    command = [sys.executable, "-m", "tests.bench.cost_state", str(point.x)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=STATE_LIMIT_S
    )
    if done.returncode != 0:
        raise LoadFailedError(done.stderr.strip()[-500:])
    run.add(group, point, json.loads(done.stdout))


def measure_group(run, group, options):
    """All points of a group: those of one kind of cluster share one."""
    points = list(group.points)
    if options.short:
        points = [each for each in points if max(each.keys, each.x) <= SHORT_KEYS_MAX]
    if group.kind == "state":
        for point in points:
            try:
                measure_state(run, group, point)
            except FAILURES as error:
                run.fail(group, point.title, error)
        return
    kinds = dict.fromkeys((point.nodes, point.keys) for point in points)
    for nodes, keys in kinds:
        alike = [each for each in points if (each.nodes, each.keys) == (nodes, keys)]
        try:
            with tempfile.TemporaryDirectory(prefix="cost-", dir=options.dir) as folder:
                measure_cluster(run, group, alike, options, Path(folder).absolute())
        except FAILURES as error:
            run.fail(group, f"a cluster of {nodes}", error)


def main():
    """Measure, save, write the page."""
    options = parse(sys.argv[1:])
    # So that the daemons are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    saved = options.saved
    if saved is None:
        saved = options.json
        machine = describe_machine(options.dir)
        run = Run(saved, options.groups, machine, options.rounds, options.seconds)
        began_s = time.monotonic()
        for group in options.groups:
            measure_group(run, group, options)
        note(f"{len(run.found['points'])} points in {time.monotonic() - began_s:.0f} s, "
             f"{len(run.found['failures'])} failures: {saved}")  # fmt: skip
    if options.page:
        write_page(json.loads(saved.read_text()))


if __name__ == "__main__":
    main()
