"""Locks of an :class:`~paxosctl.client.async_client.AsyncClient`: tasks wait, a thread keeps them.

    async with client.lock(b"jobs", ttl_s=10) as lock:
        await client.put(b"result", b"…", fence=lock.fence)
        await lock.lost.wait()

The thread is the same as for a :class:`~paxosctl.client.client.Client` (``lock_keeper.py``): an
event loop that is busy for longer than a TTL does not lose a lock. Nothing here blocks the loop.
"""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from paxosctl.client.base import checked_wait
from paxosctl.client.errors import ClientError, LockLostError, NotAcquiredError
from paxosctl.client.lock import ASK_S, LockBase
from paxosctl.client.lock_keeper import LockKeeper
from paxosd.core.client.lock import LockPlan, LockState


class FindsStrays(Protocol):
    """What a lock needs of its client."""

    async def lock_strays(self, name: bytes, *, timeout_s: float | None = None) -> list[bytes]:
        """See :meth:`paxosctl.client.leases.LeaseMethods.lock_strays`."""
        ...


class TaskEvent:
    """As an asyncio.Event, but it may be set from any thread, and :meth:`is_set` is true from then
    on, before the loop has its next turn."""

    def __init__(self) -> None:
        self._is_set = False
        self._waits: set[asyncio.Future[None]] = set()
        self._guard = threading.Lock()

    def is_set(self) -> bool:
        """Whether it is."""
        return self._is_set

    def set(self) -> None:
        """Wake whoever waits for it, in whatever loop."""
        with self._guard:
            self._is_set = True
            waits, self._waits = self._waits, set()
        for each in waits:
            with suppress(RuntimeError):  # its loop is closed
                each.get_loop().call_soon_threadsafe(_finish, each)

    def clear(self) -> None:
        """It is not set any more."""
        self._is_set = False

    async def wait(self) -> bool:
        """Until it is set; True."""
        with self._guard:
            if self._is_set:
                return True
            waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waits.add(waits)
        try:
            await waits
        finally:
            with self._guard:
                self._waits.discard(waits)
        return True

    async def wait_for(self, timeout_s: float | None) -> bool:
        """The same for so long at most; whether it is set."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.wait()
        return self._is_set


def _finish(waits: "asyncio.Future[None]") -> None:
    if not waits.done():
        waits.set_result(None)


class AsyncLock(LockBase[TaskEvent]):
    """As :class:`~paxosctl.client.lock.Lock`, for tasks: ``acquire`` and ``release`` are awaited,
    and it is used with ``async with``. A task that is cancelled while it waits gives it up.

    ``lost``: as an asyncio.Event, see :class:`TaskEvent`."""

    def __init__(
        self, keeper: LockKeeper, plan: LockPlan, timeout_s: float | None, client: FindsStrays
    ) -> None:
        """To be made by :meth:`paxosctl.client.async_client.AsyncClient.lock` and its like."""
        super().__init__(keeper, plan, timeout_s, TaskEvent)
        self._client = client
        """It lives as long as one of its locks does: with its end they are given back."""

    async def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait until it is held, for ever (None, inf) or for so long (0: one look at it); whether
        it is held. Raises what :meth:`Lock.acquire` raises."""
        timeout_s = checked_wait(timeout_s)
        self._begin(timeout_s)
        try:
            settled = await self._settled.wait_for(self._patience_s if self._once else timeout_s)
            if self._once and not settled:
                self._not_held()
                raise self._not_acquired()
        except BaseException:
            self._end_attempt()
            self._free()
            raise
        if self.protocol.state is LockState.HELD:
            return True
        error = self._not_held()
        await self._give_back()
        if error is not None:
            raise error
        return False

    async def release(self) -> None:
        """Give it back: the next one has it when this returns, or as soon as the command comes
        through; after a TTL at the latest. Raises LockLostError if it was not held any more, also
        if somebody had removed its key, which the answer to this shows."""
        protocol = self.protocol
        loss = self._loss()
        await self._give_back()
        loss = loss or self._late_loss(protocol)
        if loss is not None:
            raise loss

    async def _give_back(self) -> None:
        try:
            if self._end_attempt():
                await self._rested.wait_for(self._patience_s)
        finally:
            self._free()

    async def why_not_acquired(self, waited_s: float | None = None) -> NotAcquiredError:
        """See :meth:`Lock.why_not_acquired`."""
        strays: Sequence[bytes] | None = ()
        if self._may_have_strays:
            try:
                strays = await self._client.lock_strays(self.name, timeout_s=ASK_S)
            except ClientError:
                strays = None
        return self._not_acquired(waited_s, strays)

    async def __aenter__(self) -> Self:
        if not await self.acquire(self._timeout_s):
            raise await self.why_not_acquired(self._timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives it back; raises LockLostError if the block ended well though it was lost."""
        if self._keeper.is_forked:
            return  # it is the parent's
        try:
            await self.release()
        except LockLostError:
            if kind is None:
                raise
