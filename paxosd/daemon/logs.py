"""Logs are an interface: one event a line, with the same first fields on every one.

    {"ts": "2025-01-31T12:00:00.123456Z", "level": "info", "event": "leader.elected",
     "node": "n1", "boot_count": 3, "seq": 17, "mono_ns": 81234567890123, …}

``ts`` wall time in UTC; ``boot_count`` how often this data directory was started, null until that
is known; ``seq`` counts this process's lines from 1, so that a lost line shows; ``mono_ns`` the
monotonic clock, to subtract. Then, where they apply: ``role ballot slot slots kind from to msg_id
quorum session request_id dur_ms fault`` and what an event needs besides. A ballot is
``round.node``, with the epoch in front if there is one: ``"3:12.n1"``.
Every event name is in :data:`VOCABULARY`; a logger opened with ``strict`` refuses others.

JSON lines when the output is not a terminal, readable and coloured when it is. A call below
the level is an empty method: nothing is formatted, nothing is counted; unless the flight recorder
takes lines at level info or above, whatever the level of the log.

Logging never stops or delays the daemon: a thread writes the lines (``log_sink.py``). One that
finds no room or cannot be written (a reader that does not read, a full disk) is dropped and counted
in :attr:`Logs.dropped`, and ``log.dropped`` stands where lines are missing.
"""

import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import structlog

from paxosd.config.settings import ConfigError
from paxosd.daemon.log_sink import CLOSE_S, LogSink, Sink, open_log, sink_of
from paxosd.host.colour import may_colour
from paxosd.host.log_levels import LEVELS
from paxosd.host.printable import escape_controls, escape_json_controls

