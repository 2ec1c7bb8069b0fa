"""Whether what clients with few rights are shown is theirs to see, by the rights that the state has
of which they are shown a part.

    a state at slot s is shown    its own rights table allows that: whatever is in the state, was
                                  written before it forbade it
    no longer than the bound      a later table that forbids it was acknowledged, to anybody, no
                                  longer before than ``unconfirmed_ms_max`` by the node's own clock

Only answers to the questions that clients announce with ``ask`` are judged. The
rules are written down here anew, for questions of whole prefixes and single keys.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from paxosd.core.requests import HistoryAnswer, ReadAnswer, ServerMessage, WriteAnswer
from paxosd.core.rights import NO_RIGHTS, RightsTable
from paxosd.core.types import NodeId, Slot
from paxosd.sim.cluster.violation import Violation


class Clock(Protocol):
    """A node's own; for :class:`paxosd.sim.world.clock.SimClock`."""

    def monotonic_ms(self) -> float: ...

    def true_ms(self, shown_ms: float) -> float: ...


class Shown(Protocol):
    """A node that answers; for :class:`paxosd.sim.cluster.process.SimProcess`."""

    @property
    def clock(self) -> Clock: ...


class Question(NamedTuple):
    """What a client with this key asked for: all keys that begin with each of these."""

    key: bytes
    prefixes: tuple[bytes, ...]
    stale: bool


class ReadChecks:
    """The checks of one run. Raises Violation. ``shown``: how many answers were judged."""

    def __init__(
        self, processes: Mapping[NodeId, Shown], applied_of: Callable[[NodeId], Slot]
    ) -> None:
        self._processes = processes
        self._applied_of = applied_of
        self._slots: list[Slot] = [0]
        self._tables: list[RightsTable] = [NO_RIGHTS]
        """The table of the state after each of these slots, and of those behind it."""
        self._acknowledged: list[tuple[Slot, float]] = []
        """Both ascending: up to which slot an answer to a write says that all is decided, since
        which true time."""
        self._asked: dict[tuple[bytes, int], Question] = {}
        self.shown = 0
        self.withheld = 0
        """How many questions were refused."""

    def ask(self, client: bytes, request_id: int, question: Question) -> None:
        """A client is about to ask this."""
        self._asked[client, request_id] = question

    def on_table(self, slot: Slot, table: RightsTable) -> None:
        """The first node to apply a slot found another table in it."""
        self._slots.append(slot)
        self._tables.append(table)

    def on_answer(self, node: NodeId, client: bytes, message: ServerMessage, now_ms: float) -> None:
        """A node answers a client at this true time."""
        if isinstance(message, WriteAnswer):
            if not self._acknowledged or message.slot > self._acknowledged[-1][0]:
                self._acknowledged.append((message.slot, now_ms))
            return
        question = self._asked.pop((client, message.request_id), None)
        if question is None:
            return
        if isinstance(message, ReadAnswer):
            self._judge(node, message.applied, question)
            keys = [row.key for page in message.results for row in getattr(page, "rows", ())]
        elif isinstance(message, HistoryAnswer):
            self._judge(node, self._applied_of(node), question)
            keys = [change.key for change in message.changes]
        else:
            self.withheld += 1
            return
        self.shown += 1
        if not all(key.startswith(question.prefixes) for key in keys):
            raise Violation("rights", f"{node} shows keys that were not asked for")

    def _judge(self, node: NodeId, applied: Slot, question: Question) -> None:
        place = bisect_right(self._slots, applied) - 1
        table = self._tables[place]
        if not _may_see(table, question):
            raise Violation(
                "rights",
                f"{node} shows its state after slot {applied} to {question.key.hex()[:8]}, which "
                f"may not see {question.prefixes} by the table of slot {self._slots[place]}",
            )
        if not (question.stale and table.required):
            return
        clock = self._processes[node].clock
        since_ms = clock.true_ms(clock.monotonic_ms() - table.unconfirmed_ms_max)
        for slot, later in zip(self._slots[place + 1 :], self._tables[place + 1 :], strict=True):
            if not _may_see(later, question) and self._since_ms(slot) < since_ms:
                raise Violation(
                    "rights",
                    f"{node} shows its state after slot {applied} to {question.key.hex()[:8]} "
                    f"longer than {table.unconfirmed_ms_max} ms after slot {slot} forbade that",
                )

    def _since_ms(self, slot: Slot) -> float:
        """Since when a client has known that this slot is decided."""
        return next((at_ms for at, at_ms in self._acknowledged if at >= slot), float("inf"))


def _may_see(table: RightsTable, question: Question) -> bool:
    if not table.required:
        return True
    holder = table.by_key.get(question.key)
    if holder is None:
        return False
    return all(any(each.startswith(may) for may in holder.read) for each in question.prefixes)
