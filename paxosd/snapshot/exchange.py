"""All work with the snapshots of a node: those it takes, sends and fetches, and the search for
damage in them and in the log.

The replica calls this: with messages of peers, and when a turn is due.
"""

from collections.abc import Callable
from dataclasses import replace

from paxosd.core.flow import Flow
from paxosd.core.messages import (
    PeerMessage,
    SnapshotChunk,
    SnapshotMessage,
    SnapshotOffer,
    SnapshotRequest,
)
from paxosd.core.state.machine import Machine
from paxosd.core.status import SnapshotStatus
from paxosd.core.types import NodeId, Slot
from paxosd.host.log import Log
from paxosd.snapshot.donor import Donor
from paxosd.snapshot.fetch import Fetch, Install, Objection
from paxosd.snapshot.keeper import Snapshots
from paxosd.snapshot.repair import LogRepair
from paxosd.snapshot.scrub import Scrub
from paxosd.storage.disk import CorruptionError
from paxosd.storage.wal_format import segment_number

JOB_MS = 50.0
"""A turn comes at least so often while a job is under way, if nothing wakes the loop before."""
LOOK_MS = 5.0
"""So often an idle exchange looks whether there is something to do: whether the log has grown."""
SNAPSHOT_KINDS: frozenset[type] = frozenset({SnapshotOffer, SnapshotRequest, SnapshotChunk})


class SnapshotExchange:
    """Call :meth:`turn` once a turn of the replica."""

    def __init__(
        self,
        snapshots: Snapshots,
        machine: Machine,
        send: Callable[[NodeId, PeerMessage], bool],
        install: Install,
        log: Log,
        flush: Callable[[], None],
        objection: Objection = lambda slot, total: "",
        flow_to: Callable[[NodeId], Flow | None] = lambda name: None,
    ) -> None:
        """``flush``: have the open group of the log written, though nothing waits for it.
        ``flow_to``: what is on its way to a peer."""
        self.own = snapshots
        self.repair = LogRepair(snapshots, machine, flush, log)
        self.scrub = Scrub(snapshots, self.repair)
        self.donor = Donor(snapshots, send, log, flow_to)
        self.fetch = Fetch(snapshots, machine, send, install, log, objection)
        self._look_due_ms = float("-inf")
        self._scrub_due_ms = float("-inf")
        """When the next turn is due while it is idle; a turn before that changes nothing."""
        self._rests = False
        """Whether nothing was under way at the last turn: looking now and then is enough."""

    def receive(self, sender: NodeId, message: SnapshotMessage) -> None:
        """A peer's message of one of SNAPSHOT_KINDS."""
        self._rests = False
        if isinstance(message, SnapshotOffer):
            self.fetch.receive_offer(sender, message)
        elif isinstance(message, SnapshotChunk):
            self.fetch.receive_chunk(sender, message)
        else:
            self.donor.receive_request(sender, message)

    def offer(self, to: NodeId, first: Slot) -> None:
        """``to`` asked for slots from ``first`` on, which the log does not have any more."""
        self._rests = False
        self.donor.offer(to, first)

    def damaged(self, error: CorruptionError) -> None:
        """A record of the log that was read is damaged."""
        self._rests = False
        number = segment_number(error.segment)
        assert number is not None
        self.repair.bad_segment(number, error.offset, "storage.corrupt", str(error))

    def turn(self, now_ms: float, wall_ms: int) -> None:
        """Do a little of the work that there is."""
        if self._rests and now_ms < self._look_due_ms:
            return
        self.own.turn(now_ms, wall_ms)
        self.scrub.turn(now_ms)
        if self.repair.pending:
            self.repair.turn(now_ms)
        self.donor.turn(now_ms)
        self.fetch.turn(now_ms)
        own = self.own
        busy = own.active or own.jobs.busy or self.donor.active or self.fetch.active
        scrub_due_ms = self.scrub.next_due_ms()
        self._rests = not busy and not self.repair.pending and now_ms < scrub_due_ms
        self._look_due_ms = min(now_ms + LOOK_MS, scrub_due_ms)
        self._scrub_due_ms = scrub_due_ms

    def next_due_ms(self, now_ms: float) -> float:
        """When the next turn is due."""
        if self._rests:
            return self._scrub_due_ms
        due_ms = min(
            self.own.next_due_ms(now_ms),
            self.donor.next_due_ms(),
            self.fetch.next_due_ms(),
            self.scrub.next_due_ms(),
        )
        # A job may end at any time; not every committer can wake the loop for it.
        return min(due_ms, now_ms + JOB_MS) if self.own.jobs.busy else due_ms

    def status(self, wall_ms: int) -> SnapshotStatus:
        """This node's own snapshots, and what goes on with those of peers."""
        return replace(
            self.own.status(wall_ms),
            fetching=self.fetch.stage,
            installed=self.fetch.installed,
            scrub=self.scrub.status(),
        )
