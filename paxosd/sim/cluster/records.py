"""What the nodes of a simulated run leave behind, written down as data directories.

    DIR/n1/…            the small files, as the process last saw them
    DIR/n1/wal/…        the log and the snapshots
    DIR/n1/recorder/…   the flight recorder's files, one for each life

So every tool that reads the data directories of real nodes reads a simulated run as well. The
recorder is the daemon's (``paxosd/recorder``), on the simulated clocks of its node. It has a disk
of its own: its files outlive whatever happens to the others, a wiped machine included. Nothing of
the run depends on it, and until the run is over nothing is written.
"""

import json
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from paxosd.core.types import NodeId
from paxosd.recorder.files import DIRECTORY, FLUSH_MS, file_name
from paxosd.recorder.recorder import NOTES_WAITING_MAX, Recorder
from paxosd.sim.cluster.disks import MemberDisks
from paxosd.sim.world.clock import SimClock
from paxosd.sim.world.trace import Trace, TraceLog, plain_value
from paxosd.storage.node_directory import LOG_DIRECTORY


class NodeRecords:
    """The recorder of one member, in all its lives."""

    def __init__(self, clock: SimClock, *, keeps_last: bool = True) -> None:
        self._clock = clock
        self._keeps_last = keeps_last
        self._recorder: Recorder | None = None
        self._early: deque[str] = deque(maxlen=NOTES_WAITING_MAX)
        self._flush_due_ms = 0.0
        self.lives: list[bytes] = []
        """The blocks of each life that recorded anything."""
        self._blocks = bytearray()

    def begin_life(self, recorder: Recorder) -> Recorder:
        """A process records with it from now on."""
        self._recorder = recorder
        while self._early:
            recorder.note_soon(self._early.popleft())
        self._flush_due_ms = self._clock.monotonic_ms() + FLUSH_MS
        return recorder

    def note(self, line: str) -> None:
        """A line of the log; the lines of a start are kept until it records."""
        take = self._early.append if self._recorder is None else self._recorder.note_soon
        take(line)

    def flush_if_due(self) -> None:
        """As the daemon's thread, after a turn."""
        now_ms = self._clock.monotonic_ms()
        if now_ms >= self._flush_due_ms:
            self._flush_due_ms = now_ms + FLUSH_MS
            self._take()

    def end_life(self, *, in_order: bool) -> None:
        """The process ends, ``in_order`` or as by kill -9: then what was not flushed is lost, if
        the run does not keep it."""
        recorder = self._recorder
        if recorder is not None and (in_order or self._keeps_last):
            recorder.take_notes(self._clock.monotonic_ms())
            self._take()
        self._recorder = None
        self._early.clear()
        if self._blocks:
            self.lives.append(bytes(self._blocks))
            self._blocks.clear()

    def _take(self) -> None:
        if self._recorder is not None:
            self._recorder.settle()
            mono_us, wall_us = int(self._clock.monotonic_ms() * 1000), self._clock.wall_ms() * 1000
            for block in self._recorder.take_blocks(mono_us, wall_us):
                self._blocks += block


class Leaver(Protocol):
    """What is written down of a process."""

    name: NodeId
    disks: MemberDisks


class RunRecords:
    """Those of all members. ``keeps_last``: whether the last block of a process that dies is kept;
    a real one loses what it recorded within its last ``FLUSH_MS``."""

    def __init__(self, directory: Path, *, keeps_last: bool = True) -> None:
        self.directory = directory
        self._keeps_last = keeps_last
        self._nodes: dict[NodeId, NodeRecords] = {}

    def of(self, name: NodeId, clock: SimClock) -> NodeRecords:
        """For a new member."""
        self._nodes[name] = NodeRecords(clock, keeps_last=self._keeps_last)
        return self._nodes[name]

    def write(self, members: Iterable[Leaver]) -> None:
        """Write everything down, once the run is over; members that never ran have no directory.
        Raises OSError."""
        for member in members:
            records = self._nodes[member.name]
            records.end_life(in_order=True)
            home, log = member.disks.home.content(), member.disks.log.content()
            if not (home or log or records.lives):
                continue
            lives = {file_name(number): each for number, each in enumerate(records.lives, 1)}
            place = self.directory / member.name
            for directory, files in (
                (place, home),
                (place / LOG_DIRECTORY, log),
                (place / DIRECTORY, lives),
            ):
                directory.mkdir(parents=True, exist_ok=True)
                for name, content in files.items():
                    (directory / name).write_bytes(content)


class NotedLog(TraceLog):
    """The log of a member that records: lines at level info and above are noted, too."""

    __slots__ = ("_records",)

    def __init__(self, trace: Trace | None, node: str, records: NodeRecords) -> None:
        super().__init__(trace, node)
        self._records = records

    def _note(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.debug(event, **fields)
        line = {"level": level, "event": event, "node": self._node, **fields}
        self._records.note(json.dumps(line, default=plain_value))

    def info(self, event: str, **fields: Any) -> None:
        """A line at this level."""
        self._note("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """A line at this level."""
        self._note("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """A line at this level."""
        self._note("error", event, fields)


def log_of(trace: Trace | None, node: NodeId, records: NodeRecords | None) -> TraceLog:
    """What a member's process writes its lines to."""
    return TraceLog(trace, node) if records is None else NotedLog(trace, node, records)
