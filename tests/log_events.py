"""docs/LOGS.md: every event of the log with its levels and fields, taken from the source.

    python -m tests.log_events      makes the table of the page anew

An event's calls are found in the syntax tree: ``log.warning("bus.lossy", to=name)``,
``outbox.notice("member.down", "warning", …)``. Where a call is made with what a function put
together, all events and all fields that the function names are taken. A test compares the page.
"""

import ast
from collections import defaultdict
from pathlib import Path

from paxosd.core.status import Misfit
from paxosd.daemon.logs import VOCABULARY

PAGE = Path(__file__).parents[1] / "docs" / "LOGS.md"
FIRST_LINE = "| event | level | fields | what it says |"
SOURCE = Path(__file__).parents[1] / "paxosd"
ELSEWHERE = ("sim", "dev")
"""Packages whose lines are no daemon's."""
CALLS = {"debug": "debug", "trace": "debug", "info": "info", "notice": "info", "_say": "",
         "warning": "warning", "error": "error", "exception": "error", "_report_rule": "warning",
         "_hit": "warning"}  # fmt: skip
LEVELS = ("debug", "info", "warning", "error")
SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17}
"""Level → the SeverityNumber of OpenTelemetry's log data model."""
OPENTELEMETRY = {
    "ts": "Timestamp (data model)",
    "level": "SeverityText, SeverityNumber (data model)",
    "event": "EventName (data model)",
    "node": "service.instance.id (resource)",
    "cluster": "service.namespace (resource)",
    "version": "service.version (resource)",
    "pid": "process.pid (resource)",
    "exit_code": "process.exit.code",
    "session": "session.id",
    "host": "dns.question.name",
    "addresses": "dns.answers",
    "address": "network.peer.address",
    "endpoint": "server.address, server.port",
    "error": "exception.message",
    "exc_info": "exception.stacktrace",
    "code": "error.type",
    "errno": "error.type",
}
"""Field → the attribute of OpenTelemetry's semantic conventions that means the same."""
ALIKE = {"version": ("node.starting",)}
"""Field → the events on which it means that, where it does not on all."""
ON_EVERY_LINE = ("ts", "level", "event", "node", "boot_count", "seq", "mono_ns")
REFUSED = ("reason", "source", "count")
"""What ``bus/refusal_log.py`` adds."""
MORE = {
    # what is logged with fields that another function makes, or under a name that it hands on
    "fault.added": ("warning", ("hits", "fault", "kind")),
    "fault.hit": ("warning", ("hits", "fault", "kind")),
    "fault.healed": ("warning", ("hits", "fault", "kind", "reason")),
    "log.level": ("info", ("from", "to", "for_ms")),
    "prevote.received": ("debug", ("ballot", "from")),
    "prepare.received": ("debug", ("ballot", "from")),
    "promise.received": ("debug", ("ballot", "from")),
    "nack.received": ("debug", ("ballot", "from")),
    "bus.doubled": ("warning", (*REFUSED, "detail", "address")),
    "bus.other_genesis": ("warning", (*REFUSED, "detail", "address")),
    "storage.run_unwritten": ("warning", (*REFUSED, "detail", "address")),
    "bus.stale_run": ("warning", (*REFUSED, "detail", "address", "sender_boot_count",
                                  "highest_boot_count")),
    "bus.refused": ("warning", (*REFUSED, "detail")),
    "bus.paced": ("warning", (*REFUSED, "pause_ms")),
    "bus.send_failed": ("warning", (*REFUSED, "to")),
    "bus.handshake": ("warning", (*REFUSED, "detail")),
    "bus.client_slow": ("warning", (*REFUSED, "waiting_bytes", "waiting_bytes_of_all")),
    "bus.connections_full": ("warning", (*REFUSED, "most", "refused", "advice")),
    "bus.subscribers_slow": ("warning", (*REFUSED, "waiting_bytes", "ended")),
    "storage.scrub_found": ("error", ("segment", "offset", "message")),
    "config.limits_differ": ("warning", (*Misfit._fields, "advice")),
    "slow_request": ("info", ("dur_ms", "what", "session", "first_seq", "commands", "slot",
                              "queue_ms", "persist_ms", "quorum_ms", "apply_ms", "stage",
                              "waited_for", "code", "unlogged")),
}  # fmt: skip
"""Event → level, and fields that stand in no call."""


def strings(node):
    """All events named below a node."""
    return [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and each.value in VOCABULARY
    ]


