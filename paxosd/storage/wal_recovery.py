"""Reading the log back: what is whole, what a crash tore, what is corrupt.

At most one group is on its way to the disk at any time, and group G+1 is written only once
group G is durable. So whatever a crash does, it harms the last group alone:

    good groups 1..G │ nothing valid, or valid records of group G+1 only  → a torn group: it was
                     │                       never acknowledged; it is cut off (zeroed, synced)
    good groups 1..G │ anything bad, and a valid record of group > G+1    → corruption: group G+1
                     │                       had been durable, perhaps acknowledged; refuse

So is a log that ends before the last group of which ``tail-mark`` has it that it was synced
(``wal_mark.py``): a zeroed or flipped tail looks like a torn group otherwise.

A segment's header and its whole length are durable before the file gets its name, so a bad
header is corruption too, and so are a file shorter than it was made and a number missing in
the sequence. :func:`scan` and :func:`check_tail` modify nothing; :func:`repair` does.

An ACCEPT is a vote of this node, and a promise of its ballot ("Paxos Made Simple", 2.2 and 2.5).
A DECISION is what this node learned (2.3): its slot is chosen, but this node neither voted nor
promised there. Were it taken for a vote, the node would promise more after a start than before
it, and forget that promise at a later start, once the slot is committed.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from paxosd.core.types import NULL_BALLOT, Ballot, Mark, NodeId, Slot
from paxosd.host.progress import Progress, no_progress
from paxosd.storage import wal_mark
from paxosd.storage.disk import CorruptionError, Disk, DiskFile, StorageError
from paxosd.storage.wal_damage import corrupt, corruption, other_version
from paxosd.storage.wal_format import (
    ACCEPT,
    COMMIT,
    DECISION,
    GROUP_END,
    HEADER_BYTES,
    HEARD,
    PROMISE,
    RECORD_OVERHEAD_BYTES,
    RELEASE,
    STATE,
    FormatError,
    OtherVersionError,
    RawRecord,
    Release,
    SegmentHeader,
    check_record,
    decode_commit,
    decode_end,
    decode_header,
    decode_heard,
    decode_promise,
    decode_release,
    decode_state,
    decode_value,
    find_markers,
    record_bytes,
    segment_name,
    segment_number,
)
from paxosd.storage.wal_mark import read_note

OFFSET_BITS = 32
OFFSET_MASK = (1 << OFFSET_BITS) - 1
GAP_SLOTS_MAX = 1 << 24


class SlotIndex:
    """Where each slot's newest record is: ``segment << 32 | offset``, 8 bytes a slot."""

    __slots__ = ("_cells", "first")

    def __init__(self) -> None:
        self._cells = array("Q")
        self.first: Slot = 1
        """Slots below this one are released."""

    @property
    def last(self) -> Slot:
        """The highest slot set; ``first - 1`` if there is none."""
        return self.first + len(self._cells) - 1

    def set(self, slot: Slot, location: int) -> None:
        """Remember a slot's newest location. Raises ValueError for one that is far too high."""
        cells = self._cells
        position = slot - self.first
        ahead = position - len(cells)
        if ahead == 0:
            cells.append(location)
        elif ahead < 0:
            if position >= 0:
                cells[position] = location
        elif ahead > GAP_SLOTS_MAX:
            raise ValueError(f"slot {slot} leaves a gap of {ahead} slots; limit {GAP_SLOTS_MAX}")
        else:
            cells.frombytes(bytes(8 * ahead))
            cells.append(location)

    def get(self, slot: Slot) -> int:
        """The location; 0 if the slot is unknown."""
        position = slot - self.first
        return self._cells[position] if 0 <= position < len(self._cells) else 0

    def release(self, first: Slot) -> None:
        """Forget the slots below ``first``."""
        if first > self.first:
            del self._cells[: first - self.first]
            self.first = first


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the log held when it was opened.

    ``promised``: the highest ballot promised or accepted under. ``commit``: slots up to it are
    chosen, and present unless released; read them with ``Wal.read``. ``accepted``: per slot
    above ``commit``, this node's vote of the highest ballot. ``last_slot``: the highest slot with a
    record. ``truncated_bytes``: what a torn group had left. ``created``: there was no log.
    ``warnings``: oddities for the operator, one sentence each.
    """

    promised: Ballot = NULL_BALLOT
    commit: Slot = 0
    accepted: dict[Slot, tuple[Ballot, bytes]] = field(default_factory=dict)
    first_slot: Slot = 1
    last_slot: Slot = 0
    records: int = 0
    groups: int = 0
    segments: int = 0
    truncated_bytes: int = 0
    created: bool = False
    warnings: tuple[str, ...] = ()
    heard: dict[NodeId, Mark] = field(default_factory=dict)
    """The highest log marks that were heard from peers, as far as that was written down."""


@dataclass(slots=True)
class Segment:
    """One segment file as it was found. ``end`` is the offset behind its last whole group;
    ``top`` its highest slot; ``torn_end`` the offset behind what a torn group left (or end);
    ``bad`` where the first record that is not valid should begin."""

    header: SegmentHeader
    file: DiskFile
    end: int = HEADER_BYTES
    top: Slot = 0
    torn_end: int = HEADER_BYTES
    bad: int = HEADER_BYTES


@dataclass(slots=True)
class Scan:
    """Everything that the log says. ``segments[current]`` is the one to go on writing."""

    segments: list[Segment] = field(default_factory=list)
    current: int = 0
    index: SlotIndex = field(default_factory=SlotIndex)
    promised: Ballot = NULL_BALLOT
    commit: Slot = 0
    ballots: dict[Slot, tuple[Ballot, int]] = field(default_factory=dict)
    """Per slot above commit: this node's vote of the highest ballot, and where its record is."""
    decided: set[Slot] = field(default_factory=set)
    """Slots above commit whose newest record is a decision. A vote that came later may be for
    another value: after a start the acceptor does not know of a decision behind a gap."""
    last_group: int = 0
    last_group_start: int = HEADER_BYTES
    last_group_bytes: bytes = b""
    records: int = 0
    warnings: list[str] = field(default_factory=list)
    heard: dict[NodeId, Mark] = field(default_factory=dict)
    lowest_segment: int = 1
    """Segments from this one on are needed."""
    contiguous: Slot = 0
    """Every slot up to this one is present or released."""

    @property
    def torn_bytes(self) -> int:
        """How many bytes a torn group left behind."""
        return sum(segment.torn_end - segment.end for segment in self.segments)

    def recovered(self, accepted: dict[Slot, tuple[Ballot, bytes]]) -> Recovered:
        """The report for the owner of the log. ``accepted``: the records of ``ballots``, read."""
        return Recovered(
            promised=self.promised,
            commit=self.commit,
            accepted=accepted,
            first_slot=self.index.first,
            last_slot=self.index.last,
            records=self.records,
            groups=self.last_group,
            segments=self.current + 1,
            truncated_bytes=self.torn_bytes,
            created=not self.last_group,
            warnings=tuple(self.warnings),
            heard=dict(self.heard),
        )


