"""New events of growing files, of all nodes, in one order.

    files ──every POLL_S──► what is new ──held for HOLD_US──► one order ──► lines

A daemon writes what it recorded every quarter of a second. So what is read is held until the other
nodes have had the time to write theirs of the same moment.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from paxosctl.inspection.causal_order import in_causal_order
from paxosctl.inspection.clock_offsets import Offsets
from paxosctl.inspection.events import LINE
from paxosctl.inspection.log_lines import LineLosses, parse_line
from paxosctl.inspection.recorded_files import block_events
from paxosctl.inspection.recordings import Doubles, Recordings
from paxosctl.inspection.steady_clock import SteadyClock
from paxosd.recorder.block import Losses, blocks_of
from paxosd.recorder.event import Event
from paxosd.recorder.files import file_number

POLL_S = 0.25
HOLD_US = 750_000


class _GrowingFile:
    """A file whose new part is read each time; what is not whole yet is kept for the next time."""

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self.path = path
        self._offset = path.stat().st_size if from_end else 0
        self._rest = b""

    def read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return b""
        self._offset += len(new)
        data, self._rest = self._rest + new, b""
        return data

    def keep(self, rest: bytes) -> None:
        self._rest = rest


class Follower:
    """Follows the recordings and logs that were opened, from their present ends on."""

    def __init__(self, recordings: Recordings, directories: Iterable[Path] = ()) -> None:
        """``directories``: further ones in which recorder files may come."""
        self._offsets: Offsets = recordings.offsets
        self._directories = {
            file.path.parent
            for files in recordings.nodes.values()
            for file in files.files
            if file_number(file.path.name) is not None
        } | {each.resolve() for each in directories}
        self._recordings = {
            file.path: _GrowingFile(file.path, from_end=True)
            for files in recordings.nodes.values()
            for file in files.files
        }
        self._clocks = {name: files.clock for name, files in recordings.nodes.items()}
        self._logs = [_GrowingFile(path, from_end=True) for path in recordings.sources.logs]
        self._waiting: dict[str, list[Event]] = {}
        self._losses = Losses()
        self._seen: dict[tuple[str, int, bool], int] = {}
        self._doubles = Doubles()
        self._newest_us = 0
        self._since_us = 0
        """When that came, on the caller's clock."""

    def poll(self, now_us: int) -> Iterator[Event]:
        """What has come and is old enough, in order. ``now_us``: of a clock that goes on; nothing
        waits for longer than HOLD_US, even if no node writes any more."""
        self._look_for_files()
        for file in self._recordings.values():
            for event in self._new_events(file):
                if self.is_new(event):
                    self._waiting.setdefault(event.node, []).append(event)
        for file in self._logs:
            for event in self._new_lines(file):
                if self.is_new(event):
                    self._waiting.setdefault(f"{event.node} log", []).append(event)
        newest_us = max((e[-1].wall_us for e in self._waiting.values() if e), default=0)
        if newest_us > self._newest_us:
            self._newest_us, self._since_us = newest_us, now_us
        # Time goes on, too, where nothing comes.
        until_us = self._newest_us - HOLD_US + (now_us - self._since_us)
        due = []
        for name, events in self._waiting.items():
            count = next((n for n, e in enumerate(events) if e.wall_us > until_us), len(events))
            due.append(iter(events[:count]))
            self._waiting[name] = events[count:]
        merged = in_causal_order(due, self._offsets.slack_us)
        return (event for event in merged if not self._doubles.has(event))

    def is_new(self, event: Event) -> bool:
        """Whether this event was not asked about before. What was just written may be read twice:
        with what was there, and with what came."""
        run = event.node, event.boot_count, event.kind == LINE
        if event.seq <= self._seen.get(run, 0):
            return False
        self._seen[run] = event.seq
        return True

    def _look_for_files(self) -> None:
        """A new file of the ring, or of a new run."""
        for directory in self._directories:
            for path in directory.iterdir() if directory.is_dir() else ():
                if file_number(path.name) is not None and path not in self._recordings:
                    self._recordings[path] = _GrowingFile(path, from_end=False)

    def _new_events(self, file: _GrowingFile) -> Iterator[Event]:
        data = file.read()
        if not data:
            return
        before = self._losses.bytes
        for head, raw in blocks_of(data, self._losses):
            clock = self._clocks.setdefault(head.node, SteadyClock())
            clock.follow(head.run_id, head.boot_count, head.mono_us, head.wall_us)
            taken_us = head.wall_us - clock.ahead_us(head.boot_count, head.mono_us)
            for event in block_events(head, raw, None, taken_us):
                yield self._corrected(event)
        torn = self._losses.bytes - before
        if 0 < torn <= len(data):  # a block that is being written stands at the end
            file.keep(data[len(data) - torn :])
            self._losses.bytes = before

    def _new_lines(self, file: _GrowingFile) -> Iterator[Event]:
        data = file.read()
        whole, newline, rest = data.rpartition(b"\n")
        file.keep(rest)
        if newline:
            for raw in whole.split(b"\n"):
                event = parse_line(raw, LineLosses())
                if event is not None:
                    yield self._corrected(event)

    def _corrected(self, event: Event) -> Event:
        ahead_us = self._offsets.ahead_us(event.node)
        if event.kind == LINE and event.node in self._clocks:
            ahead_us += self._clocks[event.node].ahead_us(event.boot_count, event.mono_us)
        return event._replace(wall_us=event.wall_us - ahead_us) if ahead_us else event
