"""The picture as a static SVG for documents: no scripts, light or dark as the reader has it.

The same columns, shapes and dashes as the page (``page/drawing.js``); what each mark means stands
below, and so does what was left out.
"""

from collections.abc import Iterator
from html import escape as escape_markup

from paxosctl.diagram.arrows import ARRIVED, DOWN_FATE, LOST, UNSENT_FATE, Arrow
from paxosctl.diagram.diagram import Diagram
from paxosctl.diagram.page_data import ballot_in, short, slots_of, what_of
from paxosctl.diagram.vocabulary import (
    ACCEPT_PART,
    CLIENT,
    DISK,
    LEARN,
    NOTE_PART,
    OTHER,
    PHASE1,
    SNAPSHOT,
    VOTE,
    family,
)
from paxosctl.inspection.events import NAMES, detail, event_id, slots_words
from paxosctl.inspection.timeline_view import clock_time
from paxosd.host.printable import escape_controls
from paxosd.recorder.event import PUBLISHED, START, Event

LEFT, TOP, LANE, STEP, STUB = 90, 46, 130, 22, 30
FOOT_LINE = 16
BALLOT_COLOURS = 8
STYLE = """
text{font:11px system-ui,sans-serif;fill:#1b1f24}.n{font-weight:600;font-size:13px}
.m{fill:#57606a}.lane{stroke:#8c959f}.bad{stroke:#b3001b;stroke-width:2;fill:none}
.warn{fill:#a35200}.down{stroke:#8c959f;stroke-dasharray:2 6;stroke-width:1.5}.bg{fill:#fff}
.a{fill:none;stroke-width:1.2}.r{opacity:.22}
.b0{--c:#0072b2}.b1{--c:#d55e00}.b2{--c:#00805d}.b3{--c:#b0508a}.b4{--c:#9a6b00}
.b5{--c:#2b8cbe}.b6{--c:#6b5fb5}.b7{--c:#4d4d4d}.bx{--c:#57606a}
.s{stroke:var(--c)}.f{fill:var(--c)}.o{fill:none;stroke:var(--c);stroke-width:2}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.m{fill:#9aa4af}.bg{fill:#12161b}
.bad{stroke:#ff7b84}.warn{fill:#ffb454}.b0{--c:#56b4e9}.b1{--c:#ff8a4c}.b2{--c:#2fc79a}
.b3{--c:#e29bc4}.b4{--c:#e6b422}.b5{--c:#9ad1ff}.b6{--c:#b7a8ff}.b7{--c:#c8c8c8}}
"""
_DASHES = {PHASE1: "8 4", VOTE: "2 3", LEARN: "9 3 2 3", CLIENT: "1 4", SNAPSHOT: "12 3",
           OTHER: "1 2"}  # fmt: skip
_KEY = (
    "triangle, dashes: prepare and promise · filled circle, line: accept and its vote in the log · "
    "tick: durable · ring, dots: vote published",
    "square: applied, decisions · diamond: client answered · flag: line of the log · cross: lost · "
    "barred circle: receiver down · bar: not sent · triangle on its tip: met a fault, or came "
    "twice; colours and names of bands: ballots",
)


def escape(text: str) -> str:
    """Text of an element: XML has no place for control characters at all."""
    return escape_markup(escape_controls(text, ""))


def svg_picture(diagram: Diagram, title: str) -> str:
    """The whole picture as text."""
    return _Picture(diagram, title).text()


