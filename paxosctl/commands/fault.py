"""fault: failures on purpose, on every node at a time; refused unless the nodes allow them."""

from typing import Any

import click

from paxosctl.app import Duration, Settings, global_options, negative, verb
from paxosctl.cluster import Answer, NodeView, ask_all, survey
from paxosctl.errors import RefusedError
from paxosctl.render import View

COLUMNS = ("node", "name", "kind", "from", "to", "messages", "probability", "ms", "left", "hits")


@click.group("fault")
def _fault() -> None:
    """Failures on purpose: drop, delay, partition, crash.

    Refused with exit code 77 unless the nodes run with [faults] enabled = true.
    """


fault_verb = global_options(_fault)


@verb("add")
@click.argument("name")
@click.option("--kind", required=True, help="drop, delay or partition.")
@click.option("--from", "from_", default="*", help="Sending nodes, with commas.  [default: any]")
@click.option("--to", default="*", help="Receiving nodes, with commas.  [default: any]")
@click.option("--message-kind", multiple=True, help="Only messages of this kind; repeatable.")
@click.option("--probability", type=float, default=1.0, help="Of a hit, above 0, at most 1.")
@click.option("--ms", type=int, default=0, help="For delay: how long.")
@click.option("--for", "for_", type=Duration(), help="Heal by itself after this, such as 30s.")
@click.option("--seed", type=int, default=0, help="Of the random hits.")
@click.option("--oneway", is_flag=True, help="For partition: cut FROM → TO only.")
def add_verb(
    settings: Settings,
    name: str,
    kind: str,
    from_: str,
    to: str,
    message_kind: tuple[str, ...],
    probability: float,
    ms: int,
    for_: int | None,
    seed: int,
    oneway: bool,
) -> None:
    """Add the fault NAME on every node. If one refuses it, it is taken back everywhere."""
    args: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "from": from_,
        "to": to,
        "message_kinds": list(message_kind),
        "probability": probability,
        "ms": ms,
        "for_ms": for_ or 0,
        "seed": seed,
        "oneway": oneway,
    }
    with settings.client() as client:
        views = survey(client)
        answers = _ask(client, views, "fault_add", args)
        refusal = _refusal(answers)
        if refusal is not None:
            done = [view.endpoint for view in views if _took(answers.get(view.name))]
            ask_all(client, done, "fault_rm", {"name": name})
            raise refusal
    _report(settings, views, answers, f"fault {name} added")


@verb("list")
def list_verb(settings: Settings) -> None:
    """The faults of every node, with their hits."""
    with settings.client() as client:
        views = survey(client)
        answers = _ask(client, views, "fault_list", {})
    nodes = []
    rows = []
    for view in views:
        answer = answers.get(view.name)
        if answer is None or answer.error is not None:
            why = view.why if answer is None else str(answer.error)
            nodes.append({"node": view.name, "error": why})
            rows.append([view.name, f"({why})", *[""] * (len(COLUMNS) - 2)])
            continue
        nodes.append({"node": view.name, **answer.body})
        rows.extend([_row(view.name, rule) for rule in answer.body["rules"]])
    text = "" if rows else "no faults"
    settings.show(
        View(
            data=nodes,
            plain="".join(["\t".join(map(str, row)) + "\n" for row in rows]).encode(),
            columns=COLUMNS if rows else (),
            rows=rows,
            text=text,
        )
    )


@verb("rm")
@click.argument("name")
def rm_verb(settings: Settings, name: str) -> None:
    """Remove the fault NAME from every node that has it. Exit code 1 if none has."""
    with settings.client() as client:
        views = survey(client)
        listed = _ask(client, views, "fault_list", {})
        having = [
            view
            for view in views
            if view.name in listed
            and any(rule["name"] == name for rule in listed[view.name].body.get("rules", ()))
        ]
        if not having:
            names = sorted({r["name"] for a in listed.values() for r in a.body.get("rules", ())})
            known = f"there are {', '.join(names)}" if names else "there is none at all"
            negative(f'no node has a fault "{name}"; {known}')
        answers = _ask(client, having, "fault_rm", {"name": name})
        refusal = _refusal(answers)
        if refusal is not None:
            raise refusal
    _report(settings, having, answers, f"fault {name} removed")


@verb("clear")
def clear_verb(settings: Settings) -> None:
    """Remove every fault from every node."""
    with settings.client() as client:
        views = survey(client)
        answers = _ask(client, views, "fault_clear", {})
        refusal = _refusal(answers)
        if refusal is not None:
            raise refusal
    count = sum(answer.body.get("removed", 0) for answer in answers.values())
    _report(settings, views, answers, f"{count} fault rules removed")


@verb("crash")
@click.argument("node")
def crash_verb(settings: Settings, node: str) -> None:
    """Kill the daemon of NODE at once, as kill -9 would."""
    with settings.client() as client:
        views = {view.name: view for view in survey(client)}
        if node not in views:
            raise click.UsageError(f'there is no node "{node}"; there are {", ".join(views)}')
        client.admin("fault_crash", endpoint=views[node].endpoint)
    text = f"{node} crashes"
    settings.show(View(data={"crashing": node}, plain=f"{text}\n".encode(), text=text))


for _each in (add_verb, list_verb, rm_verb, clear_verb, crash_verb):
    fault_verb.add_command(_each)


def _ask(
    client: Any, views: list[NodeView], verb_name: str, args: dict[str, Any]
) -> dict[str, Answer]:
    """Node name → answer, of the nodes that can be reached."""
    names = {view.endpoint: view.name for view in views if view.status is not None}
    return {names[at]: answer for at, answer in ask_all(client, names, verb_name, args).items()}


def _took(answer: Answer | None) -> bool:
    return answer is not None and answer.error is None


def _refusal(answers: dict[str, Answer]) -> RefusedError | None:
    for name, answer in answers.items():
        error = answer.error
        if isinstance(error, RefusedError):
            return RefusedError(error.code, f"{name}: {error}", error.troubles)
    return None


def _report(
    settings: Settings, views: list[NodeView], answers: dict[str, Answer], done: str
) -> None:
    """Say where it was done; exit code 1 if a node was not reached."""
    nodes = []
    missed = []
    for view in views:
        answer = answers.get(view.name)
        if _took(answer):
            nodes.append(view.name)
        else:
            missed.append(f"{view.name} ({view.why if answer is None else answer.error})")
    text = f"{done} on {', '.join(nodes) or 'no node'}"
    shown = View(data={"nodes": nodes, "missed": missed}, plain=f"{text}\n".encode(), text=text)
    if missed:
        negative(f"{text}; not reached: {', '.join(missed)}", shown)
    settings.show(shown)


def _row(node: str, rule: dict[str, Any]) -> list[Any]:
    left_ms = rule["left_ms"]
    return [
        node,
        rule["name"],
        rule["kind"] + (" oneway" if rule["oneway"] else ""),
        rule["from"],
        rule["to"],
        ",".join(rule["message_kinds"]) or "*",
        rule["probability"],
        rule["ms"] or "",
        f"{left_ms / 1000:.1f} s" if left_ms >= 0 else "until removed",
        rule["hits"],
    ]
