"""When each node was recording: from its blocks, so that a silence is no gap and a loss is one."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from paxosctl.inspection.recorded_files import NodeFiles
from paxosctl.inspection.recordings import Recordings, Window
from paxosd.recorder.block import Losses, blocks_of
from paxosd.recorder.event import EVENT_BYTES

CLOCK_ERROR_MAX_US = 1_000_000
"""With clocks that are less well known nothing is said of what a node missed."""
PATIENCE_US = 500_000
"""So long after its sending a message had time to come, and to reach the disk of the recorder."""
RECORDING, DOWN, UNKNOWN = "recording", "down", "unknown"


@dataclass(slots=True)
class Span:
    """One stretch without a gap in a run, by the corrected clock."""

    run_id: int
    first_us: int
    last_us: int
    next_seq: int


class Spans:
    """Of all nodes. A node without a recording has none."""

    def __init__(self, of: dict[str, list[Span]]) -> None:
        self._of = of

    def state(self, node: str, at_us: int) -> str:
        """Whether ``node`` recorded all that came shortly after ``at_us``; DOWN: no run of it was
        there, between two that are recorded."""
        spans = self._of.get(node, [])
        place = bisect_right([each.first_us for each in spans], at_us) - 1
        if place < 0:
            return UNKNOWN
        span = spans[place]
        if span.last_us >= at_us + PATIENCE_US:
            return RECORDING
        if place + 1 < len(spans) and spans[place + 1].run_id != span.run_id:
            return DOWN
        return UNKNOWN


def spans_of(recordings: Recordings, window: Window, nodes: Iterable[str]) -> Spans:
    """The spans of these nodes that touch the window. Raises OSError."""
    found: dict[str, list[Span]] = {}
    offsets = recordings.offsets
    for node in nodes:
        files = recordings.nodes.get(node)
        offset = offsets.of.get(node)
        known = offset is not None and offset.error_us <= CLOCK_ERROR_MAX_US
        if files is not None and (known or node == offsets.reference):
            found[node] = _node_spans(files, offsets.ahead_us(node), window)
    return Spans(found)


def _node_spans(files: NodeFiles, ahead_us: int, window: Window) -> list[Span]:
    spans: list[Span] = []
    for place, file in enumerate(files.files):
        following = files.files[place + 1 :][:1]
        if following and following[0].head.wall_us - ahead_us < window.since_us:
            continue
        if file.head.base_us + file.head.wall_us - file.head.mono_us - ahead_us > window.until_us:
            continue
        try:
            data = file.path.read_bytes()
        except FileNotFoundError:
            continue  # the node that runs dropped it
        for head, raw in blocks_of(data, Losses()):
            first_us = head.base_us + head.wall_us - head.mono_us - ahead_us
            next_seq = head.first_seq + len(raw) // EVENT_BYTES
            last = spans[-1] if spans else None
            if last is not None and last.run_id == head.run_id and last.next_seq == head.first_seq:
                last.last_us, last.next_seq = head.wall_us - ahead_us, next_seq
            else:
                spans.append(Span(head.run_id, first_us, head.wall_us - ahead_us, next_seq))
    return sorted(spans, key=lambda each: each.first_us)