class _Picture:
    def __init__(self, diagram: Diagram, title: str) -> None:
        self._diagram = diagram
        self._title = title
        self._row = {node: row for row, node in enumerate(diagram.nodes)}
        self._ballots: dict[str, int] = {}
        self._width = max(700, LEFT + diagram.width * STEP + STUB + 30)
        self._bottom = TOP + LANE * max(1, len(diagram.nodes))
        self._free: dict[tuple[str, int], float] = {}
        """Row of labels → where the next one has room."""

    def text(self) -> str:
        foot = [*self._diagram.heads, *(f"{each}." for each in self._diagram.left_out), *_KEY]
        height = self._bottom + 26 + FOOT_LINE * len(foot)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {height}" '
            f'width="{self._width}" height="{height}" role="img">',
            f"<title>{escape(self._title)}</title><style>{STYLE}</style>",
            f'<rect class="bg" width="{self._width}" height="{height}"/>',
            f'<text class="n" x="10" y="20">{escape(self._title)}</text>',
            *self._lanes(), *self._times(), *self._reigns(), *self._gaps(), *self._arrows(),
            *self._events(),
        ]  # fmt: skip
        for line, words in enumerate(foot):
            at = self._bottom + 30 + FOOT_LINE * line
            parts.append(f'<text class="m" x="10" y="{at}">{escape(words)}</text>')
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _x(self, place: int) -> int:
        return LEFT + self._diagram.columns[place] * STEP

    def _y(self, node: str) -> int:
        return TOP + LANE * self._row[node] + LANE // 2

    def _colour(self, event: Event) -> str:
        ballot = ballot_in(event)
        return "bx" if ballot is None else self._ballot_class(ballot.shown())

    def _ballot_class(self, name: str) -> str:
        return f"b{self._ballots.setdefault(name, len(self._ballots)) % BALLOT_COLOURS}"

    def _lanes(self) -> Iterator[str]:
        for node in self._diagram.nodes:
            y = self._y(node)
            yield (
                f'<text class="n" x="10" y="{y + 4}">{escape(short(node)[:12])}</text>'
                f'<line class="lane" x1="{LEFT - 8}" x2="{self._width - 10}" y1="{y}" y2="{y}"/>'
            )

    def _times(self) -> Iterator[str]:
        shown = -1
        for place, event in enumerate(self._diagram.events):
            column = self._diagram.columns[place]
            if shown < 0 or column - shown >= 6:
                shown = column
                yield (
                    f'<text class="m" x="{self._x(place)}" y="{self._bottom + 6}">'
                    f"{clock_time(event.wall_us)}</text>"
                )

    def _reigns(self) -> Iterator[str]:
        for reign in self._diagram.reigns:
            x, y = self._x(reign.first), self._y(reign.node)
            end = self._width - 10 if reign.last is None else self._x(reign.last)
            name = reign.ballot.shown()
            yield (
                f'<rect class="f r {self._ballot_class(name)}" x="{x}" y="{y - 8}" '
                f'width="{max(2, end - x)}" height="16"/>'
                f'<text x="{x + 4}" y="{y + 22}">leads {escape(name)}</text>'
            )

    def _gaps(self) -> Iterator[str]:
        for before, after in self._diagram.gaps:
            x1 = LEFT - 8 if before is None else self._x(before) + 5
            x2 = max(x1 + 2, self._x(after) - 5)
            y = self._y(self._diagram.events[after].node)
            died = "" if before is None else _cross(x1 + 3, y)
            yield (
                f'<rect class="bg" x="{x1}" y="{y - 9}" width="{x2 - x1}" height="18"/>'
                f'<line class="down" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>{died}'
            )
            if x2 - x1 > 50:
                yield f'<text class="m" x="{x1 + 12}" y="{y - 6}">down</text>'

    def _arrows(self) -> Iterator[str]:
        for arrow in self._diagram.arrows:
            event = self._diagram.events[arrow.source]
            x1, y1 = self._x(arrow.source), self._y(event.node)
            x2 = self._x(arrow.target) if arrow.target is not None else x1 + STUB
            y2 = self._y(arrow.receiver)
            part = 1.0
            if arrow.target is None:
                part = {UNSENT_FATE: 0.16, DOWN_FATE: 0.86}.get(arrow.fate, 0.42)
            x, y = x1 + (x2 - x1) * part, y1 + (y2 - y1) * part
            dash = _DASHES.get(family(event))
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            colour = self._colour(event)
            words = escape(self._arrow_words(arrow, event))
            yield f'<g class="{colour}"><title>{words}</title>'
            yield f'<path class="a s" d="M{x1} {y1}L{x:.0f} {y:.0f}"{dashes}/>'
            if arrow.target is not None:
                yield f'<path class="f" d="{_head(x1, y1, x2, y2)}"/>'
            yield f"{_ending(arrow, x, y, (x1 + x2) / 2, (y1 + y2) / 2)}</g>"

    def _arrow_words(self, arrow: Arrow, event: Event) -> str:
        what = f"{NAMES.get(event.kind, '')} {event.node} → {arrow.receiver}: {detail(event)}"
        fate = "" if arrow.fate == ARRIVED else f"; {arrow.fate}"
        fault = f"; fault {arrow.fault} was in force" if arrow.fault else ""
        return short(f"{what}{fate}{fault}")

    def _events(self) -> Iterator[str]:
        for place, event in enumerate(self._diagram.events):
            x, y = self._x(place), self._y(event.node)
            words = short(f"{event_id(event)} {what_of(event)} {detail(event)}")
            yield f'<g class="{self._colour(event)}"><title>{escape(words)}</title>'
            yield f"{_shape(event, x, y)}</g>{self._label(event, x, y)}"

    def _label(self, event: Event, x: int, y: int) -> str:
        """Where there is room; the words of a note above the lane, of what else below."""
        part = family(event)
        if part == DISK or (event.kind < START and event.code != PUBLISHED):
            return ""
        first, last = slots_of(event)
        ballot = ballot_in(event)
        words = what_of(event) if part == NOTE_PART else NAMES.get(event.kind, "")
        words += f" {slots_words(first, last).partition(' ')[2]}" if first else ""
        if part == NOTE_PART and ballot is not None:
            words += f" {ballot.shown()}"
        row = -26 if part == NOTE_PART else 36
        if x < self._free.get((event.node, row), 0):
            return ""
        self._free[event.node, row] = x + 6.2 * len(words) + 8
        return f'<text class="m" x="{x - 3}" y="{y + row}">{escape(short(words))}</text>'


