"""Publishes applied changes to watchers so that none of them can miss one unnoticed.

    watcher  SUB ── subscribe kv/P, progress/P ──► XPUB   P: a key or a prefix
    XPUB ── (subscribe, topic) ──► on_subscription
    machine ── recent_changes ──► flush ──► kv/KEY      one message per change
                                  tick  ──► progress/P  at once, then every 200 ms or 1 s

PUB drops what a slow subscriber has no room for, without a sign. So:

1. Each distinct subscribed P has a *stream*. A change is sent once. For every stream that it
   belongs to, it carries its place there: the revision of the change before it, and which of how
   many changes of its own revision it is. So a watcher sees for itself whether it misses anything,
   whatever came between: a loss, a broken connection, another node, another run of the node.
2. A progress message says: everything up to ``revision`` has been published, and no change of P
   lies in ``last_revision < … <= revision``. It goes out at once for each new subscriber, and
   again and again after, so a lost *last* message is seen.
3. Watchers of version 0.1 go by the number ``seq`` in the progress messages. No number is used
   twice for any P while the process runs, not even after P's last subscriber left and P was
   forgotten: a new stream begins above every number ever given.
4. ``revision`` and the changes are taken from the machine together, in :meth:`flush`. Nothing
   else may empty ``recent_changes``. While nobody subscribes the machine collects none.
5. Whether the collected changes are *all* is checked: each effective command makes the next
   revision, so the changes of all keys together have every revision from the last one published to
   the machine's own. Where one is missing (the machine took in a snapshot, and the publisher was
   informed too late or not at all), each stream goes on behind the gap: its next change names the
   highest revision that can have been missed as the one before it.
6. What a turn applied is published in pieces of :data:`CHANGES_PER_TURN`, and while more waits
   (:attr:`EventPublisher.lags`) nothing more is applied. What one revision did to many keys is
   published in pieces as well (:meth:`pump`), and all that came after it waits, in order. No list
   is made for that: the keys ascend, so those of each P are one stretch of them, and the position
   of a key in its stretch is a difference of two positions. Progress messages that are sent
   meanwhile go up to the last whole revision. If more than :data:`BACKLOG_BYTES_MAX` wait, they
   are dropped, and the streams go on behind the gap as under 5: watchers pull what they miss.

Streams are bounded by ``subscriptions_max``. A watcher over the bound gets no progress message,
which it reports to its user; it never gets a part of the changes as if it were all of them.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from paxosd.core.cluster_settings import DEFAULTS
from paxosd.core.commands import Change, KeysChanged
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.core.work import Work
from paxosd.host.byte_limits import EVENT_BYTES_MAX
from paxosd.host.log import Log
from paxosd.replica.watch_streams import OpenGroup, Stream, StreamTable
from paxosd.wire.events import TOPIC_KV, TOPIC_LEARNED, TOPIC_PROGRESS, EventEncoder

PROGRESS_BUSY_MS = 200
PROGRESS_IDLE_MS = 1000
CHANGES_PER_TURN = 500
"""So many changes are published in one turn, which takes some 8 ms: the keys of changes of many
keys, and what waited for them."""
BACKLOG_BYTES_MAX = 16 << 20
"""What waits behind a group that is being published; each change counts for key, value and 200."""
PIECE_KEYS = 64
"""So many are published at once with what was applied; only the rest waits for the turn's end."""
_CHANGE_BYTES = 200
_SPANS_MAX = 256
"""With more streams than that every key of a change of many is looked at, watched or not."""

Publish = Callable[[bytes, bytes], object]
"""``publish(topic, payload)``: hands one message to the PUB socket and never blocks."""
Age = Callable[[], int]


def _age_of_now() -> int:
    """The age of a source that is always up to date."""
    return 0


def _key_bytes_max() -> int:
    """As long as nobody has set another limit."""
    return DEFAULTS.key_bytes_max


class ChangeSource(Protocol):
    """The part of the state machine that is needed here; for
    :class:`paxosd.core.state.machine.Machine`."""

    collect_changes: bool
    recent_changes: list[Change | KeysChanged]

    @property
    def revision(self) -> int:
        """The store's revision; every change up to it was collected, if collecting was on."""
        ...


