"""Publishes applied changes to watchers so that none of them can miss one unnoticed.

    watcher  SUB ── subscribe kv/P, progress/P ──► XPUB   P: a key or a prefix
    XPUB ── (subscribe, topic) ──► on_subscription
    machine ── recent_changes ──► flush ──► kv/KEY      one message per change
                                  tick  ──► progress/P  at once, then every 200 ms or 1 s

PUB drops what a slow subscriber has no room for, and says nothing. So:

1. Each distinct subscribed P has a *stream*: its changes are numbered from one number to the
   next. A change is sent once, with its number in every stream that it belongs to.
2. A progress message says: everything up to ``revision`` has been published, the last number of
   P is ``seq``, and no change of P lies in ``last_revision < … <= revision``. It goes out at
   once for each new subscriber, and again and again after, so a lost *last* message is seen.
3. No number is used twice for any P in one incarnation, not even after P's last subscriber left
   and P was forgotten: a new stream begins above every number ever given. Otherwise a watcher
   whose connection broke in between could take a new stream for the rest of the old one.
4. ``revision`` and the changes are taken from the machine together, in :meth:`flush`. Nothing
   else may empty ``recent_changes``. While nobody subscribes the machine collects none.

Streams are bounded by ``subscriptions_max``. A watcher over the bound gets no progress message,
which it reports; it is never given a part of the changes and left to think it is the whole.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from paxosd.core.commands import Change
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.wire_events import TOPIC_KV, TOPIC_LEARNED, TOPIC_PROGRESS, EventEncoder

PROGRESS_BUSY_MS = 200
PROGRESS_IDLE_MS = 1000

Publish = Callable[[bytes, bytes], object]
"""``publish(topic, payload)``: hands one message to the PUB socket and never blocks."""


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
    and will be numbered from ``seq + 1`` on."""

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
    progress, learned (messages sent), refused (subscriptions over a bound). Topics of others are
    ignored.
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

    def on_subscription(self, subscribe: bool, topic: bytes, now_ms: int, age_ms: int = 0) -> None:
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

    def flush(self) -> None:
        """Publish what the machine collected. Cheap if that is nothing."""
        source = self._source
        changes = source.recent_changes
        if changes:
            source.recent_changes = []
            self._publish_changes(changes)
        self._revision = source.revision

    def jumped(self) -> None:
        """The machine took a snapshot in: changes were made that nobody will ever publish. Each
        stream skips a number, so that its watchers see that they missed something."""
        self.flush()
        for stream in self._idle:
            stream.seq += 1
            stream.last_revision = self._revision
            self._dirty[stream] = None
        self._swept_ms = -PROGRESS_BUSY_MS  # tell them at the next tick

    def _publish_changes(self, changes: Iterable[Change]) -> None:
        lengths = self._lengths
        encode = self._encoder.change
        publish = self._publish
        dirty = self._dirty
        sent = 0
        for revision, slot, key, value in changes:
            chain: list[tuple[int, int]] = []
            for length, table in lengths:
                if length > len(key):
                    break
                stream = table.get(key[:length])
                if stream is not None:
                    stream.seq = seq = stream.seq + 1
                    stream.last_revision = revision
                    dirty[stream] = None
                    chain.append((length, seq))
            if chain:
                publish(*encode(revision, slot, key, value, chain))
                sent += 1
        self.counters["changes"] += sent

    def publish_learned(self, slot: Slot, ballot: Ballot, value: bytes) -> None:
        """Publish a chosen value, slots in order, if anybody wants it."""
        if self.wants_learned:
            self._publish(*self._encoder.learned(slot, ballot, value))
            self.counters["learned"] += 1

    # -- progress -----------------------------------------------------------------------------

    def tick(self, now_ms: int, age_ms: int = 0) -> None:
        """Send the progress messages that are due. ``age_ms``: what was acknowledged so long ago
        is applied here, -1: not known; watchers leave a node that stays too far behind."""
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

    def _send_progress(self, stream: _Stream, now_ms: int, age_ms: int) -> None:
        self._dirty.pop(stream, None)
        del self._idle[stream]
        self._idle[stream] = None  # to the end: the order is that of sent_ms
        stream.sent_ms = now_ms
        self._publish(
            *self._encoder.progress(
                stream.prefix, self._revision, stream.seq, stream.last_revision, age_ms
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
