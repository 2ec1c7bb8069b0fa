"""What stands in the slots: the commands in the write-ahead logs of the data directories given.

A recording has only digests of values. The log of a node has the values themselves, of the slots
above its last snapshot. It is read as it is on the disk, also while the daemon writes it, up to the
first record that is not whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from paxosctl.cli.render import as_cell
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    GRANT,
    KEEPALIVE,
    LEASE_EXPIRED,
    PUT,
    REVOKE,
    TXN,
    Command,
)
from paxosd.core.transactions import ADD
from paxosd.core.types import Ballot
from paxosd.storage.wal_format import (
    ACCEPT,
    DECISION,
    HEADER_BYTES,
    FormatError,
    SegmentHeader,
    check_record,
    decode_header,
    decode_value,
    segment_number,
)
from paxosd.wire import WireError
from paxosd.wire.entry import decode_batch

OP_NAMES: dict[int | str, str] = {
    PUT: "put", DELETE: "delete", DELETE_RANGE: "delete range", CAS_VALUE: "cas",
    CAS_REVISION: "cas", REVOKE: "lease revoked", LEASE_EXPIRED: "lease expired", TXN: "txn",
    GRANT: "lease granted", KEEPALIVE: "lease renewed",
}  # fmt: skip

_WRITES = frozenset((PUT, DELETE, CAS_VALUE, CAS_REVISION, ADD))


@dataclass(frozen=True, slots=True)
class LoggedValue:
    """The value of a slot as one node's log has it, at this ballot."""

    node: str
    slot: int
    ballot: Ballot
    value: bytes


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """One command of a slot. ``stamp_ms``: the leader's wall clock when it proposed."""

    slot: int
    ballot: Ballot
    stamp_ms: int
    session: int
    seq: int
    command: Command
    nodes: tuple[str, ...] = ()

    @property
    def op(self) -> str:
        """What it does."""
        return OP_NAMES.get(self.command[0], f"command {self.command[0]}")

    @property
    def key(self) -> bytes | None:
        """The key, or where a removed range begins; None: it has none."""
        first = self.command[1] if self.command[0] in OP_NAMES and len(self.command) > 1 else None
        return first if isinstance(first, bytes) else None

    @property
    def value(self) -> bytes | None:
        """What it writes; None: nothing."""
        writes = self.command[0] in (PUT, CAS_VALUE, CAS_REVISION)
        place = 2 if self.command[0] == PUT else -1  # behind it may be a lease
        value = self.command[place] if writes else None
        return value if isinstance(value, bytes) else None

    def concerns(self, key: bytes) -> bool:
        """Whether it may change this key."""
        return any(
            start <= key and (not end or key < end) if end is not None else start == key
            for start, end in ranges_of(self.command)
        )


def ranges_of(command: Command) -> Iterator[tuple[bytes, bytes | None]]:
    """What a command may change: ``(key, None)``, or ``(start, end)`` of a range, end b"": no end.
    Of a transaction the operations of both branches."""
    op = command[0]
    if op == TXN:
        for branch in command[2:4]:
            for each in branch:
                yield from ranges_of(each)
    elif op == DELETE_RANGE:
        yield command[1], command[2]
    elif op in _WRITES:
        yield command[1], None


def read_segments(wal: Path, problems: list[str]) -> Iterator[tuple[SegmentHeader, memoryview]]:
    """The segments of a log, in the order of the disk. A sentence is added to ``problems`` for one
    that cannot be read. Raises OSError."""
    found = [(segment_number(path.name), path) for path in wal.iterdir()]
    for _, path in sorted((number, path) for number, path in found if number is not None):
        try:
            data = path.read_bytes()
            header = decode_header(data)
        except FileNotFoundError:
            problems.append(f"{path}: it is gone: the node that runs gave it back")
        except FormatError as error:
            problems.append(f"{path}: {error}")
        else:
            yield header, memoryview(data)


def logged_values(wal: Path, problems: list[str]) -> Iterator[LoggedValue]:
    """The votes and decisions of a log; see :func:`read_segments`."""
    for header, view in read_segments(wal, problems):
        offset = HEADER_BYTES
        while (record := check_record(view, offset, header)) is not None:
            offset = record.end
            if record.kind in (ACCEPT, DECISION):
                slot, ballot, value = decode_value(view, record)
                yield LoggedValue(header.node_id, slot, ballot, bytes(value))


def commands_of(values: Iterable[LoggedValue], holds: bytes | None = None) -> list[LoggedCommand]:
    """The commands of the newest value of each slot, in the order of the slots. ``holds``: only of
    values with these bytes in them, to be quick; a removed range is always looked into."""
    newest: dict[int, LoggedValue] = {}
    nodes: dict[int, set[str]] = {}
    for each in values:
        nodes.setdefault(each.slot, set()).add(each.node)
        before = newest.get(each.slot)
        if before is None or each.ballot >= before.ballot:
            newest[each.slot] = each
    found: list[LoggedCommand] = []
    for slot, each in sorted(newest.items()):
        if not each.value or (holds is not None and not may_hold(each.value, holds)):
            continue
        try:
            batch = decode_batch(each.value)
        except WireError:
            continue
        for entry in batch.entries:
            for place, command in enumerate(entry.commands):
                if isinstance(command, list) and command:
                    found.append(LoggedCommand(
                        slot, each.ballot, batch.stamp_ms, entry.session, entry.first_seq + place,
                        command, tuple(sorted(nodes[slot])),
                    ))  # fmt: skip
    return found


_RANGE = bytes((0x93, DELETE_RANGE))


def may_hold(value: bytes, key: bytes) -> bool:
    """Whether the value of a slot may concern this key, or one that begins with it."""
    return key in value or _RANGE in value


def value_words(value: bytes | None, chars_max: int = 40) -> str:
    """The beginning of a value, for people."""
    if value is None:
        return ""
    text = as_cell(value[: chars_max * 4])
    text = text.replace("\n", "\\n")
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def client_words(name: str) -> str:
    """A client's name, for people: one whose ends are blanks in quotation marks."""
    return name if name == name.strip() else f'"{name}"'
