"""The log in use: group commit, rolling, poison, reading, releasing."""

import errno
import random
import threading

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord, PromiseRecord
from paxosd.core.types import Ballot
from paxosd.storage import wal_open
from paxosd.storage.disk import CorruptionError, RealDisk, StorageError
from paxosd.storage.wal import WalOptions
from paxosd.storage.wal_mark import NAME
from paxosd.storage.wal_segments import SegmentDropper, SegmentPreparer
from tests.storage.memdisk import SMALL, MemDisk, open_wal

B1 = Ballot(1, "n1")


def accept(slot, value=b"v", ballot=B1):
    return AcceptRecord(slot, ballot, value)


@pytest.fixture
def disk():
    return MemDisk()


@pytest.fixture
def wal(disk):
    return open_wal(disk)[0]


class TestGroupCommit:
    def test_one_sync_for_many_records(self, wal, disk):
        before = disk.syncs
        wal.append([accept(slot) for slot in range(1, 51)])
        wal.append([PromiseRecord(B1)])
        wal.sync()
        assert disk.syncs == before + 1
        assert open_wal(disk.crash())[1].last_slot == 50

    def test_nothing_open_makes_no_job(self, wal):
        assert wal.begin_sync() is None
        assert wal.begin_sync(flush=True) is None

    def test_commit_records_ride_on_the_next_group(self, wal, disk):
        wal.append([accept(1)])
        wal.sync()
        wal.append([CommitRecord(1)])
        assert wal.begin_sync() is None
        assert open_wal(disk.crash(), seed=2)[1].commit == 0
        wal.append([accept(2)])
        job = wal.begin_sync()
        job.run()
        wal.finish_sync(job)
        assert open_wal(disk.crash(), seed=2)[1].commit == 1

    def test_commit_records_alone_are_flushed_on_demand(self, wal, disk):
        wal.append([accept(1), accept(2)])
        wal.sync()
        wal.append([CommitRecord(1), CommitRecord(2)])
        wal.sync()
        assert open_wal(disk.crash(), seed=2)[1].commit == 2

    def test_a_commit_record_keeps_its_place(self, wal, disk):
        wal.append([accept(1), CommitRecord(2), accept(2)])
        wal.sync()
        assert open_wal(disk.crash(), seed=2)[1].commit == 1

    def test_appending_goes_on_while_a_job_is_in_flight(self, wal, disk):
        wal.append([accept(1)])
        first = wal.begin_sync()
        wal.append([accept(2)])
        assert wal.begin_sync() is None, "one job at a time"
        first.run()
        assert open_wal(disk.crash(), seed=2)[1].last_slot == 1
        wal.finish_sync(first)
        second = wal.begin_sync()
        second.run()
        wal.finish_sync(second)
        assert open_wal(disk.crash(), seed=2)[1].last_slot == 2

    def test_finishing_a_job_that_did_not_run_is_a_bug(self, wal):
        wal.append([accept(1)])
        with pytest.raises(AssertionError):
            wal.finish_sync(wal.begin_sync())


class TestRead:
    def test_reads_open_flying_and_written_records(self, wal):
        wal.append([accept(1, b"written")])
        wal.sync()
        wal.append([accept(2, b"flying")])
        job = wal.begin_sync()
        wal.append([accept(3, b"open")])
        assert [wal.read(slot)[1] for slot in (1, 2, 3)] == [b"written", b"flying", b"open"]
        job.run()
        wal.finish_sync(job)
        assert wal.read(2) == (B1, b"flying")

    def test_a_newer_record_hides_the_older_one_at_once(self, wal):
        """Otherwise a peer could be sent the older, not chosen value of a committed slot."""
        wal.append([accept(1, b"old")])
        wal.sync()
        wal.append([accept(1, b"new", Ballot(2, "n2"))])
        assert wal.read(1) == (Ballot(2, "n2"), b"new")

    def test_long_empty_and_missing_values(self, wal, disk):
        wal.append([accept(1, b"x" * 100_000), DecisionRecord(2, B1, b""), accept(5)])
        wal.sync()
        for log in (wal, open_wal(disk.crash(), seed=2)[0]):
            assert log.read(1)[1] == b"x" * 100_000
            assert log.read(2)[1] == b""
            for slot in (0, 3, 4, 6):
                with pytest.raises(KeyError):
                    log.read(slot)
            assert (log.first_slot, log.last_slot) == (1, 5)

    def test_damage_is_noticed(self, wal, disk):
        wal.append([accept(1, b"value")])
        wal.sync()
        data = disk.files["wal-00000001.log"].data
        data[data.index(b"value")] ^= 1
        with pytest.raises(CorruptionError, match="slot 1") as caught:
            wal.read(1)
        assert caught.value.segment == "wal-00000001.log"

    def test_a_slot_absurdly_far_away_is_refused(self, wal):
        with pytest.raises(ValueError, match="gap"):
            wal.append([accept(1 << 40)])


