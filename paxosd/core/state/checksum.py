"""Checksums of the state as of one slot, computed beside the traffic.

A run starts at the end of a slot that holds a CHECKSUM command, or at which all nodes compare
their states (``Machine.checksum_spacing``). The small part of the state (revision, log time,
sessions) is captured at once and comes first. The keys are visited in bounded steps, while later
slots are applied (``walk.py``).

The sum over keys is order-independent (64-bit sum of blake2b digests modulo 2^64), so the order
of visits, and with it the timing, does not matter: all nodes get the same.

There are at most ``RUNS_MAX`` runs at a time; a CHECKSUM beyond that is not computed on this node.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import islice
from struct import Struct, unpack

from paxosd.core.state.entries import HEAD_BYTES
from paxosd.core.state.kv import Store
from paxosd.core.state.walk import Walk
from paxosd.core.types import Slot

CHECKSUM_VERSION = 1
"""The version of the sum: nodes compare only sums of the same version."""
RUNS_MAX = 4
PIECES_PER_STEP = 10
"""Pieces of the state besides the keys that one step hashes; each takes 0.5 ms at most."""
FINISHED_MAX = 16
_pack_lengths = Struct("<QQ").pack
_EMPTY = blake2b(digest_size=8)
_MASK = (1 << 64) - 1
_BYTES_PER_KEY_STEP = 1024
"""Hashing this many value bytes takes about as long as the fixed work for one key."""


def sum_of(total: int, keys: Sequence[bytes], packed: Sequence[bytes]) -> int:
    """``total`` with these rows added to it: the 64-bit blake2b digest of each, a little-endian
    number, of

        length of the key | length of the value | create | modify | version | key | value

    the first five as u64, little-endian. ``packed``: the entry of each key. A digest begins as a
    copy of the empty one: to make one with its parameters takes longer than to hash a row."""
    copy, pack_lengths = _EMPTY.copy, _pack_lengths
    digests: list[bytes] = []
    append = digests.append
    for key, entry in zip(keys, packed, strict=True):
        digest = copy()
        lengths = pack_lengths(len(key), len(entry) - HEAD_BYTES)
        digest.update(lengths + entry[:HEAD_BYTES] + key + entry[HEAD_BYTES:])
        append(digest.digest())
    added: int = sum(unpack(f"<{len(digests)}Q", b"".join(digests)))
    return (total + added) & _MASK


class RestSum:
    """What a sum begins with: the state besides the keys, as of the end of ``slot``."""

    __slots__ = ("_digest", "_rest", "value")

    def __init__(self, slot: Slot, revision: int, keys: int, rest: Iterable[bytes]) -> None:
        """``rest``: that state, encoded, in pieces that do not change."""
        self._digest = blake2b(b"%d %d %d " % (slot, revision, keys), digest_size=8)
        self._rest = iter(rest)
        self.value: int | None = None
        """The sum; None as long as it is not finished."""

    def step(self) -> bool:
        """Hash some more pieces; True once all are hashed."""
        if self.value is None:
            pieces = list(islice(self._rest, PIECES_PER_STEP))
            self._digest.update(b"".join(pieces))
            if len(pieces) < PIECES_PER_STEP:
                self.value = int.from_bytes(self._digest.digest(), "little")
        return self.value is not None


def total_with(rest: RestSum, rows_sum: int) -> str:
    """The checksum of a state whose rows come to ``rows_sum``; ``rest`` is finished first."""
    while not rest.step():
        pass
    assert rest.value is not None
    return shown(sum_of(rest.value + rows_sum, (), ()))


def shown(total: int) -> str:
    """A sum as it is shown, compared and kept: 16 hex digits."""
    return f"{total:016x}"


class StateChecksum:
    """One run: the state of ``store`` as it is now, at the end of ``slot``."""

    __slots__ = ("_rest", "_sum", "_walk", "slot")

    def __init__(self, slot: Slot, store: Store, rest: Iterable[bytes]) -> None:
        """``rest``: the encoded state besides the keys, in pieces that do not change."""
        self.slot = slot
        self._walk = Walk(store)
        self._sum = 0
        self._rest: RestSum | None = RestSum(slot, store.revision, len(store), rest)

    def step(self, keys_max: int) -> bool:
        """Take some pieces of the rest; after the last one visit about ``keys_max`` keys, fewer
        if values are large, at least one. True: done."""
        if self._rest is not None:
            if not self._rest.step():
                return False
            assert self._rest.value is not None
            self._sum, self._rest = self._rest.value, None
        keys, packed = self._walk.take_packed(keys_max, keys_max * _BYTES_PER_KEY_STEP)
        self._sum = sum_of(self._sum, keys, packed)
        if self._walk.done:
            self._walk.close()
        return self._walk.done

    @property
    def left(self) -> int:
        """How many keys have yet to be visited."""
        return self._walk.left

    @property
    def value(self) -> str:
        """The checksum in hex; meaningful once :meth:`step` has returned True."""
        assert self._walk.done
        return shown(self._sum)


class Checksums:
    """The runs of one machine and the last results.

    ``finished``: slot → 16 hex digits, the newest ``FINISHED_MAX``. ``skipped_slots`` counts
    CHECKSUMs that came while ``RUNS_MAX`` runs were going on.
    """

    __slots__ = ("_store", "finished", "running", "skipped_slots")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.running: list[StateChecksum] = []
        self.finished: dict[Slot, str] = {}
        self.skipped_slots = 0

    def take_results(self, other: "Checksums") -> None:
        """Have the results of ``other`` instead of its own."""
        self.finished = other.finished

    def start(self, slot: Slot, rest: Callable[[], Iterable[bytes]]) -> None:
        """Begin a run over the state as it is now; ``rest()`` is what there is besides the keys."""
        if len(self.running) >= RUNS_MAX:
            self.skipped_slots += 1
            return
        self.running.append(StateChecksum(slot, self._store, rest()))

    def advance(self, keys_max: int) -> bool:
        """Visit about ``keys_max`` keys of the oldest run; True if no run is left."""
        if self.running and self.running[0].step(keys_max):
            run = self.running.pop(0)
            self.finished[run.slot] = run.value
            if len(self.finished) > FINISHED_MAX:
                del self.finished[next(iter(self.finished))]
        return not self.running

    def is_pending(self, slot: Slot) -> bool:
        """Whether the checksum of ``slot`` is being computed."""
        return any(run.slot == slot for run in self.running)

    def left(self, slot: Slot) -> int:
        """How many keys have yet to be visited until the checksum of ``slot`` is there: those of
        the runs before it come first."""
        return sum([run.left for run in self.running if run.slot <= slot])
