"""Recorder files of one node as one sequence of events, read a block at a time.

    files of all sources ──► runs, by the start of each ──► in a run by the number of the event

Only the first block of each file is opened to put the files in order. A file is in memory while it
is read (a sixteenth of the ring, 4 MiB by default). What is given twice is read once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from paxosctl.inspection.events import note_fields
from paxosctl.inspection.steady_clock import SteadyClock, clock_of
from paxosd.recorder.block import MAGIC, BlockHead, Keep, Losses, blocks_of, events_of
from paxosd.recorder.event import EVENT_BYTES, FORM, NOTE, Event

FIRST_BYTES = 256 << 10
"""A block that is written in time has less than this."""
NEAR_BYTES = 64 << 10
"""So near to the first block that is wanted, blocks are read one after the other."""
END_US = 1 << 62

GONE = "it is gone: the node that runs dropped its oldest file"


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file, the head of its first sound block, and how long it was when it was opened. What a
    node that runs records later is not read: else one whose files are read first would seem to
    have ended before those that are read last."""

    path: Path
    head: BlockHead
    size_bytes: int


@dataclass(slots=True)
class NodeFiles:
    """The files of one node, in order."""

    node: str
    files: list[RecordedFile] = field(default_factory=list)
    losses: dict[Path, Losses] = field(default_factory=dict)
    """Of each file, as it was read last."""
    gone: set[Path] = field(default_factory=set)
    """Files that the node, which runs, dropped meanwhile: the oldest of its ring."""
    clock: SteadyClock = field(default_factory=SteadyClock)
    """All times of its events are without the jumps of its wall clock."""
    holes: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """Run and number of the first event behind it → from when until when something is missing
    within a run that was read: blocks that are damaged, of a later version, or never written."""

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        total = 0
        for each in self.files:
            try:
                total += min(each.size_bytes, each.path.stat().st_size)
            except FileNotFoundError:
                self.gone.add(each.path)
        return total

    def _content(self, file: RecordedFile) -> bytes:
        try:
            with open(file.path, "rb") as opened:
                return opened.read(file.size_bytes)
        except FileNotFoundError:
            self.gone.add(file.path)
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
        self, since_us: int = 0, until_us: int = END_US, keep: Keep | None = None, ahead_us: int = 0
    ) -> Iterator[Event]:
        """What was recorded between two times of this node's wall clock. ``keep``: whether a row
        is wanted; notes always are. ``ahead_us``: is taken from the times of the events, for this
        clock is so much ahead. Raises OSError."""
        last_seq: dict[int, int] = {}
        before_us = 0
        for place, file in enumerate(self.files):
            following = self.files[place + 1 :][:1]
            if following and self._steady_us(following[0].head) < since_us:
                continue
            losses = self.losses[file.path] = Losses()
            data = self._content(file)
            data = data[self._offset(data, since_us) :]
            for head, raw in blocks_of(data, losses):
                taken_us = self._steady_us(head)
                if taken_us < since_us:
                    continue  # all of a block is older than when it was taken
                if head.base_us and head.base_us + taken_us - head.mono_us > until_us:
                    return
                after = last_seq.get(head.run_id, 0)
                if after and head.first_seq > after + 1 and raw:
                    # ``base_us`` may be that of many blocks.
                    first_us = head.base_us + FORM.unpack_from(raw)[0]
                    begun_us = first_us + taken_us - head.mono_us
                    self.holes[head.run_id, head.first_seq] = before_us, max(before_us, begun_us)
                before_us = taken_us
                last_seq[head.run_id] = max(after, head.first_seq + len(raw) // EVENT_BYTES - 1)
                least_us, most_us = since_us - ahead_us, until_us - ahead_us
                for event in block_events(head, raw, keep, taken_us - ahead_us):
                    if event.seq > after and least_us <= event.wall_us <= most_us:
                        yield event

    def _offset(self, data: bytes, since_us: int) -> int:
        """Where a block begins before which nothing of this time or later is: found by halving, for
        each run begins a new file, and in a run times only grow. To open a block takes longer than
        to look for it."""
        low, high = 0, len(data) if since_us else 0
        while high - low > NEAR_BYTES:
            middle = (low + high) // 2
            offset = data.find(MAGIC, middle, high)
            losses = Losses()
            first = next(blocks_of(data[offset : offset + FIRST_BYTES], losses), None)
            if offset < 0 or first is None or losses.bytes or self._steady_us(first[0]) >= since_us:
                high = middle  # or damaged there: then it is looked for before that
            else:
                low = offset
        return low

    def _steady_us(self, head: BlockHead) -> int:
        """When a block was taken."""
        return head.wall_us - self.clock.ahead_us(head.boot_count, head.mono_us)

    def last_us(self) -> int:
        """When the last block was taken, by this node's wall clock; 0: there is none."""
        for file in reversed(self.files):
            last = self._last_block(file)
            if last is not None:
                return self._steady_us(last[0])
        return 0

    def count_events(self) -> int:
        """How many events there are, by the numbers of the first and the last of each file: what is
        damaged between them counts as well."""
        total = 0
        for file in self.files:
            last = self._last_block(file)
            if last is not None:
                end_seq = last[0].first_seq + len(last[1]) // EVENT_BYTES
                total += max(0, end_seq - file.head.first_seq)
        return total

    def _last_block(self, file: RecordedFile) -> tuple[BlockHead, memoryview] | None:
        """The last sound one of a file; None: there is none."""
        data = self._content(file)
        place = len(data)
        while (place := data.rfind(MAGIC, 0, place)) >= 0:
            for block in blocks_of(data[place:], Losses()):
                return block
        return None


def block_events(
    head: BlockHead, raw: memoryview, keep: Keep | None, taken_us: int
) -> Iterator[Event]:
    """The events of a block. ``taken_us``: when it was taken, by the clock that is shown. A note
    has the time of its line: it is recorded a turn later."""
    lag_us = taken_us - head.mono_us
    if head.wall_us != taken_us:
        head = replace(head, wall_us=taken_us)
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
            size_bytes = path.stat().st_size
        except FileNotFoundError:
            passed_over.append(f"{path}: {GONE}")
            continue
        if head is not None:
            found.setdefault(head.node, []).append(RecordedFile(path, head, size_bytes))
    nodes = {}
    for node in sorted(found):
        place = {run: at for at, run in enumerate(_runs(found[node]))}
        files = sorted(found[node], key=lambda f: (place[f.head.run_id], f.head.first_seq))
        nodes[node] = NodeFiles(node, files, clock=clock_of([file.path for file in files]))
    return nodes


def _runs(files: Iterable[RecordedFile]) -> list[int]:
    """The runs of a node in their order: by the wall clock, but for the starts in one data
    directory, which are counted, for the clock may have been set back meanwhile."""
    begun: dict[int, int] = {}
    directory: dict[int, int] = {}
    boots: dict[int, int] = {}
    for file in files:
        head = file.head
        begun[head.run_id] = min(begun.get(head.run_id, head.wall_us), head.wall_us)
        directory[head.run_id] = directory.get(head.run_id) or head.directory_id
        boots[head.run_id] = head.boot_count
    runs = sorted(begun, key=lambda run: (begun[run], run))
    for each in set(directory.values()) - {0}:
        places = [at for at, run in enumerate(runs) if directory[run] == each]
        counted = sorted((runs[at] for at in places), key=lambda run: boots[run])
        for at, run in zip(places, counted, strict=True):
            runs[at] = run
    return runs


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
