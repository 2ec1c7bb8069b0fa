"""The real disk keeps the promises that the log relies on."""

import os
from types import SimpleNamespace

import pytest

from paxosd.storage.disk import RealDisk


@pytest.fixture
def disk(tmp_path):
    disk = RealDisk(tmp_path)
    yield disk
    disk.close()


class TestRealDisk:
    def test_more_buffers_than_one_call_takes(self, disk):
        file = disk.open("f", create=True)
        parts = [bytes([n % 251]) * (n % 7) for n in range(3000)]
        file.pwritev(parts, 10)
        assert file.pread(1 << 20, 10) == b"".join(parts)
        file.close()

    @pytest.mark.parametrize("most", [1, 3, 1000])
    def test_short_writes_are_finished(self, disk, monkeypatch, most):
        real = os.pwritev
        monkeypatch.setattr(os, "pwritev", lambda fd, b, at: real(fd, [b"".join(b)[:most]], at))
        file = disk.open("f", create=True)
        file.pwritev([b"", b"abc", b"", b"defgh", b"i", memoryview(b"jklm"), b""], 2)
        assert file.pread(100, 0) == b"\0\0abcdefghijklm"
        file.close()

    def test_a_write_that_writes_nothing_is_an_error(self, disk, monkeypatch):
        monkeypatch.setattr(os, "pwritev", lambda *_: 0)
        file = disk.open("f", create=True)
        with pytest.raises(OSError, match="wrote nothing"):
            file.pwritev([b"x"], 0)
        file.close()

    def test_allocate_fills_up_and_keeps_what_is_there(self, disk):
        file = disk.open("f", create=True)
        file.pwritev([b"abc"], 0)
        file.allocate(3 << 20)
        assert file.size() == 3 << 20
        assert file.pread(5, 0) == b"abc\0\0"
        file.allocate(10)
        assert file.size() == 3 << 20
        file.truncate(2)
        assert file.pread(5, 0) == b"ab"
        file.close()
        file.close()

    def test_cached_pages_are_dropped_as_a_whole_and_nothing_is_lost(self, disk, monkeypatch):
        real, dropped = os.posix_fadvise, []
        monkeypatch.setattr(
            os,
            "posix_fadvise",
            lambda fd, at, n, how: dropped.append((at, n)) or real(fd, at, n, how),
        )
        file = disk.open("f", create=True)
        file.pwritev([b"x" * 300_000], 0)
        file.drop_cache(100, 200_000)
        ((start, length),) = dropped
        assert start % 65536 == 0
        assert start <= 200_000
        assert start + length >= 200_100 + 4096, "the last page is a whole one of it"
        file.fdatasync()
        file.drop_cache(300_000, 0)
        assert file.pread(300_000, 0) == b"x" * 300_000
        file.close()

    def test_names(self, disk):
        disk.open("a", create=True).close()
        disk.rename("a", "b")
        disk.sync_dir()
        assert disk.list() == ["b"]
        assert disk.exists("b")
        assert not disk.exists("a")
        assert disk.free_bytes() > 0
        assert disk.free_files() != 0
        disk.unlink("b")
        with pytest.raises(FileNotFoundError):
            disk.open("b")

    @pytest.mark.parametrize(("total", "left", "told"), [(100, 7, 7), (100, 0, 0), (0, 0, -1)])
    def test_a_file_system_that_counts_no_inodes_is_not_out_of_them(
        self, disk, monkeypatch, total, left, told
    ):
        status = SimpleNamespace(f_files=total, f_favail=left)
        monkeypatch.setattr(os, "fstatvfs", lambda fd: status)
        assert disk.free_files() == told
