"""trace: the recorded inputs of a node executed again."""

import os
import random
from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Duration, Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.streams import StreamError, say
from paxosctl.tracing.regression import NotIdenticalError, make_test
from paxosctl.tracing.replaying import END_OF_TRACE, Outcome, Point, replay_file
from paxosctl.tracing.trace_files import find_traces
from paxosctl.tracing.what_if import ask_what_if, what_if_view
from paxosd.host.file_path import FilePath
from paxosd.host.numbers import parse_whole
from paxosd.sim.what_if.question import QuestionError
from paxosd.trace.blocks import TraceError
from paxosd.trace.feed import Difference
from paxosd.trace.words import words

SOURCES = click.argument(
    "sources",
    nargs=-1,
    required=True,
    type=FilePath(exists=True, readable=False, path_type=Path),
)


class PointText(click.ParamType[Point]):
    """``slot N`` or ``turn N``."""

    name = "slot N|turn N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Point:
        """A point; fails for anything else."""
        if isinstance(value, Point):
            return value
        what, _, number = str(value).replace(":", " ").strip().partition(" ")
        try:
            count = parse_whole(number.strip(), 1)
        except ValueError as error:
            self.fail(f'"{value}": "slot 812" or "turn 40" is needed: {error}', param, ctx)
        if what not in ("slot", "turn"):
            self.fail(f'"{value}": "slot 812" or "turn 40" is needed', param, ctx)
        return Point(slot=count) if what == "slot" else Point(turn=count)


@click.group("trace", cls=Group)
def _trace() -> None:
    """All that went into a node, recorded, and the same node executed again on it.

    A node records with [trace] enabled = true in its configuration, the simulator with paxosctl sim
    run --record DIR. SOURCES are trace files, data directories, or the directory of several; no
    node is asked. A trace holds every key and value that the node handled.
    """


trace_verb = global_options(_trace)


@verb("replay")
@SOURCES
@click.option("--until", type=PointText(), default=None,
              help="Stop behind the turn that applies this slot, or behind this turn.")  # fmt: skip
@click.option("--show", is_flag=True, help="Print what happens, operation by operation.")
@click.option("--what-if", "question", default=None, metavar="QUESTION",
              help='Go on in the simulator from a point of the run: "crash n2 at slot 812", '
              '"cut n1 n3 at slot 40", "lose 30% from turn 700 of n2", "pause n1 for 5s at the '
              'end".'
              )  # fmt: skip
@click.option("--seed", type=Whole(0), default=None,
              help="With --what-if: of what comes after the point.  [default: a fresh one]"
              )  # fmt: skip
@click.option("--for", "duration", type=Duration(), default="20s", show_default=True,
              help="With --what-if: so long, in virtual time.")  # fmt: skip
def replay_verb(
    settings: Settings,
    sources: tuple[Path, ...],
    until: Point | None,
    show: bool,
    question: str | None,
    seed: int | None,
    duration: int,
) -> None:
    """Execute the recorded runs again, by the daemon's own code, and compare all that they did.

    Each run begins with the data directory that the node found, and takes in what it took in: each
    message, request, time and end of a write. What it sends, writes and answers is compared with
    what it did, operation by operation; the first that differs ends the replay, and is shown with
    the inputs of that turn. Exit code 1 then. A trace that ends in the middle (kill -9) is replayed
    as far as it goes.

    With --what-if all nodes of the traces are executed together up to the point, in an order that
    no message contradicts. From there on the simulator is around them, with a client that writes,
    the faults that were asked for, and its checkers; exit code 1 if one of these is broken.
    """
    if question is not None:
        if until is not None or show:
            raise click.UsageError("--until and --show are of a replay without --what-if")
        _what_if(settings, sources, question, seed, duration)
        return
    if seed is not None:
        raise click.UsageError("--seed goes with --what-if")
    shown = say if show and settings.output != "json" else None
    outcomes = []
    for path in find_traces(list(sources)):
        try:
            outcomes.append(replay_file(path, until or END_OF_TRACE, shown))
        except TraceError as error:
            raise StreamError(str(error)) from error
    if until is not None and not any(each.reached for each in outcomes):
        say("paxosctl: every run ends before the point that --until names")
    view = _view(outcomes)
    different = sum(outcome.verdict == "different" for outcome in outcomes)
    if different:
        if settings.output == "table":
            settings.show(view)
        said = f"{different} of {len(outcomes)} runs go another way than they were recorded"
        negative(said, view, code="different")
    settings.show(view)


