"""What a check is made of, and what it finds.

A :class:`Flaw` is one thing that can be wrong, with how much it matters and what to do; a
:class:`Finding` is a flaw that is there, at a node, in words. A :class:`Check` looks for the flaws
of one subject.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from paxosctl.doctor.evidence import Evidence


class Severity(Enum):
    """How much a flaw matters."""

    ERROR = "error"
    """Something does not work, or data is in danger: exit code 1."""
    WARNING = "warning"
    """It works now: exit code 1 with --strict alone."""


class Finding(NamedTuple):
    """A flaw that is there. ``flaw``: its id, CHECK.FLAW. ``node``: where, "": the cluster as a
    whole, or this machine. ``words``: what is wrong; ``remedy``: what to do."""

    flaw: str
    severity: Severity
    node: str
    words: str
    remedy: str

    @property
    def check(self) -> str:
        """The id of the check that found it."""
        return self.flaw.partition(".")[0]


class Flaw(NamedTuple):
    """``id``: CHECK.FLAW. ``what``: a sentence for the page. ``remedy``: what to do; words in
    capitals that :meth:`at` is given, such as NODE, are replaced."""

    id: str
    severity: Severity
    what: str
    remedy: str

    def at(self, node: str, words: str, **named: str) -> Finding:
        """It is there: at ``node``, in ``words``. ``named``: what stands in the remedy for the same
        name in capitals."""
        known = {name.upper(): value for name, value in {"node": node, **named}.items()}
        remedy = re.sub(r"\b[A-Z]+\b", lambda word: known.get(word[0]) or word[0], self.remedy)
        return Finding(self.id, self.severity, node, words, remedy)


class Needs(Enum):
    """What a check cannot do without."""

    FILE = "a configuration (--config)"
    CONFIG = "a readable configuration (--config)"
    ANSWER = "an answer of a node"
    EITHER = "a readable configuration (--config) or an answer of a node"
    NOTHING = "nothing"

    def are_met(self, evidence: Evidence) -> bool:
        """Whether there is enough to look at."""
        config, answers = evidence.config is not None, bool(evidence.statuses)
        return {
            Needs.FILE: bool(evidence.config_path),
            Needs.CONFIG: config,
            Needs.ANSWER: answers,
            Needs.EITHER: config or answers,
            Needs.NOTHING: True,
        }[self]


class Check(NamedTuple):
    """``about``: what is looked at, a sentence or two for the page. ``look``: yields what it finds;
    it asks nobody and reads no clock."""

    id: str
    about: str
    needs: Needs
    flaws: tuple[Flaw, ...]
    look: Callable[[Evidence], Iterator[Finding]]
