"""A lock, a semaphore or a candidacy as its client knows it, sans-IO: the holder knows first.

    GRANT ──► lease ──► PUT NAME/<lease> with the lease ──► Look at NAME/ ──► held, or the
    predecessor is awaited; when it goes ──► Look …            KEEPALIVE all the while
    release: REVOKE, which removes the key

The rules:

1. The keys under ``NAME/`` are the queue, in order of their create revisions. The first ``shared``
   of them hold (1: a lock). A key is made once, by its lease's name, so that no key ever comes
   before one that is there: what was seen to be gone need not be looked at again. The token is the
   create revision: later holders of a lock have larger ones.
2. One who waits awaits the ``shared`` keys that came last before its own: a key that goes wakes so
   many clients, one for a lock. It may hold once fewer than ``shared`` are before it, so that one
   of those that it awaits must have gone by then. It learns them without reading the queue: a look
   asks for the newest ``shared`` keys that were made before its own (``lock_look.py``).
3. The holder knows first. A lease lives for its TTL, in true time, from the moment at which a
   renewal that is confirmed was *first sent*, or longer (``core/state/leases.py``, which allows for
   the leader's clock). The client counts from before that, on a clock of its own that goes on while
   the machine is suspended, less the drift of that clock (DRIFT_PPM_MAX) and :data:`MARGIN_MS`. So
   it says "lost" before any node can end the lease. (Gray and Cheriton, "Leases", 1989, section 2.)
   An operator who revokes the lease, deletes the key or restores a backup can be earlier.
4. A holder whose key was removed by somebody else has lost the lock, though its lease goes on. It
   asks for its key with each renewal, and learns it at the latest from the answer to the REVOKE,
   which says how many keys were removed.
5. Nothing is left behind for longer than a TTL: the key goes with its lease, whatever became of the
   commands. A PUT that arrives after the end of the lease changes nothing.

The shell carries out the effects that each ``on_…`` returns, and calls :meth:`LockProtocol.on_tick`
at :meth:`LockProtocol.next_due_ms` at the latest. Times are ms by the clock of rule 3. ``now_ms``
is to be read *before* the effects of a call are carried out: a renewal counts from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from paxosd.core.client.calls import Failure, OutcomeUnknown, Refused
from paxosd.core.client.lock_look import Row, Seen, before_it, own_key, whole_queue
from paxosd.core.commands import GRANT, KEEPALIVE, PUT, REVOKE, Command, Status
from paxosd.core.lease_bounds import DRIFT_PPM_MAX, TTL_MS_MAX, TTL_MS_MIN

MARGIN_MS = 3
"""For what is lost to whole ms, here and in log time."""
RENEWALS_PER_TTL = 3
SHARED_MAX = (1 << 63) - 1
"""The wire has no room for more, and what cannot be sent would end all locks of a client."""
RETRY_MS = 50
"""Between a failure and the next try."""
SILENT_MS = 500
"""A call that has no answer for so long is one that the cluster does not answer."""
_LOOK = 0


class LockState(Enum):
    """Where a lock stands. It is held from HELD to LOST or RELEASED, and then never again. RELEASED
    becomes LOST if it turns out that it was lost before."""

    WAITING = "waiting"
    HELD = "held"
    LOST = "lost"
    RELEASED = "released"


class Submit(NamedTuple):
    """Submit this command, and give its end to :meth:`LockProtocol.on_result`."""

    tag: int
    command: Command
    timeout_ms: int


class Look(NamedTuple):
    """Ask, linearizably, these queries (``lock_look.py``); :meth:`LockProtocol.on_rows`."""

    tag: int
    queries: list[list[Any]]
    timeout_ms: int


class Await(NamedTuple):
    """Watch these keys, all of which begin with ``prefix``, from ``from_revision`` on, in place of
    what was watched before; :meth:`LockProtocol.on_gone`."""

    prefix: bytes
    keys: frozenset[bytes]
    from_revision: int


class EndAwait(NamedTuple):
    """Watch nothing any more."""


Effect = Submit | Look | Await | EndAwait


@dataclass(frozen=True, slots=True, kw_only=True)
class LockPlan:
    """``name``: of the lock, without the "/". ``shared``: so many hold at a time. ``value``: of the
    key, for people and observers. Raises ValueError."""

    name: bytes
    ttl_ms: int = 10_000
    shared: int = 1
    value: bytes = b""

    def __post_init__(self) -> None:
        if not self.name or self.name.endswith(b"/"):
            raise ValueError("the name of a lock is not empty, and does not end with /")
        if not TTL_MS_MIN <= self.ttl_ms <= TTL_MS_MAX:
            raise ValueError(f"the TTL of a lock is {TTL_MS_MIN} to {TTL_MS_MAX} ms")
        if type(self.shared) is not int or not 1 <= self.shared <= SHARED_MAX:
            raise ValueError("how many can hold a semaphore is a whole number from 1 to 2^63-1")

    @property
    def prefix(self) -> bytes:
        """Of the keys of its queue."""
        return self.name + b"/"


class LockProtocol:
    """One attempt to hold a lock, from :meth:`start` to LOST or RELEASED."""

    def __init__(self, plan: LockPlan) -> None:
        self.plan = plan
        self.state = LockState.WAITING
        self.key = b""
        """Its key in the queue; b"" before it has a lease."""
        self.token = 0
        """The create revision of the key, once it is held."""
        self.why = ""
        """Why it was lost, in words."""
        self.refused: Refused | None = None
        """Why it cannot be had, if a node said so."""
        self.looks = 0
        """How often the queue was read."""
        self._lease = 0
        self._valid_until_ms = 0.0
        self._renew_at_ms = float("inf")
        self._retry_at_ms = float("inf")
        self._tag = 0
        self._under_way: dict[int, tuple[Command, float]] = {}
        """By tag: the command, or for a look its key in a list, and when it began."""
        self._entered = False
        """Whether the PUT of its key was confirmed."""
        self._looking = False
        self._below = 0
        """The create revision of its key as it takes it to be; 0: it does not know."""
        self._look_plainly = False
        """Whether whole queues are read: a node of before was asked that cannot do it otherwise."""
        self._rows: list[Row] = []
        """What the look under way has found so far, …"""
        self._rows_revision = 0
        """… and the revision that its first page is of."""
        self._awaited: frozenset[bytes] = frozenset()
        self.answered_ms = float("-inf")
        """When the last call that was answered began; -inf: none was."""
        self._went_unanswered = False
        """Whether a call has ended without an answer since then."""

    # -- what the shell asks ------------------------------------------------------------------

    def check(self, now_ms: float) -> bool:
        """Whether it is held now. Once another can have it, this is False."""
        if self.state is LockState.HELD and now_ms >= self._valid_until_ms:
            self._lose("its lease was not renewed in time")
        return self.state is LockState.HELD

    @property
    def valid_until_ms(self) -> float:
        """When it is lost, if no further renewal is confirmed; 0 before the first."""
        return self._valid_until_ms

    @property
    def is_behind(self) -> bool:
        """Whether the last look has found others before it, for whom it waits now."""
        return self.state is LockState.WAITING and bool(self._awaited)

    @property
    def is_over(self) -> bool:
        """Whether it is lost or released, and so never held again."""
        return self.state in {LockState.LOST, LockState.RELEASED}

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it is under way."""
        return not self._under_way

    def is_unanswered(self, now_ms: float) -> bool:
        """Whether the cluster does not answer, as far as it knows."""
        under_way = list(self._under_way.values())  # who asks may be another thread
        late = any(now_ms - began_ms >= SILENT_MS for _, began_ms in under_way)
        return late or self._went_unanswered

    def next_due_ms(self) -> float:
        """When to call :meth:`on_tick` at the latest."""
        if self.is_over:
            return float("inf")
        due_ms = min(self._renew_at_ms, self._retry_at_ms)
        return min(due_ms, self._valid_until_ms) if self._lease else due_ms

    # -- inputs -------------------------------------------------------------------------------

    def start(self, now_ms: float) -> list[Effect]:
        """Ask for a lease; to be called once."""
        return [self._submit([GRANT, self.plan.ttl_ms, 0], now_ms)]

    def on_tick(self, now_ms: float) -> list[Effect]:
        """Loses it in time, renews the lease, tries again."""
        if self.is_over:
            return []
        effects: list[Effect] = []
        if self._lease and now_ms >= self._valid_until_ms:
            return self._lost("its lease was not renewed in time", now_ms)
        if now_ms >= self._renew_at_ms:
            self._renew_at_ms = float("inf")  # until it has ended
            effects.append(self._submit([KEEPALIVE, [self._lease]], now_ms))
            if self.state is LockState.HELD and not self._looking:
                effects.append(self._look_at_own(now_ms))
        if now_ms >= self._retry_at_ms:
            self._retry_at_ms = float("inf")
            effects += self._next_step(now_ms)
        return effects

    def on_result(
        self, tag: int, result: Any, failure: Failure | None, now_ms: float
    ) -> list[Effect]:
        """A command has ended: with the result that the state machine gave, or with a failure."""
        command, began_ms = self._under_way.pop(tag, ([_LOOK], 0.0))
        self._note_answer(failure, began_ms)
        if command[0] == GRANT:
            return self._on_grant(result, failure, began_ms, now_ms)
        if command[0] == REVOKE and command[1] == self._lease:
            self._on_revoke(result, failure, now_ms)
        if self.is_over:
            return []
        if command[0] == KEEPALIVE and command[1] == [self._lease]:
            return self._on_renewal(result, failure, began_ms, now_ms)
        if command[0] == PUT and command[1] == self.key:
            return self._on_put(result, failure, now_ms)
        return []

    def on_rows(self, tag: int, seen: Seen | Failure, now_ms: float) -> list[Effect]:
        """A look has ended: with a page of what it asked for, or with a failure."""
        (_, key), began_ms = self._under_way.pop(tag, ([_LOOK, b""], 0.0))
        self._note_answer(None if isinstance(seen, Seen) else seen, began_ms)
        if not key or key != self.key:
            return []  # of a former place in the queue
        self._looking = False
        if self.state is LockState.HELD:
            gone = isinstance(seen, Seen) and (key, self.token) not in seen.rows
            return self._lost("its key was removed by somebody else", now_ms) if gone else []
        if self.state is not LockState.WAITING:
            return []
        if not isinstance(seen, Seen):
            if not isinstance(seen, Refused) or self._look_plainly:
                return self._again(now_ms)
            self._look_plainly = True
            return self._look(now_ms)
        if not self._rows:
            self._rows_revision = seen.revision
        self._rows += seen.rows
        if seen.more is not None:
            return self._look_from(seen.more, now_ms)
        return self._judge(key, self._rows, now_ms)

    def _judge(self, key: bytes, rows: Sequence[Row], now_ms: float) -> list[Effect]:
        """All that it asked for: as of when its first page was read, or later."""
        own = [create for each, create in rows if each == key]
        if not own:
            if self._entered:
                return self._lost("its key was removed by somebody else", now_ms)
            return self._next_step(now_ms)  # whether the PUT takes effect is open: once more
        self._entered = True
        if self._below != own[0] and not self._look_plainly:
            # Another PUT of it has made the key, and not the one that was confirmed: it was not
            # those before it that were asked for.
            self._below = own[0]
            return self._look(now_ms)
        ahead = sorted([(create, each) for each, create in rows if create < own[0]])
        if len(ahead) < self.plan.shared:
            return self._hold(own[0], now_ms)
        # From the first page on: who went before the last one was read is missed otherwise.
        return self._await(ahead, self._rows_revision)

    def on_gone(self, key: bytes, now_ms: float) -> list[Effect]:
        """A key that was awaited was removed."""
        if self.state is not LockState.WAITING or key not in self._awaited:
            return []
        self._awaited -= {key}
        return self._look(now_ms)

    def on_watch_ended(self, now_ms: float) -> list[Effect]:
        """The watch cannot go on (its history is gone): look again."""
        return self._look(now_ms) if self.state is LockState.WAITING and self.key else []

    def release(self, now_ms: float) -> list[Effect]:
        """Hold it no more, or wait for it no more, from now on."""
        if self.state is LockState.RELEASED:
            return []
        if self.state is not LockState.LOST:
            self.state = LockState.RELEASED
        return [EndAwait(), *self._revoke(now_ms)]

    def abandon(self, why: str) -> None:
        """Nobody carries anything out for it any more."""
        self._under_way.clear()
        if not self.is_over:
            self._lose(why)

    # -- steps --------------------------------------------------------------------------------

    def _note_answer(self, failure: Failure | None, began_ms: float) -> None:
        self._went_unanswered = failure is not None and not isinstance(failure, Refused)
        if not self._went_unanswered:
            self.answered_ms = max(self.answered_ms, began_ms)

    def _on_grant(
        self, result: Any, failure: Failure | None, began_ms: float, now_ms: float
    ) -> list[Effect]:
        if failure is not None:
            return self._failed(failure, now_ms)
        if result[0] != Status.OK:
            words = f"no lease could be had: {Status(result[0]).name.lower()}"
            return self._failed(Refused("leases", words, 0), now_ms)
        self._lease = result[2]
        if self.state is not LockState.WAITING:
            return self._revoke(now_ms)
        self._renewed(began_ms)
        self.key = self.plan.prefix + b"%016x" % self._lease
        self._entered = False
        return self._next_step(now_ms)

    def _next_step(self, now_ms: float) -> list[Effect]:
        if self.state is not LockState.WAITING:
            return []
        if not self._lease:
            return self.start(now_ms)
        if not self._entered:
            return [self._submit([PUT, self.key, self.plan.value, self._lease], now_ms)]
        return self._look(now_ms)

    def _on_put(self, result: Any, failure: Failure | None, now_ms: float) -> list[Effect]:
        if self._entered:
            return []
        if isinstance(failure, OutcomeUnknown):
            return self._look(now_ms)
        if failure is not None:
            return self._failed(failure, now_ms)
        if type(result) is not int:
            if result[0] == Status.LEASE_UNKNOWN:
                return self._lost("its lease has ended", now_ms)
            words = f"the key {self.key!r} was refused: {Status(result[0]).name.lower()}"
            return self._failed(Refused("put", words, 0), now_ms)
        self._entered = True
        self._below = result
        return self._look(now_ms)

    def _on_renewal(
        self, result: Any, failure: Failure | None, began_ms: float, now_ms: float
    ) -> list[Effect]:
        if failure is not None or result[0] != Status.OK:
            self._renew_at_ms = now_ms + RETRY_MS
        elif not result[2][0]:
            return self._lost("its lease has ended", now_ms)
        else:
            self._renewed(began_ms)
        return []

    def _on_revoke(self, result: Any, failure: Failure | None, now_ms: float) -> None:
        """It was given back: was there still something to give back (rule 4)?"""
        if self.state is not LockState.RELEASED or not self.token or failure is not None:
            return
        if now_ms >= self._valid_until_ms:
            return  # since it was released, its lease may have ended by itself
        if result[0] != Status.OK:
            self._lose("its lease had been ended by somebody else when it was given back")
        elif not result[2]:
            self._lose("its key had been removed by somebody else when it was given back")

    def _renewed(self, began_ms: float) -> None:
        """A renewal that began then is confirmed (rule 3)."""
        ttl_ms = self.plan.ttl_ms
        until_ms = began_ms + ttl_ms * (1 - DRIFT_PPM_MAX / 1e6) - MARGIN_MS
        self._valid_until_ms = max(self._valid_until_ms, until_ms)
        self._renew_at_ms = began_ms + ttl_ms / RENEWALS_PER_TTL

    def _hold(self, create_revision: int, now_ms: float) -> list[Effect]:
        if now_ms >= self._valid_until_ms:
            return self._lost("its lease was not renewed in time", now_ms)
        self.token = create_revision
        self.state = LockState.HELD
        return [EndAwait()]

    def _await(self, ahead: Sequence[tuple[int, bytes]], revision: int) -> list[Effect]:
        """Await those before it, by create revision, as rule 2 says."""
        self._awaited = frozenset(key for _, key in ahead[-self.plan.shared :])
        return [Await(self.plan.prefix, self._awaited, revision + 1)]

    def _look(self, now_ms: float) -> list[Effect]:
        if self._looking:
            return []
        self.looks += 1
        self._rows = []
        return self._look_from(self.plan.prefix, now_ms)

    def _look_from(self, start: bytes, now_ms: float) -> list[Effect]:
        self._looking = True
        self._tag += 1
        self._under_way[self._tag] = [_LOOK, self.key], now_ms
        if self._look_plainly:
            queries = whole_queue(start, self.plan.prefix)
        else:
            own = self.key if start == self.plan.prefix else b""
            queries = before_it(own, start, self.plan.prefix, self._below, self.plan.shared)
        return [Look(self._tag, queries, self._timeout_ms)]

    def _look_at_own(self, now_ms: float) -> Look:
        """Ask for the key that it holds (rule 4)."""
        self._looking = True
        self._tag += 1
        self._under_way[self._tag] = [_LOOK, self.key], now_ms
        return Look(self._tag, own_key(self.key), self._timeout_ms)

    # -- ends ---------------------------------------------------------------------------------

    def _lost(self, why: str, now_ms: float) -> list[Effect]:
        """The lease is over. One who only waited for the lock queues again, at the end."""
        if self.state is LockState.HELD:
            self._lose(why)
            return [EndAwait()]
        revoke = self._revoke(now_ms)
        self._lease, self.key, self._entered, self._looking = 0, b"", False, False
        self._below = 0
        self._valid_until_ms = 0.0
        self._awaited = frozenset()
        self._renew_at_ms = self._retry_at_ms = float("inf")
        return [EndAwait(), *revoke, *self.start(now_ms)]

    def _lose(self, why: str) -> None:
        self.state, self.why = LockState.LOST, why

    def _failed(self, failure: Failure, now_ms: float) -> list[Effect]:
        if self.state is not LockState.WAITING:
            return []
        if isinstance(failure, Refused):
            self.refused = failure
            self._lose(failure.message)
            return [EndAwait(), *self._revoke(now_ms)]
        return self._again(now_ms)

    def _again(self, now_ms: float) -> list[Effect]:
        self._retry_at_ms = now_ms + RETRY_MS
        return []

    def _revoke(self, now_ms: float) -> list[Effect]:
        return [self._submit([REVOKE, self._lease], now_ms)] if self._lease else []

    @property
    def _timeout_ms(self) -> int:
        return max(500, self.plan.ttl_ms // RENEWALS_PER_TTL)

    def _submit(self, command: Command, now_ms: float) -> Submit:
        self._tag += 1
        self._under_way[self._tag] = command, now_ms
        return Submit(self._tag, command, self._timeout_ms)