VOCABULARY: dict[str, str] = {
    # the daemon's life
    "node.starting": "the process begins: version, configuration",
    "node.recovered": "the log was read back: slots, commit, torn bytes",
    "node.waiting": "a node waits for members without which it does not act: members, "
    "unconfirmed_ms (for how long), advice",
    "node.confirmed": "the others have compared this start: it votes from now on",
    "node.catching_up": "there is a later membership, and this node acts no more before it has it",
    "cluster.founded": "the founding record is in the data directory: members, genesis",
    "founding.differs": "a member is to found another cluster: what differs, advice; nobody votes",
    "founding.conflict": "others founded a cluster of this id at another time: members, advice",
    "node.memory_lost": "this node forgot what it promised, or a peer says so: it must not vote",
    "node.rejoined": "a change of the membership lets this directory vote again: epoch",
    "node.removed": "this node is no member any more, and ends: epoch, slot",
    "node.ready": "sockets are bound and the loop runs",
    "node.stopping": "a signal or a fault ends the daemon: reason",
    "node.stopped": "the last line of an orderly end: exit code",
    "node.failed": "the daemon ends because it must: what, what to do, exit_code",
    "node.signal": "a signal came in",
    "node.slow_loop": "one turn of the loop took too long: dur_ms",
    "config.loaded": "the settings that are not the defaults, and where they came from",
    "config.reloaded": "SIGHUP: the configuration was read again: log_level, which is in force; "
    "at_next_start, the settings that have changed and wait for that",
    "config.reload_failed": "SIGHUP: the configuration cannot be used: message; nothing changes",
    "config.environ_ignored": "PAXOSD_ variables that Kubernetes sets for a Service: variables",
    "log.level": "the level was changed while the node runs: from, to, for_ms; or its time is over",
    "log.dropped": "lines are missing here: count, and total since the start",
    "log.reopened": "the log file was opened anew",
    "trace.started": "[trace] enabled: all that goes into the node, every key and value, goes to "
    "this file; older ones were removed for it",
    "trace.stopped": "the trace of this run ends here: reason; the node goes on",
    "recorder.failed": "the flight recorder's directory cannot be made: reason; nothing is kept",
    "log.reopen_failed": "the log file could not be opened anew; the old one is still in use",
    # phase 1 and leadership
    "prevote.sent": "asks whether a ballot would be promised",
    "prevote.received": "answers such a question",
    "prepare.sent": "phase 1a",
    "prepare.received": "phase 1a arrived",
    "promise.sent": "phase 1b, after fsync",
    "promise.received": "phase 1b arrived",
    "nack.sent": "a ballot was refused, for a higher one was promised",
    "nack.received": "our ballot was refused",
    "leader.elected": "this node leads, or learnt who does",
    "leader.lost": "the leader that this node followed is gone, as it thinks: leader, reason",
    "leader.stepped_down": "this node stops leading: reason",
    "leader.slots_missing": "slots known to be chosen that no promise has are pulled: slots",
    "leader.handing_over": "a leader asks another node to campaign: to, reason",
    "leader.kept": "a leader goes on, for the other did not take over: to",
    "election.started": "this node campaigns",
    # phase 2 and the log
    "accept.sent": "phase 2a",
    "accept.received": "phase 2a arrived",
    "accept.refused": "phase 2a was not taken: reason",
    "accepted.published": "phase 2b, after fsync",
    "accepted.received": "a vote arrived",
    "accepted.gap": "votes were missed and asked for again",
    "chosen": "a quorum accepted a slot",
    "applied": "a slot was executed",
    "catchup.sent": "chosen values are asked of a peer",
    "catchup.served": "chosen values were sent to a peer",
    "catchup.finished": "a long gap was filled: slots, dur_ms",
    "fsync": "one group commit: dur_ms, bytes",
    # peers
    "bus.doubled": "a second process under a peer's name is refused: both addresses",
    "bus.other_genesis": "a node of this cluster's id that was founded at another time is refused",
    "member.up": "a peer is heard again",
    "member.version": "a peer's program is of another version, or takes another feature level",
    "member.down": "a peer is not heard any more",
    "member.changed": "another membership is in force: epoch, from_slot, voters, learners",
    "member.recovered": "the membership that the log holds: epoch, voters, learners",
    "cluster.level_raising": "the leader proposes a higher feature level: feature_level",
    "quota.near": "the store is near its quota: held_bytes, quota_bytes, advice",
    "quota.full": "writes are refused for the quota: held_bytes, quota_bytes, advice",
    "quota.ended": "the store is well below its quota again, or has none any more: held_bytes",
    "cluster.settings": "other settings are in force: version, feature_level, from_slot, settings",
    "config.differs": "the file has other settings than the log, which count: differing",
    "config.limits_differ": "a member's file has another limit, and something may not fit: member, "
    "key, value, own_key, own (this node's)",
    "config.members_differ": "the file has other members than the cluster, whose count: differing",
    "clock.skew": "a peer's wall clock is off by more than a second: member, skew_ms",
    "clock.well": "a peer's wall clock agrees again: member, skew_ms",
    "state.diverged": "this node's state is not the one decided; it stops: slot, members, advice",
    "ballot.contradiction": "two values of one slot at one ballot: slot, ballot, member, advice",
    "state.disputed": "the voters' states differ, and no majority decides: slot, members, advice",
    "state.agreed": "a majority agrees with this node's state again: slot",
    "state.differs": "a member's state is not that of this node and the majority: member, slot",
    "member.rejoining": "the leader lets a node vote again that set its damaged log aside: member",
    # storage
    "storage.truncated": "a torn tail was cut off the log",
    "storage.corrupt": "the log is damaged: segment, offset, what to do",
    "storage.scrub_found": "log or snapshot is damaged, and was not needed yet: segment, offset",
    "storage.repaired": "what was damaged is replaced, and the damaged file gone: segment",
    "storage.bad_value": "a chosen value is not a batch; it is executed as nothing",
    "storage.failed": "a write or fsync failed; the node stops voting",
    "datadir.refused": "the data directory is another's, in use, or its identity is damaged",
    "storage.run_unwritten": "a peer that started anew is not heard: the disk did not take that",
    "storage.unwritten": "the data directory did not take something; it is tried again: what",
    "storage.low_space": "the disk is nearly full",
    "storage.slow": "fsyncs take long: the longest's dur_ms, count; or median_ms, elsewhere_ms",
    "storage.segment": "a log segment came into use",
    # snapshots
    "snapshot.started": "the state is being saved: slot, keys",
    "snapshot.finished": "the state was saved, and is durable: slot, bytes, dur_ms",
    "snapshot.failed": "a snapshot could not be written, read or taken in: reason",
    "snapshot.sent": "the last piece of a snapshot was sent: slot, bytes, to",
    "snapshot.installed": "this node goes on from a peer's snapshot: slot, bytes, from, dur_ms",
    "snapshot.bad": "a snapshot is damaged or foreign, and not used: file or from, reason",
    # keys
    "security.keys": "this node proves itself by a key, and wants keys: key, rollout, peers",
    "security.open": "other machines reach this node and need no key: detail",
    "security.rollout": "the switch to keys is not finished: rollout",
    # the bus
    "bus.bound": "a socket listens",
    "bus.refused": "frames were dropped: reason, source, count",
    "bus.paced": "a connection whose frames are refused again and again is not read for pause_ms; "
    "reason: the port",
    "bus.handshake": "a node is not connected to, for its key or this node's: source, detail",
    "bus.stale_run": "a peer's frame is of an earlier run of it",
    "bus.send_failed": "messages could not be sent: to, reason, count",
    "bus.lossy": "packets to a peer are lost, small messages take both connections to it: to",
    "bus.tcp_options": "this kernel lacks options that shorten waits for lost packets: missing",
    "bus.bad_endpoint": "a member's endpoint is none: endpoint, reason",
    "name.resolved": "the addresses of a peer's host name were found: host, addresses",
    "name.changed": "a peer's host name has other addresses: host, addresses, before",
    "name.failed": "a peer's host name could not be resolved: host, reason, kept (still in use)",
    "bus.connections_full": "connections were refused, there are as many as may be: most, advice",
    "bus.frames_cut": "a peer ends connections over large frames: to, frame_bytes, times, advice",
    "bus.client_slow": "answers wait for a client that does not read: waiting_bytes, count",
    "bus.subscribers_slow": "subscribers that do not read lost their connections: ended",
    "bus.subscriptions_full": "a watcher was not taken: subscriptions_max",
    # clients and faults
    "client.request": "a request was answered: what, dur_ms, slot",
    "slow_request": "a request took long: dur_ms (queue_ms + persist_ms + quorum_ms + apply_ms), "
    "the longest stage, waited_for (a node), unlogged (others since the last line)",
    "client.refused": "a request was refused: code, reason",
    "fault.added": "a fault rule begins",
    "fault.hit": "a fault rule acted: for the first time, or each time if that is seldom",
    "fault.healed": "a fault rule ended: hits",
    "fault.crash": "this node was asked to crash, and does",
    "fault.not_restored": "rules kept from before are not in force: why",
    "fault.not_saved": "rules that were to survive a restart could not be written",
}
"""Event → what it says. Add here first: tests log with ``strict``."""

