"""The disk that fails on purpose, under the real log: what it does, and that recovery copes."""

import errno

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord
from paxosd.core.types import Ballot
from paxosd.faults.disk import FaultyDisk
from paxosd.faults.plan import FaultPlan
from paxosd.storage.disk import CorruptionError, RealDisk, StorageError
from paxosd.storage.wal_mark import NAME
from tests.storage.memdisk import MemDisk, open_wal

B1 = Ballot(1, "n1")


class Died(BaseException):
    """What the process does when its disk asks for it."""


class Bench:
    """A log on a faulty disk around ``inner``, a clock that the test moves."""

    def __init__(self, inner=None):
        self.now_ms = 0
        self.slept_ms = []
        self.told = []
        self.inner = MemDisk() if inner is None else inner
        self.plan = FaultPlan(lambda event, fields: self.told.append(event), node="n1")
        self.disk = FaultyDisk(
            self.inner,
            self.plan,
            now_ms=lambda: self.now_ms,
            sleep_ms=self.slept_ms.append,
            crash=self._die,
        )
        self.wal, self.found = open_wal(self.disk)
        self.last_slot = self.found.last_slot

    def _die(self):
        raise Died

    def fault(self, kind, **args):
        self.plan.add_args({"name": kind, "kind": kind, "on": "n1", **args}, self.now_ms)

    def write(self, groups=1, size=30):
        for _ in range(groups):
            self.last_slot += 1
            self.wal.append([AcceptRecord(self.last_slot, B1, bytes(size))])
            self.wal.append([CommitRecord(self.last_slot - 1)] if self.last_slot > 1 else [])
            job = self.wal.begin_sync()
            job.run()
            self.wal.finish_sync(job)


@pytest.fixture(params=["memory", "real"])
def bench(request, tmp_path):
    return Bench(RealDisk(tmp_path) if request.param == "real" else MemDisk())


class TestKinds:
    def test_no_rule_no_difference(self, bench):
        bench.write(5)
        assert bench.slept_ms == []
        assert sorted(bench.disk.list()) == sorted(bench.inner.list())
        assert bench.disk.free_bytes() > 0

    def test_disk_slow_delays_each_sync(self, bench):
        bench.fault("disk-slow", ms=40)
        bench.write(3)
        assert bench.slept_ms == [40, 40, 40]

    def test_disk_full_fails_the_group_and_poisons_the_log(self, bench):
        bench.write()
        bench.fault("disk-full")
        with pytest.raises(StorageError, match="No space left on device") as info:
            bench.write()
        assert info.value.errno == errno.ENOSPC
        with pytest.raises(StorageError, match="given up"):
            bench.write()

    def test_disk_full_lets_no_segment_be_made(self, bench):
        bench.fault("disk-full")
        file = bench.disk.open("new", create=True)
        with pytest.raises(OSError, match="No space left"):
            file.allocate(100)
        assert file.size() == 0

    def test_a_failed_sync_poisons_the_log_and_syncs_nothing(self):
        bench = Bench()
        bench.write()
        syncs = bench.inner.syncs
        bench.fault("fsync-error")
        with pytest.raises(StorageError, match="could not sync") as info:
            bench.write()
        assert info.value.errno == errno.EIO
        assert bench.inner.syncs == syncs
        bench.plan.clear(0)
        with pytest.raises(StorageError, match="given up"):  # never retried
            bench.write()

    def test_a_torn_write_leaves_a_part_and_recovery_cuts_it_off(self, bench):
        bench.write(3)
        for seed in range(40):
            bench.plan.clear(0)
            bench.fault("torn-write", seed=seed)
            acknowledged = bench.last_slot
            with pytest.raises(Died):
                bench.write()
            again = Bench(bench.inner)
            assert again.found.last_slot == acknowledged, seed
            assert again.wal.read(acknowledged) == (B1, bytes(30))
            bench = again
        assert bench.told == []

    def test_the_torn_part_is_neither_nothing_nor_all(self):
        kept = set()
        for seed in range(60):
            bench = Bench()
            bench.write()
            (name,) = bench.inner.files.keys() - {NAME}
            before = bytes(bench.inner.files[name].data)
            bench.fault("torn-write", seed=seed)
            bench.last_slot += 1
            bench.wal.append([AcceptRecord(bench.last_slot, B1, b"x" * 300)])
            job = bench.wal.begin_sync()
            whole = b"".join(job.buffers)
            with pytest.raises(Died):
                job.run()
            after = bench.inner.files[name].data
            written = bytes(after[job.offset : job.offset + len(whole)])
            length = next(n for n in range(len(whole), -1, -1) if written[:n] == whole[:n])
            assert before[: job.offset] == after[: job.offset]
            kept.add(length)
        assert min(kept) >= 1
        assert max(kept) < 400
        assert len(kept) > 20


