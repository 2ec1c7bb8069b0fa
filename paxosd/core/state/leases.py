"""Leases: the keys attached to one are gone once nobody has renewed it for the length of its TTL.

They are part of the replicated state: a function of the decided log alone, timed by log time
(``log_clock.py``), which runs no faster than true time but for the drift of one oscillator.

    GRANT ──► lease, due at renewed + TTL + allowance ──► a bucket of the wheel
    KEEPALIVE ──► a later bucket;  PUT key value lease ──► the key is attached
    log time passes the bucket ──► before the commands of that slot the lease ends, and its keys go

Rules:

- A lease never ends before its TTL has passed, in true time, since its last renewal was sent. So
  an ``allowance`` for the drift of an oscillator (:data:`DRIFT_PPM_MAX`) comes on top, and it is
  due at the end of its bucket. It may live longer: by a bucket, and by the time in which no node
  leads.
- What has ended was due: one that is due and still there, because more are due than one slot ends
  (:data:`ENDED_PER_SLOT`), can be renewed. Which end in a slot depends on the table alone, and not
  on how it came about: first the earlier bucket, within it the lower id.
- A key is attached by a PUT that names the lease, until its next write or its removal, whoever
  makes it. Nothing watches for that: an attachment names the revision that the PUT made, and counts
  only while the key is still of that revision. So writes without a lease pay nothing.
- One owner may have no more leases than are then left free (``shares.py``, from feature level 6
  on).
- Ids are never used again, except those that people choose (below :data:`FIRST_ID`).

Each operation costs about the same however many leases there are. The wheel: Varghese and Lauck,
"Hashed and Hierarchical Timing Wheels" (1987), scheme 4 with a heap of the buckets in use.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from paxosd.core.commands import Result, Status
from paxosd.core.lease_bounds import DRIFT_PPM_MAX, FIRST_ID, KEYS_MAX
from paxosd.core.state.key_index import KeyIndex
from paxosd.core.state.shares import has_share_left

ENDED_PER_SLOT = 400
"""At the begin of a slot leases end until they and their keys come to this, some 3 ms."""

_OK = int(Status.OK)
_BUCKET_SHIFT = 6
"""A bucket is 64 ms of log time."""
_STALE_TICKS_MAX = 1000
LEASE_UNKNOWN_RESULT: Result = (int(Status.LEASE_UNKNOWN), 0, None)
LEASES_FULL_RESULT: Result = (int(Status.LEASES_FULL), 0, None)


class Lease:
    """One lease; :class:`Leases` keeps it. ``renewed_ms``: log time of its grant or last renewal.
    ``session`` and ``name``: of the client that it was granted to. ``owner``: the principal, whose
    it is; "": nobody's in particular (``rights_check.py``)."""

    __slots__ = ("id", "keys", "name", "owner", "renewed_ms", "session", "ttl_ms")

    def __init__(
        self, id_: int, ttl_ms: int, renewed_ms: int, session: int, name: str, owner: str = ""
    ) -> None:
        self.id = id_
        self.ttl_ms = ttl_ms
        self.renewed_ms = renewed_ms
        self.session = session
        self.name = name
        self.owner = owner
        self.keys: dict[bytes, int] = {}
        """Key → the revision of the PUT that attached it."""

    @property
    def bucket(self) -> int:
        """The one in which it is due."""
        allowance_ms = self.ttl_ms * DRIFT_PPM_MAX // 1_000_000 + 2
        return (self.renewed_ms + self.ttl_ms + allowance_ms >> _BUCKET_SHIFT) + 1

    def remaining_ms(self, now_ms: int) -> int:
        """What is left of its TTL at this log time; 0: it may end at any time."""
        return max(0, self.renewed_ms + self.ttl_ms - now_ms)


class OpenWalk(Protocol):
    """A visit of all leases as of one slot, while later slots change them (``lease_walk.py``)."""

    def preserve(self, lease: Lease) -> None:
        """This lease is about to be changed."""
        ...


