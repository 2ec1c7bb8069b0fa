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

from collections.abc import Callable

from paxosctl.client.async_runner import AsyncRunner
from paxosctl.client.async_watch import AsyncWatcher
from paxosctl.client.client import Client
from paxosctl.client.cluster_calls import ClusterMethods
from paxosctl.client.leases import LeaseMethods
from paxosctl.client.reads import ReadMethods
from paxosctl.client.transaction_calls import TransactionMethods
from paxosctl.client.watch_plan import WatchPlan
from paxosctl.client.watch_session import WatchSession
from paxosctl.client.writes import WriteMethods


class AsyncClient(
    WriteMethods, TransactionMethods, ReadMethods, LeaseMethods, ClusterMethods, AsyncRunner
):
    """A connection to a cluster, whose calls are awaited; the tasks of one event loop share it. See
    :class:`~paxosctl.client.base.ClientBase` for its arguments."""

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
