"""fault: failures on purpose, in the nodes of a cluster; refused unless the nodes allow them."""

from collections.abc import Sequence
from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Duration, Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.public_names import trouble
from paxosctl.cli.render import View
from paxosctl.cli.survey import Answer, NodeView, survey
from paxosctl.commands.fault_run import run_verb
from paxosctl.faultrun.nodes import (
    NoSuchNodeError,
    add_everywhere,
    ask,
    check_names,
    check_rule,
    holders,
    refusal,
    resolve,
    took,
    without_faults,
)
from paxosctl.faultrun.view import COLUMNS, OPTIONAL, cells, names_of, plain_cells, public_rule
from paxosd.core.effects import FORBIDDEN
from paxosd.faults.rules import KINDS, FaultError
from paxosd.host.numbers import WHOLE_MAX
from paxosd.host.wording import counted


@click.group("fault", cls=Group)
def _fault() -> None:
    """Failures on purpose: of messages, links, disks, clocks and nodes.

    Refused with exit code 77 unless the nodes run with [faults] enabled = true. A fault ends when
    its node restarts, unless it was added with --persist.
    """


fault_verb = global_options(_fault)


def _kinds() -> str:
    """The kinds and what they do, for --help; each in a line that is not wrapped."""
    groups: dict[str, list[str]] = {}
    for kind, spec in KINDS.items():
        group = "On nodes (--on)"
        if spec.paths:
            group = "On messages (--from, --to, --message)"
            group = group if spec.messages else "On links (--from, --to, --oneway)"
        groups.setdefault(group, []).append(f"  {kind:<11} {spec.does}")
    return "\n\n".join(["\b\n" + "\n".join([head, *lines]) for head, lines in groups.items()])


@verb("add")
@click.argument("name")
@click.option(
    "--kind",
    required=True,
    shell_complete=complete.one_of(lambda: KINDS),
    help="What goes wrong; see below.",
)
@click.option(
    "--from",
    "from_",
    shell_complete=complete.senders,
    help="Sending nodes, separated by commas.  [default: any]",
)
@click.option(
    "--to",
    shell_complete=complete.senders,
    help="Receiving nodes, separated by commas.  [default: any]",
)
@click.option(
    "--on",
    shell_complete=complete.senders,
    help="The nodes that it happens to, separated by commas; * is every node.",
)
@click.option(
    "--message",
    "--message-kind",
    "messages",
    multiple=True,
    help="Only messages of this kind, such as accept; several separated by commas, or repeated.",
)
@click.option(
    "--probability", type=float, default=1.0, help="How likely a hit is: above 0, at most 1."
)
@click.option(
    "--ms",
    type=Whole(-WHOLE_MAX),
    default=0,
    help="How long or how far, in milliseconds; see the kind.",
)
@click.option("--every", type=Duration(), help="Repeat it after each such time, for example 5s.")
@click.option(
    "--for", "for_", type=Duration(), help="Remove it by itself after this time, for example 30s."
)
@click.option("--seed", type=Whole(-WHOLE_MAX), default=0, help="The seed of its random choices.")
@click.option("--oneway", is_flag=True, help="Cut FROM → TO only: partition, flap.")
@click.option("--persist", is_flag=True, help="Keep it when the node restarts.")
def add_verb(
    settings: Settings,
    name: str,
    kind: str,
    from_: str | None,
    to: str | None,
    on: str | None,
    messages: tuple[str, ...],
    probability: float,
    ms: int,
    every: int | None,
    for_: int | None,
    seed: int,
    oneway: bool,
    persist: bool,
) -> None:
    """Add the fault NAME: to the nodes that it happens to, or, if it concerns messages, to every
    node. If a node refuses it, it is removed from all.

    In --from, --to and --on, @leader, @follower and @followers stand for the nodes that have
    the role now.
    """
    scope = {"from": from_, "to": to, "on": on}
    args: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "message_kinds": [part.strip() for each in messages for part in each.split(",")],
        "probability": probability,
        "ms": ms,
        "every_ms": every or 0,
        "for_ms": for_ or 0,
        "seed": seed,
        "oneway": oneway,
        "persist": persist,
    }
    with settings.client() as client:
        views = survey(client)
        try:
            for key, names in scope.items():
                if names is not None:
                    check_names(names, [view.name for view in views])
                    args[key] = resolve(names, views)
            check_rule(
                {key: value for key, value in args.items() if value is not None},
                [view.name for view in views],
            )
        except NoSuchNodeError as error:
            raise click.UsageError(f"--{key}: {error}") from None
        except FaultError as error:
            raise click.UsageError(str(error)) from None
        at = holders(args, views)
        answers = add_everywhere(client, at, args)
    _report(settings, at, answers, f"fault {name} added")


add_verb.epilog = _kinds()


