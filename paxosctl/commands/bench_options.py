"""The options of the verbs of bench, and the load that they ask for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Duration, F, Whole
from paxosctl.load.keys import DISTRIBUTIONS
from paxosctl.load.load import Load
from paxosd.host.durations import parse_duration_ms
from paxosd.host.file_path import FilePath

OUTSTANDING = 100
CLIENTS_OPEN_LOOP = 100
COUNT = 10_000
WARMUP_MS = 1000


class WarmUp(Duration):
    """A duration that may be 0."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds."""
        try:
            if not isinstance(value, int) and parse_duration_ms(value) == 0:
                return 0
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


def load_options(command: F) -> F:
    """What the loads of every verb have."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


plot_option = click.option(
    "--plot", type=FilePath(dir_okay=False, path_type=Path),
    help="Draw throughput and latencies into this HTML file.",
)  # fmt: skip

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--clients", type=Whole(1, 100_000),
                 help="Clients, each a session of its own that waits for its answer before it goes "
                 "on.  [default: one for each connection, or 100 with --rate]"),
    click.option("--connections", type=Whole(1, 100_000),
                 help="Connections, which the clients share.  [default: one for each client, or "
                 "1]"),
    click.option("--per-frame", type=Whole(1, 100_000),
                 help="Commands in one request.  [default: 1 with --clients or --rate; else all "
                 "that a connection has under way]"),
    click.option("--outstanding", type=Whole(1, 1_000_000),
                 help="Commands under way at a time, of all clients.  [default: one request for "
                 f"each client, or {OUTSTANDING} without --clients and --rate]"),
    click.option("--rate", type=Whole(1, 10_000_000),
                 help="Send so many commands a second, whatever the answers do, and measure from "
                 "when each was due.  [default: send the next when one is answered]"),
    click.option("--size", "--value-bytes", "size", type=Whole(0, 1 << 30), default=100,
                 show_default=True, help="The size of each value in bytes."),
    click.option("--keys", type=Whole(1, 1_000_000_000), default=10_000, show_default=True,
                 help="How many different keys."),
    click.option("--distribution", type=click.Choice(DISTRIBUTIONS), default="uniform",
                 show_default=True, help="How the key of a command is drawn."),
    click.option("--seed", type=Whole(), default=0, show_default=True,
                 help="The seed of the random keys."),
    click.option("--count", type=Whole(1),
                 help=f"How many commands in total.  [default: {COUNT}, or any number with "
                 "--duration]"),
    click.option("--duration", type=Duration(), help="For how long, such as 10s or 1m."),
    click.option("--warmup", type=WarmUp(),
                 help="What begins in this time is sent, but not measured.  [default: "
                 f"{WARMUP_MS // 1000}s with --duration, else 0s]"),
    click.option("--processes", type=Whole(1, 256),
                 help="Processes that send, if one is not enough.  [default: one for 500 "
                 "connections, at most a quarter of the cores]"),
    plot_option,
]  # fmt: skip


def load_of(verb: str, options: dict[str, Any]) -> Load:
    """The load that the options ask for. Raises click.UsageError if they contradict each other."""
    clients, connections = options["clients"], options["connections"]
    per_frame, outstanding = options["per_frame"], options["outstanding"]
    rate, duration, warmup = options["rate"], options["duration"], options["warmup"]
    one_by_one = bool(clients or rate)
    if not clients:
        clients = CLIENTS_OPEN_LOOP if rate and not connections else connections or 1
    if connections is None:
        connections = clients
    if one_by_one:
        per_frame = per_frame or 1
        outstanding = outstanding or clients * per_frame
    else:
        outstanding = outstanding or max(OUTSTANDING, connections)
    if outstanding < clients:
        what = "--clients" if options["clients"] else "--connections"
        raise click.UsageError(f"{what} cannot exceed --outstanding")
    if connections > clients:
        raise click.UsageError("--connections cannot exceed --clients")
    if warmup is None:
        warmup = WARMUP_MS if duration else 0
    count = options["count"]
    if count is None and not duration:
        count = COUNT
    return Load(
        verb=verb,
        outstanding=outstanding,
        connections=connections,
        clients=clients,
        per_frame=per_frame or 0,
        size=options["size"],
        keys=options["keys"],
        distribution=options["distribution"],
        read_ratio=options.get("read_ratio", 0.5),
        stale=options.get("stale", False),
        rate=float(rate or 0),
        count=count or 0,
        duration_ms=duration or 0,
        warmup_ms=warmup,
        seed=options["seed"],
    )
