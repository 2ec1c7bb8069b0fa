"""One daemon: start-up, and the loop: wait for input or a deadline, then one turn of the replica.

One thread owns every socket and the node; a second runs the group commits. While one runs, the
loop goes on draining: what arrives meanwhile is the next group. No asyncio, no timers but the
node's own deadlines.
"""

import contextlib
import faulthandler
import gc
import math
import os
import random
import signal
import sys
from typing import Any

from paxosd import __version__
from paxosd.bus.bus import Bus
from paxosd.bus.pollers import WAKEUP
from paxosd.config.schema import Config
from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.daemon import exits
from paxosd.daemon.commits import Commits
from paxosd.daemon.file_comparison import FileComparison
from paxosd.daemon.file_thread import FileThread
from paxosd.daemon.log_level import LogLevel
from paxosd.daemon.logs import Logs, ends_in_json
from paxosd.daemon.notify import Notifier
from paxosd.daemon.processor import ProcessorTimes
from paxosd.daemon.recorder_writer import FlightRecorder
from paxosd.daemon.reload import ReadConfig, Reload
from paxosd.daemon.security import security_status
from paxosd.daemon.served_files import ServedFiles
from paxosd.daemon.standing_words import StandingWords
from paxosd.daemon.startup import (
    Parts,
    replica_options,
    snapshot_options,
    start_up,
)
from paxosd.daemon.status import StatusReport
from paxosd.daemon.worker import Syncer
from paxosd.faults.live import LiveFaults
from paxosd.host.clock import precise_clock_ms
from paxosd.host.descriptors import lack_of
from paxosd.host.stop_signals import SIGNALS, StopRequested
from paxosd.net.probe import Probes
from paxosd.replica.assembly import make_replica
from paxosd.replica.parts import Assembled
from paxosd.replica.ports import Ports
from paxosd.replica.replica import Replica
from paxosd.snapshot.jobs import Job
from paxosd.storage.datadir import DataDir, DataDirLocked
from paxosd.storage.disk import CorruptionError, StorageError
from paxosd.storage.identity import IdentityError
from paxosd.storage.wal import SyncJob, Wal
from paxosd.trace.operations import HAND_OVER
from paxosd.wire.status import encode_status

POLL_MS_MAX = 100.0
SLOW_TURN_MS = 500.0
HAND_OVER_MS = 1500.0
"""How long a stopping leader waits for its successor to be heard."""
FAREWELL_MS = 1000.0
"""How long a removed node goes on answering, with where else to ask: longer than a client waits
between two tries, for this may be the last node that it knows."""


