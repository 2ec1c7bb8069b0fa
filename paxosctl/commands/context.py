"""Contexts: context add, use, list, show, rename, remove."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from paxosctl.cli.app import Group, Settings, negative, verb
from paxosctl.cli.complete import contexts as context_names
from paxosctl.cli.contexts import NAME, NAME_WORDS, Context, Contexts, changing
from paxosctl.cli.render import View
from paxosctl.cli.target import FLAG, NOTHING, Target, target_of


@click.group("context", cls=Group)
def context_verb() -> None:
    """Clusters by names of your own: endpoints, and the file of your key.

    They are kept in PAXOSCTL_CONFIG, else in paxosctl/contexts.toml in XDG_CONFIG_HOME (~/.config).
    What counts, from the strongest: --endpoints, --context, the servers of --key-file, then
    PAXOSCTL_ENDPOINTS, PAXOSCTL_CONTEXT, PAXOSCTL_KEY_FILE, the context in use, and else a cluster
    of paxosd dev on this machine. `context show` says which one it is, and why.
    """


class _Name(click.ParamType[str]):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text."""
        if not NAME.fullmatch(str(value)):
            self.fail(f'"{value}" is no name of a context: {NAME_WORDS}', param, ctx)
        return str(value)


def _existing(name: str = "name", **given: Any) -> Callable[[Any], Any]:
    return click.argument(name, shell_complete=context_names, **given)


@verb("add")
@click.argument("name", type=_Name())
@click.option("--use", is_flag=True, help="Use it from now on, as `context use` does.")
@click.option("--force", is_flag=True, help="Replace a context of this name.")
def add_verb(settings: Settings, name: str, use: bool, force: bool) -> None:
    """Add the context NAME: give its --endpoints, and --key-file if the cluster has keys. Exit code
    1 if there is one of that name."""
    given = settings.flags.endpoints
    if given is None:
        raise click.UsageError("give the client endpoints of the cluster: --endpoints …")
    key_file = settings.flags.key_file
    path = None if key_file is None else Path(os.path.abspath(Path(key_file).expanduser()))
    with changing() as contexts:
        if name in contexts.named and not force:
            negative(f"there is a context {name} already: use another name, or --force")
        contexts.named[name] = context = Context(tuple(given.split(",")), path)
        if use:
            contexts.current = name
    used = f", and is in use in {contexts.path}" if contexts.current == name else ""
    advice = "" if used else f"\nuse it with: paxosctl context use {name}"
    missing = "" if path is None or path.exists() else f"\n{path} does not exist yet"
    text = f"context {name} is added{used}{missing}{advice}"
    _show(settings, name, context, contexts, text)


@verb("use")
@_existing(required=False)
@click.option("--none", "nothing", is_flag=True, help="Use no context from now on.")
def use_verb(settings: Settings, name: str | None, nothing: bool) -> None:
    """Use the context NAME where no cluster is named. Exit code 1 if there is none of that name."""
    if (name is None) is not nothing:
        raise click.UsageError("give either the NAME of a context or --none")
    with changing() as contexts:
        if name is not None:
            _find(contexts, name)
        contexts.current = name or ""
    if name is None:
        data = _data("", Context(()), contexts) | {"context": None}
        settings.show(View(data=data, plain=b"", text="no context is in use"))
        return
    text = f"context {name} is in use: {', '.join(contexts.named[name].endpoints)}"
    if settings.environment != NOTHING:
        said = settings.environment
        variable = "PAXOSCTL_CONTEXT" if said.context else "PAXOSCTL_KEY_FILE"
        variable = "PAXOSCTL_ENDPOINTS" if said.endpoints else variable
        text += f"\nbut {variable} is set in this shell, and counts more: unset {variable}"
    _show(settings, name, contexts.named[name], contexts, text)


@verb("list")
def list_verb(settings: Settings) -> None:
    """Show all contexts; a star marks the one in use."""
    contexts = Contexts.load()
    data = [_data(name, each, contexts) for name, each in contexts.named.items()]
    settings.show(
        View(
            data={"contexts": data, "file": str(contexts.path)},
            plain="".join([f"{name}\n" for name in contexts.named]).encode(),
            columns=("", "name", "endpoints", "key file"),
            rows=[
                [
                    "*" if name == contexts.current else "",
                    name,
                    ", ".join(each.endpoints),
                    each.key_file or "-",
                ]
                for name, each in contexts.named.items()
            ],
            notes=_notes(contexts),
        )
    )


