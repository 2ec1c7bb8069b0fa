"""The thread that keeps the locks of one client: it renews their leases while the user's code runs.

    Lock.acquire ──► begin ──► [thread] LockProtocol ── Submit, Look ──► Connection ──► nodes
    Lock.release ──► end ────►                       ── Await ────────► LockWatches
                                  HELD, LOST ──► the events that Lock waits for

A client without locks has no thread. The first lock starts one, a daemon named ``paxosd-locks``,
with connections and a session of its own, so that no call of the user holds up a renewal; it ends
when the client is closed, and with the process. It wakes when something comes, when something is
due, and every :data:`WAKE_MS` at the latest: a timer does not go on while the machine is suspended,
the clock of the locks does.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from paxosctl.client.base import CLOSED_WORDS
from paxosctl.client.connection import Connection
from paxosctl.client.credentials import Credentials
from paxosctl.client.dues import Dues
from paxosctl.client.lock_watches import LockWatches
from paxosctl.client.transport import Transport
from paxosctl.client.watch_items import DELETES, WatchWants
from paxosctl.client.watch_nodes import WatchNodes
from paxosctl.client.watch_session import WatchSession
from paxosd.core.client.calls import Call, ClientOptions
from paxosd.core.client.lock import (
    Await,
    Effect,
    EndAwait,
    LockProtocol,
    Look,
    Submit,
)
from paxosd.core.client.lock_look import seen
from paxosd.core.requests import LINEARIZABLE, ReadRequest
from paxosd.host.clock import clock_ms

WAKE_MS = 500
END_MS = 1000
"""How long the end of a client waits for its locks to be given back."""
NAME = "paxosd-locks"
CRASHED_WORDS = "the thread that keeps the locks has ended"


def boot_ms() -> float:
    """A clock in ms that goes on while the machine is suspended (Linux)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6


class Kept(Protocol):
    """What the thread keeps: a lock as its user sees it."""

    def changed(self, protocol: LockProtocol) -> None:
        """Something of ``protocol``, an attempt of this lock, may have changed; called by the
        thread."""
        ...


