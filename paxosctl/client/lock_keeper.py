"""The thread that keeps the locks of one client: it renews their leases while the user's code runs.

    Lock.acquire ──► begin ──► [thread] LockProtocol ── Submit, Look ──► Connection ──► nodes
    Lock.release ──► end ────►                       ── Await ────────► WatchSession
                                  HELD, LOST ──► the events that Lock waits for

A client without locks has no thread. The first lock starts one, a daemon named ``paxosd-locks``,
with connections and a session of its own, so that no call of the user holds up a renewal; it ends
when the client is closed, and with the process. It wakes when something comes, when something is
due, and every :data:`WAKE_MS` at the latest: a timer does not go on while the machine is suspended,
the clock of the locks does.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from paxosctl.client.connection import Connection
from paxosctl.client.transport import Transport
from paxosctl.client.watch_nodes import WatchNodes
from paxosctl.client.watch_session import WatchSession
from paxosd.core.client.calls import Call, ClientOptions
from paxosd.core.client.lock import (
    Await,
    Effect,
    EndAwait,
    LockProtocol,
    LockState,
    Look,
    Submit,
)
from paxosd.core.requests import LINEARIZABLE, RANGE, ReadAnswer, ReadRequest
from paxosd.host.clock import clock_ms

WAKE_MS = 500
END_MS = 1000
"""How long the end of a client waits for its locks to be given back."""
NAME = "paxosd-locks"


def boot_ms() -> float:
    """A clock in ms that goes on while the machine is suspended (Linux)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) / 1e6


class Kept(Protocol):
    """What the thread keeps: a lock as its user sees it."""

    protocol: LockProtocol

    def changed(self) -> None:
        """Something of ``protocol`` may have changed; called by the thread."""
        ...