def scan(
    disk: Disk,
    cluster_id: str,
    node_id: str,
    progress: Progress = no_progress,
    damaged: Callable[[CorruptionError], object] | None = None,
) -> Scan:
    """Read all segments. ``progress``: how many of them were read. ``damaged``: for who will not
    vote with it: the scan ends with the last whole group before the damage, which this is called
    with. Raises CorruptionError, NewerVersionError, StorageError for another node's log, OSError.

    The files stay open in ``segments``. An empty directory makes an empty scan.
    """
    numbers = sorted(n for name in disk.list() if (n := segment_number(name)) is not None)
    result = Scan()
    try:
        for expected, number in enumerate(numbers, numbers[0] if numbers else 1):
            try:
                if number != expected:
                    corrupt(segment_name(expected), 0, "this segment is missing from the sequence")
                name = segment_name(number)
                file = disk.open(name)
                segment = Segment(_owned_header(file, name, number, cluster_id, node_id), file)
                result.segments.append(segment)
                _Reader(result, segment).read()
            except CorruptionError as damage:
                if damaged is None:
                    raise
                damaged(damage)
                break
            progress(len(result.segments), len(numbers))
        if numbers and numbers[0] > result.lowest_segment:
            name = segment_name(result.lowest_segment)
            corrupt(name, 0, "this segment is missing from the start of the sequence")
    except BaseException:
        close_all(result)
        raise
    return result


