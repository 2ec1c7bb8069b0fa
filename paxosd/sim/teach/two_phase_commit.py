"""Two-Phase Commit, to compare Paxos with: correct, sans-IO, and blocking, as it must be.

    client ── begin ──► coordinator ── VoteRequest(tx, writes) ──► every participant
                        participant: locks the keys, writes PreparedRecord to its log, then
                        coordinator ◄── Vote(yes) ── participant             … or Vote(no)
                        all yes: writes CommittedRecord to its log, then
    client ◄── reply ── coordinator ── Decision(commit) ──► every participant
                        participant: writes FinishedRecord to its log, applies, unlocks, then
                        coordinator ◄── Acknowledgement ── participant

Rules:

- A participant that voted yes is *uncertain*: it may neither commit nor abort by itself, and it
  keeps its locks until it learns the decision, across restarts, too. It asks (Inquiry) the
  coordinator and, as the cooperative termination protocol has it, the other participants. One that
  is uncertain as well cannot help (Uncertain); one that never voted aborts, and says so.
- Presumed abort: of a transaction that its log does not know, a coordinator says "aborted". So
  only the decision to commit is written, before anybody learns of it.
- Locks are exclusive, per key, and never waited for: a participant that meets one votes no.
  So there are no deadlocks.
- The caller performs :class:`Effects` in order: before the messages and replies of
  one leave, its records and those of all before it are durable.

Sources: Bernstein, Hadzilacos, Goodman, "Concurrency Control and Recovery in Database Systems"
(1987), chapter 7: 7.4 (two phase commit, its uncertainty period, the cooperative termination
protocol); Gray, Lamport, "Consensus on Transaction Commit" (ACM TODS, 2006), section 3.3 (it blocks
when its one coordinator fails) and section 5 (it is Paxos Commit with no fault tolerated);
Mohan, Lindsay, Obermarck (1986) for presumed abort.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from paxosd.sim.teach.two_phase_messages import (
    Acknowledgement,
    CommittedRecord,
    Decision,
    Effects,
    EndedRecord,
    FinishedRecord,
    Inquiry,
    Message,
    PreparedRecord,
    Record,
    TxId,
    Uncertain,
    Vote,
    VoteRequest,
    Writes,
)

# -- the coordinator

RESEND_MS = 250.0
"""How often a commit is repeated to those that have not acknowledged it."""


@dataclass(slots=True)
class _OpenVote:
    """A transaction in phase 1 at its coordinator: all in memory, lost at a crash. ``missing``:
    the participants whose vote has not come."""

    participants: tuple[str, ...]
    token: Any
    began_ms: float
    missing: set[str]


class Coordinator:
    """Begins transactions, collects votes, decides, and sends the decision until all acknowledged.

    ``log``: the coordinator records that its disk held at this start.
    """

    def __init__(
        self,
        name: str,
        boot_count: int,
        log: Iterable[Record] = (),
        *,
        vote_timeout_ms: float = 500,
    ) -> None:
        self.name = name
        self._boot_count = boot_count
        self._vote_timeout_ms = vote_timeout_ms
        self._count = 0
        self._voting: dict[TxId, _OpenVote] = {}
        self._announcing: dict[TxId, list[str]] = {}
        """Committed transactions, and the participants that have not acknowledged them. An abort is
        announced once."""
        self._resend_at_ms = float("-inf")
        for record in log:
            if isinstance(record, CommittedRecord):
                self._announcing[record.tx] = list(record.participants)
            elif isinstance(record, EndedRecord):
                self._announcing.pop(record.tx, None)

    def begin(
        self, writes: Writes, participants: tuple[str, ...], token: Any, now_ms: float
    ) -> tuple[TxId, Effects]:
        """Phase 1 of a new transaction; its outcome comes with ``token``."""
        self._count += 1
        tx = TxId(self.name, self._boot_count, self._count)
        self._voting[tx] = _OpenVote(participants, token, now_ms, set(participants))
        request = VoteRequest(tx, writes, participants)
        return tx, Effects(sends=[(name, request) for name in participants])

    def receive(self, sender: str, message: Message, now_ms: float) -> Effects:
        """A participant's vote, acknowledgement or question."""
        if isinstance(message, Vote):
            return self._on_vote(sender, message, now_ms)
        if isinstance(message, Acknowledgement):
            return self._on_acknowledgement(sender, message)
        if isinstance(message, Inquiry):
            return self._on_inquiry(sender, message)
        return Effects()

    def tick(self, now_ms: float) -> Effects:
        """Abort what got no votes in time; repeat commits that were not acknowledged."""
        effects = Effects()
        for tx, voting in list(self._voting.items()):
            if now_ms - voting.began_ms >= self._vote_timeout_ms:
                self._decide(tx, False, effects)
        if self._announcing and now_ms >= self._resend_at_ms:
            self._resend_at_ms = now_ms + RESEND_MS
            for tx, names in self._announcing.items():
                effects.sends.extend((name, Decision(tx, True)) for name in names)
        return effects

    def _on_vote(self, sender: str, message: Vote, now_ms: float) -> Effects:
        effects = Effects()
        voting = self._voting.get(message.tx)
        if voting is None:
            return effects  # decided meanwhile; a participant that is uncertain will ask
        if not message.yes:
            self._decide(message.tx, False, effects)
            return effects
        voting.missing.discard(sender)
        if not voting.missing:
            self._announcing[message.tx] = list(voting.participants)
            self._resend_at_ms = max(self._resend_at_ms, now_ms + RESEND_MS)
            effects.persist.append(CommittedRecord(message.tx, voting.participants))
            self._decide(message.tx, True, effects)
        return effects

    def _decide(self, tx: TxId, commit: bool, effects: Effects) -> None:
        voting = self._voting.pop(tx)
        effects.sends.extend((name, Decision(tx, commit)) for name in voting.participants)
        effects.outcomes.append((voting.token, commit))

    def _on_acknowledgement(self, sender: str, message: Acknowledgement) -> Effects:
        effects = Effects()
        names = self._announcing.get(message.tx)
        if names is not None and sender in names:
            names.remove(sender)
            if not names:
                del self._announcing[message.tx]
                effects.persist.append(EndedRecord(message.tx))
        return effects

    def _on_inquiry(self, sender: str, message: Inquiry) -> Effects:
        tx = message.tx
        if tx.coordinator != self.name:
            return Effects()
        if tx in self._voting:
            return Effects(sends=[(sender, Uncertain(tx))])
        return Effects(sends=[(sender, Decision(tx, tx in self._announcing))])