class TestPoison:
    @pytest.mark.parametrize("operation", ["fdatasync", "pwritev"])
    @pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
    def test_after_a_failure_every_call_raises(self, wal, disk, operation, number):
        wal.append([accept(1)])
        job = wal.begin_sync()
        disk.fail = {operation: number}
        with pytest.raises(StorageError) as caught:
            job.run()
        disk.fail = {}  # the disk works again; the log must not be used all the same
        assert caught.value.errno == number
        assert "wal-00000001.log" in str(caught.value)
        if number == errno.ENOSPC:
            assert "free some space" in str(caught.value)
        for call in (
            lambda: wal.finish_sync(job),
            lambda: wal.append([accept(2)]),
            wal.begin_sync,
            wal.sync,
            lambda: wal.read(1),
            lambda: wal.release(1),
        ):
            with pytest.raises(StorageError, match="given up"):
                call()
        assert wal.stats()["poisoned"]
        wal.close()

    def test_a_full_disk_while_a_segment_is_made(self, wal, disk):
        wal.append([accept(1, bytes(7000))])
        wal.sync()
        disk.fail = {"allocate": errno.ENOSPC}
        wal.append([accept(2, bytes(7000))])
        with pytest.raises(StorageError, match=r"open the next log segment.*disk is full"):
            wal.sync()
        disk.fail = {}
        with pytest.raises(StorageError, match="given up"):
            wal.append([accept(3)])

    def test_a_failure_to_open_is_a_storage_error(self, disk):
        disk.fail = {"allocate": errno.ENOSPC}
        with pytest.raises(StorageError, match="disk is full"):
            open_wal(disk)

    def test_a_closed_log(self, wal):
        wal.close()
        wal.close()
        with pytest.raises(StorageError, match="closed"):
            wal.append([accept(1)])


