"""Whose votes count: one memory speaks for a voter, the one that the membership names."""

from paxosctl.audit import kinds
from paxosctl.audit.facts import RANK_BITS, Facts
from paxosctl.audit.kinds import key
from paxosctl.audit.membership import EPOCH_ROUNDS
from paxosctl.audit.rule import Rule
from paxosctl.audit.run import Handler, Run


class OneMemory(Rule):
    """Within an epoch the votes and promises of a voter come from one data directory, and from the
    one that the membership names, if it names one: a node that begins anew has forgotten what it
    said."""

    name = "one-memory"
    title = "a voter speaks from one memory, the one that its membership names"
    source = "Lamport, Paxos Made Simple, 2.5: an acceptor must remember; docs/ACTING.md"
    unit = "statements"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._spoke: dict[tuple[int, int], tuple[int, int]] = {}
        """(rank, epoch) → the directory that spoke first in it, and where."""
        self._seen: tuple[int, int] = (-1, 0)
        self._broken: set[tuple[int, int]] = set()

    def handlers(self) -> dict[int, Handler]:
        return {
            key(kinds.ACCEPTED, kinds.PUBLISHED): self._speak,
            key(kinds.VOTES, kinds.SENT): self._speak,
            key(kinds.PROMISE, kinds.SENT): self._speak,
        }

    def begin(self, run: Run) -> None:
        self._seen = (-1, 0)

    def _speak(
        self, run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int
    ) -> None:
        epoch = (ballot >> RANK_BITS) // EPOCH_ROUNDS
        self.report.checked += 1
        if self._seen == (epoch, run.directory):
            return
        self._seen = epoch, run.directory
        if not run.directory:
            self.report.checked -= 1
            self.report.skip(f"the recording of {run.node} does not name its data directory")
            return
        membership = self.facts.epochs.known.get(epoch)
        named = membership.voters.get(run.node, 0) if membership is not None else 0
        first, where = self._spoke.setdefault((run.rank, epoch), (run.directory, run.where))
        if (run.rank, epoch) in self._broken:
            return
        if named and named != run.directory:
            self._broken.add((run.rank, epoch))
            self.break_(
                f"{run.node} votes or promises in epoch {epoch} out of the data directory "
                f"{run.directory:x}; the membership names {named:x}",
                run.where,
            )
        elif first != run.directory:
            self._broken.add((run.rank, epoch))
            self.break_(
                f"{run.node} votes or promises in epoch {epoch} out of the data directory "
                f"{run.directory:x}, and had done so out of {first:x} before",
                where,
                run.where,
            )
