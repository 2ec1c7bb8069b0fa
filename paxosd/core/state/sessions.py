"""The session table: every command of a client is applied once, however often it arrives.

It is part of the replicated state: a function of the decided log alone, the same on every node.

What becomes of ``(session, seq)`` when it arrives in a decided entry:

    no such session (never opened, closed, expired)  → SESSION_UNKNOWN
    seq <= acked                                     → FORGOTTEN   the client has the reply
    seq > acked + window_max                         → WINDOW      not applied; may come again
    a reply is kept for seq                          → that reply  FENCED, if it was fenced
    otherwise                                        → applied, and the reply is kept

The last holds also when a higher seq came first: frames of one client may overtake each other.

- What a transaction read is kept up to a bound for each session (:data:`KEPT_BYTES_MAX`).
- ``acked`` only grows. Replies are kept until it passes them, so a session keeps replies for at
  most ``window_max`` seqs (plus the rest of one entry that is acknowledged in part).
- A fence of an unapplied seq is kept as the reply FENCED of that seq: a late arrival finds it
  like any other reply, and it is pruned like any other.
- OPEN may name a random number that the client has drawn: an OPEN that is repeated while its
  session is there is answered with the same session. Session ids are never used again: a late copy
  of an OPEN and of the commands that followed it must not be applied a second time.
- Sessions stand in order of last use, in log time. They expire when log time has left them
  behind by more than ``ttl_ms``; expiry, eviction and ids depend on the log only.
- All sessions that expire at a slot are out of ``table`` before its batch is applied, however many:
  answers, checksums and snapshots know only the rest. To take 100,000 out one by one needs 0.2 s,
  so either the expired or the remaining ones, whichever are fewer, are moved to a table of their
  own, and the expired ones are taken apart later (``advance``). How far that has come changes no
  answer.
- An OPEN may have the public key of who asked for it. The session keeps it, and its commands are
  done by that key's rights (``rights_check.py``).
- An OPEN may give its client's name as well (``client_name.py``). The session keeps it, and once it
  has ended, :class:`FormerNames` does; no answer depends on it.
- One key may have no more sessions than are then left free (``shares.py``, from feature level 6
  on). An OPEN beyond that ends a session of the same key, the one that it has not used for longest,
  if that is idle for long enough, and else none. So who opens sessions for ever pushes out its own.
- The limits decide what is applied: they must be the same on every node of a cluster, and so are
  replicated settings (``cluster_settings.py``).
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from paxosd.core.cluster_settings import DEFAULTS, ClusterSettings
from paxosd.core.commands import Result, Status
from paxosd.core.disposal import Disposal
from paxosd.core.state.former_names import FormerNames
from paxosd.core.state.shares import has_share_left
from paxosd.core.transactions import is_pair, result_bytes
from paxosd.core.types import Slot

KEPT_BYTES_MAX = 64 << 10
"""A session keeps so many bytes of what transactions read; beyond that the bare fact (some 100
bytes) that each was done."""
PIECE_SESSIONS = 100
"""So many sessions are taken apart or spelled out at a time."""
_OK = int(Status.OK)
_COMMITTED = int(Status.COMMITTED)
SESSION_UNKNOWN_RESULT: Result = (int(Status.SESSION_UNKNOWN), 0, None)
FENCED_RESULT: Result = (int(Status.FENCED), 0, None)
FORGOTTEN_RESULT: Result = (int(Status.FORGOTTEN), 0, None)
WINDOW_RESULT: Result = (int(Status.WINDOW), 0, None)
SESSIONS_FULL_RESULT: Result = (int(Status.SESSIONS_FULL), 0, None)
CLOSED_RESULT: Result = (_OK, 0, None)


def _answer_bytes(results: Sequence[Result]) -> int:
    """What the results of transactions among these take."""
    return sum(
        [result_bytes(each[2]) for each in results if type(each) is tuple and is_pair(each[2])]
    )


class SessionLimits(NamedTuple):
    """Bounds of the table: those of the replicated settings, see there."""

    sessions_max: int = DEFAULTS.sessions_max
    session_ttl_ms: int = DEFAULTS.session_ttl_ms
    session_idle_evict_ms: int = DEFAULTS.session_idle_evict_ms
    session_window_max: int = DEFAULTS.session_window_max

    @classmethod
    def of(cls, settings: ClusterSettings) -> "SessionLimits":
        """The limits in these settings."""
        return cls(*(getattr(settings, name) for name in cls._fields))


class Session:
    """One client's memory. Its owner, :class:`Sessions`, keeps it in order of last use."""

    __slots__ = ("acked", "chunks", "kept_bytes", "key", "last_ms", "max_seq", "name", "opened_by")

    def __init__(
        self,
        last_ms: int,
        opened_by: int = 0,
        name: str = "",
        key: bytes = b"",
        *,
        acked: int = 0,
        max_seq: int = 0,
        chunks: Sequence[tuple[int, Slot, list[Result]]] = (),
    ) -> None:
        self.last_ms = last_ms
        self.opened_by = opened_by
        """The number that its OPEN named; 0: none."""
        self.name = name
        """Its client's, for people; "": none."""
        self.key = key
        """The public key that opened it, by whose rights its commands are done; b"": none."""
        self.acked = acked
        self.max_seq = max_seq
        """Every seq above it is new: nothing is kept for it, and nothing forgotten. >= acked."""
        self.chunks = list(chunks)
        """``(first_seq, slot, results)``: replies to consecutive seqs. Sorted, no overlaps."""
        self.kept_bytes = sum([_answer_bytes(results) for _, _, results in self.chunks])
        """What the results of transactions take in it."""

    def acknowledge(self, acked: int) -> None:
        """Forget the replies up to ``acked``, which is above the present mark."""
        self.acked = acked
        self.max_seq = max(self.max_seq, acked)
        done = 0
        for first_seq, _, results in self.chunks:
            if first_seq + len(results) - 1 > acked:
                break
            done += 1
        if done:
            if self.kept_bytes:
                gone = self.chunks[:done]
                self.kept_bytes -= sum([_answer_bytes(results) for _, _, results in gone])
            del self.chunks[:done]

    def within_bounds(self, results: list[Result]) -> list[Result]:
        """These replies as they are to be kept: results of a transaction for which no room is left
        are None in them. (Who asks again learns that it was done, and not what it read.)"""
        total = _answer_bytes(results)
        if self.kept_bytes + total <= KEPT_BYTES_MAX or not total:
            self.kept_bytes += total
            return results
        kept: list[Result] = []
        for result in results:
            to_keep = result
            size = _answer_bytes([result])
            if size and self.kept_bytes + size > KEPT_BYTES_MAX:
                assert type(result) is tuple
                status, revision, (succeeded, _) = result
                to_keep = status, revision, (succeeded, None)
                size = _answer_bytes([to_keep])
            self.kept_bytes += size
            kept.append(to_keep)
        return kept

    def keep(self, first_seq: int, slot: Slot, results: list[Result]) -> None:
        """Keep replies to seqs from ``first_seq`` on, all of them above ``max_seq``."""
        self.chunks.append((first_seq, slot, results))
        self.max_seq = first_seq + len(results) - 1

    def keep_late(self, seq: int, slot: Slot, result: Result) -> None:
        """Keep the reply to one seq that has none yet, in its place."""
        # A one-tuple sorts before every chunk that starts at the same seq.
        self.chunks.insert(bisect_left(self.chunks, (seq,)), (seq, slot, [result]))
        self.max_seq = max(self.max_seq, seq)

    def find(self, seq: int) -> tuple[Slot, Result] | None:
        """The kept reply to ``seq`` and the slot that it comes from."""
        place = bisect_left(self.chunks, (seq + 1,)) - 1
        if place >= 0:
            first_seq, slot, results = self.chunks[place]
            if seq - first_seq < len(results):
                return slot, results[seq - first_seq]
        return None


