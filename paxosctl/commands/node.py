"""One node alone: the level of its log."""

from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Duration, Settings, verb
from paxosctl.cli.params import EndpointList
from paxosctl.cli.public_names import log_fields
from paxosctl.cli.render import View
from paxosd.host.log_levels import LEVELS
from paxosd.host.wording import counted


@click.group("node")
def node_verb() -> None:
    """Change a single node: how much it logs."""


@verb("log-level")
@click.argument("level", required=False, type=click.Choice(LEVELS))
@click.option("--for", "for_ms", type=Duration(), default="10m", show_default=True,
              help="For how long, at most a day; then as configured again.")  # fmt: skip
@click.option("--endpoint", type=EndpointList(), default=None,
              shell_complete=complete.endpoints,
              help="The node's client endpoint.  [default: the first that answers]")  # fmt: skip
def log_level_verb(
    settings: Settings, level: str | None, for_ms: int, endpoint: str | None
) -> None:
    """Change how much a node logs for a while. Without LEVEL, show the present level.

    After that time the node uses the level of its configuration again. To use it at once, give that
    level here, or restart the node.
    """
    if endpoint is not None:
        settings.turn_to(endpoint)
    args: dict[str, Any] = {} if level is None else {"level": level, "for_ms": for_ms}
    with settings.client() as client:
        answer = client.admin("log_level", args)
    settings.show(
        View(
            data=log_fields(answer),
            plain=f"{answer['level']}\n".encode(),
            text=f"{answer['node']} logs at level {log_words(answer)}",
        )
    )


def log_words(log: dict[str, Any]) -> str:
    """The level; for how long it is another than the configured one; how many lines were lost."""
    words = str(log["level"])
    if log["left_ms"]:
        words += f" for {log['left_ms'] / 1000:.0f} s more, then {log['configured']}"
    dropped = log.get("dropped", 0)
    if dropped:
        words += f"; {counted(dropped, 'line')} {'was' if dropped == 1 else 'were'} dropped"
    return words


node_verb.add_command(log_level_verb)