_FIRST = ("ts", "level", "event", "node", "boot_count", "seq", "mono_ns")

Event = MutableMapping[str, Any]


EARLY_MAX = 200
"""Lines since the start that are kept for whoever copies them."""


class UnknownEventError(AssertionError):
    """An event that is not in :data:`VOCABULARY` was logged by a strict logger."""


_METHODS = {
    "debug": 0,
    "info": 1,
    "warning": 2,
    "warn": 2,
    "error": 3,
    "exception": 3,
    "critical": 3,
    "fatal": 3,
}
"""The logger's methods, each with the place of its level in :data:`LEVELS`."""


class Logs:
    """The log of one process.

    ``logger`` is a structlog logger: ``logger.info("leader.elected", ballot=…)``, ``.bind()``.
    ``boot_count`` may be set once it is known; lines before carry null.
    """

    def __init__(
        self,
        *,
        node: str,
        level: str = "info",
        format: str = "auto",
        file: str | Path = "",
        stream: TextIO | None = None,
        strict: bool = False,
    ) -> None:
        """Opens the file (appending, mode 0640) if one is named; else ``stream`` is written,
        by default standard error. A file that cannot be opened: ConfigError, or
        PermissionError if that is why.
        """
        self.node = node
        self.boot_count: int | None = None
        self._level = ""
        self._strict = strict
        self._seq = itertools.count(1)
        stream = stream if stream is not None else sys.stderr
        path = Path(file) if file else None
        colours = not file and may_colour(stream)
        self._render = _renderer(_is_console(format, file, stream), colours=colours)
        if path is not None:
            self._sink: Sink = LogSink(_open_first(path), self._line, path=path)
        else:
            self._sink = sink_of(stream, self._line)
        # A class of its own, so that a change of level reaches every logger bound from this one.
        base: Any = structlog.make_filtering_bound_logger(0)
        self._bound_class: type = type("LevelledLogger", (base,), {})
        self.logger = structlog.wrap_logger(
            _Writer(self),
            processors=[
                self._stamp,
                structlog.processors.format_exc_info,
                self._copy,
                self._render,
            ],
            wrapper_class=self._bound_class,
            context_class=dict,
        ).bind()  # the bound logger itself: its methods below the level are empty ones
        self._early: deque[str] = deque(maxlen=EARLY_MAX)
        self._take_copy: Callable[[str], object] | None = self._early.append
        self._flush_copies: Callable[[], object] = lambda: None
        self.level = level

    def copy_to(
        self,
        take: Callable[[str], object] | None,
        flush: Callable[[], object] = lambda: None,
    ) -> None:
        """Give each line at level info or above to ``take`` as well, in JSON, whatever the format
        and the level of this log; the first lines since the start, too. None: nobody wants them.
        Other threads log, too. ``flush``: have the copies written, in a bounded time."""
        self._take_copy, self._flush_copies = take, flush
        while self._early:
            line = self._early.popleft()
            if take is not None:
                take(line)
        self.level = self._level

    def _copy(self, logger: Any, method: str, event: Event) -> Event:
        if method != "debug" and self._take_copy is not None:
            self._take_copy(_json_line(logger, method, event))
        return event

    def _copies_only(self, method: str) -> Callable[..., None]:
        """A call below the level whose line is wanted elsewhere. It has no number: none is missing
        in this log."""

        def copy(logger: Any, event: str, *_: Any, **fields: Any) -> None:
            line = self._stamp(None, method, {"event": event, **fields}, seq=None)
            self._copy(logger, method, line)

        return copy

    @property
    def level(self) -> str:
        """Of :data:`LEVELS`; may be set at any time."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        lowest = LEVELS.index(level)
        for method, place in _METHODS.items():
            if place < lowest:
                copied = self._take_copy is not None and place >= LEVELS.index("info")
                call = self._copies_only(method) if copied else _nothing
                setattr(self._bound_class, method, call)
            elif method in vars(self._bound_class):
                delattr(self._bound_class, method)
        self._level = level

    @property
    def debug(self) -> bool:
        """Whether debug events are written, for callers that would do work to make one."""
        return self._level == "debug"

    @property
    def dropped(self) -> int:
        """How many lines were lost."""
        return self._sink.dropped

    def reopen(self) -> None:
        """Open the log file anew, after logrotate moved it, once the lines before are written; the
        log says how that went, and the old file stays in use if it failed. No file: nothing is
        done."""
        self._sink.reopen()

    @property
    def reopening(self) -> bool:
        """Whether the log file is still to be opened anew: a disk may take its time."""
        return self._sink.reopening

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until all lines so far are written, or lost; False: that took too long. So are the
        copies."""
        self._flush_copies()
        return self._sink.flush(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is queued, for so long at most. Lines logged later are dropped."""
        self._sink.close(timeout_s)

    def write(self, line: str) -> None:
        """Have one rendered line written, whole."""
        self._sink.put(line.encode("utf-8", "backslashreplace") + b"\n")

    def _line(self, level: str, name: str, **fields: Any) -> bytes:
        """A line of the log about itself, for the thread that writes it."""
        event = self._stamp(None, level, {"event": name, **fields})
        line: str = self._render(None, level, event)
        return line.encode("utf-8", "backslashreplace") + b"\n"

    def _stamp(self, _logger: Any, method: str, event: Event, *, seq: int | None = -1) -> Event:
        """``seq``: -1: the next one."""
        name = event.pop("event", "")
        if self._strict and name not in VOCABULARY:
            raise UnknownEventError(
                f"{name!r} is not in paxosd.daemon.logs.VOCABULARY: add it there"
            )
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return {
            "ts": now.replace("+00:00", "Z"),
            "level": "error" if method == "exception" else method,
            "event": name,
            "node": self.node,
            "boot_count": self.boot_count,
            "seq": next(self._seq) if seq == -1 else seq,
            "mono_ns": time.monotonic_ns(),
            **event,
        }


class _Writer:
    """What structlog calls with the finished line, whatever its level."""

    def __init__(self, logs: Logs) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = logs.write
        self.exception = logs.write


def ends_in_json(format: str, file: str | Path, stream: TextIO | None) -> bool:
    """Whether the last line of a start that failed is JSON: if the log is, except on a terminal
    while the log goes to a file. ``stream``: standard error."""
    return not _is_console(format, file, stream) and not (file and _is_terminal(stream))


def _is_console(format: str, file: str | Path, stream: TextIO | None) -> bool:
    return format == "console" or (format == "auto" and not file and _is_terminal(stream))


def _nothing(_logger: Any, _event: str, *_: Any, **__: Any) -> None:
    """A call below the level."""


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def _open_first(path: Path) -> int:
    try:
        return open_log(path)
    except PermissionError:
        raise PermissionError(f"log.file: this user may not write {path}") from None
    except OSError as error:
        raise ConfigError([f"log.file: {path} cannot be opened: {error.strerror}"]) from None


def _renderer(console: bool, *, colours: bool) -> Any:
    if not console:
        return _json_line
    pretty = structlog.dev.ConsoleRenderer(
        colors=colours,
        sort_keys=False,
        timestamp_key="ts",
        exception_formatter=structlog.dev.plain_traceback,
    )

    def line(logger: Any, method: str, event: Event) -> str:
        short = {key: _shown(key, event[key]) for key in event if key not in _QUIET}
        short["ts"] = str(event["ts"])[11:23]  # the time of day, in milliseconds
        return str(pretty(logger, method, short))

    return line


class _QuotedText:
    """A text with control characters, which the console shows in quotes and escaped."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _shown(key: str, value: Any) -> Any:
    """A value as the console may show it: without characters that control the terminal."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return escape_controls(value) if key == "exception" else _QuotedText(value)


_QUIET = {"seq", "mono_ns", "boot_count"}
"""Fields for programs, which the console leaves out."""


def _json_line(_logger: Any, _method: str, event: Event) -> str:
    line = json.dumps(event, default=_plain, ensure_ascii=False, skipkeys=True)
    return escape_json_controls(line)


def _plain(value: Any) -> Any:
    """JSON for what JSON has no form for: bytes as text, or as {"b64": …}; the rest as repr."""
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            import base64  # noqa: PLC0415 - hardly ever needed

            return {"b64": base64.b64encode(raw).decode("ascii")}
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return repr(value) if not isinstance(value, os.PathLike) else os.fspath(value)
