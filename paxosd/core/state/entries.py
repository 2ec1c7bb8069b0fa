"""A dictionary from keys to entries that never stalls: once it is large, it is many small ones.

A dict that outgrows its table moves all of its entries at once, which takes 0.3 s for 3 million
keys; freeing one takes as long. Each of 1024 dicts holds a thousandth of the entries, and as their
sizes differ a little, they do not grow at the same moment. As long as there are few entries, they
stay in a single dict, which uses the processor's caches better: a put into one of 10,000 entries
takes 0.87 of the time.

An entry is kept packed, as one bytes object: its three numbers, then the value.

    create_revision u64 | modify_revision u64 | version u64 | value

A tuple with the value and the numbers beside it takes 110 to 130 bytes more, of some 370 a key, and
each is an object that the garbage collector walks. The callers that are not in a hurry are given
the tuple; the others use :data:`pack_numbers` and :data:`numbers_of`.
"""

from collections.abc import Iterator, MutableMapping, Sequence
from itertools import chain
from struct import Struct

StoredValue = tuple[bytes, int, int, int]
"""``(value, create_revision, modify_revision, version)``."""

_NUMBERS = Struct("<QQQ")
pack_numbers = _NUMBERS.pack
"""The head of a packed entry, of its create and modify revision and its version."""
numbers_of = _NUMBERS.unpack_from
"""Create and modify revision and version of a packed entry."""
HEAD_BYTES = _NUMBERS.size
"""The value of a packed entry begins here."""

SHARDS = 1024
WHOLE_MAX = 16_384
"""More entries than this are spread over SHARDS dicts, which takes some 3 ms, once."""


def unpacked(packed: bytes) -> StoredValue:
    """The entry that is packed in it."""
    return (packed[HEAD_BYTES:], *numbers_of(packed))


class Entries(MutableMapping[bytes, StoredValue]):
    """Key → entry. That of ``key`` is in ``shards[hash(key) & mask]``: which one, and so the order
    of iteration, differs from one process to the next, and nothing may depend on it. There it is
    packed.

    A caller that puts entries into the shards directly calls :meth:`spread_if_large` afterwards.
    """

    __slots__ = ("mask", "shards")

    def __init__(self) -> None:
        self.shards: list[dict[bytes, bytes]] = [{}]
        self.mask = 0

    def __getitem__(self, key: bytes) -> StoredValue:
        return unpacked(self.shards[hash(key) & self.mask][key])

    def packed(self, key: bytes) -> bytes | None:
        """The entry of ``key`` as it is kept, or None."""
        return self.shards[hash(key) & self.mask].get(key)

    def put_packed(self, key: bytes, packed: bytes) -> None:
        """Set the entry of ``key``, which is packed."""
        self.shards[hash(key) & self.mask][key] = packed
        if not self.mask:
            self.spread_if_large()

    def add_all(self, keys: Sequence[bytes], packed: Sequence[bytes]) -> bool:
        """Add entries that are packed, in bulk. False if one of the keys was there before or
        is there twice: those behind it are not added then."""
        if not self.mask and len(self.shards[0]) + len(keys) > WHOLE_MAX:
            self._spread()
        shards, mask = self.shards, self.mask
        for key, entry in zip(keys, packed, strict=True):
            if shards[hash(key) & mask].setdefault(key, entry) is not entry:
                return False
        return True

    def pop_packed(self, key: bytes) -> bytes | None:
        """Take the entry of ``key`` out, if there is one."""
        return self.shards[hash(key) & self.mask].pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self.shards[hash(key) & self.mask]

    def __setitem__(self, key: bytes, entry: StoredValue) -> None:
        value, create, modify, version = entry
        self.put_packed(key, pack_numbers(create, modify, version) + value)

    def __delitem__(self, key: bytes) -> None:
        del self.shards[hash(key) & self.mask][key]

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self.shards)

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def __repr__(self) -> str:
        return repr(dict(self))

    def spread_if_large(self) -> None:
        """Change over to SHARDS dicts if a single one would soon stall. It never changes back."""
        if not self.mask and len(self.shards[0]) > WHOLE_MAX:
            self._spread()

    def _spread(self) -> None:
        mask = SHARDS - 1
        shards: list[dict[bytes, bytes]] = [{} for _ in range(SHARDS)]
        for key, entry in self.shards[0].items():
            shards[hash(key) & mask][key] = entry
        self.shards, self.mask = shards, mask

    def give_up(self) -> list[dict[bytes, bytes]]:
        """All that it held, to be freed little by little; it is empty now."""
        held = [shard for shard in self.shards if shard]
        self.shards, self.mask = [{}], 0
        return held
