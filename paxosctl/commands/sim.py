"""sim: the deterministic simulator, for a look at the protocol (teach) and for campaigns (run)."""

import sys
from typing import TYPE_CHECKING

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.colour import wants_colour
from paxosctl.cli.render import View
from paxosctl.cli.streams import is_terminal, write
from paxosctl.commands.sim_run import run_verb

if TYPE_CHECKING:
    from paxosctl.commands.teach_view import StoryView


PROMPT = "    [Enter: go on, a: all the rest, q: quit] "
ERASE_LINE_ABOVE = "\x1b[1A\x1b[2K"


@click.group("sim", cls=Group)
def _sim() -> None:
    """The protocol in a simulator, from a seed: the very node code of the daemon, no cluster.

    Same seed, same run, on any machine.
    """


sim_verb = global_options(_sim)


def _lessons() -> list[str]:
    from paxosd.sim.teach.teach import NAMES  # noqa: PLC0415 -- not for --help

    return list(NAMES)


@verb("teach")
@click.argument("name", required=False, shell_complete=complete.one_of(_lessons))
@click.option("--seed", type=Whole(), default=1, show_default=True, help="Of delays and timers.")
@click.option("--step", is_flag=True, help="On a terminal: wait for Enter before each step.")
def teach_verb(settings: Settings, name: str | None, seed: int, step: bool) -> None:
    """Show a scenario of the protocol step by step: who sends what, and why.

    Without NAME: the list of scenarios. Each is a run of real nodes in the simulator,
    and each claim in its text is checked. Exit code 1 if one does not hold.
    """
    from paxosd.config.settings import nearest  # noqa: PLC0415 -- not for --help
    from paxosd.sim.teach.teach import NAMES, play  # noqa: PLC0415 -- not for --help

    if name is None:
        _list(settings, NAMES)
        return
    if name not in NAMES:
        raise click.UsageError(f'there is no scenario "{name}"; {nearest(name, NAMES)}')
    from paxosctl.commands.teach_view import (  # noqa: PLC0415 -- not for --help
        WIDTH,
        StoryView,
        story_data,
        wants_width,
    )

    story = play(name, seed)
    if step and settings.output == "table" and is_terminal(sys.stdin) and is_terminal(sys.stdout):
        _step_through(StoryView(story, width=wants_width(), colour=wants_colour()))
    else:
        shown = StoryView(story, width=wants_width(), colour=wants_colour())
        plain = StoryView(story, width=WIDTH, colour=False)
        settings.show(
            View(
                data=story_data(story),
                plain=f"{plain.text()}\n".encode(),
                text=shown.text(),
            )
        )
    if story.failure:
        negative(f"{name}, seed {seed}: {story.failure}")


def _list(settings: Settings, names: dict[str, str]) -> None:
    settings.show(
        View(
            data={"lessons": [{"lesson": name, "about": about} for name, about in names.items()]},
            plain="".join(f"{name}\t{about}\n" for name, about in names.items()).encode(),
            columns=("name", "about"),
            rows=list(names.items()),
            text="\npaxosctl sim teach NAME [--step]",
        )
    )


def _step_through(view: "StoryView") -> None:
    """Print step by step: Enter goes on, ``a`` shows all the rest, ``q`` ends."""
    write(view.head())
    waiting = True
    for block, is_step in view.blocks():
        if is_step and waiting:
            try:
                answer = input(PROMPT).strip().lower()
            except EOFError:
                answer = "a"
            if answer == "q":
                return
            waiting = answer != "a"
            if view.colour:
                write(ERASE_LINE_ABOVE, newline=False)
        write(block)
    write(view.foot())


for _each in (run_verb, teach_verb):
    sim_verb.add_command(_each)
