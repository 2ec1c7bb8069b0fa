"""Group commit: what the turns append to the log is written and synced together, beside the loop.

    append() ──► start() ──► committer: write, fdatasync ──► collect() ──► node.synced, then the
                                                                           actions that waited

The committer may carry a job out at once, in the turn: then ``start`` collects it, and what was
waiting for the disk leaves in the same turn.

One job runs at a time; what is appended meanwhile is the next group. Nothing that depends on a
record is said before ``node.synced`` reported that record's ticket.
"""

from collections.abc import Callable, Sequence

from paxosd.core.effects import Record
from paxosd.core.node import Node
from paxosd.replica.observer import Observer
from paxosd.replica.ports import Committer
from paxosd.storage.health import StorageWatch
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.wal import Wal

LOG_WAITING_BYTES_MAX = 64 << 20
"""While so much waits for the disk, nothing more is proposed, accepted or learned."""
MARKS_MS = 50.0
"""Log marks of peers are written down at most so often …"""
MARKS_IDLE_MS = 1000.0
"""… and so much later at the latest."""


class GroupCommit:
    """The group commits of one node's log."""

    def __init__(
        self,
        wal: Wal,
        node: Node,
        peer_runs: PeerRuns,
        committer: Committer,
        storage: StorageWatch,
        observer: Observer | None = None,
    ) -> None:
        self._wal = wal
        self._node = node
        self._peer_runs = peer_runs
        self._committer = committer
        self._storage = storage
        self._observer = observer
        self.is_running = False
        """Whether the committer has a job."""
        self.log_is_full = False
        """Whether too much waits for the disk."""
        self._tickets: list[int] = []
        """Of the records that the next job will write …"""
        self._job_tickets: list[int] = []
        """… and of those that the running one writes."""
        self._after_next_job: list[Callable[[], None]] = []
        self._after_job: list[Callable[[], None]] = []
        self._marks_due_ms = 0.0

    def append(self, records: Sequence[Record], ticket: int) -> None:
        """Add records to the open group. The node hears of ``ticket`` once they are durable."""
        self._wal.append(records)
        self._note_log_room()
        self._tickets.append(ticket)

    def when_durable(self, action: Callable[[], None]) -> None:
        """Call this once all that is in the log now is durable."""
        self._after_next_job.append(action)

    def flush(self) -> None:
        """Have what is open in the log written, though nobody waits for it."""
        if not self._after_next_job:
            self._after_next_job.append(lambda: None)

    def start(self, now_ms: float, *, may_block: bool = True) -> bool:
        """Begin a job if there is something to write and none runs. True: it has ended already, so
        the node has new effects. ``may_block``: whether the committer may carry it out at once.

        Log marks of peers ride on what is to be written anyway, at most so often. If nothing is,
        they are written a while later, so that an idle cluster remembers them, too."""
        if self.is_running:
            return False
        flush = False
        peer_runs = self._peer_runs
        if peer_runs.marks_news and now_ms >= self._marks_due_ms and self._node.genesis:
            peer_runs.marks_news = waiting = self._wal.note_heard(peer_runs.marks)
            flush = waiting and now_ms >= self._marks_due_ms + MARKS_IDLE_MS
            if self._tickets or flush:
                self._marks_due_ms = now_ms + MARKS_MS
        if not (self._tickets or self._after_next_job or flush):
            return False
        job = self._wal.begin_sync(flush=flush)
        self._job_tickets, self._tickets = self._tickets, []
        self._after_job, self._after_next_job = self._after_next_job, []
        if job is None:
            self._done()
            return True
        self.is_running = True
        self._note_log_room()
        if not self._committer.start(job, may_block=may_block):
            return False
        self.collect(now_ms)
        return True

    def collect(self, now_ms: float) -> None:
        """Take in the jobs that have ended. Raises the StorageError of one that failed."""
        for job in self._committer.finished():
            self._wal.finish_sync(job)
            self._storage.on_sync(job, now_ms)
            if self._observer is not None:
                self._observer.synced(job, now_ms)
            self.is_running = False
            self._done()

    def finish(self, now_ms: float) -> None:
        """The committer has ended: take in its last job and write what is left, now."""
        if self.is_running:
            self.collect(now_ms)
        job = self._wal.begin_sync(flush=True)
        if job is not None:
            job.run()
            self._wal.finish_sync(job)

    def _done(self) -> None:
        if self._job_tickets:
            self._node.synced(self._job_tickets[-1])
        done, self._after_job = self._after_job, []
        for action in done:
            action()

    def _note_log_room(self) -> None:
        """Compare with the limit; to be called when the waiting bytes have changed."""
        is_full = self._wal.waiting_bytes > LOG_WAITING_BYTES_MAX
        if is_full != self.log_is_full:
            self.log_is_full = self._node.log_full = is_full
