"""Traces of a simulated run: each life of each member, as the daemon's ``[trace]`` records it.

    DIR/n1/trace/trace-00000001.trc, …

Nothing of the run depends on it: what is drawn, and when, stays the same.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paxosd import __version__
from paxosd.bus.peers import PeerEndpoints
from paxosd.core.options import NodeOptions
from paxosd.core.types import NodeId
from paxosd.replica.ports import ReplicaOptions
from paxosd.snapshot.keeper import SnapshotOptions
from paxosd.storage.disk import Disk
from paxosd.trace.encoding import END, PIECE
from paxosd.trace.memory_disk import pieces_of
from paxosd.trace.packing import DIRECTORY, Packer, file_name
from paxosd.trace.reader import Head
from paxosd.trace.recording import TraceRecorder


class LifeTrace:
    """The trace of one life. ``recorder``: what the node is made with."""

    def __init__(self, head: Head, disks: Mapping[str, Disk]) -> None:
        """``disks``: "home" and "log", as the process finds them."""
        self._packer = Packer()
        self._blocks = bytearray()
        self._add(head.record())
        for where, disk in disks.items():
            for piece in pieces_of(disk):
                self._add((PIECE, where, *piece))
        self.recorder = TraceRecorder(self._add, self._end)

    def _add(self, record: tuple[Any, ...]) -> None:
        self._blocks += self._packer.add(record)

    def _end(self, reason: str, words: str) -> None:
        self.recorder.stopped = True
        self._add((END, reason, words))

    def content(self) -> bytes:
        """The file."""
        self._blocks += self._packer.take()
        return bytes(self._blocks)


class RunTraces:
    """Those of all members."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lives: dict[NodeId, list[LifeTrace]] = {}

    def begin_life(
        self,
        disks: Mapping[str, Disk],
        *,
        segment_bytes: int,
        checksum_slots: int,
        node_options: NodeOptions,
        contacts: Mapping[NodeId, PeerEndpoints],
        replica_options: ReplicaOptions,
        snapshot_options: SnapshotOptions | None,
    ) -> TraceRecorder:
        """A process is about to start."""
        node = node_options.node
        head = Head(
            version=__version__,
            cluster=node_options.cluster,
            node=node,
            place=node,
            created="",
            wall_ms=0,
            segment_bytes=segment_bytes,
            checksum_slots=checksum_slots,
            faults_enabled=True,
            reads_clock=False,
            node_options=node_options,
            contacts=contacts,
            replica_options=replica_options,
            snapshot_options=snapshot_options,
        )
        life = LifeTrace(head, disks)
        self._lives.setdefault(node, []).append(life)
        return life.recorder

    def write(self) -> None:
        """Write everything down, once the run is over. Raises OSError."""
        for node, lives in self._lives.items():
            place = self.directory / node / DIRECTORY
            place.mkdir(parents=True, exist_ok=True)
            for number, life in enumerate(lives, 1):
                (place / file_name(number)).write_bytes(life.content())
