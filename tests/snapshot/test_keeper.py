"""When snapshots are taken, what they give back, and what is there after a crash anywhere.

PITFALLS Paxos 12 (snapshot and log disagree), 13 (applied index not atomic with the data).
"""

import errno
import random

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord
from paxosd.core.types import Ballot
from paxosd.snapshot.file import SnapshotInfo, part_name, snapshot_name, snapshot_slot
from paxosd.snapshot.keeper import RETRY_MS, STEP_MS
from paxosd.storage.disk import CorruptionError
from tests.snapshot.lives import (
    BALLOT,
    OPTIONS,
    CrashDisk,
    Inline,
    Life,
    PowerLoss,
    batch_of,
    reference,
)
from tests.storage.memdisk import MemDisk, open_wal


def snapshots_on(disk):
    return sorted(s for name in disk.files if (s := snapshot_slot(name)) is not None)


class TestTaking:
    def test_by_count_of_slots_and_the_last_two_are_kept(self):
        life = Life(MemDisk())
        life.write(55)
        assert [f["slot"] for f in life.log.named("snapshot.started")] == [
            10,
            21,
            32,
            43,
            54,
        ] or (life.snapshots.taken >= 4)
        life.finish()
        assert len(snapshots_on(life.disk)) == 2
        status = life.snapshots.status(10**7)
        assert [*status.older_slots, status.slot] == snapshots_on(life.disk)
        assert life.log.named("snapshot.finished")[0]["bytes"] > 100

    def test_by_bytes_of_log_but_not_more_than_the_state_itself(self):
        options = OPTIONS.__class__(
            cluster="c", members={}, slots_max=10**6, log_bytes_max=5000, margin_slots=0
        )
        life = Life(MemDisk(), options=options)
        life.write(200, turns=8)
        taken = [f["slot"] for f in life.log.named("snapshot.started")]
        assert len(taken) > 3
        sizes = [f["bytes"] for f in life.log.named("snapshot.finished")]
        for before, slot, size in zip(taken, taken[1:], [0, *sizes], strict=False):
            log = sum(len(batch_of(s)) for s in range(before + 1, slot + 1))
            assert log < 5000 + 200 * (slot - before)
            assert log + 100 * (slot - before) > size

    def test_each_node_waits_for_another_while_longer(self):
        slots = []
        for spread in (1.0, 1.2):
            options = OPTIONS.__class__(
                cluster="c", members={}, slots_max=10, margin_slots=0, spread=spread
            )
            life = Life(MemDisk(), options=options)
            life.write(50)
            slots.append([fields["slot"] for fields in life.log.named("snapshot.started")])
        assert slots[0][:3] == [10, 20, 30]
        assert slots[1][:3] == [12, 24, 36]

    def test_a_step_comes_at_most_so_often(self):
        life = Life(MemDisk())
        life.write(10, turns=1)
        assert life.snapshots.running
        due_ms = life.snapshots.next_due_ms(life.now_ms)
        life.turn()
        assert due_ms == life.now_ms - STEP_MS
        assert life.snapshots.next_due_ms(life.now_ms) == life.now_ms + STEP_MS

    def test_a_wall_clock_before_1970_makes_no_bad_file(self):
        """Seed 990299: the file counted as damaged, and with it the log that it had replaced."""
        life = Life(MemDisk())
        life.write(30, turns=0)
        life.snapshots.ask()
        for _ in range(20):
            life.now_ms += STEP_MS
            life.snapshots.turn(life.now_ms, -5_000)
        assert life.snapshots.newest.created_ms == 0
        assert Life(life.disk.crash(), seed=2).restored_slot == 30

    def test_one_asked_for_while_an_earlier_one_waits_to_begin_follows(self):
        life = Life(MemDisk())
        life.write(8, turns=0)
        life.snapshots._begin_at_sum()
        life.write(9, turns=0)
        life.snapshots.ask()
        life.finish()
        assert [f["slot"] for f in life.log.named("snapshot.finished")] == [8, 9]

    def test_none_is_begun_for_what_was_due_before_a_peers_came(self):
        life = Life(MemDisk())
        life.machine.at_sum = life.snapshots._begin_at_sum
        life.snapshots.adopt(SnapshotInfo(7, 100, b"d", 0))
        assert life.machine.at_sum is None

    def test_no_checksum_below_feature_level_1(self):
        """Older programs, which are there still, refuse a file that ends with more."""
        life = Life(MemDisk())
        life.write(9, turns=0)
        life.machine.sum_up()
        life.machine.advance_checksum(1000)
        life.snapshots.ask()
        life.finish()
        assert life.machine.checksums[9]
        assert life.snapshots.newest.total == ""

    def test_on_request(self):
        life = Life(MemDisk())
        life.write(3)
        life.snapshots.ask()
        life.finish()
        assert snapshots_on(life.disk) == [3]
        life.snapshots.ask()
        life.finish()
        assert snapshots_on(life.disk) == [3]

    def test_the_log_goes_back_to_the_older_one_less_the_margin(self):
        life = Life(MemDisk())
        life.write(60)
        life.finish()
        older, _ = snapshots_on(life.disk)
        assert life.wal.first_slot == older + 1
        assert life.machine.history.base == older
        options = OPTIONS.__class__(cluster="c", members={}, slots_max=10, margin_slots=35)
        life = Life(MemDisk(), options=options)
        life.write(60)
        assert life.wal.first_slot <= 60 - 35 + 1

    def test_the_margin_is_bounded_in_bytes_too(self):
        """Slots can be large: a margin counted in slots alone could fill the disk."""
        options = OPTIONS.__class__(
            cluster="c", members={}, slots_max=10, log_bytes_max=3000, margin_slots=10**6
        )
        life = Life(MemDisk(), options=options)
        life.write(400)
        assert 4000 < life.wal.bytes_after(life.wal.first_slot) < 4 * 3000
        assert life.wal.stats()["segments"] <= 5

    def test_log_and_memory_stay_bounded(self):
        life = Life(MemDisk())
        life.write(400)
        assert life.wal.stats()["segments"] <= 4
        assert len(life.disk.files) <= 4 + 2 + 2 + 1
        assert len(life.machine.history._revisions) < 40
        life.check()

    def test_it_is_taken_beside_writes_while_the_disk_is_slow(self):
        helper = Inline(slow=True)
        life = Life(MemDisk(), helper=helper)
        life.write(30)
        assert snapshots_on(life.disk) == []
        while not snapshots_on(life.disk):
            helper.work()
            life.write(life.machine.applied + 1)
        assert snapshots_on(life.disk) == [10]
        again = Life(life.disk.crash(), seed=2)
        assert again.restored_slot == 10
        again.check()

    @pytest.mark.parametrize("operation", ["pwritev", "fdatasync", "rename", "sync_dir"])
    def test_one_that_cannot_be_written_is_told_and_tried_again(self, operation):
        helper = Inline(slow=True)
        life = Life(MemDisk(), helper=helper)
        life.write(12)
        while life.snapshots.running and not life.log.named("snapshot.failed"):
            life.disk.fail = {operation: errno.ENOSPC}
            helper.work()
            life.disk.fail = {}
            life.turn()
        assert "ENOSPC" in life.log.named("snapshot.failed")[0]["reason"]
        helper.work()
        life.turn()
        assert not [name for name in life.disk.files if name.endswith(".part")]
        life.turn()
        assert not life.snapshots.running, "not before a while has passed"
        assert life.wal.first_slot == 1, "nothing was released for it"
        helper.slow = False
        life.now_ms += RETRY_MS
        life.write(20)
        life.finish()
        assert life.snapshots.taken == 1


