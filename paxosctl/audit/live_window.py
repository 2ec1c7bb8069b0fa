"""The slots that the live audit still looks at: so many, and the lowest are forgotten first."""

from dataclasses import dataclass, field
from heapq import heappop, heappush

from paxosctl.audit.findings import Evidence
from paxosctl.audit.live_frames import Ballot


@dataclass(slots=True)
class Slot:
    """What was seen of one slot. ``digest``: of the value that the first node to apply it had, b""
    before that; ``since_ms``: when that came, and ``ballot`` by whom it was known to be chosen;
    ``votes``: ballot → who voted."""

    number: int
    digest: bytes = b""
    ballot: Ballot = (0, "")
    since_ms: float = 0.0
    evidence: Evidence | None = None
    votes: dict[Ballot, set[str]] = field(default_factory=dict)
    judged: bool = False


class SlotWindow:
    """Slot → what was seen of it, for the ``slots_max`` highest ones."""

    def __init__(self, slots_max: int) -> None:
        self._slots_max = slots_max
        self._slots: dict[int, Slot] = {}
        self._order: list[int] = []
        self.highest = 0
        self.left: list[Slot] = []
        """Those that were forgotten since somebody emptied this."""
        self._below = 0

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, number: int) -> Slot | None:
        """A slot, as one not seen before if need be; None: it lies below the window."""
        found = self._slots.get(number)
        if found is None and number > self._below:
            found = self._slots[number] = Slot(number)
            heappush(self._order, number)
            self.highest = max(self.highest, number)
            while len(self._slots) > self._slots_max:
                self._below = max(self._below, heappop(self._order))
                gone = self._slots.pop(self._below, None)
                if gone is not None:
                    self.left.append(gone)
            found = self._slots.get(number)
        return found