def check_tail(disk: Disk, result: Scan) -> None:
    """Compare the end of the log with the note of what was synced. Raises CorruptionError, and
    then the files are closed."""
    try:
        note = read_note(disk)
    except OSError as problem:
        result.warnings.append(f"{wal_mark.NAME} cannot be read: {problem}")
        return
    if note is None or note.group <= result.last_group:
        return
    headers = {segment.header.number: segment.header for segment in result.segments}
    header = headers.get(note.segment)
    if header is not None and header.nonce != note.nonce:
        result.warnings.append(f"{wal_mark.NAME} is of another log: it does not count")
        return
    wal_mark.settle(disk)
    close_all(result)
    name, end = segment_name(note.segment), 0
    for segment in result.segments[: result.current + 1]:
        name, end = segment.header.name, segment.end
    corrupt(
        name,
        end,
        f"the log ends with group {result.last_group} here, but group {note.group} was synced, "
        f"up to offset {note.end} of {segment_name(note.segment)}, as {wal_mark.NAME} has it",
    )


def close_all(result: Scan) -> None:
    """Close the files of a scan."""
    for segment in result.segments:
        segment.file.close()


def repair(disk: Disk, result: Scan) -> None:
    """Cut the torn group off and make sure that the last whole group is durable.

    A process that died between write and fdatasync, or after a failed fdatasync, may have left
    the last group in the page cache only; it is about to be relied upon, so it is written
    again (a mere second fdatasync may report success for pages that never reached the disk).
    One that died between the renaming of a new segment and the sync of the directory may have
    left its name there only; groups are about to go into that file, so the names are synced.
    """
    if result.segments:
        disk.sync_dir()
    for position, segment in enumerate(result.segments):
        dirty = False
        if segment.torn_end > segment.end:
            length = min(segment.torn_end, segment.file.size()) - segment.end
            segment.file.pwritev([bytes(max(length, 0))], segment.end)
            dirty = True
        if position == result.current and result.last_group_bytes:
            segment.file.pwritev([result.last_group_bytes], result.last_group_start)
            dirty = True
        if dirty:
            segment.file.fdatasync()
    result.last_group_bytes = b""


def _owned_header(
    file: DiskFile, name: str, number: int, cluster_id: str, node_id: str
) -> SegmentHeader:
    try:
        header = decode_header(file.pread(HEADER_BYTES, 0))
    except OtherVersionError as problem:
        file.close()
        raise other_version(name, 0, problem) from problem
    except FormatError as problem:
        file.close()
        raise corruption(name, 0, str(problem)) from problem
    if header.number != number:
        file.close()
        corrupt(name, 0, f"its header says that it is segment {header.number}")
    if (header.cluster_id, header.node_id) != (cluster_id, node_id):
        file.close()
        raise StorageError(
            f"{name} belongs to node {header.node_id!r} of cluster {header.cluster_id!r}, not to "
            f"node {node_id!r} of cluster {cluster_id!r}: check node.data_dir in the "
            "configuration",
            segment=name,
        )
    return header


