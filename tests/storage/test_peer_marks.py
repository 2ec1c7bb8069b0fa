"""A peer whose log ends before what was heard of it is not heard."""

import pytest

from paxosd.core.messages import (
    CatchUp,
    Hello,
    Welcome,
)
from paxosd.core.types import Mark
from tests.storage.memdisk import MemDisk
from tests.storage.peers import BEAT, NEW, OLD, OTHER, VOTE, peer_runs, pinned, run_id


@pytest.fixture
def disk():
    return MemDisk()


@pytest.fixture(params=["goes-on", "restarts"])
def later_with_marks(request, disk):
    """As ``later``, with the marks that its log remembers."""
    if request.param == "goes-on":
        return pinned
    disks = [disk]

    def restart(memory, pin):
        disks.append(disks[-1].crash())
        return peer_runs(disks[-1], pin, marks=dict(memory.marks))

    return restart


class TestMarks:
    """Whoever was put back to an earlier state has a log that ends below what was heard of it."""

    def test_a_life_that_lacks_what_was_heard_of_its_directory_is_not_heard(
        self, disk, later_with_marks
    ):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        memory.admit("n2", run_id(3), VOTE, 10)
        memory.admit("n2", run_id(3), BEAT, 4)
        assert memory.marks == {"n2": Mark(OLD, 10)}, "the highest"
        memory = later_with_marks(memory, 0)
        back = Hello(OLD, start_mark=9)
        assert memory.admit("n2", run_id(4), back) == -1
        assert memory.answer("n2", run_id(4), back) == Welcome(run_id(3), OLD, mark=10)
        assert memory.admit("n2", run_id(9), VOTE, 99) == -1
        assert memory.admit("n2", run_id(9), back) == -1, "more starts do not help"
        assert memory.known("n2") == run_id(3)
        whole = Hello(OLD, start_mark=10)
        assert memory.admit("n2", run_id(4), whole) == run_id(4)
        assert memory.admit("n2", run_id(4), VOTE, 11) == run_id(4)
        assert memory.admit("n2", run_id(5), whole) == -1

    def test_a_restart_that_is_not_told_forgets_them(self, disk):
        """Which is why the log remembers them: here, that ``marks=`` is what counts."""
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        memory.admit("n2", run_id(3), VOTE, 10)
        memory = peer_runs(disk.crash())
        assert memory.marks == {}
        assert memory.admit("n2", run_id(4), Hello(OLD, start_mark=9)) == run_id(4)

    def test_what_is_not_heard_leaves_none(self):
        memory = peer_runs()
        memory.admit("n2", run_id(3), Hello(OLD), 50)
        memory.admit("n2", run_id(2), VOTE, 50)
        memory.admit("n2", run_id(4), VOTE, 50)
        assert memory.admit("n2", run_id(2), CatchUp(1, 2), 50) == 0
        memory.admit("n9", run_id(1), VOTE, 50)
        assert memory.marks == {}
        assert memory.admit("n2", run_id(4), Hello(OLD, start_mark=1)) == run_id(4)

    def test_each_peer_has_its_own(self):
        memory = peer_runs()
        for name in ("n2", "n3"):
            memory.admit(name, run_id(3), Hello(OLD))
        memory.admit("n2", run_id(3), VOTE, 10)
        assert memory.admit("n3", run_id(4), Hello(OLD, start_mark=9)) == run_id(4)

    def test_a_life_that_goes_on_is_not_compared_with_itself(self, disk, later_with_marks):
        """It says again how long its log was when it started, which has grown since."""
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD, start_mark=2))
        memory.admit("n2", run_id(3), VOTE, 10)
        memory = later_with_marks(memory, 0)
        assert memory.admit("n2", run_id(3), Hello(OLD, start_mark=2)) == run_id(3)

    def test_those_of_another_directory_do_not_matter(self, disk):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        memory = peer_runs(disk.crash(), marks={"n2": Mark(OTHER, 50)})
        back = Hello(OLD, start_mark=1)
        assert memory.answer("n2", run_id(4), back) == Welcome(run_id(3), OLD, mark=0)
        assert memory.admit("n2", run_id(4), back) == run_id(4)
        assert memory.admit("n2", run_id(4), VOTE, 3) == run_id(4)
        assert memory.marks == {"n2": Mark(OLD, 3)}, "though it is the lower number"
        assert memory.admit("n2", run_id(5), Hello(OLD, start_mark=2)) == -1

    def test_a_new_directory_that_is_pinned_starts_anew(self, disk, later_with_marks):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(9), Hello(OLD))
        memory.admit("n2", run_id(9), VOTE, 50)
        memory = later_with_marks(memory, NEW)
        first = Hello(NEW, start_mark=0)
        assert memory.admit("n2", run_id(1), first) == run_id(1)
        assert memory.admit("n2", run_id(1), VOTE, 3) == run_id(1)
        memory = later_with_marks(memory, NEW)
        assert memory.marks == {"n2": Mark(NEW, 3)}
        assert memory.admit("n2", run_id(2), Hello(NEW, start_mark=2)) == -1
        assert memory.admit("n2", run_id(2), Hello(NEW, start_mark=3)) == run_id(2)

    def test_none_is_known_of_a_directory_that_is_not(self):
        memory = peer_runs()
        for _ in range(2):
            assert memory.admit("n2", run_id(3), VOTE, 10) == run_id(3)
        assert memory.marks == {}
        memory.admit("n2", run_id(3), Hello(OLD))
        memory.admit("n2", run_id(3), VOTE, 4)
        assert memory.marks == {"n2": Mark(OLD, 4)}

    def test_they_cost_no_write_here(self, disk):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        syncs = disk.syncs
        memory.admit("n2", run_id(3), VOTE, 10)
        assert disk.syncs == syncs