class TestBitRot:
    def damage(self, bench):
        """name → offsets that differ from ``before``."""
        return {
            name: [i for i, byte in enumerate(data) if byte != self.before[name][i]]
            for name, data in bench.inner.contents().items()
            if data != self.before[name]
        }

    @pytest.mark.parametrize("groups", [3, 60], ids=["one segment", "several segments"])
    @pytest.mark.parametrize("run_id", ["first", "second"])
    def test_one_bit_flips_and_the_next_start_names_where(self, groups, run_id):
        places = set()
        for seed in range(60):
            bench = Bench()
            bench.write(groups, size=400)
            if run_id == "second":  # what it knows of the files, it knows from reading them
                bench = Bench(bench.inner)
            self.before = bench.inner.contents()
            bench.fault("bit-rot", seed=seed)
            bench.disk.tick()
            bench.disk.tick()
            ((name, (offset,)),) = self.damage(bench).items()
            flipped = self.before[name][offset] ^ bench.inner.files[name].data[offset]
            assert flipped.bit_count() == 1
            places.add((name, offset))
            with pytest.raises(CorruptionError) as info:
                Bench(bench.inner)
            assert info.value.segment == name
            assert info.value.offset <= offset
        assert len(places) > 30
        assert len({name for name, _ in places}) >= min(groups // 20, 2)

    def test_rot_comes_with_a_write_as_well_and_never_in_the_last_group(self):
        """A damaged last group cannot be distinguished from a torn one: it would be cut off, and
        with it what was acknowledged."""
        for seed in range(100):
            bench = Bench()
            bench.write(2)
            bench.fault("bit-rot", seed=seed)
            bench.write(1)
            with pytest.raises(CorruptionError):
                Bench(bench.inner)

    def test_what_is_being_written_does_not_rot_though_the_file_is_an_old_one(self):
        bench = Bench()
        bench.write(5)
        before = bench.inner.contents()
        again = FaultyDisk(bench.inner, bench.plan, now_ms=lambda: 0, sleep_ms=print, crash=print)
        (name,) = bench.inner.files.keys() - {NAME}
        file = again.open(name)
        file.pwritev([before[name][200:300]], 200)  # as recovery writes its last group again
        bench.fault("bit-rot")
        again.tick()
        assert bench.inner.contents() == before

    def test_nothing_is_stored_nothing_rots(self):
        bench = Bench()
        before = bench.inner.contents()
        bench.disk = FaultyDisk(
            MemDisk(), bench.plan, now_ms=lambda: 0, sleep_ms=print, crash=print
        )
        bench.fault("bit-rot")
        bench.disk.tick()
        assert bench.inner.contents() == before

    def test_on_a_real_disk(self, tmp_path):
        bench = Bench(RealDisk(tmp_path))
        bench.write(20)
        bench.fault("bit-rot", seed=3)
        bench.disk.tick()
        with pytest.raises(CorruptionError, match="corruption in wal-"):
            Bench(RealDisk(tmp_path))

    def test_a_read_of_what_rotted_is_refused_at_once(self):
        bench = Bench()
        bench.write(20, size=2000)
        bench.fault("bit-rot", seed=1)
        bench.disk.tick()
        refused = []
        for slot in range(1, 20):
            try:
                bench.wal.read(slot)
            except CorruptionError as error:
                refused.append((slot, f"slot {slot}" in str(error)))
        assert [named for _, named in refused] == [True]


class TestFiles:
    def test_names_follow_renames_and_removals(self):
        bench = Bench()
        file = bench.disk.open("a", create=True)
        file.pwritev([b"0123456789"], 0)
        file.fdatasync()
        file.pwritev([b"x"], 10)
        file.fdatasync()
        bench.disk.rename("a", "b")
        assert bench.disk._stored_bytes("b") == 10
        assert bench.disk._stored_bytes("a") == 0
        bench.disk.unlink("b")
        assert bench.disk._stored_bytes("b") == 0
        assert not bench.disk.exists("b")
        file.truncate(0)
        assert file.size() == 0
        assert file.pread(5, 0) == b""
        file.close()
