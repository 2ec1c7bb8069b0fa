"""The public Python client of paxosd for asyncio, with the methods of
:class:`~paxosctl.client.client.Client`.

    async with AsyncClient(["tcp://127.0.0.1:7410", "tcp://127.0.0.1:7420"]) as client:
        revision = await client.put(b"greeting", b"hello")
        async for row in client.scan(b"jobs/"):
            ...
        async with client.watch(b"greeting") as changes:
            async for change in changes:           # never ends by itself
                ...

Calls of tasks that run in one round of the loop go out together: there is no pipeline beside
``asyncio.gather``. A call whose task is cancelled ends truly:
:func:`~paxosctl.client.errors.what_is_known` says of the CancelledError, or of the TimeoutError of
``asyncio.timeout``, what became of it.

A client belongs to the event loop in which it is first used.
"""

import asyncio
from collections.abc import Callable, Sequence

from paxosctl.client.async_lock import AsyncLock
from paxosctl.client.async_recipes import (
    AsyncBarrier,
    AsyncConfig,
    AsyncCounter,
    AsyncElection,
    AsyncRegistry,
)
from paxosctl.client.async_runner import AsyncRunner
from paxosctl.client.async_watch import AsyncWatcher
from paxosctl.client.client import Client
from paxosctl.client.cluster_calls import ClusterMethods
from paxosctl.client.credentials import KeySource
from paxosctl.client.leases import LeaseMethods
from paxosctl.client.lock_maker import TTL_S, KeeperOfOne, plan_of
from paxosctl.client.reads import ReadMethods
from paxosctl.client.recipes import EVERYBODY, T
from paxosctl.client.results import as_bytes
from paxosctl.client.rights_calls import RightsMethods
from paxosctl.client.transaction_calls import TransactionMethods
from paxosctl.client.watch_plan import WatchPlan
from paxosctl.client.watch_session import WatchSession
from paxosctl.client.writes import WriteMethods
from paxosd.core.client.calls import ClientOptions
from paxosd.core.commands import KeyValue, prefix_end


class AsyncClient(
    WriteMethods,
    TransactionMethods,
    ReadMethods,
    LeaseMethods,
    ClusterMethods,
    RightsMethods,
    AsyncRunner,
):
    """A connection to a cluster, whose calls are awaited; the tasks of one event loop share it. See
    :class:`~paxosctl.client.base.ClientBase` for its arguments."""

    def __init__(
        self,
        endpoints: Sequence[str] | None = None,
        *,
        timeout_s: float = 5.0,
        options: ClientOptions | None = None,
        name: str | None = None,
        read_from: str | None = None,
        key: KeySource | None = None,
        allow_plain: bool = False,
    ) -> None:
        super().__init__(
            endpoints,
            timeout_s=timeout_s,
            options=options,
            name=name,
            read_from=read_from,
            key=key,
            allow_plain=allow_plain,
        )
        self._keeper = KeeperOfOne(self._options, self._credentials)
        self._keeper.end_with(self)

    def watch(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        from_revision: int | None = None,
        history: str = "",
        prev: bool = False,
        only: str | None = None,
        progress_s: float | None = None,
        groups: bool = False,
        on_trouble: Callable[[str], None] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncWatcher:
        self._check()
        plan = WatchPlan(key, prefix, from_revision, history, prev, only, progress_s, groups)

        async def begin() -> WatchSession:
            make = await self._run(plan.steps(self.endpoints), timeout_s)
            session = make(self._transport)
            self._watches = [each for each in self._watches if not each.closed]
            self._watches.append(session)
            return session

        return AsyncWatcher(self, begin, on_trouble)

    watch.__doc__ = Client.watch.__doc__

    # -- locks, and what is made of them ------------------------------------------------------

    def lock(
        self,
        name: bytes,
        *,
        ttl_s: float = TTL_S,
        value: bytes = b"",
        timeout_s: float | None = None,
    ) -> AsyncLock:
        return self.semaphore(name, 1, ttl_s=ttl_s, value=value, timeout_s=timeout_s)

    def semaphore(
        self,
        name: bytes,
        shared: int,
        *,
        ttl_s: float = TTL_S,
        value: bytes = b"",
        timeout_s: float | None = None,
    ) -> AsyncLock:
        self._check()
        plan = plan_of(as_bytes(name), shared, ttl_s, as_bytes(value))
        return AsyncLock(self._keeper.get(self.endpoints), plan, timeout_s, self)

    def election(self, name: bytes, *, ttl_s: float = TTL_S) -> AsyncElection:
        name = as_bytes(name)
        return AsyncElection(
            name,
            lock=lambda value: self.lock(name, ttl_s=ttl_s, value=value),
            rows=self._rows,
            watch=self._watch_prefix,
        )

    def barrier(self, name: bytes, count: int, *, ttl_s: float = TTL_S) -> AsyncBarrier:
        name = as_bytes(name)
        return AsyncBarrier(
            name,
            count,
            place=self.semaphore(name, EVERYBODY, ttl_s=ttl_s),
            open_it=lambda: self.cas_value(name, None, b"open"),
            rows=self._rows,
            watch=self._watch_prefix,
        )

    def counter(self, key: bytes) -> AsyncCounter:
        key = as_bytes(key)
        return AsyncCounter(key, add=lambda by: self.incr(key, by), get=lambda: self.get(key))

    def registry(self, service: bytes, *, ttl_s: float = TTL_S) -> AsyncRegistry:
        service = as_bytes(service)
        return AsyncRegistry(
            service,
            place=lambda value: self.semaphore(service, EVERYBODY, ttl_s=ttl_s, value=value),
            rows=self._rows,
            watch=self._watch_prefix,
        )

    def config(self, key: bytes, parse: Callable[[bytes | None], T]) -> AsyncConfig[T]:
        return AsyncConfig(
            as_bytes(key),
            parse,
            rows=lambda key: self._rows(key, key + b"\0"),
            watch=lambda key, revision: self.watch(key, from_revision=revision),
        )

    lock.__doc__ = Client.lock.__doc__
    semaphore.__doc__ = Client.semaphore.__doc__
    election.__doc__ = Client.election.__doc__
    barrier.__doc__ = Client.barrier.__doc__
    counter.__doc__ = Client.counter.__doc__
    registry.__doc__ = Client.registry.__doc__
    config.__doc__ = Client.config.__doc__

    async def close(self) -> None:
        try:
            if not self._transport.owner.is_forked:
                self._keeper.close(wait=False)
                if self._keeper.made is not None:
                    await asyncio.to_thread(self._keeper.close)
        finally:  # a task that is cancelled here has closed all the same
            await super().close()

    close.__doc__ = AsyncRunner.close.__doc__

    async def _rows(self, start: bytes, end: bytes | None = None) -> tuple[list[KeyValue], int]:
        """As :meth:`Client._rows`."""
        rows: list[KeyValue] = []
        revision = -1
        async for answer in self.pages(start, prefix_end(start) if end is None else end):
            rows += answer.results[0].rows
            revision = answer.revision if revision < 0 else revision
        return rows, revision

    def _watch_prefix(self, prefix: bytes, revision: int) -> AsyncWatcher:
        return self.watch(prefix, prefix=True, from_revision=revision)
