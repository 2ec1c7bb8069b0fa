"""Publishes applied changes to watchers so that none of them can miss one unnoticed.

    watcher  SUB ── subscribe kv/P, progress/P ──► XPUB   P: a key or a prefix
    XPUB ── (subscribe, topic) ──► on_subscription
    machine ── recent_changes ──► flush ──► kv/KEY      one message per change
                                  tick  ──► progress/P  at once, then every 200 ms or 1 s

PUB drops what a slow subscriber has no room for, and says nothing. So:

1. Each distinct subscribed P has a *stream*. A change is sent once, and says for every stream
   that it belongs to where it stands there: the revision of the change before it, and which of
   how many changes of its own revision it is. So a watcher sees for itself whether it misses
   anything, whatever came between: a loss, a broken connection, another node, another life.
2. A progress message says: everything up to ``revision`` has been published, and no change of P
   lies in ``last_revision < … <= revision``. It goes out at once for each new subscriber, and
   again and again after, so a lost *last* message is seen.
3. Watchers of version 0.1 go by the number ``seq`` in the progress messages. No number is used
   twice for any P in one incarnation, not even after P's last subscriber left and P was
   forgotten: a new stream begins above every number ever given.
4. ``revision`` and the changes are taken from the machine together, in :meth:`flush`. Nothing
   else may empty ``recent_changes``. While nobody subscribes the machine collects none.
5. That the collected changes are *all* is not believed but seen: each effective command makes the
   next revision, so the changes of all keys together have no revision left out, from the last one
   published to the machine's own. Where one is (the machine took in a snapshot; whoever should
   have said so did not, or too late), each stream goes on behind the gap: its next change names
   the highest revision that can have been missed as the one before it.

Streams are bounded by ``subscriptions_max``. A watcher over the bound gets no progress message,
which it reports; it is never given a part of the changes and left to think it is the whole.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from paxosd.core.commands import Change
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.wire_events import TOPIC_KV, TOPIC_LEARNED, TOPIC_PROGRESS, EventEncoder

PROGRESS_BUSY_MS = 200
PROGRESS_IDLE_MS = 1000

Publish = Callable[[bytes, bytes], object]
"""``publish(topic, payload)``: hands one message to the PUB socket and never blocks."""
Age = Callable[[], int]


def _age_of_now() -> int:
    """Of a source that is its own authority."""
    return 0


class ChangeSource(Protocol):
    """What of the state machine this needs; :class:`paxosd.core.machine.Machine` has it."""

    collect_changes: bool
    recent_changes: list[Change]

    @property
    def revision(self) -> int:
        """The store's revision; every change up to it was collected, if collecting was on."""
        ...


class Log(Protocol):
    """The part of a structlog logger that is used."""

    def warning(self, event: str, **fields: Any) -> Any: ...


class _Stream:
    """One subscribed P. Invariant: every change of P above ``last_revision`` is still to come,
    and will name it as the revision before, and be numbered from ``seq + 1`` on."""

    __slots__ = ("last_revision", "prefix", "sent_ms", "seq", "topics")

    def __init__(self, prefix: bytes, seq: int, revision: int) -> None:
        self.prefix = prefix
        self.seq = seq
        self.last_revision = revision
        self.topics: set[bytes] = set()
        self.sent_ms = 0


