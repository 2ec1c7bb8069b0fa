"""Lessons as they were played, for several tests: each is run once."""

import functools

from paxosd.sim.teach.narrator import Step
from paxosd.sim.teach.teach import play


@functools.cache
def played(name, seed=1):
    """A lesson with nothing broken."""
    return play(name, seed)


def steps(story):
    return [part for part in story.parts if isinstance(part, Step)]


def messages(story, kind):
    return [step for step in steps(story) if step.message == kind]