class Daemon:
    """The running parts of one node and the loop over them."""

    def __init__(
        self, config: Config, parts: Parts, logs: Logs, notifier: Notifier, read: ReadConfig
    ) -> None:
        self.config = config
        assembled = parts.assembled
        self.node: Node = assembled.node
        self.machine: Machine = assembled.memory.machine
        self.wal: Wal = assembled.memory.wal
        self.bus: Bus = parts.bus
        self.context = parts.context
        self.security = parts.security
        self.faults: LiveFaults = parts.faults
        self.data_dir: DataDir = parts.data_dir
        self.logs = logs
        self.log = logs.logger
        self.notifier = notifier
        self.trace = parts.trace
        self.monitoring = parts.monitoring
        self.file_thread = FileThread(self.bus.register_wakeup)
        with contextlib.ExitStack() as opened:
            self.syncer: Syncer[SyncJob] = Syncer()
            opened.callback(self.syncer.close)
            self.helper: Syncer[Job] = Syncer("paxosd-snapshot")
            opened.callback(self.helper.close)
            self.flight = FlightRecorder(
                config,
                boot_count=assembled.claim.boot_count,
                run_id=assembled.run_id,
                directory_id=self.node.directory_id,
                logs=logs,
            )
            opened.callback(lambda: self.flight.close(precise_clock_ms()))
            self._assemble(parts, assembled, read)
            opened.pop_all()

    def _assemble(self, parts: Parts, assembled: Assembled, read: ReadConfig) -> None:
        """What needs the threads."""
        config, logs, notifier = self.config, self.logs, self.notifier
        self.replica = self._make_replica(assembled)
        self.log_level = LogLevel(logs, self.replica.trace, precise_clock_ms)
        self.reload = Reload(config, read, logs, self.log_level, notifier)
        self.standing_words = StandingWords(self.node)
        self.report = self._make_report(parts)
        self.signals = SIGNALS.noted
        self.stop_by_ms = 0.0
        self.farewell_by_ms = 0.0
        self._look_due_ms = 0.0
        home = self.faults.home
        self.comparison = FileComparison(self.report, self.node, self.machine, home, self.log)
        self.comparison.report_members()
        self.processor = (
            None if self.flight.recorder is None else ProcessorTimes(self.flight.recorder)
        )
        self.turns = 0
        if self.monitoring is not None:
            self.monitoring.start(
                self.replica,
                self.bus,
                lambda: self.report.make(self.turns),
                lambda: bool(self.stop_by_ms) or self.replica.standing.removed,
                self.faults.plan,
                precise_clock_ms(),
            )

    def _make_report(self, parts: Parts) -> StatusReport:
        return StatusReport(
            self.config,
            boot_count=parts.assembled.claim.boot_count,
            run_id=parts.assembled.run_id,
            replica=self.replica,
            machine=self.machine,
            wal=self.wal,
            bus=self.bus,
            faults=self.faults,
            log_level=self.log_level,
            recorder=self.flight.status,
            trace=self.trace.status if self.trace is not None else None,
            lines_dropped=lambda: self.logs.dropped,
            security=security_status(self.config, self.security),
            limits=parts.limits,
            descriptors=parts.descriptors,
            now_ms=precise_clock_ms,
        )

    def _make_replica(self, assembled: Assembled) -> Replica:
        ports, config, trace = self._make_ports(), self.config, self.trace
        replica = make_replica(
            assembled,
            replica_options(
                config, assembled.claim.boot_count, self.security.trust, debug=self.logs.debug
            ),
            snapshot_options(config),
            ports if trace is None else trace.recorder.ports(ports),
        )
        if trace is not None:
            trace.start()
        return replica

    def _make_ports(self) -> Ports:
        return Ports(
            bus=self.bus,
            committer=Commits(self.syncer, lambda: self.faults.plan.active),
            helper=self.helper,
            log=self.log,
            plan=self.faults.plan,
            faults_enabled=self.config.faults.enabled,
            now_ms=precise_clock_ms,
            status=self._status,
            crash=self._crash,
            save_faults=self.faults.save,
            precise_now_ms=precise_clock_ms,
            probes=Probes(),
            log_level=self._change_log_level,
            files=ServedFiles(self.config),
            file_helper=self.file_thread,
            recorder=self.flight.recorder,
            authority=self.security.authority,
            request_times=self.monitoring.times if self.monitoring is not None else None,
        )

    # -- the loop

    def run(self) -> None:
        """Run until a signal ends it. Raises StorageError; no message was sent then that relies on
        what is not durable."""
        self.bus.register_wakeup(self.syncer.wake_fd)
        self.bus.register_wakeup(self.helper.wake_fd)
        while not self._stopped():
            self.turn()

    def turn(self) -> None:
        """Wait for input or a deadline, take it all in, do what follows from it."""
        now_ms = precise_clock_ms()
        lazy = not self.replica.votes_urgent
        if self.bus.poll(math.ceil(self._poll_ms(now_ms)), lazy_votes=lazy) & WAKEUP:
            self.syncer.clear_wake()
            self.helper.clear_wake()
            self.file_thread.clear_wake()
        now_ms = precise_clock_ms()
        wall_ms = self.faults.wall_ms(now_ms)
        if self.trace is None:
            self.replica.turn(now_ms, wall_ms)
        else:
            self.trace.recorder.turn(self.replica, now_ms, wall_ms)
        self._house_keeping(now_ms)

    def _poll_ms(self, now_ms: float) -> float:
        if self.signals:
            return 0.0
        due_ms = min(now_ms + POLL_MS_MAX, self.replica.next_due_ms(now_ms))
        if self.faults.plan.timed_active:
            due_ms = min(due_ms, self.faults.next_due_ms(now_ms))
        return max(0.0, due_ms - now_ms)

    # -- seldom

    def _house_keeping(self, now_ms: float) -> None:
        self.turns += 1
        if now_ms >= self._look_due_ms:
            self._look_due_ms = now_ms + POLL_MS_MAX
            self.comparison.tick(now_ms)
            self.log_level.tick()
            if self.monitoring is not None:
                self.monitoring.look(now_ms)
            if self.processor is not None:
                self.processor.note(precise_clock_ms())
            self.bus.guard.check()
            self.bus.ports.log_refused()
            self.bus.ports.end_stuck(self.bus.event_bytes_waiting)
            self.notifier.tick(now_ms)
            if self.notifier.enabled and not self.stop_by_ms:
                words = self.standing_words()
                self.notifier.status(words)
                self.reload.tick(words)
        took_ms = precise_clock_ms() - now_ms
        if took_ms > SLOW_TURN_MS:
            self.log.warning("node.slow_loop", dur_ms=round(took_ms, 1))
            if self.monitoring is not None:
                self.monitoring.slow_turns += 1
        if self.signals:
            self._on_signals()
        if self.bus.answers.is_ending:
            self.bus.answers.flush()
            self.faults.die()
        self.faults.tick(now_ms, self.signals, self.bus.answers.flush)

    def _on_signals(self) -> None:
        self.syncer.clear_wake()
        while self.signals:
            number = self.signals.pop(0)
            self.log.info("node.signal", signal=signal.Signals(number).name)
            if number == signal.SIGHUP:
                self.reload.begin()
            elif not self.stop_by_ms:
                self.notifier.stopping("handing over" if self.node.leading else "stopping")
                self.log.info("node.stopping", reason=signal.Signals(number).name)
                if self.trace is not None:
                    self.trace.recorder.call(HAND_OVER)
                waiting = self.node.hand_over()
                self.stop_by_ms = precise_clock_ms() + (HAND_OVER_MS if waiting else 50.0)
            else:
                self.stop_by_ms = precise_clock_ms()

    def _stopped(self) -> bool:
        if self.replica.standing.removed:
            self.farewell_by_ms = self.farewell_by_ms or precise_clock_ms() + FAREWELL_MS
            if not self.stop_by_ms:
                return precise_clock_ms() >= self.farewell_by_ms
        if not self.stop_by_ms:
            return False
        handed_over = not self.node.leading and self.node.leader not in ("", self.config.node.name)
        return handed_over or precise_clock_ms() >= self.stop_by_ms

    def close(self) -> None:
        """Finish the group commit under way, write the rest, close everything."""
        self.helper.close()
        self.syncer.close()
        self.replica.commits.finish(precise_clock_ms())
        self.bus.close()
        self.context.term()
        self.wal.close()
        self.faults.close()
        if self.processor is not None:
            self.processor.close()
        self.data_dir.close()

    def _crash(self) -> None:
        """A fault directive: die as in a power cut, once the answer has left."""
        self.log.warning("fault.crash")
        self.bus.answers.expect_end()

    # -- requests of operators

    def _change_log_level(self, level: str, for_ms: int) -> dict[str, Any]:
        return {"node": self.config.node.name, **self.log_level.change(level, for_ms)}

    def _status(self) -> dict[str, Any]:
        return encode_status(self.report.make(self.turns))


