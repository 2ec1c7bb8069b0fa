"""The cost model as tables in docs/COST_MODEL.md and as pictures, from the results of a run.

What stands between two marks of the page is written anew; the rest of it is for people to write.
"""

import re
import textwrap
from pathlib import Path

from tests.bench import svg
from tests.bench.compare_report import markdown_table, number_words
from tests.bench.cost_figures import OTHER_THREADS, medians
from tests.bench.cost_rows import GROUPS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "COST_MODEL.md"
WIDTH, HEIGHT, BAR = 900, 260, 34
MARKS = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->\n)", re.S)
PARTS = {
    "receive": ("receive", "check"),
    "core": ("propose", "accept", "count votes", "apply", "rest of the core"),
    "log": ("append", "commit", "sync"),
    "send": ("send", "publish vote", "answer", "watchers"),
    "loop": ("wait", "background", "deadlines", "house-keeping", "rest of the turn"),
    "ZeroMQ": (OTHER_THREADS,),
}
"""Parts of the bars: their stages."""
CURVES = {
    "cost": ("µs of processor time a put", {"leader": "leader_us", "follower": "follower_us",
                                            "client": "client_us"}),
    "p50": ("latency of a put, ms", {"p50": "p50_ms", "p99": "p99_ms"}),
}  # fmt: skip
SYSCALLS_SHOWN = 8
LINE_CHARS_MAX = 120
COUNTS = {
    "turns of the loop": "rest of the turn",
    "frames to peers, heartbeats too": "send",
    "votes published": "publish vote",
    "frames of votes taken in": "count votes",
    "answers to clients": "answer",
    "appends to the log": "append",
    "syncs": "sync",
}
"""What is counted → the stage whose calls say it."""


def group_named(name):
    return next(group for group in GROUPS if group.name == name)


def title_of(group, x):
    """The words of the point there."""
    return next((point.title for point in group.points if point.x == x), f"{x:,}")


def load_table(found, name):
    """(head, rows): what the points of a group cost."""
    group = group_named(name)
    head = [group.x_label, "puts/s", "p50", "p99", "leader", "follower", "client", "puts a slot",
            "fsyncs a put: leader, follower", "turns a put: leader, follower", "RSS"]  # fmt: skip
    rows = []
    for x, each in medians(found, name).items():
        rows.append([
            title_of(group, x), f"{each['per_s']:,.0f}", number_words(each["p50_ms"], "p50_ms"),
            number_words(each["p99_ms"], "p99_ms"), f"{each['leader_us']:,.0f} µs",
            f"{each['follower_us']:,.0f} µs", f"{each['client_us']:,.0f} µs",
            f"{each['puts_a_slot']:.3g}",
            f"{each['leader_syncs']:.2g}, {each['follower_syncs']:.2g}",
            f"{each['leader_turns']:.2g}, {each['follower_turns']:.2g}",
            f"{each['rss_mib']:,.0f} MiB",
        ])  # fmt: skip
    return head, rows


def stage_table(found, name="stages"):
    """(head, rows): processor time of each stage for one put, leader and follower; of the syncs
    the time that they took, too."""
    head, points = _stage_head(found, name)
    rows = []
    for stage in next(iter(points))["leader_stages"]:
        cells = [stage]
        for stages in _by_role(points):
            _, cpu_us, wall_us = stages[stage]
            cells.append(_us(cpu_us) + (f" (took {_us(wall_us)})" if stage == "sync" else ""))
        rows.append(cells)
    whole = [_us(sum(us for _, us, _ in stages.values())) for stages in _by_role(points)]
    return head, [*rows, ["all of it", *whole]]


def count_table(found, name="stages"):
    """(head, rows): how often it is done for one put, whatever the machine."""
    head, points = _stage_head(found, name)
    rows = []
    for title, stage in COUNTS.items():
        counts = [f"{stages[stage][0]:.2g}" for stages in _by_role(points)]
        rows.append([title, *counts])
    return head, rows


def _stage_head(found, name):
    group, points = group_named(name), medians(found, name)
    head = ["stage"]
    for x in points:
        head += [f"{title_of(group, x)}: leader", "follower"]
    return head, points.values()


def _by_role(points):
    return [each[f"{role}_stages"] for each in points for role in ("leader", "follower")]


def _us(value):
    return f"{value:,.0f} µs" if value >= 10 else f"{value:.2g} µs"


def syscall_table(found, name="syscalls"):
    """(head, rows): the most frequent system calls for one put, and for one slot."""
    group = group_named(name)
    rows = []
    for x, each in medians(found, name).items():
        for role in ("leader", "follower"):
            calls, slot = each[role], each[f"{role}_puts_a_slot"]
            most = sorted(calls.keys() - {"total"}, key=lambda call: -calls[call])
            words = ", ".join(f"{call} {calls[call]:.2g}" for call in most[:SYSCALLS_SHOWN])
            rows.append([title_of(group, x), role, f"{calls['total']:.3g}",
                         f"{calls['total'] * slot:.3g}", words])  # fmt: skip
    return ["load", "node", "calls a put", "calls a slot", "the most frequent, a put"], rows


