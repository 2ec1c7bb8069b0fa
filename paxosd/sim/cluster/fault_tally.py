"""How often faults struck one member, over all its runs."""

from collections.abc import Mapping
from typing import Any

from paxosd.faults.plan import FaultPlan
from paxosd.sim.world.disk import TAIL_KINDS

HARMS = ("bit-rot", "log-loss", "wipe", *TAIL_KINDS)
"""The kinds that damage a log behind the back of its process."""


class FaultTally:
    """``counts``: kind of fault → how often it struck."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        """Name of a rule of the present life → its hits that are in ``counts``."""

    @property
    def harmed(self) -> bool:
        """Whether the log was damaged behind the back of the process, as far as was counted."""
        return any(self.counts.get(kind) for kind in HARMS)

    def add(self, kind: str, count: int = 1) -> None:
        """It struck again."""
        self.counts[kind] = self.counts.get(kind, 0) + count

    def begin_life(self) -> None:
        """A new life has a new plan, whose rules begin with no hits."""
        self._counted.clear()

    def on_event(self, event: str, fields: Mapping[str, Any]) -> None:
        """An event of the present life's plan: a rule that has ended is counted for good."""
        if event == "fault.healed":
            self._note_hits(fields["fault"], fields["kind"], fields["hits"])
            self._counted.pop(fields["fault"], None)

    def collect(self, plan: FaultPlan, now_ms: float) -> None:
        """Count what the rules that are in force have done so far."""
        for rule in plan.list(now_ms):
            self._note_hits(rule["name"], rule["kind"], rule["hits"])

    def _note_hits(self, name: str, kind: str, hits: int) -> None:
        before = self._counted.get(name, 0)
        if hits > before:
            self._counted[name] = hits
            self.add(kind, hits - before)
