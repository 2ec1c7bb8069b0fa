"""What is done to snapshot files beside the loop, one job at a time, in order.

A job holds all that it needs and touches nothing else. Unlike a group commit of the log, a job
may fail and the node goes on: ``error`` says so, and what was being written is removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from paxosd.core.types import Slot
from paxosd.disk import Disk
from paxosd.snapshot_file import SnapshotInfo, SnapshotWriter, snapshot_name


@dataclass(slots=True)
class Job:
    """``run`` is called once, in any thread. It never raises an Exception."""

    error: OSError | None = field(default=None, init=False)

    def run(self) -> None:
        """Do it."""
        try:
            self.work()
        except OSError as problem:
            self.error = problem

    def work(self) -> None:
        """What a subclass does; may raise OSError."""
        raise NotImplementedError


class Helper(Protocol):
    """Runs jobs beside the loop, one at a time; :class:`paxosd.syncer.Syncer` has it."""

    def start(self, job: Job) -> None: ...

    def finished(self) -> list[Job]:
        """The jobs done since the last call."""
        ...


@dataclass(slots=True)
class WriteJob(Job):
    """Append blocks ``(kind, payload)``."""

    writer: SnapshotWriter
    blocks: Sequence[tuple[int, bytes]]

    def work(self) -> None:
        self.writer.write(self.blocks)


@dataclass(slots=True)
class FinishJob(Job):
    """Make the file durable; then remove the snapshots of ``surplus``. ``info``: the result."""

    writer: SnapshotWriter
    disk: Disk
    surplus: Sequence[Slot]
    info: SnapshotInfo | None = None

    def work(self) -> None:
        self.info = self.writer.finish()
        remove(self.disk, self.surplus)


@dataclass(slots=True)
class AbandonJob(Job):
    """Remove what was written."""

    writer: SnapshotWriter

    def work(self) -> None:
        self.writer.abandon()


def remove(disk: Disk, slots: Sequence[Slot]) -> None:
    """Remove the snapshots of these slots. That this is durable does not matter."""
    for slot in slots:
        if disk.exists(snapshot_name(slot)):
            disk.unlink(snapshot_name(slot))
