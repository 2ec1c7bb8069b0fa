"""The second witness of what was synced: a tail that is zeroed, flipped or gone is found."""

import errno
import random

import pytest

from paxosd.core.effects import AcceptRecord
from paxosd.core.types import Ballot
from paxosd.faults.disk import FaultyDisk
from paxosd.faults.plan import FaultPlan, parse_rule
from paxosd.replica import quarantine
from paxosd.storage import identity
from paxosd.storage.disk import CorruptionError
from paxosd.storage.wal_mark import (
    NAME,
    PLACE_BYTES,
    SYNC_EVERY_MS,
    Note,
    TailMark,
    decode,
    encode,
    read_note,
)
from tests.storage.memdisk import SMALL, MemDisk, open_wal, put

B1 = Ballot(1, "n1")
NOTE = Note(7, 3, b"12345678", 4321)


def accept(slot, value=b"v"):
    return AcceptRecord(slot, B1, value)


def log_of(groups, **more):
    """A log on a disk, with a group for each list of records; and where each ends."""
    disk = MemDisk()
    wal, _ = open_wal(disk, **more)
    ends = []
    for records in groups:
        wal.append(records)
        wal.sync()
        ends.append((wal._header.name, wal._end))
    return disk, wal, ends


def killed(disk):
    """The disk as the next process finds it: what was written is in the kernel's cache."""
    return disk.copy()


class TestNote:
    def test_there_and_back(self):
        assert decode(encode(*NOTE).ljust(PLACE_BYTES, b"\0")) == NOTE

    def test_any_bit(self):
        good = encode(*NOTE)
        for bit in range(8 * len(good)):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << bit % 8
            assert decode(bytes(bad)) is None, bit

    @pytest.mark.parametrize("count", [0, 1, len(encode(*NOTE)) - 1])
    def test_a_short_one(self, count):
        assert decode(encode(*NOTE)[:count]) is None

    def test_a_torn_one_leaves_the_one_before(self):
        disk, wal, _ = log_of([[accept(1)], [accept(2)]])
        newest = read_note(disk)
        assert newest.group == wal.durable_group == 3
        data = disk.files[NAME].data
        data[newest.group % 2 * PLACE_BYTES + 20] ^= 1
        assert read_note(disk).group == 2
        data[(newest.group - 1) % 2 * PLACE_BYTES + 20] ^= 1
        assert read_note(disk) is None


class TestLostTail:
    """Everything that the notes know of and the log has not is damage, wherever it begins."""

    GROUPS = tuple([accept(slot, bytes([slot]) * 30)] for slot in range(1, 6))

    @pytest.mark.parametrize("how", ["zeroed", "flipped", "noise"])
    def test_from_any_byte_on(self, how):
        disk, _, ends = log_of(self.GROUPS)
        name, end = ends[-1]
        first = ends[1][1]
        rng = random.Random(11)
        for at in range(first, end):
            bad = killed(disk)
            data = bad.files[name].data
            if how == "flipped":
                data[at] ^= 1 << at % 8
            else:
                data[at:end] = bytes(end - at) if how == "zeroed" else rng.randbytes(end - at)
                if data[at:end] == disk.files[name].data[at:end]:
                    continue  # it ends in zeros anyhow
            before = bad.contents()
            with pytest.raises(CorruptionError) as caught:
                open_wal(bad, seed=2)
            assert bad.contents() == before
            assert caught.value.segment == name
            assert caught.value.offset <= at + 3  # a group ends in zeros

    def test_the_last_segment_is_gone(self):
        disk, wal, ends = log_of([[accept(slot, bytes(1000))] for slot in range(1, 12)])
        assert wal.stats()["segments"] > 1
        bad = killed(disk)
        del bad.files[ends[-1][0]]
        with pytest.raises(CorruptionError, match=r"group \d+ was synced"):
            open_wal(bad, seed=2)

    def test_all_segments_are_gone(self):
        disk, _, _ = log_of([[accept(1)]])
        bad = killed(disk)
        del bad.files["wal-00000001.log"]
        with pytest.raises(CorruptionError):
            open_wal(bad, seed=2)

    def test_an_older_copy_of_the_last_segment(self):
        disk, wal, ends = log_of([[accept(1)]])
        old = bytes(disk.files[ends[0][0]].data)
        wal.append([accept(2)])
        wal.sync()
        bad = killed(disk)
        bad.files[ends[0][0]].data[:] = old
        with pytest.raises(CorruptionError):
            open_wal(bad, seed=2)

    def test_a_group_that_runs_over_the_segments_size_and_is_cut_to_that_size(self):
        """Its file is as long as it was made: only the note shows what is missing."""
        disk, _, ends = log_of([[accept(1)], [accept(2, bytes(SMALL))]])
        bad = killed(disk)
        del bad.files[ends[-1][0]].data[SMALL:]
        with pytest.raises(CorruptionError):
            open_wal(bad, seed=2)

    def test_found_after_a_restart_that_wrote_nothing(self):
        disk, wal, ends = log_of([[accept(1)], [accept(2)]])
        wal.close()
        wal, _ = open_wal(disk, seed=2)
        bad = killed(disk)
        bad.files[ends[-1][0]].data[ends[-1][1] - 3] ^= 4
        with pytest.raises(CorruptionError):
            open_wal(bad, seed=3)

    def test_what_was_found_is_found_again_after_a_power_cut(self):
        """The note was in the cache of a process that was killed; a start found the loss by it,
        and the power went off before all of what follows from that was done."""
        disk, _, ends = log_of(self.GROUPS)
        bad = killed(disk)
        mark = bad.files[NAME]
        mark.durable, mark.unsynced = bytearray(len(mark.data)), [(0, bytes(mark.data))]
        assert read_note(bad.crash()) is None
        name, end = ends[-1]
        for data in (bad.files[name].data, bad.files[name].durable):
            data[end - 20 : end] = bytes(20)
        with pytest.raises(CorruptionError):
            open_wal(bad, seed=2)
        with pytest.raises(CorruptionError):
            open_wal(bad.crash(), seed=3)

    def test_it_is_set_aside_and_the_next_log_is_not_held_against_the_old_notes(self):
        disk, _, ends = log_of(self.GROUPS)
        home = MemDisk()
        identity.claim(home, "c", "n1", place="n1", created="", has_log=False)
        identity.mark_log_created(home)
        disk.files[ends[-1][0]].data[ends[-1][1] - 3] ^= 4
        quarantine.set_aside(home, disk)
        assert not disk.exists(NAME)
        wal, found = open_wal(disk, seed=2)
        assert found.created
        wal.append([accept(1)])
        wal.sync()
        assert open_wal(killed(disk), seed=3)[1].last_slot == 1


