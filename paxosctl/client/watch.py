"""A watch of a :class:`~paxosctl.client.client.Client`: an iterator that waits.

The sockets are in ``watch_session.py``, the protocol in ``core/client/watch.py``.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

from paxosctl.client.driver_seat import Wish
from paxosctl.client.owner import Owner, Unshared
from paxosctl.client.results import WatchItem
from paxosctl.client.waits import LATE_MS
from paxosctl.client.watch_session import WatchSession
from paxosd.host.clock import clock_ms


class WatchRunner(Protocol):
    """What of a client a watch needs."""

    @property
    def owner(self) -> Owner:
        """Of its sockets."""
        ...

    def wait(self, wish: Wish) -> None:
        """Return once the wish is ready."""
        ...

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """The sockets are this thread's meanwhile."""
        ...


class _News:
    """Something for the user of a watch, or the end of the time."""

    __slots__ = ("_session", "_turned", "until_ms")
    acts = True

    def __init__(self, session: WatchSession, until_ms: int) -> None:
        self._session = session
        self._turned = False
        self.until_ms = until_ms

    @property
    def over(self) -> bool:
        """Whether the time is over. There is one turn at least, however short the time is."""
        late_ms = clock_ms() - self.until_ms
        return late_ms >= 0 and (self._turned or late_ms >= LATE_MS)

    @property
    def ready(self) -> bool:
        return self._session.has_news or self.over

    def turn(self) -> int:
        self._turned = True
        return min(self._session.turn(), self.until_ms)


class Watcher(Unshared, Iterator[WatchItem]):
    """An endless iterator over changes; made by :meth:`paxosctl.client.client.Client.watch`.

    Any thread may take changes; if several do, each change goes to one of them. :meth:`close`, from
    any thread, ends the iterations. It works on the network while some thread waits in it, or in
    another call of its client."""

    def __init__(
        self,
        runner: WatchRunner,
        session: WatchSession,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        self._runner = runner
        self._session = session
        self._on_trouble = on_trouble
        self._taking = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __next__(self) -> WatchItem:
        """The next change, however long it takes. StopIteration once the watch is closed."""
        self._runner.owner.check_process()
        while not self._session.closed:
            change = self.poll(1000)
            if change is not None:
                return change
        raise StopIteration

    def poll(self, timeout_ms: int) -> WatchItem | None:
        """The next change, or None if there is none within the time.

        Raises RefusedError for a watch that cannot go on.
        """
        self._runner.owner.check_process()
        session = self._session
        until_ms = clock_ms() + timeout_ms
        if not self._taking.acquire(timeout=timeout_ms / 1000):
            return None
        news = _News(session, until_ms)
        try:
            while True:
                self._report()
                change = session.take()
                if change is not None or session.closed:
                    return change
                failed = session.failed
                if failed is not None:
                    self.close()
                    raise failed
                if news.over:
                    return None
                self._runner.wait(news)
        finally:
            self._taking.release()

    def _report(self) -> None:
        while self._session.troubles:
            reason = self._session.troubles.popleft()
            if self._on_trouble is not None:
                self._on_trouble(reason)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of changes have been received and not yet been taken."""
        return self._session.waiting_bytes

    @property
    def live(self) -> bool:
        """Whether changes are taken from the stream now, with none known to be missing."""
        self._runner.owner.check_process()
        return self._session.live

    @property
    def resume_revision(self) -> int | None:
        """A later watch from this revision misses nothing. It can repeat changes, if some of
        this watch have been received but not been asked for. None: nothing is known yet."""
        self._runner.owner.check_process()
        # Another thread may be about to hand a change over: it would be passed by.
        with self._runner.alone():
            return self._session.resume_revision

    @property
    def history(self) -> str:
        """The number of the founding of the cluster that this watch is of, for a later watch that
        goes on from :attr:`resume_revision`. "": not known."""
        self._runner.owner.check_process()
        return self._session.history

    def close(self) -> None:
        """End the watch; an iteration over it ends. Does nothing in a forked child."""
        if self._runner.owner.is_forked or self._session.closed:
            return
        with self._runner.alone():
            self._session.close()
