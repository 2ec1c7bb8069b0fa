"""bench: how fast a cluster takes writes, and answers reads."""

from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Duration, Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.progress_line import progress
from paxosctl.client.errors import EXIT_UNKNOWN
from paxosctl.commands.bench_options import WarmUp, load_of, load_options, plot_option
from paxosctl.commands.bench_view import fan_out_view, view_of
from paxosctl.load.fanout import DUE, KEYS, run_fan_out
from paxosctl.load.load import VERB_WATCH, Load
from paxosctl.load.nodes import costs, sample
from paxosctl.load.plot import page
from paxosctl.load.processes import TIMEOUT_MS, default_processes, find_target, run_load
from paxosctl.load.report import LoadReport
from paxosd.wire.status import decode_status

PRELOAD_OUTSTANDING = 1000


@click.group("bench", cls=Group)
def _bench() -> None:
    """Load generators. They write keys that begin with bench/ and leave them there."""


bench_verb = global_options(_bench)

preload_option = click.option(
    "--preload/--no-preload", default=True, show_default=True,
    help="Write every key once before, so that there is something to read.",
)  # fmt: skip
stale_option = click.option(
    "--stale", is_flag=True, help="Local reads of all members in turn, which can be old."
)


@verb("put")
@load_options
def put_verb(settings: Settings, **options: Any) -> None:
    """Measure puts per second, and their latencies. Exit code 1 if some were not acknowledged."""
    _run(settings, load_of("put", options), options)


@verb("get")
@load_options
@stale_option
@preload_option
def get_verb(settings: Settings, **options: Any) -> None:
    """Measure gets per second, and their latencies. Exit code 1 if some were not answered."""
    _run(settings, load_of("get", options), options)


@verb("mixed")
@load_options
@click.option("--read-ratio", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Which share of the requests reads.")  # fmt: skip
@stale_option
@preload_option
def mixed_verb(settings: Settings, **options: Any) -> None:
    """Measure puts and gets side by side. Exit code 1 if some were not answered."""
    _run(settings, load_of("mixed", options), options)


@verb("watch")
@click.option("--watchers", type=Whole(1, 4000), default=100, show_default=True,
              help="Subscribers, on all members in turn.")  # fmt: skip
@click.option("--rate", type=Whole(1, 100_000), default=100, show_default=True,
              help="Puts a second, by one writer; each watcher gets each of them.")  # fmt: skip
@click.option("--size", "--value-bytes", "size", type=Whole(DUE.size, 1 << 20), default=100,
              show_default=True, help="The size of each value in bytes.")  # fmt: skip
@click.option("--duration", type=Duration(), default="10s", show_default=True,
              help="For how long puts are made and measured.")  # fmt: skip
@click.option("--warmup", type=WarmUp(), default="1s", show_default=True,
              help="Puts of this time, before, are made and not measured.")  # fmt: skip
@click.option("--processes", type=Whole(1, 256),
              help="Processes that receive, if one is not enough.  [default: one for 500 watchers, "
              "at most a quarter of the cores]")  # fmt: skip
@plot_option
def watch_verb(settings: Settings, **options: Any) -> None:
    """Measure the time from a put to its event at each of many watchers. Exit code 1 if an event
    was missed."""
    watchers = options["watchers"]
    load = Load(
        verb=VERB_WATCH,
        outstanding=watchers,
        connections=watchers,
        size=options["size"],
        keys=KEYS,
        rate=float(options["rate"]),
        duration_ms=options["duration"],
        warmup_ms=options["warmup"],
    )
    plot = _plot_file(options["plot"])
    processes = options["processes"] or default_processes(load)
    if processes > watchers:
        raise click.UsageError("--processes cannot exceed --watchers")
    timeout_ms = TIMEOUT_MS if settings.timeout is None else settings.timeout
    with settings.client() as client:
        target = find_target(client)
        members = decode_status(client.status()).members
        events = [members[name].events for name, _ in target.members if name in members]
        before = sample(target.members, target.credentials)
        endpoints = settings.endpoints.split(",")
        with progress("bench watch") as step:
            found = run_fan_out(
                endpoints,
                events,
                load,
                timeout_ms / 1000,
                credentials=client.credentials,
                processes=processes,
                on_progress=step,
            )
        nodes = costs(before, sample(target.members, target.credentials))
    view = fan_out_view(found, nodes)
    if plot is not None:
        plot.write_text(page("bench watch", view.notes, found.report), encoding="utf-8")
    settings.show(view)
    if found.report.failed:
        negative(f"some puts failed; the first: {found.report.first_error}")
    if found.missed:
        negative(f"{found.missed} events were missed")


bench_verb.add_command(watch_verb)
bench_verb.add_command(put_verb)
bench_verb.add_command(get_verb)
bench_verb.add_command(mixed_verb)


def _run(settings: Settings, load: Load, options: dict[str, Any]) -> None:
    timeout_ms = TIMEOUT_MS if settings.timeout is None else settings.timeout
    plot = _plot_file(options["plot"])
    processes = options["processes"] or default_processes(load)
    if processes > load.connections:
        raise click.UsageError("--processes cannot exceed --connections")
    with settings.client() as client:
        target = find_target(client, stale=load.stale)
        if options.get("preload"):
            filling = Load(
                outstanding=PRELOAD_OUTSTANDING,
                connections=1,
                size=load.size,
                keys=load.keys,
                distribution="sequential",
                count=load.keys,
            )
            with progress(f"writing {load.keys:,} keys") as step:
                _end(run_load(target, filling, timeout_ms, on_progress=step))
        before = sample(target.members, target.credentials)
        with progress(f"bench {load.verb}") as step:
            report = run_load(target, load, timeout_ms, processes=processes, on_progress=step)
        nodes = costs(before, sample(target.members, target.credentials))
    view = view_of(report, nodes)
    if plot is not None:
        plot.write_text(page(f"bench {load.verb}", view.notes, report), encoding="utf-8")
    settings.show(view)
    _end(report)


def _plot_file(path: Path | None) -> Path | None:
    """Refuses, before the load runs, what could not be drawn after it."""
    if path is not None and path.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(
            f"--plot {path}: only HTML is drawn, to a file such as bench.html; a browser shows it "
            "and can print it into an image"
        )
    if path is not None and not path.absolute().parent.is_dir():
        raise click.UsageError(f"--plot {path}: there is no such directory")
    return path


def _end(report: LoadReport) -> None:
    """Exit code 1, or that of unknown outcomes, if something failed."""
    if not report.failed:
        return
    words = f"{report.failed_count} {report.load.verb}s failed; the first: {report.first_error}"
    if report.unknown:
        negative(words, exit_code=EXIT_UNKNOWN, code="unknown")
    negative(words)