class TestSegments:
    def test_rolls_and_reads_all_of_it_back(self, wal, disk):
        values = {slot: random.Random(slot).randbytes(slot * 13 % 3000) for slot in range(1, 80)}
        for slot, value in values.items():
            wal.append([accept(slot, value), CommitRecord(slot - 1)])
            wal.sync()
        assert wal.stats()["segments"] > 5
        after, found = open_wal(disk.crash(), seed=2)
        assert found.commit == 78
        assert found.segments == wal.stats()["segments"]
        for slot, value in values.items():
            assert wal.read(slot) == after.read(slot) == (B1, value)

    def test_a_group_longer_than_a_segment(self, wal, disk):
        wal.append([accept(slot, bytes([slot]) * 3000) for slot in range(1, 20)])
        wal.sync()
        wal.append([accept(20)])
        wal.sync()
        after, found = open_wal(disk.crash(), seed=2)
        assert found.last_slot == 20
        assert after.read(19)[1] == bytes([19]) * 3000

    def test_rolling_while_the_job_of_the_old_segment_is_in_flight(self, wal, disk):
        for slot in range(1, 60):
            wal.append([accept(slot, bytes(1500))])
            job = wal.begin_sync()
            if job is None:
                continue
            wal.append([accept(slot + 1000, bytes(1500))])
            job.run()
            wal.finish_sync(job)
        wal.sync()
        assert open_wal(disk.crash(), seed=2)[1].last_slot == 1059

    def test_old_segments_tell_the_promise_after_release(self, wal, disk):
        wal.append([PromiseRecord(Ballot(9, "n3"))])
        for slot in range(1, 40):
            wal.append([accept(slot, bytes(1000)), CommitRecord(slot)])
            wal.sync()
        many = wal.stats()["segments"]
        wal.release(36)
        wal.sync()
        assert wal.stats()["segments"] <= 2 < many
        assert wal.first_slot == 36
        with pytest.raises(KeyError):
            wal.read(35)
        after, found = open_wal(disk.crash(), seed=2)
        assert found.promised == Ballot(9, "n3")
        assert (found.first_slot, found.commit, found.last_slot) == (36, 39, 39)
        assert after.read(36)[1] == bytes(1000)
        with pytest.raises(ValueError, match="release"):
            after.release(41)

    def test_a_released_file_is_used_again_and_its_old_records_stay_dead(self, wal, disk):
        for slot in range(1, 40):
            wal.append([accept(slot, b"OLD" * 300), CommitRecord(slot)])
            wal.sync()
        wal.release(39)
        wal.sync()
        spare = next(name for name in disk.files if name.startswith("spare"))
        reused = disk.files[spare]
        slot = 39
        while reused not in [f for n, f in disk.files.items() if n.startswith("wal")]:
            slot += 1
            wal.append([accept(slot, b"new")])
            wal.sync()
        wal.append([accept(slot + 1, b"new")])
        wal.sync()
        assert b"OLDOLD" in reused.data, "the file was not wiped"
        found = open_wal(disk.crash(), seed=2)[1]
        assert found.last_slot == slot + 1
        assert all(value == b"new" for _, value in found.accepted.values())

    def test_nothing_is_dropped_before_the_release_is_durable(self, wal, disk):
        for slot in range(1, 20):
            wal.append([accept(slot, bytes(1000)), CommitRecord(slot)])
            wal.sync()
        many = wal.stats()["segments"]
        wal.append([accept(20)])
        job = wal.begin_sync()
        wal.release(20)  # in the group after the job's
        job.run()
        wal.finish_sync(job)
        assert wal.stats()["segments"] == many
        assert open_wal(disk.crash(), seed=2)[1].commit == 19
        wal.sync()
        assert wal.stats()["segments"] < many

    def test_a_release_spares_the_segment_of_the_job_in_flight(self, wal, disk):
        for slot in range(1, 6):
            wal.append([accept(slot, bytes(1000)), CommitRecord(slot)])
            wal.sync()
        wal.append([accept(6, b"needed")])
        job = wal.begin_sync()
        wal.append([accept(7, bytes(3000))])
        wal.release(6)
        job.run()
        wal.finish_sync(job)
        wal.sync()
        assert job.header.number == 1
        assert wal.stats()["segments"] == 2
        assert wal.read(6)[1] == b"needed"
        assert open_wal(disk.crash(), seed=2)[0].read(6)[1] == b"needed"

    @pytest.mark.parametrize("kept", range(12))
    def test_a_crash_amid_the_release(self, kept):
        disk = MemDisk()
        wal, _ = open_wal(disk)
        for slot in range(1, 60):
            wal.append([accept(slot, bytes(1000)), CommitRecord(slot)])
            wal.sync()
        wal.release(55)
        disk.fail = {"sync_dir": errno.EIO}
        disk.fail_after = {"sync_dir": kept // 3}
        with pytest.raises(StorageError):
            wal.sync()
        after = disk.crash(keep_names=kept % 3)
        found = open_wal(after, seed=2)[1]
        assert (found.first_slot, found.commit) == (55, 59)

    def test_a_damaged_start_of_a_released_log_is_no_fresh_one(self, wal, disk):
        for slot in range(1, 20):
            wal.append([accept(slot, bytes(1000)), CommitRecord(slot)])
            wal.sync()
        wal.release(20)
        wal.sync()
        assert wal.stats()["segments"] == 1
        bad = disk.crash()
        name = max(name for name in bad.files if name.startswith("wal"))
        bad.files[name].data[512:] = bytes(SMALL - 512)
        with pytest.raises(CorruptionError, match="no whole group"):
            open_wal(bad, seed=2)


class TestPreparer:
    @pytest.mark.parametrize("restart", [False, True], ids=["same-run", "next-start"])
    def test_a_file_whose_sync_failed_is_not_taken_as_it_is(self, restart):
        """Its pages count as clean, and no later sync writes them: the next power cut shortened the
        segment, and the node took its own log for damaged (simulator, members, seed 990119)."""
        disk = MemDisk()
        wal, _ = open_wal(disk)
        disk.fail = {"fdatasync": errno.EIO}
        with pytest.raises(OSError, match="EIO"):
            wal._preparer._prepare(wal._next_header)
        disk.fail = {}
        if restart:
            wal.close()
            wal, _ = open_wal(disk, seed=2)
        for slot in range(1, 40):
            wal.append([accept(slot, bytes(1000))])
            wal.sync()
        assert wal.stats()["segments"] > 1
        assert open_wal(disk.crash(), seed=3)[1].last_slot == 39


class TestDropper:
    def test_spares_are_not_made_while_one_is_being_chosen(self):
        """One whose rename is not durable yet must not be used again."""
        disk = MemDisk()
        disk.open("wal-00000001.log", create=True)
        preparer = SegmentPreparer(disk, ahead=True)
        dropper = SegmentDropper(disk, preparer, ahead=True)
        with preparer.spares_lock:
            dropper.start([1])
            assert not dropper.idle
            assert dropper.collect() == []
            assert list(disk.files) == ["wal-00000001.log"]
        dropper.wait()
        assert dropper.collect() == [1]
        assert dropper.idle
        assert list(disk.files) == ["spare-00000001.log"]
        assert disk.name_states == []

    def test_a_failure_is_told(self):
        disk = MemDisk()
        disk.open("wal-00000001.log", create=True)
        disk.fail = {"sync_dir": errno.EIO}
        dropper = SegmentDropper(disk, SegmentPreparer(disk, ahead=True), ahead=True)
        dropper.start([1])
        dropper.wait()
        with pytest.raises(OSError, match="EIO"):
            dropper.collect()


class TestRealDisk:
    def test_a_sync_thread_and_a_prepared_segment(self, tmp_path):
        options = WalOptions(segment_bytes=1 << 16)
        disk = RealDisk(tmp_path)
        wal, _ = wal_open.open_wal(disk, cluster_id="c", node_id="n1", options=options)
        for slot in range(1, 200):
            wal.append([accept(slot, bytes([slot]) * 1000), CommitRecord(slot - 1)])
            job = wal.begin_sync()
            thread = threading.Thread(target=job.run)
            thread.start()
            thread.join()
            wal.finish_sync(job)
        assert wal.read(3)[1] == bytes([3]) * 1000
        stats = wal.stats()
        assert stats["segments"] > 3
        assert stats["sync_us_last"] > 0
        assert stats["sync_us_median"] > 0
        assert sum(stats["sync_us_counts"].values()) == stats["syncs"]
        assert stats["free_bytes"] > 0
        wal.close()
        assert all(name.startswith("wal-") or name == NAME for name in disk.list())
        wal, found = wal_open.open_wal(
            disk, cluster_id="c", node_id="n1", options=options, create=False
        )
        assert (found.commit, found.last_slot) == (198, 199)
        assert found.accepted == {199: (B1, bytes([199]) * 1000)}
        assert not found.warnings
        wal.close()
        disk.close()

    def test_the_next_segment_is_there_before_it_is_needed(self, tmp_path):
        disk = RealDisk(tmp_path)
        options = WalOptions(segment_bytes=1 << 14)
        wal, _ = wal_open.open_wal(disk, cluster_id="c", node_id="n1", options=options)
        wal.append([accept(1, bytes(9000))])
        wal.sync()
        wal._preparer.wait()
        assert "wal-00000002.log" in disk.list()
        wal.close()
        wal, _ = wal_open.open_wal(disk, cluster_id="c", node_id="n1", options=options)
        wal.append([accept(2, bytes(9000))])
        wal.sync()
        assert wal.stats()["segments"] == 2
        wal.close()
        disk.close()

    def test_segments_are_made_in_order(self, tmp_path):
        disk = RealDisk(tmp_path)
        options = WalOptions(segment_bytes=1 << 14)
        wal, _ = wal_open.open_wal(disk, cluster_id="c", node_id="n1", options=options)
        wal.append([accept(1, bytes(15000))])
        job = wal.begin_sync()
        wal.append([accept(2, bytes(9000))])  # rolls over to segment 2, which does not exist yet
        job.run()
        wal.finish_sync(job)
        wal._preparer.wait()
        assert "wal-00000003.log" not in disk.list(), "a crash now would leave a gap"
        wal.sync()
        wal.close()
        disk.close()

    @pytest.mark.parametrize("size", [1, 1 << 40])
    def test_options_are_checked(self, size):
        with pytest.raises(ValueError, match="segment_bytes"):
            WalOptions(segment_bytes=size)