class OpenWalk(Protocol):
    """A visit of all sessions as of one slot, while later slots change them
    (``session_walk.py``)."""

    def preserve(self, number: int, session: Session) -> None:
        """This session, which is in the table, is about to be changed."""
        ...


class Sessions:
    """All sessions, in order of last use. Times are log time in ms, and never go backward."""

    __slots__ = ("_disposal", "_expiry_due_ms", "_of_key", "_opened_by", "_slot", "expired",
                 "former", "limits", "next_id", "table", "walks")  # fmt: skip

    def __init__(
        self, limits: SessionLimits, disposal: Disposal, next_id: int = 1, slot: Slot = 0
    ) -> None:
        self.limits = limits
        self.next_id = next_id
        self.table: OrderedDict[int, Session] = OrderedDict()
        self.walks: list[OpenWalk] = []
        """The visits under way, which see each session as it was when they began."""
        self.former = FormerNames()
        self._slot = slot  # the last that was applied
        self._disposal = disposal  # of what goes away in a mass
        self.expired: list[OrderedDict[int, Session]] = []
        """Tables of sessions that expired together and are not taken apart yet."""
        self._opened_by: dict[tuple[int, bytes], int] = {}
        """The number that an OPEN named, and its key → the session, while it is there, or in
        ``expired``."""
        self._of_key: dict[bytes, OrderedDict[int, None]] = {}
        """Key → its sessions, in order of last use; those in ``expired`` are the first ones."""
        # No session can expire before log time passes this. A lower bound, so that the check
        # on every slot is one comparison.
        self._expiry_due_ms = limits.session_ttl_ms

    def __len__(self) -> int:
        return len(self.table)

    @property
    def any_named(self) -> bool:
        """Whether the OPEN of any session in ``table`` named a number."""
        if self.expired:  # the numbers that are known may all be of expired sessions
            return any(session.opened_by for session in self.table.values())
        return bool(self._opened_by)

    def join(self, disposal: Disposal) -> None:
        """From now on ``disposal`` frees what goes away: another machine has taken this over."""
        self._disposal = disposal

    def limit(self, limits: SessionLimits) -> None:
        """From now on these limits are in force."""
        self.limits = limits
        self._expiry_due_ms = 0  # a shorter time to live may be over already

    def expire(self, now_ms: int, slot: Slot = 0) -> None:
        """Drop every session last used more than ``session_ttl_ms`` ago. ``slot``: the one that is
        applied now."""
        self._slot = slot
        if self.expired:
            self.advance(PIECE_SESSIONS)
        if now_ms <= self._expiry_due_ms:
            return
        ttl_ms = self.limits.session_ttl_ms
        dropped = 0
        while self.table:
            oldest = next(iter(self.table.values()))
            if now_ms - oldest.last_ms <= ttl_ms:
                self._expiry_due_ms = oldest.last_ms + ttl_ms
                return
            if dropped == PIECE_SESSIONS:
                self._expire_rest(now_ms - ttl_ms)
                continue
            dropped += 1
            self._drop_oldest()
        self._expiry_due_ms = now_ms + ttl_ms

    def _expire_rest(self, used_ms: int) -> None:
        """Drop all sessions that were used last before that time; there is at least one, and may be
        many."""
        table = self.table
        older: OrderedDict[int, Session] = OrderedDict()
        moves = 0
        for oldest, newest in zip(table.values(), reversed(table.values()), strict=True):
            if oldest.last_ms >= used_ms:  # fewer expire: they are moved
                for _ in range(moves):
                    session_id, session = table.popitem(last=False)
                    older[session_id] = session
                self.expired.append(older)
                return
            if newest.last_ms < used_ms:  # fewer stay
                break
            moves += 1
        newer = [table.popitem() for _ in range(moves)]
        newer.reverse()
        self.expired.append(table)
        self.table = OrderedDict(newer)

    def advance(self, sessions_max: int) -> None:
        """Take apart so many of the expired sessions."""
        while self.expired and sessions_max > 0:
            table = self.expired[-1]
            while table and sessions_max > 0:
                sessions_max -= 1
                session_id, session = table.popitem()
                self._end(session_id, session)
                if session.chunks:
                    self._disposal.add((session.chunks,))
            if not table:
                self.expired.pop()

    def use(self, session_id: int, acked: int, now_ms: int) -> Session | None:
        """The session that an entry names, touched and acknowledged; None if unknown."""
        session = self.table.get(session_id)
        if session is None:
            return None
        for walk in self.walks:
            walk.preserve(session_id, session)
        if session.last_ms != now_ms:
            session.last_ms = now_ms
            self.table.move_to_end(session_id)
            if session.key:
                self._of_key[session.key].move_to_end(session_id)
        if acked > session.acked:
            session.acknowledge(acked)
        return session

    def _drop_oldest(self) -> None:
        self._end(*self.table.popitem(last=False))

    def _end(self, session_id: int, session: Session) -> None:
        self.former.add(session_id, self._slot, session.name)
        # Another session may have been opened with the same number meanwhile.
        opening = session.opened_by, session.key
        if session.opened_by and self._opened_by.get(opening) == session_id:
            del self._opened_by[opening]
        own = self._of_key.get(session.key)
        if own is not None:
            own.pop(session_id, None)
            if not own:
                del self._of_key[session.key]

    def put(self, session_id: int, session: Session) -> None:
        """Add a session that is not there yet, as the one used last."""
        self.table[session_id] = session
        if session.opened_by:
            self._opened_by[session.opened_by, session.key] = session_id
        if session.key:
            self._of_key.setdefault(session.key, OrderedDict())[session_id] = None

    def _of(self, key: bytes) -> list[int] | OrderedDict[int, None]:
        """The sessions of a key, in order of last use; those that expired are not among them."""
        own = self._of_key.get(key)
        if own is None:
            return []
        while own and (oldest := next(iter(own))) not in self.table:
            del own[oldest]
        return own

    def open(
        self,
        now_ms: int,
        opened_by: int = 0,
        name: str = "",
        key: bytes = b"",
        *,
        shared: bool = False,
    ) -> Result:
        """OPEN: ``(OK, 0, session id)``, or SESSIONS_FULL. ``opened_by``: the number that it
        names; 0: none. ``name``: the client's, "": none; that of the first OPEN stays. ``key``: who
        opens it, b"": that is not known; a number is that key's own. ``shared``: whether the rule
        of ``shares.py`` holds."""
        known = self._opened_by.get((opened_by, key), 0)
        if known in self.table:
            return (_OK, 0, known)
        own = self._of(key) if shared else []
        if not has_share_left(len(own), len(self.table), self.limits.sessions_max):
            oldest_id = next(iter(own))
            if now_ms - self.table[oldest_id].last_ms < self.limits.session_idle_evict_ms:
                return SESSIONS_FULL_RESULT
            self._end(oldest_id, self.table.pop(oldest_id))
        while len(self.table) >= self.limits.sessions_max:
            oldest = next(iter(self.table.values()), None)
            if oldest is None or now_ms - oldest.last_ms < self.limits.session_idle_evict_ms:
                return SESSIONS_FULL_RESULT
            self._drop_oldest()
        session_id = self.next_id
        self.next_id += 1
        self.put(session_id, Session(now_ms, opened_by, name, key))
        return (_OK, 0, session_id)

    def close(self, session_id: int) -> Result:
        """CLOSE of a session that exists."""
        self._end(session_id, self.table.pop(session_id))
        return CLOSED_RESULT

    def refuse(self, session: Session, seq: int) -> Result | None:
        """The reply to a seq outside what the session can keep; None if it is inside."""
        if seq <= session.acked:
            return FORGOTTEN_RESULT
        if seq - session.acked > self.limits.session_window_max:
            return WINDOW_RESULT
        return None

    def fence(self, slot: Slot, session_id: int, seq: int) -> Result:
        """FENCE: what became of ``(session_id, seq)``; from now on it is never applied anew.

        COMMITTED with ``(slot, result)``, FENCED, FORGOTTEN or SESSION_UNKNOWN. WINDOW: the seq
        is so far ahead that it could not be applied now, and it was not fenced.
        """
        session = self.table.get(session_id)
        if session is None:
            return SESSION_UNKNOWN_RESULT
        refused = self.refuse(session, seq)
        if refused is not None:
            return refused
        kept = session.find(seq)
        if kept is None:
            for walk in self.walks:
                walk.preserve(session_id, session)
            session.keep_late(seq, slot, FENCED_RESULT)
            return FENCED_RESULT
        return FENCED_RESULT if kept[1] == FENCED_RESULT else (_COMMITTED, 0, kept)

    def give_up(self) -> list[Any]:
        """All large containers in it, to be freed little by little; do not use it after that."""
        tables = (self.table, *self.expired)
        chunks = [session.chunks for table in tables for session in table.values()]
        return [*chunks, *self._of_key.values()]