class TestRecovery:
    def test_from_the_newest_and_the_log_after_it(self):
        life = Life(MemDisk())
        life.write(47)
        life.finish()
        newest = snapshots_on(life.disk)[-1]
        again = Life(life.disk.crash(), seed=2)
        assert again.restored_slot == newest
        assert again.machine.applied >= 46  # the last commit record rides on the next group
        again.check()
        again.write(60)
        again.check()

    def test_the_older_one_and_the_log_if_the_newest_is_bad(self):
        life = Life(MemDisk())
        life.write(47)
        life.finish()
        older, newest = snapshots_on(life.disk)
        life.disk.files[snapshot_name(newest)].data[100] ^= 1
        life.disk.files[snapshot_name(newest)].durable[100] ^= 1
        again = Life(life.disk.crash(), seed=2)
        assert again.restored_slot == older
        assert again.machine.applied >= 46
        again.check()
        assert again.log.named("snapshot.bad")[0]["slot"] == newest
        assert f"{snapshot_name(newest)}.bad" in again.disk.files
        again.write(70)
        again.finish()
        assert len(snapshots_on(again.disk)) == 2

    def test_both_bad_is_refused_in_clear_words(self):
        life = Life(MemDisk())
        life.write(47)
        life.finish()
        names = [snapshot_name(slot) for slot in snapshots_on(life.disk)]
        for name in names:
            life.disk.files[name].durable[60] ^= 1
        with pytest.raises(CorruptionError, match="the slots between are lost") as caught:
            Life(life.disk.crash(), seed=2)
        for name in names:
            assert name in str(caught.value)
        assert "sets its log aside" in str(caught.value)

    def test_a_hole_between_snapshot_and_log_is_refused(self):
        life = Life(MemDisk())
        life.write(60)
        life.finish()
        older, newest = snapshots_on(life.disk)
        disk = life.disk.copy()
        file = disk.files.pop(snapshot_name(older))
        del disk.files[snapshot_name(newest)]
        old = Life(MemDisk())
        old.write(22)
        old.finish()
        early = snapshots_on(old.disk)[0]
        assert early + 1 < life.wal.first_slot
        disk.files[snapshot_name(early)] = old.disk.files[snapshot_name(early)]
        with pytest.raises(CorruptionError, match=f"is of slot {early}: the slots between"):
            Life(disk, seed=2)
        disk.files[snapshot_name(older)] = file
        Life(disk, seed=3).check()

    def test_one_under_another_slots_name(self):
        life = Life(MemDisk())
        life.write(12)
        life.finish()
        disk = life.disk.crash()
        slot = snapshots_on(disk)[0]
        disk.files[snapshot_name(slot + 1)] = disk.files.pop(snapshot_name(slot))
        again = Life(disk, seed=2)
        assert "its name says" in again.log.named("snapshot.bad")[0]["reason"]
        again.check()

    def test_a_snapshot_above_the_log_goes_before_what_the_log_accepted(self):
        """A crash between the installation of a snapshot and the log's record of it; the log
        holds other values than the chosen ones, and no record vouches for them."""
        ahead = Life(MemDisk())
        ahead.write(31)
        ahead.finish()
        slot = snapshots_on(ahead.disk)[-1]
        disk = MemDisk()
        wal, _ = open_wal(disk, seed=5)
        wal.append([AcceptRecord(1, BALLOT, batch_of(1)), CommitRecord(1)])
        wal.append([AcceptRecord(2, BALLOT, b"other"), AcceptRecord(slot, BALLOT, b"other")])
        wal.append([AcceptRecord(slot + 1, BALLOT, b"mine")])
        wal.sync()
        disk.files[snapshot_name(slot)] = ahead.disk.files[snapshot_name(slot)]
        disk.sync_dir()
        for seed in (6, 7):
            disk = disk.crash()
            life = Life(disk, seed)
            assert life.restored_slot == life.machine.applied == slot
            assert life.recovered.accepted == {slot + 1: (BALLOT, b"mine")}
            assert (life.recovered.commit, life.wal.first_slot) == (slot, slot + 1)
            life.check()
            disk = life.disk


