"""The ring in memory: events are packed into chunks by the loop, and taken out beside it.

    loop:    record() ──► rows ──► settle(): chunk … full ──► the next chunk
    beside:  take_blocks() ──► what is new, as blocks

While a turn goes on, what happens is only put off with :attr:`Recorder.later`, with the time at
which it happened; :meth:`Recorder.settle` makes events of it when nobody waits any more.

One thread records and one other may take: ``used`` grows only once an event is whole, and a chunk
changes hands once, so that no lock is needed, and recording never waits. If nobody takes for long,
the oldest full chunks are dropped, and the gap shows in the numbers of the events.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.messages import Accept, Accepted, Envelope
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId
from paxosd.recorder.block import BlockHead, encode_block
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import (
    APPLIED,
    EVENT_BYTES,
    EVENT_FIELDS,
    EVENT_FORM,
    KIND_AT,
    NOBODY,
    NOTE,
    PROMISED,
    PUBLISHED,
    RECEIVED,
    SENT,
    VOTED,
)
from paxosd.recorder.messages import record_message
from paxosd.wire import PEER_KINDS

HEARD = object()
"""Put off: envelopes that came."""
DONE = object()
"""(persist, sends, publishes) of a ``Ready``, and the group commit that is to hold the records; 0:
not known."""
ADVANCED = object()
"""What was applied, as ``Ready`` has it, and the chain after each slot."""
NUMBERS = object()
"""An event about no node: (kind, code, slot, what stands in place of a round, x, y)."""

CHUNK_EVENTS = 1600
CHUNKS_WAITING_MAX = 64
"""Full ones that nobody has taken: 4 MiB."""
CHUNK_AGE_US_MAX = 1 << 31
"""The times in a chunk count from its beginning, in 32 bits."""
TEXT_CHARS_MAX = 4096
NOTES_WAITING_MAX = 1000
"""Lines of the log that wait for the next turn; with more, the oldest are dropped."""

_CHUNK_BYTES = CHUNK_EVENTS * EVENT_BYTES
ROWS_MAX = 20
"""Events that are packed at once."""
_ROWS_FIELDS = ROWS_MAX * EVENT_FIELDS
_PACKERS = [Struct(f"<{EVENT_FORM * count}") for count in range(ROWS_MAX + 1)]
"""For so many events. A form that is made for the occasion takes longer than to pack with it."""
_ACCEPT = PEER_KINDS[Accept]
_ACCEPTED = PEER_KINDS[Accepted]
_DIGEST_OF_NOTHING = digest_of(b"")


class _Chunk:
    """A stretch of events. ``taken``: how many bytes of it are in blocks; the taker's own."""

    __slots__ = ("base_us", "buffer", "first_seq", "taken", "texts", "texts_taken", "used")

    def __init__(self, first_seq: int, base_us: int) -> None:
        self.first_seq = first_seq
        self.base_us = base_us
        self.buffer = bytearray(_CHUNK_BYTES + ROWS_MAX * EVENT_BYTES)
        self.used = 0
        self.taken = 0
        self.texts: list[str] = []
        self.texts_taken = 0


class _Places(dict[NodeId, int]):
    """Node → its place in the names. More nodes than there are places count as nobody."""

    def __init__(self, names: list[str]) -> None:
        super().__init__({"": NOBODY})
        self._names = names

    def __missing__(self, name: NodeId) -> int:
        if len(self._names) >= NOBODY:
            return NOBODY
        self._names.append(name)
        place = self[name] = len(self._names) - 1
        return place