class EventPublisher:
    """The daemon's publisher of ``kv/``, ``progress/`` and ``learned/``.

    Call :meth:`flush` after each round of applying, :meth:`on_subscription` for each notice of
    the XPUB socket, :meth:`tick` at :meth:`next_due_ms` at the latest. ``counters``: changes,
    progress, learned (messages sent), refused (subscriptions over a bound), gaps (how often the
    machine had changes that were never collected). Topics of others are ignored.
    """

    def __init__(
        self,
        publish: Publish,
        source: ChangeSource,
        *,
        cluster: str,
        node: NodeId,
        incarnation: int,
        subscriptions_max: int,
        prefix_bytes_max: int = 4096,
        log: Log | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.wants_learned = False
        """Whether anybody subscribes to ``learned/``: if not, spare yourself the work."""
        self._publish = publish
        self._source = source
        self._encoder = EventEncoder(cluster, node, incarnation)
        self._subscriptions_max = subscriptions_max
        self._prefix_bytes_max = prefix_bytes_max
        self._log = log
        self._full = False
        self._revision = source.revision
        self._seq_floor = 0  # above every number of every forgotten stream
        self._by_length: dict[int, dict[bytes, _Stream]] = {}
        self._lengths: list[tuple[int, dict[bytes, _Stream]]] = []  # the same, ascending
        self._idle: dict[_Stream, None] = {}  # every stream, longest without progress first
        self._dirty: dict[_Stream, None] = {}  # those with messages since their last progress
        self._swept_ms = -PROGRESS_BUSY_MS  # when the dirty ones last had their progress
        self._learned_topics: set[bytes] = set()

    @property
    def streams(self) -> int:
        """How many distinct keys and prefixes are watched."""
        return len(self._idle)

    # -- subscriptions ------------------------------------------------------------------------

    def on_subscription(
        self, subscribe: bool, topic: bytes, now_ms: int, age_ms: Age = _age_of_now
    ) -> None:
        """A notice of an XPUB socket with XPUB_VERBOSE: each subscription is told, and the
        unsubscription of a topic once nobody is left. ``age_ms`` as for :meth:`tick`."""
        if TOPIC_LEARNED.startswith(topic):  # learned/x matches nothing that is ever sent
            self._on_learned(subscribe, topic)
        prefix = _watched(topic)
        if prefix is None:
            return
        if not subscribe:
            self._unsubscribe(prefix, topic)
            return
        self.flush()  # so that the stream begins exactly at the machine's revision
        stream = self._by_length.get(len(prefix), {}).get(prefix)
        if stream is None:
            stream = self._begin(prefix)
            if stream is None:
                return
        stream.topics.add(topic)
        self._source.collect_changes = True
        self._send_progress(stream, now_ms, age_ms)

    def _on_learned(self, subscribe: bool, topic: bytes) -> None:
        if subscribe:
            self._learned_topics.add(topic)
        else:
            self._learned_topics.discard(topic)
        self.wants_learned = bool(self._learned_topics)

    def _begin(self, prefix: bytes) -> _Stream | None:
        if len(prefix) > self._prefix_bytes_max or len(self._idle) >= self._subscriptions_max:
            self.counters["refused"] += 1
            if not self._full and self._log is not None:
                self._log.warning(
                    "bus.subscriptions_full",
                    streams=len(self._idle),
                    subscriptions_max=self._subscriptions_max,
                    topic_bytes=len(prefix),
                )
            self._full = True
            return None
        stream = _Stream(prefix, self._seq_floor, self._revision)
        self._idle[stream] = None
        table = self._by_length.setdefault(len(prefix), {})
        table[prefix] = stream
        if len(table) == 1:
            self._lengths = sorted(self._by_length.items(), key=lambda item: item[0])
        return stream

    def _unsubscribe(self, prefix: bytes, topic: bytes) -> None:
        table = self._by_length.get(len(prefix), {})
        stream = table.get(prefix)
        if stream is None:
            return
        stream.topics.discard(topic)
        if stream.topics:
            return
        self._seq_floor = max(self._seq_floor, stream.seq + 1)
        self._full = False
        del table[prefix]
        del self._idle[stream]
        self._dirty.pop(stream, None)
        if not table:
            del self._by_length[len(prefix)]
            self._lengths = sorted(self._by_length.items(), key=lambda item: item[0])
        if not self._idle:
            self._source.collect_changes = False
            self._source.recent_changes = []

    # -- changes ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Publish nothing any more: what the machine has is wrong. Watchers miss their progress,
        and turn to another node."""
        self._source.collect_changes = False
        self._source.recent_changes = []
        self._by_length.clear()
        self._lengths = []
        self._idle.clear()
        self._dirty.clear()
        self._learned_topics.clear()
        self.wants_learned = False

    def flush(self) -> None:
        """Publish what the machine collected. Cheap if that is nothing."""
        source = self._source
        changes = source.recent_changes
        if changes:
            source.recent_changes = []
            self._publish_changes(changes)
        if source.revision != self._revision:
            self._skip_to(source.revision)

    def jumped(self) -> None:
        """The machine took a snapshot in: changes were made that nobody will ever publish. To be
        called before more is applied; whoever forgets it is found out by the next flush."""
        self.flush()

    def _skip_to(self, revision: int) -> None:
        """No change up to ``revision`` was collected since the last one. Each stream skips a
        number and names a revision that its watchers may not have; they are told soon."""
        self._revision = revision
        if not self._idle:
            return
        self.counters["gaps"] += 1
        for stream in self._idle:
            stream.seq += 1
            stream.last_revision = revision
            self._dirty[stream] = None
        self._swept_ms = -PROGRESS_BUSY_MS  # tell them at the next tick

    def _publish_changes(self, changes: list[Change]) -> None:
        """Invariant: everything up to ``self._revision`` was published, or skipped and said so.
        All changes of one revision are here together, for the machine collects whole slots."""
        lengths = self._lengths
        encode = self._encoder.change
        publish = self._publish
        dirty = self._dirty
        sent = 0
        many: list[Change] = []
        following = [change[0] for change in changes[1:]]
        following.append(0)
        at = self._revision
        for change, next_revision in zip(changes, following, strict=True):
            revision, slot, key, value = change
            if next_revision == revision or many:  # rare: one of several of its revision
                many.append(change)
                if next_revision != revision:
                    self._publish_many(many, at)
                    many = []
                    at = revision
                continue
            if revision != at + 1:
                self._skip_to(revision - 1)
            at = revision
            places: list[tuple[int, int, int, int]] = []
            length_max = len(key)
            for length, table in lengths:
                if length > length_max:
                    break
                stream = table.get(key[:length])
                if stream is not None:
                    places.append((length, stream.last_revision, 0, 1))
                    stream.seq += 1
                    stream.last_revision = revision
                    dirty[stream] = None
            if places:
                publish(*encode(revision, slot, key, value, places))
                sent += 1
        self._revision = at
        self.counters["changes"] += sent

    def _publish_many(self, changes: list[Change], at: int) -> None:
        """All changes of one revision, ``at`` was the last: each stream's are counted before the
        first is sent."""
        revision = changes[0].revision
        if revision != at + 1:
            self._skip_to(revision - 1)
        streams_of = [self._streams_of(change.key) for change in changes]
        totals: dict[_Stream, int] = {}
        for streams in streams_of:
            for stream in streams:
                totals[stream] = totals.get(stream, 0) + 1
        indexes = dict.fromkeys(totals, 0)
        for (_, slot, key, value), streams in zip(changes, streams_of, strict=True):
            places: list[tuple[int, int, int, int]] = []
            for stream in streams:
                index = indexes[stream]
                places.append((len(stream.prefix), stream.last_revision, index, totals[stream]))
                indexes[stream] = index + 1
            if places:
                self._publish(*self._encoder.change(revision, slot, key, value, places))
                self.counters["changes"] += 1
        for stream, total in totals.items():
            stream.seq += total
            stream.last_revision = revision
            self._dirty[stream] = None

    def _streams_of(self, key: bytes) -> list[_Stream]:
        """Those of the prefixes of ``key``, the shortest first."""
        found = []
        for length, table in self._lengths:
            if length > len(key):
                break
            stream = table.get(key[:length])
            if stream is not None:
                found.append(stream)
        return found

    def publish_learned(self, slot: Slot, ballot: Ballot, value: bytes) -> None:
        """Publish a chosen value, slots in order, if anybody wants it."""
        if self.wants_learned:
            self._publish(*self._encoder.learned(slot, ballot, value))
            self.counters["learned"] += 1

    # -- progress -----------------------------------------------------------------------------

    def tick(self, now_ms: int, age_ms: Age = _age_of_now) -> None:
        """Send the progress messages that are due. ``age_ms()``: what was acknowledged so long ago
        is applied here, -1: not known; watchers leave a node that stays too far behind. It is
        called for each message that is sent, and never else, for to know it costs messages."""
        self.flush()
        if self._dirty and now_ms - self._swept_ms >= PROGRESS_BUSY_MS:
            self._swept_ms = now_ms
            for stream in list(self._dirty):
                self._send_progress(stream, now_ms, age_ms)
        while self._idle:
            stream = next(iter(self._idle))
            if now_ms - stream.sent_ms < PROGRESS_IDLE_MS:
                break
            self._send_progress(stream, now_ms, age_ms)

    def next_due_ms(self) -> int | None:
        """When :meth:`tick` has something to do; None while nobody watches."""
        if not self._idle:
            return None
        due = next(iter(self._idle)).sent_ms + PROGRESS_IDLE_MS
        if self._dirty:
            due = min(due, self._swept_ms + PROGRESS_BUSY_MS)
        return due

    def _send_progress(self, stream: _Stream, now_ms: int, age_ms: Age) -> None:
        self._dirty.pop(stream, None)
        del self._idle[stream]
        self._idle[stream] = None  # to the end: the order is that of sent_ms
        stream.sent_ms = now_ms
        self._publish(
            *self._encoder.progress(
                stream.prefix, self._revision, stream.seq, stream.last_revision, age_ms()
            )
        )
        self.counters["progress"] += 1


def _watched(topic: bytes) -> bytes | None:
    """The P that a topic asks for; None for one of others.

    A bare ZeroMQ subscriber may ask for less than a whole topic, "" or ``kv``: that is every
    key.
    """
    for root in (TOPIC_KV, TOPIC_PROGRESS):
        if topic.startswith(root):
            return topic[len(root) :]
        if root.startswith(topic):
            return b""
    return None
