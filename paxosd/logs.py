"""Logs are an interface: one event a line, with the same first fields on every one.

    {"ts": "2025-01-31T12:00:00.123456Z", "level": "info", "event": "leader.elected",
     "node": "n1", "boot_count": 3, "seq": 17, "mono_ns": 81234567890123, …}

``ts`` wall time in UTC; ``boot_count`` how often this data directory was started; ``seq`` counts
this process's lines from 1, so that a lost line shows; ``mono_ns`` the monotonic clock, to
subtract. Then, where they apply: ``role ballot slot slots kind from to msg_id quorum session
request_id dur_ms fault`` and what an event needs besides. A ballot is ``round.node``, with the
epoch in front if there is one: ``"3:12.n1"``.
Every event name is in :data:`VOCABULARY`; a logger opened with ``strict`` refuses others.

JSON lines when the output is not a terminal, readable and coloured when it is. A call below
the level is an empty method: nothing is formatted, nothing is counted.

A line that cannot be written (a full disk, a closed pipe) is dropped and counted in
:attr:`Logs.dropped`: logging never stops the daemon.
"""

import itertools
import json
import logging
import os
import sys
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import structlog

from paxosd.settings import ConfigError

VOCABULARY: dict[str, str] = {
    # the daemon's life
    "node.starting": "the process begins: version, configuration",
    "node.recovered": "the log was read back: slots, commit, torn bytes",
    "node.waiting": "a node waits for those without whom it does not act: members, advice",
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
    "node.failed": "the daemon ends because it must: what, and what to do",
    "node.signal": "a signal came in",
    "node.slow_loop": "one turn of the loop took too long: dur_ms",
    "config.loaded": "the settings that are not the defaults, and where they came from",
    "log.reopened": "the log file was opened anew",
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
    "leader.lost": "no leader is known any more",
    "leader.stepped_down": "this node stops leading: reason",
    "leader.slots_missing": "slots known to be chosen that no promise tells of are pulled: slots",
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
    "member.down": "a peer is not heard any more",
    "member.changed": "another membership is in force: epoch, from_slot, voters, learners",
    "member.recovered": "the membership that the log holds: epoch, voters, learners",
    "cluster.level_raising": "the leader proposes a higher feature level: feature_level",
    "cluster.settings": "other settings are in force: version, feature_level, from_slot, settings",
    "config.differs": "the file has other settings than the log, which count: differing",
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
    "identity.refused": "the data directory is another node's, or its identity is damaged",
    "storage.truncated": "a torn tail was cut off the log",
    "storage.corrupt": "the log is damaged: segment, offset, what to do",
    "storage.scrub_found": "log or snapshot is damaged, and was not needed yet: segment, offset",
    "storage.repaired": "what was damaged is replaced, and the damaged file gone: segment",
    "storage.bad_value": "a chosen value is not a batch; it is executed as nothing",
    "storage.failed": "a write or fsync failed; the node stops voting",
    "storage.low_space": "the disk is nearly full",
    "storage.slow": "fsyncs took long: the longest's dur_ms, count since the last such line",
    "storage.segment": "a log segment came into use",
    # snapshots
    "snapshot.started": "the state is being saved: slot, keys",
    "snapshot.finished": "the state was saved, and is durable: slot, bytes, dur_ms",
    "snapshot.failed": "a snapshot could not be written, read or taken in: reason",
    "snapshot.sent": "the last piece of a snapshot was sent: slot, bytes, to",
    "snapshot.installed": "this node goes on from a peer's snapshot: slot, bytes, from, dur_ms",
    "snapshot.bad": "a snapshot is damaged or foreign, and not used: file or from, reason",
    # the bus
    "bus.bound": "a socket listens",
    "bus.refused": "frames were dropped: reason, source, count",
    "bus.stale_run": "a peer's frame is of an earlier life of it",
    "bus.send_failed": "messages could not be sent: to, reason, count",
    "bus.bad_endpoint": "a member's endpoint is none: endpoint, reason",
    "bus.subscriptions_full": "a watcher was not taken: subscriptions_max",
    # clients and faults
    "client.request": "a request was answered: what, dur_ms, slot",
    "client.refused": "a request was refused: code, reason",
    "fault.added": "a fault rule begins",
    "fault.hit": "a fault rule acted: for the first time, or each time if that is seldom",
    "fault.healed": "a fault rule ended: hits",
    "fault.crash": "this node was told to crash, and does",
    "fault.not_restored": "rules kept from before are not in force: why",
    "fault.not_saved": "rules that were to survive a restart could not be written",
}
"""Event → what it says. Add here first: tests log with ``strict``."""

