"""Damage that nobody has met yet is found while the node runs, and made good out of its memory."""

import errno
import random
from dataclasses import replace

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord, PromiseRecord
from paxosd.core.messages import SnapshotOffer
from paxosd.core.status import ScrubStatus
from paxosd.core.types import Ballot
from paxosd.snapshot.file import snapshot_name
from paxosd.snapshot.scrub import PIECE_BYTES
from paxosd.storage.disk import CorruptionError
from paxosd.storage.wal_format import segment_name, segment_number
from tests.snapshot.lives import BALLOT, CrashDisk, Life, PowerLoss, batch_of
from tests.snapshot.scrub_bench import DAY_MS, MARGIN, Bench
from tests.storage.memdisk import SMALL, MemDisk


@pytest.fixture
def bench():
    made = Bench()
    assert len(made.segments()) >= 4
    return made


class TestPass:
    def test_over_all_that_is_not_written_to(self, bench):
        bench.snapshot()
        sealed = [segment.end for segment in bench.wal.segments.sealed]
        assert [segment.header.number for segment in bench.wal.segments.sealed] == bench.segments()[
            :-1
        ]
        assert bench.status == ScrubStatus(last_ms_ago=-1, running=False)
        bench.scrub()
        snapshot = bench.life.snapshots.newest.size_bytes
        assert sum(sealed) <= bench.status.bytes <= sum(sealed) + snapshot
        assert bench.status.bytes > sum(sealed) + snapshot // 2
        assert 0 <= bench.status.last_ms_ago < 10_000
        assert bench.status.found == 0
        assert bench.log.named("storage.scrub_found") == []

    def test_comes_an_interval_after_the_start_and_after_each(self, bench):
        for _ in range(3):
            bench.turn(DAY_MS - 10_000)
            before = bench.status.bytes
            for _ in range(50):
                bench.turn(100)
            assert bench.status.bytes == before
            bench.scrub()
            assert bench.status.bytes > before

    def test_keeps_its_rate(self):
        """A segment here is about what may be read in a second."""
        bench = Bench(options=replace(MARGIN, scrub_bytes_per_s=SMALL))
        bench.turn(DAY_MS)
        for second in range(1, 4):
            for _ in range(100):
                bench.turn(10)
            assert (second - 1) * SMALL < bench.status.bytes <= (second + 1) * SMALL
        assert bench.status.running
        assert bench.exchange.next_due_ms(bench.now_ms) > bench.now_ms

    def test_is_off_if_so_set(self):
        bench = Bench(options=replace(MARGIN, scrub_bytes_per_s=0))
        bench.scrub()
        assert bench.status.bytes == 0
        assert bench.exchange.next_due_ms(bench.now_ms) == float("inf")

    def test_of_records_larger_than_a_piece(self):
        disk = MemDisk()
        bench = Bench(disk)
        first = bench.wal.last_slot + 1
        for slot in range(first, first + 3):
            bench.wal.append([AcceptRecord(slot, BALLOT, bytes([slot]) * 3 * PIECE_BYTES)])
            bench.wal.sync()
        bench.scrub()
        assert bench.status.found == 0
        large = bench.wal.segments.sealed[-1]
        assert large.end > 3 * PIECE_BYTES
        bench.flip(large.header.name, large.end - 500)
        bench.scrub()
        assert bench.status.found == 1

    def test_a_segment_that_is_given_back_meanwhile_is_no_damage(self):
        bench = Bench(options=replace(MARGIN, margin_slots=0, scrub_bytes_per_s=SMALL))
        bench.turn(DAY_MS)
        bench.turn(1000)
        for _ in range(2):
            bench.write_on()
            bench.snapshot()
        bench.wal.sync()
        assert bench.segments()[0] > 1
        for _ in range(50):
            bench.turn(1000)
        assert bench.status.found == 0


