"""One daemon: start-up and the loop.

    drain sockets → node.step / submit → node.tick → node.ready
        → WAL group → (sync thread: write, fdatasync) → node.synced
        → send, publish → answer clients

One thread owns every socket and the node; a second runs the group commits. While one runs, the
loop goes on draining: what arrives meanwhile is the next group. No asyncio, no timers but the
node's own deadlines.
"""

import gc
import math
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from paxosd import __version__
from paxosd.admin import Admin
from paxosd.bus import Bus
from paxosd.config import Config
from paxosd.core.commands import Batch
from paxosd.core.effects import Ready
from paxosd.core.machine import Machine
from paxosd.core.node import Node
from paxosd.core.types import NOOP, Slot
from paxosd.datadir import DataDir
from paxosd.events import EventPublisher
from paxosd.faults import FaultPlan
from paxosd.history import serve_history, serve_log
from paxosd.logs import Logs
from paxosd.notify import Notifier
from paxosd.service import Service
from paxosd.startup import Parts, assemble
from paxosd.syncer import Syncer
from paxosd.wal import SyncJob, Wal

PEERS_PER_TURN_MAX = 1000
CLIENTS_PER_TURN_MAX = 400
KEYS_PER_TURN = 1000
"""How many keys background work (checksums, the scan index) takes at a time."""
POLL_MS_MAX = 100.0
QUIET_MS = 50.0
"""So long without a request or a new slot, and background work may begin."""
CRASH_AFTER_MS = 20.0
"""Between a crash directive and the crash: the answer leaves meanwhile."""
SLOW_TURN_MS = 500.0
HAND_OVER_MS = 1500.0
"""How long a stopping leader waits for its successor to be heard."""


def monotonic_ms() -> float:
    return time.monotonic() * 1000.0


