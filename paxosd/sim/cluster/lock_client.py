"""A simulated process that wants a lock again and again: the real lock and client code.

    LockProtocol ── Submit, Look ──► ClientProtocol ──► network
                 ── Await ────────► KeyWatch

It holds the lock for a while, makes fenced writes, checks; then it releases, or dies, or is stopped
for longer than its lease lives, and goes on as if nothing had happened. Its clock drifts, and goes
on while it is stopped. What it does is judged by ``lock_checks.py``.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paxosd.check.history import History
from paxosd.core.client.calls import Call
from paxosd.core.client.lock import (
    Await,
    Effect,
    EndAwait,
    LockPlan,
    LockProtocol,
    LockState,
    Look,
    Submit,
)
from paxosd.core.client.lock_look import seen
from paxosd.core.commands import KEEPALIVE, PUT, TXN
from paxosd.core.lease_bounds import DRIFT_PPM_MAX
from paxosd.core.requests import LINEARIZABLE, ReadRequest, ServerMessage
from paxosd.core.transactions import CREATE_REVISION, EQUAL
from paxosd.core.types import NodeId
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.key_watch import KeyWatch, Watched
from paxosd.sim.cluster.lease_checks import PREFIX
from paxosd.sim.cluster.lock_checks import LockChecks
from paxosd.sim.world.clock import draw_clock

TTLS_MS: tuple[tuple[int, ...], ...] = ((1000, 1500), (1000, 1500, 3000), (2000, 8000), (60_000,))
"""One of these is drawn for a run; with long ones a drift of 500 ppm comes to something."""
TTL_WEIGHTS = (5, 5, 2, 0.3)
LOCK = PREFIX + b"~lock"
"""Above what the holders of leases remove, and among the keys that the history does not have."""
GUARDED = PREFIX + b"~guarded"
PAUSE_SHARE = 0.25
"""So often a process is stopped at some time after it began to want the lock."""
RENEWING_SHARE = 0.1
"""So often it is stopped while a renewal is under way."""
DIES_SHARE = 0.1
BRIEF_SHARE = 0.4
"""So often it holds the lock for a few steps that are short, so that others come to have it."""
FENCED_TIMEOUT_MS = 3000


@dataclass(frozen=True, slots=True)
class LockWork:
    """``ttls_ms``: of which one is drawn each time. ``pause_ms``: from a release to the next try,
    at most."""

    ttls_ms: tuple[int, ...]
    pause_ms: float


class LockClient(SimClient):
    """One process. ``name`` is never used twice."""

    def __init__(self, cluster: SimCluster, name: str, plan: LockWork, checks: LockChecks) -> None:
        options = WorkOptions(operations=1, duration_ms=1.0, keys=(b"",), mix={"get": 1})
        self._cluster = cluster
        self._choices = cluster.world.derive(f"lock/{name}")
        self._clock = draw_clock(cluster.world, self._choices, DRIFT_PPM_MAX)
        self.checks = checks
        self._plan = plan
        self._lock: LockProtocol | None = None
        self._watch: KeyWatch | None = None
        self._watches_made = 0
        self._due_ms = float("inf")
        self._paused = False
        self._held_back: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._saw_held = False
        self._acts = 0
        self._step_ms = 0.0
        super().__init__(
            cluster.world,
            cluster.network,
            name,
            cluster.names,
            History(),
            options,
            sent=cluster.invariants.proposed.add,
        )
        checks.contenders.append(self)

    # -- what the checks see

    @property
    def believes(self) -> bool:
        """See :class:`~paxosd.sim.cluster.lock_checks.Contender`."""
        lock = self._lock
        return not self._paused and lock is not None and lock.state is LockState.HELD

    @property
    def would_say_held(self) -> bool:
        """See :class:`~paxosd.sim.cluster.lock_checks.Contender`."""
        lock = self._lock
        held = lock is not None and lock.state is LockState.HELD
        return held and lock is not None and self._clock.monotonic_ms() < lock.valid_until_ms

    @property
    def idle(self) -> bool:
        """Whether it neither has nor wants the lock."""
        return self._lock is None and not self._paused

    # -- what it does

    def start(self) -> None:
        """Begin to want the lock."""
        self.working = True
        self._later(self._choices.uniform(0.0, self._plan.pause_ms), self._want)

    def _want(self) -> None:
        if not self.working:
            return
        plan = LockPlan(
            name=LOCK,
            ttl_ms=self._choices.choice(self._plan.ttls_ms),
            shared=self.checks.shared,
        )
        self._lock = LockProtocol(plan)
        self._saw_held = False
        self._perform(self._lock.start(self._clock.monotonic_ms()))
        self._turn()
        if self._choices.random() < PAUSE_SHARE:
            self._world.at(self._choices.uniform(0.0, 2.0) * plan.ttl_ms, self._pause)

    def _acquired(self) -> None:
        lock = self._lock
        assert lock is not None
        self._cluster.note("lock.held", client=self.name, token=lock.token)
        self.checks.on_acquired(self.name, lock.token)
        self._acts = self._choices.randint(0, 5)
        self._step_ms = lock.plan.ttl_ms * (0.05 if self._choices.random() < BRIEF_SHARE else 0.7)
        self._later(self._choices.uniform(0.0, 0.5) * self._step_ms, self._use)

    def _use(self) -> None:
        """One step of a holder, whether or not it knows that it holds the lock no more."""
        lock = self._lock
        if lock is None or not self._saw_held:
            return
        if self._choices.random() < 0.5:
            lock.check(self._clock.monotonic_ms())
        else:
            self._write_fenced(lock)
        self._acts -= 1
        if self._acts > 0:
            self._later(self._choices.uniform(0.0, 1.0) * self._step_ms, self._use)
        elif self._choices.random() < DIES_SHARE:
            self._die_now()
        else:
            self._release()
        self._turn()

    def _write_fenced(self, lock: LockProtocol) -> None:
        fence = [CREATE_REVISION, EQUAL, lock.key, lock.token]
        command = [TXN, [fence], [[PUT, GUARDED, b"%d" % lock.token]], []]
        call = self._protocol.submit(command, self._now(), FENCED_TIMEOUT_MS)
        call.tag = "fenced", lock.token, self.checks.newest()

    def _release(self) -> None:
        lock = self._lock
        if lock is not None:
            self.checks.lost += lock.state is LockState.LOST
            self._perform(lock.release(self._clock.monotonic_ms()))
            self._cluster.note("lock.released", client=self.name, token=lock.token)
        self._forget_lock()
        self._later(self._choices.uniform(0.0, self._plan.pause_ms), self._want)

    def _forget_lock(self) -> None:
        self._lock = None
        self._due_ms = float("inf")
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _die_now(self) -> None:
        """The process ends without a word, and begins anew: its key stays for a TTL."""
        self._cluster.note("lock.dies", client=self.name)
        self._forget_lock()
        self._held_back.clear()  # what came for the process that was stopped is not the next one's
        self._network.forget_client(self.id)
        self._wake_ms = float("inf")
        self._begin_life()
        self._later(self._choices.uniform(0.0, self._plan.pause_ms), self._want)

    def stop(self) -> None:
        """Want it no more; who waits goes on to wait."""
        self.working = False

    # -- a process that is stopped

    def _pause(self) -> None:
        if self._paused or self._lock is None:
            return
        self._cluster.note("lock.stopped", client=self.name)
        self.checks.stopped += 1
        self._paused = True
        self._world.at(self._choices.uniform(0.3, 3.0) * self._lock.plan.ttl_ms, self._resume)

    def _resume(self) -> None:
        self._cluster.note("lock.goes-on", client=self.name)
        self._paused = False
        if self._choices.random() < 0.5:
            self._tick_lock()  # the timer before what has arrived, or after it
        while self._held_back:
            action, arguments = self._held_back.popleft()
            action(*arguments)
        self._tick_lock()
        self._turn()

    def _gate(self, action: Callable[..., None], *arguments: Any) -> None:
        if self._paused:
            self._held_back.append((action, arguments))
        else:
            action(*arguments)

    def _later(self, delay_ms: float, action: Callable[..., None]) -> None:
        self._world.at(delay_ms, self._gate, action)

    # -- the shell of the lock

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Submit):
                call = self._protocol.submit(effect.command, self._now(), effect.timeout_ms)
                call.tag = "lock", effect.tag, self._lock
                if effect.command[0] == KEEPALIVE and self._choices.random() < RENEWING_SHARE:
                    self._world.at(self._choices.uniform(0.0, 3.0), self._pause)
            elif isinstance(effect, Look):
                self._ask_rows(effect)
            elif isinstance(effect, Await | EndAwait):
                if self._watch is not None:
                    self._watch.close()
                    self._watch = None
                if isinstance(effect, Await):
                    self._begin_watch(effect)
        lock = self._lock
        if lock is not None and lock.state is LockState.HELD and not self._saw_held:
            self._saw_held = True
            self._acquired()
        elif lock is not None and lock.state is LockState.LOST and not self._saw_held:
            self._forget_lock()  # refused: the nodes do not understand leases yet
            self._later(1000.0, self._want)
        self._plan_tick()

    def _begin_watch(self, effect: Await) -> None:
        self._watches_made += 1
        alone = len(effect.keys) == 1
        watched = Watched(
            key=next(iter(effect.keys)) if alone else effect.prefix,
            prefix=not alone,
            from_revision=effect.from_revision,
            removed=self._removed,
            ended=self._watch_ended,
        )
        name = f"{self.name}/{self._watches_made}"
        self._watch = KeyWatch(self._cluster, name, watched, self._gate)

    def _removed(self, key: bytes) -> None:
        if self._lock is not None:
            self._perform(self._lock.on_gone(key, self._clock.monotonic_ms()))
            self._turn()

    def _watch_ended(self) -> None:
        if self._lock is not None:
            self._perform(self._lock.on_watch_ended(self._clock.monotonic_ms()))
            self._turn()

    def _ask_rows(self, look: Look) -> None:
        query = ReadRequest(0, LINEARIZABLE, look.queries)
        call = self._protocol.ask(query, self._now(), look.timeout_ms)
        call.tag = "look", look, self._lock

    def _ended(self, call: Call) -> None:
        what, *known = call.tag
        if what == "fenced":
            self._fenced_ended(call, *known)
        elif what == "lock":
            tag, lock = known
            if lock is None:
                return
            now_ms = self._clock.monotonic_ms()
            effects = lock.on_result(tag, call.result, call.failure, now_ms)
            if lock is self._lock:
                self._perform(effects)
            else:  # released meanwhile: what is left is to end its lease
                self._submit_alone(effects)
        elif known[1] is self._lock:
            self._rows_came(call, *known)

    def _submit_alone(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Submit):
                call = self._protocol.submit(effect.command, self._now(), effect.timeout_ms)
                call.tag = "lock", effect.tag, None

    def _rows_came(self, call: Call, look: Look, lock: LockProtocol) -> None:
        self._perform(lock.on_rows(look.tag, seen(call), self._clock.monotonic_ms()))

    def _fenced_ended(self, call: Call, token: int, newest: int) -> None:
        if call.failure is not None:
            return
        _, revision, answer = call.result
        if answer[0]:
            self.checks.on_written(self.name, token, revision, newest)
        else:
            self.checks.on_refused()

    # -- time

    def _tick_lock(self) -> None:
        self._due_ms = float("inf")
        if self._lock is not None:
            self._perform(self._lock.on_tick(self._clock.monotonic_ms()))

    def _plan_tick(self) -> None:
        if self._lock is None:
            return
        due_ms = self._lock.next_due_ms()
        if due_ms < self._due_ms:
            self._due_ms = due_ms
            self._world.at(max(0.0, self._clock.until_ms(due_ms)), self._gate, self._on_due, due_ms)

    def _on_due(self, due_ms: float) -> None:
        if due_ms == self._due_ms:
            self._tick_lock()
            self._turn()

    # -- the protocol's shell, while the process is stopped

    def on_connected(self, node: NodeId) -> None:
        self._gate(super().on_connected, node)

    def on_disconnected(self, node: NodeId, reason: str) -> None:
        self._gate(super().on_disconnected, node, reason)

    def on_answer(self, message: ServerMessage) -> None:
        self._gate(super().on_answer, message)

    def _on_wake(self, life: int, due_ms: int) -> None:
        self._gate(super()._on_wake, life, due_ms)


def make_lock_clients(cluster: SimCluster, count: int, *, brief: bool) -> list[LockClient]:
    """So many clients of one lock or, in some runs, of a semaphore. ``brief``: with short TTLs."""
    if not count:
        return []
    if cluster.invariants.leases is None:
        cluster.invariants.watch_leases(lambda: cluster.world.now_ms)
    rng = cluster.world.derive("locks")
    checks = LockChecks(rng.choice((1, 1, 1, 2)))
    kinds = 2 if brief else len(TTLS_MS)
    (ttls_ms,) = rng.choices(TTLS_MS[:kinds], TTL_WEIGHTS[:kinds])
    plan = LockWork(ttls_ms, rng.choice((20.0, 50.0, 500.0)))
    return [LockClient(cluster, f"l{number + 1}", plan, checks) for number in range(count)]
