"""The Acceptor: it promises and accepts, and remembers both.

    Prepare(b)  b <  promised → Nack(promised)
                b >= promised → promised = b; Promise with what was accepted
    Accept(b,s) b <  promised → Nack(promised)
                b >= promised → promised = b; accepted[s] = (b, value); vote

Source: Lamport, "Paxos Made Simple", section 2.2, P1a: "an acceptor can accept a proposal
numbered n iff it has not responded to a prepare request having a number greater than n".
One promise covers all slots (section 3).

A handler returns the answer and appends the records that must be durable before the answer leaves.
The node holds the answer back until then.
"""

from collections.abc import Mapping
from enum import Enum

from paxosd.core.effects import AcceptRecord, PromiseRecord, Record
from paxosd.core.messages import AcceptedValue, Nack, Prepare, Promise
from paxosd.core.types import NULL_BALLOT, Ballot, Slot


class AcceptOutcome(Enum):
    """What became of an accept request."""

    VOTED = 1
    """Accepted (perhaps again): publish the vote once it is durable."""
    NACKED = 2
    """A higher ballot was promised."""
    CHOSEN = 3
    """The slot was already applied here: the proposer should learn its value instead."""
    TOO_FAR = 4
    """Too far above the commit index: catch up first. Silence is always a safe answer."""
    CONTRADICTS = 5
    """Another value was accepted at this very ballot: see :meth:`Acceptor.contradicts`."""


class Acceptor:
    """One acceptor's memory: durable through the records it emits."""

    __slots__ = ("accepted", "ahead_bytes_max", "ahead_slots_max", "bytes", "promised", "released")

    def __init__(
        self,
        promised: Ballot = NULL_BALLOT,
        accepted: Mapping[Slot, tuple[Ballot, bytes]] | None = None,
        released: Slot = 0,
        ahead_slots_max: int = 4096,
        ahead_bytes_max: int = 256 << 20,
    ) -> None:
        self.promised = promised
        """Never goes down, not even across restarts: it is what was made durable, no more and no
        less."""
        self.accepted = dict(accepted or {})
        """The highest-ballot proposal accepted in each slot above ``released``."""
        self.released = released
        """Slots up to this one are chosen and applied; their values live in the log alone."""
        self.ahead_slots_max = ahead_slots_max
        self.ahead_bytes_max = ahead_bytes_max
        self.bytes = 0
        """The size of all values in ``accepted``."""
        for ballot, value in self.accepted.values():
            assert ballot <= promised, "an acceptor votes under no ballot that it has not promised"
            self.bytes += len(value)

    def receive_prepare(
        self, message: Prepare, commit: Slot, bytes_max: int, persist: list[Record]
    ) -> Promise | Nack:
        """Promise not to accept below ``message.ballot``, and report what was accepted.

        ``commit``: this node's commit index; slots up to it are not reported, for they are
        chosen and the candidate learns them as decisions. Appends a record to ``persist`` if
        the promise is new.
        """
        if message.ballot < self.promised:
            return Nack(message.ballot, self.promised)
        if message.ballot > self.promised:
            self.promised = message.ballot
            persist.append(PromiseRecord(message.ballot))
        first = max(message.from_slot, commit + 1)
        report: list[AcceptedValue] = []
        size = 0
        until = 0
        for slot in sorted(s for s in self.accepted if s >= first):
            ballot, value = self.accepted[slot]
            if report and size + len(value) > bytes_max:
                until = slot - 1
                break
            size += len(value) + 64
            report.append(AcceptedValue(slot, ballot, value))
        return Promise(message.ballot, message.from_slot, until, commit, tuple(report))

    def receive_accept(
        self, ballot: Ballot, slot: Slot, value: bytes, persist: list[Record]
    ) -> AcceptOutcome:
        """Accept ``value`` for ``slot`` unless a higher ballot was promised."""
        if ballot < self.promised:
            return AcceptOutcome.NACKED
        if ballot > self.promised:
            self.promised = ballot
            persist.append(PromiseRecord(ballot))
        if slot <= self.released:
            return AcceptOutcome.CHOSEN
        if slot > self.released + self.ahead_slots_max:
            return AcceptOutcome.TOO_FAR
        held = self.accepted.get(slot)
        if held is None or held[0] != ballot:
            size = self.bytes + len(value) - (len(held[1]) if held is not None else 0)
            if size > self.ahead_bytes_max and slot != self.released + 1:
                return AcceptOutcome.TOO_FAR  # the next slot always fits, else nothing could go on
            self.bytes = size
            self.accepted[slot] = (ballot, value)
            persist.append(AcceptRecord(slot, ballot, value))
        elif held[1] != value:
            return AcceptOutcome.CONTRADICTS
        return AcceptOutcome.VOTED

    def contradicts(self, slot: Slot, ballot: Ballot, value: bytes) -> bool:
        """Whether this node holds another value of the slot at the same ballot. A ballot has only
        one value for a slot (Lamport, "Paxos Made Simple", section 2.2: different proposals have
        different numbers), so a memory is damaged, or the proposer runs twice."""
        held = self.accepted.get(slot)
        return held is not None and held[0] == ballot and held[1] != value

    def release(self, slot: Slot) -> None:
        """Slot was chosen and applied: its value is read from the log from now on."""
        held = self.accepted.pop(slot, None)
        if held is not None:
            self.bytes -= len(held[1])
        self.released = slot

    def install(self, slot: Slot) -> None:
        """A snapshot holds every slot up to ``slot``: all of them are chosen. The promise and all
        votes above the slot stay."""
        for each in [each for each in self.accepted if each <= slot]:
            self.release(each)
        self.released = slot

    def votes(self, from_slot: Slot) -> tuple[tuple[Ballot, Slot, Slot], ...]:
        """The votes for slots from ``from_slot`` on, as runs ``(ballot, first, last)``."""
        runs: list[tuple[Ballot, Slot, Slot]] = []
        for slot in sorted(s for s in self.accepted if s >= from_slot):
            ballot = self.accepted[slot][0]
            if runs and runs[-1][0] == ballot and runs[-1][2] == slot - 1:
                runs[-1] = (ballot, runs[-1][1], slot)
            else:
                runs.append((ballot, slot, slot))
        return tuple(runs)
