"""The data quota: how large the store may become, counted alike on every node.

    a key counts    its own bytes + those of its value + KEY_BYTES

- ``quota_bytes`` is a replicated setting (``core/cluster_settings.py``); 0: there is none. The
  count goes on without one, so that the slot that sets the first one costs no more with many keys.
- A write after which the store would count more than the quota, and more than before, is refused at
  apply, so on every node, with :data:`QUOTA_RESULT`. Removals and writes that let the store shrink
  are never refused, also above a quota that was lowered.
- Nothing of the count is in a snapshot: it is a function of the rows, and counted as they are
  loaded. The chain covers it, because it covers which commands were refused.

Why the result is a MALFORMED with a detail, and not a status of its own: clients of before feature
level 4 take any other status that they do not know, as the answer to a put, for a success. They
report MALFORMED as refused, which is true.
"""

from collections.abc import Sequence

from paxosd.core.commands import Result, Status
from paxosd.core.state.entries import HEAD_BYTES

KEY_BYTES = 150
"""What a key takes in memory besides its own bytes and those of its value (docs/MEMORY.md)."""
_ENTRY_BYTES = KEY_BYTES - HEAD_BYTES  # the same besides the key's own bytes and its packed entry
NEAR_PERCENT = 80
"""From so much of the quota on operators hear that the store is near it."""
ROOM_PERCENT = 5
"""Once so much of the quota was freed since a write was refused, the store is not full any more."""
_NEVER = 1 << 62  # more bytes than any quota
QUOTA_RESULT: Result = (int(Status.MALFORMED), 0, int(Status.QUOTA))
"""The result of a write that the quota refuses."""


def bytes_of(key: bytes, packed: bytes) -> int:
    """What this key and its packed entry count."""
    return len(key) + len(packed) + _ENTRY_BYTES


class Quota:
    """The quota of one store, and what its entries count: those that are hidden, too, until they
    are taken out."""

    __slots__ = ("_refused_at_bytes", "held_bytes", "limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        """``limit_bytes``: of a store that is empty."""
        self.limit_bytes = limit_bytes
        """0: no quota."""
        self.held_bytes = 0
        """What the entries count, with a quota or without one."""
        self._refused_at_bytes = _NEVER

    def change(self, limit_bytes: int) -> None:
        """Another quota, or none, from now on."""
        if limit_bytes > self.limit_bytes or not limit_bytes:
            self._refused_at_bytes = _NEVER
        self.limit_bytes = limit_bytes

    def add_all(self, keys: Sequence[bytes], packed: Sequence[bytes]) -> None:
        """These entries were added."""
        self.held_bytes += sum(map(len, keys)) + sum(map(len, packed)) + _ENTRY_BYTES * len(keys)

    def replace(self, key: bytes, old: bytes | None, packed: bytes) -> None:
        """The entry of ``key`` became ``packed``, in place of ``old`` or of none."""
        if old is not None:
            self.held_bytes += len(packed) - len(old)
        else:
            self.held_bytes += len(key) + len(packed) + _ENTRY_BYTES

    def remove(self, key: bytes, packed: bytes) -> None:
        """This entry was taken out."""
        self.held_bytes -= len(key) + len(packed) + _ENTRY_BYTES

    def growth(self, key: bytes, value: bytes | None, old: bytes | None) -> int:
        """How much a write of ``value`` (None: a removal) over the packed entry ``old`` adds."""
        after = 0 if value is None else len(key) + len(value) + KEY_BYTES
        return after - (0 if old is None else bytes_of(key, old))

    def note_refusal(self) -> None:
        """A write was refused for the quota, here at admission or at apply. It changes what
        :attr:`state` says, which is for people, and nothing else."""
        self._refused_at_bytes = self.held_bytes

    @property
    def counted_bytes(self) -> int:
        """What the entries count; 0 without a quota."""
        return self.held_bytes if self.limit_bytes else 0

    @property
    def state(self) -> str:
        """``full`` from a refusal on, until ROOM_PERCENT of the quota were freed; else ``near``,
        from NEAR_PERCENT of it on, or ``ok``. "": there is no quota."""
        held, limit = self.held_bytes, self.limit_bytes
        if not limit:
            return ""
        if 100 * held > 100 * self._refused_at_bytes - ROOM_PERCENT * limit:
            return "full"
        return "near" if 100 * held >= NEAR_PERCENT * limit else "ok"

    def lacks(self, growth: int) -> int:
        """How many bytes are missing for a growth by so many; 0: there is room."""
        if growth <= 0 or not self.limit_bytes:
            return 0
        return max(0, self.held_bytes + growth - self.limit_bytes)
