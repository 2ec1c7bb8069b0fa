"""Locks, semaphores and candidacies of a client, as the user has them.

    with client.lock(b"jobs", ttl_s=10) as lock:
        client.put(b"result", b"…", fence=lock.fence)    # refused once it is held no more
        while not lock.lost.is_set():
            ...

What keeps the lease while the block runs is a thread (``lock_keeper.py``); how it is known in time
that a lock is lost is in ``core/client/lock.py``.
"""

import os
import shlex
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from paxosctl.client.base import checked_wait
from paxosctl.client.errors import (
    CLOSED,
    ClientError,
    ClosedError,
    LockLostError,
    NotAcquiredError,
    error_of,
    named,
)
from paxosctl.client.lock_keeper import LockKeeper, boot_ms
from paxosd.core.client.lock import LockPlan, LockProtocol, LockState

ASK_S = 1.0
"""How long whoever did not have a lock waits for what is in its way."""


class HeldEvent(Protocol):
    """What is set once, by any thread: a threading.Event, or its like for tasks."""

    def is_set(self) -> bool:
        """Whether it is."""
        ...

    def set(self) -> None:
        """From any thread."""
        ...

    def clear(self) -> None:
        """Begin anew."""
        ...


Event = TypeVar("Event", bound=HeldEvent)


class FindsStrays(Protocol):
    """What a lock needs of its client."""

    def lock_strays(self, name: bytes, *, timeout_s: float | None = None) -> list[bytes]:
        """See :meth:`paxosctl.client.leases.LeaseMethods.lock_strays`."""
        ...


def stray_words(strays: Sequence[bytes]) -> str:
    """What is to be said of them, and done about them; "" if there are none."""
    if not strays:
        return ""
    first = strays[0]
    more = f" (and {len(strays) - 1} more)" if len(strays) > 1 else ""
    prefix = first[: first.rfind(b"/") + 1]
    return (
        f"the key {named(first)}{more} has no lease, so that nothing ends it but a delete. Who may "
        f"write under {named(prefix)} can delete it, once it is sure that nobody works under it: "
        f"paxosctl delete {shlex.quote(os.fsdecode(first))}"
    )


