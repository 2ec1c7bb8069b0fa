"""What is on its way to one peer, in bytes, and how much more the link may take.

    Accept, Decisions, SnapshotChunk ──► fits()? ── sent() ──► link … peer
                                            ▲                           │
                             window, in flight ◄── arrived() ◄── vote, commit, next question

Nothing on the wire is new: a vote for a slot, a commit index at or above it, and a question for
what comes after it each show that the slot arrived. So a peer of any version is served.

- At most ``window`` bytes are on their way; a single message of any size goes if nothing else does.
- The window follows the delay, as in LEDBAT (RFC 6817): it grows by what arrived while a message
  waits no more than TARGET_MS longer than the fastest did, and shrinks once that is twice as much.
  So about TARGET_MS worth of what the link carries is on its way, whatever the link carries.
- What is on its way is not sent a second time before it is overdue: longer than several
  deliveries took, and longer than the link takes for so many bytes. Each time that happens in a
  row the patience doubles.
- A peer that catches up has half a window to itself, whatever is proposed meanwhile.

What is small is counted, but may go and come again at any time: it costs a link nothing.
"""

from paxosd.core.types import Slot

WINDOW_MIN_BYTES = 128 << 10
WINDOW_START_BYTES = 256 << 10
"""Enough for a fast link, where a follower may be slow for a moment; 2.5 s of one of 100 kB/s."""
WINDOW_MAX_BYTES = 16 << 20
"""No peer has more than this on its way and unanswered, and half of it to catch up, but for a
single larger message of each sort."""
CHUNK_MIN_BYTES = 16 << 10
CHUNK_START_BYTES = 32 << 10
"""What a peer gets that catches up, before it is known what the link carries."""
TARGET_MS = 200.0
"""How much longer than the fastest a delivery may take: what waits in queues on the way."""
FASTEST_FOR_MS = 60_000.0
"""The fastest delivery counts for so long, up to twice: routes and disks change. (On a link that is
never idle the fastest of each such time has waited longer than the one before.)"""
RATE_UNKNOWN_BYTES_PER_MS = 100.0
"""What a link is taken to carry before it has carried anything: 100 kB/s."""
RATE_PIECE_MIN_BYTES = 8 << 10
"""Of smaller pieces the delivery says nothing about what the link carries."""
DOUBLINGS_MAX = 6
SMALL_BYTES = 4 << 10


class _Piece:
    """One message on its way. ``first``: its lowest slot. ``late``: it counts as lost, but may
    still arrive and show how long it took."""

    __slots__ = ("first", "late", "sent_ms", "size")

    def __init__(self, first: int, size: int, sent_ms: float) -> None:
        self.first = first
        self.size = size
        self.sent_ms = sent_ms
        self.late = False


_Pieces = dict[int, _Piece]


