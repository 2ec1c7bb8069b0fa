"""Threads that share a client: one of them *drives* its network, the others sleep.

    put() ─► a call into the inbox ─┬─ nobody drives: this thread does, until its own call has ended
                                    └─ else it sleeps, and is woken when its call has ended …
                                       … or to drive on, when the driver's own call has ended first

It is the pattern "Leader/Followers" (Schmidt, Stal, Rohnert, Buschmann: "Pattern-Oriented Software
Architecture", volume 2); what the pattern calls leader is called driver here. Its advantages over
an I/O thread of the client's own: a client of one thread waits for its sockets itself, and pays no
change of threads; there is no thread to be lost in a fork, to be ended, or to go on behind the back
of the program. What it costs: nothing happens on the network while no thread waits.

Rules:

1. Only the thread in the seat touches sockets and protocol.
2. What others want comes by the inbox; whoever adds to it wakes the driver.
3. A thread that needs the seat itself (to close sockets) asks for it (:meth:`DriverSeat.take`); it
   gets it before all who merely wait, at the end of the turn that is under way.
4. Whoever leaves the seat hands it to a thread that sleeps, so that nobody sleeps while nobody
   drives. If what that one waits for has come, it hands the seat on.
"""

import threading
from collections import deque
from typing import Protocol

from paxosctl.client.owner import Owner
from paxosctl.client.waker import Waker


class Wish(Protocol):
    """What a thread waits for. ``acts``: whether :meth:`turn` is called in each turn of the driver.
    ``until_ms``: when its time is over, in ms of the clock."""

    @property
    def acts(self) -> bool: ...

    @property
    def until_ms(self) -> int: ...

    @property
    def ready(self) -> bool:
        """Whether it has come true, or its time is over."""
        ...

    def turn(self) -> int:
        """Do what is due for it; returns when something is due again, in ms of the clock. Called
        by the driver."""
        ...


class _Sleeper:
    """``wish`` None: it wants the seat."""

    __slots__ = ("drives", "lock", "wish")

    def __init__(self, wish: Wish | None) -> None:
        self.wish = wish
        self.drives = False
        self.lock = threading.Lock()
        self.lock.acquire()

    @property
    def is_ready(self) -> bool:
        return self.wish is not None and self.wish.ready


class DriverSeat:
    """``owner``: of the sockets; it follows the seat. ``waker``: of the thread that drives."""

    def __init__(self, owner: Owner, waker: Waker) -> None:
        self._owner = owner
        self._waker = waker
        # A signal handler may close the client in the midst of a call of the same thread.
        self._lock = threading.RLock()
        self._driver: threading.Thread | None = None
        self._sleepers: dict[_Sleeper, None] = {}
        self._wanted: deque[_Sleeper] = deque()
        self._stirred = False

    @property
    def is_mine(self) -> bool:
        """Whether the thread that asks is the one that drives."""
        return self._driver is threading.current_thread()

    @property
    def is_wanted(self) -> bool:
        """Whether some thread needs the seat for itself: the driver is to leave it."""
        return bool(self._wanted)

    @property
    def is_shared(self) -> bool:
        """Whether other threads wait as well."""
        return bool(self._sleepers)

    def stirred(self) -> bool:
        """Whether a wish has come since this was asked last."""
        stirred, self._stirred = self._stirred, False
        return stirred

    def acting(self) -> list[Wish]:
        """The wishes of the threads that sleep and want turns."""
        if not self._sleepers:
            return []
        with self._lock:
            wishes = [each.wish for each in self._sleepers]
        return [wish for wish in wishes if wish is not None and wish.acts]

    def enter(self, wish: Wish, timeout_s: float) -> bool:
        """Take the seat if it is free, else sleep until the wish is ready, the seat is handed over,
        or the time is over. Returns whether this thread drives now; then it is to :meth:`leave`."""
        with self._lock:
            if self._is_free():
                self._sit_down()
                return True
            if wish.ready:
                return False
            sleeper = _Sleeper(wish)
            self._sleepers[sleeper] = None
            self._stirred = True
        return self._sleep(sleeper, timeout_s)

    def take(self) -> None:
        """Wait for the seat, and take it."""
        with self._lock:
            if self._is_free():
                self._sit_down()
                return
            sleeper = _Sleeper(None)
            self._wanted.append(sleeper)
        self._sleep(sleeper, -1)

    def leave(self) -> None:
        """Hand the seat to whoever wants it, else to a thread that sleeps. Does nothing in a thread
        that does not drive."""
        with self._lock:
            if self.is_mine:
                heir = self._heir()
                self._driver = None if heir is None else _NOBODY
                if heir is not None:
                    heir.drives = True
                    heir.lock.release()

    def wake_ready(self) -> None:
        """Wake the threads whose wishes have come true."""
        with self._lock:
            for each in [each for each in self._sleepers if each.is_ready]:
                del self._sleepers[each]
                each.lock.release()

    # -- inside -------------------------------------------------------------------------------

    def _is_free(self) -> bool:
        # It is this thread's already where Ctrl-C came between two lines, and it never left.
        return (self._driver is None and not self._wanted) or self.is_mine

    def _sit_down(self) -> None:
        self._driver = threading.current_thread()
        self._owner.adopt()

    def _sleep(self, sleeper: _Sleeper, timeout_s: float) -> bool:
        try:
            self._waker.wake()  # the wish may have an earlier time than all that are known
            sleeper.lock.acquire(timeout=timeout_s)
        finally:  # also after Ctrl-C: then the caller leaves the seat
            with self._lock:
                self._sleepers.pop(sleeper, None)
                if sleeper in self._wanted:
                    self._wanted.remove(sleeper)
                if sleeper.drives:
                    self._sit_down()
        return sleeper.drives

    def _heir(self) -> _Sleeper | None:
        if self._wanted:
            return self._wanted.popleft()
        heir = next(iter(self._sleepers), None)
        if heir is not None:
            del self._sleepers[heir]
        return heir


_NOBODY = threading.Thread(name="nobody")
"""Stands for a thread that has been given the seat, and is waking up."""
