"""A watch of an :class:`~paxosctl.client.async_client.AsyncClient`: an iterator that is awaited."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

from paxosctl.client.owner import Owner, Unshared
from paxosctl.client.results import WatchItem
from paxosctl.client.watch_session import WatchSession
from paxosd.host.clock import clock_ms


class AsyncWatchRunner(Protocol):
    """What of a client a watch needs."""

    @property
    def owner(self) -> Owner:
        """Of its sockets."""
        ...

    async def news(self, watch: WatchSession, until_ms: int | None) -> None:
        """Wait until there is something for the user, or the time is over."""
        ...

    def end(self, watch: WatchSession) -> None:
        """Close it, and wake whoever waits for it."""
        ...


class AsyncWatcher(Unshared, AsyncIterator[WatchItem]):
    """An endless iterator over changes; made by
    :meth:`paxosctl.client.async_client.AsyncClient.watch`. It begins when the first change is asked
    for, or with ``async with``. If several tasks take changes, each change goes to one of them."""

    def __init__(
        self,
        runner: AsyncWatchRunner,
        begin: Callable[[], Awaitable[WatchSession]],
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self._runner = runner
        self._begin = begin
        self._on_trouble = on_trouble
        self._beginning = asyncio.Lock()
        self._session: WatchSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        await self._begun()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __anext__(self) -> WatchItem:
        """The next change, however long it takes. StopAsyncIteration once the watch is closed."""
        change = await self._next(None)
        if change is None:
            raise StopAsyncIteration
        return change

    async def poll(self, timeout_ms: int) -> WatchItem | None:
        """The next change, or None if there is none within the time.

        Raises RefusedError for a watch that cannot go on.
        """
        return await self._next(clock_ms() + timeout_ms)

    async def _next(self, until_ms: int | None) -> WatchItem | None:
        self._runner.owner.check_process()
        session = await self._begun()
        waited = False
        while session is not None:
            self._report(session)
            change = session.take()
            if change is not None or session.closed:
                return change
            failed = session.failed
            if failed is not None:
                self.close()
                raise failed
            if waited and until_ms is not None and clock_ms() >= until_ms:
                return None
            await self._runner.news(session, until_ms)
            waited = True
        return None

    async def _begun(self) -> WatchSession | None:
        async with self._beginning:
            if self._session is None and not self._closed:
                session = await self._begin()
                self._session = session
                if self._closed:  # meanwhile
                    self._runner.end(session)
        return self._session

    def _report(self, session: WatchSession) -> None:
        while session.troubles:
            reason = session.troubles.popleft()
            if self._on_trouble is not None:
                self._on_trouble(reason)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of changes have been received and not yet been taken."""
        return self._session.waiting_bytes if self._session is not None else 0

    @property
    def live(self) -> bool:
        """Whether changes are taken from the stream now, with none known to be missing."""
        self._runner.owner.check_process()
        return self._session is not None and self._session.live

    @property
    def resume_revision(self) -> int | None:
        """A later watch from this revision misses nothing. It can repeat changes, if some of
        this watch have been received but not been asked for. None: nothing is known yet."""
        self._runner.owner.check_process()
        return self._session.resume_revision if self._session is not None else None

    @property
    def history(self) -> str:
        """The number of the founding of the cluster that this watch is of, for a later watch that
        goes on from :attr:`resume_revision`. "": not known."""
        self._runner.owner.check_process()
        return self._session.history if self._session is not None else ""

    def close(self) -> None:
        """End the watch; an iteration over it ends. Does nothing in a forked child."""
        if self._runner.owner.is_forked or self._closed:
            return
        self._closed = True
        if self._session is not None and not self._session.closed:
            self._runner.end(self._session)
