"""What a person has chosen to see, and what each key does to that. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from paxosctl.top.model import Model, Node

SORTS = ("node", "role", "lag", "writes", "requests", "fsync", "cpu", "memory")
"""By what the nodes are sorted; ``s`` goes on to the next."""

_KEYS = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up", "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\r": "enter", "\n": "enter", "\x1b": "escape", "\x7f": "escape", "\x08": "escape",
    " ": "pause", "p": "pause", "q": "quit", "Q": "quit", "s": "sort", "f": "faults", "?": "help",
    "h": "help", "y": "yes", "Y": "yes", "n": "no", "N": "no", "x": "end", "d": "end",
    "\x1b[3~": "end", "\x0c": "redraw",
}  # fmt: skip
_TYPED = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)


def keys_of(typed: bytes) -> list[str]:
    """The names of the keys that a terminal sent; others are left out."""
    found = _TYPED.findall(typed.decode("utf-8", "replace"))
    return [_KEYS[each] for each in found if each in _KEYS]


class Screen(Enum):
    """What fills the terminal."""

    NODES = "nodes"
    NODE = "node"
    FAULTS = "faults"
    HELP = "help"


class Wish(NamedTuple):
    """What a key asks for beyond the screen. ``end_fault``: the rule to end, "": none."""

    quit: bool = False
    end_fault: str = ""


NOTHING = Wish()


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """``selected``: the node; ``fault``: the rule. ``asked``: the rule that is to end once that is
    confirmed; "": nothing is asked."""

    screen: Screen = Screen.NODES
    selected: str = ""
    fault: str = ""
    sort: str = SORTS[0]
    paused: bool = False
    asked: str = ""


def ordered(model: Model, sort: str) -> list[Node]:
    """The nodes as they are listed: names ascend, figures descend, silent nodes come last by a
    figure."""

    def figure(node: Node) -> float:
        status, rates = node.status, node.rates
        if status is None or not node.answers:
            return -1.0
        if sort in ("lag", "memory", "role"):
            shown = {"lag": status.lag_slots, "memory": status.rss_bytes,
                     "role": status.role == "leader"}  # fmt: skip
            return float(shown[sort])
        if rates is None:
            return 0.0
        return {"writes": rates.writes, "requests": rates.requests, "cpu": rates.cpu,
                "fsync": rates.sync_p99_us or 0.0}.get(sort, 0.0)  # fmt: skip

    nodes = list(model.nodes.values())
    return nodes if sort == "node" else sorted(nodes, key=figure, reverse=True)


def fault_names(model: Model) -> list[str]:
    """The rules of all nodes, each once."""
    return sorted({str(rule["name"]) for node in model.nodes.values() for rule in node.rules})


def settled(view: View, model: Model) -> View:
    """The same, with a selection that is there."""
    nodes = [node.name for node in ordered(model, view.sort)]
    faults = fault_names(model)
    if view.selected not in nodes:
        view = replace(view, selected=nodes[0] if nodes else "")
    if view.fault not in faults:
        view = replace(view, fault=faults[0] if faults else "")
    if view.asked not in faults:
        view = replace(view, asked="")
    return view


def press(view: View, key: str, model: Model) -> tuple[View, Wish]:
    """What is seen after a key, and what it asks for."""
    view = settled(view, model)
    if view.asked:
        # Whatever else is pressed means no.
        wish = Wish(end_fault=view.asked) if key == "yes" else NOTHING
        return replace(view, asked=""), wish
    if key == "quit":
        return view, Wish(quit=True)
    if key == "pause":
        return replace(view, paused=not view.paused), NOTHING
    if key in ("help", "faults"):
        wanted = Screen(key)
        return replace(view, screen=Screen.NODES if view.screen is wanted else wanted), NOTHING
    if key == "escape":
        return replace(view, screen=Screen.NODES), NOTHING
    if view.screen is Screen.FAULTS:
        return _among_faults(view, key, model), NOTHING
    return _among_nodes(view, key, model), NOTHING


def _among_nodes(view: View, key: str, model: Model) -> View:
    names = [node.name for node in ordered(model, view.sort)]
    if key in ("up", "down"):
        return replace(view, selected=_moved(names, view.selected, key))
    if key == "enter" and view.screen is Screen.NODES and view.selected:
        return replace(view, screen=Screen.NODE)
    if key == "sort" and view.screen is Screen.NODES:
        return replace(view, sort=SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)])
    return view


def _among_faults(view: View, key: str, model: Model) -> View:
    if key in ("up", "down"):
        return replace(view, fault=_moved(fault_names(model), view.fault, key))
    if key in ("enter", "end") and view.fault:
        return replace(view, asked=view.fault)
    return view


def _moved(names: Sequence[str], selected: str, key: str) -> str:
    if not names:
        return ""
    at = names.index(selected) if selected in names else 0
    return names[max(0, min(len(names) - 1, at + (1 if key == "down" else -1)))]
