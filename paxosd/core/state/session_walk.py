"""A visit of all sessions as they are now, in pieces, while later slots go on changing them.

    SessionWalk(sessions) ──► take ──► take … ──► done
    a session that a later slot uses first ──► preserve ──► its row as it was is kept until then

To copy 10,000 sessions at once takes 30 ms and more, and twice that where a snapshot is taken of a
slot that is also summed up. So at the start only the references are copied. The replies that a
session keeps never change, so that a row of it is a copy of a short list.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from paxosd.core.state.sessions import PIECE_SESSIONS, Session, Sessions
from paxosd.core.types import Slot

PIECE_REPLIES = 1000
PIECE_NUMBERS = 1000


class SessionRow(NamedTuple):
    """One session. ``replies``: ``(first_seq, slot, results)`` as the session keeps them.
    ``opened_by``: the number that its OPEN named; ``name``: the client's; ``key``: the one that
    opened it. Those at the end that there are none of are left out on disk."""

    session: int
    last_ms: int
    acked: int
    max_seq: int
    replies: list[tuple[int, Slot, list[Any]]]
    opened_by: int = 0
    name: str = ""
    key: bytes = b""


class SessionWalk:
    """All sessions in order of last use. Close it when it is not needed any more."""

    __slots__ = ("_at", "_ids", "_kept", "_new_from", "_passed", "_sessions", "_table")

    def __init__(self, table: Sessions) -> None:
        self._table = table
        self._ids = list(table.table)
        self._sessions = list(table.table.values())
        self._at = 0
        self._new_from = table.next_id
        self._kept: dict[int, SessionRow] = {}
        """The rows of sessions that were changed before they were visited, as they were."""
        self._passed: set[int] = set()
        """The sessions that were visited."""
        table.walks.append(self)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def done(self) -> bool:
        """Whether all were taken."""
        return self._at == len(self._ids)

    def opened_by(self) -> list[int]:
        """The number that the OPEN of each session named; 0: none."""
        return [session.opened_by for session in self._sessions]

    def names(self, first: int, count: int) -> list[tuple[int, str]]:
        """The names among ``count`` sessions from the place ``first`` on, each with the session's
        id."""
        places = range(first, min(first + count, len(self._ids)))
        sessions = self._sessions
        return [(self._ids[at], sessions[at].name) for at in places if sessions[at].name]

    def keys(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """As :meth:`names`, the keys that opened them."""
        places = range(first, min(first + count, len(self._ids)))
        sessions = self._sessions
        return [(self._ids[at], sessions[at].key) for at in places if sessions[at].key]

    def take(self, sessions_max: int, replies_max: int) -> list[SessionRow]:
        """The next rows: at most so many, with about so many replies, but at least one row."""
        rows: list[SessionRow] = []
        replies = 0
        while not self.done and len(rows) < sessions_max and replies < replies_max:
            number = self._ids[self._at]
            row = self._kept.pop(number, None) or _row_of(number, self._sessions[self._at])
            self._passed.add(number)
            self._at += 1
            replies += 1 + sum([len(results) for _, _, results in row.replies])
            rows.append(row)
        if self.done:
            self.close()
        return rows

    def preserve(self, number: int, session: Session) -> None:
        """This session, which is in the table, is about to be changed."""
        known = number in self._passed or number in self._kept or number >= self._new_from
        if not known:
            self._kept[number] = _row_of(number, session)

    def close(self) -> None:
        """End the walk; a second call does nothing."""
        if self in self._table.walks:
            self._table.walks.remove(self)
        self._kept.clear()
        self._passed.clear()


def _row_of(number: int, session: Session) -> SessionRow:
    return SessionRow(
        number,
        session.last_ms,
        session.acked,
        session.max_seq,
        session.chunks[:],
        session.opened_by,
        session.name,
        session.key,
    )


def fingerprint_pieces(sessions: Sessions) -> Iterator[bytes]:
    """Every field of every session as of now, in order: equal bytes if and only if equal tables.
    A few sessions a piece: to spell out 10,000 takes 40 ms."""
    # Numbers are added only where one is named: below level 2 earlier programs have the same bytes.
    return _spell_out(sessions.next_id, SessionWalk(sessions), sessions.any_named)


def _spell_out(next_id: int, walk: SessionWalk, named: bool) -> Iterator[bytes]:
    """``repr((next_id, rows))``, and ``repr`` of the numbers of their OPENs if any is named; then
    of the ids and names of the clients that gave one, and of the ids and keys of those that have
    one."""
    yield b"(%d, [" % next_id
    first = True
    while rows := walk.take(PIECE_SESSIONS, PIECE_REPLIES):
        words = ", ".join([repr(tuple(row[:5])) for row in rows])
        yield (words if first else ", " + words).encode()
        first = False
    yield b"])"
    if named:
        numbers = walk.opened_by()
        yield b"["
        for at in range(0, len(numbers), PIECE_NUMBERS):
            words = ", ".join(map(repr, numbers[at : at + PIECE_NUMBERS]))
            yield (", " + words if at else words).encode()
        yield b"]"
    for at in range(0, len(walk), PIECE_NUMBERS):
        for session, name in walk.names(at, PIECE_NUMBERS):
            # Not repr: which characters it escapes depends on the version of Python.
            text = name.encode()
            yield b"%d %d %b " % (session, len(text), text)
    for at in range(0, len(walk), PIECE_NUMBERS):
        if keyed := walk.keys(at, PIECE_NUMBERS):
            yield b"".join([b"k%d %b " % each for each in keyed])
