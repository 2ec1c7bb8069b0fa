"""A visit of all leases as they are now, in pieces, while later slots go on changing them.

    LeaseWalk(leases) ──► take ──► take … ──► done
    a lease that a later slot changes first ──► preserve ──► its row as it was is kept until then

As with sessions (``session_walk.py``) only references are copied at the start. A lease that ends is
not changed by that, so its row is there when its turn comes.
"""

from collections.abc import Iterator
from typing import NamedTuple

from paxosd.core.client_name import client_name_fault
from paxosd.core.lease_bounds import FIRST_ID, KEYS_MAX, TTL_MS_MAX, TTL_MS_MIN
from paxosd.core.membership import NAME_PATTERN
from paxosd.core.state.leases import Lease, Leases
from paxosd.core.state.log_clock import NUMBER_MAX

PIECE_LEASES = 100
PIECE_KEYS = 1000


class LeaseRow(NamedTuple):
    """A lease in plain values. ``keys``: ``(key, revision)`` pairs, as :attr:`Lease.keys`.
    ``owner``: left out on disk if there is none."""

    id: int
    ttl_ms: int
    renewed_ms: int
    session: int
    name: str
    keys: tuple[tuple[bytes, int], ...]
    owner: str = ""


class LeaseWalk:
    """All leases in the order in which they were granted. Close it when it is not needed any
    more."""

    __slots__ = ("_at", "_kept", "_leases", "_passed", "_rows", "next_id")

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._rows = list(leases.table.values())
        self._at = 0
        self._kept: dict[int, LeaseRow] = {}
        """The rows of leases that were changed before they were visited, as they were."""
        self._passed: set[int] = set()
        """The leases that were visited."""
        self.next_id = leases.next_id
        if self._rows:
            leases.walks.append(self)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def done(self) -> bool:
        """Whether all were taken."""
        return self._at == len(self._rows)

    def take(self, leases_max: int, keys_max: int) -> list[LeaseRow]:
        """The next rows: at most so many, with about so many keys, but at least one row."""
        rows: list[LeaseRow] = []
        keys = 0
        while not self.done and len(rows) < leases_max and keys < keys_max:
            lease = self._rows[self._at]
            self._at += 1
            self._passed.add(id(lease))
            row = self._kept.pop(id(lease), None) or row_of(lease)
            keys += len(row.keys)
            rows.append(row)
        if self.done:
            self.close()
        return rows

    def preserve(self, lease: Lease) -> None:
        """This lease is about to be changed."""
        # By identity, for a lease with an id of before may be there that was granted later. Those
        # that the walk visits it keeps alive, so that none of them shares its identity.
        if id(lease) not in self._passed and id(lease) not in self._kept:
            self._kept[id(lease)] = row_of(lease)

    def close(self) -> None:
        """End the walk; a second call does nothing."""
        if self in self._leases.walks:
            self._leases.walks.remove(self)
        self._kept.clear()
        self._passed.clear()


def row_of(lease: Lease) -> LeaseRow:
    """A lease as it is now."""
    return LeaseRow(
        lease.id,
        lease.ttl_ms,
        lease.renewed_ms,
        lease.session,
        lease.name,
        tuple(lease.keys.items()),
        lease.owner,
    )


def lease_from(row: LeaseRow) -> Lease:
    """The lease that a row is of."""
    lease = Lease(row.id, row.ttl_ms, row.renewed_ms, row.session, row.name, row.owner)
    lease.keys.update(row.keys)
    return lease


def lease_pieces(leases: Leases) -> Iterator[bytes]:
    """Every field of every lease as of now, in order: equal bytes if and only if equal leases.
    Nothing where there never were any, as with programs that know none."""
    return iter(()) if leases.is_blank else _spell_out(LeaseWalk(leases))


def _spell_out(walk: LeaseWalk) -> Iterator[bytes]:
    yield b"leases %d " % walk.next_id
    while rows := walk.take(PIECE_LEASES, PIECE_KEYS):
        piece: list[bytes] = []
        for id_, ttl_ms, renewed_ms, session, name, keys, owner in rows:
            text = name.encode()
            numbers = id_, ttl_ms, renewed_ms, session, len(text), len(keys)
            piece.append(b"%d %d %d %d %d %d " % numbers)
            piece.append(text)
            for key, revision in keys:
                piece.append(b" %d %d " % (revision, len(key)))
                piece.append(key)
            if owner:  # nodes of before know none
                piece.append(b" o%d %b" % (len(owner), owner.encode()))
        yield b"".join(piece)


def row_fault(row: LeaseRow, next_id: int, now_ms: int, revision: int) -> str:
    """What is wrong with a lease of a snapshot that was taken at this log time and revision; "":
    nothing."""
    for value in (row.id, row.ttl_ms, row.renewed_ms, row.session):
        if type(value) is not int:
            return "a lease's number is none"
    if not (1 <= row.id < FIRST_ID or FIRST_ID <= row.id < next_id):
        return f"lease {row.id} was never granted"
    if not TTL_MS_MIN <= row.ttl_ms <= TTL_MS_MAX or not 0 <= row.renewed_ms <= now_ms:
        return f"lease {row.id} has an impossible time"
    if not 0 <= row.session <= NUMBER_MAX:
        return f"lease {row.id} is of an impossible session"
    if row.name != "" and (fault := client_name_fault(row.name)):
        return f"lease {row.id}: {fault}"
    if row.owner != "" and not (type(row.owner) is str and NAME_PATTERN.fullmatch(row.owner)):
        return f"lease {row.id} is of an impossible owner"
    if type(row.keys) is not tuple or len(row.keys) > KEYS_MAX:
        return f"lease {row.id} has more than {KEYS_MAX} keys"
    for pair in row.keys:
        if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not bytes:
            return f"lease {row.id}: what is attached is no key"
        if type(pair[1]) is not int or not 1 <= pair[1] <= revision:
            return f"lease {row.id}: a key was attached in an impossible revision"
    return ""