class TestNoFalseAlarm:
    def test_power_cuts_at_random(self):
        """Whatever subset of unsynced sectors and names survives, of log and notes alike."""
        for seed in range(300):
            rng = random.Random(seed)
            disk, wal, now_ms = MemDisk(), None, 0.0
            slot = 0
            for run_id in range(4):
                wal, found = open_wal(disk, seed=1 + run_id)
                assert found.last_slot >= slot, f"seed={seed}"
                for _ in range(rng.randrange(12)):
                    wal.append([accept(found.last_slot + 1, bytes(rng.randrange(900)))])
                    wal.sync()
                    slot = wal.last_slot
                    found = wal
                    now_ms += rng.uniform(0, 700)
                    wal.tick(now_ms)
                wal.append([accept(slot + 1, bytes(rng.randrange(2000)))])
                job = wal.begin_sync()
                if rng.random() < 0.5 and job.file is not None:
                    job.file.pwritev(job.buffers, job.offset)  # it dies before the sync
                keep = rng.random()
                disk = disk.crash(lambda keep=keep, rng=rng: rng.random() < keep, rng.randrange(4))

    def test_a_log_of_the_version_before_has_no_notes(self):
        disk, wal, _ = log_of([[accept(1)], [accept(2)]])
        wal.close()
        del disk.files[NAME]
        wal, found = open_wal(disk, seed=2)
        assert found.last_slot == 2
        assert not found.warnings
        assert read_note(disk).group == found.groups == wal.durable_group

    def test_the_version_before_went_on_meanwhile(self):
        """It wrote no notes: those that are there lag behind, and claim nothing untrue."""
        disk, wal, _ = log_of([[accept(1)]])
        old = bytes(disk.files[NAME].data)
        wal.append([accept(2)])
        wal.sync()
        disk.files[NAME].data[:] = old
        assert open_wal(disk, seed=2)[1].last_slot == 2

    def test_notes_of_another_log_count_for_nothing(self):
        other, _, _ = log_of([[accept(slot)] for slot in range(1, 9)], seed=5)
        disk, _, _ = log_of([[accept(1)]])
        disk.files[NAME].data[:] = other.files[NAME].data
        found = open_wal(disk, seed=2)[1]
        assert found.last_slot == 1
        assert "another log" in found.warnings[0]

    def test_a_torn_group_behind_what_is_noted_is_cut_off_as_ever(self):
        disk, wal, _ = log_of([[accept(1)]])
        wal.append([accept(2)])
        job = wal.begin_sync()
        job.file.pwritev(job.buffers[:1], job.offset)
        _, found = open_wal(killed(disk), seed=2)
        assert found.last_slot == 1
        assert found.truncated_bytes

    def test_released_segments(self):
        disk, wal, _ = log_of([[accept(slot, bytes(1000))] for slot in range(1, 12)])
        wal.install(11)
        wal.sync()
        wal.append([accept(12)])
        wal.sync()
        assert wal.stats()["segments"] == 1
        assert open_wal(killed(disk), seed=2)[1].last_slot == 12


def test_the_durable_group_is_the_last_one_that_was_finished():
    disk, wal, _ = log_of([[accept(1)]])
    before = wal.durable_group
    wal.append([accept(2)])
    job = wal.begin_sync()
    assert wal.durable_group == before
    job.run()
    assert wal.durable_group == before
    wal.finish_sync(job)
    assert wal.durable_group == before + 1
    wal, found = open_wal(killed(disk), seed=2)
    assert wal.durable_group == found.groups == before + 1


