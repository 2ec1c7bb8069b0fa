"""Small files of a data directory: whole or not at all, and replaced on a full disk, too."""

import errno

import pytest

from paxosd.storage import small_files
from paxosd.storage.small_files import RESERVE, RESERVE_BYTES, keep_reserve, note_file, write_file
from tests.snapshot.lives import CrashDisk, PowerLoss
from tests.storage.memdisk import MemFile

FULL = [errno.ENOSPC, errno.EDQUOT]


class _File(MemFile):
    """Grows only while its disk has room: what is allocated can be written again."""

    def __init__(self, disk):
        super().__init__(disk)
        self.allocated = 0

    def pwritev(self, buffers, offset):
        end = offset + sum(map(len, buffers))
        if self.disk.full and end > self.allocated:
            raise OSError(self.disk.full, "no room")
        super().pwritev(buffers, offset)
        self.allocated = max(self.allocated, -(-end // 4096) * 4096)

    def allocate(self, size):
        if self.disk.full and size > self.allocated:
            raise OSError(self.disk.full, "no room")
        super().allocate(size)
        self.allocated = max(self.allocated, size)

    def truncate(self, size):
        super().truncate(size)
        self.allocated = -(-size // 4096) * 4096


class FullDisk(CrashDisk):
    """``full``: the errno with which everything fails that needs room; 0: there is room."""

    def __init__(self, *, inodes=True):
        super().__init__()
        self.full = 0
        self.inodes = inodes
        """Whether a new file can be made on the full disk."""

    def open(self, name, create=False):
        if create and name not in self.files:
            super(CrashDisk, self).step("open")
            if self.full and not self.inodes:
                raise OSError(self.full, "no inode")
            self.step("create")
            self.files[name] = _File(self)
            self._changed()
        return super().open(name, create)


@pytest.fixture
def disk():
    disk = FullDisk()
    write_file(disk, "peers", "old\n")
    keep_reserve(disk)
    return disk


def text(disk, name="peers"):
    return small_files.read_file(disk, name).decode()


@pytest.mark.parametrize("number", FULL, ids=errno.errorcode.get)
@pytest.mark.parametrize("inodes", [True, False])
def test_a_file_is_replaced_on_a_full_disk_again_and_again(disk, number, inodes):
    disk.full, disk.inodes = number, inodes
    for turn in range(50):
        write_file(disk, "peers", f"new {turn}\n")
        assert text(disk.crash()) == f"new {turn}\n", "and durably"
    assert sorted(disk.contents()) == [RESERVE, "peers"]


def test_several_files_share_the_reserve(disk):
    write_file(disk, "incarnation", "1\n")
    disk.full = errno.ENOSPC
    for turn in range(5):
        write_file(disk, "peers", f"p{turn}")
        write_file(disk, "incarnation", f"i{turn}")
    assert (text(disk), text(disk, "incarnation")) == ("p4", "i4")


def test_a_new_file_uses_it_up_and_room_brings_it_back(disk):
    disk.full = errno.ENOSPC
    write_file(disk, "genesis", "{}")
    with pytest.raises(OSError, match="no room"):
        write_file(disk, "peers", "new")
    assert text(disk) == "old\n"
    keep_reserve(disk)
    assert RESERVE not in disk.contents()
    disk.full = 0
    keep_reserve(disk)
    assert len(disk.contents()[RESERVE]) == RESERVE_BYTES


def test_what_is_longer_than_the_reserve_is_refused(disk):
    disk.full = errno.ENOSPC
    with pytest.raises(OSError, match="no room"):
        write_file(disk, "peers", "x" * (RESERVE_BYTES + 1))
    assert text(disk) == "old\n"


def test_a_file_system_without_hard_links_has_it_once(disk):
    disk.full = errno.ENOSPC
    disk.fail["link"] = errno.EPERM
    write_file(disk, "peers", "new")
    assert text(disk.crash()) == "new"
    with pytest.raises(OSError, match="no room"):
        write_file(disk, "peers", "newer")
    assert text(disk) == "new"


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EMFILE], ids=errno.errorcode.get)
def test_other_failures_leave_the_reserve_alone(disk, number):
    for operation in ("open", "pwritev", "fdatasync"):
        before = disk.contents()
        disk.fail = {operation: number}
        with pytest.raises(OSError, match=errno.errorcode[number]):
            write_file(disk, "peers", "new")
        disk.fail = {}
        assert disk.contents() == before, operation


def test_a_note_does_without_it(disk):
    disk.full = errno.ENOSPC
    assert not note_file(disk, "members", "{}")
    assert sorted(disk.contents()) == [RESERVE, "peers"]
    disk.full = 0
    assert note_file(disk, "members", "{}")


@pytest.mark.parametrize("full", [0, errno.ENOSPC])
def test_a_crash_at_any_step_leaves_the_old_or_the_new(full):
    """And the reserve is one that can be overwritten: it is never the file itself."""
    steps = 0
    while True:
        steps += 1
        disk = FullDisk()
        write_file(disk, "peers", "old\n")
        keep_reserve(disk)
        disk.full, disk.die_at, disk.count = full, steps, 0
        try:
            write_file(disk, "peers", "new\n")
        except PowerLoss:
            pass
        else:
            break
        for kept in range(6):
            for keep in (False, True):
                after = FullDisk.after(disk.crash(lambda keep=keep: keep, kept))
                found = text(after)
                assert found in ("old\n", "new\n")
                after.full = full  # the next start has no more room than this one
                keep_reserve(after)
                assert text(after) == found
                if RESERVE in after.files:
                    assert after.files[RESERVE] is not after.files["peers"]
                after.full = 0
                keep_reserve(after)
                assert after.files[RESERVE] is not after.files["peers"]
                after.files[RESERVE].pwritev([b"xxxxxxxx"], 0)
                assert text(after) == found
    assert steps > (6 if full else 3)
