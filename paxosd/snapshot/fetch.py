"""Brings a node that lags too far behind up to date with a peer's snapshot.

    FETCH    pieces by offset, one request at a time; written beside the loop
    CHECK    read back: every checksum, the digest, every row, into a machine of its own
    KEEP     synced, renamed: durable
    INSTALL  the log says that it begins above the snapshot, durably; then node and machine jump

Nothing of it is used before all of it was found good, and the node goes on voting meanwhile: all
of this is done in small steps. After a crash in any stage the node is either where it was (what
was gathered is thrown away) or has the snapshot, which recovery then installs.

A donor that is silent for SILENT_MS counts as dead: the next offer is taken. One of the same
contents is resumed where the last one ended, any other begins anew. So does one that no longer
has what it offered, for a newer one has taken its place.

A sound snapshot of a later format ends the node (NewerVersionError): the format is that of the
cluster's feature level, and no other donor would have one that this program can read.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from paxosd.core.messages import PeerMessage, SnapshotChunk, SnapshotOffer, SnapshotRequest
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import Restore
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.types import NodeId, Slot
from paxosd.host.log import Log
from paxosd.snapshot.file import OtherVersionError, SnapshotInfo, SnapshotReader, restore_block
from paxosd.snapshot.jobs import FetchedFile, Job, no_matter
from paxosd.snapshot.keeper import Snapshots
from paxosd.storage.disk import NewerVersionError

ASK_AGAIN_MS = 1000.0
SILENT_MS = 5000.0
AVOID_MS = 60_000.0
"""A donor whose snapshot was bad is not asked for it again for this long."""
RETRY_MS = 10_000.0
"""The pause after a failure of this node's own disk."""
WRITE_BYTES = 1 << 20
UNWRITTEN_BYTES_MAX = 4 << 20
READ_BYTES = 1 << 20
FREE_SHARE = 2
"""The disk must have room for the snapshot this many times over."""

Install = Callable[[Slot, Machine, Callable[[bool], None]], None]
"""``install(slot, machine, done)``: make the node go on from there; then ``done(whether it was
behind still)``."""


class Stage(Enum):
    FETCH = "fetching"
    CHECK = "checking"
    KEEP = "keeping"
    INSTALL = "installing"


Objection = Callable[[Slot, str], str]
"""``objection(slot, checksum)``: why that state must not be taken over; "" if it may."""


@dataclass(slots=True)
class _IncomingSnapshot:
    """A snapshot on its way. ``offset``: so much has arrived; ``pieces``: is not written yet."""

    donor: NodeId
    offer: SnapshotOffer
    file: FetchedFile
    started_ms: float
    heard_ms: float
    asked_ms: float = 0.0
    stage: Stage = Stage.FETCH
    offset: int = 0
    pieces: list[bytes] = field(default_factory=list)
    unwritten_bytes: int = 0
    writing: bool = False
    reader: SnapshotReader | None = None
    restore: Restore | None = None
    blocks: deque[tuple[int, bytes]] = field(default_factory=deque)
    reading: bool = False
    read: bool = False
    """Every block was read."""
    machine: Machine | None = None