class Leases:
    """All leases. Times are log time in ms, and never go backward."""

    __slots__ = ("_buckets", "_draining", "_index", "_of_owner", "_ticks", "by_key", "next_id",
                 "table", "walks")  # fmt: skip

    def __init__(self, next_id: int = FIRST_ID) -> None:
        self.next_id = next_id
        """What the next GRANT gets that asks for no id."""
        self.table: dict[int, Lease] = {}
        """In the order in which they were granted."""
        self.by_key: dict[bytes, int] = {}
        """The lease that a key was attached to last. Whether it still is: :meth:`lease_of`."""
        self.walks: list[OpenWalk] = []
        self._of_owner: Counter[str] = Counter()
        """Owner → how many leases; those without an owner are not counted."""
        self._index = KeyIndex()
        """The ids, as 8 bytes each."""
        self._buckets: dict[int, set[int]] = {}
        self._ticks: list[int] = []
        """A heap of the numbers of all buckets; some of them may be empty by now."""
        self._draining: tuple[int, list[int]] = -1, []
        """A bucket that is due, and the ids in it, sorted, the next one last. Some may be gone."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def is_blank(self) -> bool:
        """Whether there was never any: below level 4, and in most clusters."""
        return self.next_id == FIRST_ID and not self.table

    # ---- commands

    def grant(
        self,
        now_ms: int,
        ttl_ms: int,
        wanted: int,
        session: int,
        name: str,
        leases_max: int,
        owner: str = "",
        *,
        shared: bool = False,
    ) -> Result:
        """GRANT: ``(OK, 0, id)``; LEASES_FULL; CAS_MISS if the wanted id (0: any) is taken.
        ``shared``: whether the rule of ``shares.py`` holds."""
        if wanted in self.table:
            return (int(Status.CAS_MISS), 0, wanted)
        if len(self.table) >= leases_max:
            return LEASES_FULL_RESULT
        if shared and not has_share_left(self._of_owner[owner], len(self.table), leases_max):
            return LEASES_FULL_RESULT
        id_ = wanted
        if not wanted:
            id_ = self.next_id
            self.next_id += 1
        self.add(Lease(id_, ttl_ms, now_ms, session, name, owner))
        return (_OK, 0, id_)

    def add(self, lease: Lease) -> None:
        """Add a lease whose id is free, as the last one; its keys are attached to no other."""
        self.table[lease.id] = lease
        if lease.owner:
            self._of_owner[lease.owner] += 1
        self._index.add(lease.id.to_bytes(8))
        self._schedule(lease)
        for key in lease.keys:
            self.by_key[key] = lease.id

    def keep_alive(self, now_ms: int, ids: Sequence[int]) -> Result:
        """KEEPALIVE: ``(OK, 0, TTLs)``: for each id the time in ms that it has from now on, 0: it
        is not known."""
        ttls: list[int] = []
        table, walks = self.table, self.walks
        for id_ in ids:
            lease = table.get(id_)
            if lease is None:
                ttls.append(0)
                continue
            ttls.append(lease.ttl_ms)
            if lease.renewed_ms != now_ms:
                for walk in walks:
                    walk.preserve(lease)
                before = lease.bucket
                lease.renewed_ms = now_ms
                if lease.bucket != before:
                    self._leave(before, id_)
                    self._schedule(lease)
        return (_OK, 0, tuple(ttls))

    def take(self, id_: int) -> Lease | None:
        """End a lease, whose keys are to be removed (:meth:`Lease.keys`); None: it is unknown."""
        lease = self.table.pop(id_, None)
        if lease is None:
            return None
        self._index.remove(id_.to_bytes(8))
        if lease.owner:
            self._of_owner[lease.owner] -= 1
            if not self._of_owner[lease.owner]:
                del self._of_owner[lease.owner]
        self._leave(lease.bucket, id_)
        for key in lease.keys:
            del self.by_key[key]
        return lease

    def expire(self, now_ms: int) -> Iterator[Lease]:
        """End those that are due at this log time, as :meth:`take`, as many as one slot ends."""
        left = ENDED_PER_SLOT
        due = now_ms >> _BUCKET_SHIFT
        while left > 0 and (lease := self._next_due(due)) is not None:
            left -= 1 + len(lease.keys)
            self.take(lease.id)
            yield lease

    # ---- keys

    def attach(self, lease: Lease, key: bytes, revision: int) -> None:
        """``key`` was put with this lease, in this revision; there was room (:meth:`has_room`)."""
        former = self.by_key.get(key)
        if former is not None and former != lease.id:
            other = self.table[former]
            self._preserve(other)
            del other.keys[key]
        self._preserve(lease)
        lease.keys[key] = revision
        self.by_key[key] = lease.id

    def has_room(self, lease: Lease, key: bytes, modified: Callable[[bytes], int]) -> bool:
        """Whether ``key`` can be attached to the lease as well. ``modified``: the modify revision
        of a key, 0: there is no such key. Forgets keys that are attached no more."""
        if len(lease.keys) < KEYS_MAX or key in lease.keys:
            return True
        self._preserve(lease)
        for each in [each for each, at in lease.keys.items() if modified(each) != at]:
            del lease.keys[each]
            del self.by_key[each]
        return len(lease.keys) < KEYS_MAX

    def lease_of(self, key: bytes, modified: int) -> int:
        """The lease that a key with this modify revision is attached to; 0: none."""
        id_ = self.by_key.get(key, 0)
        return id_ if id_ and self.table[id_].keys[key] == modified else 0

    def _preserve(self, lease: Lease) -> None:
        for walk in self.walks:
            walk.preserve(lease)

    # ---- the wheel

    def due_at_ms(self) -> int | None:
        """The log time at which the next one may end: not before; None: there are none."""
        tick = self._first_tick()
        return None if tick is None else tick << _BUCKET_SHIFT

    def _first_tick(self) -> int | None:
        """The number of the first bucket that is not empty."""
        ticks = self._ticks
        while ticks and ticks[0] not in self._buckets:
            heappop(ticks)
        return ticks[0] if ticks else None

    def _next_due(self, due: int) -> Lease | None:
        """The next lease of the buckets up to ``due``."""
        tick = self._first_tick()
        if tick is None or tick > due:
            return None
        bucket = self._buckets[tick]
        if self._draining[0] != tick or not self._draining[1]:
            self._draining = tick, sorted(bucket, reverse=True)
        ids = self._draining[1]
        while ids[-1] not in bucket:
            ids.pop()
        return self.table[ids.pop()]

    def _schedule(self, lease: Lease) -> None:
        tick = lease.bucket
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket.add(lease.id)
            return
        self._buckets[tick] = {lease.id}
        heappush(self._ticks, tick)
        if len(self._ticks) > 2 * len(self._buckets) + _STALE_TICKS_MAX:
            self._ticks = list(self._buckets)
            heapify(self._ticks)

    def _leave(self, tick: int, id_: int) -> None:
        bucket = self._buckets[tick]
        bucket.remove(id_)
        if not bucket:
            del self._buckets[tick]

    # ---- looking at them

    def ids_after(self, id_: int, count: int) -> list[int]:
        """The next ``count`` ids above ``id_``, ascending."""
        return [int.from_bytes(each) for each in self._index.after(id_.to_bytes(8), count)]

    def give_up(self) -> list[Any]:
        """All large containers in it, to be freed little by little; do not use it after that."""
        keys = [lease.keys for lease in self.table.values() if lease.keys]
        return [self._draining[1], *self._buckets.values(), *keys]