class LockBase(Generic[Event]):
    """What a lock has in both dresses: one attempt after another, and what is known of it."""

    def __init__(
        self,
        keeper: LockKeeper,
        plan: LockPlan,
        timeout_s: float | None,
        event: Callable[[], Event],
    ) -> None:
        self._timeout_s = checked_wait(timeout_s)
        self.lost = event()
        self.plan = plan
        self.protocol = LockProtocol(plan)
        self._keeper = keeper
        self._once = False
        """Whether it is given up as soon as somebody is found before it."""
        self._settled = event()
        self._rested = event()
        self._mine = threading.Lock()
        """Held from the begin of an acquire to the end of a release."""
        self._noting = threading.RLock()
        """Held while the events are changed, all of which are of the attempt :attr:`protocol`."""
        self._was_behind = False
        """Whether the last attempt that did not have it had found others before it, …"""
        self._was_unanswered = False
        """… and whether the cluster did not answer it any more."""

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError(f"a {type(self).__name__} is kept by a thread: it cannot be copied")

    @property
    def name(self) -> bytes:
        """As it was given."""
        return self.plan.name

    @property
    def key(self) -> bytes:
        """The key that stands for this holder; b"" before it waits."""
        return self.protocol.key

    @property
    def token(self) -> int:
        """The create revision of :attr:`key`: the fencing token. Later holders of a lock have
        larger ones. Raises RuntimeError before it was held."""
        if not self.protocol.token:
            raise RuntimeError(f"the lock {named(self.name)} was not acquired")
        return self.protocol.token

    @property
    def fence(self) -> tuple[bytes, int]:
        """For ``put(…, fence=lock.fence)`` and its like: name and token."""
        return self.name, self.token

    def check(self) -> bool:
        """Whether it is held now. Asks nobody: the clock decides. Once another can have acquired
        it, this is False, also if :attr:`lost` was not set yet."""
        self._check_process()
        protocol = self.protocol
        held = protocol.state is LockState.HELD and boot_ms() < protocol.valid_until_ms
        with self._noting:
            if protocol is self.protocol and protocol.token and not held:
                self.lost.set()
            return held and not self.lost.is_set()

    def changed(self, protocol: LockProtocol) -> None:
        """For the thread that keeps it: something of this attempt may have changed."""
        with self._noting:
            if protocol is not self.protocol:
                return  # a former one, that was given back
            if protocol.is_over and protocol.token:
                self.lost.set()
            if protocol.state is not LockState.WAITING or (self._once and protocol.is_behind):
                self._settled.set()
            if protocol.is_over and protocol.is_quiet:
                self._rested.set()

    # -- inside -------------------------------------------------------------------------------

    def _check_process(self) -> None:
        if self._keeper.is_forked:
            raise RuntimeError(f"this lock is another process's, not that of {os.getpid()}")

    def _begin(self, timeout_s: float | None) -> None:
        """A new attempt. Raises what acquire raises at once."""
        if not self._mine.acquire(blocking=False):
            words = f"this object holds the lock {named(self.name)} already, or waits for it"
            raise RuntimeError(words)
        with self._noting:
            self.protocol = LockProtocol(self.plan)
            self._once = timeout_s == 0
            self.lost.clear()
            self._settled.clear()
            self._rested.clear()
        try:
            self._keeper.begin(self, self.protocol)
        except BaseException:
            self._mine.release()
            raise

    def _not_acquired(
        self, waited_s: float | None = None, strays: Sequence[bytes] | None = ()
    ) -> NotAcquiredError:
        """Why the last attempt did not have it. ``strays``: what :meth:`Client.lock_strays` has
        found; None: no answer."""
        is_held = self._may_have_strays and strays is not None
        if is_held:
            words = [self._held_words("is", "are")]
        elif self._was_behind:
            ago_s = (boot_ms() - self.protocol.answered_ms) / 1000
            held = self._held_words("was", "were")
            words = [f"{held} {ago_s:.1f} s ago, and the cluster does not answer any more"]
        elif self._was_unanswered or self.protocol.answered_ms < 0:
            words = ["whether others hold it is not known: the cluster has not answered"]
        else:
            words = ["whether others hold it was not known yet"]
        if waited_s is not None:
            words.append(f"waited {waited_s:g} s")
        if is_held and strays:
            words.append(stray_words(strays))
        return NotAcquiredError(self.name, "; ".join(words), is_held=is_held)

    def _held_words(self, one: str, many: str) -> str:
        if self.plan.shared == 1:
            return f"it {one} held by another"
        return f"its {self.plan.shared} places {many} held by others"

    def _not_held(self) -> ClientError | None:
        """Why it was not had, if that is an error; to be called before it is given back."""
        self._was_unanswered = self.protocol.is_unanswered(boot_ms())
        self._was_behind = self.protocol.is_behind
        refused, ended = self.protocol.refused, self._keeper.ended
        if refused is not None:
            return error_of(refused, ())
        return ClosedError(CLOSED, ended) if ended else None

    @property
    def _may_have_strays(self) -> bool:
        """Whether it is worth while to ask for them: others hold it, and the cluster answers."""
        return self._was_behind and not self._was_unanswered

    def _loss(self) -> LockLostError | None:
        """What release raises, once it is given back. Raises RuntimeError if it is not held."""
        self._check_process()
        if not self._mine.locked():
            raise RuntimeError(f"this object does not hold the lock {named(self.name)}")
        held = self.check()
        why = self.protocol.why or self._keeper.ended or "its lease was not renewed in time"
        return None if held else LockLostError(self.name, why)

    def _late_loss(self, protocol: LockProtocol) -> LockLostError | None:
        """What release raises if only the answer to it has shown that it was lost."""
        lost = protocol.state is LockState.LOST
        return LockLostError(self.name, protocol.why) if lost else None

    def _end_attempt(self) -> bool:
        """Have it given back; whether the thread does it."""
        try:
            self._keeper.end(self.protocol)
        except RuntimeError:
            return False  # the client is closed, and has given it back
        return True

    def _free(self) -> None:
        """It can be acquired again."""
        if self._mine.locked():
            self._mine.release()

    @property
    def _patience_s(self) -> float:
        """How long a command may take."""
        return max(0.5, self.plan.ttl_ms / 3000)


