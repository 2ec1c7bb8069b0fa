"""Guided scenarios: real nodes are run, and what happened is narrated and checked.

A lesson is a module of ``paxosd.sim.teach.lessons`` with a :class:`~paxosd.sim.teach.guide.Lesson`.
The same seed gives the same story, word for word.
"""

import importlib
from dataclasses import dataclass, field

from paxosd.sim.teach.guide import Guide, Lesson, LessonError
from paxosd.sim.teach.story import Part

NAMES = {
    "happy-path": "one leader, one write: who sends what, and when",
    "duelling-proposers": "two proposers stop each other, and how it ends",
    "leader-crash": "a value is chosen, nobody knows, and the leader dies",
    "lost-promise": "why a leader needs the promises of a majority",
    "minority-partition": "a leader on the smaller side of a cut network",
    "wiped-acceptor": "an acceptor that lost its memory must not vote",
    "two-phase-commit": "one crash under Two-Phase Commit, and under Paxos",
}
"""Lesson → what it is about, in the order to take them."""


@dataclass(slots=True)
class Story:
    """A lesson as it was played; ``failure``: the claim that did not hold, "" if all did."""

    name: str
    seed: int
    lesson: Lesson
    parts: list[Part] = field(default_factory=list)
    failure: str = ""


def play(name: str, seed: int = 1) -> Story:
    """Run a lesson. Raises KeyError for an unknown name; a claim that did not hold is in the
    story, at its end."""
    if name not in NAMES:
        raise KeyError(name)
    module = importlib.import_module(f"paxosd.sim.teach.lessons.{name.replace('-', '_')}")
    lesson: Lesson = module.LESSON
    story = Story(name, seed, lesson)
    guide = Guide(seed)
    try:
        lesson.play(guide)
        guide.show()
    except LessonError as error:
        story.failure = str(error)
    story.parts = guide.parts
    return story
