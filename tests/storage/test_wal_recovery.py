"""Recovery: what a crash tore is cut off, what is corrupt is refused."""

import random

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord, PromiseRecord
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.storage import wal_open
from paxosd.storage.disk import CorruptionError, StorageError
from paxosd.storage.wal_mark import NAME
from paxosd.storage.wal_recovery import close_all, scan
from tests.storage.memdisk import SMALL, MemDisk, open_wal

B1, B2 = Ballot(1, "n1"), Ballot(2, "n2")


def accept(slot, value=b"v", ballot=B1):
    return AcceptRecord(slot, ballot, value)


def written(groups, seed=1):
    """A disk with these synced groups; and per group (segment, start, end) of its bytes."""
    disk = MemDisk()
    wal, _ = open_wal(disk, seed)
    places = []
    for group in groups:
        wal.append(group)
        job = wal.begin_sync(flush=True)
        job.run()
        wal.finish_sync(job)
        places.append((job.header.name, job.offset, job.end, job.buffers))
    wal.close()
    return disk, places


GROUPS = [
    [PromiseRecord(B1)],
    [accept(1, b"one"), accept(2, b"two")],
    [CommitRecord(1), accept(3, b"three" * 30), accept(4, b"four"), PromiseRecord(B2)],
]


class TestTornTail:
    def test_cut_at_every_byte_of_the_last_group_gives_exactly_the_earlier_groups(self):
        disk, places = written(GROUPS)
        name, start, end, _ = places[-1]
        for cut in range(start, end + 1):
            torn = disk.copy()
            del torn.files[NAME]  # it was never synced, so it was never noted
            for data in (torn.files[name].data, torn.files[name].durable):
                data[cut:] = bytes(len(data) - cut)
            wal, found = open_wal(torn, seed=2)
            whole = data[start:end] == disk.files[name].data[start:end]  # it ends in zeros
            assert found.promised == (B2 if whole else B1), cut
            assert found.last_slot == (4 if whole else 2), cut
            assert found.commit == (1 if whole else 0), cut
            slots = {2, 3, 4} if whole else {1, 2}
            assert set(found.accepted) == slots, cut
            assert not found.warnings, cut
            wal.append([accept(3, b"again")])
            wal.sync()
            _, again = open_wal(torn.crash(), seed=3)
            assert again.accepted[3] == (B1, b"again"), cut
            assert again.truncated_bytes == 0

    @pytest.mark.parametrize("stale", [False, True], ids=["new file", "reused file"])
    def test_any_subset_of_a_torn_groups_sectors(self, stale):
        disk = MemDisk()
        wal, _ = open_wal(disk)
        if stale:  # the rest of the segment holds another use's bytes
            filler = random.Random(5).randbytes(SMALL)
            file = disk.files["wal-00000001.log"]
            file.data[wal._end :] = filler[wal._end :]
            file.fdatasync()
        wal.append([accept(1, b"first")])
        wal.sync()
        wal._mark.sync()
        group = [accept(slot, bytes([slot]) * 500) for slot in range(2, 8)]
        wal.append(group)
        job = wal.begin_sync()
        job.file.pwritev(job.buffers, job.offset)
        count = (job.end - 1) // 512 - job.offset // 512 + 1
        assert 6 <= count <= 10
        for subset in range(1 << count):
            bits = iter(range(count))
            torn = disk.crash(lambda bits=bits, subset=subset: subset >> next(bits) & 1)
            before = open_wal(torn, seed=2)[1]
            whole = subset == (1 << count) - 1
            assert before.last_slot == (7 if whole else 1), bin(subset)
            again = torn.crash()
            _, found = open_wal(again, seed=3)
            assert found.truncated_bytes == 0, bin(subset)
            assert found.accepted.keys() == set(range(1, 8 if whole else 2))

    def test_a_torn_group_never_comes_back_to_life(self):
        disk, _ = written([[accept(1)]])
        wal, _ = open_wal(disk.copy(), seed=2)
        disk = wal._disk
        wal.append([accept(2, b"a" * 100), accept(3, b"torn" * 200)])
        job = wal.begin_sync()
        job.file.pwritev(job.buffers[:2], job.offset)  # all records, but no end
        wal, found = open_wal(disk.copy(), seed=3)
        assert found.last_slot == 1
        # The same first record again, then a crash: the old second one still lies behind it.
        wal.append([accept(2, b"a" * 100)])
        job = wal.begin_sync()
        job.file.pwritev(job.buffers[:1], job.offset)
        disk = wal._disk.copy()
        assert b"torntorn" not in disk.contents()["wal-00000001.log"]

    def test_the_last_group_is_made_durable_before_it_is_relied_upon(self):
        """Process killed between write and fdatasync, restarted, then the power fails."""
        disk, _ = written([[accept(1)]])
        wal, _ = open_wal(disk, seed=2)
        wal.append([accept(2, b"cached")])
        job = wal.begin_sync()
        job.file.pwritev(job.buffers, job.offset)
        job.file.unsynced.clear()  # a failed fsync marked the pages clean: a mere sync is no use
        job.file.fdatasync = lambda: None
        wal, found = open_wal(disk, seed=3)
        assert found.accepted[2] == (B1, b"cached")
        after = disk.crash(keep_sector=lambda: True)  # only what was written again
        assert open_wal(after, seed=4)[1].accepted[2] == (B1, b"cached")

    def test_the_name_of_a_new_segment_is_made_durable_before_it_is_relied_upon(self):
        """Killed between rename and directory sync, started again, and then the power goes.

        Found by the crash points: `--again 1:kill:16:0`, and `2:kill:359:0` with a vote lost."""
        disk = MemDisk()
        wal, _ = open_wal(disk)
        killed = False
        slot = 0
        disk.fail["sync_dir"] = 5  # the process dies where the directory would be synced
        while not killed:
            slot += 1
            wal.append([accept(slot, b"v" * 1000)])
            try:
                wal.sync()
            except StorageError:
                killed = True
        disk.fail.clear()
        assert len(disk.files) == 3
        wal, found = open_wal(disk, seed=2)  # the page cache is still there
        assert found.last_slot == slot - 1
        wal.append([accept(slot, b"v" * 1000)])
        wal.sync()
        _, found = open_wal(disk.crash(), seed=3)
        assert found.last_slot == slot

    def test_a_torn_first_group_of_a_new_segment(self):
        disk = MemDisk()
        wal, _ = open_wal(disk)
        slot = 0
        while True:
            slot += 1
            wal.append([accept(slot, bytes(1000))])
            job = wal.begin_sync()
            if job.file is None:
                break
            job.run()
            wal.finish_sync(job)
        file = wal._preparer.take(job.header)
        for kept in (0, 50, 100, 600):
            file.pwritev([bytes(2000)], 512)
            file.pwritev([b"".join(job.buffers)[:kept]], 512)
            torn = disk.copy()
            after, found = open_wal(torn, seed=2)
            assert found.last_slot == slot - 1
            assert after._header.number == 1
            after.append([accept(slot, bytes(1000))])
            after.sync()
            assert after._header == job.header
            assert open_wal(torn.crash(), seed=3)[1].last_slot == slot

    def test_a_crash_at_every_step_of_making_a_segment(self):
        steps = 0
        for operation in ("allocate", "pwritev", "fdatasync", "rename", "sync_dir"):
            for kept in (0, 1, 9):
                disk = MemDisk()
                wal, _ = open_wal(disk)
                for slot in range(1, 7):
                    wal.append([accept(slot, bytes(1000))])
                    wal.sync()
                wal.append([accept(7, bytes(1000))])
                job = wal.begin_sync()
                assert job.file is None
                disk.fail = {operation: 5}
                with pytest.raises(StorageError):
                    job.run()
                after = disk.crash(lambda kept=kept: kept > 0, keep_names=kept)
                wal, found = open_wal(after, seed=2)
                assert found.last_slot == 6
                wal.append([accept(7, bytes(1000))])
                wal.sync()
                assert open_wal(after.crash(), seed=3)[1].last_slot == 7
                steps += 1
        assert steps == 15