class TestSegments:
    def test_a_flipped_bit_anywhere(self, bench):
        segments = [(s.header.name, s.end) for s in bench.wal.segments.sealed]
        kept = bench.disk.copy()
        for name, end in segments:
            for at in [0, 80, 511, *range(512, end, 397), end - 1]:
                again = Bench(kept.copy(), slots=0)
                again.flip(name, at)
                again.scrub()
                assert again.status.found == again.status.repaired == 1, (name, at)
                (found,) = again.log.named("storage.scrub_found")
                assert found["segment"] == name
                assert max(0, at - 1500) <= found["offset"] <= at
                (repaired,) = again.log.named("storage.repaired")
                assert repaired["segment"] == name
                assert segment_number(name) not in again.segments()
                again.check_restart()

    def test_what_lies_behind_the_last_group_is_no_part_of_it(self, bench):
        segment = bench.wal.segments.sealed[0]
        assert segment.end < SMALL
        bench.flip(segment.header.name, segment.end + 1)
        bench.scrub()
        assert bench.status.found == 0

    def test_the_one_being_written_is_let_alone(self, bench):
        bench.flip(segment_name(bench.segments()[-1]), 700)
        bench.scrub()
        assert bench.status.found == 0

    @pytest.mark.parametrize("how", ["cut", "removed", "unreadable"])
    def test_one_that_is(self, bench, how, monkeypatch):
        segment = bench.wal.segments.sealed[1]
        name = segment.header.name
        if how == "cut":
            del bench.disk.files[name].data[segment.end - 30 :]
        elif how == "removed":
            del bench.disk.files[name], bench.disk.durable_names[name]
        else:
            bench.disk.files[name].pread = lambda n, at: (_ for _ in ()).throw(
                OSError(errno.EIO, "bad sector")
            )
        bench.scrub()
        assert bench.status.found == bench.status.repaired == 1
        bench.check_restart()

    def test_the_margin_and_the_older_snapshot_give_way_as_far_as_needed(self, bench):
        bench.snapshot()
        bench.write_on(30)
        bench.snapshot()
        assert bench.wal.first_slot == 1
        _, second, third = bench.wal.segments.sealed[:3]
        bench.flip(second.header.name, 1000)
        top = bench.wal.segments.top_through(second.header.number)
        taken = bench.life.snapshots.taken
        bench.scrub()
        assert bench.wal.first_slot == top + 1 == bench.life.machine.history.base + 1
        assert bench.segments()[0] == third.header.number
        assert bench.life.snapshots.taken == taken, "the newest holds it all"
        bench.check_restart()

    def test_a_vote_above_the_commit_index_keeps_the_segment_until_it_is_chosen(self):
        bench = Bench(slots=20)
        slot = bench.life.machine.applied + 1
        vote = AcceptRecord(slot, Ballot(7, "n3"), batch_of(slot))
        bench.wal.append([vote])
        bench.wal.sync()
        number = bench.segments()[-1]
        while not bench.wal.segments.is_sealed(number):
            bench.wal.append([PromiseRecord(Ballot(8, "n1"))])
            bench.wal.sync()
        bench.flip(segment_name(number), 600)
        bench.scrub()
        assert (bench.status.found, bench.status.repaired) == (1, 0)
        assert number in bench.segments()
        assert bench.wal.read(slot) == (Ballot(7, "n3"), batch_of(slot))
        bench.life.write(slot + 1, turns=0)
        for _ in range(100):
            bench.turn(1000)
        assert bench.status.repaired == 1
        assert number not in bench.segments()
        bench.check_restart()

    def test_a_snapshot_of_less_is_not_enough(self, bench):
        bench.snapshot()
        bench.life.write(350, turns=0)
        last = bench.wal.segments.sealed[-1]
        assert bench.wal.segments.top_through(last.header.number) > bench.life.snapshots.newest.slot
        bench.flip(last.header.name, last.end - 100)
        bench.scrub()
        assert bench.status.repaired == 1
        assert len(bench.snapshots()) == 2
        bench.check_restart()

    def test_a_higher_slot_in_an_earlier_segment(self):
        """Segments go from the lowest on."""
        bench = Bench(slots=20)
        slot = bench.life.machine.applied + 1
        tops = []
        for each in (slot + 2, slot):
            bench.wal.append([AcceptRecord(each, BALLOT, batch_of(each))])
            bench.wal.sync()
            number = bench.segments()[-1]
            while not bench.wal.segments.is_sealed(number):
                bench.wal.append([PromiseRecord(Ballot(8, "n1"))])
                bench.wal.sync()
            tops.append(bench.wal.segments.top_through(number))
        assert tops == [slot + 2, slot + 2]
        bench.flip(segment_name(number), 600)
        bench.scrub()
        assert bench.status.repaired == 0
        bench.life.write(slot + 3, turns=0)
        for _ in range(100):
            bench.turn(1000)
        assert bench.status.repaired == 1
        bench.check_restart()

    def test_a_promise_in_it_is_kept(self, bench):
        bench.wal.append([PromiseRecord(Ballot(9, "n9"))])
        bench.wal.sync()
        number = bench.segments()[-1]
        bench.life.write(300, turns=0)
        assert bench.wal.segments.is_sealed(number)
        bench.flip(segment_name(number), 600)
        bench.scrub()
        assert bench.status.repaired == 1
        assert number not in bench.segments()
        assert bench.check_restart().recovered.promised == Ballot(9, "n9")

    def test_a_crash_before_it_is_made_good_is_found_at_the_start(self, bench):
        bench.flushes = False
        bench.flip(bench.wal.segments.sealed[0].header.name, 700)
        bench.scrub()
        assert bench.status.repaired == 0
        with pytest.raises(CorruptionError):
            Life(bench.disk.crash(), seed=2)


