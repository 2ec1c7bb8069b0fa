"""One order of the events of all nodes that fits each of them, without believing in clocks.

    n1  ── accept sent ──┐                     n1  accept sent
    n2      └──► accept received ── voted      n2  accept received, voted

Each node's events keep their order. A message is received after it was first sent, whatever the
clocks say: the receiver's sequence is held back until the sender's has come to that. Corrected
times choose between what is free (Lamport, "Time, Clocks, and the Ordering of Events", 1978).

A message whose sending is not recorded is not waited for: once the sender's sequence is later by
more than clocks can be wrong, or at its end, or waits itself, the receiver's goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush

from paxosctl.inspection.events import ACCEPTED
from paxosd.recorder.event import PUBLISHED, RECEIVED, SENT, START, Event

SENT_KEPT = 100_000
"""So many messages of a node are remembered as sent, at least."""
Key = tuple[object, ...]


class _Sent:
    """What one node has sent of late, in two generations."""

    def __init__(self) -> None:
        self._new: set[Key] = set()
        self._old: set[Key] = set()

    def add(self, key: Key) -> None:
        self._new.add(key)
        if len(self._new) >= SENT_KEPT:
            self._old, self._new = self._new, set()

    def __contains__(self, key: Key) -> bool:
        return key in self._new or key in self._old


def in_causal_order(
    streams: Sequence[Iterator[Event]], slack_us: Callable[[str, str], int]
) -> Iterator[Event]:
    """All events of all streams. ``slack_us(node, other)``: how wrong the difference of their
    times can be. The streams of nodes come one each; those of logs may be more."""
    return _Merge(streams, slack_us).run()


class _Merge:
    def __init__(
        self, streams: Sequence[Iterator[Event]], slack_us: Callable[[str, str], int]
    ) -> None:
        self._streams = list(streams)
        self._slack_us = slack_us
        self._heads: dict[int, Event] = {}
        self._free: list[tuple[int, int]] = []
        """(time, stream) whose head may go on."""
        self._held: dict[Key, list[int]] = {}
        """Message → the streams whose head waits for its sending."""
        self._limits: list[tuple[int, int, Key]] = []
        """(time up to which it waits, stream, message)."""
        self._sent: dict[str, _Sent] = {}
        self._at: dict[str, int] = {}
        """Node → its stream, of recorded ones."""

    def run(self) -> Iterator[Event]:
        for place in range(len(self._streams)):
            self._advance(place)
        while self._free or self._limits:
            place = self._next()
            event = self._heads.pop(place)
            yield event
            if event.kind < START:
                self._note_sent(event)
            self._advance(place)

    def _advance(self, place: int) -> None:
        event = next(self._streams[place], None)
        if event is None:
            self._at = {node: at for node, at in self._at.items() if at != place}
            return
        self._heads[place] = event
        if event.seq and event.kind <= 255:
            self._at[event.node] = place
        heappush(self._free, (event.wall_us, place))

    def _next(self) -> int:
        """The stream to take the next event from."""
        while True:
            while self._limits and not self._waits(self._limits[0]):
                heappop(self._limits)
            if not self._free or (self._limits and self._limits[0][0] < self._free[0][0]):
                return self._release()
            _, place = heappop(self._free)
            if not self._hold(place):
                return place

    def _waits(self, limit: tuple[int, int, Key]) -> bool:
        return limit[1] in self._held.get(limit[2], ())

    def _release(self) -> int:
        """It has waited long enough."""
        _, place, key = heappop(self._limits)
        self._held[key].remove(place)
        if not self._held[key]:
            del self._held[key]
        return place

    def _hold(self, place: int) -> bool:
        """Whether the head of this stream has to wait."""
        event = self._heads[place]
        if event.code != RECEIVED or event.kind >= START:
            return False
        sender = self._at.get(event.peer)
        if sender is None or sender == place:
            return False
        head = self._heads.get(sender)
        slack_us = self._slack_us(event.node, event.peer)
        if head is None or head.wall_us > event.wall_us + slack_us:
            return False
        key = _key(event, event.peer, "" if event.kind == ACCEPTED else event.node)
        sent = self._sent.get(event.peer)
        if sent is not None and key in sent:
            return False
        self._held.setdefault(key, []).append(place)
        heappush(self._limits, (event.wall_us + slack_us, place, key))
        return True

    def _note_sent(self, event: Event) -> None:
        if event.code == PUBLISHED:
            key = _key(event, event.node, "")
        elif event.code == SENT:
            key = _key(event, event.node, event.peer)
        else:
            return
        self._sent.setdefault(event.node, _Sent()).add(key)
        for place in self._held.pop(key, ()):
            heappush(self._free, (self._heads[place].wall_us, place))


def _key(event: Event, sender: str, to: str) -> Key:
    return sender, to, event.kind, event.voter, event.round, event.slot, event.x, event.y