class TestLazy:
    def test_no_sync_more_for_a_group(self):
        disk, wal, _ = log_of([[accept(1)]])
        before = disk.syncs
        for slot in range(2, 9):
            wal.append([accept(slot)])
            wal.sync()
        assert disk.syncs == before + 7
        assert disk.files[NAME].unsynced

    def test_synced_within_the_window_and_then_let_alone(self):
        disk, wal, _ = log_of([[accept(1)]])
        wal.tick(5000.0)
        wal.append([accept(2)])
        wal.sync()
        wal.tick(5000.0 + SYNC_EVERY_MS - 1)
        assert disk.files[NAME].unsynced
        wal.tick(5000.0 + SYNC_EVERY_MS)
        assert not disk.files[NAME].unsynced
        before = disk.syncs
        for number in range(20):
            wal.tick(9000.0 + 1000 * number)
        assert disk.syncs == before

    def test_synced_at_a_clean_end(self):
        disk, wal, _ = log_of([[accept(1)], [accept(2)]])
        wal.close()
        assert read_note(disk.crash()).group == wal.durable_group

    def test_synced_in_a_helper_thread(self):
        disk = MemDisk()
        mark = TailMark(disk, ahead=True)
        mark.note(1, open_wal(MemDisk())[0]._header, 600)
        mark.tick(0.0)
        mark.tick(SYNC_EVERY_MS)
        mark.close()
        assert read_note(disk).group == 1
        assert not disk.files[NAME].unsynced


class TestFailures:
    """The notes are a help, never a need: no failure of theirs ends a node."""

    @pytest.mark.parametrize("operation", ["pwritev", "fdatasync"])
    def test_of_a_note(self, operation):
        disk, wal, _ = log_of([[accept(1)]])
        file = disk.files[NAME]

        def fail(*_):
            raise OSError(errno.ENOSPC, "full")

        setattr(file, operation, fail)
        for slot in range(2, 5):
            wal.append([accept(slot)])
            wal.sync()
            wal.tick(3000.0 * slot)
        wal.close()
        delattr(file, operation)
        assert open_wal(disk, seed=2)[1].last_slot == 4

    def test_it_cannot_be_made(self, monkeypatch):
        disk = MemDisk()
        opened = disk.open

        def open_(name, create=False):
            if name == NAME:
                raise OSError(errno.EACCES, "no")
            return opened(name, create)

        monkeypatch.setattr(disk, "open", open_)
        wal, _ = open_wal(disk)
        wal.append([accept(1)])
        wal.sync()
        wal.close()
        found = open_wal(disk, seed=2)[1]
        assert found.last_slot == 1
        assert "tail-mark" in found.warnings[0]

    def test_it_cannot_be_read(self, monkeypatch):
        disk, _, _ = log_of([[accept(1)]])
        bad = killed(disk)
        file = bad.files[NAME]

        def pread(n, offset):
            raise OSError(errno.EIO, "bad sector")

        monkeypatch.setattr(file, "pread", pread, raising=False)
        found = open_wal(bad, seed=2)[1]
        assert found.last_slot == 1
        assert "cannot be read" in found.warnings[0]

    def test_a_torn_write_strikes_the_group_and_not_the_note(self):
        plan = FaultPlan(lambda *_: None, node="n1", nodes=["n1"], message_kinds=["accept"])
        disk = FaultyDisk(MemDisk(), plan, now_ms=lambda: 0.0, sleep_ms=print, crash=print)
        mark = TailMark(disk, ahead=False)
        rule = {"kind": "torn-write", "on": ["*"], "name": "f"}
        plan.add(parse_rule(rule, nodes=["n1"]), 0.0)
        mark.note(1, open_wal(MemDisk())[0]._header, 600)
        assert [each["hits"] for each in plan.list(0.0)] == [0]

    @pytest.mark.parametrize("kind", ["disk-full", "fsync-error"])
    def test_through_the_disk_that_fails_on_purpose(self, kind):
        plan = FaultPlan(lambda *_: None, node="n1", nodes=["n1"], message_kinds=["accept"])
        inner = MemDisk()
        disk = FaultyDisk(inner, plan, now_ms=lambda: 0.0, sleep_ms=print, crash=print)
        mark = TailMark(disk, ahead=False)
        header = open_wal(MemDisk())[0]._header
        mark.note(1, header, 600)
        plan.add(parse_rule({"kind": kind, "on": ["*"], "name": "f"}, nodes=["n1"]), 0.0)
        mark.note(2, header, 700)
        mark.sync()
        mark.close()
        found = read_note(inner)
        assert found.group == (1 if kind == "disk-full" else 2)
        assert bool(inner.files[NAME].unsynced) is (kind == "fsync-error")


def test_the_whole_file_zeroed_or_shortened_is_no_witness():
    disk, _, _ = log_of([[accept(1)]])
    for bad in (b"", bytes(100), bytes(2 * PLACE_BYTES)):
        harmed = killed(disk)
        harmed.files[NAME].data = bytearray()
        put(harmed.files[NAME].data, bad, 0)
        assert open_wal(harmed, seed=2)[1].last_slot == 1
        assert read_note(harmed) is not None
