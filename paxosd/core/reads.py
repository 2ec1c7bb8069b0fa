"""Read-index: a linearizable read on any node, without a log entry.

    node with reads ── ReadIndex(id) ──► leader: index = its highest proposed slot
                                         leader ── Heartbeat(round) ──► voters
                                         voters ── HeartbeatAck(round) ──► leader   (a quorum)
    node ◄── ReadIndexReply(id, index) ── leader;  the node waits for applied >= index, reads

Why the highest *proposed* slot and not the leader's commit index: every learner counts votes
for itself, so another node may have applied, and shown to a client, a slot that the leader
does not yet know to be chosen. Whatever is chosen at this ballot was proposed by this leader;
whatever was chosen below it is at or under ``reign_start``. Whatever is chosen at a higher
ballot needs a phase-1 quorum, one of whose members would have refused the acknowledgement.

All reads that wait when a round starts share it; those that come later share the next. A question
is also put without a read: its index shows how old the applied state is (``freshness.py``). Such
a question costs no round of its own: it waits for the heartbeats that are sent anyway.
Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), section 6.4.
"""

from typing import Any, NamedTuple

from paxosd.core.quorum import Quorums
from paxosd.core.types import NodeId, Slot

OPEN_MAX = 64
"""So many questions without an answer are known, of those that were put one after the other."""


class Asked(NamedTuple):
    """A question to the leader: from a peer (with its id) or, origin "", from itself."""

    origin: NodeId
    read_id: int
    slot: Slot


class LeaderReads:
    """The leader's side: which questions wait for which round of confirmation."""

    __slots__ = ("_acks", "_next_round", "in_round", "quorums", "round", "urgent")

    def __init__(self, quorums: Quorums) -> None:
        self.quorums = quorums
        self.round = 0
        """Rounds are numbered for the life of the process; an ack of an old one does not count."""
        self._acks = 0
        self.in_round: list[Asked] = []
        """What waits for the round that was started."""
        self._next_round: list[Asked] = []
        self.urgent = False
        """Whether a read waits for the next round."""

    def ask(self, asked: Asked, *, waits: bool = True) -> None:
        """``waits``: a read does; else the next round, whenever it starts, is soon enough."""
        self._next_round.append(asked)
        self.urgent = self.urgent or waits

    def start_round(self, own_bit: int, *, heartbeat: bool = False) -> bool:
        """Start a round if a read waits and none is under way; true: send heartbeats.
        ``heartbeat``: they are about to be sent anyway, so any question will do."""
        if self.in_round or not (self.urgent or (heartbeat and self._next_round)):
            return False
        self.round += 1
        self._acks = own_bit
        self.in_round, self._next_round = self._next_round, []
        self.urgent = False
        return True

    def receive_ack(self, voter: NodeId, round_: int) -> None:
        if round_ == self.round and self.in_round:
            self._acks |= self.quorums.bit.get(voter, 0)

    def confirmed(self) -> list[Asked]:
        """The questions whose round a quorum has confirmed; empties the round."""
        if not self.in_round or not self.quorums.contact_met(self._acks):
            return []
        done, self.in_round = self.in_round, []
        return done

    def stop(self) -> None:
        """The reign ended: nobody gets an answer of it. Peers ask again, elsewhere."""
        self.in_round = []
        self._next_round = []
        self.urgent = False


class WaitingReads:
    """Every node's side: reads without an index yet, and reads waiting to be applied up to it."""

    __slots__ = ("_asked", "_put_ms", "asked_ms", "indexed", "read_id", "unasked")

    def __init__(self, last_id: int = 0) -> None:
        self.read_id = last_id
        """Ids are never reused, by no later start of the node either if ``last_id`` sees to
        it: a late reply to an old question is ignored."""
        self.asked_ms = float("-inf")
        """When the last question was put."""
        self._put_ms: dict[int, float] = {}
        """When each of the last questions that have no answer was put."""
        self.unasked: list[tuple[Any, float]] = []
        """The reads for which no question was put yet."""
        self._asked: list[tuple[Any, float]] = []
        self.indexed: list[tuple[Slot, Any, float]] = []
        """The reads that wait for their slot to be applied."""

    def __len__(self) -> int:
        return len(self.unasked) + len(self._asked) + len(self.indexed)

    def add(self, token: Any, now_ms: float) -> None:
        self.unasked.append((token, now_ms))

    def question(self, now_ms: float) -> int:
        """The id of a question to put now, or 0: none waits, or one is under way."""
        if self._asked or not self.unasked:
            return 0
        self._asked, self.unasked = self.unasked, []
        return self._put(now_ms)

    def bare_question(self, now_ms: float, every_ms: float) -> int:
        """The id of a question for which no read waits (the index itself is of use), or 0: the
        last one, of whichever kind, is younger than ``every_ms``. It may be put before the one
        before it has its answer: on a slow network that would never come in time. A read that
        comes need not wait for its end."""
        if self._asked or now_ms - self.asked_ms < every_ms:
            return 0
        return self._put(now_ms)

    def _put(self, now_ms: float) -> int:
        self.read_id += 1
        self.asked_ms = self._put_ms[self.read_id] = now_ms
        if len(self._put_ms) > OPEN_MAX:
            del self._put_ms[next(iter(self._put_ms))]
        return self.read_id

    def put_ms(self, read_id: int) -> float | None:
        """When the question was put that has its answer now; None if it had one before, or was
        put too long ago. Of whichever leader the answer is: a quorum confirmed it after that."""
        return self._put_ms.pop(read_id, None)

    def question_lost(self, now_ms: float, after_ms: float) -> None:
        """Give up the question under way if it is older than ``after_ms``; a new id is used
        for the next, for the old one's index might come from a leader deposed meanwhile."""
        if self._asked and now_ms - self.asked_ms >= after_ms:
            self.unasked = self._asked + self.unasked
            self._asked = []

    def index_lost(self, now_ms: float, after_ms: float) -> None:
        """Ask anew for reads older than ``after_ms`` whose index is not reached (0: for all,
        the leader changed): a deposed leader may have proposed it to nobody, and then no slot
        of that number need ever come."""
        old = [read for read in self.indexed if now_ms - read[2] >= after_ms]
        if old:
            self.indexed = [read for read in self.indexed if now_ms - read[2] < after_ms]
            self.unasked.extend((token, since) for _, token, since in old)

    def answer(self, read_id: int, index: Slot) -> bool:
        """False if it answers an earlier question than the last, and is ignored."""
        if read_id != self.read_id:
            return False
        self.indexed.extend((index, token, since) for token, since in self._asked)
        self._asked = []
        return True

    def ready(self, applied: Slot) -> list[Any]:
        """The reads that may be served now."""
        ready = [token for index, token, _ in self.indexed if index <= applied]
        if ready:
            self.indexed = [read for read in self.indexed if read[0] > applied]
        return ready

    def overdue(self, now_ms: float, after_ms: float) -> list[Any]:
        """Take out the reads that found no leader to confirm them for ``after_ms``."""
        late = [token for token, since in self.unasked + self._asked if now_ms - since >= after_ms]
        if late:
            self.unasked = [r for r in self.unasked if now_ms - r[1] < after_ms]
            self._asked = [r for r in self._asked if now_ms - r[1] < after_ms]
        return late