class Lock(LockBase[threading.Event]):
    """One lock, or one place in a semaphore. It can be acquired again once it was released or lost.
    It belongs to the process that made it; its methods may be called from any thread.

    ``lost``: set from the moment at which it is not certain any more that nobody else holds it, and
    before anybody else can. (A machine that was suspended sets it half a second late at most: who
    goes on after a stop calls :meth:`check`.)
    """

    def __init__(
        self, keeper: LockKeeper, plan: LockPlan, timeout_s: float | None, client: FindsStrays
    ) -> None:
        """To be made by :meth:`paxosctl.client.client.Client.lock` and its like."""
        super().__init__(keeper, plan, timeout_s, threading.Event)
        self._client = client
        """It lives as long as one of its locks does: with its end they are given back."""

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait until it is held, for ever (None, inf) or for so long (0: one look at it); whether
        it is held.

        Raises ValueError for what is no time to wait; RefusedError if the cluster refuses leases or
        keys of this name; RuntimeError in a forked child, after the end of the client, and if this
        object holds it or waits already; ClosedError, a RuntimeError, if the client is closed
        meanwhile. While no node can be reached it goes on to try, and :meth:`why_not_acquired`
        says so afterwards; one look (0) without an answer raises NotAcquiredError."""
        timeout_s = checked_wait(timeout_s)
        self._begin(timeout_s)
        try:
            self._wait(timeout_s)
            held = self.protocol.state is LockState.HELD
        except BaseException:
            self._give_back()
            raise
        if held:
            return True
        error = self._not_held()
        self._give_back()
        if error is not None:
            raise error
        return False

    def _wait(self, timeout_s: float | None) -> None:
        if not self._once:
            self._settled.wait(timeout_s)
        elif not self._settled.wait(self._patience_s):
            self._not_held()
            raise self._not_acquired()

    def release(self) -> None:
        """Give it back: the next one has it when this returns, or as soon as the command comes
        through; after a TTL at the latest. Raises LockLostError if it was not held any more, also
        if somebody had removed its key, which the answer to this shows."""
        protocol = self.protocol
        loss = self._loss()
        self._give_back()
        loss = loss or self._late_loss(protocol)
        if loss is not None:
            raise loss

    def _give_back(self) -> None:
        try:
            if self._end_attempt():
                self._rested.wait(self._patience_s)
        finally:
            self._free()

    def why_not_acquired(self, waited_s: float | None = None) -> NotAcquiredError:
        """Why the last ``acquire``, which waited for ``waited_s`` and returned False, did not have
        it: others hold it, a key is in its way that nothing ends, or the cluster does not answer.
        Asks the cluster."""
        strays: Sequence[bytes] | None = ()
        if self._may_have_strays:
            try:
                strays = self._client.lock_strays(self.name, timeout_s=ASK_S)
            except ClientError:
                strays = None
        return self._not_acquired(waited_s, strays)

    def __enter__(self) -> Self:
        if not self.acquire(self._timeout_s):
            raise self.why_not_acquired(self._timeout_s)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Gives it back; raises LockLostError if the block ended well though it was lost."""
        if self._keeper.is_forked:
            return  # it is the parent's
        try:
            self.release()
        except LockLostError:
            if kind is None:
                raise