class _Reader:
    """Reads one segment into a scan."""

    def __init__(self, result: Scan, segment: Segment) -> None:
        self.result = result
        self.segment = segment
        self.name = segment.header.name
        size = segment.file.size()
        self.raw = segment.file.pread(size, 0)
        self.data = memoryview(self.raw)
        if size < segment.header.segment_bytes:
            # Its length was durable before it got its name: what is gone may have been synced.
            corrupt(
                self.name,
                size,
                f"the file ends here, but it was made {segment.header.segment_bytes} bytes long, "
                "and no crash shortens it",
            )

    def read(self) -> None:
        bad = self._read_groups()
        self._judge(bad)

    def _read_groups(self) -> int:
        """Take in every whole group in order; the offset of the first record that is not
        valid or not the next in order (the end of the log, in the usual case)."""
        segment, result = self.segment, self.result
        offset = segment.end
        group: list[RawRecord] = []
        while True:
            record = check_record(self.data, offset, segment.header)
            if record is None:
                return offset
            first_ever = not result.last_group and segment is result.segments[0]
            expected = result.last_group + 1
            if first_ever and segment.header.number > 1 and not group:
                expected = record.group  # earlier segments were released with their groups
            elif group:
                expected = group[0].group
            if record.group != expected:
                return offset
            if segment.end == HEADER_BYTES and (record.kind == STATE) is bool(group):
                corrupt(self.name, offset, "the segment does not begin with its state record")
            group.append(record)
            offset = record.end
            if record.kind == GROUP_END:
                self._take(group)
                group = []

    def _take(self, group: list[RawRecord]) -> None:
        """Take in one whole group."""
        segment, result = self.segment, self.result
        start, end = segment.end, group[-1].end
        try:
            if decode_end(self.data, group[-1]) != len(group) - 1:
                corrupt(self.name, group[-1].start, "the group's record count does not match")
            for record in group:
                self._apply(record)
        except OtherVersionError as problem:
            raise other_version(self.name, start, problem) from problem
        except (FormatError, ValueError) as problem:
            raise corruption(self.name, start, str(problem)) from problem
        result.last_group = group[-1].group
        result.current = len(result.segments) - 1
        result.last_group_start = start
        result.last_group_bytes = self.raw[start:end]
        result.records += len(group) - 1
        segment.end = segment.torn_end = end

    def _apply(self, record: RawRecord) -> None:
        result = self.result
        kind = record.kind
        if kind in (ACCEPT, DECISION):
            slot, ballot, _ = decode_value(self.data, record)
            offset = record.start - RECORD_OVERHEAD_BYTES
            location = self.segment.header.number << OFFSET_BITS | offset
            result.index.set(slot, location)
            self.segment.top = max(self.segment.top, slot)
            if slot > result.commit:
                if kind == ACCEPT:
                    result.decided.discard(slot)
                    if ballot >= result.ballots.get(slot, _NONE)[0]:
                        result.ballots[slot] = (ballot, location)
                else:
                    result.decided.add(slot)
                    self._commit(0)
            if kind == ACCEPT and ballot > result.promised:
                result.promised = ballot
        elif kind == COMMIT:
            self._commit(decode_commit(self.data, record))
        elif kind == PROMISE:
            result.promised = max(result.promised, decode_promise(self.data, record))
        elif kind == STATE:
            promised, release = decode_state(self.data, record)
            result.promised = max(result.promised, promised)
            self._release(release)
        elif kind == RELEASE:
            self._release(decode_release(self.data, record))
        elif kind == HEARD:
            name, mark = decode_heard(self.data, record)
            result.heard[name] = mark
        elif kind != GROUP_END:
            raise OtherVersionError(f"record kind {kind} is unknown: a newer version wrote it")

    def _release(self, release: Release) -> None:
        result = self.result
        result.index.release(release.first_slot)
        result.lowest_segment = max(result.lowest_segment, release.lowest_segment)
        result.contiguous = max(result.contiguous, result.index.first - 1)
        self._commit(max(release.commit, result.index.first - 1))

    def _commit(self, hint: Slot) -> None:
        """Slots up to ``hint`` are chosen, and so are those with a decision: the commit index
        goes as far as such slots follow one another and are present."""
        result = self.result
        while result.index.get(result.contiguous + 1):
            result.contiguous += 1
        slot = result.commit + 1
        while slot <= result.contiguous and (slot <= hint or slot in result.decided):
            result.commit = slot
            result.ballots.pop(slot, None)
            result.decided.discard(slot)
            slot += 1

    def _judge(self, bad: int) -> None:
        """Decide what the bytes from ``bad`` on are: nothing, a torn group, or corruption."""
        segment, result = self.segment, self.result
        next_group = result.last_group + 1
        if self._released() and segment.end == HEADER_BYTES:
            # Segments are only released once a later one holds whole groups.
            corrupt(self.name, bad, "the first segment of the log holds no whole group")
        torn_end = bad
        for place in find_markers(self.raw, segment.end, segment.header):
            record = check_record(self.data, place, segment.header)
            if record is not None:
                if record.group > next_group:
                    self._refuse(bad, record.group, place)
                torn_end = max(torn_end, record.end)
            else:
                claimed = place + record_bytes(self.raw[place : place + 32].ljust(32))
                torn_end = max(torn_end, min(claimed, len(self.raw)))
        segment.bad = bad
        segment.torn_end = torn_end
        if torn_end > HEADER_BYTES:
            for earlier in result.segments[:-1]:
                if earlier.torn_end > earlier.end:
                    what = f"a bad record, but {self.name} after it holds records"
                    corrupt(earlier.header.name, earlier.bad, what)

    def _refuse(self, bad: int, group: int, place: int) -> None:
        previous = self.result.segments[-2:-1]
        if bad == HEADER_BYTES == place and previous:
            corrupt(
                previous[0].header.name,
                previous[0].bad,
                f"the log ends with group {self.result.last_group}, but {self.name} goes on "
                f"with group {group}",
            )
        corrupt(self.name, bad, f"a bad record, but a good one of group {group} is at {place}")

    def _released(self) -> bool:
        return self.segment is self.result.segments[0] and self.segment.header.number > 1


_NONE: tuple[Ballot, int] = (NULL_BALLOT, 0)
