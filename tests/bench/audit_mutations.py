"""Which removed safeguards the auditor notices, from recordings and logs of simulated runs alone.

    python -m tests.bench.audit_mutations                    all mutations, a table at the end
    python -m tests.bench.audit_mutations --only adoption    one of them, with its violations

Each mutation is run with the seed that is known to catch it, then with the next ones; what its
nodes leave behind is audited. The simulator's own invariants are silent meanwhile: they would end
the run before the breach is recorded, which nobody does for a real cluster. A seed counts only if
the audit of the same seed without the mutation finds nothing. Exit code 1 if fewer than ``--least``
mutations are noticed, or if the audit of a run of the code as it is finds something.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isfunction
from pathlib import Path
from unittest.mock import patch

from paxosctl.audit.audit import Report, audit
from paxosd.sim.campaign.workers import Crashed, run_seeds
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.cluster.violation import Violation
from tests.bench import mutation_runs
from tests.bench.mutation_campaign import baseline_run, mutant_run
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutation_tables import MUTATIONS

SEEDS_MAX = 3
LEAST = 15
RUN_CPU_S_MAX = 20.0
"""A run that takes longer is given up: a mutation may have nodes ask each other without end."""


@dataclass(frozen=True, slots=True)
class Noticed:
    """``rules``: those that were broken, the first violation of each; empty: the audit saw
    nothing. ``seen``: what the simulator's own checks saw in the last run."""

    name: str
    profile: str
    seed: int
    rules: dict[str, str]
    seen: str
    wall_s: float


@contextmanager
def unwatched() -> Iterator[None]:
    """The simulator's invariants see what they see, and do not end the run for it."""

    def silenced(check):
        @wraps(check)
        def look(*arguments, **named):
            with suppress(Violation):
                return check(*arguments, **named)

        return look

    with ExitStack() as stack:
        for name, each in vars(Invariants).items():
            if isfunction(each) and not name.startswith("__"):
                stack.enter_context(patch.object(Invariants, name, silenced(each)))
        stack.enter_context(patch.object(mutation_runs, "RUN_CPU_S_MAX", RUN_CPU_S_MAX))
        yield


def audited(seed: int, profile: str, mutation: str = "") -> tuple[Report | None, str]:
    """One run, and what the audit says of it; and what the simulator said. None: nothing was left
    to audit."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "run"
        records = RunRecords(directory)
        if mutation:
            with unwatched():
                report = mutant_run(seed, mutation, profile, records)
        else:
            report = baseline_run(seed, profile, records)
        if not directory.exists():
            return None, report.violation
        return audit([directory]), report.violation


def violations(report: Report | None) -> dict[str, str]:
    """Rule → its first violation."""
    rules = report.rules if report is not None else []
    return {rule.name: rule.violations[0].text for rule in rules if rule.broken}


def hunt(place: int, names: list[str], seeds_max: int) -> Noticed:
    """Audit runs of a mutation until the audit notices it."""
    mutation = MUTATIONS[names[place]]
    started = time.perf_counter()
    seen = ""
    profile = mutation.profiles[0]
    for profile in mutation.profiles:
        for seed in range(mutation.first_seed, mutation.first_seed + seeds_max):
            report, seen = audited(seed, profile, mutation.name)
            found = violations(report)
            if found and not violations(audited(seed, profile)[0]):
                wall_s = time.perf_counter() - started
                return Noticed(mutation.name, profile, seed, found, seen, wall_s)
    return Noticed(mutation.name, profile, 0, {}, seen, time.perf_counter() - started)


def quiet_run(seed: int, profile: str) -> dict[str, str]:
    """What the audit finds in a run of the code as it is."""
    return violations(audited(seed, profile)[0])


def baseline(profiles: list[str], seeds: int, jobs: int) -> list[str]:
    """False alarms in runs of the code as it is."""
    alarms = []
    for profile in profiles:
        names = range(1, seeds + 1)
        work = partial(quiet_run, profile=profile)
        for seed, found in zip(names, run_seeds(work, names, jobs=jobs), strict=True):
            if isinstance(found, Crashed) or found:
                alarms.append(f"{profile} seed {seed}: {found}")
    return alarms


def table(found: list[Noticed]) -> str:
    """For docs/AUDIT.md."""
    lines = ["| safeguard removed | noticed by the rule | run |", "|---|---|---|"]
    for each in sorted(found, key=lambda each: not each.rules):
        rules = ", ".join(each.rules) or "not noticed"
        run = f"{each.profile}, seed {each.seed}" if each.rules else ""
        lines.append(f"| {MUTATIONS[each.name].removes} (`{each.name}`) | {rules} | {run} |")
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audit_mutations")
    parser.add_argument("--only", action="append", choices=list(MUTATIONS), metavar="NAME")
    parser.add_argument("--seeds-max", type=int, default=SEEDS_MAX, help="for each profile")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--baseline", type=int, default=20, help="seeds of each profile, 0: none")
    parser.add_argument("--least", type=int, default=LEAST, help="mutations to be noticed")
    options = parser.parse_args()
    names = options.only or list(MUTATIONS)

    def said(result: Noticed | Crashed) -> None:
        if isinstance(result, Crashed):
            say(f"{names[result.seed]}: crashed: {result.reason}")
        elif result.rules:
            say(f"{result.name}: seed {result.seed} ({result.profile}, {result.wall_s:.1f} s)")
            for rule, text in result.rules.items():
                say(f"    {rule}: {text[:200]}")
        else:
            say(f"{result.name}: not noticed ({result.wall_s:.1f} s); {result.seen[:100]}")

    work = partial(hunt, names=names, seeds_max=options.seeds_max)
    results = run_seeds(work, range(len(names)), jobs=options.jobs, on_done=said)
    found = [each for each in results if isinstance(each, Noticed)]
    alarms = baseline(sorted(PROFILES), options.baseline, options.jobs) if options.baseline else []
    for alarm in alarms:
        say(f"FALSE ALARM: {alarm}")
    print(table(found))
    noticed = sum(1 for each in found if each.rules)
    say(f"{noticed} of {len(names)} mutations noticed; {len(alarms)} false alarms")
    return 1 if alarms or (not options.only and noticed < options.least) else 0


if __name__ == "__main__":
    sys.exit(main())
