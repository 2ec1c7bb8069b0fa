"""Faults in a running daemon: the plan, and those of its rules that concern the process itself.

The bus asks the plan about messages by itself, the log's disk is wrapped in a
:class:`FaultyDisk`; here are the rest: pauses, crashes, the clock, rot on an idle disk, and the
rules that are kept across restarts.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from paxosd.core.types import NodeId
from paxosd.faults.disk import FaultyDisk
from paxosd.faults.plan import FaultPlan
from paxosd.faults.store import FILE, FaultStore
from paxosd.host.log import Log
from paxosd.storage.disk import Disk, RealDisk
from paxosd.wire import PEER_KIND_NAMES

LOOK_MS = 20.0
"""How often the loop looks at rules that go by time."""
_NAP_S = 0.05


class LiveFaults:
    """The faults of one daemon. Use it from the loop's thread; ``disk`` from any."""

    def __init__(
        self,
        node: NodeId,
        nodes: Sequence[NodeId],
        *,
        enabled: bool,
        directory: Path,
        home: Disk,
        disk: Disk,
        log: Log,
        now_ms: Callable[[], float],
        flush_log: Callable[[], object] = lambda: None,
    ) -> None:
        """``directory``: the data directory; ``home``: the same, ``disk``: the log's. ``now_ms``: a
        steady clock; ``flush_log``: write what is queued of the log, in a bounded time. No rule is
        in force before :meth:`begin`. Raises OSError."""
        self.enabled = enabled
        self.plan = FaultPlan(
            lambda event, fields: log.warning(event, **fields),
            node=node,
            nodes=nodes,
            message_kinds=PEER_KIND_NAMES.values(),
        )
        self._log = log
        self._now_ms = now_ms
        self._flush_log = flush_log
        self._faulty = FaultyDisk(
            disk,
            self.plan,
            now_ms=now_ms,
            sleep_ms=lambda ms: time.sleep(ms / 1000),
            crash=self.die,
        )
        self.disk: Disk = self._faulty if enabled else disk
        """For the log: as given where faults are off."""
        self.home: Disk = home
        """The same for the directory itself. (The rules that are kept there are not reached: one
        that fills the disk could not be kept.)"""
        if enabled:
            self.home = FaultyDisk(
                home,
                self.plan,
                now_ms=now_ms,
                sleep_ms=lambda ms: time.sleep(ms / 1000),
                crash=self.die,
                home=True,
            )
        self._directory = RealDisk(directory)
        self._store = FaultStore(self._directory)
        self._look_due_ms = 0.0

    def begin(self) -> None:
        """The rules kept from before are in force from here on. Raises OSError."""
        log = self._log
        if self.enabled:
            for problem in self._store.restore(self.plan, self._now_ms(), _wall_ms()):
                log.warning("fault.not_restored", message=problem)
        elif self._directory.exists(FILE):
            words = f"{FILE} holds faults, but they are off on this node: [faults] enabled"
            log.warning("fault.not_restored", message=words)

    def wall_ms(self, now_ms: float) -> int:
        """The wall clock, skewed as the plan says."""
        return _wall_ms() + self.plan.clock_skew_ms(now_ms)

    def tick(
        self,
        now_ms: float,
        signals: Sequence[int],
        flush_answers: Callable[[], object] = lambda: None,
    ) -> None:
        """Once a turn: die, pause (until a signal comes), let a bit rot, keep what is to be
        saved, each if it is time. ``flush_answers``: called before a crash, so that the request
        for it is answered."""
        plan = self.plan
        if not plan.active and not plan.unsaved:
            return
        if now_ms < self._look_due_ms:
            return
        self._look_due_ms = now_ms + LOOK_MS
        plan.expire(now_ms)
        if plan.timed_active:
            if plan.crash_due(now_ms):
                flush_answers()
                self.die()
            pause_ms = plan.pause_due_ms(now_ms)
            if pause_ms:
                self._pause(pause_ms, signals)
        self._faulty.tick()
        if plan.unsaved:
            self.save_quietly()

    def next_due_ms(self, now_ms: float) -> float:
        """When :meth:`tick` has something to do, at the latest; on the clock of the plan."""
        return max(self.plan.next_due_ms(), now_ms + 1.0)

    def save(self) -> None:
        """Keep the persistent rules as they are now. Raises OSError."""
        if self.plan.unsaved:
            self._store.save(self.plan, self._now_ms(), _wall_ms())

    def save_quietly(self) -> None:
        """The same; a failure is logged, and not tried again: it does no harm if a rule heals
        twice."""
        try:
            self.save()
        except OSError as error:
            self.plan.unsaved = False
            self._log.warning("fault.not_saved", message=str(error))

    def die(self) -> None:
        """End this process as a power cut would. Does not return; safe in any thread."""
        self.plan.flush()
        self._flush_log()
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # the signal takes effect before this is over

    def close(self) -> None:
        """Give the directory back; a second call does nothing."""
        self.plan.flush()
        self._directory.close()

    def _pause(self, pause_ms: int, signals: Sequence[int]) -> None:
        end_s = time.monotonic() + pause_ms / 1000
        while not signals and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _NAP_S))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
