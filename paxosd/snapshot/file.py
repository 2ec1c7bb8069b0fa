"""Snapshot files: their bytes, writing one, reading one. The state itself:
``core/state/snapshot.py``.

A file ``snap-%016d.paxsnap``, named after its slot, is, in little-endian:

    magic       "PXSNAP\\r\\n"
    block …     kind u8, length u32, crc32 u32 (of kind, length and payload), payload

    kind        payload, in msgpack
    1 HEAD      [format version, cluster id, wall clock when it was taken in ms, head fields …]
    2 SESSIONS  [session row, …]
    3 ROWS      [key, [value, create, modify, version], key, …], about BLOCK_BYTES
    5 NAMES     [[session, slot at which it ended, client's name], …], of sessions that ended while
                the log had slots that refer to them; from feature level 3 on, before the rows
    4 END       [blake2b-128 of every byte before this block, checksum of the state as 16 hex
                digits; "": not known, and left out by older programs]; nothing comes after it

It is written under the name ``snap-%016d.part``, synced, renamed, and the directory synced: under
its final name a file is whole, or it was damaged later. Nothing of a file is relied upon before
all of it was read and found good; whatever is wrong with it is a :class:`SnapshotError`. It may
come from a peer, so every length is checked before it is believed.

The digest also names the contents: two files with the same one are the same, byte for byte.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from paxosd.core.cluster_settings import LEVEL_COORDINATION, LEVEL_KEYS, ClusterSettings
from paxosd.core.state.former_names import FormerName
from paxosd.core.state.lease_walk import LeaseRow
from paxosd.core.state.machine import DEFAULT_LIMITS, Machine, MachineLimits
from paxosd.core.state.session_walk import SessionRow
from paxosd.core.state.snapshot import Restore, former_of, lease_of, session_of
from paxosd.core.state.snapshot_head import Members, SnapshotError, SnapshotHead
from paxosd.core.state.undo_pieces import Piece
from paxosd.core.types import Slot
from paxosd.host.progress import Progress, no_progress
from paxosd.storage.disk import Disk, DiskFile
from paxosd.wire.fields import DIGEST_BYTES, WireError, pack, unpack

MAGIC = b"PXSNAP\r\n"
VERSION = 5
"""The newest; written once the cluster's feature level is 5. Below it, for peers of before …"""
VERSION_LEVEL_4 = 4
"""… this one is, which has no rights table; below level 4 …"""
VERSION_LEVEL_1 = 3
"""… this one, which has no leases; and at level 0 …"""
VERSION_LEVEL_0 = 2
"""… this one, which has neither settings nor a reign. (1 has no membership either.)"""
BLOCK_BYTES = 128 << 10
"""A block of rows is closed once keys and values come to this."""
BLOCK_BYTES_MAX = 160 << 20
"""No block is larger: one row of the largest key and value, and a little."""
SYNC_BYTES = 8 << 20
"""A file is synced each time it has grown by this: one sync of it all would hold up those of
the log."""

HEAD, SESSIONS, ROWS, END, NAMES, LEASES, HISTORY = 1, 2, 3, 4, 5, 6, 8

BAD_KEPT = 2
"""Bad snapshots that are kept for inspection."""

_BAD = ".bad"
_BLOCK = Struct("<BII")
_BLOCK_START = Struct("<BI")
_TOTAL = re.compile(r"([0-9a-f]{16})?")
_NAME = re.compile(r"snap-(\d{16,})\.paxsnap")
_MEMBERS_MAX = 1024
_TEXT_BYTES_MAX = 1024
_HEAD_FIELDS = len(SnapshotHead._fields)
_FIELDS_OF = {
    1: SnapshotHead._fields.index("membership"),
    VERSION_LEVEL_0: SnapshotHead._fields.index("settings"),
    VERSION_LEVEL_1: SnapshotHead._fields.index("next_lease"),
    VERSION_LEVEL_4: SnapshotHead._fields.index("rights"),
    VERSION: _HEAD_FIELDS,
}


def snapshot_name(slot: Slot) -> str:
    """The file name of the snapshot at a slot."""
    return f"snap-{slot:016d}.paxsnap"


def part_name(slot: Slot) -> str:
    """Its name while it is being written."""
    return f"snap-{slot:016d}.part"


