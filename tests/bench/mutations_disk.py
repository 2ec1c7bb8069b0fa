"""Safeguards of the log on the disk: what is synced, what recovery believes."""

from dataclasses import replace
from unittest.mock import patch

from paxosd.core.node import Node
from paxosd.replica import recovery
from paxosd.storage import wal, wal_format, wal_open, wal_recovery, wal_table
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.wal_format import RECORD_OVERHEAD_BYTES, RawRecord
from paxosd.storage.wal_segments import SegmentPreparer, SyncJob
from tests.bench.mutation import around, instead, nothing, row


class _Unsynced:
    """A file or directory whose syncs do nothing."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return nothing if name in ("fdatasync", "sync_dir") else getattr(self.real, name)


class _Uncut:
    """A file that reads as if nothing had been cut off."""

    def __init__(self, file, size_bytes):
        self.file, self.size_bytes = file, size_bytes

    def size(self):
        return max(self.file.size(), self.size_bytes)

    def pread(self, n, offset):
        return self.file.pread(n, offset).ljust(n, b"\0")


def _run_unsynced(real, self):
    if self.file is None:
        self.file = self.preparer.take(self.header)
    with patch.object(self, "file", _Unsynced(self.file)):
        real(self)


def _run_on_failure(real, self):
    try:
        real(self)
    except wal.StorageError:
        if self.file is None:
            raise  # there is not even a segment to go on with
        self.error = None
        self.done = True


def _prepare_unsynced(real, self, header):
    with patch.object(self, "_disk", _Unsynced(self._disk)):
        real(self, header)


def _check_no_crc(data, offset, header):
    start = offset + RECORD_OVERHEAD_BYTES
    if start > len(data):
        return None
    _, marker, length, group, kind = wal_format._FULL_HEAD.unpack_from(data, offset)
    end = start + length
    if marker != header.marker or end > len(data):
        return None
    return RawRecord(kind, group, start, end)


def _read_torn_group(real, self):
    segment = self.segment
    bad = real(self)
    offset = segment.end
    while True:
        record = wal_recovery.check_record(self.data, offset, segment.header)
        if record is None or record.group != self.result.last_group + 1:
            return bad
        if record.kind != wal_format.GROUP_END:
            self._apply(record)
        offset = record.end


def _keep_oldest_ballot(real, self, record):
    ballots = self.result.ballots
    before = dict(ballots)
    real(self, record)
    ballots.update({slot: before[slot] for slot in ballots if slot in before})


def _take_decision_for_vote(real, self, record):
    is_decision = record.kind == wal_format.DECISION
    real(self, record._replace(kind=wal_format.ACCEPT) if is_decision else record)


def _open_or_create(real, disk, **options):
    return real(disk, **(options | {"create": True}))


def _start_without_question(real, self, *args):
    real(self, *args[:-1], replace(args[-1], arriving=False))


def admit_any(self, sender, run_id, *_, **__):
    """Every life of a peer is heard (in place of ``PeerRuns.admit``)."""
    return run_id


def _read_uncut(real, self, result, segment):
    with patch.object(segment, "file", _Uncut(segment.file, segment.header.segment_bytes)):
        real(self, result, segment)


DISK = (
    row("no-fsync", "a group is synced before it counts", around(SyncJob, "run", _run_unsynced),
        seed=2, in_suite=True),
    row("failed-fsync-ignored", "after a failed fsync the node stops",
        around(SyncJob, "run", _run_on_failure), seed=9),
    row("no-directory-sync", "a new segment's name is synced before it is used",
        around(SegmentPreparer, "_prepare", _prepare_unsynced), seed=6),
    row("crc-unchecked", "a record counts only if its checksum is right",
        *(instead(module, "check_record", _check_no_crc)
          for module in (wal_recovery, wal_table)), seed=93),
    row("torn-group-taken", "a group without its end is not taken in",
        around(wal_recovery._Reader, "_read_groups", _read_torn_group), profiles="bad-disks",
        seed=533),
    row("tail-not-synced", "recovery syncs the last group again before it relies on it",
        instead(wal_open, "repair", nothing), where="wal_recovery.repair", profiles="bad-disks",
        seed=14),
    row("newest-record-wins", "of a slot's records that of the highest ballot counts",
        around(wal_recovery._Reader, "_apply", _keep_oldest_ballot), profiles="losses", seed=74),
    row("decision-for-vote", "what a node learned is neither its vote nor its promise",
        around(wal_recovery._Reader, "_apply", _take_decision_for_vote), seed=134, in_suite=True),
    row("empty-log-votes", "a node whose log is gone does not vote",
        around(recovery, "open_wal", _open_or_create), where="open_wal", profiles="lost-logs",
        seed=1, in_suite=True),
    row("newcomer-votes", "a voter without a memory asks whether it ever had one",
        around(Node, "__init__", _start_without_question), instead(PeerRuns, "admit", admit_any),
        where="Admission, Node", profiles="wiped", seed=1),
    row("short-log-taken", "a log file that is shorter than it was made is damage",
        around(wal_recovery._Reader, "__init__", _read_uncut), profiles="cut-tail", seed=1,
        in_suite=True),
    row("tail-mark-ignored", "a log that ends before the last group noted as synced is damage",
        instead(wal_open, "check_tail", nothing), where="wal_recovery.check_tail", profiles="tails",
        seed=2, in_suite=True),
)  # fmt: skip