def _what_if(
    settings: Settings, sources: tuple[Path, ...], question: str, seed: int | None, duration: int
) -> None:
    chosen = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    try:
        report = ask_what_if(find_traces(list(sources)), question, chosen, duration)
    except QuestionError as error:
        raise click.UsageError(str(error)) from error
    except TraceError as error:
        raise StreamError(str(error)) from error
    except Difference as difference:
        words_ = f"expected {words(difference.expected)}, got {words(difference.got)}"
        negative(
            f"a run goes another way than it was recorded, before the point: {words_}; paxosctl "
            "trace replay shows where",
            code="different",
        )
    view = what_if_view(report, " ".join(map(str, sources)))
    if report.violation:
        if settings.output == "table":
            settings.show(view)
        negative(f"a rule was broken: {report.violation}", view, code="violation")
    settings.show(view)


@click.command("to-test")
@SOURCES
@click.option("-o", "--out", "path", required=True,
              type=FilePath(dir_okay=False, path_type=Path),
              help="The file to write: test_….py.")  # fmt: skip
@click.option("--until", type=PointText(), default=None,
              help="Only up to the turn that applies this slot, or to this turn.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.make_pass_decorator(Settings, ensure=True)
def _to_test(
    settings: Settings,
    sources: tuple[Path, ...],
    path: Path,
    until: Point | None,
    force: bool,
) -> None:
    """Write a pytest file that replays these runs, and fails as soon as they go another way.

    The traces are in the file itself if they are small, else beside it. They hold keys and values.
    Exit code 1, and nothing is written, if a run does not replay identically now.
    """
    if path.suffix != ".py":
        raise click.UsageError(f"-o {path}: it is to be a Python file, such as test_run.py")
    try:
        made = make_test(find_traces(list(sources)), path.name, until or END_OF_TRACE)
    except TraceError as error:
        raise StreamError(str(error)) from error
    except NotIdenticalError as error:
        negative(str(error), code="different")
    there = [each for each in map(path.with_name, made.files) if os.path.lexists(each)]
    if there and not force:
        negative(f"{there[0]} exists: name another file, or use --force")
    try:
        for name, content in made.files.items():
            path.with_name(name).write_bytes(content)
    except OSError as error:
        raise StreamError(f"{path} cannot be written: {error.strerror or error}") from error
    data = {
        "test": str(path),
        "files": [str(path.with_name(name)) for name in made.files],
        "runs": made.runs,
        "turns": made.turns,
        "bytes": sum(map(len, made.files.values())),
    }
    said = f"{path}: {made.runs} runs, {made.turns:,} turns, {data['bytes']:,} bytes"
    settings.show(View(data=data, plain=f"{path}\n".encode(), text=said))


to_test_verb = global_options(_to_test, with_output=False)


def _view(outcomes: list[Outcome]) -> View:
    rows = [
        (
            each.node,
            each.boot_count,
            f"{each.turns:,}",
            f"{each.messages:,}",
            each.applied,
            each.verdict,
            each.end,
        )
        for each in outcomes
    ]
    lines = []
    for each in outcomes:
        lines += [f"{each.file}: {note}" for note in each.notes]
        if each.difference is not None:
            lines += _difference_lines(each, each.difference)
    return View(
        data={"runs": [each.data() for each in outcomes]},
        plain="".join(
            f"{each.file}\t{each.node}\t{each.turns}\t{each.messages}\t{each.verdict}\n"
            for each in outcomes
        ).encode(),
        columns=("node", "boot", "turns", "messages", "applied", "verdict", "how it ends"),
        rows=rows,
        text="\n".join(lines),
    )


def _difference_lines(outcome: Outcome, difference: dict[str, Any]) -> list[str]:
    place = ", ".join(
        f"{name} {difference[name]}"
        for name in ("turn", "time", "applied", "operation")
        if name in difference
    )
    return [
        "",
        f"FIRST DIFFERENCE  {outcome.file}",
        f"  at        {place}",
        f"  expected  {difference['expected']}",
        f"  got       {difference['got']}",
        "  inputs of that turn:",
        *(f"    {each}" for each in difference["inputs"]),
    ]


_trace.add_command(replay_verb)
_trace.add_command(to_test_verb)