def snapshot_slot(name: str) -> Slot | None:
    """The slot in a snapshot's file name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def set_aside(disk: Disk, slot: Slot) -> None:
    """Rename a bad snapshot durably, for inspection; of those before it the last is kept."""
    name = snapshot_name(slot)
    bad = sorted(n for n in disk.list() if snapshot_slot(n.removesuffix(_BAD)) and n.endswith(_BAD))
    for old in bad[: -(BAD_KEPT - 1)]:
        disk.unlink(old)
    disk.rename(name, name + _BAD)
    disk.sync_dir()


def is_part(name: str) -> bool:
    """Whether the file is a snapshot that was never finished."""
    return name.startswith("snap-") and name.endswith(".part")


class OtherVersionError(SnapshotError):
    """A sound file of another version of this program: nothing is damaged."""


class SnapshotInfo(NamedTuple):
    """What is known of a whole snapshot file."""

    slot: Slot
    size_bytes: int
    digest: bytes
    created_ms: int
    total: str = ""
    """The checksum of the state in it, as the node that took it knew it; "": not known."""


# ---- writing


def encode_head(cluster: str, created_ms: int, head: SnapshotHead) -> bytes:
    """The payload of HEAD."""
    members = {name: dict(endpoints) for name, endpoints in head.members.items()}
    version = VERSION_LEVEL_0
    if head.settings:
        level = ClusterSettings.from_json(head.settings).level
        version = VERSION_LEVEL_4 if level >= LEVEL_COORDINATION else VERSION_LEVEL_1
        version = VERSION if level >= LEVEL_KEYS else version
    fields = head._replace(members=members)[: _FIELDS_OF[version]]
    return pack((version, cluster, created_ms, *fields))


def encode_sessions(rows: Sequence[SessionRow]) -> bytes:
    """The payload of SESSIONS."""
    return pack(tuple(_session_fields(row) for row in rows))


def _session_fields(row: SessionRow) -> tuple[Any, ...]:
    """Below the levels at which there are such, as earlier programs have them."""
    if row.key:
        return row
    if row.name:
        return row[:-1]
    return row[:-2] if row.opened_by else row[:-3]


def encode_names(rows: Sequence[FormerName]) -> bytes:
    """The payload of NAMES."""
    return pack(tuple(rows))


def encode_leases(rows: Sequence[LeaseRow]) -> bytes:
    """The payload of LEASES. An owner is left out where there is none, as earlier programs have
    it."""
    return pack(tuple(row if row.owner else row[:-1] for row in rows))


def encode_history(piece: Piece) -> bytes:
    """The payload of HISTORY."""
    return pack(piece)


def encode_rows(rows: list[Any]) -> bytes:
    """The payload of ROWS."""
    packed: bytes = pack(rows)  # type: ignore[arg-type]  # a list is packed like a tuple
    return packed


class SnapshotWriter:
    """Writes one file. Every method but the constructor does I/O and raises OSError; after that
    only :meth:`abandon` may be called. Any thread may call, one at a time."""

    def __init__(self, disk: Disk, slot: Slot, created_ms: int) -> None:
        self._disk = disk
        self._slot = slot
        self._created_ms = created_ms
        self._file: DiskFile | None = None
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._unsynced_bytes = 0
        self.bytes = 0
        """Written so far."""

    def write(self, blocks: Sequence[tuple[int, bytes]]) -> None:
        """Append blocks ``(kind, payload)``."""
        buffers: list[bytes] = [] if self._file is not None else [MAGIC]
        for kind, payload in blocks:
            buffers += (_block_head(kind, payload), payload)
        for buffer in buffers:
            self._digest.update(buffer)
        self._append(buffers)

    def _append(self, buffers: list[bytes]) -> None:
        if self._file is None:
            name = part_name(self._slot)
            if self._disk.exists(name):
                self._disk.unlink(name)  # of an attempt that did not get far
            self._file = self._disk.open(name, create=True)
        self._file.pwritev(buffers, self.bytes)
        size = sum(map(len, buffers))
        self.bytes += size
        self._unsynced_bytes += size
        if self._unsynced_bytes >= SYNC_BYTES:
            self._file.fdatasync()
            self._unsynced_bytes = 0

    def finish(self, total: str = "") -> SnapshotInfo:
        """Write the END and make the file durable under its name."""
        digest = self._digest.digest()
        payload = pack((digest, total) if total else (digest,))
        self._append([_block_head(END, payload), payload])
        assert self._file is not None
        self._file.fdatasync()
        self._file.close()
        self._disk.rename(part_name(self._slot), snapshot_name(self._slot))
        self._disk.sync_dir()
        return SnapshotInfo(self._slot, self.bytes, digest, self._created_ms, total)

    def abandon(self) -> None:
        """Remove what was written; errors are of no interest."""
        if self._file is not None:
            self._file.close()
        name = part_name(self._slot)
        with suppress(OSError):
            if self._disk.exists(name):
                self._disk.unlink(name)


def _block_head(kind: int, payload: bytes) -> bytes:
    crc = crc32(payload, crc32(_BLOCK_START.pack(kind, len(payload))))
    return _BLOCK.pack(kind, len(payload), crc)


# ---- reading


class SnapshotReader:
    """Reads a file block by block, in order; what it returned counts only once :attr:`ended`.

    Raises SnapshotError for what is wrong with the file, OSError for what is with the disk.
    """

    def __init__(self, file: DiskFile, cluster: str = "") -> None:
        """Reads the head. ``cluster``: whose snapshot it must be; "": any one's."""
        self._file = file
        self._size = file.size()
        self._offset = 0
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self.info: SnapshotInfo | None = None
        if self._read(len(MAGIC)) != MAGIC:
            raise SnapshotError("it does not begin as a snapshot does")
        self._digest.update(MAGIC)
        kind, payload = self._block()
        if kind != HEAD:
            raise SnapshotError("its first block is not the head")
        self.cluster, self.created_ms, self.head = _decode_head(payload)
        if cluster and self.cluster != cluster:
            raise SnapshotError(f"it is of cluster {self.cluster!r}, not of {cluster!r}")

    @property
    def ended(self) -> bool:
        """Whether all was read, and found good as far as bytes go."""
        return self.info is not None

    @property
    def read_bytes(self) -> tuple[int, int]:
        """How many bytes were read, and how many there are."""
        return self._offset, self._size

    def read(self) -> tuple[int, bytes] | None:
        """The next block ``(kind, payload)`` of sessions, names, leases, history or rows; None at
        the end."""
        if self.ended:
            return None
        digest = self._digest.digest()
        kind, payload = self._block()
        if kind in (SESSIONS, NAMES, LEASES, HISTORY, ROWS):
            return kind, payload
        if kind != END:
            raise SnapshotError(f"a block of kind {kind} is not known: written by a newer version?")
        ending = _unpack(payload)
        if type(ending) is not tuple or ending[:1] != (digest,):
            raise SnapshotError("the digest of the whole does not match")
        total = ending[1] if len(ending) > 1 else ""
        if type(total) is not str or len(ending) > 2 or not _TOTAL.fullmatch(total):
            raise SnapshotError("its end holds no checksum of the state")
        if self._offset != self._size:
            raise SnapshotError(f"there are {self._size - self._offset} bytes after its end")
        self.info = SnapshotInfo(self.head.slot, self._size, digest, self.created_ms, total)
        return None

    def _block(self) -> tuple[int, bytes]:
        start = self._offset
        head = self._read(_BLOCK.size)
        kind, length, crc = _BLOCK.unpack(head)
        if length > min(BLOCK_BYTES_MAX, self._size - self._offset):
            raise SnapshotError(f"at offset {start}: a block runs past the end")
        payload = self._read(length)
        if crc32(payload, crc32(_BLOCK_START.pack(kind, length))) != crc:
            raise SnapshotError(f"at offset {start}: the checksum of a block does not match")
        self._digest.update(head)
        self._digest.update(payload)
        return kind, payload

    def _read(self, count: int) -> bytes:
        data = self._file.pread(count, self._offset)
        if len(data) != count:
            raise SnapshotError(f"it ends at offset {self._size}, in the middle of something")
        self._offset += count
        return data


