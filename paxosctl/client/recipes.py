"""What is built of keys, leases and watches: a barrier, a registry of services, a configuration.

Each gets the calls that it is made of, and works on the network during its own calls only; what
has a lease is kept by the thread of the locks (``lock_keeper.py``).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, Generic, TypeVar

from paxosctl.client.base import checked_wait
from paxosctl.client.lock import Lock
from paxosctl.client.watch import Watcher
from paxosd.core.commands import KeyValue

T = TypeVar("T")

EVERYBODY = 1 << 31
"""A semaphore of so many never makes anybody wait."""

Rows = Callable[[bytes], tuple[list[KeyValue], int]]
"""All keys with a prefix, and the revision that they are of."""
Watch = Callable[[bytes, int], Watcher]
"""The changes of all keys with a prefix, from a revision on."""


class Arrivals:
    """Who has come to a barrier, from the changes of the keys that begin with its name."""

    def __init__(self, name: bytes, count: int, rows: list[KeyValue]) -> None:
        self._name = name
        self._count = count
        self._known = {row.key for row in rows}

    def note(self, change: Any) -> None:
        """A change of one of these keys."""
        (self._known.discard if change.value is None else self._known.add)(change.key)

    def has(self, key: bytes) -> bool:
        """Whether who has this key has come, and is still there."""
        return key in self._known

    @property
    def is_open(self) -> bool:
        """Whether everybody may pass."""
        return self._name in self._known

    @property
    def is_complete(self) -> bool:
        """Whether so many have come that it is to be opened."""
        return sum(key.startswith(self._name + b"/") for key in self._known) >= self._count


class Instances:
    """Those of a service, from the changes of their keys."""

    def __init__(self, rows: list[KeyValue]) -> None:
        rows = sorted(rows, key=lambda row: row.create_revision)
        self._known = {row.key: row.value for row in rows}

    @property
    def values(self) -> list[bytes]:
        """Of all of them, the oldest first."""
        return list(self._known.values())

    def note(self, change: Any) -> list[bytes]:
        """A change of one of the keys; the values then."""
        if change.value is None:
            self._known.pop(change.key, None)
        else:
            self._known[change.key] = change.value
        return self.values


class ConfigBase(Generic[T]):
    """A typed value: ``parse`` makes it of the bytes (None: there is no such key), and raises
    ValueError for what it cannot be."""

    def __init__(self, key: bytes, parse: Callable[[bytes | None], T]) -> None:
        self.key = key
        self._parse = parse
        self.value = parse(None)
        self.refused: Exception | None = None
        """Why the newest value was not taken: then the last good one stays."""

    def _read(self, rows: list[KeyValue]) -> T:
        """Take it from these rows. Raises ValueError, and keeps the value of before."""
        if not self._note_row(rows):
            assert self.refused is not None
            raise self.refused
        return self.value

    def _note_row(self, rows: list[KeyValue]) -> bool:
        """The row of its key, if there is one; whether it has a good value."""
        return self._note(rows[0].value if rows else None)

    def _note(self, text: bytes | None) -> bool:
        """What it is set to; whether that is a good value, which it has now."""
        try:
            self.value = self._parse(text)
        except ValueError as error:
            self.refused = error
            return False
        self.refused = None
        return True


def whole_count(count: int) -> int:
    """How many a barrier waits for, if it can be so many. Raises ValueError."""
    if type(count) is not int or not 1 <= count <= EVERYBODY:
        raise ValueError(f"a barrier waits for 1 to {EVERYBODY} to come, not for {count!r}")
    return count


class Barrier:
    """Lets nobody pass before ``count`` have come. For one use: take another name for the next. Who
    ends while it waits does not count any more, after a TTL."""

    def __init__(
        self, name: bytes, count: int, *, place: Lock, open_it: Callable[[], object], rows: Rows,
        watch: Watch,
    ) -> None:  # fmt: skip
        """``place``: one's own key in it; ``open_it()``: let everybody pass, for ever."""
        self.name = name
        self.count = whole_count(count)
        self._place = place
        self._open_it = open_it
        self._rows = rows
        self._watch = watch

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the others; whether they came in this time (None, inf: for ever). Raises
        LockLostError if its own place was lost meanwhile, in a process that was stopped for longer
        than a TTL, say: it does not count any more, and is to wait anew."""
        timeout_s = checked_wait(timeout_s)
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        with ExitStack() as stack:
            while not self._place.acquire(timeout_s):
                if timeout_s is not None:
                    return False
            stack.push(self._place)
            rows, revision = self._rows(self.name)
            arrivals = Arrivals(self.name, self.count, rows)
            changes = stack.enter_context(closing(self._watch(self.name, revision + 1)))
            while not arrivals.is_open and arrivals.has(self._place.key):
                if arrivals.is_complete:
                    self._open_it()
                    return True
                left_s = 3600.0 if until_s is None else until_s - time.monotonic()
                if left_s <= 0:
                    return False
                change = changes.poll(int(left_s * 1000) + 1)
                if change is not None:
                    arrivals.note(change)
            return arrivals.is_open


class Counter:
    """A number that many add to: each addition is done once, however often it was sent."""

    def __init__(
        self, key: bytes, *, add: Callable[[int], int], get: Callable[[], KeyValue | None]
    ) -> None:
        self.key = key
        self._add = add
        self._get = get

    def add(self, by: int = 1) -> int:
        """Add; the new number."""
        return self._add(by)

    @property
    def value(self) -> int:
        """The number now; 0 before the first addition."""
        found = self._get()
        return 0 if found is None else int(found.value)


class Registry:
    """Which instances of a service there are: a key with a lease for each."""

    def __init__(
        self, service: bytes, *, place: Callable[[bytes], Lock], rows: Rows, watch: Watch
    ) -> None:
        self.service = service
        self._place = place
        self._rows = rows
        self._watch = watch

    def register(self, value: bytes) -> Lock:
        """An instance, such as its address: it is listed while the result is held, in a ``with`` or
        from ``acquire`` to ``release``, and a TTL longer at most. ``lost`` is set when it may be
        listed no more: acquire it again."""
        return self._place(value)

    def instances(self) -> list[bytes]:
        """The values of all instances, the oldest first."""
        rows, _ = self._rows(self.service + b"/")
        return Instances(rows).values

    def watch(self) -> Iterator[list[bytes]]:
        """The instances now, and again after each change, for ever."""
        rows, revision = self._rows(self.service + b"/")
        instances = Instances(rows)
        yield instances.values
        with closing(self._watch(self.service + b"/", revision + 1)) as changes:
            for change in changes:
                yield instances.note(change)


class Config(ConfigBase[T]):
    """A typed value that is set elsewhere: ``parse`` makes it of the bytes (None: there is no such
    key), and raises ValueError for what it cannot be."""

    def __init__(
        self,
        key: bytes,
        parse: Callable[[bytes | None], T],
        *,
        rows: Rows,
        watch: Watch,
    ) -> None:
        """Reads it. Raises what ``parse`` raises."""
        super().__init__(key, parse)
        self._rows = rows
        self._watcher = watch
        self.reload()

    def reload(self) -> T:
        """Read it now. Raises ValueError if it cannot be parsed, and keeps the value of before."""
        rows, _ = self._rows(self.key)
        return self._read(rows)

    def changes(self) -> Iterator[T]:
        """The value now, and each one that it is set to, for ever. One that cannot be parsed is
        left out, see :attr:`refused`: of these the first is the last good one."""
        rows, revision = self._rows(self.key)
        self._note_row(rows)
        yield self.value
        with closing(self._watcher(self.key, revision + 1)) as changes:
            for change in changes:
                if self._note(change.value):
                    yield self.value
