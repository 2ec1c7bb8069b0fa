"""sim run: simulated clusters under faults, many at a time; a violation is explained."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Duration, Settings, Whole, negative, verb
from paxosctl.cli.colour import drawing_console
from paxosctl.cli.progress_line import is_wanted
from paxosctl.cli.render import View
from paxosd.config.settings import nearest
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.host.file_path import FilePath
from paxosd.host.numbers import parse_whole
from paxosd.sim.campaign.campaign import Summary, minimise, run_campaign
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import RunReport, run_seed
from paxosd.sim.campaign.story import FILE, Story, explain, replay_command
from paxosd.sim.campaign.workers import cores
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.cluster.traces import RunTraces
from paxosd.sim.nemesis.kinds import KINDS
from paxosd.sim.nemesis.schedule import Schedule, ScheduleError
from paxosd.sim.world.trace import Trace

SEEDS_MAX = 10_000_000
STORIES_MAX = 3
"""Of several violations this many are made small and explained."""


class SeedRange(click.ParamType[range]):
    """``A..B``: the seeds from A to B, both included."""

    name = "A..B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        """A range; fails for anything else, for an empty one and for one that is too long."""
        if isinstance(value, range):
            return value
        first, dots, last = str(value).partition("..")
        if not dots:
            self.fail(f'"{value}": two numbers are needed, such as 1..100', param, ctx)
        try:
            found = range(parse_whole(first, 0), parse_whole(last, 0) + 1)
        except ValueError as error:
            self.fail(f'"{value}": two numbers are needed, such as 1..100: {error}', param, ctx)
        if not found:
            self.fail(f'"{value}": the last seed is below the first', param, ctx)
        if found.stop - found.start > SEEDS_MAX:
            self.fail(f'"{value}": more than {SEEDS_MAX} seeds', param, ctx)
        return found


class FaultKinds(click.ParamType[frozenset[str] | None]):
    """``drop,crash``: kinds of faults; ``all`` and ``none``."""

    name = "kinds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str] | None:
        """The kinds; None for all."""
        if isinstance(value, frozenset):
            return value
        names = [name.strip() for name in str(value).split(",") if name.strip()]
        if names == ["all"]:
            return None
        if names == ["none"]:
            return frozenset()
        for name in names:
            if name not in KINDS:
                known = [*KINDS, "all", "none"]
                self.fail(f'there is no fault kind "{name}"; {nearest(name, known)}', param, ctx)
        if not names:
            self.fail('name some kinds, or "all", or "none"', param, ctx)
        return frozenset(names)


@verb("run")
@click.option("--seed", type=Whole(0), help="Run this seed.  [default: a fresh one]")
@click.option("--seeds", type=SeedRange(), help="Run all of these seeds.")
@click.option("--nodes", type=Whole(1, 7), default=3, show_default=True,
              help="How many nodes the cluster has.")  # fmt: skip
@click.option("--faults", type=FaultKinds(), default="all", show_default=True,
              help=f"Which kinds the seed may draw from, with commas: {', '.join(KINDS)}; "
              "or: all, none.")  # fmt: skip
@click.option("--clients", type=Whole(1, 1000), default=RunOptions().clients,
              show_default=True, help="How many clients read and write.")  # fmt: skip
@click.option("--operations", type=Whole(1, 1_000_000), default=RunOptions().operations,
              show_default=True, help="Of all clients together, about.")  # fmt: skip
@click.option("--keys", type=Whole(1, 10_000), default=RunOptions().keys,
              show_default=True, help="Different keys.")  # fmt: skip
@click.option(
    "--level",
    type=Whole(0, LEVEL_LATEST),
    default=LEVEL_LATEST,
    show_default=True,
    help="The feature level that the nodes' programs understand.",
)
@click.option("--members", is_flag=True,
              help="Change the membership meanwhile: two more nodes come and go.")  # fmt: skip
@click.option(
    "--watchers",
    type=Whole(0, 100),
    help="How many watch.  [default: 1 to 3 in half of the seeds]",
)
@click.option("--holders", type=Whole(0, 100), default=RunOptions().holders, show_default=True,
              help="Clients that hold leases.")  # fmt: skip
@click.option("--locks", type=Whole(0, 100), default=RunOptions().locks, show_default=True,
              help="Clients of one lock; clocks drift by 500 ppm then.")  # fmt: skip
@click.option("--transactors", type=Whole(0, 100), default=RunOptions().transactors,
              show_default=True, help="Clients that do transactions.")  # fmt: skip
@click.option("--rights", type=Whole(0, 100), default=RunOptions().rights, show_default=True,
              help="Clients with few rights; all have keys then, and rights change.")  # fmt: skip
@click.option("--duration", type=Duration(), default="60s", show_default=True,
              help="Virtual time under faults.")  # fmt: skip
@click.option("--jobs", type=Whole(1, 1024), help="Runs at a time.  [default: one a core]")
@click.option("--trace", type=FilePath(dir_okay=False, path_type=Path),
              help="Write every event of the one seed there, as JSON lines.")  # fmt: skip
@click.option("--record", type=FilePath(file_okay=False, path_type=Path),
              help="Write the data directories of the nodes of the one seed there, with what they "
              "recorded and their traces.")  # fmt: skip
@click.option("--schedule", help="With --seed: these faults (TOML) and not those of the seed.",
              type=FilePath(exists=True, dir_okay=False, readable=False, path_type=Path),
              )  # fmt: skip
@click.option("--save", type=FilePath(dir_okay=False, path_type=Path),
              help="Write the smallest schedule of the first violation there.")  # fmt: skip
def run_verb(
    settings: Settings,
    seed: int | None,
    seeds: range | None,
    nodes: int,
    faults: frozenset[str] | None,
    clients: int,
    operations: int,
    keys: int,
    level: int,
    members: bool,
    watchers: int | None,
    holders: int,
    locks: int,
    transactors: int,
    rights: int,
    duration: int,
    jobs: int | None,
    trace: Path | None,
    record: Path | None,
    schedule: Path | None,
    save: Path | None,
) -> None:
    """Run whole clusters under faults in virtual time, each decided by its seed alone.

    What clients saw is checked: linearizable, applied exactly once, nothing acknowledged is
    lost, every change sent to watchers once, and after the faults the cluster goes on. Exit code 1
    if a run breaks a promise: then the story is printed, with as few faults as still break it.
    Exit code 1, too, if a history was too hard to judge.
    """
    if seed is not None and seeds is not None:
        raise click.UsageError("give --seed or --seeds, not both")
    if seeds is None:
        first = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        seeds = range(first, first + 1)
    if len(seeds) > 1 and (trace or schedule or record):
        raise click.UsageError("--trace, --record and --schedule are for one --seed")
    if record is not None and record.exists() and any(record.iterdir()):
        raise click.UsageError(f"--record: {record} is not empty")
    options = RunOptions(
        nodes=nodes, duration_ms=duration, faults=faults, clients=clients, operations=operations,
        keys=keys, level=level, members=members, watchers=watchers, holders=holders,
        locks=locks, transactors=transactors, rights=rights,
    )  # fmt: skip
    if trace is not None or schedule is not None or record is not None:
        summary = _run_one(seeds[0], options, _read_schedule(schedule), trace, record)
    else:
        summary = _run_all(seeds, options, jobs or cores())
    stories = [
        _small_story(report, options, save if report is summary.violations[0] else None)
        for report in summary.violations[:STORIES_MAX]
    ]
    settings.show(_view(seeds, summary, stories, options))
    _end(summary)


def _end(summary: Summary) -> None:
    """Ends with exit code 1 unless all runs are good."""
    if summary.failed:
        negative(f"{summary.failed} of {summary.runs} runs failed")
    if summary.not_checked:
        # A run that could not be judged must not look like one that was judged and found good.
        negative(f"{summary.not_checked} of {summary.runs} runs could not be judged")


def _run_all(seeds: range, options: RunOptions, jobs: int) -> Summary:
    with _progress(f"{len(seeds)} runs", len(seeds)) as step:
        return run_campaign(seeds, options, jobs=min(jobs, len(seeds)), on_done=step)


def _run_one(
    seed: int,
    options: RunOptions,
    schedule: Schedule | None,
    path: Path | None,
    record: Path | None,
) -> Summary:
    trace = Trace(keep="all") if path is not None else None
    records = RunRecords(record) if record is not None else None
    traces = RunTraces(record) if record is not None else None
    report = run_seed(seed, options, schedule=schedule, trace=trace, records=records, traces=traces)
    if path is not None and trace is not None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in trace.lines())
    summary = Summary()
    summary.add(report)
    summary.elapsed_s = report.wall_s
    return summary


def _read_schedule(path: Path | None) -> Schedule | None:
    if path is None:
        return None
    try:
        return Schedule.from_toml(path.read_text(encoding="utf-8"))
    except (ScheduleError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from error


def _small_story(
    report: RunReport, options: RunOptions, save: Path | None
) -> tuple[Story, Schedule]:
    with _progress(f"making seed {report.seed} small", None) as step:
        small = minimise(report, options, on_run=step)
    story = explain(small)
    schedule = small.report.schedule
    if save is not None:
        save.write_text(schedule.to_toml(), encoding="utf-8")
        story.replay_small = story.replay_small.replace(FILE, str(save))
    elif FILE in story.replay_small:
        story.replay_small += f"    (--save {FILE} keeps its schedule)"
    return story, schedule


@contextmanager
def _progress(words: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on standard error, if that is a terminal; gives what to call after each step."""
    console = drawing_console() if is_wanted() else None
    if console is None:
        yield lambda: None
        return
    from rich.progress import Progress  # noqa: PLC0415 -- slow to start

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(words, total=total)
        yield lambda: bar.advance(task)