class LockKeeper:
    """The thread, and what it has under way. All methods may be called from any thread."""

    def __init__(self, endpoints: Sequence[str], options: ClientOptions) -> None:
        self._endpoints = list(endpoints)
        self._options = options
        self._pid = os.getpid()
        self._todo: deque[Callable[[_Work], None]] = deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one whose thread this is: nothing is kept here."""
        return os.getpid() != self._pid

    def begin(self, kept: Kept) -> None:
        """Keep this lock from now on. Raises RuntimeError in a forked child, and after the end."""
        self._do(lambda work: work.begin(kept))

    def end(self, kept: Kept) -> None:
        """Give it back. Raises RuntimeError in a forked child, and after the end."""
        self._do(lambda work: work.end(kept))

    def close(self) -> None:
        """Give all locks back, waiting a second for it at most, and end the thread."""
        if self.is_forked or self._closed:
            return
        self._closing = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(2 * END_MS / 1000)

    def _do(self, action: "Callable[[_Work], None]") -> None:
        if self.is_forked:
            raise RuntimeError(
                f"this lock belongs to process {self._pid}: its thread is not in process "
                f"{os.getpid()}, which was forked from it: make a Client and a lock there"
            )
        if self._closing:
            raise RuntimeError("the client is closed, and its locks with it")
        self._todo.append(action)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        work = _Work(self._endpoints, self._options, self._wake_fd)
        end_ms = 0
        try:
            while True:
                while self._todo:
                    self._todo.popleft()(work)
                work.turn()
                if self._closing:
                    if not end_ms:
                        end_ms = clock_ms() + END_MS
                        work.end_all()
                        continue
                    if work.is_idle or clock_ms() >= end_ms:
                        return
                if not self._todo:
                    work.sleep()
        finally:
            self._closing = self._closed = True
            work.close()
            os.close(self._wake_fd)


class _Work:
    """What belongs to the thread alone."""

    def __init__(self, endpoints: Sequence[str], options: ClientOptions, wake_fd: int) -> None:
        self._endpoints = endpoints
        self._wake_fd = wake_fd
        self._transport = Transport()
        self._transport.register_fd(wake_fd, self._woken)
        self._connection = Connection(self._transport, endpoints, options)
        self._kept: dict[Kept, None] = {}
        self._calls: dict[Call, tuple[Kept, LockProtocol, int]] = {}
        """With the protocol: a lock that is acquired again has another."""
        self._looks: dict[Call, tuple[Kept, LockProtocol, Look]] = {}
        self._watches: dict[Kept, WatchSession] = {}
        self._due_ms = 0

    def begin(self, kept: Kept) -> None:
        """Begin to keep it."""
        self._kept[kept] = None
        self._perform(kept, kept.protocol.start(boot_ms()))

    def end(self, kept: Kept) -> None:
        """Give it back."""
        if kept in self._kept:
            self._perform(kept, kept.protocol.release(boot_ms()))

    def end_all(self) -> None:
        """Give all back."""
        for kept in list(self._kept):
            self.end(kept)

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

    def sleep(self) -> None:
        """Until something comes or is due."""
        now_ms = boot_ms()
        due_ms = min((kept.protocol.next_due_ms() for kept in self._kept), default=float("inf"))
        wait_ms = min(self._due_ms - clock_ms(), due_ms - now_ms + 1, WAKE_MS)
        self._transport.poll(max(0, int(wait_ms)))

    def close(self) -> None:
        """Close all connections."""
        try:
            for watch in self._watches.values():
                watch.close()
            self._connection.close()
        finally:
            self._transport.close()

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def _tick(self) -> None:
        for kept in list(self._kept):
            if boot_ms() >= kept.protocol.next_due_ms():
                self._perform(kept, kept.protocol.on_tick(boot_ms()))

    def _take_completed(self) -> None:
        for call in self._connection.protocol.take_completed():
            if call in self._calls:
                kept, protocol, tag = self._calls.pop(call)
                if protocol is kept.protocol:
                    effects = protocol.on_result(tag, call.result, call.failure, boot_ms())
                    self._perform(kept, effects)
            elif call in self._looks:
                kept, protocol, look = self._looks.pop(call)
                if protocol is kept.protocol:
                    self._take_rows(call, kept, look)

    def _take_rows(self, call: Call, kept: Kept, look: Look) -> None:
        answer, lock = call.result, kept.protocol
        if call.failure is not None or not isinstance(answer, ReadAnswer):
            self._perform(kept, lock.on_rows(look.tag, None, 0, boot_ms()))
            return
        page = answer.results[0]
        rows = [(row.key, row.create_revision) for row in page.rows]
        self._perform(
            kept, lock.on_rows(look.tag, rows, answer.revision, boot_ms(), more=page.more)
        )

    def _take_changes(self) -> None:
        for kept, watch in list(self._watches.items()):
            self._due_ms = min(self._due_ms, watch.turn())
            watch.troubles.clear()
            while (change := watch.take()) is not None:
                if change.value is None:
                    self._perform(kept, kept.protocol.on_gone(change.key, boot_ms()))
            if watch.failed is not None and self._watches.get(kept) is watch:
                self._end_watch(kept)
                self._perform(kept, kept.protocol.on_watch_ended(boot_ms()))

    def _perform(self, kept: Kept, effects: list[Effect]) -> None:
        protocol = self._connection.protocol
        for effect in effects:
            if isinstance(effect, Submit):
                call = protocol.submit(effect.command, clock_ms(), effect.timeout_ms)
                self._calls[call] = kept, kept.protocol, effect.tag
            elif isinstance(effect, Look):
                self._look(kept, effect)
            elif isinstance(effect, Await | EndAwait):
                self._end_watch(kept)
                if isinstance(effect, Await):
                    self._watches[kept] = WatchSession(
                        self._transport,
                        WatchNodes(self._endpoints),
                        effect.key,
                        prefix=effect.prefix,
                        from_revision=effect.from_revision,
                    )
        self._inform(kept)

    def _look(self, kept: Kept, look: Look) -> None:
        request = ReadRequest(0, LINEARIZABLE, [[RANGE, look.start, look.end, 0, False, True]])
        call = self._connection.protocol.ask(request, clock_ms(), look.timeout_ms)
        self._looks[call] = kept, kept.protocol, look

    def _end_watch(self, kept: Kept) -> None:
        watch = self._watches.pop(kept, None)
        if watch is not None:
            watch.close()

    def _inform(self, kept: Kept) -> None:
        if kept in self._kept:
            over = kept.protocol.state in {LockState.LOST, LockState.RELEASED}
            if over and kept.protocol.is_quiet:
                del self._kept[kept]
                self._end_watch(kept)
            kept.changed()
