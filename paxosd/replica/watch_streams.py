"""What watchers follow: the stream of each watched prefix, found by key; and the changes of one
revision as their streams see them.
"""

from collections.abc import Iterable

from paxosd.core.commands import KeysChanged, prefix_end
from paxosd.core.state.key_index import KeyRun


class Stream:
    """One subscribed P. ``seq``: how many changes of P were published; ``sent_ms``: when the last
    progress message went out; ``topics``: those that somebody subscribes to.

    Invariant: every change of P above ``last_revision`` is still to come, and will name it as the
    revision before, and be numbered from ``seq + 1`` on."""

    __slots__ = ("last_revision", "prefix", "sent_ms", "seq", "topics")

    def __init__(self, prefix: bytes, seq: int, revision: int) -> None:
        self.prefix = prefix
        self.seq = seq
        self.last_revision = revision
        self.topics: set[bytes] = set()
        self.sent_ms = 0


class OpenGroup:
    """Changes of one revision that are being published, up to the position ``at`` among its keys.
    ``spans``: where the keys of each stream begin and end, as far as that was needed."""

    __slots__ = ("at", "keys", "revision", "slot", "spans", "stops", "values")

    def __init__(self, group: KeysChanged) -> None:
        self.revision = group.revision
        self.slot = group.slot
        keys = group.keys
        self.values = group.values
        self.keys = keys if isinstance(keys, KeyRun) else KeyRun([list(keys)])
        self.spans: dict[Stream, tuple[int, int]] = {}
        self.at = 0
        self.stops: list[tuple[int, int]] = [(0, len(self.keys))]
        """The stretches that are left to publish, the last first."""

    def span(self, stream: Stream) -> tuple[int, int]:
        """The positions of the stream's keys: the first, and the one after the last."""
        found = self.spans.get(stream)
        if found is None:
            found = self.keys.span(stream.prefix, prefix_end(stream.prefix))
            self.spans[stream] = found
        return found

    def skip_unwatched(self, streams: Iterable[Stream]) -> None:
        """Publish only the keys that these streams watch."""
        merged: list[tuple[int, int]] = []
        for first, stop in sorted(self.span(stream) for stream in streams):
            if first == stop:
                continue
            if merged and first <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(stop, merged[-1][1])
            else:
                merged.append((first, stop))
        self.stops = merged[::-1]
        self.at = merged[0][0] if merged else len(self.keys)

    def take(self, keys_max: int) -> tuple[int, list[bytes]]:
        """The next keys, with the position of the first; no keys: all were taken."""
        if not self.stops:
            return self.at, []
        at = self.at
        keys = self.keys[at : min(self.stops[-1][1], at + keys_max)]
        self.at += len(keys)
        if self.at == self.stops[-1][1]:
            self.stops.pop()
            self.at = self.stops[-1][0] if self.stops else len(self.keys)
        return at, keys


class StreamTable:
    """The streams by their prefixes: those of a key are found with one look-up for each length that
    a prefix has."""

    def __init__(self) -> None:
        self._by_length: dict[int, dict[bytes, Stream]] = {}
        self.lengths: list[tuple[int, dict[bytes, Stream]]] = []
        """(length, prefix → stream), the shortest first."""

    def get(self, prefix: bytes) -> Stream | None:
        """The stream of exactly this prefix."""
        return self._by_length.get(len(prefix), {}).get(prefix)

    def add(self, stream: Stream) -> None:
        """One more; none has this prefix."""
        table = self._by_length.setdefault(len(stream.prefix), {})
        table[stream.prefix] = stream
        if len(table) == 1:
            self._sort()

    def remove(self, stream: Stream) -> None:
        """One less."""
        length = len(stream.prefix)
        table = self._by_length[length]
        del table[stream.prefix]
        if not table:
            del self._by_length[length]
            self._sort()

    def clear(self) -> None:
        """Nobody watches anything."""
        self._by_length.clear()
        self.lengths = []

    def of_key(self, key: bytes) -> list[Stream]:
        """The streams of the prefixes of ``key``, the shortest first."""
        found = []
        for length, table in self.lengths:
            if length > len(key):
                break
            stream = table.get(key[:length])
            if stream is not None:
                found.append(stream)
        return found

    def _sort(self) -> None:
        self.lengths = sorted(self._by_length.items(), key=lambda item: item[0])
