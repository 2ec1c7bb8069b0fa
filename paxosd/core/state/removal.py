"""A removed range of keys whose hidden entries are still to be taken out of the store.

A walk that was under way when the range was removed has yet to visit some of its keys. So the
removal remembers, for each walk, where in the range that walk had come to.
"""

from typing import Protocol

from paxosd.core.state.key_group import KeyGroup
from paxosd.core.state.key_index import KeyRun


class OpenWalk(Protocol):
    """A visit of all keys as of one slot, while later slots change them (``walk.py``)."""

    @property
    def is_behind(self) -> bool:
        """Whether it keeps so many old entries that no more should be taken out."""
        ...

    def keep(self, key: bytes, packed: bytes) -> None:
        """The present entry of ``key`` is about to be replaced or taken out."""
        ...

    def lose(self, key: bytes) -> None:
        """``key`` was deleted, and leaves the index."""
        ...

    def cut(self, keys: KeyRun) -> int:
        """These keys have left the index. Returns the position of the first that was not
        visited."""
        ...


class Removal:
    """The keys of ``gone``, a range that was removed at ``revision``; those before position ``at``
    have been taken out. ``walks``: those that were under way at that time, each with the position
    of the first key that it had not visited."""

    __slots__ = ("_keys", "at", "gone", "revision", "walks")

    def __init__(self, gone: KeyGroup, walks: list[tuple[OpenWalk, int]]) -> None:
        self.gone = gone
        self.revision = gone.revision
        self.walks = walks
        self.at = 0
        self._keys = gone.keys

    @property
    def is_done(self) -> bool:
        """Whether all keys were taken."""
        return self.at == len(self._keys)

    def take(self, keys_max: int) -> list[bytes]:
        """The next keys."""
        keys = self._keys[self.at : self.at + keys_max]
        self.at += len(keys)
        return keys
