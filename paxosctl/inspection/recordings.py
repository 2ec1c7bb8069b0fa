"""Everything that was given to read, opened: nodes, times, clocks, and the one stream of events."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from paxosctl.cli.streams import StreamError
from paxosctl.inspection.causal_order import in_causal_order
from paxosctl.inspection.clock_offsets import PAIR_KINDS, Offsets, estimate
from paxosctl.inspection.events import NOTES, note_fields
from paxosctl.inspection.log_lines import LineLosses, read_lines
from paxosctl.inspection.recorded_files import END_US, GONE, NodeFiles, by_node
from paxosctl.inspection.sources import Sources, find_sources, make_scratch
from paxosctl.inspection.steady_clock import SteadyClock
from paxosd.recorder.block import Keep
from paxosd.recorder.event import Event

LAST_US = 5_000_000
"""So long is the end of which samples are taken."""
SAME_US = 1_000_000
"""Two samples that begin as near as that have the same messages."""
SAMPLE_EVENTS = 4_000
"""Of each node at either end of what is shown: enough to find quick messages among them."""
NOTES_KEPT = 20_000
"""A line that stands in a recording and in a log is shown once, if no more than so many are between
the two."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when until when, in microseconds of the corrected wall clock, both included."""

    since_us: int = 0
    until_us: int = END_US