# -- the participant


class TxState(Enum):
    """Of one transaction at one participant."""

    UNCERTAIN = "uncertain"
    COMMITTED = "committed"
    ABORTED = "aborted"


class LockSpan(NamedTuple):
    """A lock that was let go: where, and how long it was held, in simulated time."""

    machine: str
    tx: TxId
    key: bytes
    from_ms: float
    to_ms: float


@dataclass(slots=True)
class _Doubt:
    """A transaction that a participant voted yes for, and whose decision it does not know."""

    prepared: PreparedRecord
    locked_ms: float
    inquire_at_ms: float


class Participant:
    """Holds a copy of the data; votes, keeps its locks while uncertain, obeys the decision.

    ``log``: the participant records that its disk held at this start. ``released``: where each lock
    is noted that it lets go from then on.
    """

    def __init__(
        self, name: str, log: Iterable[Record] = (), *, now_ms: float = 0.0,
        inquire_ms: float = 250, released: list[LockSpan] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.released: list[LockSpan] = []
        self._inquire_ms = inquire_ms
        self.data: Writes = {}
        self.states: dict[TxId, TxState] = {}
        self.locks: dict[bytes, TxId] = {}
        self._doubts: dict[TxId, _Doubt] = {}
        for record in log:
            if isinstance(record, PreparedRecord):
                self._hold(_Doubt(record, now_ms, inquire_at_ms=now_ms))
            elif isinstance(record, FinishedRecord):
                self._finish(record.tx, record.commit, now_ms)
        self.released = [] if released is None else released

    @property
    def uncertain(self) -> tuple[TxId, ...]:
        """Transactions that it voted yes for, and whose decision it does not know."""
        return tuple(self._doubts)

    def locked_since_ms(self, tx: TxId) -> float:
        """Since when, in this start, an uncertain transaction has held its locks."""
        return self._doubts[tx].locked_ms

    def receive(self, sender: str, message: Message, now_ms: float) -> Effects:
        """A coordinator's request or decision, or another participant's question or answer."""
        if isinstance(message, VoteRequest):
            return self._on_vote_request(sender, message, now_ms)
        if isinstance(message, Decision):
            return self._on_decision(message, now_ms)
        if isinstance(message, Inquiry):
            return self._on_inquiry(sender, message)
        return Effects()

    def tick(self, now_ms: float) -> Effects:
        """Ask about what has been uncertain for too long: its coordinator and its fellows."""
        effects = Effects()
        for tx, doubt in self._doubts.items():
            if now_ms >= doubt.inquire_at_ms:
                doubt.inquire_at_ms = now_ms + self._inquire_ms
                fellows = [name for name in doubt.prepared.participants if name != self.name]
                asked = dict.fromkeys((tx.coordinator, *fellows))
                effects.sends.extend((name, Inquiry(tx)) for name in asked)
        return effects

    def _on_vote_request(self, sender: str, message: VoteRequest, now_ms: float) -> Effects:
        tx = message.tx
        state = self.states.get(tx)
        if state is not None:
            return Effects(sends=[(sender, Vote(tx, state is not TxState.ABORTED))])
        if any(key in self.locks for key in message.writes):
            self.states[tx] = TxState.ABORTED
            # Durable: else a repeat of the request could be voted yes for after a restart, when
            # a fellow participant already knows that this one aborted.
            return Effects(persist=[FinishedRecord(tx, False)], sends=[(sender, Vote(tx, False))])
        record = PreparedRecord(*message)
        self._hold(_Doubt(record, now_ms, now_ms + self._inquire_ms))
        return Effects(persist=[record], sends=[(sender, Vote(tx, True))])

    def _on_decision(self, message: Decision, now_ms: float) -> Effects:
        tx, commit = message
        coordinator = tx.coordinator
        state = self.states.get(tx)
        effects = Effects()
        if state is TxState.UNCERTAIN:
            self._finish(tx, commit, now_ms)
            effects.persist.append(FinishedRecord(tx, commit))
        elif state is None:
            assert not commit, "a commit needs this participant's yes"
            self.states[tx] = TxState.ABORTED
        else:
            # A commit after an abort cannot be. An "aborted" after a commit is the late answer
            # to an old question: by then the coordinator had everybody's acknowledgement.
            assert not (commit and state is TxState.ABORTED), "two decisions for one transaction"
        if commit:
            effects.sends.append((coordinator, Acknowledgement(tx)))
        return effects

    def _on_inquiry(self, sender: str, message: Inquiry) -> Effects:
        """Cooperative termination (Bernstein, Hadzilacos, Goodman, section 7.4)."""
        tx = message.tx
        state = self.states.get(tx)
        if state is TxState.UNCERTAIN:
            return Effects(sends=[(sender, Uncertain(tx))])
        if state is None:
            self.states[tx] = TxState.ABORTED  # never voted, and from now on it votes no
            # Durable: it promises the asker that its yes will never come.
            return Effects(
                persist=[FinishedRecord(tx, False)], sends=[(sender, Decision(tx, False))]
            )
        return Effects(sends=[(sender, Decision(tx, state is TxState.COMMITTED))])

    def _hold(self, doubt: _Doubt) -> None:
        tx = doubt.prepared.tx
        self.states[tx] = TxState.UNCERTAIN
        self._doubts[tx] = doubt
        for key in doubt.prepared.writes:
            assert key not in self.locks
            self.locks[key] = tx

    def _finish(self, tx: TxId, commit: bool, now_ms: float) -> None:
        self.states[tx] = TxState.COMMITTED if commit else TxState.ABORTED
        doubt = self._doubts.pop(tx, None)
        if doubt is None:
            return
        if commit:
            self.data.update(doubt.prepared.writes)
        for key in doubt.prepared.writes:
            del self.locks[key]
            self.released.append(LockSpan(self.name, tx, key, doubt.locked_ms, now_ms))