class TestInstallRecord:
    """What the log says once a snapshot made elsewhere is relied upon."""

    def test_it_counts_with_its_group_or_not_at_all(self):
        disk = MemDisk()
        wal, _ = open_wal(disk)
        wal.append([AcceptRecord(slot, BALLOT, bytes(900)) for slot in (1, 2, 4, 9)])
        wal.append([CommitRecord(1)])
        wal.sync()
        wal.install(7)
        assert open_wal(disk.crash(), seed=2)[1].commit == 1
        wal.append([AcceptRecord(3, Ballot(3, "n2"), b"late"), CommitRecord(8)])
        wal.append([AcceptRecord(8, BALLOT, b"eight")])
        wal.sync()
        _, found = open_wal(disk.crash(), seed=3)
        assert (found.commit, found.first_slot) == (7, 8)
        assert set(found.accepted) == {8, 9}
        assert found.promised == Ballot(3, "n2")
        with pytest.raises(ValueError, match="is committed"):
            wal.install(8)

    @pytest.mark.parametrize("filler", range(1, 12))
    def test_also_where_it_begins_a_segment(self, filler):
        disk = MemDisk()
        wal, _ = open_wal(disk)
        for slot in range(1, filler + 1):
            wal.append([AcceptRecord(slot, BALLOT, bytes(700))])
            wal.sync()
        wal.install(100)
        wal.sync()
        _, found = open_wal(disk.crash(), seed=2)
        assert (found.commit, found.first_slot, found.accepted) == (100, 101, {})


