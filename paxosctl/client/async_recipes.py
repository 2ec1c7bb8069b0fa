"""The recipes of ``recipes.py`` and ``election.py`` for tasks: their calls are awaited."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVar

from paxosctl.client.async_lock import AsyncLock
from paxosctl.client.async_watch import AsyncWatcher
from paxosctl.client.base import checked_wait
from paxosctl.client.election import Candidates, Leader
from paxosctl.client.recipes import Arrivals, ConfigBase, Instances, whole_count
from paxosd.core.commands import KeyValue

T = TypeVar("T")

Rows = Callable[[bytes], Awaitable[tuple[list[KeyValue], int]]]
"""All keys with a prefix, and the revision that they are of."""
Watch = Callable[[bytes, int], AsyncWatcher]
"""The changes of all keys with a prefix, from a revision on."""


class AsyncElection:
    """One election: :meth:`campaign` for it, or look who leads."""

    def __init__(
        self, name: bytes, *, lock: Callable[[bytes], AsyncLock], rows: Rows, watch: Watch
    ) -> None:
        self.name = name
        self._lock = lock
        self._rows = rows
        self._watch = watch

    def campaign(self, value: bytes) -> AsyncLock:
        """A candidacy that leads while it is held: ``async with election.campaign(b"host1") as
        lead:`` waits until it leads; its ``lost`` is set before another can lead."""
        return self._lock(value)

    async def leader(self) -> Leader | None:
        """Who leads now, as far as the cluster knows; None: nobody does. It may be over before it
        is read here: only a fence (``put(…, fence=…)``) makes sure."""
        rows, _ = await self._rows(self.name + b"/")
        return Candidates(rows).leader

    async def observe(self) -> AsyncIterator[Leader | None]:
        """Who leads now, and then each new leader, for ever; None while nobody does."""
        rows, revision = await self._rows(self.name + b"/")
        candidates = Candidates(rows)
        seen = candidates.leader
        yield seen
        async with self._watch(self.name + b"/", revision + 1) as changes:
            async for change in changes:
                now = candidates.note(change)
                if now != seen:
                    seen = now
                    yield now


class AsyncBarrier:
    """Lets nobody pass before ``count`` have come. For one use: take another name for the next. Who
    ends while it waits does not count any more, after a TTL."""

    def __init__(
        self, name: bytes, count: int, *, place: AsyncLock,
        open_it: Callable[[], Awaitable[object]], rows: Rows, watch: Watch,
    ) -> None:  # fmt: skip
        self.name = name
        self.count = whole_count(count)
        self._place = place
        self._open_it = open_it
        self._rows = rows
        self._watch = watch

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the others; whether they came in this time (None, inf: for ever). Raises
        LockLostError if its own place was lost meanwhile, in a process that was stopped for longer
        than a TTL, say: it does not count any more, and is to wait anew."""
        timeout_s = checked_wait(timeout_s)
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        async with AsyncExitStack() as stack:
            while not await self._place.acquire(timeout_s):
                if timeout_s is not None:
                    return False
            stack.push_async_exit(self._place)
            rows, revision = await self._rows(self.name)
            arrivals = Arrivals(self.name, self.count, rows)
            changes = await stack.enter_async_context(self._watch(self.name, revision + 1))
            while not arrivals.is_open and arrivals.has(self._place.key):
                if arrivals.is_complete:
                    await self._open_it()
                    return True
                left_s = 3600.0 if until_s is None else until_s - time.monotonic()
                if left_s <= 0:
                    return False
                change = await changes.poll(int(left_s * 1000) + 1)
                if change is not None:
                    arrivals.note(change)
            return arrivals.is_open


class AsyncCounter:
    """A number that many add to: each addition is done once, however often it was sent."""

    def __init__(
        self,
        key: bytes,
        *,
        add: Callable[[int], Awaitable[int]],
        get: Callable[[], Awaitable[KeyValue | None]],
    ) -> None:
        self.key = key
        self._add = add
        self._get = get

    async def add(self, by: int = 1) -> int:
        """Add; the new number."""
        return await self._add(by)

    async def value(self) -> int:
        """The number now; 0 before the first addition."""
        found = await self._get()
        return 0 if found is None else int(found.value)


class AsyncRegistry:
    """Which instances of a service there are: a key with a lease for each."""

    def __init__(
        self, service: bytes, *, place: Callable[[bytes], AsyncLock], rows: Rows, watch: Watch
    ) -> None:
        self.service = service
        self._place = place
        self._rows = rows
        self._watch = watch

    def register(self, value: bytes) -> AsyncLock:
        """An instance, such as its address: it is listed while the result is held, in an ``async
        with`` or from ``acquire`` to ``release``, and a TTL longer at most. ``lost`` is set when it
        may be listed no more: acquire it again."""
        return self._place(value)

    async def instances(self) -> list[bytes]:
        """The values of all instances, the oldest first."""
        rows, _ = await self._rows(self.service + b"/")
        return Instances(rows).values

    async def watch(self) -> AsyncIterator[list[bytes]]:
        """The instances now, and again after each change, for ever."""
        rows, revision = await self._rows(self.service + b"/")
        instances = Instances(rows)
        yield instances.values
        async with self._watch(self.service + b"/", revision + 1) as changes:
            async for change in changes:
                yield instances.note(change)


class AsyncConfig(ConfigBase[T]):
    """A typed value that is set elsewhere, as :class:`~paxosctl.client.recipes.Config`. It has the
    default until it was read: by :meth:`reload`, ``async with`` or :meth:`changes`."""

    def __init__(
        self, key: bytes, parse: Callable[[bytes | None], T], *, rows: Rows, watch: Watch
    ) -> None:
        super().__init__(key, parse)
        self._rows = rows
        self._watcher = watch

    async def __aenter__(self) -> Self:
        await self.reload()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is kept."""

    async def reload(self) -> T:
        """Read it now. Raises ValueError if it cannot be parsed, and keeps the value of before."""
        rows, _ = await self._rows(self.key)
        return self._read(rows)

    async def changes(self) -> AsyncIterator[T]:
        """The value now, and each one that it is set to, for ever. One that cannot be parsed is
        left out, see :attr:`refused`: of these the first is the last good one."""
        rows, revision = await self._rows(self.key)
        self._note_row(rows)
        yield self.value
        async with self._watcher(self.key, revision + 1) as changes:
            async for change in changes:
                if self._note(change.value):
                    yield self.value
