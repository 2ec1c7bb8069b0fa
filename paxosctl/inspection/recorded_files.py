"""Recorder files of one node as one sequence of events, read a block at a time.

    files of all sources ──► runs, by the start of each ──► in a run by the number of the event

Only the first block of each file is opened to put the files in order. A file is in memory while it
is read (a sixteenth of the ring, 4 MiB by default). What is given twice is read once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.inspection.events import note_fields
from paxosd.recorder.block import MAGIC, BlockHead, Keep, Losses, blocks_of, events_of
from paxosd.recorder.event import EVENT_BYTES, NOTE, Event

FIRST_BYTES = 256 << 10
"""A block that is written in time has less than this."""
END_US = 1 << 62

GONE = "it is gone: the node that runs dropped its oldest file"


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file, and the head of its first sound block."""

    path: Path
    head: BlockHead


@dataclass(slots=True)
class NodeFiles:
    """The files of one node, in order."""

    node: str
    files: list[RecordedFile] = field(default_factory=list)
    losses: dict[Path, Losses] = field(default_factory=dict)
    """Of each file, as it was read last."""
    gone: set[Path] = field(default_factory=set)
    """Files that the node, which runs, dropped meanwhile: the oldest of its ring."""

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        total = 0
        for each in self.files:
            try:
                total += each.path.stat().st_size
            except FileNotFoundError:
                self.gone.add(each.path)
        return total

    def _content(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            self.gone.add(path)
            return b""

    @property
    def runs(self) -> int:
        """How many starts there is something of."""
        return len({file.head.run_id for file in self.files})

    @property
    def first_us(self) -> int:
        """When the first event was, by this node's wall clock."""
        first = next(self.events(), None)
        return first.wall_us if first is not None else 0

    def events(
        self, since_us: int = 0, until_us: int = END_US, keep: Keep | None = None
    ) -> Iterator[Event]:
        """What was recorded between two times of this node's wall clock. ``keep``: whether a row
        is wanted; notes always are. Raises OSError."""
        last_seq: dict[int, int] = {}
        for place, file in enumerate(self.files):
            following = self.files[place + 1 :][:1]
            if following and following[0].head.wall_us < since_us:
                continue
            losses = self.losses[file.path] = Losses()
            for head, raw in blocks_of(self._content(file.path), losses):
                if head.wall_us < since_us:
                    continue  # all of a block is older than when it was taken
                if head.base_us and head.base_us + head.wall_us - head.mono_us > until_us:
                    return
                after = last_seq.get(head.run_id, 0)
                last_seq[head.run_id] = max(after, head.first_seq + len(raw) // EVENT_BYTES - 1)
                for event in block_events(head, raw, keep):
                    if event.seq > after and since_us <= event.wall_us <= until_us:
                        yield event

    def last_us(self) -> int:
        """When the last block was taken, by this node's wall clock; 0: there is none."""
        for file in reversed(self.files):
            data = self._content(file.path)
            place = len(data)
            while (place := data.rfind(MAGIC, 0, place)) >= 0:
                for head, _ in blocks_of(data[place:], Losses()):
                    return head.wall_us
        return 0


def block_events(head: BlockHead, raw: memoryview, keep: Keep | None) -> Iterator[Event]:
    """The events of a block. A note has the time of its line: it is recorded a turn later."""
    lag_us = head.wall_us - head.mono_us
    for event in events_of(head, raw, keep):
        if event.kind == NOTE:
            mono_ns = note_fields(event.text).get("mono_ns")
            if isinstance(mono_ns, int):
                mono_us = mono_ns // 1000
                yield event._replace(mono_us=mono_us, wall_us=mono_us + lag_us)
                continue
        yield event


def by_node(paths: Iterable[Path], passed_over: list[str]) -> dict[str, NodeFiles]:
    """The files of each node, in order. A sentence is added to ``passed_over`` for a file that has
    no block that can be read. Raises OSError."""
    found: dict[str, list[RecordedFile]] = {}
    for path in dict.fromkeys(each.resolve() for each in paths):
        try:
            head = _first_head(path, passed_over)
        except FileNotFoundError:
            passed_over.append(f"{path}: {GONE}")
            continue
        if head is not None:
            found.setdefault(head.node, []).append(RecordedFile(path, head))
    nodes = {}
    for node in sorted(found):
        begun: dict[int, int] = {}
        for file in found[node]:
            head = file.head
            begun[head.run_id] = min(begun.get(head.run_id, head.wall_us), head.wall_us)
        files = sorted(
            found[node], key=lambda f: (begun[f.head.run_id], f.head.run_id, f.head.first_seq)
        )
        nodes[node] = NodeFiles(node, files)
    return nodes


def _first_head(path: Path, passed_over: list[str]) -> BlockHead | None:
    with open(path, "rb") as file:
        data = file.read(FIRST_BYTES)
        for head, _ in blocks_of(data, Losses()):
            return head
        losses = Losses()
        for head, _ in blocks_of(data + file.read(), losses):
            return head
    why = "all of it is damaged"
    if losses.later:
        why = f"its {losses.later} blocks are of a later version of paxosd; use that one's paxosctl"
    passed_over.append(f"{path}: {why}")
    return None
