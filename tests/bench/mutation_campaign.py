"""Proof that the checks work: each safeguard is removed in turn, and a check must notice it.

    python -m tests.bench.mutation_campaign                      all of it, a table at the end
    python -m tests.bench.mutation_campaign --only adoption      one mutation
    python -m tests.bench.mutation_campaign --only adoption --seed 12   that run, as a story

A mutation patches the real code at run time (``mutation_tables.py``). Then seed after seed is run
until a checker sees a violation. The unchanged code has to pass the same seeds, and more.
Exit code 1 if a mutation was not caught, or if the code as it is fails.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from paxosd.sim.campaign.campaign import minimise, violation_kind
from paxosd.sim.campaign.run import RunReport, run_seed
from paxosd.sim.campaign.story import explain
from paxosd.sim.campaign.workers import Crashed, cores, run_seeds
from paxosd.sim.cluster.records import RunRecords
from tests.bench.mutation import Mutation
from tests.bench.mutation_gaps import GapProfile
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutation_scenes import SceneProfile
from tests.bench.mutation_tables import MUTATIONS

_PROGRAM_ERRORS = tuple(
    f"exception: {error.__name__}" for error in (TypeError, AttributeError, NameError)
)
BASELINE_RUNS = 20_000
SEEDS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Caught:
    """``seeds``: how many were run, the catching one included; ``seed`` 0: none caught it."""

    name: str
    profile: str
    seeds: int
    seed: int
    violation: str
    wall_s: float


def mutant_run(seed: int, name: str, profile: str, records: RunRecords | None = None) -> RunReport:
    """One run of the mutated code. ``records``: where its nodes' data directories are written."""
    with MUTATIONS[name].applied():
        return PROFILES[profile].run(seed, records)


def is_seen(report: RunReport) -> bool:
    """Whether a checker saw a violation. An error of the program proves nothing about the checks:
    the mutation itself may have caused it."""
    return not report.ok and not report.violation.startswith(_PROGRAM_ERRORS)


def baseline_run(seed: int, profile: str, records: RunRecords | None = None) -> RunReport:
    """One run of the code as it is. ``records``: as of :func:`mutant_run`."""
    report = PROFILES[profile].run(seed, records)
    report.tail = []
    return report


def hunt(place: int, names: list[str], seeds_max: int) -> Caught:
    """Run seeds 1, 2, … of each profile of a mutation in turn until one is caught."""
    mutation = MUTATIONS[names[place]]
    started = time.perf_counter()
    seeds, failed = 0, ""
    for profile in mutation.profiles:
        for seed in range(1, seeds_max + 1):
            seeds += 1
            report = mutant_run(seed, mutation.name, profile)
            # A seed that the unchanged code does not pass either would prove nothing.
            if is_seen(report) and baseline_run(seed, profile).ok:
                wall_s = time.perf_counter() - started
                return Caught(mutation.name, profile, seeds, seed, report.violation, wall_s)
            failed = report.violation or failed
    return Caught(mutation.name, "", seeds, 0, failed, time.perf_counter() - started)


def hunt_all(names: list[str], seeds_max: int, jobs: int) -> list[Caught]:
    """Every mutation, several at a time; each result is printed when it is there."""

    def said(result: Caught | Crashed) -> None:
        if isinstance(result, Crashed):
            say(f"{names[result.seed]}: crashed: {result.reason}")
        elif result.seed:
            say(f"{result.name}: caught by seed {result.seed} ({result.profile}, "
                f"{result.wall_s:.1f} s): {result.violation[:150]}")  # fmt: skip
        else:
            why = f"; what it may have made fail itself: {result.violation}"
            say(f"{result.name}: NOT CAUGHT in {result.seeds} seeds ({result.wall_s:.1f} s)"
                f"{why if result.violation else ''}")  # fmt: skip

    work = partial(hunt, names=names, seeds_max=seeds_max)
    found = []
    for result in run_seeds(work, range(len(names)), jobs=jobs, on_done=said):
        if isinstance(result, Crashed):
            found.append(Caught(names[result.seed], "", 0, 0, result.reason, 0.0))
        else:
            found.append(result)
    return found