# -- showing


def _view(
    seeds: range, summary: Summary, stories: list[tuple[Story, Schedule]], options: RunOptions
) -> View:
    explained = {story.seed: (story, schedule) for story, schedule in stories}
    failures = [
        _failure(report, explained.get(report.seed), options) for report in summary.violations
    ]
    failures += [{"seed": each.seed, "violation": f"crashed: {each.reason}",
                  "replay": replay_command(each.seed, options)}
                 for each in summary.crashed]  # fmt: skip
    data = {"first_seed": seeds[0], "last_seed": seeds[-1], **summary.describe()}
    plain = "".join([f"{name}\t{value}\n" for name, value in data.items() if name != "faults"])
    plain += "".join([f"fault.{kind}\t{hits}\n" for kind, hits in data["faults"].items()])
    plain += "".join([f"failure\t{each['seed']}\t{each['violation']}\n" for each in failures])
    texts = [f"\n{story.text}" for story, _ in stories]
    texts += [f"\nseed {each['seed']}: {each['violation']}\n  {each['replay']}"
              for each in failures if each["seed"] not in explained]  # fmt: skip
    return View(
        data={**data, "failures": failures},
        plain=plain.encode(),
        columns=("", ""),
        rows=_rows(seeds, summary),
        text="\n".join(texts),
    )