@dataclass(slots=True)
class Recordings:
    """``offsets``: of the clocks; ``first_us``, ``last_us``: what all sources span, by the clocks
    of the nodes; ``ends_us``: where the recording or the log of each ends."""

    sources: Sources
    nodes: dict[str, NodeFiles]
    line_losses: dict[Path, LineLosses] = field(default_factory=dict)
    offsets: Offsets = field(default_factory=Offsets)
    first_us: int = 0
    last_us: int = 0
    log_nodes: set[str] = field(default_factory=set)
    ends_us: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of all nodes of which there is something."""
        return sorted(self.nodes.keys() | self.log_nodes)

    def events(self, window: Window = Window(), keep: Keep | None = None) -> Iterator[Event]:
        """All events in causal order, with times by the corrected clock. ``keep``: which rows are
        wanted (``recorded_files.py``); then the order is that of the times."""
        streams = [self._node_events(files, window, keep) for files in self.nodes.values()]
        streams += [self._log_events(path, window) for path in self.sources.logs]
        merged = in_causal_order(streams, self.offsets.slack_us)
        return _without_doubles(merged) if self.sources.logs else merged

    def node_events(
        self, node: str, window: Window = Window(), keep: Keep | None = None
    ) -> Iterator[Event]:
        """What one node recorded, in its own order."""
        return self._node_events(self.nodes[node], window, keep)

    def holes(self, node: str) -> list[tuple[int, int]]:
        """From when until when something is missing in what was read of a node so far."""
        ahead_us = self.offsets.ahead_us(node)
        return [
            (since_us - ahead_us, until_us - ahead_us)
            for since_us, until_us in self.nodes[node].holes.values()
        ]

    def _node_events(self, files: NodeFiles, window: Window, keep: Keep | None) -> Iterator[Event]:
        ahead_us = self.offsets.ahead_us(files.node)
        return files.events(window.since_us + ahead_us, window.until_us + ahead_us, keep, ahead_us)

    def _log_events(self, path: Path, window: Window) -> Iterator[Event]:
        losses = self.line_losses[path] = LineLosses()
        for event in self.steady_lines(read_lines(path, losses)):
            corrected = event.wall_us - self.offsets.ahead_us(event.node)
            if window.since_us <= corrected <= window.until_us:
                yield event._replace(wall_us=corrected)

    def steady_lines(self, lines: Iterable[Event]) -> Iterator[Event]:
        """With times without the jumps of the clocks: as the recording of the node has them, or
        else as the lines before show them."""
        own: dict[str, SteadyClock] = {}
        last: dict[str, tuple[int, int]] = {}
        for event in lines:
            node, mono_us = event.node, event.mono_us
            files = self.nodes.get(node)
            if files is not None and event.boot_count:
                ahead_us = files.clock.ahead_us(event.boot_count, mono_us)
            else:
                clock = own.setdefault(node, SteadyClock())
                run, before_us = last.get(node, (0, 0))
                run += mono_us < before_us  # the machine started again
                last[node] = run, mono_us
                clock.follow(run, run, mono_us, event.wall_us)
                ahead_us = clock.ahead_us(run, mono_us)
            yield event._replace(wall_us=event.wall_us - ahead_us) if ahead_us else event

    def losses(self) -> list[str]:
        """A sentence for each source of which something was passed over so far."""
        words = list(self.sources.passed_over)
        for files in self.nodes.values():
            for path, lost in files.losses.items():
                if lost.damaged:
                    words.append(
                        f"{path}: {lost.damaged} damaged or cut-off block"
                        f"{'s' if lost.damaged > 1 else ''} ({lost.bytes} bytes)"
                    )
                if lost.later:
                    words.append(f"{path}: {lost.later} blocks of a later version of paxosd; use "
                                 "that one's paxosctl")  # fmt: skip
            words += [f"{path}: {GONE}" for path in sorted(files.gone)]
        for path, lines in self.line_losses.items():
            if lines.damaged:
                words.append(f"{path}: {lines.damaged} lines that are no JSON")
            if lines.foreign:
                words.append(f"{path}: {lines.foreign} lines that are not a daemon's")
        return words


@contextmanager
def opened(names: list[str]) -> Iterator[Recordings]:
    """Open sources. Raises StreamError if nothing can be read."""
    with make_scratch() as scratch:
        sources = find_sources(names, Path(scratch))
        nodes = by_node(sources.recordings, sources.passed_over)
        if not nodes and not sources.logs:
            raise StreamError("; ".join(["nothing to read", *sources.passed_over]))
        recordings = Recordings(sources, nodes)
        _measure(recordings)
        yield recordings


def _measure(recordings: Recordings) -> None:
    firsts: list[int] = []
    ends_us = recordings.ends_us
    for name, files in recordings.nodes.items():
        first_us = files.first_us
        if first_us:
            firsts.append(first_us)
            ends_us[name] = files.last_us()
    for path in recordings.sources.logs:
        begun = False
        for event in recordings.steady_lines(read_lines(path, LineLosses())):
            recordings.log_nodes.add(event.node)
            if not begun:
                firsts.append(event.wall_us)
            begun = True
            ends_us[event.node] = max(ends_us.get(event.node, 0), event.wall_us)
    recordings.first_us = min(firsts, default=0)
    recordings.last_us = max(ends_us.values(), default=0)


def find_end(recordings: Recordings) -> None:
    """Make ``last_us`` true by the corrected clock: else the end of all would be that of the node
    whose clock is most ahead, and the last minute a time that nothing is of."""
    ends_us = recordings.ends_us
    if max(ends_us.values(), default=0) - min(ends_us.values(), default=0) > SAME_US:
        measure_clocks(recordings, Window())
        recordings.last_us = max(
            end_us - recordings.offsets.ahead_us(node) for node, end_us in ends_us.items()
        )


def measure_clocks(recordings: Recordings, window: Window) -> None:
    """Estimate how far the clocks are apart, from samples at both ends of what is shown."""
    nodes = recordings.nodes
    if len(nodes) < 2:
        recordings.offsets = Offsets(next(iter(nodes), ""), {})
        return
    firsts = {name: next(files.events(window.since_us), None) for name, files in nodes.items()}
    begun = {name: event.wall_us for name, event in firsts.items() if event is not None}
    ended = {name: min(files.last_us(), window.until_us) for name, files in nodes.items()}
    begin_us, end_us = max(begun.values(), default=0), min(ended.values())
    samples: list[Iterable[Event]] = []
    for name, files in nodes.items():
        # At the same times of all clocks, for one that ended long before the others; and at each
        # one's own ends, for clocks that are so far apart that the same times hold other messages.
        times_us = [begin_us, end_us - LAST_US]
        for own_us in (begun.get(name, 0), ended[name] - LAST_US):
            if all(abs(own_us - each) > SAME_US for each in times_us):
                times_us.append(own_us)
        samples += [_sample(files, since_us) for since_us in sorted(times_us)]
    recordings.offsets = estimate(samples)


def _sample(files: NodeFiles, since_us: int) -> Iterator[Event]:
    return islice(files.events(since_us, keep=lambda row: row[1] in PAIR_KINDS), SAMPLE_EVENTS)


class Doubles:
    """A line of the log is in the recording, too, and may be in two copies of the log."""

    def __init__(self) -> None:
        self._new: set[tuple[str, int]] = set()
        self._old: set[tuple[str, int]] = set()

    def has(self, event: Event) -> bool:
        """Whether this line was asked about before."""
        stamp = note_fields(event.text).get("mono_ns") if event.kind in NOTES else None
        if not isinstance(stamp, int):
            return False
        key = event.node, stamp
        if key in self._new or key in self._old:
            return True
        self._new.add(key)
        if len(self._new) >= NOTES_KEPT:
            self._old, self._new = self._new, set()
        return False


def _without_doubles(events: Iterator[Event]) -> Iterator[Event]:
    doubles = Doubles()
    return (event for event in events if not doubles.has(event))
