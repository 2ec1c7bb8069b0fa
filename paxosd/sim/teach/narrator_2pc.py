"""The narrator's words for Two-Phase Commit."""

from collections.abc import Callable
from typing import Any

from paxosd.sim.teach.happenings import Happening
from paxosd.sim.teach.narrator import Draft, Narrator, Sending
from paxosd.sim.teach.two_phase_machines import Begin, Outcome
from paxosd.sim.teach.two_phase_messages import (
    Acknowledgement,
    CommittedRecord,
    Decision,
    Inquiry,
    TxId,
    Uncertain,
    Vote,
    VoteRequest,
    Writes,
)


class TwoPhaseNarrator(Narrator):
    """Narrates the transactions in ``only``; all of them if it is empty."""

    remembers = "2pc-log"

    def __init__(self, explained: set[str], hushed: set[str]) -> None:
        super().__init__(explained, hushed)
        self.only: set[TxId] = set()

    def _is_shown(self, body: Any) -> bool:
        tx = getattr(body, "tx", None)
        return not self.only or tx is None or tx in self.only

    def _message(self, sending: Sending) -> Draft | None:
        message = sending.first.body
        return _WORDS[type(message)](message) if self._is_shown(message) else None

    def _other(self, happening: Happening) -> Draft | None:
        body = happening.body
        if happening.kind == "decided" and self._is_shown(body):
            assert isinstance(body, CommittedRecord)
            return Draft("disk", f"Transaction {body.tx} IS COMMITTED: the decision is on disk.",
                         "2pc-decided")  # fmt: skip
        return None


def _writes(writes: Writes) -> str:
    return ", ".join(f"put {key.decode()}={value.decode()}" for key, value in writes.items())


_WORDS: dict[type, Callable[[Any], Draft]] = {
    Begin: lambda m: Draft("client", f"Please, all or nothing: {_writes(m.writes)}.", "2pc-begin"),
    Outcome: lambda m: Draft("proposer", "Committed." if m.committed else "Aborted."),
    VoteRequest: lambda m: Draft(
        "proposer", f"Transaction {m.tx}: can you commit {_writes(m.writes)}?", "2pc-ask"
    ),
    Vote: lambda m: (
        Draft("acceptor", "Yes. It is on my disk, and the keys are locked.", "2pc-yes")
        if m.yes
        else Draft("acceptor", "No.", "2pc-no")
    ),
    Decision: lambda m: Draft(
        "proposer", f"Transaction {m.tx}: {'commit' if m.commit else 'abort'}.", "2pc-decide"
    ),
    Acknowledgement: lambda m: Draft("acceptor", "The commit is on my disk."),
    Inquiry: lambda m: Draft(
        "acceptor", f"I voted yes for {m.tx} and hear nothing. What became of it?", "2pc-inquire"
    ),
    Uncertain: lambda m: Draft(
        "acceptor", "I voted yes, too. I do not know either.", "2pc-uncertain"
    ),
}
"""Message → what its sender says."""