class Flow:
    """The way to one peer. Times are the node's ``now_ms``."""

    __slots__ = (
        "_accepts",
        "_base_ms",
        "_base_next_ms",
        "_base_since_ms",
        "_chunks",
        "_cut_ms",
        "_delay_ms",
        "_doublings",
        "_rate",
        "_served",
        "in_flight",
        "skipped",
        "window",
    )  # fmt: skip

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The connection broke or the peer began anew: nothing is on its way, and what the link
        carries is not known."""
        self.skipped = False
        """Whether an accept did not fit, and is to be sent once there is room."""
        self._accepts: _Pieces = {}
        """Proposals, by slot."""
        self._served: _Pieces = {}
        """Parts of the log, by the highest slot in each."""
        self._chunks: _Pieces = {}
        """Parts of a snapshot, by the offset where each begins."""
        self.in_flight = 0
        """Bytes on their way that are not late."""
        self.window = WINDOW_START_BYTES
        self._base_ms = self._base_next_ms = float("inf")
        self._base_since_ms = 0.0
        self._cut_ms = float("-inf")
        self._delay_ms = 0.0
        self._rate = 0.0
        self._doublings = 0

    @property
    def rate_bytes_per_s(self) -> int:
        """What the link carried of late, at least; 0: not known."""
        return int(self._rate * 1000)

    # -- what may be sent

    def fits(self, size: int) -> bool:
        """Whether a proposal of so many bytes may go."""
        return size < SMALL_BYTES or not self.in_flight or self.in_flight + size <= self.window

    @property
    def room(self) -> int:
        """How many bytes a part of the log or of a snapshot should have; 0: none may go now. Half a
        window, so that its delivery soon shows what the link carries."""
        half = self.window // 2 if self._rate else CHUNK_START_BYTES
        under_way = _bytes(self._served) + _bytes(self._chunks)
        if not under_way:
            return max(CHUNK_MIN_BYTES, half)
        return half - under_way if half - under_way >= CHUNK_MIN_BYTES else 0

    def carries(self, slot: Slot) -> bool:
        """Whether a message with this slot, and not a small one, is on its way."""
        accept = self._accepts.get(slot)
        if accept is not None and _counts(accept):
            return True
        served = self._served
        return bool(served) and any(
            piece.first <= slot <= top and _counts(piece) for top, piece in served.items()
        )

    def carries_chunk(self, offset: int) -> bool:
        """Whether the part of a snapshot that begins there is on its way."""
        piece = self._chunks.get(offset)
        return piece is not None and not piece.late

    # -- what was sent, and what became of it

    def sent(self, slot: Slot, size: int, now_ms: float) -> None:
        """A proposal left."""
        self._put(self._accepts, slot, _Piece(slot, size, now_ms))

    def served(self, first: Slot, last: Slot, size: int, now_ms: float) -> None:
        """A part of the log left."""
        self._put(self._served, last, _Piece(first, size, now_ms))

    def sent_chunk(self, offset: int, size: int, now_ms: float) -> None:
        """A part of a snapshot left."""
        self._put(self._chunks, offset, _Piece(offset, size, now_ms))

    def _put(self, pieces: _Pieces, key: int, piece: _Piece) -> None:
        before = pieces.get(key)
        if before is not None and not before.late:
            self.in_flight -= before.size
        pieces[key] = piece
        self.in_flight += piece.size

    def unsent(self, slot: Slot) -> None:
        """A proposal did not leave after all: there is no connection, or its queue is full."""
        piece = self._accepts.pop(slot, None)
        if piece is not None and not piece.late:
            self.in_flight -= piece.size

    def arrived(self, slot: Slot, now_ms: float) -> None:
        """The peer voted for what was proposed in this slot."""
        piece = self._accepts.pop(slot, None)
        if piece is not None:
            self._learn(piece, now_ms)

    def arrived_up_to(self, slot: Slot, now_ms: float) -> None:
        """The peer knows every slot up to this one."""
        for pieces in (self._accepts, self._served):
            if pieces:
                for top in [top for top in pieces if top <= slot]:
                    self._learn(pieces.pop(top), now_ms)

    def chunks_arrived(self, offset: int, now_ms: float) -> None:
        """The peer asks for a snapshot from this offset on."""
        for before in [before for before in self._chunks if before < offset]:
            self._learn(self._chunks.pop(before), now_ms)

    def _learn(self, piece: _Piece, now_ms: float) -> None:
        delay_ms = max(0.0, now_ms - piece.sent_ms)
        was_in_use = 2 * self.in_flight >= self.window or 4 * piece.size >= self.window
        if not piece.late:
            self.in_flight -= piece.size
            self._doublings = 0
        self._note_delay(delay_ms, now_ms)
        if piece.size >= RATE_PIECE_MIN_BYTES:
            rate = piece.size / max(1.0, delay_ms)
            self._rate = rate if not self._rate else 0.75 * self._rate + 0.25 * rate
        waited_ms = delay_ms - self._base_ms
        if waited_ms <= TARGET_MS:
            if was_in_use:
                self.window = min(WINDOW_MAX_BYTES, self.window + piece.size)
        elif waited_ms > 2 * TARGET_MS and piece.sent_ms > self._cut_ms:
            self._cut(now_ms)

    def _note_delay(self, delay_ms: float, now_ms: float) -> None:
        if now_ms - self._base_since_ms >= FASTEST_FOR_MS:
            self._base_since_ms = now_ms
            self._base_ms, self._base_next_ms = self._base_next_ms, float("inf")
        if delay_ms < self._base_next_ms:
            self._base_next_ms = delay_ms
            self._base_ms = min(self._base_ms, delay_ms)
        self._delay_ms = delay_ms if not self._delay_ms else (3 * self._delay_ms + delay_ms) / 4

    def _cut(self, now_ms: float) -> None:
        """Once for all that was sent before: it says no more than the first of it."""
        self._cut_ms = now_ms
        self.window = max(WINDOW_MIN_BYTES, self.window // 2)

    # -- what does not arrive

    def expire(self, now_ms: float, patience_ms: float) -> None:
        """Give up what is overdue: it may be sent again. ``patience_ms``: how long anything small
        may take on a link of which nothing is known."""
        if not (self._accepts or self._served or self._chunks):
            return
        slow_ms = max(patience_ms, 3 * self._delay_ms)
        forget_ms = now_ms - 10 * slow_ms * (1 << DOUBLINGS_MAX)
        overdue = False
        for pieces in (self._accepts, self._served, self._chunks):
            for key, piece in list(pieces.items()):
                if piece.late:
                    if piece.sent_ms < forget_ms:
                        del pieces[key]
                elif now_ms - piece.sent_ms >= self._patience_ms(piece, slow_ms):
                    piece.late = True
                    self.in_flight -= piece.size
                    overdue = overdue or piece.size >= SMALL_BYTES
        if overdue:
            self._doublings = min(DOUBLINGS_MAX, self._doublings + 1)
            self._cut(now_ms)

    def _patience_ms(self, piece: _Piece, slow_ms: float) -> float:
        if piece.size < SMALL_BYTES:
            return slow_ms
        rate = self._rate or RATE_UNKNOWN_BYTES_PER_MS
        return (slow_ms + 2 * (piece.size + self.in_flight) / rate) * (1 << self._doublings)


def _bytes(pieces: _Pieces) -> int:
    return sum([piece.size for piece in pieces.values() if not piece.late])


def _counts(piece: _Piece) -> bool:
    return not piece.late and piece.size >= SMALL_BYTES