def _failure(
    report: RunReport, explained: tuple[Story, Schedule] | None, options: RunOptions
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seed": report.seed,
        "violation": report.violation,
        "replay": replay_command(report.seed, options),
    }
    if explained is not None:
        story, schedule = explained
        found |= {
            "replay_small": story.replay_small,
            "schedule": [each.describe() for each in schedule],
            "standing": story.standing,
            "events": story.events,
        }
    return found


def _rows(seeds: range, summary: Summary) -> list[tuple[str, str]]:
    named = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    rows = [
        ("seeds", named),
        ("runs", f"{summary.runs:,}: {summary.passed:,} ok, {summary.failed:,} failed"),
        ("operations", f"{summary.operations:,}: {summary.acknowledged:,} acknowledged, "
                       f"{summary.unknown:,} of unknown outcome"),
        ("leader changes", f"{summary.leader_changes:,}"),
    ]  # fmt: skip
    if summary.not_checked:
        seeds_told = ", ".join(map(str, summary.undecided))
        words = f"{summary.not_checked:,} histories were too hard to decide: seeds {seeds_told}"
        rows.append(("not checked", words))
    rows += [(f"fault {kind}", f"{hits:,}") for kind, hits in sorted(summary.faults.items())]
    rows += [
        ("simulated time", f"{summary.simulated_ms / 1000:,.1f} s"),
        ("wall time", f"{summary.elapsed_s:,.2f} s with {summary.jobs} at a time"),
        ("speed-up", f"{summary.speed_up:,.0f} times"),
        ("runs", f"{summary.runs_per_minute_per_core:,.0f} a minute a core"),
    ]
    return rows
