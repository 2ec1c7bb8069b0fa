"""Safeguards of the log on the disk: what is synced, what recovery believes."""

from paxosd.core.node import Node
from paxosd.storage import wal, wal_format, wal_recovery
from paxosd.storage.peer_lives import PeerLives
from paxosd.storage.wal_format import RECORD_OVERHEAD_BYTES, RawRecord
from paxosd.storage.wal_segments import SegmentPreparer, SyncJob
from tests.bench.mutation import Patches, mutation, nothing


@mutation("no-fsync", "a group is synced before it counts", "SyncJob.run")
def _no_fsync(p: Patches) -> None:
    def make(original):
        def run(self):
            class Unsynced:
                """The same file, whose syncs do nothing."""

                def __init__(self, file):
                    self.file = file

                def __getattr__(self, name):
                    return getattr(self.file, name)

                def fdatasync(self):
                    return None

            if self.file is None:
                self.file = self.preparer.take(self.header)
            real, self.file = self.file, Unsynced(self.file)
            try:
                original(self)
            finally:
                self.file = real

        return run

    p.replace(SyncJob, "run", make)


@mutation("failed-fsync-ignored", "after a failed fsync the node stops", "SyncJob.run")
def _failed_fsync_ignored(p: Patches) -> None:
    def make(original):
        def run(self):
            try:
                original(self)
            except wal.StorageError:
                if self.file is None:
                    raise  # there is not even a segment to go on with
                self.error = None
                self.done = True

        return run

    p.replace(SyncJob, "run", make)


@mutation("no-directory-sync", "a new segment's name is synced before it is used",
          "SegmentPreparer._prepare")  # fmt: skip
def _no_directory_sync(p: Patches) -> None:
    def make(original):
        def prepare(self, header):
            class Unsynced:
                def __init__(self, disk):
                    self.disk = disk

                def __getattr__(self, name):
                    return getattr(self.disk, name)

                def sync_dir(self):
                    return None

            real, self._disk = self._disk, Unsynced(self._disk)
            try:
                original(self, header)
            finally:
                self._disk = real

        return prepare

    p.replace(SegmentPreparer, "_prepare", make)


@mutation("crc-unchecked", "a record counts only if its checksum is right",
          "wal_format.check_record")  # fmt: skip
def _crc_unchecked(p: Patches) -> None:
    def make(_):
        def check_record(data, offset, header):
            start = offset + RECORD_OVERHEAD_BYTES
            if start > len(data):
                return None
            _, marker, length, group, kind = wal_format._FULL_HEAD.unpack_from(data, offset)
            end = start + length
            if marker != header.marker or end > len(data):
                return None
            return RawRecord(kind, group, start, end)

        return check_record

    for module in (wal_format, wal_recovery, wal):
        p.replace(module, "check_record", make)


@mutation(
    "torn-group-taken",
    "a group without its end is not taken in",
    "_Reader._read_groups",
    profiles=("bad-disks",),
)
def _torn_group_taken(p: Patches) -> None:
    def make(original):
        def read_groups(self):
            segment = self.segment
            bad = original(self)
            offset = segment.end
            while True:
                record = wal_recovery.check_record(self.data, offset, segment.header)
                if record is None or record.group != self.result.last_group + 1:
                    return bad
                if record.kind != wal_format.GROUP_END:
                    self._apply(record)
                offset = record.end

        return read_groups

    p.replace(wal_recovery._Reader, "_read_groups", make)


@mutation(
    "tail-not-synced",
    "recovery syncs the last group again before it relies on it",
    "wal_recovery.repair",
    profiles=("bad-disks",),
)
def _tail_not_synced(p: Patches) -> None:
    p.replace(wal, "repair", lambda _: nothing)


@mutation(
    "newest-record-wins",
    "of a slot's records that of the highest ballot counts",
    "_Reader._apply",
    profiles=("losses",),
)
def _newest_record_wins(p: Patches) -> None:
    def make(original):
        def apply(self, record):
            result = self.result
            before = dict(result.ballots)
            original(self, record)
            for slot in result.ballots:
                if slot in before:
                    result.ballots[slot] = before[slot]  # here: the oldest

        return apply

    p.replace(wal_recovery._Reader, "_apply", make)


@mutation(
    "empty-log-votes", "a node whose log is gone does not vote", "Wal.open", profiles=("lost-logs",)
)
def _empty_log_votes(p: Patches) -> None:
    def make(original):
        def open_(cls, disk, **options):
            return original.__func__(cls, disk, **(options | {"create": True}))

        return classmethod(open_)

    p.replace(wal.Wal, "open", make)


@mutation(
    "newcomer-votes",
    "a voter without a memory asks whether it ever had one",
    "Arrival, Node",
    profiles=("wiped",),
)
def _newcomer_votes(p: Patches) -> None:
    def make(original):
        def init(self, *args, **kwargs):
            original(self, *args, **kwargs | {"arriving": False})

        return init

    p.replace(Node, "__init__", make)
    p.replace(PeerLives, "admit", lambda _: lambda self, sender, run_id, *_, **__: run_id)


@mutation(
    "short-log-taken",
    "a log file that is shorter than it was made is damage",
    "_Reader.__init__",
    profiles=("cut-tail",),
)
def _short_log_taken(p: Patches) -> None:
    def make(original):
        def init(self, result, segment):
            class Whole:
                """The same file, which reads as if nothing had been cut off."""

                def __init__(self, file):
                    self.file = file

                def size(self):
                    return max(self.file.size(), segment.header.segment_bytes)

                def pread(self, n, offset):
                    return self.file.pread(n, offset).ljust(n, b"\0")

            real, segment.file = segment.file, Whole(segment.file)
            try:
                original(self, result, segment)
            finally:
                segment.file = real

        return init

    p.replace(wal_recovery._Reader, "__init__", make)


@mutation(
    "tail-mark-ignored",
    "a log that ends before the last group noted as synced is damage",
    "wal_recovery.check_tail",
    profiles=("tails",),
)
def _tail_mark_ignored(p: Patches) -> None:
    p.replace(wal, "check_tail", lambda _: nothing)