class TestCrashAnywhere:
    """Before every changing operation of writing, renaming, removing and releasing."""

    @pytest.mark.parametrize("survives", ["nothing", "all", "some"])
    def test_a_crash_before_every_disk_operation(self, survives):
        rng = random.Random(4)
        print("seed=4")
        whole = CrashDisk()
        life = Life(whole)
        life.write(36)
        life.finish()
        total = whole.count
        assert total > 90
        assert life.snapshots.taken >= 3
        restored = set()
        for die_at in range(1, total + 1):
            disk = CrashDisk()
            disk.die_at = die_at
            applied = 0
            life = None
            try:
                life = Life(disk)
                life.write(36)
                life.finish()
            except PowerLoss:
                applied = life.machine.applied if life is not None else 0
            keep = {"nothing": lambda: False, "all": lambda: True,
                    "some": lambda: rng.random() < 0.5}[survives]  # fmt: skip
            names = {"nothing": 0, "all": 1 << 30, "some": rng.randint(0, 3)}[survives]
            after = disk.crash(keep, names)
            again = Life(after, seed=2)
            # All that was durable and known to be chosen before is there, and nothing else.
            assert again.machine.applied >= applied - 1, die_at
            again.check()
            assert not [name for name in after.files if name.endswith(".part")]
            again.write(again.machine.applied + 15)
            again.finish()
            again.check()
            restored.add(again.restored_slot)
        assert len(restored) >= 4

    def test_without_the_rename_after_the_sync_it_would_be_found(self):
        """The check of the check: a file under its final name that is not whole is refused."""
        life = Life(MemDisk())
        life.write(12)
        life.finish()
        disk = life.disk.crash()
        slot = snapshots_on(disk)[0]
        file = disk.files[snapshot_name(slot)]
        file.data[len(file.data) // 2 :] = b""
        again = Life(disk, seed=2)
        assert again.log.named("snapshot.bad")
        again.check()

    def test_a_part_of_an_earlier_life_is_removed(self):
        life = Life(MemDisk())
        life.disk.open(part_name(10), create=True)
        again = Life(life.disk.copy(), seed=2)
        assert part_name(10) not in again.disk.files
        again.write(25)
        again.finish()
        assert reference(25).chain == again.machine.chain