def keys_of(function, name):
    """The keys that a function puts into the table ``name``, of its own or of those it calls in
    the same file."""
    found = []
    for each in ast.walk(function):
        if isinstance(each, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id == name and each.value:
                    found += literal_keys(each.value)
                if isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == name:
                    found += [k.value for k in [target.slice] if isinstance(k, ast.Constant)]
    return found


def literal_keys(node):
    """The keys of the tables that stand in an expression."""
    keys = []
    for each in ast.walk(node):
        if isinstance(each, ast.Dict):
            keys += [key.value for key in each.keys if isinstance(key, ast.Constant)]
    return keys


def calls_of(path):
    """(event, level, fields) of each call in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    for function in functions:
        for call in ast.walk(function):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            if name not in CALLS or not call.args:
                continue
            place = 1 if name == "_say" and len(call.args) > 1 else 0
            first = call.args[place]
            events = strings(first)
            if isinstance(first, ast.Name):
                events = strings(function)
            fields, open_end = [], False
            for keyword in call.keywords:
                if keyword.arg is not None:
                    fields.append(keyword.arg)
                elif isinstance(keyword.value, ast.Name):
                    more = keys_of(function, keyword.value.id)
                    fields += more
                    open_end = open_end or not more
                else:
                    fields += literal_keys(keyword.value)
            for event in events:
                yield event, level_of(name, call, function, event), fields


def level_of(name, call, function, event):
    """The level of a call; of one that is made for several, all that its function names."""
    if name == "notice" and len(call.args) > 1:
        level = call.args[1]
        found = [
            each.value
            for each in ast.walk(level if not isinstance(level, ast.Name) else function)
            if isinstance(each, ast.Constant) and each.value in LEVELS
        ]
        return tuple(dict.fromkeys(found)) or ("info",)
    if name == "_say":
        level = call.args[0]
        return (level.value,) if isinstance(level, ast.Constant) and level.value in LEVELS else ()
    return (CALLS[name],)


def collect():
    """Event → (levels, fields on every line, fields on some)."""
    found = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] not in ELSEWHERE:
            for event, levels, fields in calls_of(path):
                found[event].append((levels, fields))
    found_all = {}
    for event in VOCABULARY:
        calls = found[event]
        if event in MORE:
            level, fields = MORE[event]
            calls = [((level,), list(fields))]
        levels = {level for each, _ in calls for level in each}
        everywhere = set.intersection(*(set(fields) for _, fields in calls)) if calls else set()
        order = list(dict.fromkeys(field for _, fields in calls for field in fields))
        found_all[event] = (
            [level for level in LEVELS if level in levels],
            [field for field in order if field in everywhere],
            [field for field in order if field not in everywhere],
        )
    return found_all


def table():
    """The table of the page: all of it from its first line on."""
    lines = [FIRST_LINE, "|---|---|---|---|"]
    for event, (levels, always, sometimes) in collect().items():
        fields = [f"`{each}`" for each in always] + [f"[`{each}`]" for each in sometimes]
        words = VOCABULARY[event].replace("|", "\\|")
        lines.append(f"| `{event}` | {', '.join(levels)} | {' '.join(fields)} | {words} |")
    return "\n".join(lines) + "\n"


def opentelemetry():
    """The section of the page on OpenTelemetry's names."""
    severities = ", ".join(f"`{level}` {number}" for level, number in SEVERITY.items())
    lines = [
        "",
        "## The names of OpenTelemetry",
        "",
        "For a collector that is to map the lines: what the data model of logs or a semantic",
        "convention has a name for. The service.name is paxosd. The SeverityNumber of a level:",
        f"{severities}. Other fields have no name there;",
        "their own behind a prefix, such as paxosd, will do.",
        "",
        "| field | in OpenTelemetry | on |",
        "|---|---|---|",
    ]
    events = collect()
    for field, attribute in OPENTELEMETRY.items():
        on = [e for e, (_, always, more) in events.items() if field in (*always, *more)]
        on = [e for e in on if e in ALIKE.get(field, on)]
        where = "every line" if field in ON_EVERY_LINE else ", ".join(f"`{each}`" for each in on)
        lines.append(f"| `{field}` | {attribute} | {where} |")
    return "\n".join(lines) + "\n"


def page():
    """The page with the tables of now; what stands above them stays."""
    head = PAGE.read_text(encoding="utf-8").partition(FIRST_LINE)[0]
    return head + table() + opentelemetry()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
