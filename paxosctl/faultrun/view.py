"""Fault rules in words: the table of every node's plan, and one rule in a line."""

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("node", "fault", "kind", "where", "how", "left", "hits")
OPTIONAL = ("left", "how", "hits", "where")
PLAIN_FIELDS = ("name", "kind", "from", "to", "on", "message_kinds", "probability", "ms",
                "every_ms", "left_ms", "seed", "oneway", "persist", "hits")  # fmt: skip

_BOTH_WAYS = ("partition", "flap")


def cells(node: str, rule: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    left_ms = rule["left_ms"]
    return [
        node,
        rule["name"],
        rule["kind"],
        where(rule),
        how(rule),
        short_ms(left_ms) if left_ms >= 0 else "no end",
        str(rule["hits"]),
    ]


def plain_cells(node: str, rule: Mapping[str, Any]) -> list[str]:
    """The same for programs: every field of a rule, in the order of PLAIN_FIELDS."""
    return [node, *[_plain(rule.get(field, "")) for field in PLAIN_FIELDS]]


def public_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """For ``-o json``: a fault is called ``fault``, as in the logs; no end is null."""
    public = {"fault" if key == "name" else key: value for key, value in rule.items()}
    public["left_ms"] = None if rule["left_ms"] < 0 else rule["left_ms"]
    return public


def where(rule: Mapping[str, Any]) -> str:
    """Which nodes, paths and messages a rule concerns."""
    if rule.get("on"):
        return str(rule["on"])
    both = rule["kind"] in _BOTH_WAYS and not rule.get("oneway")
    path = f"{rule.get('from', '*')} {'↔' if both else '→'} {rule.get('to', '*')}"
    kinds = ",".join(rule.get("message_kinds", ()))
    return f"{path} {kinds}" if kinds else path


def how(rule: Mapping[str, Any]) -> str:
    """How long, how often and how likely."""
    words = []
    if rule.get("ms"):
        words.append(short_ms(rule["ms"]))
    if rule.get("every_ms"):
        words.append(f"each {short_ms(rule['every_ms'])}")
    if rule.get("probability", 1.0) < 1.0:
        words.append(f"p {rule['probability']:g}")
    if rule.get("persist"):
        words.append("persist")
    return " ".join(words)


def short_ms(ms: int) -> str:
    """``250ms``, ``1.5s``, ``2m``, ``1m30s``, ``1h59m``."""
    if ms < 0:
        return f"-{short_ms(-ms)}"
    if ms < 1000:
        return f"{ms}ms"
    if ms < 60_000:
        return f"{round(ms / 1000, 1):g}s"
    if ms < 3_600_000:
        minutes, seconds = divmod(ms // 1000, 60)
        return f"{minutes}m{seconds}s" if seconds else f"{minutes}m"
    hours, minutes = divmod(ms // 60_000, 60)
    return f"{hours}h{minutes}m" if minutes else f"{hours}h"


def names_of(bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of all rules in these answers to fault_list, sorted."""
    return sorted({rule["name"] for body in bodies for rule in body.get("rules", ())})


def _plain(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
