"""A node built again from a trace, and its turns executed again: by the code of the daemon.

start record ──► assemble(), make_replica()  (``paxosd/replica/assembly.py``)
each turn    ──► Replica.turn, with the time and all that came ──► compared as it goes
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.faults.plan import FaultPlan
from paxosd.replica.assembly import Equipment, assemble, make_replica
from paxosd.replica.ports import Ports
from paxosd.replica.replica import Replica
from paxosd.storage.node_directory import NodeDirectory
from paxosd.storage.wal import WalOptions
from paxosd.trace import operations as op
from paxosd.trace.blocks import TraceError
from paxosd.trace.encoding import NODE_FAILED, decode_number
from paxosd.trace.feed import Difference, Feed
from paxosd.trace.memory_disk import MemoryDisk
from paxosd.trace.reader import TraceFile, Turn
from paxosd.trace.surroundings import (
    NoFiles,
    NoProbes,
    ReplayedBus,
    ReplayedCommitter,
    ReplayedDropper,
    ReplayedFileHelper,
    ReplayedHelper,
    ReplayedRandom,
)


class LogLine(NamedTuple):
    """What the node wrote to its log."""

    level: str
    event: str
    fields: dict[str, Any]


class ReplayLog:
    """Keeps the lines of one turn."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []

    def debug(self, event: str, **fields: Any) -> None:
        """Not kept."""

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(LogLine("info", event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append(LogLine("warning", event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append(LogLine("error", event, fields))


class Replay:
    """One run of one node, executed again. ``turns``: how many so far."""

    def __init__(
        self,
        trace: TraceFile,
        *,
        disks: tuple[MemoryDisk, MemoryDisk] | None = None,
        node_kind: type[Node] = Node,
        machine: Machine | None = None,
    ) -> None:
        """Assembles the node. ``disks``: empty ones to use, of the data directory and of its log;
        ``machine``: an empty one to use. Raises Difference; TraceError for a run that ended before
        it had started; or what a start fails with, which it did not in the run."""
        if trace.start is None:
            raise TraceError(
                "the run ended before the node had started: there is nothing to replay"
            )
        self.trace = trace
        self.feed = Feed()
        self.log = ReplayLog()
        self.turns = 0
        self.turn: Turn | None = None
        """The one under way, or the last."""
        self._now_ms = 0.0
        self.home, self.disk = disks or (MemoryDisk(), MemoryDisk())
        self.disk.free = self._free
        self._node_kind, self._machine = node_kind, machine or Machine()
        for where, piece in trace.pieces:
            (self.home if where == "home" else self.disk).add(piece)
        self.feed.begin(trace.start)
        self.replica = self._assemble()
        self.feed.finish()
        self.start_lines, self.log.lines = self.log.lines, []

    def _free(self) -> int:
        if self.feed.live is not None:
            return self.feed.live.free()
        free = self.feed.take(op.FREE)
        if free[1] < 0 and len(free) > 2:
            raise OSError(5, free[2])
        return int(free[1])

    def _assemble(self) -> Replica:
        head = self.trace.head
        equipment = self._equipment(head.segment_bytes, head.checksum_slots)
        parts = assemble(
            NodeDirectory(
                cluster=head.cluster,
                node=head.node,
                home=self.home,
                log_disk=self.disk,
                place=head.place,
                created=head.created,
            ),
            head.node_options,
            head.contacts,
            equipment,
        )
        self.run_id = parts.run_id
        self.bus = ReplayedBus(self.feed, head.node, parts.peer_runs)
        plan = FaultPlan(node=head.node, nodes=[head.node, *head.contacts])
        ports = Ports(
            bus=self.bus,
            committer=ReplayedCommitter(self.feed),
            helper=ReplayedHelper(self.feed),
            log=self.log,
            plan=plan,
            faults_enabled=head.faults_enabled,
            now_ms=lambda: self._now_ms if self.feed.live is None else self.feed.live.now_ms(),
            status=lambda: _status(replica),
            crash=lambda: None,
            probes=NoProbes(),
            files=NoFiles(),
            file_helper=ReplayedFileHelper(self.feed),
            log_level=lambda level, for_ms: {},
            read_now_ms=self._reader(op.NOW) if head.reads_clock else None,
        )
        options = replace(head.replica_options, boot_count=parts.claim.boot_count)
        replica = make_replica(parts, options, head.snapshot_options, ports)
        return replica

    def _equipment(self, segment_bytes: int, checksum_slots: int) -> Equipment:
        feed = self.feed
        machine = self._machine
        machine.checksum_slots = checksum_slots

        def bits(count: int) -> int:
            if feed.live is not None:
                return feed.live.rng.getrandbits(count)
            return int(decode_number(feed.take(op.BITS)[1]))

        def random_bytes(count: int) -> bytes:
            if feed.live is not None:
                return feed.live.rng.randbytes(count)
            return bytes(feed.take(op.BYTES)[1])

        return Equipment(
            log=self.log,
            log_disk=lambda claim: self.disk,
            now_ms=self._reader(op.NOW),
            wall_ms=self._reader(op.WALL),
            rng=ReplayedRandom(feed),
            wal_options=WalOptions(
                segment_bytes=segment_bytes,
                prepare_ahead=False,
                random_bytes=random_bytes,
                clock_ns=lambda: 0,
                dropper=lambda disk, preparer, ahead: ReplayedDropper(disk, preparer, feed),
            ),
            random_bits=bits,
            identity_bits=lambda: bits,
            machine=machine,
            node_kind=self._node_kind,
        )

    def _reader(self, code: int) -> Callable[[], Any]:
        def read() -> Any:
            live = self.feed.live
            if live is not None:
                return live.now_ms() if code == op.NOW else live.wall_ms()
            return self.feed.take(code)[1]

        return read

    # -- the turns

    def step(self, turn: Turn) -> None:
        """Execute the next turn. Raises Difference at the first that is not as in the trace."""
        self.turn = turn
        self.turns += 1
        self.log.lines = []
        feed, replica = self.feed, self.replica
        for code in turn.calls:
            if code == op.HAND_OVER:
                replica.node.hand_over()
        feed.begin(turn.operations)
        self._now_ms = turn.now_ms
        try:
            replica.turn(turn.now_ms, turn.wall_ms)
        except Difference:
            raise
        except Exception as error:  # whatever it is: the node goes another way
            if not turn.fails:
                words = f"fails: {type(error).__name__}: {error}"
                raise Difference(None, words, len(feed.did)) from error
        feed.finish()
        node = replica.node
        for what, was, now in (
            ("applied slot", turn.applied, node.applied),
            ("leads", turn.leading, node.leading),
        ):
            if was != now:
                raise Difference(
                    [0, f"{what} {was}"], f"{what} {now}, after the turn", len(turn.operations)
                )

    @property
    def failed_as_recorded(self) -> bool:
        """Whether the run ended by an error of the node's own."""
        return self.trace.end is not None and self.trace.end[0] == NODE_FAILED


def _status(replica: Replica) -> dict[str, Any]:
    """Asked for by an operator: what it says is of no matter, but to ask is an input."""
    replica.node.status()
    return {}