class Daemon:
    """The running parts of one node and the loop over them."""

    def __init__(self, config: Config, parts: Parts, logs: Logs, notifier: Notifier) -> None:
        self.config = config
        self.node: Node = parts.node
        self.machine: Machine = parts.machine
        self.wal: Wal = parts.wal
        self.bus: Bus = parts.bus
        self.context = parts.context
        self.plan: FaultPlan = parts.plan
        self.data_dir: DataDir = parts.data_dir
        self.logs = logs
        self.log = logs.logger
        self.notifier = notifier
        self.syncer: Syncer[SyncJob] = Syncer()
        self.codec = parts.codec
        self.events = EventPublisher(
            self.bus.publish,
            self.machine,
            cluster=config.cluster.id,
            node=config.node.name,
            incarnation=self.data_dir.incarnation,
            subscriptions_max=config.limits.subscriptions_max,
            log=self.log,
        )
        self.admin = Admin(self._status, self.machine, self.plan, config.faults.enabled,
                           monotonic_ms, self._crash)  # fmt: skip
        self.service = Service(
            self.node,
            self.machine,
            self.bus,
            parts.entry_limits,
            config.limits.read_bytes_max,
            {name: member.client for name, member in config.cluster.members.items()},
            lambda request: serve_history(request, self.machine, self._read_batch),
            self.admin.handle,
        )
        self.started_ms = monotonic_ms()
        self.signals: list[int] = []
        self.stop_by_ms = 0.0
        self._syncing = False
        self._tickets: list[int] = []
        self._job_tickets: list[int] = []
        self.crash_due_ms = math.inf
        self._look_due_ms = 0.0
        self._quiet_from_ms = 0.0
        self._applied = 0
        self.turns = 0

    # -- the loop

    def run(self) -> None:
        """Until a signal says otherwise. Raises StorageError, and then nothing was said that
        is not durable."""
        self.node.tracing = self.logs.debug
        self.bus.register_wakeup(self.syncer.wake_fd)
        while not self._stopped():
            self.turn()

    def turn(self) -> None:
        """Wait for input or a deadline, take it all in, do what follows from it."""
        now_ms = monotonic_ms()
        lazy = not (self.node.votes_urgent or self.events.streams or self.events.wants_learned)
        self.bus.poll(math.ceil(self._poll_ms(now_ms)), lazy_votes=lazy)
        now_ms = monotonic_ms()
        wall_ms = time.time_ns() // 1_000_000
        node = self.node
        node.set_time(now_ms, wall_ms)
        self._collect_syncs()
        for sender, incarnation, message in self.bus.receive_peers(PEERS_PER_TURN_MAX):
            node.step(sender, incarnation, message)
        for name in self.bus.disconnected():
            self.log.info("member.down", member=name, reason="its connection broke")
            node.peer_disconnected(name)
        requests = self.bus.receive_clients(CLIENTS_PER_TURN_MAX)
        for client, request in requests:
            self.service.receive(client, request)
        if self.bus.has_subscriptions:
            self._take_subscriptions(now_ms)
        node.tick(now_ms, wall_ms)
        self._perform(node.ready())
        self.service.answer_history()
        self._start_sync()
        if self.events.streams:
            self.events.tick(int(now_ms), int(node.up_to_date_age_ms()))
        if requests or node.applied != self._applied:
            self._applied = node.applied
            self._quiet_from_ms = now_ms + QUIET_MS
        self._background(now_ms)
        self._house_keeping(now_ms)

    def _take_subscriptions(self, now_ms: float) -> None:
        age_ms = int(self.node.up_to_date_age_ms())
        for subscribe, topic in self.bus.receive_subscriptions():
            self.events.on_subscription(subscribe, topic, int(now_ms), age_ms)
        self.node.want_applied = self.events.wants_learned

    def _background(self, now_ms: float) -> None:
        """Work that may wait: a piece of a running checksum; the scan index, when it is quiet."""
        machine = self.machine
        if machine.checksum_runs.running:
            machine.advance_checksum(KEYS_PER_TURN)
        elif machine.store.index_lag_keys and now_ms >= self._quiet_from_ms:
            machine.store.advance_index(KEYS_PER_TURN)

    def _poll_ms(self, now_ms: float) -> float:
        if self.machine.checksum_runs.running or self.signals:
            return 0.0
        if self.machine.store.index_lag_keys and now_ms >= self._quiet_from_ms:
            return 1.0
        due_ms = min(now_ms + POLL_MS_MAX, self.node.next_due_ms(), self.crash_due_ms)
        for other in (self.bus.next_due_ms(), self.events.next_due_ms()):
            if other is not None:
                due_ms = min(due_ms, other)
        return max(0.0, due_ms - now_ms)

    def _perform(self, ready: Ready) -> None:
        """Do what the core asks, in its order: persist, send, publish, answer."""
        bus = self.bus
        if ready.persist:
            self.wal.append(ready.persist)
            self._tickets.append(ready.ticket)
        for to, message in ready.sends:
            bus.send(to, message)
        for accepted in ready.publishes:
            bus.publish_accepted(accepted)
        for slot, ballot, value, _ in ready.applied:
            self.events.publish_learned(slot, ballot, value)
        if self.machine.recent_changes:
            self.events.flush()
        for token, answer in ready.replies:
            self.service.reply(token, answer)
        for serve in ready.serves:
            decisions = serve_log(
                serve.first,
                serve.last,
                self.wal.read,
                self.config.protocol.catch_up_bytes_max,
                serve.commit,
            )
            if decisions is not None:
                bus.send(serve.to, decisions)
        if ready.notices or ready.traces:
            self._tell(ready)

    def _read_batch(self, slot: Slot) -> Batch | None:
        """The decoded value of an applied slot, as the core applied it. Raises KeyError."""
        value = self.wal.read(slot)[1]
        try:
            return None if value == NOOP else self.codec.decode_batch(value)
        except ValueError:
            return None  # every node took the same bytes for a NOOP

    def _tell(self, ready: Ready) -> None:
        for event, level, fields in ready.notices:
            getattr(self.log, level)(event, **fields)
        for event, fields in ready.traces:
            self.log.debug(event, **fields)

    # -- group commit

    def _start_sync(self) -> None:
        if self._syncing or not self._tickets:
            return
        job = self.wal.begin_sync()
        self._job_tickets, self._tickets = self._tickets, []
        if job is None:
            self.node.synced(self._job_tickets[-1])
            return
        self._syncing = True
        self.syncer.start(job)

    def _collect_syncs(self) -> None:
        if not self._syncing:
            return
        self.syncer.clear_wake()
        for job in self.syncer.finished():
            self.wal.finish_sync(job)
            if self.logs.debug:
                self.log.debug("fsync", dur_ms=job.duration_us / 1000)
            self._syncing = False
            self.node.synced(self._job_tickets[-1])

    # -- seldom

    def _house_keeping(self, now_ms: float) -> None:
        self.turns += 1
        if now_ms >= self._look_due_ms:
            self._look_due_ms = now_ms + POLL_MS_MAX
            self.notifier.tick(now_ms)
            self.notifier.status(f"{self.node.role}; leader {self.node.leader or 'unknown'}")
        took_ms = monotonic_ms() - now_ms
        if took_ms > SLOW_TURN_MS:
            self.log.warning("node.slow_loop", dur_ms=round(took_ms, 1))
        if self.signals:
            self._on_signals()
        if now_ms >= self.crash_due_ms:
            os.kill(os.getpid(), signal.SIGKILL)

    def _on_signals(self) -> None:
        self.syncer.clear_wake()
        while self.signals:
            number = self.signals.pop(0)
            self.log.info("node.signal", signal=signal.Signals(number).name)
            if number == signal.SIGHUP:
                self._reload()
            elif not self.stop_by_ms:
                self.notifier.stopping("handing over" if self.node.leading else "stopping")
                self.log.info("node.stopping", reason=signal.Signals(number).name)
                waiting = self.node.hand_over()
                self.stop_by_ms = monotonic_ms() + (HAND_OVER_MS if waiting else 50.0)
            else:
                self.stop_by_ms = monotonic_ms()

    def _reload(self) -> None:
        self.notifier.reloading()
        try:
            self.logs.reopen()
            self.log.info("log.reopened")
        except OSError as error:  # no reason to end: the old file is still written to
            self.log.warning("log.reopen_failed", error=str(error))
        self.notifier.ready(f"{self.node.role}; leader {self.node.leader or 'unknown'}")

    def _stopped(self) -> bool:
        if not self.stop_by_ms:
            return False
        handed_over = not self.node.leading and self.node.leader not in ("", self.config.node.name)
        return handed_over or monotonic_ms() >= self.stop_by_ms

    def close(self) -> None:
        """Finish the group commit under way, write the rest, let go of everything."""
        self.syncer.close()
        self._finish_log()
        self.bus.close()
        self.context.term()
        self.wal.close()
        self.data_dir.close()

    def _finish_log(self) -> None:
        """After the thread has ended: take in its last job, write what is left."""
        self._collect_syncs()
        job = self.wal.begin_sync(flush=True)
        if job is not None:
            job.run()
            self.wal.finish_sync(job)

    def _crash(self) -> None:
        """A fault directive: die as in a power cut, once the answer has left."""
        self.log.warning("fault.crash")
        self.crash_due_ms = monotonic_ms() + CRASH_AFTER_MS

    # -- what is told

    def _status(self) -> dict[str, Any]:
        config = self.config
        status = self.node.status()
        members = config.cluster.members
        for name, peer in status["peers"].items():
            peer["client_endpoint"] = members[name].client
        leader = status["leader"]
        wal = self.wal.stats()
        return status | {
            "node": config.node.name,
            "cluster": config.cluster.id,
            "incarnation": self.data_dir.incarnation,
            "version": __version__,
            "leader_endpoint": members[leader].client if leader in members else "",
            "revision": self.machine.revision,
            "keys": len(self.machine.store),
            "sessions": len(self.machine.sessions.table),
            "log_time_ms": self.machine.log_time_ms,
            "disk": {
                "path": str(config.node.data_dir),
                "wal_segments": wal.pop("segments"),
                "wal_bytes": wal.pop("bytes"),
                **wal,
            },
            "uptime_ms": int(monotonic_ms() - self.started_ms),
            "rss_bytes": rss_bytes(),
            "faults_enabled": config.faults.enabled,
            "faults": len(self.plan),
            "members": {
                name: {"client": member.client, "events": member.events}
                for name, member in members.items()
            },
            "counters": {
                **self.bus.counters,
                "turns": self.turns,
                "requests": self.service.requests,
                "refused": self.service.refused,
                "log_lines_dropped": self.logs.dropped,
            },
        }


