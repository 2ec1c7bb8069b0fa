"""What a trace has recorded and its thread has not written yet: bounded in turns and in bytes.

A turn may hold many megabytes of messages, which live for as long as it waits here. One thread
puts, another one takes; each counts for itself, so that no lock is needed.
"""

import queue
from typing import Any

TURNS_WAITING_MAX = 20_000
BYTES_WAITING_MAX = 64 << 20
WORDS = f"{TURNS_WAITING_MAX} turns, or {BYTES_WAITING_MAX >> 20} MiB in them, wait to be written"

Record = tuple[Any, ...]


def bytes_in(item: object) -> int:
    """The size of all byte strings in nested tuples and lists."""
    if isinstance(item, bytes):
        return len(item)
    return sum(map(bytes_in, item)) if isinstance(item, tuple | list) else 0


class Backlog:
    """A queue of records."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[int, Record | None]] = queue.SimpleQueue()
        self._put_count = self._put_bytes = 0
        self._taken_count = self._taken_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the thread has fallen too far behind."""
        return (
            self._put_count - self._taken_count > TURNS_WAITING_MAX
            or self._put_bytes - self._taken_bytes > BYTES_WAITING_MAX
        )

    def put(self, record: Record | None) -> None:
        """Add one; None: no more will come. It is taken whatever waits; see :attr:`is_full`."""
        size = bytes_in(record)
        self._put_count += 1
        self._put_bytes += size
        self._waiting.put((size, record))

    def take(self, timeout_s: float) -> Record | None:
        """The next one. Raises queue.Empty if none comes in time."""
        size, record = self._waiting.get(timeout=timeout_s)
        self._taken_count += 1
        self._taken_bytes += size
        return record
