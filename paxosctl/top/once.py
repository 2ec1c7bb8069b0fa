"""One look at the cluster, as text or for programs: two surveys, so that there are rates."""

import sys
import time
from typing import Any

from rich.text import Text

from paxosctl.cli.health import role_of
from paxosctl.cli.public_names import ballot_text, trouble
from paxosctl.cli.render import View as Answer
from paxosctl.cli.survey import leader_of, survey
from paxosctl.cli.tables import terminal_width
from paxosctl.client.client import Client
from paxosctl.faultrun.nodes import ask
from paxosctl.faultrun.view import public_rule
from paxosctl.top.figures import BARS
from paxosctl.top.model import Model, Node, Sighting
from paxosctl.top.screens import Frame, draw
from paxosctl.top.view import View

PIPE_WIDTH = 140
"""Where the lines go to no terminal."""


def look(client: Client, interval_s: float) -> Model:
    """Look twice, ``interval_s`` apart. Raises the error of the first endpoint if no node
    answers."""
    model = Model()
    for is_last in (False, True):
        begun_s = time.monotonic()
        views = survey(client)
        for view in views:
            seen = Sighting(view.name, view.endpoint, view.status, view.error, time.monotonic())
            model.take(seen, time.strftime("%H:%M:%S"))
        if not is_last:
            left_s = begun_s + interval_s - time.monotonic()
            client.pause(int(max(0.0, left_s) * 1000))
    having = [view for view in views if view.status is not None and view.status.fault_count]
    for name, answer in (ask(client, having, "fault_list", {}) if having else {}).items():
        model.take_rules(name, tuple(answer.body.get("rules", ())))
    model.end_round()
    return model


def answer(model: Model, interval_s: float, bars: str = BARS) -> Answer:
    """The screen of the nodes, without what concerns keys."""
    width = terminal_width(sys.stdout) or PIPE_WIDTH
    frame = Frame(width=width, height=0, wall=time.strftime("%H:%M:%S"), interval_s=interval_s,
                  bars=bars, keys=False)  # fmt: skip
    lines: list[Text] = draw(model, View(), frame)
    leader, _ = leader_of(model.views)
    nodes = [_public(node) for node in model.nodes.values()]
    return Answer(
        data={
            "leader": leader or None,
            "survives": model.survives,
            "writes_per_s": round(model.writes_per_s, 1),
            "reads_per_s": round(model.reads_per_s, 1),
            "troubles": model.troubles(),
            "nodes": nodes,
        },
        plain="".join("\t".join(map(_field, each.values())) + "\n" for each in nodes).encode(),
        text="\n".join(line.plain.rstrip() for line in lines),
    )


def _public(node: Node) -> dict[str, Any]:
    status, rates = (node.status if node.answers else None), node.rates
    p99_us = rates.sync_p99_us if rates is not None else None
    return {
        "node": node.name,
        "client": node.endpoint,
        "reachable": status is not None,
        **trouble(None if status is not None else node.error),
        "role": role_of(status) if status is not None else None,
        "ballot": ballot_text(status.ballot) if status is not None else None,
        "commit": status.commit if status is not None else None,
        "applied": status.applied if status is not None else None,
        "lag_slots": status.lag_slots if status is not None else None,
        "writes_per_s": round(rates.writes, 1) if rates is not None else None,
        "reads_per_s": round(rates.reads, 1) if rates is not None else None,
        "requests_per_s": round(rates.requests, 1) if rates is not None else None,
        "fsync_p99_ms": round(p99_us / 1000, 3) if p99_us is not None else None,
        "cpu": round(rates.cpu, 3) if rates is not None else None,
        "rss_bytes": status.rss_bytes if status is not None else None,
        "faults": [public_rule(rule) for rule in node.rules],
    }


def _field(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(rule["fault"]) for rule in value)
    return "" if value is None else str(value).replace("\t", " ").replace("\n", " ")