class TestCrash:
    @pytest.mark.parametrize("share", [0, 0.5])
    def test_anywhere_in_the_repair(self, bench, share):
        """It is made good as a whole, or the damage is found at the start: never is less known
        without that being noticed."""
        print("seed=6")
        rng = random.Random(6)
        bench.wal.append([PromiseRecord(Ballot(9, "n9")), CommitRecord(200)])
        bench.wal.append([AcceptRecord(205, Ballot(9, "n9"), b"a vote above")])
        bench.wal.sync()
        name = bench.wal.segments.sealed[1].header.name
        kept = bench.disk.copy()
        outcomes = set()
        die_at = 0
        while "ended" not in outcomes:
            die_at += 1
            disk = CrashDisk.after(kept.copy())
            dying = Bench(disk, slots=0)
            dying.flip(name, 900)
            disk.die_at = disk.count + die_at
            try:
                dying.scrub()
                outcomes.add("ended")
                assert dying.status.repaired == 1
            except PowerLoss:
                pass
            left = disk.crash(lambda: rng.random() < share, rng.randint(0, 3) if share else 0)
            try:
                again = Life(left, seed=9)
            except CorruptionError:
                outcomes.add("found")
                continue
            outcomes.add("repaired")
            assert again.machine.applied == 200
            again.check()
            assert again.recovered.promised == Ballot(9, "n9")
            assert again.recovered.accepted == {205: (Ballot(9, "n9"), b"a vote above")}
        assert outcomes == {"ended", "found", "repaired"}
        assert die_at > 8


class TestSnapshots:
    def two(self, bench):
        bench.snapshot()
        bench.write_on(20)
        bench.snapshot()
        return bench.snapshots()

    def test_the_newest_is_set_aside_and_another_taken(self, bench):
        older, newest = self.two(bench)
        bench.flip(snapshot_name(newest), 200)
        bench.scrub()
        assert bench.status.found == bench.status.repaired == 1
        (found,) = bench.log.named("storage.scrub_found")
        assert found["segment"] == snapshot_name(newest)
        assert snapshot_name(newest) + ".bad" in bench.disk.files
        assert bench.snapshots() == [older, newest], "taken anew, of the same slot"
        bench.check_restart()
        bench.scrub()
        assert bench.status.found == 1

    def test_the_older_is_set_aside_and_another_taken(self, bench):
        older, newest = self.two(bench)
        bench.flip(snapshot_name(older), 200)
        bench.scrub()
        assert (bench.status.found, bench.status.repaired) == (1, 0)
        assert bench.snapshots() == [newest], "there is nothing newer to take"
        bench.write_on()
        bench.snapshot()
        assert bench.status.repaired == 1
        assert bench.snapshots() == [newest, bench.life.machine.applied]

    def test_a_bad_one_is_not_offered(self, bench):
        _, newest = self.two(bench)
        bench.flip(snapshot_name(newest), 200)
        bench.exchange.offer("n2", 1)
        assert [type(message) for message in bench.sent] == [SnapshotOffer]
        bench.sent.clear()
        bench.life.snapshots.discard(newest)
        bench.exchange.offer("n2", 1)
        assert bench.sent == []
        bench.turn(10)
        assert bench.life.snapshots.find(newest) is None

    def test_one_whose_bytes_are_sound_but_not_those_that_were_written(self, bench):
        bench.snapshot()
        slot = bench.life.machine.applied
        bench.life.snapshots.newest = bench.life.snapshots.newest._replace(digest=b"\1" * 16)
        bench.scrub()
        assert "not the one" in bench.log.named("storage.scrub_found")[0]["message"]
        assert bench.snapshots() == [slot]

    def test_few_bad_ones_are_kept(self, bench):
        for _ in range(5):
            bench.write_on()
            bench.snapshot()
            bench.flip(snapshot_name(bench.snapshots()[-1]), 200)
            bench.scrub()
        assert bench.status.found == 5
        bad = [name for name in bench.disk.files if name.endswith(".bad")]
        assert len(bad) == 2


def test_an_idle_exchange_is_not_due_before_it_does_something():
    """It looks seldom while it rests; in between it must not report that it is due."""
    bench = Bench()
    bench.turn(DAY_MS)
    spun = 0
    for _ in range(3000):
        bench.turn(0.1)
        exchange = bench.exchange
        due = exchange.next_due_ms(bench.now_ms) <= bench.now_ms
        bench.turn(0.0)
        spun += due and exchange._rests and exchange.next_due_ms(bench.now_ms) <= bench.now_ms
    assert spun == 0
