"""Two-Phase Commit: names, messages, log records, effects; the rules are in two_phase_commit.py."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

Writes = dict[bytes, bytes]


class TxId(NamedTuple):
    """Unique for ever: a coordinator's name, its start number, and a count within that start."""

    coordinator: str
    boot_count: int
    number: int

    def __str__(self) -> str:
        return f"{self.coordinator}/{self.boot_count}.{self.number}"


# -- messages


class VoteRequest(NamedTuple):
    """Phase 1: can you commit these writes? ``participants``: the machines to ask when in doubt."""

    tx: TxId
    writes: Writes
    participants: tuple[str, ...]


class Vote(NamedTuple):
    """The answer; a yes binds the participant until it learns the decision."""

    tx: TxId
    yes: bool


class Decision(NamedTuple):
    """Phase 2, or the answer to an Inquiry."""

    tx: TxId
    commit: bool


class Acknowledgement(NamedTuple):
    """The sender's log holds the commit: the coordinator need not remember it for the sender."""

    tx: TxId


class Inquiry(NamedTuple):
    """From an uncertain participant: what became of this transaction?"""

    tx: TxId


class Uncertain(NamedTuple):
    """From another uncertain participant, or an undecided coordinator: I do not know either."""

    tx: TxId


Message = VoteRequest | Vote | Decision | Acknowledgement | Inquiry | Uncertain


# -- log records


class PreparedRecord(NamedTuple):
    """A participant's yes."""

    tx: TxId
    writes: Writes
    participants: tuple[str, ...]


class FinishedRecord(NamedTuple):
    """A participant knows the decision."""

    tx: TxId
    commit: bool


class CommittedRecord(NamedTuple):
    """The coordinator's decision: from here on the transaction is committed."""

    tx: TxId
    participants: tuple[str, ...]


class EndedRecord(NamedTuple):
    """Every participant acknowledged: the coordinator may forget. A hint, like an abort."""

    tx: TxId


Record = PreparedRecord | FinishedRecord | CommittedRecord | EndedRecord


@dataclass(slots=True)
class Effects:
    """``persist`` before everything else; ``outcomes``: (token, committed) for clients."""

    persist: list[Record] = field(default_factory=list)
    sends: list[tuple[str, Message]] = field(default_factory=list)
    outcomes: list[tuple[Any, bool]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.persist or self.sends or self.outcomes)
