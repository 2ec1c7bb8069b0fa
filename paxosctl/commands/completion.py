"""completion: the scripts for shells."""

import click

from paxosctl.cli.app import Settings, verb
from paxosctl.cli.completion import program_of
from paxosctl.cli.render import View
from paxosd.host.shell_completion import SHELLS


@verb("completion")
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion_verb(settings: Settings, shell: str) -> None:
    """Print the script with which SHELL completes commands.

    It completes verbs, options and their values, names of contexts, nodes and fault rules, and
    keys, which it asks the cluster for: for half a second at most. For this shell alone:

    \b
    bash    source <(paxosctl completion bash)
    zsh     source <(paxosctl completion zsh)
    fish    paxosctl completion fish | source

    docs/COMMANDS.md says how to have it in every new one.
    """
    command = click.get_current_context().find_root().command
    script = program_of(command).script(shell)
    data = {"shell": shell, "script": script}
    settings.show(View(data=data, plain=script.encode(), text=script.rstrip("\n")))