def baseline(found: list[Caught], runs: int, jobs: int) -> tuple[int, list[str]]:
    """The code as it is: at least ``runs`` runs, with every seed that any mutation was run with,
    in its profile. Returns how many were run, and what failed."""
    needed = dict.fromkeys(PROFILES, 20)
    for each in found:
        for profile in MUTATIONS[each.name].profiles:
            used = each.seed if profile == each.profile else each.seeds
            needed[profile] = max(needed[profile], used)
    half = max(0, runs - sum(needed.values())) // 2
    needed["storm"] += half  # as many with members that stay as with members that change
    needed["members"] += half
    failures = []
    for name, count in needed.items():
        started = time.perf_counter()
        bad = 0
        work = partial(baseline_run, profile=name)
        for result in run_seeds(work, range(1, count + 1), jobs=jobs):
            if isinstance(result, Crashed) or not result.ok or result.checked != "ok":
                bad += 1
                why = result.reason if isinstance(result, Crashed) else result.violation
                why = why or "its history was too hard to judge"
                failures.append(f"{name} seed {result.seed}: {why}")
                say(f"the code as it is FAILS: {failures[-1]}")
        wall_s = time.perf_counter() - started
        say(f"the code as it is, {name}: {count} runs in {wall_s:.0f} s, {bad} failed")
    return sum(needed.values()), failures


def markdown(found: list[Caught], baseline_runs: int, failures: list[str]) -> str:
    """The table for the README."""
    lines = [
        "| safeguard removed | where it lives | seen as | seeds until caught |",
        "|---|---|---|--:|",
    ]
    for each in found:
        mutation = MUTATIONS[each.name]
        seeds = f"{each.seeds}" if each.seed else f"not caught in {each.seeds}"
        kind = violation_kind(each.violation)
        scenario = f" ({each.profile})" if each.profile not in {"", "storm"} else ""
        lines.append(f"| {mutation.removes} | `{mutation.where}` | {kind}{scenario} | {seeds} |")
    mutated = sum(each.seeds for each in found)
    lines += [
        "",
        f"{len(found)} mutations in {mutated:,} runs; {baseline_runs:,} runs of the code as it "
        f"is with the same seeds and more: {len(failures)} violations.",
    ]
    return "\n".join(lines) + "\n"


def story(mutation: Mutation, seed: int) -> str:
    """One run of a mutation, made small, as a story."""
    with mutation.applied():
        for name in mutation.profiles:
            profile = PROFILES[name]
            report = profile.run(seed)
            if report.ok:
                continue
            if (
                isinstance(profile, GapProfile | SceneProfile)
                or run_seed(seed, profile.options, schedule=report.schedule).ok
            ):
                return f"seed {seed} ({name}): {report.violation}"  # seen by the scenario alone
            small = minimise(report, profile.options)
            shown = explain(small)
            shown.replay = f"python -m tests.bench.mutation_campaign --only {mutation.name} "
            shown.replay += f"--seed {seed}"
            shown.replay_small = ""
            return shown.text
    return f"seed {seed} does not catch it"


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mutation_campaign")
    parser.add_argument("--seeds-max", type=int, default=SEEDS_MAX, help="for each mutation")
    parser.add_argument("--baseline", type=int, default=BASELINE_RUNS,
                        help="runs of the code as it is, at least")  # fmt: skip
    parser.add_argument("--jobs", type=int, default=cores())
    parser.add_argument("--only", action="append", choices=list(MUTATIONS), metavar="NAME")
    parser.add_argument("--seed", type=int, help="with --only: this run, as a story")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = options.only or list(MUTATIONS)
    if options.seed is not None:
        for name in names:
            print(story(MUTATIONS[name], options.seed))
        return 0
    started = time.perf_counter()
    found = hunt_all(names, options.seeds_max, options.jobs)
    runs, failures = baseline(found, options.baseline, options.jobs)
    table = markdown(found, runs, failures)
    print(table)
    if options.markdown is not None:
        options.markdown.write_text(table, encoding="utf-8")
    say(f"{time.perf_counter() - started:.0f} s in all")
    missed = [each.name for each in found if not each.seed]
    if missed:
        say(f"not caught: {', '.join(missed)}")
    return 1 if missed or failures else 0


if __name__ == "__main__":
    sys.exit(main())