def _notes(contexts: Contexts) -> list[str]:
    notes = [] if contexts.named else ["none yet: paxosctl context add NAME --endpoints …"]
    if contexts.current and contexts.current not in contexts.named:
        gone = f"{contexts.current}, the one in use, is not among them"
        notes.append(f"{gone}: paxosctl context use NAME, or use --none")
    return notes


@verb("show")
@_existing(required=False)
def show_verb(settings: Settings, name: str | None) -> None:
    """Show the context NAME; without NAME, which cluster a verb would go to here, and why."""
    contexts = Contexts.load()
    if name is not None:
        found = _find(contexts, name)
        _show(settings, name, found, contexts, _words(name, found))
        return
    target = target_of(settings.flags, settings.environment)
    context = Context(tuple(target.endpoints.split(",")), target.key_file)
    data = _data(target.context, context, contexts)
    data |= {"context": target.context or None, "from": target.source}
    why = target.words or "the command line"
    text = f"endpoints from {why}\n{_words(target.context, context)}"
    if weaker := _passed_over(settings, target, contexts):
        text += f"\npassed over: {', '.join(weaker)}"
    settings.show(View(data=data, plain=f"{target.endpoints}\n".encode(), text=text))


def _passed_over(settings: Settings, target: Target, contexts: Contexts) -> list[str]:
    """What says something as well, and counts less."""
    found = []
    if target.source == FLAG:
        found += ["PAXOSCTL_ENDPOINTS"] if settings.environment.endpoints else []
        found += ["PAXOSCTL_CONTEXT"] if settings.environment.context else []
    if contexts.current not in ("", target.context):
        found.append(f"context {contexts.current}, the one in use")
    return found


@verb("rename")
@_existing("old")
@click.argument("new", type=_Name())
def rename_verb(settings: Settings, old: str, new: str) -> None:
    """Give the context OLD the name NEW. Exit code 1 if there is no OLD, or a NEW already."""
    with changing() as contexts:
        found = _find(contexts, old)
        if new in contexts.named and new != old:
            negative(f"there is a context {new} already: remove it first")
        contexts.named = {new if n == old else n: each for n, each in contexts.named.items()}
        contexts.current = new if contexts.current == old else contexts.current
    _show(settings, new, found, contexts, f"context {old} is now {new}")


@verb("remove")
@_existing()
def remove_verb(settings: Settings, name: str) -> None:
    """Remove the context NAME, not its key file. Exit code 1 if there is none of that name."""
    with changing() as contexts:
        found = _find(contexts, name)
        used = contexts.current == name
        del contexts.named[name]
        contexts.current = "" if used else contexts.current
    text = f"context {name} is removed" + (", and none is in use" if used else "")
    _show(settings, name, found, contexts, text)


def _find(contexts: Contexts, name: str) -> Context:
    found = contexts.named.get(name)
    if found is None:
        negative(f'there is no context "{name}" in {contexts.path}; {contexts.nearest(name)}')
    return found


def _show(settings: Settings, name: str, context: Context, contexts: Contexts, text: str) -> None:
    plain = f"{','.join(context.endpoints)}\n".encode()
    settings.show(View(data=_data(name, context, contexts), plain=plain, text=text))


def _data(name: str, context: Context, contexts: Contexts) -> dict[str, Any]:
    return {
        "context": name,
        "endpoints": list(context.endpoints),
        "key_file": None if context.key_file is None else str(context.key_file),
        "in_use": bool(name) and contexts.current == name,
    }


def _words(name: str, context: Context) -> str:
    rows = [("context", name), ("endpoints", ", ".join(context.endpoints))]
    rows.append(("key file", str(context.key_file or "")))
    return "\n".join([f"{what:<11}{words}" for what, words in rows if words])


for _each in (add_verb, use_verb, list_verb, show_verb, rename_verb, remove_verb):
    context_verb.add_command(_each)
