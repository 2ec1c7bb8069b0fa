"""A dictionary from keys to entries that never stalls: many small ones.

A dict that grows beyond its room moves all it has, 0.3 s for 3 million keys; and one that goes away
takes all that it has with it at once. Of 1024 dicts each has a thousandth, and as they differ a
little in size, they do not grow at the same moment.
"""

from collections.abc import Iterator, MutableMapping
from itertools import chain

StoredValue = tuple[bytes, int, int, int]
"""``(value, create_revision, modify_revision, version)``."""

SHARD_MASK = 1023


class Entries(MutableMapping[bytes, StoredValue]):
    """Key → entry. That of ``key`` is in ``shards[hash(key) & SHARD_MASK]``: which one, and so the
    order of iteration, differs from one process to the next, and nothing may depend on it."""

    __slots__ = ("shards",)

    def __init__(self) -> None:
        self.shards: list[dict[bytes, StoredValue]] = [{} for _ in range(SHARD_MASK + 1)]

    def __getitem__(self, key: bytes) -> StoredValue:
        return self.shards[hash(key) & SHARD_MASK][key]

    def get(self, key: bytes, default: None = None) -> StoredValue | None:  # type: ignore[override]  # no other default is needed
        """The entry of ``key``, or None."""
        return self.shards[hash(key) & SHARD_MASK].get(key)

    def pop(self, key: bytes, default: None = None) -> StoredValue | None:  # type: ignore[override]  # the same
        """Take the entry of ``key`` out, if there is one."""
        return self.shards[hash(key) & SHARD_MASK].pop(key, None)

    def __contains__(self, key: object) -> bool:
        return key in self.shards[hash(key) & SHARD_MASK]

    def __setitem__(self, key: bytes, entry: StoredValue) -> None:
        self.shards[hash(key) & SHARD_MASK][key] = entry

    def __delitem__(self, key: bytes) -> None:
        del self.shards[hash(key) & SHARD_MASK][key]

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self.shards)

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def __repr__(self) -> str:
        return repr(dict(self))