def state_table(found, name="state"):
    """(head, rows): the state machine alone."""
    rows = [
        [f"{x:,}", f"{each['again_us']:.2f} µs", f"{each['new_us']:.2f} µs",
         f"{each['bytes_a_key']:.0f}"]
        for x, each in medians(found, name).items()
    ]  # fmt: skip
    return ["keys", "put of a key that is there", "put of a new key", "bytes a key"], rows


def conditions(found, name):
    """A sentence on how the group was measured, and what failed in it."""
    machine = found["machine"]
    words = [
        f"Commit {found['commit']}, median of {found['rounds']} runs of {found['seconds']:g} s; "
        f"{machine['cores']} cores ({machine['processor']}), Linux {machine['kernel']}, Python "
        f"{machine['python']}, {machine['filesystem']}; 4 KiB with fdatasync: "
        f"{machine['sync_ms']} ms; load average {machine['load_before']} before, "
        f"{machine['load_after']} after."
    ]
    words += [
        f"Not measured: {each['message']}." for each in found["failures"] if each["group"] == name
    ]
    return words


TABLES = {"stages": stage_table, "syscalls": syscall_table, "state": state_table}


def section(found, name):
    """What stands between the marks of a group."""
    if not medians(found, name):
        return "Not measured yet.\n"
    head, rows = TABLES[name](found) if name in TABLES else load_table(found, name)
    group = group_named(name)
    picture = "" if name == "syscalls" else f"![{group.title}]({picture_name(name)})\n\n"
    text = f"{picture}{markdown_table(head, rows)}\n\n"
    if name == "stages":
        text += f"{markdown_table(*count_table(found))}\n\n"
    said = [textwrap.fill(words, LINE_CHARS_MAX) for words in conditions(found, name)]
    return text + "\n\n".join(said) + "\n"


def picture_name(name):
    return f"cost-{name}.svg"


def curves(found, name):
    """The picture of a group of loads: cost beside latency, as they grow."""
    group, points = group_named(name), medians(found, name)
    words = {x: title_of(group, x) for x in points}
    parts = []
    for place, (title, lines) in enumerate(CURVES.values()):
        series = {
            label: [(x, each[field]) for x, each in points.items() if each[field] > 0]
            for label, field in lines.items()
        }
        box = (place * WIDTH / 2, 0, WIDTH / 2, HEIGHT)
        series = {label: line for label, line in series.items() if line}
        parts += svg.line_chart(title, group.x_label, series, box, x_words=words)
    return svg.document(parts, WIDTH, HEIGHT)


def state_curves(found):
    points = medians(found, "state")
    lines = {"key is there": "again_us", "new key": "new_us"}
    series = {label: [(x, each[field]) for x, each in points.items()]
              for label, field in lines.items()}  # fmt: skip
    memory = {"memory": [(x, each["bytes_a_key"]) for x, each in points.items()]}
    return svg.document(
        svg.line_chart("µs a put", "keys", series, (0, 0, WIDTH / 2, HEIGHT))
        + svg.line_chart("bytes a key", "keys", memory, (WIDTH / 2, 0, WIDTH / 2, HEIGHT)),
        WIDTH, HEIGHT,
    )  # fmt: skip


def stage_bars(found):
    group, bars = group_named("stages"), []
    for x, each in medians(found, "stages").items():
        for role in ("leader", "follower"):
            stages = each[f"{role}_stages"]
            cells = [
                (part, sum(stages[stage][1] for stage in of_part if stage in stages))
                for part, of_part in PARTS.items()
            ]
            bars.append((f"{title_of(group, x)}: {role}", cells))
    height = 60 + BAR * len(bars)
    title = "Processor time of a put, by part of a daemon"
    return svg.document(
        svg.stacked_bars(title, bars, (0, 0, WIDTH, height), unit="µs"), WIDTH, height
    )


def picture(found, name):
    """The SVG of a group."""
    if name == "stages":
        return stage_bars(found)
    return state_curves(found) if name == "state" else curves(found, name)


def write_page(found, page=PAGE):
    """Write the tables of what was measured into the page, and draw its pictures beside it."""
    text = page.read_text(encoding="utf-8")
    page.write_text(
        MARKS.sub(lambda mark: mark[1] + section(found, mark[2]) + mark[3], text), encoding="utf-8"
    )
    for group in GROUPS:
        if group.name != "syscalls" and medians(found, group.name):
            target = page.parent / picture_name(group.name)
            target.write_text(picture(found, group.name), encoding="utf-8")
