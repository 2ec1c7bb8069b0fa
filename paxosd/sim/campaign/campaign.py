"""Many runs: what they add up to, and what is left of a failing one when it is made small.

    run_campaign(seeds, options, jobs)  →  Summary    every run counted, the failing ones kept
    minimise(report, options)           →  Minimised  fewest faults, then the least of each

The same seeds and options give the same summary, but for the times, whatever the number of jobs.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import RunReport, run_seed
from paxosd.sim.campaign.shrink import shrink
from paxosd.sim.campaign.workers import Crashed, run_seeds
from paxosd.sim.nemesis.schedule import Directive, Schedule

SHRINK_RUNS_MAX = 150
FAILURES_KEPT_MAX = 20

Run = Callable[[int, RunOptions, Schedule | None], RunReport]


def run_once(seed: int, options: RunOptions, schedule: Schedule | None = None) -> RunReport:
    """One run without a trace."""
    return run_seed(seed, options, schedule=schedule)


def _work(seed: int, options: RunOptions) -> RunReport:
    report = run_seed(seed, options)
    if report.ok:
        report.schedule = Schedule()  # not needed any more, and it would go through a pipe
        report.tail = []
    return report


@dataclass(slots=True)
class Summary:
    """What a number of runs adds up to. ``violations`` and ``crashed`` keep the first few;
    ``failed`` counts all of both. ``not_checked``: runs without a violation whose history was
    too hard to decide, which is not ok either; ``undecided`` has the first of their seeds."""

    runs: int = 0
    failed: int = 0
    not_checked: int = 0
    operations: int = 0
    acknowledged: int = 0
    unknown: int = 0
    leader_changes: int = 0
    simulated_ms: float = 0.0
    worked_s: float = 0.0
    """Wall time of all runs together; more than ``elapsed_s`` where several ran at a time."""
    elapsed_s: float = 0.0
    jobs: int = 1
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[RunReport] = field(default_factory=list)
    crashed: list[Crashed] = field(default_factory=list)
    undecided: list[int] = field(default_factory=list)

    def add(self, result: RunReport | Crashed) -> None:
        """Count one run."""
        self.runs += 1
        if isinstance(result, Crashed):
            self.failed += 1
            if len(self.crashed) < FAILURES_KEPT_MAX:
                self.crashed.append(result)
            return
        if not result.ok:
            self.failed += 1
            if len(self.violations) < FAILURES_KEPT_MAX:
                self.violations.append(result)
        elif result.checked != "ok":
            self.not_checked += 1
            if len(self.undecided) < FAILURES_KEPT_MAX:
                self.undecided.append(result.seed)
        self.operations += result.operations
        self.acknowledged += result.acknowledged
        self.unknown += result.unknown
        self.leader_changes += result.leader_changes
        self.simulated_ms += result.simulated_ms
        self.worked_s += result.wall_s
        self.faults.update(result.faults)

    @property
    def passed(self) -> int:
        """Runs that were judged to the end and broke nothing."""
        return self.runs - self.failed - self.not_checked

    @property
    def speed_up(self) -> float:
        """Simulated seconds per second."""
        return self.simulated_ms / 1000.0 / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def runs_per_minute_per_core(self) -> float:
        """Of one busy core, start-up left aside."""
        return 60.0 * self.runs / self.worked_s if self.worked_s > 0 else 0.0

    def describe(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "runs": self.runs,
            "failed": self.failed,
            "not_checked": self.not_checked,
            "operations": self.operations,
            "acknowledged": self.acknowledged,
            "unknown": self.unknown,
            "leader_changes": self.leader_changes,
            "faults": {kind: self.faults[kind] for kind in sorted(self.faults)},
            "simulated_s": round(self.simulated_ms / 1000.0, 1),
            "elapsed_s": round(self.elapsed_s, 2),
            "speed_up": round(self.speed_up, 1),
            "runs_per_minute_per_core": round(self.runs_per_minute_per_core, 1),
            "jobs": self.jobs,
        }


def run_campaign(
    seeds: Iterable[int],
    options: RunOptions,
    *,
    jobs: int = 1,
    on_done: Callable[[], None] | None = None,
) -> Summary:
    """Run every seed. ``on_done`` is called after each, for a progress bar."""
    summary = Summary(jobs=jobs)
    started = perf_counter()
    report_done = None if on_done is None else lambda _: on_done()
    for result in run_seeds(partial(_work, options=options), seeds, jobs=jobs, on_done=report_done):
        summary.add(result)
    summary.elapsed_s = perf_counter() - started
    return summary


# -- making a failing run small


@dataclass(frozen=True, slots=True)
class Minimised:
    """The smallest failing run that was found: run ``report.seed`` with ``options`` and
    ``report.schedule``. ``options_before`` and ``directives_before``: of what it began with.
    ``complete``: nothing more can be left out; False if the runs allowed were used up."""

    report: RunReport
    options: RunOptions
    options_before: RunOptions
    directives_before: int
    runs: int
    complete: bool


def violation_kind(violation: str) -> str:
    """The word before the colon."""
    return violation.partition(":")[0]


def minimise(
    report: RunReport,
    options: RunOptions,
    *,
    run: Run = run_once,
    runs_max: int = SHRINK_RUNS_MAX,
    on_run: Callable[[], None] | None = None,
) -> Minimised:
    """The same violation with as few faults as can be, and as little of each; then with fewer
    clients and in less time. ``run``: for tests. ``on_run``: called before each run."""
    kind = violation_kind(report.violation)
    best: list[RunReport] = [report]
    runs = 0

    def fails(schedule: Schedule, options: RunOptions) -> bool:
        nonlocal runs
        runs += 1
        if on_run is not None:
            on_run()
        found = run(report.seed, options, schedule)
        if found.ok or violation_kind(found.violation) != kind:
            return False
        best[0] = replace(found, schedule=schedule)
        return True

    def with_directives(items: tuple[Directive, ...]) -> bool:
        return fails(Schedule(items), options)

    before, options_before = report.schedule, options
    found = shrink(before.directives, with_directives, verify=False, runs_max=runs_max)
    complete = found.complete
    for smaller in _smaller_options(options):
        # Each one only if there are fewer of it than before; the last that fails stays.
        merged = _merge(options, smaller)
        last_ms = max((each.at_ms for each in best[0].schedule), default=0)
        if merged == options or last_ms >= merged.duration_ms:
            continue  # nothing may go wrong once all is healed
        if runs < runs_max and fails(best[0].schedule, merged):
            options = merged
    found = shrink(
        best[0].schedule.directives,
        with_directives,
        simpler=simpler_directives,
        verify=False,
        runs_max=max(runs_max - runs, 0),
    )
    complete = complete and found.complete
    return Minimised(best[0], options, options_before, len(before), runs, complete)


def _smaller_options(options: RunOptions) -> Iterator[dict[str, int]]:
    """Changes to try one after the other, the boldest last where they build on each other."""
    for clients in (options.clients // 2, 2, 1):
        if 0 < clients < options.clients:
            yield {"clients": clients}
    for keys in (options.keys // 2, 1):
        if 0 < keys < options.keys:
            yield {"keys": keys}
    for part in (2, 4, 8):
        if options.duration_ms // part >= 1000:
            yield {
                "duration_ms": options.duration_ms // part,
                "operations": max(options.operations // part, 1),
            }


def _merge(options: RunOptions, smaller: dict[str, int]) -> RunOptions:
    least = {name: min(value, getattr(options, name)) for name, value in smaller.items()}
    return replace(options, **least)


def simpler_directives(directive: Directive) -> Iterator[Directive]:
    """Directives that do less, or are easier to read, the boldest change first."""
    args = directive.args
    if 0 < args.get("probability", 1.0) < 1.0:
        yield replace(directive, args={**args, "probability": 1.0})
    for name in ("for_ms", "ms", "turn_ms", "effects"):
        value = args.get(name)
        if type(value) is int and value > 1:
            for part in (10, 2):
                if value // part:
                    yield replace(directive, args={**args, name: value // part})
    for step_ms in (1000, 100, 10):
        rounded_ms = directive.at_ms // step_ms * step_ms
        if rounded_ms != directive.at_ms:
            yield replace(directive, at_ms=rounded_ms)
