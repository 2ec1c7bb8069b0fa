"""What an audit has to say: per rule what was checked, what broke it, what could not be seen."""

from dataclasses import dataclass, field
from typing import Any

SHOWN_MAX = 20
"""So many violations of one rule are kept with their evidence; all are counted."""
REASONS_MAX = 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place that shows something. ``event``: ``n1/3:4711``, "" if it stands in a log alone;
    ``file`` and ``offset``: of the block or record."""

    node: str
    event: str
    file: str
    offset: int

    def words(self) -> str:
        """For people."""
        place = f"{self.file} at {self.offset}" if self.file else ""
        return f"{self.event} ({place})" if self.event and place else self.event or place

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "node": self.node,
            "event": self.event,
            "file": self.file,
            "offset": self.offset,
        }


@dataclass(frozen=True, slots=True)
class Violation:
    """One breach of a rule, in a sentence, and what shows it."""

    text: str
    evidence: tuple[Evidence, ...]

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {"text": self.text, "evidence": [each.data() for each in self.evidence]}


@dataclass(slots=True)
class RuleReport:
    """What became of one rule. ``checked`` counts ``unit``; ``broken`` all violations;
    ``unchecked``: reason → how many of the unit it concerns, 0: not counted."""

    name: str
    title: str
    source: str
    unit: str
    checked: int = 0
    broken: int = 0
    violations: list[Violation] = field(default_factory=list)
    unchecked: dict[str, int] = field(default_factory=dict)

    def violate(self, text: str, *evidence: Evidence) -> None:
        """A breach."""
        self.broken += 1
        if len(self.violations) < SHOWN_MAX:
            self.violations.append(Violation(text, evidence))

    def skip(self, reason: str, count: int = 1) -> None:
        """``count`` of the unit could not be checked, for this reason."""
        if reason in self.unchecked or len(self.unchecked) < REASONS_MAX:
            self.unchecked[reason] = self.unchecked.get(reason, 0) + count

    @property
    def verdict(self) -> str:
        """``violated``, ``kept``, ``partly checked`` or ``not checked``."""
        if self.broken:
            return "violated"
        if not self.checked:
            return "not checked"
        return "partly checked" if self.unchecked else "kept"

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "rule": self.name,
            "title": self.title,
            "source": self.source,
            "verdict": self.verdict,
            "checked": self.checked,
            "unit": self.unit,
            "broken": self.broken,
            "violations": [each.data() for each in self.violations],
            "not_checked": [
                {"reason": reason, "count": count} for reason, count in self.unchecked.items()
            ],
        }
