"""A lesson's story as text: for a terminal of any width, with colours or without, and as data."""

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from paxosctl.cli.streams import is_terminal
from paxosctl.cli.tables import layout
from paxosd.sim.teach.narrator import Step
from paxosd.sim.teach.rules import SOURCES
from paxosd.sim.teach.story import Act, Check, Part, Remark, Table
from paxosd.sim.teach.teach import Story

WIDTH_MAX = 100
WIDTH = 80
"""Where there is no terminal to ask."""
BAD = re.compile(r"LOST|HELD UP|CRASHES|DISASTER|ITS [A-Z ]+ IS EMPTY|LEADS NO MORE")
GOOD = re.compile(r"IS CHOSEN|IS COMMITTED|LEADS(?! NO)")
ROUTE_NAMES_MAX = 2
INDENT = "  "
COLOURS = {
    "client": "cyan",
    "proposer": "yellow",
    "acceptor": "green",
    "learner": "blue",
    "network": "magenta",
    "disk": "magenta",
    "observer": "white",
}


class StoryView:
    """Draws the parts of a story, one block of lines each."""

    def __init__(self, story: Story, *, width: int, colour: bool) -> None:
        self._story = story
        self._width = width
        self.colour = colour
        self._steps = 0
        routes = [_route(part) for part in story.parts if isinstance(part, Step)]
        self._route = max([len(route) for route in routes], default=0)

    def head(self) -> str:
        """The title, and what to look out for."""
        story = self._story
        title = f"{story.name}: {story.lesson.title}"
        return "\n".join(
            [self._ink(self._fill(title), bold=True), "═" * min(len(title), self._width),
             self._fill(f"You will see {story.lesson.shows}")]
        )  # fmt: skip

    def blocks(self) -> Iterator[tuple[str, bool]]:
        """Each part's text, and whether to wait before it when the reader steps through."""
        for part in self._story.parts:
            yield self._block(part), isinstance(part, Step)

    def foot(self) -> str:
        """What to remember, and where to read on."""
        lesson = self._story.lesson
        if self._story.failure:
            return self._ink(f"FAILED: {self._story.failure}", fg="red", bold=True)
        cited = {part.source for part in self._story.parts if isinstance(part, Step)}
        used = [f"{name}: {title}" for name, title in SOURCES.items()
                if any(name in source for source in cited)]  # fmt: skip
        lines = ["", self._ink(_ruled("What to remember", self._width), bold=True),
                 self._fill(lesson.moral), "", self._fill(f"Read {lesson.source}.")]  # fmt: skip
        return "\n".join([*lines, self._ink(self._fill("; ".join(used) + "."), dim=True)])

    def text(self) -> str:
        """All of it."""
        return "\n".join([self.head(), *[block for block, _ in self.blocks()], self.foot()])

    # -- parts

    def _block(self, part: Part) -> str:
        if isinstance(part, Act):
            return "\n" + self._ink(_ruled(part.title, self._width), bold=True)
        if isinstance(part, Remark):
            return self._fill(part.text, "  ▪ ", "    ")
        if isinstance(part, Check):
            mark = self._ink("✓", fg="green", bold=True)
            return self._fill(f"Checked: {part.text}.", "  ✓ ", "    ").replace("✓", mark, 1)
        if isinstance(part, Table):
            return self._table(part)
        return self._step(part)

    def _step(self, step: Step) -> str:
        self._steps += 1
        left = f"{self._steps:3d} {step.at_ms:8.1f}  {_route(step):{self._route}}  "
        said = step.text
        if step.message:
            said = f"{_headline(step)}: “{step.text}”"
        said = f"{said} {step.note}".rstrip()
        if step.source and not step.why:
            said += f" [{step.source}]"
        lines = textwrap.wrap(said, self._width - len(left), break_long_words=False)
        blank = " " * len(left)
        colour = COLOURS.get(step.role)
        lines = [self._ink_events(line) for line in lines]
        lines[0] = self._ink_head(lines[0], step, colour)
        shown = [self._left(step, left, colour) + lines[0], *[blank + line for line in lines[1:]]]
        if step.why:
            why = f"Why: {step.why} [{step.source}]"
            shown += [blank + self._ink(line, dim=True) for line in
                      textwrap.wrap(why, self._width - len(left))]  # fmt: skip
        return "\n".join(shown)

    def _left(self, step: Step, left: str, colour: str | None) -> str:
        numbers, route = left[:14], left[14:]
        return self._ink(numbers, dim=True) + self._ink(route, fg=colour, bold=True)

    def _ink_head(self, line: str, step: Step, colour: str | None) -> str:
        head = _headline(step)
        if step.message and line.startswith(head):
            return self._ink(head, fg=colour) + line[len(head) :]
        return line

    def _ink_events(self, line: str) -> str:
        """What went wrong in red, what was reached in green."""
        if not self.colour:
            return line
        line = BAD.sub(lambda found: self._ink(found[0], fg="red", bold=True), line)
        return GOOD.sub(lambda found: self._ink(found[0], fg="green", bold=True), line)

    def _table(self, table: Table) -> str:
        lines = [self._ink(self._fill(table.title, "  ", "  "), bold=True)] if table.title else []
        shown = layout(table.columns, table.rows, width=self._width - len(INDENT))
        names = set(" ".join(table.columns).split())
        for line in shown:
            lines.append(self._ink((INDENT + line).rstrip(), dim=set(line.split()) <= names))
        return "\n".join(["", *lines, ""])

    # -- ink

    def _fill(self, text: str, first: str = "", later: str = "") -> str:
        return textwrap.fill(text, self._width, initial_indent=first, subsequent_indent=later)

    def _ink(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self.colour else text


def story_data(story: Story) -> dict[str, Any]:
    """A story for programs: its parts in order, each with its ``type``."""
    lesson = story.lesson
    return {
        "lesson": story.name,
        "seed": story.seed,
        "title": lesson.title,
        "shows": lesson.shows,
        "parts": [{"type": type(part).__name__.lower(), **asdict(part)} for part in story.parts],
        "moral": lesson.moral,
        "source": lesson.source,
        "failure": story.failure,
    }


def wants_width() -> int:
    """Of the terminal, within what reads well."""
    if not is_terminal(sys.stdout):
        return WIDTH
    return max(60, min(WIDTH_MAX, shutil.get_terminal_size((WIDTH, 24)).columns))


def _route(step: Step) -> str:
    if not step.to:
        return step.actor
    receivers = " ".join(step.to)
    if len(step.to) > ROUTE_NAMES_MAX:
        receivers = f"all {len(step.to)}" if step.actor in step.to else f"{len(step.to)} others"
    return f"{step.actor} → {receivers}"


def _headline(step: Step) -> str:
    return f"{step.message} {step.ballot}".rstrip()


def _ruled(title: str, width: int) -> str:
    if len(title) + 4 > width:
        return textwrap.fill(f"── {title}", width, subsequent_indent="   ")
    return f"── {title} " + "─" * (width - len(title) - 4)