class Fetch:
    """The receiving side of one node. Call :meth:`turn` once a turn."""

    def __init__(
        self,
        snapshots: Snapshots,
        machine: Machine,
        send: Callable[[NodeId, PeerMessage], bool],
        install: Install,
        log: Log,
        objection: Objection,
    ) -> None:
        self.installed = 0
        self._objection = objection
        self._snapshots = snapshots
        self._jobs = snapshots.jobs
        self._machine = machine
        self._disk = snapshots.disk
        self._send = send
        self._install = install
        self._log = log
        self._coming: _IncomingSnapshot | None = None
        self._avoid: dict[tuple[NodeId, bytes], float] = {}
        self._not_before_ms = 0.0
        self._now_ms = 0.0

    @property
    def stage(self) -> str:
        """The stage of the fetch; "" if there is none."""
        return self._coming.stage.value if self._coming is not None else ""

    # -- messages

    def receive_offer(self, sender: NodeId, offer: SnapshotOffer) -> None:
        """A peer has given back the log that this node asked for."""
        coming = self._coming
        if offer.slot <= self._machine.applied or self._now_ms < self._not_before_ms:
            return
        if self._avoid.get((sender, offer.digest), 0.0) > self._now_ms:
            return
        if coming is None:
            self._begin(sender, offer)
        elif coming.stage is Stage.FETCH:
            silent = self._now_ms - coming.heard_ms >= SILENT_MS
            if coming.offer == offer:
                if silent and coming.donor != sender:
                    coming.donor = sender
                    coming.heard_ms = self._now_ms
                    self._ask(coming)
            elif silent:
                self._drop(coming)
                self._begin(sender, offer)

    def _begin(self, donor: NodeId, offer: SnapshotOffer) -> None:
        try:
            free_bytes = self._disk.free_bytes()
        except OSError as error:
            self._fail(str(error), offer.slot)
            return
        if offer.size_bytes * FREE_SHARE > free_bytes:
            self._fail(f"{free_bytes} bytes are free, and it has {offer.size_bytes}", offer.slot)
            return
        file = FetchedFile(self._disk)
        self._coming = coming = _IncomingSnapshot(donor, offer, file, self._now_ms, self._now_ms)
        self._ask(coming)

    def _ask(self, coming: _IncomingSnapshot) -> None:
        coming.asked_ms = self._now_ms
        offer = coming.offer
        self._send(coming.donor, SnapshotRequest(offer.slot, coming.offset, offer.digest))

    def receive_chunk(self, sender: NodeId, chunk: SnapshotChunk) -> None:
        """The piece that was asked for, or one of long ago."""
        coming = self._coming
        if coming is None or coming.stage is not Stage.FETCH or sender != coming.donor:
            return
        offer = coming.offer
        if (chunk.slot, chunk.digest, chunk.offset) != (offer.slot, offer.digest, coming.offset):
            return
        if coming.offset == offer.size_bytes:
            return
        if not chunk.data:
            self._drop(coming)  # the donor offers another when it is asked for the log again
            return
        coming.heard_ms = self._now_ms
        coming.offset += len(chunk.data)
        coming.pieces.append(chunk.data)
        coming.unwritten_bytes += len(chunk.data)
        if coming.offset > offer.size_bytes:
            self._bad(coming, "it is longer than it was said to be")
            return
        if self._wanting(coming):
            self._ask(coming)
        self._write(coming)

    # -- the turn

    @property
    def active(self) -> bool:
        """Whether a snapshot is coming."""
        return self._coming is not None

    def turn(self, now_ms: float) -> None:
        """Go on by a step."""
        self._now_ms = now_ms
        coming = self._coming
        if coming is None:
            return
        if coming.stage is not Stage.INSTALL and self._machine.applied >= coming.offer.slot:
            if coming.stage is not Stage.KEEP:
                self._drop(coming)  # the log was enough after all
            return
        if coming.stage is Stage.FETCH:
            self._write(coming)
            if self._wanting(coming) and now_ms - coming.asked_ms >= ASK_AGAIN_MS:
                self._ask(coming)
        elif coming.stage is Stage.CHECK:
            self._check(coming)

    def next_due_ms(self) -> float:
        """When :meth:`turn` has something to do that no message announces."""
        coming = self._coming
        if coming is None:
            return float("inf")
        if coming.stage is Stage.CHECK and coming.restore is not None and not coming.reading:
            return self._now_ms
        return coming.asked_ms + ASK_AGAIN_MS if self._wanting(coming) else float("inf")

    @staticmethod
    def _wanting(coming: _IncomingSnapshot) -> bool:
        """Whether the next piece may be asked for."""
        return (
            coming.stage is Stage.FETCH
            and coming.offset < coming.offer.size_bytes
            and coming.unwritten_bytes < UNWRITTEN_BYTES_MAX
        )

    # -- FETCH

    def _write(self, coming: _IncomingSnapshot) -> None:
        done = coming.offset == coming.offer.size_bytes
        if coming.writing:
            return
        if coming.pieces and (done or coming.unwritten_bytes >= WRITE_BYTES):
            pieces, coming.pieces = coming.pieces, []
            count = sum(map(len, pieces))
            offset = coming.offset - count
            coming.writing = True
            self._run(
                coming,
                lambda: coming.file.write(offset, pieces),
                lambda job: self._wrote(coming, count),
            )
        elif done:
            coming.stage = Stage.CHECK
            coming.reading = True
            cluster = self._snapshots.options.cluster
            self._run(
                coming,
                lambda: coming.file.read_head(cluster),
                lambda job: self._on_head(coming, job.result),
            )

    def _wrote(self, coming: _IncomingSnapshot, count: int) -> None:
        coming.writing = False
        held_back = coming.unwritten_bytes >= UNWRITTEN_BYTES_MAX
        coming.unwritten_bytes -= count
        if held_back and self._wanting(coming):
            self._ask(coming)
        self._write(coming)

    # -- CHECK

    def _on_head(self, coming: _IncomingSnapshot, reader: SnapshotReader) -> None:
        coming.reading = False
        coming.reader = reader
        if reader.head.slot != coming.offer.slot:
            self._bad(coming, f"it is of slot {reader.head.slot}")
            return
        try:
            coming.restore = Restore(reader.head, self._machine.limits)
        except SnapshotError as error:
            self._bad(coming, str(error))

    def _check(self, coming: _IncomingSnapshot) -> None:
        restore = coming.restore
        if coming.reading or restore is None:
            return
        try:
            if coming.blocks:
                restore_block(restore, coming.blocks.popleft())
            elif coming.read:
                if restore.sum_up():
                    self._checked(coming, restore)
                return
        except SnapshotError as error:
            self._bad(coming, str(error))
            return
        if not coming.blocks and not coming.read:
            coming.reading = True
            self._run(
                coming,
                lambda: coming.file.read_blocks(READ_BYTES),
                lambda job: self._on_blocks(coming, job.result),
            )

    def _on_blocks(self, coming: _IncomingSnapshot, blocks: list[tuple[int, bytes]]) -> None:
        coming.reading = False
        coming.blocks.extend(blocks)
        coming.read = not blocks

    def _checked(self, coming: _IncomingSnapshot, restore: Restore) -> None:
        offer = coming.offer
        info = coming.reader.info if coming.reader is not None else None
        if info is None or info.digest != offer.digest:
            raise SnapshotError("it is not the one that was offered")
        coming.machine = restore.finish(info.total)
        objection = self._objection(info.slot, info.total) if info.total else ""
        if objection:
            raise SnapshotError(objection)
        coming.stage = Stage.KEEP
        self._run(
            coming, lambda: coming.file.keep(offer.slot), lambda job: self._kept(coming, info)
        )

    # -- KEEP and INSTALL

    def _kept(self, coming: _IncomingSnapshot, info: SnapshotInfo) -> None:
        coming.stage = Stage.INSTALL
        machine = coming.machine
        assert machine is not None
        self._install(info.slot, machine, lambda behind: self._on_installed(coming, info, behind))

    def _on_installed(self, coming: _IncomingSnapshot, info: SnapshotInfo, behind: bool) -> None:
        self._coming = None
        self._snapshots.adopt(info)
        if not behind:
            return
        # One that was being taken walks the old rows, which now go away.
        self._snapshots.abort()
        self.installed += 1
        self._log.info(
            "snapshot.installed",
            slot=info.slot,
            bytes=info.size_bytes,
            dur_ms=round(self._now_ms - coming.started_ms, 1),
            **{"from": coming.donor},
        )

    # -- failures

    def _run(
        self, coming: _IncomingSnapshot, work: Callable[[], Any], done: Callable[[Job], None]
    ) -> None:
        """A job for this one: ``done`` is called if it succeeds and is still wanted."""

        def ended(job: Job) -> None:
            if self._coming is not coming:
                return
            if isinstance(job.error, OtherVersionError):
                raise NewerVersionError(
                    f"the snapshot of slot {coming.offer.slot} that {coming.donor} sent: "
                    f"{job.error}. The cluster's feature level is above what this program knows: "
                    "start a newer paxosd"
                )
            if isinstance(job.error, SnapshotError):
                self._bad(coming, str(job.error))
            elif job.error is not None:
                self._drop(coming)
                self._fail(str(job.error), coming.offer.slot)
            else:
                done(job)

        self._jobs.run(work, ended)

    def _bad(self, coming: _IncomingSnapshot, reason: str) -> None:
        self._avoid = {key: at for key, at in self._avoid.items() if at > self._now_ms}
        self._avoid[coming.donor, coming.offer.digest] = self._now_ms + AVOID_MS
        self._log.error("snapshot.bad", slot=coming.offer.slot, reason=reason,
                        **{"from": coming.donor})  # fmt: skip
        self._drop(coming)

    def _fail(self, reason: str, slot: Slot) -> None:
        self._not_before_ms = self._now_ms + RETRY_MS
        self._log.warning("snapshot.failed", slot=slot, reason=reason)

    def _drop(self, coming: _IncomingSnapshot) -> None:
        self._coming = None
        self._jobs.run(coming.file.drop, no_matter)
