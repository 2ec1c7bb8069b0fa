"""fault run: a plan of faults against a live cluster, with a workload and a verdict."""

import itertools
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Duration, Settings, Whole, negative, verb
from paxosctl.cli.render import View
from paxosctl.cli.streams import StreamError, say
from paxosctl.client.errors import EXIT_INTERRUPTED
from paxosd.host.file_path import FilePath

_MARKS = {True: "ok  ", False: "BAD "}


@verb("run")
@click.argument("plan", type=FilePath(exists=True, dir_okay=False, readable=False, path_type=Path))
@click.option(
    "--duration",
    type=Duration(),
    help="How long, for example 1m, instead of the plan's own duration.",
)
@click.option("--seed", type=Whole(0), help="Instead of the plan's own seed.")
@click.option(
    "--transactors",
    type=Whole(0, 64),
    help="So many clients do transactions, with leases, instead of the plan's own number.",
)
@click.option(
    "--lockers",
    type=Whole(0, 64),
    help="So many clients hold a lock in turn, instead of the plan's own number.",
)
@click.option(
    "--history-dir",
    type=FilePath(file_okay=False, path_type=Path),
    default=".",
    help="Where every operation is written, as JSON lines, in a new file PLAN-TIME.jsonl.  "
    "[default: here]",
)
def run_verb(
    settings: Settings,
    plan: Path,
    duration: int | None,
    seed: int | None,
    transactors: int | None,
    lockers: int | None,
    history_dir: Path,
) -> None:
    """Run the faults of PLAN while clients work, then heal the cluster and check what they saw.

    The clients read and write, do transactions and hold a lock. Checked is whether it is
    linearizable, whether anything was lost or applied twice, that no lease ended early, and that no
    two held the lock.

    PLAN is a TOML file; conf/faults/ has three that are ready and explain themselves. The
    cluster is healed at the end, also after Ctrl-C. Exit code 1 if anything was wrong.
    """
    from paxosctl.faultrun.plan import PlanError, load_script  # noqa: PLC0415 -- not for --help
    from paxosctl.faultrun.run import NotReadyError, execute  # noqa: PLC0415 -- likewise

    try:
        script = load_script(plan, duration, seed)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    workload = script.workload
    if transactors is not None:
        workload = replace(workload, transactors=transactors)
    if lockers is not None:
        workload = replace(workload, lockers=lockers)
    script = replace(script, workload=workload)
    path = _fresh(history_dir, plan.stem)
    try:
        with settings.client() as client:
            report = execute(client, script, _say)
        say()
    except BaseException as error:
        path.unlink(missing_ok=True)  # nothing was done
        if isinstance(error, PlanError):
            raise click.UsageError(str(error)) from None
        if isinstance(error, NotReadyError):
            negative(str(error))
        raise
    try:
        report.history.save(path)
    except OSError as error:
        report.problems.append(f"the history could not be written to {path}: {error.strerror}")
    view = _view(report, path, script.seed)
    if not report.ok:
        settings.show(view)
        negative(_headline(report))
    settings.show(view)
    if report.interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)


def _fresh(directory: Path, plan: str) -> Path:
    """A new file for the history, made before anything is broken. Raises StreamError."""
    began = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = directory / (f"{plan}-{began}" + (f"-{number}" if number > 1 else "") + ".jsonl")
            with suppress(FileExistsError):
                path.touch(exist_ok=False)
                return path
    except OSError as error:
        raise StreamError(f"{directory} cannot be written: {error.strerror}") from error
    raise AssertionError


def _say(at_s: float, words: str) -> None:
    say(f"{at_s:7.2f} s  {words}")


def _headline(report: Any) -> str:
    for verdict in report.verdicts().values():
        if verdict is not None and not verdict.ok:
            return str(verdict.explanation.splitlines()[0])
    return str(report.problems[0]) if report.problems else "not everything could be checked"


def _view(report: Any, path: Path, seed: int) -> View:
    outcomes = report.outcomes()
    data = {
        "ok": report.ok,
        "seed": seed,
        "ran_ms": report.ran_ms,
        "heal_ms": report.heal_ms,
        "heal_waited_for": report.waited_for,
        "longest_gap_ms": report.gap_ms,
        "longest_gap_at_s": report.gap_at_s,
        "acknowledged_writes": report.acked,
        "settled": report.settled,
        "operations": outcomes,
        "faults": [
            {"at_s": round(each.at_s, 2), "fault": each.name, "kind": each.kind,
             "where": each.where, "how": each.how, "hits": each.hits, "note": each.note}
            for each in report.happened
        ],
        **{
            name.replace(" ", "_"): None
            if verdict is None
            else {"status": verdict.status, "explanation": verdict.explanation}
            for name, verdict in report.verdicts().items()
        },
        "problems": report.problems,
        "history": str(path),
    }  # fmt: skip
    plain = "".join(
        f"{name}\t{value}\n" for name, value in data.items() if not isinstance(value, dict | list)
    )
    columns = ["fault", "kind", "where", "how", "at", "hits"]
    rows = [
        [each.name, each.kind, each.where, each.how, f"{each.at_s:.1f}s", each.hits]
        for each in report.happened
    ]
    if any(each.note for each in report.happened):
        columns.append("note")
        rows = [[*row, each.note] for row, each in zip(rows, report.happened, strict=True)]
    text = "\n".join([*_operations(outcomes), "", *_verdict(report, path)])
    return View(
        data=data,
        plain=plain.encode(),
        text=text,
        columns=columns,
        rows=rows,
        optional=("how", "kind", "where"),
    )


def _operations(outcomes: dict[str, dict[str, int]]) -> list[str]:
    lines = ["", f"{'operations':<14}{'ok':>8}{'failed':>8}{'unknown':>8}"]
    total = dict.fromkeys(("ok", "failed", "unknown"), 0)
    for kind, counts in outcomes.items():
        lines.append(f"{kind:<14}" + "".join(f"{count:>8}" for count in counts.values()))
        total = {outcome: total[outcome] + counts[outcome] for outcome in total}
    lines.append(f"{'all':<14}" + "".join(f"{count:>8}" for count in total.values()))
    return lines


def _verdict(report: Any, path: Path) -> list[str]:
    lines = []
    for name, verdict in report.verdicts().items():
        words = "not checked" if verdict is None else verdict.explanation
        lines.append(f"{_MARKS[verdict is not None and verdict.ok]}{name}: {words}")
    lines += [f"{_MARKS[False]}{problem}" for problem in report.problems]
    lines.append(
        f"    longest gap without a write: {report.gap_ms} ms, {report.gap_at_s:.1f} s after "
        "the start"
    )
    if report.settled:
        lines.append(f"    writes without an answer of which it was found out: {report.settled}")
    waited = f" (waited for {', '.join(report.waited_for)})" if report.waited_for else ""
    lines.append(f"    healed, and a write done, in {report.heal_ms} ms{waited}")
    lines.append(f"    history: {path}")
    return lines
