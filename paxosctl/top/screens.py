"""The lines of each screen, as a terminal of a given size shows them. Pure."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

from paxosctl.faultrun.view import how, short_ms, where
from paxosctl.top import columns as table
from paxosctl.top.figures import BARS, milliseconds, per_second, sparkline
from paxosctl.top.model import Model, Node
from paxosctl.top.node_screen import node_lines
from paxosctl.top.view import Screen, View, fault_names, ordered, settled
from paxosd.core.status import NodeStatus
from paxosd.host.printable import escape_controls
from paxosd.host.wording import counted

HEAD, BAD, WARN, GOOD, DIM = "bold", "bold red", "yellow", "green", "dim"
EVENTS_MIN = 4
TROUBLES_MAX = 3
NAME_MAX = 20
WIDE = 100
"""From so many columns on there is room for all that the head can say."""
HELP = """\
up, down, j, k   select a node, or a fault
Enter            look at the selected node; on faults: end the selected one
Esc              back to the nodes
f                the fault rules of all nodes; x or Enter ends one, after a question
s                sort the nodes by the next column (the title names it)
p, Space         pause, and go on
?                this help
q, Ctrl-C        quit; Ctrl-Z stops the view, fg goes on

WRITES/S  revisions that the node applied; the picture has the last seconds
REQ/S     requests that came to this node, this view's own included
FSYNC99   one in a hundred group commits since the last look took as long
LAG       slots that the node has yet to apply
A node that does not answer keeps its line, and delays nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What a screen is drawn for. ``height`` 0: as many lines as there are."""

    width: int
    height: int
    wall: str
    interval_s: float
    bars: str = BARS
    keys: bool = True
    """Whether there is a line that names the keys."""


def draw(model: Model, view: View, frame: Frame) -> list[Text]:
    """Exactly ``height`` lines, none longer than ``width``."""
    view = settled(view, model)
    lines = list(_head(model, view, frame))
    room = frame.height - len(lines) - (1 if frame.keys else 0)
    if view.screen is Screen.HELP:
        lines += map(Text, HELP.splitlines())
    elif view.screen is Screen.FAULTS:
        lines += _faults(model, view, frame)
    elif view.screen is Screen.NODE and view.selected in model.nodes:
        lines += node_lines(model.nodes[view.selected], model, frame.width, frame.bars)
    else:
        lines += _nodes(model, view, frame, room)
    lines = [_cut(line, frame.width) for line in lines]
    if not frame.height:
        return lines
    last = [_cut(_foot(view, frame), frame.width)] if frame.keys else []
    lines = lines[: frame.height - len(last)]
    return lines + [Text("")] * (frame.height - len(lines) - len(last)) + last


def _cut(line: Text, width: int) -> Text:
    line = line.copy()
    if not line.plain.isprintable():
        line = Text(escape_controls(line.plain, ""), style=line.style)
    line.truncate(width, overflow="ellipsis")
    return line


# -- head and foot


def _head(model: Model, view: View, frame: Frame) -> Iterator[Text]:
    leader, survives = model.leader, model.survives
    known = next(iter(model.statuses), None)
    first = Text()
    first.append(f"cluster {known.cluster}" if known else "paxosctl top", HEAD)
    if leader is not None:
        ballot = f", ballot {leader.ballot.shown()}" if frame.width >= WIDE else ""
        first.append(f"   {leader.node} leads{ballot}", GOOD)
    else:
        first.append("   no leader", BAD)
    up = sum(node.answers for node in model.nodes.values())
    first.append(f"   {up} of {counted(len(model.nodes), 'node')} up",
                 "" if up == len(model.nodes) else BAD)  # fmt: skip
    words = "nothing can be written" if survives is None else f"survives {survives}"
    first.append(f"   {words}", BAD if survives is None else "" if survives else WARN)
    first.append(_right(first, "PAUSED  " if view.paused else "", frame))
    yield first
    yield _figures(model, frame)
    yield Text("")


def _right(line: Text, mark: str, frame: Frame) -> Text:
    """The time of day at the right edge."""
    words = f"{mark}{frame.wall}"
    blanks = frame.width - line.cell_len - len(words)
    return Text(f"{' ' * max(2, blanks)}{words}", style=WARN if mark else DIM)


def _figures(model: Model, frame: Frame) -> Text:
    syncs = [node.rates.sync_p99_us for node in model.nodes.values()
             if node.answers and node.rates and node.rates.sync_p99_us is not None]  # fmt: skip
    newest: NodeStatus | None = max(model.statuses, key=lambda each: each.applied, default=None)
    faults = len(fault_names(model)) or max((s.fault_count for s in model.statuses), default=0)
    line = Text(f"writes {per_second(model.writes_per_s)}/s   reads {per_second(model.reads_per_s)}"
                f"/s   fsync p99 {milliseconds(max(syncs, default=None))}")  # fmt: skip
    line.append(f"   faults {faults}", BAD if faults else "")
    if newest is not None:
        line.append(f"   keys {newest.keys:,}")
        if frame.width >= WIDE:
            line.append(f"   epoch {newest.epoch}   level {newest.feature_level}")
    room = frame.width - line.cell_len - 3
    if room >= 8:
        picture = sparkline(list(model.operations), min(room, 60), bars=frame.bars)
        line.append(f"   {picture}", "cyan")
    return line


def _foot(view: View, frame: Frame) -> Text:
    if view.asked:
        return Text(f"end fault {view.asked} on every node that has it? y: yes, any other key: no",
                    style="bold reverse")  # fmt: skip
    words = {
        Screen.NODES: f"q quit  Space pause  s sort ({view.sort})  ↑↓ select  Enter node  f faults"
        "  ? help",
        Screen.NODE: "q quit  Esc back  ↑↓ other node  Space pause  f faults  ? help",
        Screen.FAULTS: "q quit  Esc back  ↑↓ select  x end it  Space pause  ? help",
        Screen.HELP: "q quit  Esc back",
    }[view.screen]
    if frame.bars != BARS:
        words = words.replace("↑↓", "j/k")
    return Text(words, style="reverse")


# -- the nodes


def _nodes(model: Model, view: View, frame: Frame, room: int) -> Iterator[Text]:
    nodes = ordered(model, view.sort)
    name_width = min(NAME_MAX, max([4, *(len(node.name) for node in nodes)]))
    chosen, trend = table.chosen(frame.width, name_width)
    head = ["NODE".ljust(name_width), *(table.fitted(each.title, each) for each in chosen)]
    yield Text("  " + "  ".join(head), style="reverse" if frame.keys else HEAD)
    troubles = _troubles(model, frame, room - len(nodes))
    shown = nodes
    if frame.height:
        events = min(EVENTS_MIN, len(model.events))
        most = max(1, room - 1 - len(troubles) - events - 2)
        shown = _window(nodes, view.selected, most)
    for node in shown:
        yield _node(node, model, view, frame, name_width, chosen, trend)
    left_out = len(nodes) - len(shown)
    yield Text(f"  and {counted(left_out, 'more node')}" if left_out else "", style=DIM)
    for words in troubles:
        yield Text(words, style=BAD)
    yield Text("last events" if model.events else "no event since this view began", style=HEAD)
    for event in model.events:
        yield Text.assemble((f"  {event.wall}  ", DIM), event.words)


def _troubles(model: Model, frame: Frame, room: int) -> list[str]:
    """What is wrong, in whole sentences as far as there is room; else the beginning of each, for
    that says who it is."""
    troubles = model.troubles()
    width = max(NAME_MAX, frame.width)
    lines = [
        line
        for words in troubles
        for line in textwrap.wrap(words, width, initial_indent="! ", subsequent_indent="  ")
    ]
    if frame.height and len(lines) > max(TROUBLES_MAX, room - EVENTS_MIN - 3):
        lines = [f"! {words}" for words in troubles[:TROUBLES_MAX]]
        if len(troubles) > TROUBLES_MAX:
            lines[-1] = f"! and {len(troubles) - TROUBLES_MAX + 1} more: paxosctl status --cluster"
    return lines


def _window(nodes: list[Node], selected: str, most: int) -> list[Node]:
    """As many as there is room for, the selected one among them."""
    at = next((place for place, node in enumerate(nodes) if node.name == selected), 0)
    first = max(0, min(at - most // 2, len(nodes) - most))
    return nodes[first : first + most]


def _node(
    node: Node,
    model: Model,
    view: View,
    frame: Frame,
    name_width: int,
    chosen: Sequence[table.Column],
    trend: int,
) -> Text:
    is_selected = frame.keys and node.name == view.selected
    name = node.name if len(node.name) <= name_width else f"{node.name[: name_width - 1]}…"
    line = Text(f"{'>' if is_selected else ' '} {name.ljust(name_width)}")
    if not node.answers or node.status is None:
        since = "" if node.silent_s is None else f" for {model.now_s - node.silent_s:.0f} s"
        line.append(f"  no answer{since}: {node.error or 'it is being asked'}", BAD)
    else:
        for column, cell in zip(chosen, table.cells(node, chosen), strict=True):
            line.append("  ")
            line.append(cell, _style(column.title, node.status))
        line.append("  ")
        line.append(sparkline(list(node.writes), trend, bars=frame.bars), "cyan")
    if is_selected:
        line.stylize("bold")
    return line


_ROLES = {"leader": GOOD, "follower": "", "learner": "", "candidate": WARN, "returning": WARN,
          "catching-up": WARN}  # fmt: skip


def _style(title: str, status: NodeStatus) -> str:
    if title == "ROLE":
        return _ROLES.get(status.role, BAD)
    if (title == "FAULTS" and status.fault_count) or (title == "LAG" and status.lag_slots > 1000):
        return BAD
    return WARN if title == "FREE" and status.node in status.low_space else ""


# -- faults


def _faults(model: Model, view: View, frame: Frame) -> Iterator[Text]:
    names = fault_names(model)
    if not names:
        counted_only = [s.node for s in model.statuses if s.fault_count]
        if counted_only:
            yield Text(f"rules at work on {', '.join(counted_only)}; asking which")
            return
        enabled = any(status.faults_enabled for status in model.statuses)
        yield Text("no fault rules" if enabled else "no fault rules; these nodes take none")
        return
    widths = (max(5, *map(len, names)), 11, 14, 14, 7, 6)
    yield Text("  " + _row(("FAULT", "KIND", "WHERE", "HOW", "LEFT", "HITS", "NODES"), widths),
               style="reverse")  # fmt: skip
    for name in names:
        rules = {node.name: rule for node in model.nodes.values()
                 for rule in node.rules if rule["name"] == name}  # fmt: skip
        first = next(iter(rules.values()))
        left_ms = max(rule["left_ms"] for rule in rules.values())
        left = "no end" if left_ms < 0 else short_ms(left_ms // 1000 * 1000)
        hits = str(sum(rule["hits"] for rule in rules.values()))
        cells = (name, first["kind"], where(first), how(first), left, hits, " ".join(rules))
        mark = ">" if name == view.fault else " "
        yield Text(f"{mark} {_row(cells, widths)}", style="bold" if name == view.fault else "")


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    fixed = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*fixed, *cells[len(widths) :]])