_FIRST = ("ts", "level", "event", "node", "boot_count", "seq", "mono_ns")

Event = MutableMapping[str, Any]


class UnknownEventError(AssertionError):
    """An event that is not in :data:`VOCABULARY` was logged by a strict logger."""


class Logs:
    """The log of one process.

    ``logger`` is a structlog logger: ``logger.info("leader.elected", ballot=…)``, ``.bind()``.
    ``incarnation`` may be set once it is known; lines before carry 0.
    ``debug``: whether debug events are written, for callers that would do work to make one.
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
        self.incarnation = 0
        self.debug = level == "debug"
        self.dropped = 0
        self._strict = strict
        self._seq = itertools.count(1)
        self._path = Path(file) if file else None
        self._stream = stream if stream is not None else sys.stderr
        self._fd = -1 if self._path is None else _open_first(self._path)
        console = format == "console" or (format == "auto" and self._on_terminal())
        self.logger = structlog.wrap_logger(
            _Writer(self),
            processors=[self._stamp, structlog.processors.format_exc_info, _renderer(console)],
            wrapper_class=structlog.make_filtering_bound_logger(
                logging.getLevelNamesMapping()[level.upper()]
            ),
            context_class=dict,
        ).bind()  # the bound logger itself: its methods below the level are empty ones

    def reopen(self) -> None:
        """Open the log file anew, after logrotate moved it. No file: nothing is done.

        Raises OSError if that fails; the old file stays in use then.
        """
        if self._path is not None:
            old, self._fd = self._fd, _open(self._path)
            os.close(old)

    def close(self) -> None:
        """Close the file, if any. Lines logged later are dropped."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def write(self, line: str) -> None:
        """Write one rendered line, whole (one write call, so that lines never mix)."""
        try:
            if self._path is None:
                self._stream.write(line + "\n")
                self._stream.flush()
            else:
                os.write(self._fd, line.encode("utf-8", "backslashreplace") + b"\n")
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.dropped += 1

    def _on_terminal(self) -> bool:
        return self._path is None and self._stream.isatty()

    def _stamp(self, _logger: Any, method: str, event: Event) -> Event:
        name = event.pop("event", "")
        if self._strict and name not in VOCABULARY:
            raise UnknownEventError(f"{name!r} is not in paxosd.logs.VOCABULARY: add it there")
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return {
            "ts": now.replace("+00:00", "Z"),
            "level": "error" if method == "exception" else method,
            "event": name,
            "node": self.node,
            "boot_count": self.incarnation,
            "seq": next(self._seq),
            "mono_ns": time.monotonic_ns(),
            **event,
        }


class _Writer:
    """What structlog calls with the finished line, whatever its level."""

    def __init__(self, logs: Logs) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = logs.write
        self.exception = logs.write


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _open_first(path: Path) -> int:
    try:
        return _open(path)
    except PermissionError:
        raise PermissionError(f"log.file: this user may not write {path}") from None
    except OSError as error:
        raise ConfigError([f"log.file: {path} cannot be opened: {error.strerror}"]) from None


def _renderer(console: bool) -> Any:
    if not console:
        return _json_line
    colours = "NO_COLOR" not in os.environ
    pretty = structlog.dev.ConsoleRenderer(
        colors=colours,
        sort_keys=False,
        timestamp_key="ts",
        exception_formatter=structlog.dev.plain_traceback,
    )

    def line(logger: Any, method: str, event: Event) -> str:
        short = {key: value for key, value in event.items() if key not in _QUIET}
        short["ts"] = str(event["ts"])[11:23]  # the time of day, in milliseconds
        return str(pretty(logger, method, short))

    return line


_QUIET = {"seq", "mono_ns", "boot_count"}
"""Fields that machines want and people don't."""


def _json_line(_logger: Any, _method: str, event: Event) -> str:
    return json.dumps(event, default=_plain, ensure_ascii=False, skipkeys=True)


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