class TestCorruption:
    def refuse(self, disk, name, offset):
        before = disk.contents()
        with pytest.raises(CorruptionError) as caught:
            open_wal(disk, seed=9)
        assert disk.contents() == before, "a refused log must not be touched"
        assert (caught.value.segment, caught.value.offset) == (name, offset)
        assert name in str(caught.value)
        assert f"offset {offset}" in str(caught.value)

    def test_every_byte_of_an_early_record(self):
        disk, places = written(GROUPS)
        name, start, end, buffers = places[1]
        offset = start
        for buffer in buffers:
            for at in range(offset, offset + len(buffer)):
                bad = disk.copy()
                bad.files[name].data[at] ^= 0x40
                self.refuse(bad, name, offset)
            offset += len(buffer)
        assert offset == end

    def test_an_early_group_lost_as_a_whole(self):
        disk, places = written(GROUPS)
        name, start, end, _ = places[1]
        bad = disk.copy()
        bad.files[name].data[start:end] = bytes(end - start)
        self.refuse(bad, name, start)

    def test_last_record_of_a_full_segment(self):
        disk, places = written([[accept(slot, bytes(1000))] for slot in range(1, 10)])
        name, start, end, buffers = [p for p in places if p[0] == "wal-00000001.log"][-1]
        for at in range(start, end, 7):
            bad = disk.copy()
            bad.files[name].data[at] ^= 1
            self.refuse(bad, name, start if at < start + len(buffers[0]) else
                        start + len(buffers[0]))  # fmt: skip
        bad = disk.copy()
        bad.files[name].data[start:end] = bytes(end - start)
        self.refuse(bad, name, start)

    def test_a_bad_group_before_a_torn_one_in_the_next_segment(self):
        """Group G+2 had begun, so G+1 had been durable, although nothing of G+2 is whole."""
        disk, places = written([[accept(slot, bytes(1000))] for slot in range(1, 8)])
        assert [p[0] for p in places[-2:]] == ["wal-00000001.log", "wal-00000002.log"]
        (first, start, _, _), (second, torn_from, _, _) = places[-2:]
        disk.files[first].data[start + 40] ^= 1
        disk.files[second].data[torn_from + 30 :] = bytes(SMALL - torn_from - 30)
        self.refuse(disk, first, start)

    def test_a_segment_under_another_number(self):
        disk, _ = written([[accept(slot, bytes(1000))] for slot in range(1, 8)])
        disk.files["wal-00000001.log"] = disk.files["wal-00000002.log"]
        self.refuse(disk, "wal-00000001.log", 0)

    def test_every_byte_of_a_header(self):
        disk, _ = written([[accept(slot, bytes(1000))] for slot in range(1, 10)])
        for number in (1, 2):
            for at in range(512):
                bad = disk.copy()
                bad.files[f"wal-{number:08d}.log"].data[at] ^= 0x10
                self.refuse(bad, f"wal-{number:08d}.log", 0)

    def test_a_missing_segment(self):
        disk, _ = written([[accept(slot, bytes(2000))] for slot in range(1, 20)])
        bad = disk.copy()
        del bad.files["wal-00000003.log"]
        self.refuse(bad, "wal-00000003.log", 0)
        bad = disk.copy()
        del bad.files["wal-00000001.log"]
        self.refuse(bad, "wal-00000001.log", 0)

    @pytest.mark.parametrize("size", [0, 511, 512, 600, SMALL - 1])
    def test_a_file_that_is_shorter_than_it_was_made(self, size):
        """No crash shortens it: whatever is gone may have been synced, and acknowledged."""
        disk, places = written(GROUPS)
        bad = disk.copy()
        name = places[0][0]
        del bad.files[name].data[size:]
        self.refuse(bad, name, size if size >= 512 else 0)

    def test_who_takes_what_is_before_the_damage_takes_nothing_from_behind_it(self):
        """Slots behind a gap of unknown size would be applied to a state that lacks others."""
        disk, places = written([[accept(slot, bytes([slot]) * 900)] for slot in range(1, 40)])
        names = sorted({name for name, *_ in places})
        assert len(names) >= 3
        of_second = [place for place, (name, *_) in enumerate(places) if name == names[1]]
        name, start, *_ = places[of_second[2]]
        disk.files[name].data[start + 40] ^= 1
        damage, seen = [], []
        found = scan(
            disk, "c", "n1", progress=lambda done, total: seen.append(done), damaged=damage.append
        )
        close_all(found)
        assert len(damage) == 1
        assert name in str(damage[0])
        assert of_second[0] < found.last_group <= of_second[-1]
        assert seen == [1], "only the whole segment was read to its end"

    def test_cut_at_every_byte_of_the_last_group(self):
        disk, places = written(GROUPS)
        name, start, end, _ = places[-1]
        for cut in range(start, end + 2):
            bad = disk.copy()
            del bad.files[name].data[cut:]
            self.refuse(bad, name, cut)

    def test_a_group_that_runs_over_the_segments_size_makes_the_file_longer(self):
        disk, places = written([[accept(1, bytes(SMALL))], [accept(2)]])
        assert len(disk.files[places[0][0]].data) > SMALL
        assert open_wal(disk, seed=2)[1].last_slot == 2

    def test_an_older_copy_of_a_segment(self):
        disk, _ = written([[accept(slot, bytes(1000))] for slot in range(1, 4)])
        old = disk.copy().files["wal-00000001.log"].data
        wal, _ = open_wal(disk, seed=2)
        for slot in range(4, 10):
            wal.append([accept(slot, bytes(1000))])
            wal.sync()
        assert wal.stats()["segments"] == 2
        bad = disk.copy()
        bad.files["wal-00000001.log"].data = old
        with pytest.raises(CorruptionError, match=r"wal-00000001\.log"):
            open_wal(bad)

    def test_a_value_that_looks_like_a_record_is_only_a_value(self):
        disk, places = written([[accept(1)], [accept(2)]])
        forged = b"".join(places[-1][3])  # of group 3, as another log with other nonces has it
        disk, places = written([[accept(1, forged * 3)]], seed=7)
        name, _, end, _ = places[-1]
        disk.files[name].data[end - 1] ^= 1
        del disk.files[NAME]
        assert open_wal(disk, seed=2)[1].last_slot == 0

    def test_a_log_that_is_gone(self):
        with pytest.raises(CorruptionError, match="is gone"):
            open_wal(MemDisk(), create=False)

    def test_another_nodes_log(self):
        disk, _ = written(GROUPS)
        with pytest.raises(StorageError, match=r"belongs to node 'n1' of cluster 'c'"):
            wal_open.open_wal(disk, cluster_id="c", node_id="n2")
        with pytest.raises(StorageError, match="data_dir"):
            wal_open.open_wal(disk, cluster_id="d", node_id="n1")


