"""The narrator's words for Two-Phase Commit."""

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

    def _is_explained(self, body: Any) -> bool:
        tx = getattr(body, "tx", None)
        return not self.only or tx is None or tx in self.only

    def _message(self, sent: Sending) -> Draft | None:
        message = sent.first.body
        if not self._is_explained(message):
            return None
        if isinstance(message, Begin):
            return Draft(
                "client", f"Please, all or nothing: {_writes(message.writes)}.", "2pc-begin"
            )
        if isinstance(message, Outcome):
            return Draft("proposer", "Committed." if message.committed else "Aborted.")
        if isinstance(message, VoteRequest):
            text = f"Transaction {message.tx}: can you commit {_writes(message.writes)}?"
            return Draft("proposer", text, "2pc-ask")
        if isinstance(message, Vote):
            if message.yes:
                return Draft(
                    "acceptor", "Yes. It is on my disk, and the keys are locked.", "2pc-yes"
                )
            return Draft("acceptor", "No.", "2pc-no")
        return self._phase_2(message)

    def _phase_2(self, message: Any) -> Draft:
        if isinstance(message, Decision):
            word = "commit" if message.commit else "abort"
            return Draft("proposer", f"Transaction {message.tx}: {word}.", "2pc-decide")
        if isinstance(message, Acknowledgement):
            return Draft("acceptor", "The commit is on my disk.")
        if isinstance(message, Inquiry):
            text = f"I voted yes for {message.tx} and hear nothing. What became of it?"
            return Draft("acceptor", text, "2pc-inquire")
        assert isinstance(message, Uncertain)
        return Draft("acceptor", "I voted yes, too. I do not know either.", "2pc-uncertain")

    def _other(self, happening: Happening) -> Draft | None:
        body = happening.body
        if happening.kind == "decided" and self._is_explained(body):
            assert isinstance(body, CommittedRecord)
            return Draft("disk", f"Transaction {body.tx} IS COMMITTED: the decision is on disk.",
                         "2pc-decided")  # fmt: skip
        return None


def _writes(writes: Writes) -> str:
    return ", ".join(f"put {key.decode()}={value.decode()}" for key, value in writes.items())
