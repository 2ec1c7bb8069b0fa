"""bench: how fast a cluster takes writes."""

import click

from paxosctl.cli.app import Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.render import View
from paxosctl.client.errors import EXIT_UNKNOWN
from paxosctl.client.load import TIMEOUT_MS, Load, LoadReport, LoadRun, find_leader, limits_at


@click.group("bench", cls=Group)
def _bench() -> None:
    """Load generators. They write keys that begin with bench/ and leave them there."""


bench_verb = global_options(_bench)


@verb("put")
@click.option("--outstanding", type=Whole(1, 1_000_000), default=100, show_default=True,
              help="How many puts are under way at a time, on all connections.")  # fmt: skip
@click.option("--connections", type=Whole(1, 900), default=1, show_default=True)
@click.option("--size", type=Whole(0, 1 << 30), default=100, show_default=True,
              help="The size of each value in bytes.")  # fmt: skip
@click.option("--count", type=Whole(1), default=10_000, show_default=True,
              help="How many puts in total.")  # fmt: skip
@click.option("--keys", type=Whole(1, 1_000_000_000), default=10_000, show_default=True,
              help="How many different keys; each put draws one at random.")  # fmt: skip
@click.option(
    "--seed", type=Whole(), default=0, show_default=True, help="The seed of the random keys."
)
def put_verb(
    settings: Settings,
    outstanding: int,
    connections: int,
    size: int,
    count: int,
    keys: int,
    seed: int,
) -> None:
    """Measure puts per second, and their latencies. Exit code 1 if some were not acknowledged."""
    if connections > outstanding:
        raise click.UsageError("--connections cannot exceed --outstanding")
    load = Load(
        count=count,
        outstanding=outstanding,
        connections=connections,
        size=size,
        keys=keys,
        seed=seed,
    )
    timeout_ms = TIMEOUT_MS if settings.timeout is None else settings.timeout
    with settings.client() as client:
        leader = find_leader(client)
        run = LoadRun(leader, load, timeout_ms, limits_at(client, leader))
    report = run.run()
    view = _view(report)
    settings.show(view)
    if report.failed:
        failed = sum(report.failed.values())
        words = f"{failed} puts failed; the first: {report.first_error}"
        if report.unknown:
            negative(words, exit_code=EXIT_UNKNOWN, code="unknown")
        negative(words)


bench_verb.add_command(put_verb)


def _view(report: LoadReport) -> View:
    load = report.load
    data = {
        "puts": len(report.latencies_ns),
        "puts_per_s": round(report.puts_per_s, 1),
        "elapsed_s": round(report.elapsed_ns / 1e9, 3),
        "p50_ms": round(report.quantile_ms(0.5), 3),
        "p99_ms": round(report.quantile_ms(0.99), 3),
        "max_ms": round(report.quantile_ms(1.0), 3),
        "outstanding": load.outstanding,
        "connections": load.connections,
        "size": load.size,
        "keys": load.keys,
        "errors": report.failed,
    }
    notes = [
        f"{data['puts']} puts of {load.size} bytes in {data['elapsed_s']} s, {load.outstanding} "
        f"outstanding on {load.connections} connections",
        f"{report.puts_per_s:,.0f} puts/s   p50 {data['p50_ms']} ms   p99 {data['p99_ms']} ms   "
        f"max {data['max_ms']} ms",
    ]
    plain = "".join([f"{name}\t{value}\n" for name, value in data.items() if name != "errors"])
    return View(data=data, plain=plain.encode(), notes=notes)