def daemon_of(
    config: Config, parts: Parts, logs: Logs, notifier: Notifier, read: ReadConfig
) -> Daemon:
    """The daemon of these parts, which are closed if none comes of them."""
    try:
        return Daemon(config, parts, logs, notifier, read)
    except BaseException:
        parts.close()
        raise


def run(config: Config, read: ReadConfig) -> int:
    """Run one node in the foreground until SIGTERM or SIGINT; returns the exit code. ``read``: for
    a reload.

    Raises what keeps it from starting or going on: BindError, StorageError, IdentityError,
    DataDirLocked, PermissionError; or, where that was said on standard error in JSON, returns its
    exit code.
    """
    SIGNALS.catch()
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error is closed
        # What a loop that hangs was doing: the service manager's watchdog ends it with SIGABRT.
        faulthandler.enable()
    try:
        return _run(config, read)
    except StopRequested:
        return exits.OK


def _run(config: Config, read: ReadConfig) -> int:
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
        logs.logger.info("config.loaded", cluster=config.cluster.id, settings=config.given())
        if config.ignored_environ:
            logs.logger.info("config.environ_ignored", variables=list(config.ignored_environ))
        gc.disable()  # see _tune
        parts = start_up(config, logs, notifier, random.Random())
        daemon = daemon_of(config, parts, logs, notifier, read)
        SIGNALS.note(daemon.syncer.wake)
        _tune()
        logs.logger.info("node.ready", peer=config.me.peer, client=config.me.client,
                         events=config.me.events)  # fmt: skip
        notifier.ready("follower; leader unknown")
        daemon.run()
        daemon.close()
        logs.logger.info("node.stopped", exit_code=exits.OK)
        return exits.OK
    except StopRequested as stop:
        notifier.stopping("stopping")
        logs.logger.info("node.stopping", reason=str(stop), during="start")
        logs.logger.info("node.stopped", exit_code=exits.OK)
        return exits.OK
    except Exception as error:
        if daemon is not None:
            daemon.faults.plan.flush()  # the hit that this may be the doing of, first
        error = lack_of(error) or error
        notifier.stopping(str(error))
        in_json = ends_in_json(config.log.format, config.log.file, sys.stderr)
        code = _log_failure(logs, error, in_json=in_json)
        if in_json and not config.log.file:
            return code
        raise error
    finally:
        if daemon is not None:
            daemon.flight.close(precise_clock_ms())
            if daemon.monitoring is not None:
                daemon.monitoring.close()
            if daemon.trace is not None:
                daemon.trace.close()
        notifier.close()
        logs.close()