def restore_block(restore: Restore, block: tuple[int, bytes]) -> None:
    """Give one block that was read to a restore. Raises SnapshotError."""
    kind, payload = block
    items = _unpack(payload)
    if type(items) is not tuple:
        raise SnapshotError("a block holds no array")
    if kind == SESSIONS:
        restore.sessions([session_of(fields) for fields in items])
    elif kind == NAMES:
        restore.names([former_of(fields) for fields in items])
    elif kind == LEASES:
        restore.leases([lease_of(fields) for fields in items])
    elif kind == HISTORY:
        restore.history(items)
    else:
        restore.rows(items)


def load(
    file: DiskFile,
    cluster: str = "",
    limits: MachineLimits = DEFAULT_LIMITS,
    progress: Progress = no_progress,
) -> tuple[Machine, SnapshotReader]:
    """The machine in a file, all of which was checked. ``progress``: how many bytes were read.
    Raises SnapshotError, OSError."""
    reader = SnapshotReader(file, cluster)
    restore = Restore(reader.head, limits)
    while (block := reader.read()) is not None:
        restore_block(restore, block)
        progress(*reader.read_bytes)
    return finish_restore(restore, reader), reader


def finish_restore(restore: Restore, reader: SnapshotReader) -> Machine:
    """All of it was read and given: the machine, if it is what was summed up. Raises
    SnapshotError."""
    assert reader.info is not None
    return restore.finish(reader.info.total)


def _decode_head(payload: bytes) -> tuple[str, int, SnapshotHead]:
    fields = _unpack(payload, map_max=_MEMBERS_MAX)
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise SnapshotError("the head is not what this program writes")
    if fields[0] not in _FIELDS_OF:
        words = f"its format version is {fields[0]}; this program knows 1 to {VERSION}"
        raise OtherVersionError(words)
    if len(fields) != 3 + _FIELDS_OF[fields[0]]:
        raise SnapshotError("the head has the wrong number of fields")
    _, cluster, created_ms, *rest = fields
    if type(cluster) is not str or type(created_ms) is not int or created_ms < 0:
        raise SnapshotError("the head's cluster or time is none")
    head = SnapshotHead(*rest)
    _check_members(head.members)
    return cluster, created_ms, head


def _check_members(members: Members) -> None:
    if type(members) is not dict:
        raise SnapshotError("the head's members are none")
    for name, endpoints in members.items():
        if type(name) is not str or type(endpoints) is not dict:
            raise SnapshotError("the head's members are none")
        for kind, endpoint in endpoints.items():
            if type(kind) is not str or type(endpoint) is not str:
                raise SnapshotError(f"the endpoints of member {name!r} are none")


def _unpack(payload: bytes, map_max: int = 0) -> Any:
    try:
        return unpack(payload, map_max=map_max, text_bytes_max=_TEXT_BYTES_MAX)
    except WireError as error:
        raise SnapshotError(error.detail) from None
