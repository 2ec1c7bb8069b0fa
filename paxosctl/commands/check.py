"""check: whether a cluster is up to a task."""

from dataclasses import replace
from typing import Any

import click

from paxosctl.cli.app import Duration, Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.progress_line import progress
from paxosctl.cli.render import View
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.commands.bench_view import figures, generator, generator_words, refusal_words
from paxosctl.commands.check_history import history_verb
from paxosctl.load.criteria import DURATION_MS, SIZES, Check, judge, load_of_size
from paxosctl.load.keys import KEY_PREFIX
from paxosctl.load.nodes import NodeCost, cost_rows, costs, sample
from paxosctl.load.processes import TIMEOUT_MS, default_processes, find_target, run_load
from paxosctl.load.report import LoadReport


@click.group("check", cls=Group)
def _check() -> None:
    """Checks of a cluster as a whole, or of what it did, with a verdict."""


check_verb = global_options(_check)


@verb("perf")
@click.option("--load", "size", type=click.Choice(list(SIZES)), default="s", show_default=True,
              help="How large a load: " + ", ".join(
                  f"{name} {each.rate} writes a second of {each.clients} clients"
                  for name, each in SIZES.items()) + ".")  # fmt: skip
@click.option("--duration", type=Duration(), default=DURATION_MS,
              help="For how long.  [default: 60s]")  # fmt: skip
@click.option("--processes", type=Whole(1, 256),
              help="Processes that send.  [default: as bench]")  # fmt: skip
def perf_verb(settings: Settings, size: str, duration: int, processes: int | None) -> None:
    """Put a load of a given size on the cluster, and say PASS or FAIL.

    It fails below 90 % of the writes a second, over half a second for any request, or over 100 ms
    of standard deviation, as etcdctl check perf does. Writes keys that begin with bench/, and
    removes all of those at its end. Exit code 1 if it fails.
    """
    load = load_of_size(size, duration)
    if processes is not None and processes > load.connections:
        raise click.UsageError("--processes cannot exceed the number of clients")
    timeout_ms = TIMEOUT_MS if settings.timeout is None else settings.timeout
    with settings.client() as client:
        target = find_target(client)
        before = sample(target.members, target.credentials)
        with progress(f"check perf {size}") as step:
            report = run_load(
                target,
                load,
                timeout_ms,
                processes=processes or default_processes(load),
                on_progress=step,
            )
        nodes = costs(before, sample(target.members, target.credentials))
        left = _clean_up(client)
    checks = judge(report)
    view = _view(size, report, checks, nodes)
    view = replace(view, notes=[*view.notes, *left])
    if all(each.ok for each in checks):
        settings.show(view)
        return
    if settings.output == "table":
        settings.show(view)
    negative(f"the cluster does not carry the load {size}", view)


check_verb.add_command(perf_verb)
check_verb.add_command(history_verb)


def _clean_up(client: Client) -> list[str]:
    """Remove the keys; why that could not be done, in words. It does not hide the verdict."""
    try:
        client.delete_prefix(KEY_PREFIX)
    except ClientError as error:
        return [f"The keys that begin with {KEY_PREFIX.decode()} could not be removed: {error}"]
    return []


def _view(size: str, report: LoadReport, checks: list[Check], nodes: list[NodeCost]) -> View:
    ok = all(each.ok for each in checks)
    data: dict[str, Any] = {
        "ok": ok,
        "load": size,
        "clients": report.load.sessions,
        "rate": report.load.rate,
        "puts": report.operations,
        "puts_per_s": round(report.per_s, 1),
        "elapsed_s": round(report.elapsed_ns / 1e9, 3),
        **figures(report.total),
        "unsent": report.unsent,
        "errors": dict(report.failed),
        "refusals": dict(report.refused),
        "checks": [each._asdict() for each in checks],
        "nodes": [each._asdict() for each in nodes],
        "generator": generator(report),
    }
    lines = [f"{_word(each.ok)}: {each.message}" for each in checks] + [_word(ok)]
    return View(
        data=data,
        plain="".join(f"{line}\n" for line in lines).encode(),
        notes=[*lines, *refusal_words(report), *cost_rows(nodes), *generator_words(report)],
    )


def _word(ok: bool) -> str:
    return "PASS" if ok else "FAIL"