def rss_bytes() -> int:
    """Resident memory of this process now, or, where /proc is missing, its peak."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(config: Config) -> int:
    """Run one node in the foreground until SIGTERM or SIGINT; returns the exit code.

    Raises what keeps it from starting or going on: BindError, StorageError, IdentityError,
    DataDirLocked, PermissionError.
    """
    logs = Logs(
        node=config.node.name,
        level=config.log.level,
        format=config.log.format,
        file=config.log.file,
    )
    notifier = Notifier.from_environ()
    daemon: Daemon | None = None
    try:
        logs.logger.info("node.starting", version=__version__, pid=os.getpid())
        parts = assemble(config, logs, notifier, random.Random())
        daemon = Daemon(config, parts, logs, notifier)
        _tune()
        _catch_signals(daemon)
        logs.logger.info("node.ready", peer=config.me.peer, client=config.me.client,
                         events=config.me.events)  # fmt: skip
        notifier.ready("follower; leader unknown")
        daemon.run()
        daemon.close()
        logs.logger.info("node.stopped", exit_code=0)
        return 0
    except Exception as error:
        logs.logger.error("node.failed", error=type(error).__name__, message=str(error))
        notifier.stopping(str(error))
        raise
    finally:
        notifier.close()
        logs.close()


def _tune() -> None:
    """What start-up made lives as long as the process: keep the collector from walking it, and
    let it look less often, for the hot path makes acyclic garbage that dies by count."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)
    sys.setswitchinterval(0.0005)  # the sync thread must get a turn soon after its fsync


def _catch_signals(daemon: Daemon) -> None:
    def note(number: int, _frame: FrameType | None) -> None:
        daemon.signals.append(number)
        daemon.syncer.wake()

    handler: Callable[[int, FrameType | None], None] = note
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)
