"""What all rules have in common."""

from paxosctl.audit.facts import Facts
from paxosctl.audit.findings import RuleReport
from paxosctl.audit.run import Handler, Run


class Rule:
    """One rule of Paxos, or of what stands on it. A subclass names it, says where it comes from,
    and looks at the events of the kinds that it asks for.

    The events of one node come in their order, run after run; the nodes come one after another.
    What concerns several nodes is left in ``facts`` and judged in :meth:`finish`.
    """

    name = ""
    title = ""
    source = ""
    unit = ""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.report = RuleReport(self.name, self.title, self.source, self.unit)

    def handlers(self) -> dict[int, Handler]:
        """``kinds.key(kind, code)`` → what looks at such an event."""
        return {}

    def begin(self, run: Run) -> None:
        """A run of a node begins."""

    def gap(self, run: Run) -> None:
        """Events of the run are missing here."""

    def end(self, run: Run) -> None:
        """The recording of the run ends."""

    def finish(self) -> None:
        """All nodes were gone through."""

    def break_(self, text: str, *wheres: int) -> None:
        """A breach, with the places that show it."""
        shown = [self.facts.evidence(where) for where in wheres if where]
        self.report.violate(text, *shown)
