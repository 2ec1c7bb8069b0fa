"""A visit of all sessions as they are now, in pieces, while later slots go on changing them.

    SessionWalk(sessions) ──► take ──► take … ──► done
    a session that a later slot uses first ──► preserve ──► its row as it was is kept until then

To copy all of 10,000 sessions at once takes 30 ms and more, twice where a snapshot is taken of a
slot that is summed up as well. At once only the references are copied; of a session, the replies
that it keeps never change, and so a row of it is a copy of a short list.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from paxosd.core.types import Slot

if TYPE_CHECKING:
    from paxosd.core.state.sessions import Session, Sessions


class SessionRow(NamedTuple):
    """One session. ``replies``: ``(first_seq, slot, results)`` as the session keeps them.
    ``opened_by``: the number that its OPEN named; left out on disk if it is 0."""

    session: int
    last_ms: int
    acked: int
    max_seq: int
    replies: list[tuple[int, Slot, list[Any]]]
    opened_by: int = 0


class SessionWalk:
    """In order of their last use. Close it when it is not needed any more."""

    __slots__ = ("_at", "_ids", "_kept", "_new_from", "_passed", "_sessions", "_table")

    def __init__(self, table: "Sessions") -> None:
        self._table = table
        self._ids = list(table.table)
        self._sessions = list(table.table.values())
        self._at = 0
        self._new_from = table.next_id
        self._kept: dict[int, SessionRow] = {}
        """Those that were changed before their turn came, as they were."""
        self._passed: set[int] = set()
        """Those whose turn is over."""
        table.walks.append(self)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def done(self) -> bool:
        """Whether all were taken."""
        return self._at == len(self._ids)

    def opened_by(self) -> list[int]:
        """The number that each one's OPEN named."""
        return [session.opened_by for session in self._sessions]

    def take(self, sessions_max: int, replies_max: int) -> list[SessionRow]:
        """The next ones: at most so many, and about so many replies, but one at least."""
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

    def preserve(self, number: int, session: "Session") -> None:
        """This session, which is in the table, is about to be changed."""
        known = number in self._passed or number in self._kept or number >= self._new_from
        if not known:
            self._kept[number] = _row_of(number, session)

    def close(self) -> None:
        """Let go; a second call does nothing."""
        if self in self._table.walks:
            self._table.walks.remove(self)
        self._kept.clear()
        self._passed.clear()


def _row_of(number: int, session: "Session") -> SessionRow:
    return SessionRow(
        number,
        session.last_ms,
        session.acked,
        session.max_seq,
        session.chunks[:],
        session.opened_by,
    )