def _log_failure(logs: Logs, error: Exception, *, in_json: bool) -> int:
    """Why the node ends, in its log; the exit code."""
    if isinstance(error, StorageError):
        _log_storage_error(logs, error)
    code = exits.code_of(error)
    logs.logger.error(
        "node.failed",
        error=type(error).__name__,
        message=str(error),
        exit_code=code,
        exc_info=code == exits.FAILED and in_json,  # else Python shows the traceback
    )
    return code


def _log_storage_error(logs: Logs, error: StorageError) -> None:
    if isinstance(error, IdentityError | DataDirLocked):
        logs.logger.error("datadir.refused", message=str(error))
        return
    event = "storage.corrupt" if isinstance(error, CorruptionError) else "storage.failed"
    logs.logger.error(
        event,
        segment=error.segment,
        offset=error.offset,
        errno=error.errno,
        message=str(error),
    )


def _tune() -> None:
    """What start-up made lives as long as the process: keep the collector from walking it. The
    hot path makes acyclic garbage that dies by count, and cycles of an exception die young.

    Nothing must be collected before that: a whole collection takes those dicts off the collector's
    list whose values hold no references. The first puts would bring each of the store's dicts back,
    as a young one, and the next two collections would walk all keys: 1.3 s each with 5 million."""
    gc.freeze()
    # The young ones often, so that each has little to look at; never the oldest, which holds the
    # index of all keys, and takes 0.1 s a million.
    gc.set_threshold(20_000, 3, 1_000_000_000)
    gc.enable()
    sys.setswitchinterval(0.0005)  # the sync thread must get a turn soon after its fsync
