"""What the waiting locks of one client watch: one watch of one connection for each queue.

    join(lock, Await) ──► one waiter for one key:  a watch of that key
                          otherwise:               a watch of NAME/, shared by all waiters of NAME
    take() ──► (lock, key): it was removed; (lock, None): the watch cannot say, look again

A waiter that joins a shared watch may await a key whose removal the watch has already brought: it
had read the queue before. So removals are kept, the newest :data:`REMOVED_MAX` of them; whoever
began to await before the oldest of these, or before the watch began, looks at the queue again.
"""

from collections import OrderedDict, deque
from collections.abc import Callable

from paxosctl.client.watch_session import WatchSession
from paxosd.core.client.lock import Await, LockProtocol

REMOVED_MAX = 4096

Begin = Callable[[bytes, bool, int], WatchSession]
"""``begin(key, prefix, from_revision)`` makes a watch."""


class LockWatches:
    """The watches of all queues; for the thread that keeps the locks."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._queues: dict[bytes, _QueueWatch] = {}
        self._news: deque[tuple[LockProtocol, bytes | None]] = deque()

    def join(self, lock: LockProtocol, wanted: Await) -> None:
        """Watch this for ``lock``, in place of what was watched for it before."""
        queue = self._queues.get(wanted.prefix)
        if queue is None:
            queue = self._queues[wanted.prefix] = _QueueWatch(wanted.prefix, self._begin)
        queue.join(lock, wanted, self._news)

    def leave(self, lock: LockProtocol) -> None:
        """Watch nothing for it any more."""
        queue = self._queues.get(lock.plan.prefix)
        if queue is not None and queue.leave(lock):
            queue.close()
            del self._queues[lock.plan.prefix]

    def turn(self) -> int:
        """Do what is due; returns when something is due again, in ms of the clock of watches."""
        return min([queue.turn(self._news) for queue in self._queues.values()], default=1 << 62)

    def take(self) -> tuple[LockProtocol, bytes | None] | None:
        """What is new for a lock; None: nothing."""
        return self._news.popleft() if self._news else None

    def close(self) -> None:
        """Close all connections."""
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()


class _QueueWatch:
    """That of one queue."""

    def __init__(self, prefix: bytes, begin: Begin) -> None:
        self._prefix = prefix
        self._begin = begin
        self._waiters: dict[LockProtocol, Await] = {}
        self._by_key: dict[bytes, set[LockProtocol]] = {}
        self._session: WatchSession | None = None
        self._only: bytes | None = None
        """The key that the watch is of; None: of the whole queue."""
        self._since = 0
        """The watch knows all removals from this revision on, as far as it has brought them."""
        self._removed: OrderedDict[bytes, int] = OrderedDict()

    def join(
        self, lock: LockProtocol, wanted: Await, news: deque[tuple[LockProtocol, bytes | None]]
    ) -> None:
        self.leave(lock)
        self._waiters[lock] = wanted
        for key in wanted.keys:
            self._by_key.setdefault(key, set()).add(lock)
        only = next(iter(wanted.keys)) if len(self._waiters) == len(wanted.keys) == 1 else None
        if self._session is None or only is not None or self._only is not None:
            self._watch(only, wanted.from_revision)
        elif wanted.from_revision < self._since:
            news.append((lock, None))
        else:
            for key in wanted.keys:
                if self._removed.get(key, 0) >= wanted.from_revision:
                    news.append((lock, key))

    def leave(self, lock: LockProtocol) -> bool:
        """Whether nobody is left."""
        wanted = self._waiters.pop(lock, None)
        for key in wanted.keys if wanted is not None else ():
            self._by_key[key].discard(lock)
            if not self._by_key[key]:
                del self._by_key[key]
        return not self._waiters

    def turn(self, news: deque[tuple[LockProtocol, bytes | None]]) -> int:
        session = self._session
        if session is None:
            return 1 << 62
        due_ms = session.turn()
        session.troubles.clear()
        while (change := session.take()) is not None:
            if change.value is None:
                self._note_removed(change.key, change.revision)
                news.extend((lock, change.key) for lock in self._by_key.get(change.key, ()))
        if session.failed is not None:
            self.close()
            news.extend((lock, None) for lock in self._waiters)
        return due_ms

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _watch(self, only: bytes | None, from_revision: int) -> None:
        """A new watch, in which the waiters of the last one miss nothing."""
        if self._session is not None and len(self._waiters) > 1:
            from_revision = min(from_revision, self._session.resume_revision or self._since)
        self.close()
        self._removed.clear()
        self._only, self._since = only, from_revision
        key = self._prefix if only is None else only
        self._session = self._begin(key, only is None, from_revision)

    def _note_removed(self, key: bytes, revision: int) -> None:
        self._removed[key] = revision
        self._removed.move_to_end(key)
        if len(self._removed) > REMOVED_MAX:
            _, oldest = self._removed.popitem(last=False)
            self._since = max(self._since, oldest + 1)
