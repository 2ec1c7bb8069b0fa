"""Colours in what verbs print: ``--color``, and without it the rule of the house.

The choice is the ``color`` of click's context, which ``click.echo`` goes by as well: what it is
given with colours loses them where there are to be none.
"""

import sys
from typing import TYPE_CHECKING, Any

import click

from paxosctl.cli.streams import is_terminal
from paxosd.host.colour import is_dumb, may_colour

if TYPE_CHECKING:
    from rich.console import Console

CHOICES = {"auto": None, "always": True, "never": False}


def wants_colour(stream: Any = None) -> bool:
    """Whether to colour what goes to ``stream``, standard output if it is None: by ``--color``;
    else on a terminal alone, and not if the user (NO_COLOR) or the terminal does not want it."""
    context = click.get_current_context(silent=True)
    if context is not None and context.color is not None:
        return context.color
    return may_colour(sys.stdout if stream is None else stream)


def choose(context: click.Context, choice: str) -> None:
    """``choice``: of CHOICES, for this verb and those below it."""
    context.color = CHOICES[choice]


def can_draw() -> bool:
    """Whether standard error is a terminal, and no dumb one: progress can be drawn there."""
    return is_terminal(sys.stderr) and not is_dumb()


def drawing_console() -> "Console | None":
    """What progress is drawn with on standard error; None where nothing can be drawn: it is no
    terminal, or a dumb one. Colours as :func:`wants_colour` says."""
    if not can_draw():
        return None
    from rich.console import Console  # noqa: PLC0415 -- slow to start

    # Of itself rich would take colours from FORCE_COLOR, COLORTERM and others, too.
    wanted = wants_colour(sys.stderr)
    return Console(stderr=True, no_color=not wanted, highlight=wanted)
