"""shell: verbs, one after another, on one connection."""

import sys

import click

from paxosctl.cli.app import Settings, verb
from paxosctl.cli.streams import is_terminal, say


@verb("shell")
@click.option("--keep-going", is_flag=True,
              help="Run a script to its end, whatever fails in it.")  # fmt: skip
@click.option("--echo", is_flag=True, help="Print each command before it runs.")
def shell_verb(settings: Settings, keep_going: bool, echo: bool) -> None:
    """Type verbs without `paxosctl`, one after another, on one connection; or run a script of them.

    On a terminal it has a history and completes verbs, options and keys with TAB; the prompt shows
    the exit code of the last command unless that was 0. `help` says what is special there.

    From a file or a pipe it runs the commands in it; `#` begins a comment. The first one that ends
    with another exit code than 0 (a `get` without a key, too) ends the script, with that code, and
    its line is named. With --keep-going the others are run all the same; the exit code is still
    that of the first one that failed.
    """
    from paxosctl.commands.shell_lines import (  # noqa: PLC0415 -- not for --help
        Lines,
        ScriptLines,
        TerminalLines,
    )
    from paxosctl.commands.shell_session import GREETING, Session  # noqa: PLC0415 -- the same

    settings.target  # noqa: B018 -- a context that does not exist is an error at once
    session: Session
    lines: Lines = ScriptLines()
    if is_terminal(sys.stdin) and is_terminal(sys.stdout):
        lines = TerminalLines(lambda text: session.propose(text))  # noqa: PLW0108 -- it is not there yet
        say(GREETING)
    session = Session(settings, lines, echo=echo, keep_going=keep_going)
    click.get_current_context().exit(session.run())
