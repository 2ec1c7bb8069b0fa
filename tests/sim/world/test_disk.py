"""What a crash leaves on a simulated disk."""

import errno
import random

import pytest

from paxosd.sim.world.disk import SECTOR_BYTES, SimDisk


def disk_of(seed=1, **options):
    return SimDisk(random.Random(seed), **options)


def content(disk, name):
    file = disk.open(name)
    return file.pread(file.size(), 0)


def synced(disk, name, data):
    file = disk.open(name, create=True)
    file.pwritev([data], 0)
    file.fdatasync()
    disk.sync_dir()
    return file


class TestPowerCut:
    @pytest.mark.parametrize("seed", range(20))
    def test_what_was_synced_stays(self, seed):
        disk = disk_of(seed)
        synced(disk, "a", b"x" * 2000)
        disk.power_cut()
        assert content(disk, "a") == b"x" * 2000

    def test_unsynced_sectors_survive_in_any_subset(self):
        old, new = b"o" * 4 * SECTOR_BYTES, b"n" * 4 * SECTOR_BYTES
        seen = set()
        for seed in range(300):
            disk = disk_of(seed)
            synced(disk, "a", old).pwritev([new], 0)
            assert content(disk, "a") == new, "reads see what was written"
            disk.power_cut()
            after = content(disk, "a")
            parts = [after[at : at + SECTOR_BYTES] for at in range(0, len(after), SECTOR_BYTES)]
            assert all(part in (old[:SECTOR_BYTES], new[:SECTOR_BYTES]) for part in parts)
            seen.add(bytes(part[0] for part in parts))
        assert len(seen) == 16

    def test_a_sector_holds_one_of_its_versions_whole(self):
        seen = set()
        for seed in range(200):
            disk = disk_of(seed)
            file = synced(disk, "a", b"0000")
            file.pwritev([b"1"], 0)
            file.pwritev([b"2"], 1)
            disk.power_cut()
            seen.add(content(disk, "a"))
        assert seen == {b"0000", b"1000", b"1200"}, "never the second write without the first"

    def test_unsynced_names_survive_in_order(self):
        seen = set()
        for seed in range(100):
            disk = disk_of(seed)
            for name in ("a", "b"):
                disk.open(name, create=True)
            disk.rename("a", "c")
            disk.power_cut()
            seen.add(tuple(sorted(disk.list())))
        assert seen == {(), ("a",), ("a", "b"), ("b", "c")}

    def test_an_unsynced_extension_may_be_shorter(self):
        lengths = set()
        for seed in range(100):
            disk = disk_of(seed)
            file = synced(disk, "a", b"x" * SECTOR_BYTES)
            file.pwritev([b"y" * 2 * SECTOR_BYTES], SECTOR_BYTES)
            disk.power_cut()
            lengths.add(len(content(disk, "a")) // SECTOR_BYTES)
        assert lengths == {1, 2, 3}

    def test_a_removed_file_comes_back_if_that_was_not_synced(self):
        seen = set()
        for seed in range(30):
            disk = disk_of(seed)
            synced(disk, "a", b"x")
            disk.unlink("a")
            disk.power_cut()
            seen.add(disk.exists("a"))
        assert seen == {True, False}


class TestFailures:
    def test_after_a_failed_sync_a_second_one_makes_nothing_durable(self):
        for rewrite in (False, True):
            disk = disk_of()
            file = synced(disk, "a", b"old")
            file.pwritev([b"new"], 0)
            disk.fail_syncs = True
            with pytest.raises(OSError, match="fsync"):
                file.fdatasync()
            disk.fail_syncs = False
            if rewrite:
                file.pwritev([b"new"], 0)
            file.fdatasync()
            assert content(disk, "a") == b"new", "the cache has it"
            disk.power_cut()
            assert content(disk, "a") == (b"new" if rewrite else b"old")

    def test_forgotten_pages_are_read_until_the_power_goes(self):
        disk = disk_of()
        file = synced(disk, "a", b"old")
        file.pwritev([b"new"], 0)
        disk.forget_unsynced()
        file.fdatasync()
        assert content(disk, "a") == b"new"
        disk.power_cut()
        assert content(disk, "a") == b"old"

    def test_a_full_disk_takes_nothing_more_but_overwrites(self):
        disk = disk_of(free_bytes=1000)
        file = disk.open("a", create=True)
        file.pwritev([b"x" * 900], 0)
        with pytest.raises(OSError, match="full") as caught:
            file.pwritev([b"x" * 200], 900)
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="full"):
            file.allocate(2000)
        file.pwritev([b"y" * 900], 0)
        disk.unlink("a")
        assert disk.free_bytes() == 1000

    def test_missing_files(self):
        disk = disk_of()
        for action in (disk.open, disk.unlink, lambda name: disk.rename(name, "b")):
            with pytest.raises(FileNotFoundError):
                action("a")

    def test_one_bit_rots_where_the_number_says(self):
        places = set()
        for lot in range(24):
            disk = disk_of()
            synced(disk, "a", b"\x01\x02\x03" + bytes(500))
            where = disk.bit_rot(lot)
            after = content(disk, "a")
            changed = [i for i, (x, y) in enumerate(zip(after, b"\x01\x02\x03" + bytes(500),
                                                        strict=True)) if x != y]  # fmt: skip
            assert [f"a:{changed[0]}"] == [where]
            assert len(changed) == 1
            places.add((changed[0], after[changed[0]]))
            disk.power_cut()
            assert content(disk, "a") == after
        assert len(places) == 24

    def test_an_empty_disk_cannot_rot(self):
        assert disk_of().bit_rot(3) == ""


class TestWhole:
    def test_copies_hold_what_is_durable(self):
        disk = disk_of()
        synced(disk, "a", b"old").pwritev([b"new"], 0)
        copy = disk.copy()
        assert copy == {"a": b"old"}
        synced(disk, "b", b"more")
        disk.restore(copy)
        assert disk.list() == ["a"]
        disk.power_cut()
        assert content(disk, "a") == b"old"

    def test_wiped(self):
        disk = disk_of()
        synced(disk, "a", b"x")
        disk.wipe()
        disk.power_cut()
        assert disk.list() == []

    def test_the_hook_comes_before_each_change(self):
        disk, seen = disk_of(), []
        disk.before = lambda operation, name: seen.append((operation, name))
        file = disk.open("a", create=True)
        file.allocate(10)
        file.pwritev([b"x"], 0)
        file.fdatasync()
        disk.rename("a", "b")
        disk.sync_dir()
        disk.open("b").truncate(0)
        disk.unlink("b")
        assert seen == [("create", "a"), ("allocate", "a"), ("write", "a"), ("sync", "a"),
                        ("rename", "b"), ("sync_dir", ""), ("truncate", "b"),
                        ("unlink", "b")]  # fmt: skip

    def test_a_hook_that_raises_stops_the_change(self):
        disk = disk_of()
        file = synced(disk, "a", b"old")

        def refuse(operation, name):
            raise KeyboardInterrupt

        disk.before = refuse
        with pytest.raises(KeyboardInterrupt):
            file.pwritev([b"new"], 0)
        assert content(disk, "a") == b"old"