class Recorder:
    """The events of one run of a node. ``lost``: how many were dropped before they were taken."""

    __slots__ = ("_at_us", "_chunk", "_digest", "_full", "_names", "_places",
                 "_rows", "_run", "_value",
                 "directory_id", "later", "lost", "moments", "notes")  # fmt: skip

    def __init__(
        self, cluster: str, node: NodeId, boot_count: int, run_id: int, directory_id: int = 0
    ) -> None:
        self._run = cluster, node, boot_count, run_id
        self.directory_id = directory_id
        """Of the data directory; it may change while the node runs."""
        self._names: list[str] = []
        self._places = _Places(self._names)
        self._full: deque[_Chunk] = deque()
        self._chunk = _Chunk(1, 0)
        self._at_us = 0
        self._rows: list[int] = []
        """The fields of events that are not packed yet, one event after the other."""
        self.notes: deque[str] = deque(maxlen=NOTES_WAITING_MAX)
        """New lines of the log, which stand behind what was put off so far."""
        self.lost = 0
        self._value, self._digest = b"", _DIGEST_OF_NOTHING
        """The value that was looked at last."""
        self.moments: list[tuple[float, Any, Any, Any]] = []
        self.later = self.moments.append
        """Put off: (when, on the clock of the turns; one of the four above or what to call; its two
        arguments)."""

    # -- the loop

    def settle(self) -> None:
        """Make events of what was put off, in its order, and pack them for who takes them.

        What comes with every write is written out here and in :meth:`_add_heard`: a call for each
        event takes longer than the event itself, and the loop has some ten of them for a put."""
        rows, places = self._rows, self._places
        last_ms, at_us = -1.0, 0
        for now_ms, act, first, second in self.moments:
            if now_ms != last_ms:
                last_ms = now_ms
                at_us = int(now_ms * 1000.0) - self._chunk.base_us
                if 0 <= at_us < CHUNK_AGE_US_MAX:
                    self._at_us = at_us
                else:
                    self.set_time(now_ms)
                    at_us = self._at_us
            if act is HEARD:
                self._add_heard(first)
            elif act is DONE:
                persist, sends, publishes = first
                for each in persist:
                    if type(each) is AcceptRecord:
                        slot, (round_, voter), value = each
                        if value is not self._value:
                            self._value, self._digest = value, digest_of(value)
                        rows += (at_us, VOTED, NOBODY, places[voter], 0, slot, round_, second,
                                 self._digest)  # fmt: skip
                    elif type(each) is PromiseRecord:
                        self.record(PROMISED, ballot=each.ballot, x=second)
                for to, message in sends:
                    if type(message) is Accept:
                        (round_, voter), slot, value, commit = message
                        if value is not self._value:
                            self._value, self._digest = value, digest_of(value)
                        rows += (at_us, _ACCEPT, places[to], places[voter], SENT, slot, round_,
                                 commit, self._digest)  # fmt: skip
                    else:
                        record_message(self, to, SENT, message)
                for (round_, voter), ranges, seq in publishes:
                    for low, high in ranges:
                        rows += (at_us, _ACCEPTED, NOBODY, places[voter], PUBLISHED, low, round_,
                                 high, seq)  # fmt: skip
            elif act is ADVANCED:
                for (slot, (round_, voter), value, _), chain in zip(first, second, strict=True):
                    if value is not self._value:
                        self._value, self._digest = value, digest_of(value)
                    rows += (at_us, APPLIED, NOBODY, places[voter], 0, slot, round_, chain,
                             self._digest)  # fmt: skip
            elif act is NUMBERS:
                sort, code, slot, number, x, y = first
                rows += (at_us, sort, NOBODY, NOBODY, code, slot, number, x, y)
            else:
                act(first, second)
        self.moments.clear()
        self._pack()

    def _add_heard(self, envelopes: Sequence[Envelope]) -> None:
        rows, places, at_us = self._rows, self._places, self._at_us
        for envelope in envelopes:
            message: Any = envelope.body
            kind, peer = type(message), places[envelope.sender]
            if kind is Accepted:
                (round_, voter), ranges, seq = message
                voter = places[voter]
                for low, high in ranges:
                    rows += (at_us, _ACCEPTED, peer, voter, RECEIVED, low, round_, high, seq)
            elif kind is Accept:
                (round_, voter), slot, value, commit = message
                if value is not self._value:
                    self._value, self._digest = value, digest_of(value)
                rows += (at_us, _ACCEPT, peer, places[voter], RECEIVED, slot, round_, commit,
                         self._digest)  # fmt: skip
            else:
                record_message(self, envelope.sender, RECEIVED, message)

    def digest_of(self, value: bytes) -> int:
        """:func:`~paxosd.recorder.digest.digest_of`; the same value comes several times one after
        the other, in messages, for the log and as it is applied."""
        if value is not self._value:
            self._value, self._digest = value, digest_of(value)
        return self._digest

    def set_time(self, now_ms: float) -> None:
        """The time of the events from now on, on the clock of the turns."""
        now_us = int(now_ms * 1000.0)
        chunk = self._chunk
        if not chunk.used and not self._rows:
            chunk.base_us = now_us
        elif now_us - chunk.base_us >= CHUNK_AGE_US_MAX:
            self._pack()
            self._turn_over()
            chunk = self._chunk
            chunk.base_us = now_us
        at_us = now_us - chunk.base_us
        self._at_us = at_us if at_us > 0 else 0

    def record(
        self,
        kind: int,
        peer: NodeId = "",
        code: int = 0,
        slot: int = 0,
        ballot: Ballot = NULL_BALLOT,
        x: int = 0,
        y: int = 0,
    ) -> None:
        """Add an event. The numbers are not negative and have 64 bits at most. Nobody takes it
        before the next :meth:`settle`."""
        places = self._places
        round_, voter = ballot
        rows = self._rows
        rows += (self._at_us, kind, places[peer], places[voter], code, slot, round_, x, y)

    def _pack(self) -> None:
        """All rows, many at once: for each by itself it takes several times as long."""
        rows = self._rows
        for first in range(0, len(rows), _ROWS_FIELDS):
            chunk = self._chunk
            some = rows if len(rows) <= _ROWS_FIELDS else rows[first : first + _ROWS_FIELDS]
            form = _PACKERS[len(some) // EVENT_FIELDS]
            form.pack_into(chunk.buffer, chunk.used, *some)
            chunk.used += form.size
            if chunk.used >= _CHUNK_BYTES:
                self._turn_over()
        rows.clear()

    def note_soon(self, text: str) -> None:
        """Add a line of the log, behind what the turn does; any thread may call it."""
        self.notes.append(text)

    def take_notes(self, now_ms: float) -> None:
        """Put the new lines of the log behind what was put off so far."""
        while self.notes:
            self.later((now_ms, self._record_note, self.notes.popleft(), None))

    def _record_note(self, text: str, _: None) -> None:
        self.note(text)

    def note(self, text: str) -> None:
        """Add a line of the log."""
        self._pack()  # or the event might go to another chunk than its text
        chunk = self._chunk
        chunk.texts.append(text[:TEXT_CHARS_MAX])
        self.record(NOTE, x=len(chunk.texts) - 1)

    def _turn_over(self) -> None:
        """Go on with a new chunk. The times in its rows count from the same moment: some of them
        may be there already."""
        chunk = self._chunk
        first_seq = chunk.first_seq + chunk.used // EVENT_BYTES
        if len(self._full) >= CHUNKS_WAITING_MAX:
            dropped = self._full.popleft()
            self.lost += (dropped.used - dropped.taken) // EVENT_BYTES
        self._full.append(chunk)
        self._chunk = _Chunk(first_seq, chunk.base_us)

    # -- beside it

    def take_blocks(self, mono_us: int, wall_us: int, *, level: int = 1) -> Iterator[bytes]:
        """What was recorded since the last call, as blocks. ``mono_us``, ``wall_us``: now, on the
        clock of the turns and on the wall clock."""
        while True:
            try:
                chunk = self._full.popleft()
            except IndexError:
                chunk = self._chunk
                if self._full:
                    continue  # it was filled just now, and others may be before it
            if chunk.used > chunk.taken:
                yield self._block(chunk, mono_us, wall_us, level)
            elif chunk is self._chunk:
                return

    def _block(self, chunk: _Chunk, mono_us: int, wall_us: int, level: int) -> bytes:
        taken, used = chunk.taken, chunk.used
        events = bytes(chunk.buffer[taken:used])
        # A text is there before its note: of a note that comes right now it may be already.
        notes = events[KIND_AT::EVENT_BYTES].count(NOTE)
        texts = chunk.texts[chunk.texts_taken : chunk.texts_taken + notes]
        cluster, node, boot_count, run_id = self._run
        head = BlockHead(
            cluster=cluster,
            node=node,
            boot_count=boot_count,
            run_id=run_id,
            first_seq=chunk.first_seq + taken // EVENT_BYTES,
            base_us=chunk.base_us,
            mono_us=mono_us,
            wall_us=wall_us,
            names=list(self._names),
            texts=texts,
            text_base=chunk.texts_taken,
            directory_id=self.directory_id,
        )
        block = encode_block(head, events, level=level)
        chunk.taken = used
        chunk.texts_taken += notes
        return block