def _shape(event: Event, x: int, y: int) -> str:
    part = family(event)
    if event.kind == START:
        return f'<rect class="f" x="{x - 1}" y="{y - 14}" width="3" height="28"/>'
    if part == NOTE_PART:
        return f'<path class="f" d="M{x - 1} {y}V{y - 18}L{x + 8} {y - 14}L{x + 1} {y - 11}V{y}Z"/>'
    if event.kind < START and event.code != PUBLISHED:
        return f'<circle class="f" cx="{x}" cy="{y}" r="2.6"/>'
    if part in (VOTE, ACCEPT_PART):
        look = "o" if part == VOTE else "f"
        return f'<circle class="{look}" cx="{x}" cy="{y}" r="4.6"/>'
    if part == LEARN:
        return f'<rect class="f" x="{x - 4}" y="{y - 4}" width="8" height="8"/>'
    if part == DISK:
        return f'<rect class="f" x="{x - 1}" y="{y - 6}" width="2" height="12"/>'
    if part == PHASE1:
        return f'<path class="f" d="M{x} {y - 6}L{x + 5} {y + 4}H{x - 5}Z"/>'
    return f'<path class="f" d="M{x} {y - 6}L{x + 6} {y}L{x} {y + 6}L{x - 6} {y}Z"/>'


def _head(x1: float, y1: float, x2: float, y2: float) -> str:
    dx, dy = x2 - x1, y2 - y1
    length = max(1.0, (dx * dx + dy * dy) ** 0.5)
    ux, uy = dx / length, dy / length
    x, y = x2 - 3 * ux, y2 - 3 * uy
    left = f"{x - 8 * ux - 2.6 * uy:.1f} {y - 8 * uy + 2.6 * ux:.1f}"
    right = f"{x - 8 * ux + 2.6 * uy:.1f} {y - 8 * uy - 2.6 * ux:.1f}"
    return f"M{x:.1f} {y:.1f}L{left}L{right}Z"


def _cross(x: float, y: float) -> str:
    return f'<path class="bad" d="M{x - 5:.0f} {y - 5:.0f}l10 10M{x - 5:.0f} {y + 5:.0f}l10 -10"/>'


def _ending(arrow: Arrow, x: float, y: float, middle_x: float, middle_y: float) -> str:
    marks = ""
    if arrow.fate == LOST:
        marks += _cross(x, y)
    elif arrow.fate == DOWN_FATE:
        marks += (
            f'<circle class="bad" cx="{x:.0f}" cy="{y:.0f}" r="5"/>'
            f'<path class="bad" d="M{x - 4:.0f} {y + 4:.0f}l8 -8"/>'
        )
    elif arrow.fate == UNSENT_FATE:
        marks += f'<path class="bad" d="M{x - 6:.0f} {y:.0f}h12"/>'
    if arrow.fault or arrow.is_repeat:
        at_x, at_y = (middle_x, middle_y) if arrow.target is not None else (x - 8, y - 12)
        marks += (
            f'<path class="warn" d="M{at_x - 6:.0f} {at_y - 4:.0f}h12l-6 10z"/>'
        )  # fmt: skip
    return marks
