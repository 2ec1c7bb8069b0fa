"""bench: how fast a cluster takes writes, and answers reads."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from paxosctl.cli.app import Group, Settings, global_options, negative, verb
from paxosctl.cli.streams import is_terminal
from paxosctl.client.errors import EXIT_UNKNOWN
from paxosctl.commands.bench_options import load_of, load_options
from paxosctl.commands.bench_view import view_of
from paxosctl.load.load import Load
from paxosctl.load.processes import TIMEOUT_MS, default_processes, find_target, run_load
from paxosctl.load.report import LoadReport

PRELOAD_OUTSTANDING = 1000
QUIET_S = 2.0
"""What takes no longer shows no progress."""


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


bench_verb.add_command(put_verb)
bench_verb.add_command(get_verb)
bench_verb.add_command(mixed_verb)


def _run(settings: Settings, load: Load, options: dict[str, Any]) -> None:
    timeout_ms = TIMEOUT_MS if settings.timeout is None else settings.timeout
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
            with _progress(f"writing {load.keys:,} keys") as step:
                _end(run_load(target, filling, timeout_ms, on_progress=step))
        with _progress(f"bench {load.verb}") as step:
            report = run_load(target, load, timeout_ms, processes=processes, on_progress=step)
    settings.show(view_of(report))
    _end(report)


def _end(report: LoadReport) -> None:
    """Exit code 1, or that of unknown outcomes, if something failed."""
    if not report.failed:
        return
    words = f"{report.failed_count} {report.load.verb}s failed; the first: {report.first_error}"
    if report.unknown:
        negative(words, exit_code=EXIT_UNKNOWN, code="unknown")
    negative(words)


@contextmanager
def _progress(words: str) -> Iterator[Callable[[int], None]]:
    """A line on standard error, if that is a terminal; gives what to call with how many more
    commands were acknowledged."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 -- slow to start
    from rich.status import Status  # noqa: PLC0415 -- the same

    status: Status | None = None
    began_s, done = time.monotonic(), 0

    def step(more: int) -> None:
        nonlocal done, status
        done += more
        passed_s = time.monotonic() - began_s
        if passed_s < QUIET_S:
            return
        if status is None:
            status = Console(stderr=True).status(words)
            status.start()
        status.update(f"{words}: {done:,} in {passed_s:.0f} s, {done / passed_s:,.0f} a second")

    try:
        yield step
    finally:
        if status is not None:
            status.stop()