class TestMeaning:
    def test_commit_goes_as_far_as_the_slots_are_present(self):
        disk, _ = written([[accept(1), accept(2), accept(4), CommitRecord(5)]])
        _, found = open_wal(disk)
        assert found.commit == 2
        assert set(found.accepted) == {4}

    def test_a_slot_that_came_after_the_commit_record_is_not_covered_by_it(self):
        disk, _ = written([[accept(1), CommitRecord(2)], [accept(2, b"mine")]])
        _, found = open_wal(disk)
        assert found.commit == 1
        assert set(found.accepted) == {2}

    def test_accepted_keeps_the_highest_ballot_and_read_gives_the_newest(self):
        decision = DecisionRecord(2, B1, b"x")
        disk, _ = written([[accept(2, b"x", B2)], [decision]])
        wal, found = open_wal(disk)
        assert found.accepted == {2: (B2, b"x")}
        assert wal.read(2) == (B1, b"x")

    def test_an_accept_is_a_promise_and_a_decision_is_not(self):
        disk, _ = written([[accept(1, b"x", B1), DecisionRecord(2, B2, b"y")]])
        assert open_wal(disk)[1].promised == B1

    @pytest.mark.parametrize("committed", [False, True])
    def test_what_is_promised_and_accepted_does_not_depend_on_a_commit_record(self, committed):
        """A decision is chosen with or without it, and never a vote or a promise of this node:
        those would be gone once the commit record is there."""
        commit = [CommitRecord(2)] if committed else []
        decisions = [DecisionRecord(1, B2, b"x"), DecisionRecord(2, B2, b"y"), *commit]
        disk, _ = written([[accept(1, b"old", B1), accept(4, b"z", B1)], decisions])
        wal, found = open_wal(disk)
        assert (found.promised, found.commit) == (B1, 2)
        assert found.accepted == {4: (B1, b"z")}
        assert wal.read(1) == (B2, b"x")

    def test_a_decision_behind_a_gap_waits_for_the_gap(self):
        disk, _ = written([[accept(1), DecisionRecord(3, B2, b"y"), DecisionRecord(2, B2, b"x")]])
        wal, found = open_wal(disk)
        assert (found.promised, found.commit, set(found.accepted)) == (B1, 0, {1})
        wal.append([CommitRecord(1)])
        wal.sync()
        assert open_wal(disk)[1].commit == 3

    def test_a_vote_after_a_decision_behind_a_gap_is_not_taken_for_the_choice(self):
        """The decision was forgotten at a start between the two: the vote may be another value."""
        disk, _ = written([[DecisionRecord(2, B2, b"chosen"), accept(2, b"other", B1)]])
        wal, found = open_wal(disk)
        assert found.accepted == {2: (B1, b"other")}
        wal.append([DecisionRecord(1, B2, b"x")])
        wal.sync()
        _, found = open_wal(disk)
        assert (found.commit, found.accepted) == (1, {2: (B1, b"other")})

    def test_an_empty_log(self):
        disk, _ = written([])
        _, found = open_wal(disk, create=False)
        assert (found.promised, found.commit, found.last_slot) == (NULL_BALLOT, 0, 0)
        assert not found.created