class EventPublisher:
    """The daemon's publisher of ``kv/``, ``progress/`` and ``learned/``.

    Call :meth:`flush` after each round of applying, :meth:`pump` once a turn while there is a
    :attr:`backlog`, :meth:`on_subscription` for each notice of the XPUB socket, :meth:`tick` at
    :meth:`next_due_ms` at the latest. ``counters``: changes, progress, learned (messages sent),
    refused (subscriptions over a bound), withheld (changes, for too much waits to be read), gaps
    (how often changes were left out: withheld, or never collected). Topics of others are ignored.
    """

    def __init__(
        self,
        publish: Publish,
        source: ChangeSource,
        *,
        cluster: str,
        node: NodeId,
        boot_count: int,
        subscriptions_max: int,
        prefix_bytes_max: Callable[[], int] = _key_bytes_max,
        log: Log | None = None,
        waiting_bytes: Callable[[], int] = lambda: 0,
        work: Work | None = None,
    ) -> None:
        """``prefix_bytes_max``: how long a key may be now, by the settings in force.
        ``waiting_bytes``: what the sockets hold for subscribers that are slow."""
        self.counters: Counter[str] = Counter()
        self._waiting_bytes = waiting_bytes
        self.wants_learned = False
        """Whether anybody subscribes to ``learned/``; if not, nothing need be learned for it."""
        self.work = work if work is not None else Work()
        self._publish = publish
        self._source = source
        self._encoder = EventEncoder(cluster, node, boot_count)
        self._subscriptions_max = subscriptions_max
        self._prefix_bytes_max = prefix_bytes_max
        self._log = log
        self._full = False
        self._revision = source.revision
        self.backlog: deque[Change | KeysChanged] = deque()
        """Collected, for :meth:`pump` to publish; first the group that ``_open`` is of."""
        self._backlog_bytes = 0
        self._open: OpenGroup | None = None
        self._seq_floor = 0  # above every number of every forgotten stream
        self._table = StreamTable()
        self._idle: dict[Stream, None] = {}  # every stream, longest without progress first
        self._dirty: dict[Stream, None] = {}  # those with messages since their last progress
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
        """A notice of an XPUB socket with XPUB_VERBOSE, which reports each subscription, and the
        unsubscription of a topic once nobody is left. ``age_ms`` as for :meth:`tick`."""
        if TOPIC_LEARNED.startswith(topic):  # learned/x matches nothing that is ever sent
            self._on_learned(subscribe, topic)
        prefix = _watched(topic)
        if prefix is None:
            return
        if not subscribe:
            self._unsubscribe(prefix, topic)
            return
        self.flush()
        stream = self._table.get(prefix)
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

    def _begin(self, prefix: bytes) -> Stream | None:
        if len(prefix) > self._prefix_bytes_max() or len(self._idle) >= self._subscriptions_max:
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
        # Of what waits to be published nothing is for it: it begins at the machine's revision.
        stream = Stream(prefix, self._seq_floor, self._source.revision)
        self._idle[stream] = None
        self._table.add(stream)
        return stream

    def _unsubscribe(self, prefix: bytes, topic: bytes) -> None:
        stream = self._table.get(prefix)
        if stream is None:
            return
        stream.topics.discard(topic)
        if stream.topics:
            return
        self._seq_floor = max(self._seq_floor, stream.seq + 1)
        self._full = False
        self._table.remove(stream)
        del self._idle[stream]
        self._dirty.pop(stream, None)
        if not self._idle:
            self._source.collect_changes = False
            self._source.recent_changes = []
            self._drop_backlog()

    # -- changes ------------------------------------------------------------------------------

    def stop(self) -> None:
        """Publish nothing any more: the machine's state is wrong. Watchers miss their progress
        messages, and go to another node."""
        self._source.collect_changes = False
        self._source.recent_changes = []
        self._drop_backlog()
        self._table.clear()
        self._idle.clear()
        self._dirty.clear()
        self._learned_topics.clear()
        self.wants_learned = False

    @property
    def lags(self) -> bool:
        """Whether more changes wait than a turn publishes: no more should be applied for
        now. What waits behind a very large one is not waited for: it may be dropped."""
        backlog = self.backlog
        if len(backlog) <= CHANGES_PER_TURN:
            return False
        first = backlog[0]
        return type(first) is not KeysChanged or len(first.keys) <= CHANGES_PER_TURN

    def flush(self) -> None:
        """Take what the machine collected, and publish it up to the first change of many
        keys that is not small. Cheap if that is nothing."""
        source = self._source
        changes = source.recent_changes
        if changes:
            source.recent_changes = []
            if self._waiting_bytes() > EVENT_BYTES_MAX:
                # Somebody does not read. All watchers get this from the history, at their own pace.
                self.counters["withheld"] += len(changes)
                self._drop_backlog()
                self._skip_to(source.revision)
            else:
                self._take(changes)
        if not self.backlog and source.revision != self._revision:
            self._skip_to(source.revision)

    def _take(self, changes: list[Change | KeysChanged]) -> None:
        backlog = self.backlog
        few = len(changes) <= CHANGES_PER_TURN
        if not backlog and few and KeysChanged not in map(type, changes):
            self._publish_changes(changes)  # type: ignore[arg-type]  # there is no range in it
            return
        backlog.extend(changes)
        for change in changes:
            self._backlog_bytes += _backlog_bytes(change)
        self.pump(PIECE_KEYS)
        if self._backlog_bytes > BACKLOG_BYTES_MAX:
            self._drop_backlog()
            self._skip_to(self._source.revision)

    def pump(self, keys_max: int = CHANGES_PER_TURN) -> None:
        """Publish about so many of the changes that wait."""
        backlog = self.backlog
        while backlog and keys_max > 0:
            plain: list[Change] = []
            while backlog and len(plain) < keys_max and type(backlog[0]) is not KeysChanged:
                plain.append(backlog.popleft())  # type: ignore[arg-type]  # type() does not narrow
            if plain:
                self._backlog_bytes -= sum(map(_backlog_bytes, plain))
                self._publish_changes(plain)
                keys_max -= len(plain)
                continue
            changed = backlog[0]
            assert type(changed) is KeysChanged
            keys_max -= self._publish_group(changed, keys_max)
            if self._open is None:
                backlog.popleft()
                self._backlog_bytes -= _backlog_bytes(changed)

    def _drop_backlog(self) -> None:
        self.backlog.clear()
        self._backlog_bytes = 0
        self._open = None

    def jumped(self) -> None:
        """The machine took in a snapshot: changes were made that are never published. To be called
        before more is applied; if that was forgotten, the next flush detects the gap."""
        self.flush()

    def _skip_to(self, revision: int) -> None:
        """No change up to ``revision`` was collected since the last one. Each stream skips a
        number and names a revision that its watchers may not have; a progress message follows
        soon."""
        self._revision = revision
        if not self._idle:
            return
        self.counters["gaps"] += 1
        for stream in self._idle:
            stream.seq += 1
            stream.last_revision = max(stream.last_revision, revision)
            self._dirty[stream] = None
        self._swept_ms = -PROGRESS_BUSY_MS  # at the next tick

    def _publish_changes(self, changes: list[Change]) -> None:
        """Invariant: everything up to ``self._revision`` was published, or skipped and said so.
        Each change is the only one of its revision."""
        lengths = self._table.lengths
        encode = self._encoder.change
        publish = self._publish
        dirty = self._dirty
        sent = 0
        at = self._revision
        for revision, slot, key, value in changes:
            if revision != at + 1:
                self._skip_to(revision - 1)
            at = revision
            places: list[tuple[int, int, int, int]] = []
            length_max = len(key)
            for length, table in lengths:
                if length > length_max:
                    break
                stream = table.get(key[:length])
                if stream is not None and stream.last_revision < revision:
                    places.append((length, stream.last_revision, 0, 1))
                    stream.seq += 1
                    stream.last_revision = revision
                    dirty[stream] = None
            if places:
                publish(*encode(revision, slot, key, value, places))
                sent += 1
        self._revision = at
        self.counters["changes"] += sent
        self.work.units += len(changes) + sent

    def _publish_group(self, changed: KeysChanged, keys_max: int) -> int:
        """Go on with it by about ``keys_max`` keys; how many it were, at least 1."""
        revision, slot = changed.revision, changed.slot
        group = self._open
        if group is None:
            self._open = group = OpenGroup(changed)
            if revision != self._revision + 1:
                self._skip_to(revision - 1)
            if len(self._idle) <= _SPANS_MAX:
                group.skip_unwatched(self._idle)
        first, keys = group.take(keys_max)
        values = group.values
        self.work.units += 2 * len(keys)
        for position, key in enumerate(keys, first):
            places: list[tuple[int, int, int, int]] = []
            for stream in self._table.of_key(key):
                if stream.last_revision < revision:
                    begin, stop = group.span(stream)
                    place = position - begin, stop - begin
                    places.append((len(stream.prefix), stream.last_revision, *place))
            if places:
                self._publish(*self._encoder.change(revision, slot, key, values.get(key), places))
                self.counters["changes"] += 1
        if not group.stops:
            self._end_group(group)
        return max(1, len(keys))

    def _end_group(self, group: OpenGroup) -> None:
        self._open = None
        self._revision = group.revision
        for stream, (begin, stop) in group.spans.items():
            if begin < stop and stream.last_revision < group.revision:
                stream.seq += stop - begin
                stream.last_revision = group.revision
                if stream in self._idle:
                    self._dirty[stream] = None

    def publish_learned(self, slot: Slot, ballot: Ballot, value: bytes) -> None:
        """Publish a chosen value, slots in order, if anybody wants it."""
        if self.wants_learned and self._waiting_bytes() <= EVENT_BYTES_MAX:
            self._publish(*self._encoder.learned(slot, ballot, value))
            self.counters["learned"] += 1

    def publish_members(self, epoch: int) -> None:
        """Say that another membership is in force."""
        self._publish(*self._encoder.members(epoch))

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

    def _send_progress(self, stream: Stream, now_ms: int, age_ms: Age) -> None:
        self._dirty.pop(stream, None)
        del self._idle[stream]
        self._idle[stream] = None  # to the end: the order is that of sent_ms
        stream.sent_ms = now_ms
        self._publish(
            *self._encoder.progress(
                stream.prefix,
                max(self._revision, stream.last_revision),
                stream.seq,
                stream.last_revision,
                age_ms(),
            )
        )
        self.counters["progress"] += 1


def _backlog_bytes(change: Change | KeysChanged) -> int:
    """What a change counts while it waits. Removed keys count for little: they are held for the
    history anyway."""
    if type(change) is KeysChanged:
        values = change.values
        return _CHANGE_BYTES + sum([_CHANGE_BYTES + len(k) + len(values[k]) for k in values])
    assert isinstance(change, Change)
    return _CHANGE_BYTES + len(change.key) + len(change.value or b"")


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
