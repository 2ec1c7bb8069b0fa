"""The entries of clients that wait to be proposed: bounded, and shared fairly between sessions.

    put ──► waits ──► take: one batch
            all fit into it: in order of arrival
            else:            in order of virtual start, so that each session gets its share

- *Order*: start-time fair queueing (Goyal, Vin, Cheng, "Start-time Fair Queuing", 1996). An entry
  starts when the session's one before it ends, in a time that goes on by the cost of what is taken,
  and never before the present. So a session with little to do waits for one entry of each of the
  others, and not for all that they have waiting. Those of one session stay in their order.
- *Room*: dynamic thresholds (Choudhury, Hahne, "Dynamic Queue Length Thresholds", 1998). A session
  that has something waiting may have no more than what is then left free. So one alone fills half
  of the queue, n together n/(n+1) of it, and for the next one there is always room.

A session stands for a client here: it is known whichever node passed the command on, and a new one
costs a slot in the log. Commands of session 0 (openings, changes by operators) share one lane.
"""

from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Any, NamedTuple

from paxosd.core.commands import Entry, changes_members

COMMAND_COST_BYTES = 200
"""What a command costs besides its bytes, in bytes that cost as much."""


class Waiting(NamedTuple):
    """A client's entry in the queue: decoded once, and its encoded form as it came."""

    token: Any
    entry: Entry
    blob: bytes


class _Lane:
    """What one session has waiting, and when the last of it ends."""

    __slots__ = ("bytes", "commands", "end")

    def __init__(self) -> None:
        self.commands = 0
        self.bytes = 0
        self.end = 0


_ARRIVAL = itemgetter(1)


class FairQueue:
    """See above. ``commands``, ``bytes``: all that waits."""

    __slots__ = ("_arrivals", "_bytes_max", "_commands_max", "_heap", "_lanes", "_now", "bytes",
                 "commands")  # fmt: skip

    def __init__(self, commands_max: int, bytes_max: int) -> None:
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._heap: list[tuple[int, int, Waiting]] = []  # by virtual start, then by arrival
        self._lanes: dict[int, _Lane] = {}
        """Of the sessions with something waiting."""
        self._arrivals = 0
        self._now = 0
        """The virtual start of the entry that was taken last."""
        self.commands = 0
        self.bytes = 0
        """Of all that waits; 0: nothing does. To ask for that costs less than for the length."""

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, waiting: Waiting) -> bool:
        """Take an entry in; false if there is no room for it. An empty queue takes anything."""
        entry = waiting.entry
        count, size = len(entry.commands), len(waiting.blob)
        lane = self._lanes.get(entry.session)
        if self._heap:
            commands_left = self._commands_max - self.commands
            bytes_left = self._bytes_max - self.bytes
            if lane is not None:
                commands_left -= lane.commands
                bytes_left -= lane.bytes
            if count > commands_left or size > bytes_left:
                return False
        if lane is None:
            self._lanes[entry.session] = lane = _Lane()
        start = max(self._now, lane.end)
        lane.end = start + size + COMMAND_COST_BYTES * count
        lane.commands += count
        lane.bytes += size
        self.commands += count
        self.bytes += size
        self._arrivals += 1
        heappush(self._heap, (start, self._arrivals, waiting))
        return True

    def take(self, commands_max: int, bytes_max: int) -> list[Waiting]:
        """The next batch, at least one entry, at most so much in all: up to the first that may
        change the membership."""
        if self.commands <= commands_max and self.bytes <= bytes_max:
            return self._take_all()
        taken: list[Waiting] = []
        commands = size = 0
        heap = self._heap
        while heap:
            waiting = heap[0][2]
            commands += len(waiting.entry.commands)
            size += len(waiting.blob)
            if taken and (commands > commands_max or size > bytes_max):
                break
            self._now = heappop(heap)[0]
            taken.append(waiting)
            self._leave(waiting)
            if changes_members(waiting.entry):
                break
        return taken

    def _take_all(self) -> list[Waiting]:
        """In order of arrival, up to the first that may change the membership."""
        rows = self._heap
        rows.sort(key=_ARRIVAL)
        count = len(rows)
        for index, (_, _, waiting) in enumerate(rows, 1):
            if changes_members(waiting.entry):
                count = index
                break
        taken = [waiting for _, _, waiting in rows[:count]]
        if count == len(rows):
            self._reset()
        else:
            self._heap = rows[count:]
            heapify(self._heap)
            for waiting in taken:
                self._leave(waiting)
        return taken

    def _leave(self, waiting: Waiting) -> None:
        session, count, size = waiting.entry.session, len(waiting.entry.commands), len(waiting.blob)
        lane = self._lanes[session]
        lane.commands -= count
        lane.bytes -= size
        self.commands -= count
        self.bytes -= size
        if not lane.commands and not lane.bytes:
            del self._lanes[session]

    def _reset(self) -> None:
        self._heap = []
        self._lanes = {}
        self._now = self._arrivals = 0
        self.commands = self.bytes = 0

    def clear(self) -> list[Waiting]:
        """Take out all, in order of arrival."""
        left = [waiting for _, _, waiting in sorted(self._heap, key=_ARRIVAL)]
        self._reset()
        return left