@verb("list")
def list_verb(settings: Settings) -> None:
    """List the faults of every node, and how often each was hit."""
    with settings.client() as client:
        views = survey(client)
        answers = ask(client, views, "fault_list", {})
    nodes = []
    rows = []
    plain = []
    missed = []
    for view in views:
        answer = answers.get(view.name)
        if answer is None or answer.error is not None:
            why = view.why if answer is None else str(answer.error)
            error = view.error if answer is None else answer.error
            node = {"node": view.name, **trouble(error)}
            nodes.append(node | {"faults_enabled": None, "faults": []})
            missed.append(f"{view.name} is not reached: {why}")
            continue
        nodes.append(
            {
                "node": view.name,
                **trouble(None),
                "faults_enabled": answer.body["enabled"],
                "faults": [public_rule(rule) for rule in answer.body["rules"]],
            }
        )
        rows.extend([cells(view.name, rule) for rule in answer.body["rules"]])
        plain.extend([plain_cells(view.name, rule) for rule in answer.body["rules"]])
    words = missed if rows else ["no faults", *missed]
    settings.show(
        View(
            data={"nodes": nodes},
            plain="".join(["\t".join(row) + "\n" for row in plain]).encode(),
            columns=COLUMNS if rows else (),
            rows=rows,
            optional=OPTIONAL,
            notes=words if rows else (),
            text="" if rows else "\n".join(words),
        )
    )


@verb("rm")
@click.argument("name", shell_complete=complete.fault_names)
def rm_verb(settings: Settings, name: str) -> None:
    """Remove the fault NAME from every node that has it. Exit code 1 if none has."""
    with settings.client() as client:
        views = survey(client)
        listed = ask(client, views, "fault_list", {})
        having = [
            view
            for view in views
            if view.name in listed and name in names_of([listed[view.name].body])
        ]
        if not having:
            names = names_of([answer.body for answer in listed.values()])
            known = f"there are {', '.join(names)}" if names else "there is none at all"
            negative(f'no node has a fault "{name}"; {known}')
        answers = ask(client, having, "fault_rm", {"name": name})
        refused = refusal(answers)
        if refused is not None:
            raise refused
    _report(settings, having, answers, f"fault {name} removed")


@verb("clear")
def clear_verb(settings: Settings) -> None:
    """Remove every fault from every node.

    A node that has faults switched off has none, and counts as cleared.
    """
    with settings.client() as client:
        views = survey(client)
        answers = ask(client, views, "fault_clear", {})
        off = without_faults(answers)
        refused = refusal(answers)
        if refused is not None and (refused.code != FORBIDDEN or len(off) == len(answers)):
            raise refused
    count = sum(answer.body.get("removed", 0) for answer in answers.values())
    having = [view for view in views if view.name not in off]
    done = f"{counted(count, 'fault rule')} removed"
    if off:
        done = f"{', '.join(off)}: faults are off, so there are none; {done}"
    _report(settings, having, answers, done)


@verb("crash")
@click.argument("node", shell_complete=complete.senders)
def crash_verb(settings: Settings, node: str) -> None:
    """Kill the daemon of NODE (or @leader, @follower) at once, as kill -9 would."""
    with settings.client() as client:
        found = survey(client)
        views = {view.name: view for view in found}
        try:
            check_names(node, list(views))
            name = resolve(node, found)
        except NoSuchNodeError as error:
            raise click.UsageError(str(error)) from None
        if name not in views:
            raise click.UsageError(f'"{node}": one node at a time; there are {", ".join(views)}')
        client.admin("fault_crash", endpoint=views[name].endpoint)
    text = f"{name} crashes"
    data = {"node": name, "crashing": True}
    settings.show(View(data=data, plain=f"{text}\n".encode(), text=text))


for _each in (add_verb, list_verb, rm_verb, clear_verb, crash_verb, run_verb):
    fault_verb.add_command(_each)


def _report(
    settings: Settings, views: Sequence[NodeView], answers: dict[str, Answer], done: str
) -> None:
    """Say where it was done; exit code 1 if a node was not reached."""
    nodes, done_on, missed = [], [], []
    for view in views:
        answer = answers.get(view.name)
        error = view.error if answer is None else answer.error
        table = {"node": view.name, **trouble(error)}
        nodes.append(table)
        if answer is None or not took(answer):
            missed.append(f"{view.name} ({table['message']})")
            continue
        done_on.append(view.name)
        if "not_saved" in answer.body:
            why = f"after a restart it is back: it could not write: {answer.body['not_saved']}"
            table |= {"error": "not_saved", "message": why}
            missed.append(f"{view.name} ({why})")
    text = f"{done} on {', '.join(done_on) or 'no node'}"
    shown = View(data={"nodes": nodes}, plain=f"{text}\n".encode(), text=text)
    if missed:
        negative(f"{text}; not reached: {', '.join(missed)}", shown)
    settings.show(shown)