class LockKeeper:
    """The thread, and what it has under way. All methods may be called from any thread."""

    def __init__(
        self,
        endpoints: Sequence[str],
        options: ClientOptions,
        credentials: Credentials | None = None,
    ) -> None:
        self._endpoints = list(endpoints)
        self._options = options
        self._pid = os.getpid()
        self._transport = Transport(credentials)
        self._todo: deque[Callable[[_Work], None]] = deque()
        self._taking = threading.RLock()
        """Held while something is added to ``_todo``, and while the thread looks whether it can
        end: nothing is added that nobody does."""
        self._closing = False
        self._ended = ""
        """Why nothing is kept any more."""
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one whose thread this is: nothing is kept here."""
        return os.getpid() != self._pid

    @property
    def ended(self) -> str:
        """Why no lock is kept any more, or not for long; "" as long as they are."""
        return self._ended or (CLOSED_WORDS if self._closing else "")

    def begin(self, kept: Kept, protocol: LockProtocol) -> None:
        """Keep this attempt from now on. Raises RuntimeError in a forked child, and after the
        end."""
        self._do(lambda work: work.begin(kept, protocol))

    def end(self, protocol: LockProtocol) -> None:
        """Give it back. Raises RuntimeError in a forked child, and after the end."""
        self._do(lambda work: work.end(protocol))

    def close(self, *, wait: bool = True) -> None:
        """Give all locks back, and end the thread; unless ``wait`` is False, wait for it, two
        seconds at most."""
        if self.is_forked or self._ended:
            return
        with self._taking:
            self._closing = True
        self._transport.waker.wake()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(2 * END_MS / 1000)

    def _do(self, action: "Callable[[_Work], None]") -> None:
        if self.is_forked:
            raise RuntimeError(
                f"this lock belongs to process {self._pid}: its thread is not in process "
                f"{os.getpid()}, which was forked from it: make a Client and a lock there"
            )
        with self._taking:
            if self.ended:
                raise RuntimeError(f"{self.ended}, and its locks with it")
            self._todo.append(action)
        self._transport.waker.wake()

    def _run(self) -> None:
        self._transport.owner.adopt()
        work = _Work(self._transport, self._endpoints, self._options)
        end_ms = 0
        why = CRASHED_WORDS
        try:
            while True:
                self._carry_out(work)
                work.turn()
                if self._closing:
                    if not end_ms:
                        end_ms = clock_ms() + END_MS
                        self._carry_out(work)  # what came before the end, and nothing comes now
                        work.end_all()
                        continue
                    if work.is_idle or clock_ms() >= end_ms:
                        why = CLOSED_WORDS
                        return
                self._sleep(work, end_ms)
        finally:
            with self._taking:
                self._ended = why
            work.is_over = True
            self._carry_out(work)
            work.abandon_all(why)
            work.close()

    def _carry_out(self, work: "_Work") -> None:
        while self._todo:
            self._todo.popleft()(work)

    def _sleep(self, work: "_Work", end_ms: int) -> None:
        """``end_ms``: when it ends at the latest; 0: it was not seen yet that it is to end."""
        wait_ms = end_ms - clock_ms() if end_ms else WAKE_MS
        waker = self._transport.waker
        waker.fall_asleep()
        is_news = self._todo or (self._closing and not end_ms)
        work.sleep(0 if is_news else wait_ms)
        waker.wake_up()


class _Work:
    """What belongs to the thread alone."""

    def __init__(
        self, transport: Transport, endpoints: Sequence[str], options: ClientOptions
    ) -> None:
        self._endpoints = endpoints
        self._transport = transport
        self._connection = Connection(self._transport, endpoints, options)
        self._kept: dict[LockProtocol, weakref.ref[Kept]] = {}
        """By attempt: a lock that is acquired again begins another, while the last one may not have
        been given back yet. Weak: a lock holds its client, whose end this thread must not prevent.
        A lock that nobody has any more is kept as long as its client is there."""
        self._dues: Dues[LockProtocol] = Dues()
        self._calls: dict[Call, tuple[LockProtocol, Submit | Look]] = {}
        self._watches = LockWatches(self._begin_watch)
        self._due_ms = 0
        self.is_over = False
        """Whether nothing is carried out any more."""

    def begin(self, kept: Kept, lock: LockProtocol) -> None:
        """Begin to keep it."""
        self._kept[lock] = weakref.ref(kept)
        if not self.is_over:
            self._perform(lock, lock.start(boot_ms()))

    def end(self, lock: LockProtocol) -> None:
        """Give it back."""
        if lock in self._kept and not self.is_over:
            self._perform(lock, lock.release(boot_ms()))

    def end_all(self) -> None:
        """Give all back."""
        for lock in list(self._kept):
            self.end(lock)

    def abandon_all(self, why: str) -> None:
        """Nothing is kept from now on, and what is held is lost."""
        for lock, reference in self._kept.items():
            lock.abandon(why)
            if (kept := reference()) is not None:
                kept.changed(lock)
        self._kept.clear()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is kept."""
        return not self._kept

    def turn(self) -> None:
        """Everything that is due, and everything that has come."""
        self._tick()
        self._due_ms = self._connection.turn()
        self._take_completed()
        self._take_changes()
        self._tick()
        self._due_ms = min(self._due_ms, self._connection.turn())

    def sleep(self, wait_ms: float) -> None:
        """Until something comes or is due, and no longer than this."""
        wait_ms = min(wait_ms, self._due_ms - clock_ms(), self._dues.next_ms - boot_ms() + 1)
        self._transport.poll(max(0, int(wait_ms)))

    def close(self) -> None:
        """Close all connections."""
        try:
            self._watches.close()
            self._connection.close()
        finally:
            self._transport.close()

    def _tick(self) -> None:
        while (lock := self._dues.take(boot_ms())) is not None:
            is_due = boot_ms() >= lock.next_due_ms()
            self._perform(lock, lock.on_tick(boot_ms()) if is_due else [])

    def _take_completed(self) -> None:
        for call in self._connection.protocol.take_completed():
            if call not in self._calls:
                continue
            lock, effect = self._calls.pop(call)
            if isinstance(effect, Look):
                effects = lock.on_rows(effect.tag, seen(call), boot_ms())
            else:
                effects = lock.on_result(effect.tag, call.result, call.failure, boot_ms())
            self._perform(lock, effects)

    def _take_changes(self) -> None:
        self._due_ms = min(self._due_ms, self._watches.turn())
        while (news := self._watches.take()) is not None:
            lock, key = news
            now_ms = boot_ms()
            gone = lock.on_watch_ended(now_ms) if key is None else lock.on_gone(key, now_ms)
            self._perform(lock, gone)

    def _begin_watch(self, key: bytes, prefix: bool, from_revision: int) -> WatchSession:
        return WatchSession(
            self._transport,
            WatchNodes(self._endpoints),
            key,
            prefix=prefix,
            from_revision=from_revision,
            wanted=WatchWants(only=DELETES),
        )

    def _perform(self, lock: LockProtocol, effects: list[Effect]) -> None:
        protocol = self._connection.protocol
        for effect in effects:
            if isinstance(effect, Submit):
                call = protocol.submit(effect.command, clock_ms(), effect.timeout_ms)
                self._calls[call] = lock, effect
            elif isinstance(effect, Look):
                request = ReadRequest(0, LINEARIZABLE, effect.queries)
                self._calls[protocol.ask(request, clock_ms(), effect.timeout_ms)] = lock, effect
            elif isinstance(effect, Await):
                self._watches.join(lock, effect)
            else:
                assert isinstance(effect, EndAwait)
                self._watches.leave(lock)
        self._inform(lock)

    def _inform(self, lock: LockProtocol) -> None:
        reference = self._kept.get(lock)
        if reference is None:
            return
        self._dues.plan(lock, lock.next_due_ms())
        if lock.is_over and lock.is_quiet:
            del self._kept[lock]
            self._dues.forget(lock)
            self._watches.leave(lock)
        if (kept := reference()) is not None:
            kept.changed(lock)
