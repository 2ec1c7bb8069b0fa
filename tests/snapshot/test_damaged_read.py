"""A damaged record of the log that is asked for is not handed out, and is repaired."""

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord, PromiseRecord
from paxosd.core.types import Ballot
from paxosd.storage.disk import CorruptionError
from paxosd.storage.wal_format import segment_name, segment_number
from tests.snapshot.lives import BALLOT, batch_of
from tests.snapshot.scrub_bench import Bench
from tests.storage.memdisk import SMALL


@pytest.fixture
def bench():
    made = Bench()
    assert len(made.segments()) >= 4
    return made


class TestRead:
    """A damaged record that is asked for: not handed out, and reported."""

    def damage(self, bench, slot):
        location = bench.wal._index.get(slot)
        number, offset = location >> 32, location & 0xFFFF_FFFF
        bench.flip(segment_name(number), offset + 45)
        with pytest.raises(CorruptionError) as caught:
            bench.wal.read(slot)
        assert (caught.value.segment, caught.value.offset) == (segment_name(number), offset)
        return caught.value

    def test_every_byte_of_a_record(self, bench):
        location = bench.wal._index.get(5)
        name, offset = segment_name(location >> 32), location & 0xFFFF_FFFF
        length = bench.wal._index.get(6) - location
        value = bench.wal.read(5)
        group_end = 25
        for at in range(offset, offset + length - group_end - 40):
            bench.flip(name, at)
            with pytest.raises(CorruptionError):
                bench.wal.read(5)
            bench.flip(name, at)
        assert bench.wal.read(5) == value

    def test_a_length_that_is_damaged_reads_no_gigabyte(self, bench):
        location = bench.wal._index.get(5)
        name, offset = segment_name(location >> 32), location & 0xFFFF_FFFF
        bench.disk.files[name].data[offset + 11] ^= 0x3F
        file, asked = bench.disk.files[name], []
        bench.wal.segments._readers[location >> 32] = type("Counting", (), {
            "pread": lambda self, n, at: asked.append(n) or file.pread(n, at),
            "size": lambda self: file.size(),
        })()  # fmt: skip
        with pytest.raises(CorruptionError):
            bench.wal.read(5)
        assert max(asked) <= SMALL

    def test_in_a_sealed_segment(self, bench):
        bench.exchange.damaged(self.damage(bench, 7))
        for _ in range(50):
            bench.turn(10)
        assert bench.status.found == bench.status.repaired == 1
        assert bench.log.named("storage.corrupt")[0]["segment"] == segment_name(1)
        assert bench.wal.first_slot > 7
        bench.check_restart()

    def test_in_the_one_being_written(self, bench):
        slot = bench.life.machine.applied
        error = self.damage(bench, slot)
        bench.exchange.damaged(error)
        for _ in range(3):
            bench.exchange.damaged(error)
        for _ in range(20):
            bench.turn(10)
        assert bench.life.snapshots.newest.slot == slot
        assert bench.status.repaired == 0, "the log does not know yet that it is chosen"
        bench.wal.append([CommitRecord(slot)])  # as a node does at its next heartbeat
        for _ in range(50):
            bench.turn(10)
        assert bench.status.found == bench.status.repaired == 1
        assert segment_number(error.segment) not in bench.segments()
        bench.write_on()
        bench.check_restart()

    def test_in_the_one_being_written_while_a_group_is_on_its_way(self, bench):
        slot = bench.life.machine.applied
        error = self.damage(bench, slot)
        bench.flushes = False
        bench.wal.append([CommitRecord(slot), AcceptRecord(slot + 1, BALLOT, batch_of(slot + 1))])
        job = bench.wal.begin_sync()
        bench.wal.append([PromiseRecord(Ballot(5, "n1"))])
        bench.exchange.damaged(error)
        for _ in range(5):
            bench.turn(10)
        job.run()
        bench.wal.finish_sync(job)
        bench.flushes = True
        bench.life.write(slot + 3, turns=0)
        for _ in range(100):
            bench.turn(1000)
        assert bench.status.repaired == 1
        again = bench.check_restart()
        assert again.recovered.promised == Ballot(5, "n1")
