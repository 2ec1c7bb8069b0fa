"""top: the cluster, live."""

import sys

import click

from paxosctl.cli.app import Duration, Settings, verb
from paxosctl.cli.colour import wants_colour
from paxosctl.cli.streams import is_terminal

INTERVAL_MS = 1000


@verb("top")
@click.option("--interval", type=Duration(), default=INTERVAL_MS,
              help="How often each node is asked.  [default: 1s]")  # fmt: skip
@click.option("--once", is_flag=True,
              help="Look twice, --interval apart, print one screen as text, and end; also without "
              "it, where standard output is no terminal.")  # fmt: skip
def top_verb(settings: Settings, interval: int, once: bool) -> None:
    """Watch the cluster live: roles, slots, speed, faults, events.

    The line at the bottom has the keys; ? explains them. A node that does not answer is shown as
    such, and delays nothing.
    """
    from paxosctl.top.live import bars, run_live  # noqa: PLC0415 -- slow to load
    from paxosctl.top.once import answer, look  # noqa: PLC0415 -- as above

    interval_s = interval / 1000
    live = not once and is_terminal(sys.stdout) and is_terminal(sys.stdin)
    if live and settings.output != "table":
        raise click.UsageError(f"-o {settings.output} needs --once")
    with settings.client() as client:
        if live:
            run_live(client, interval_s, colours=wants_colour())
            return
        model = look(client, interval_s)
    settings.show(answer(model, interval_s, bars()))
