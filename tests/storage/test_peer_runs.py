"""What a node remembers of its peers' lives, for good, and whom it hears by that."""

import errno
import json

import pytest

from paxosd.core.messages import (
    CatchUp,
    Hello,
    Welcome,
)
from paxosd.core.run_id import boot_count_of, make_run_id
from paxosd.storage.identity import IdentityError
from paxosd.storage.peer_runs import FILE, WRITE_AGAIN_MS, PeerRuns
from tests.storage.memdisk import MemDisk
from tests.storage.peers import BEAT, NEW, OLD, OTHER, QUESTIONS, VOTE, peer_runs, pinned, run_id

FAILURES = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO]


def written(disk, text):
    disk.open(FILE, create=True).pwritev([text], 0)
    return disk


@pytest.fixture
def disk():
    return MemDisk()


@pytest.fixture(params=["goes-on", "restarts"])
def later(request, disk):
    """What the node knows afterwards: as it goes on, and as it is started anew from its disk."""
    if request.param == "goes-on":
        return pinned
    disks = [disk]

    def restart(memory, pin):
        disks.append(disks[-1].crash())
        return peer_runs(disks[-1], pin)

    return restart


def test_a_number_of_starts_and_lots_in_one():
    assert boot_count_of(make_run_id(7, 12345)) == 7
    assert make_run_id(1, 1 << 20) == make_run_id(1, 0)
    assert make_run_id(2, 0) > make_run_id(1, (1 << 20) - 1)


class TestUnpinned:
    @pytest.mark.parametrize("where", ["memory", "disk"])
    def test_only_a_later_start_takes_the_place_of_a_known_life(self, where, disk):
        memory = peer_runs(disk if where == "disk" else None)
        first, twin = run_id(2, 5), run_id(2, 6)
        assert memory.known("n2") == 0
        assert memory.admit("n2", first, VOTE) == first
        assert memory.admit("n2", first, VOTE) == first
        assert memory.admit("n2", twin, VOTE) == -1, "as many starts, other lots: two memories"
        assert memory.admit("n2", run_id(2, 4), VOTE) == -1
        assert memory.admit("n2", run_id(1, 9), VOTE) == -1
        assert memory.admit("n2", run_id(3), VOTE) == run_id(3)
        assert memory.admit("n2", first, VOTE) == -1
        assert memory.known("n2") == run_id(3)
        assert memory.admit("n3", twin, VOTE) == twin, "peers are remembered one by one"
        assert "n2" in memory
        assert "n4" not in memory

    @pytest.mark.parametrize("question", QUESTIONS, ids=lambda m: type(m).__name__)
    def test_one_that_is_not_heard_may_learn(self, question):
        memory = peer_runs()
        memory.admit("n2", run_id(3), Hello(OLD))
        assert memory.admit("n2", run_id(1), question) == 0
        assert memory.admit("n2", run_id(3), question) == run_id(3)
        assert memory.known("n2") == run_id(3)

    def test_no_life_at_all_is_none(self):
        memory = peer_runs()
        assert memory.admit("n2", 0, VOTE) == -1
        assert memory.admit("n2", 0, Hello(OLD)) == -1
        assert memory.admit("n2", 0, CatchUp(1, 2)) == 0
        assert memory.known("n2") == 0

    def test_a_stale_hello_changes_nothing(self, disk):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        syncs = disk.syncs
        assert memory.admit("n2", run_id(2), Hello(OLD)) == -1
        assert memory.admit("n2", run_id(1), Hello(NEW)) == -1
        assert memory.admit("n2", run_id(3), VOTE) == run_id(3)
        assert disk.syncs == syncs
        assert json.loads(disk.contents()[FILE]) == {"n2": [run_id(3), OLD]}

    def test_a_wiped_directory_does_not_pass_by_being_started_often(self, disk, later):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        memory = later(memory, 0)
        assert memory.admit("n2", run_id(4), Hello(NEW)) == -1
        assert memory.admit("n2", run_id(4), VOTE) == -1, "nothing tells that it is the same one"
        assert memory.admit("n2", run_id(4), Hello(0)) == -1
        assert memory.known("n2") == run_id(3)
        assert memory.admit("n2", run_id(4), Hello(OLD)) == run_id(4)
        assert memory.admit("n2", run_id(4), VOTE) == run_id(4)

    def test_a_directory_that_was_not_known_is_learned_from_the_first_hello(self, disk, later):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), VOTE)
        assert memory.admit("n2", run_id(3), Hello(OLD)) == run_id(3)
        assert memory.admit("n2", run_id(3), Hello(0)) == run_id(3), "which unlearns nothing"
        memory = later(memory, 0)
        assert memory.admit("n2", run_id(4), Hello(NEW)) == -1
        assert memory.admit("n2", run_id(4), Hello(OLD)) == run_id(4)

    def test_a_directory_renewed_while_it_runs_is_not_the_one_known(self, disk, later):
        """It found that its memory is lost. Its next start waits for a pin."""
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), Hello(OLD))
        assert memory.admit("n2", run_id(3), Hello(NEW)) == run_id(3)
        memory = later(memory, 0)
        assert memory.admit("n2", run_id(4), Hello(NEW)) == -1
        assert later(memory, NEW).admit("n2", run_id(4), Hello(NEW)) == run_id(4)


class TestPinned:
    def test_the_pinned_directory_is_heard_however_few_its_starts(self, disk, later):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(9), Hello(OLD))
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(9), VOTE) == -1, "the other directory's time is over"
        assert memory.admit("n2", run_id(1), VOTE) == -1, "it has not said hello"
        assert memory.admit("n2", run_id(1), Hello(NEW)) == run_id(1)
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(1), VOTE) == run_id(1)
        assert memory.admit("n2", run_id(9), VOTE) == -1
        assert memory.known("n2") == run_id(1)

    def test_no_other_directory_is_heard(self, disk, later):
        memory = later(peer_runs(disk), NEW)
        for starts in (1, 9):
            assert memory.admit("n2", run_id(starts), Hello(OLD)) == -1
            assert memory.admit("n2", run_id(starts), Hello(0)) == -1
            assert memory.admit("n2", run_id(starts), VOTE) == -1
            assert memory.admit("n2", run_id(starts), CatchUp(1, 2)) == 0
        memory.admit("n2", run_id(2), Hello(NEW))
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(9), Hello(OLD)) == -1
        assert memory.admit("n2", run_id(2), Hello(OLD)) == -1
        assert memory.admit("n2", run_id(2), VOTE) == run_id(2)

    def test_a_life_without_a_known_directory_has_to_say_hello(self, disk, later):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(3), VOTE)
        memory = later(memory, OLD)
        assert memory.admit("n2", run_id(3), VOTE) == -1
        assert memory.admit("n2", run_id(3), Hello(OLD)) == run_id(3)
        memory = later(memory, OLD)
        assert memory.admit("n2", run_id(3), VOTE) == run_id(3)

    def test_a_new_life_has_to_say_hello(self, disk, later):
        memory = peer_runs(disk, NEW)
        memory.admit("n2", run_id(1), Hello(NEW))
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(2), VOTE) == -1
        assert memory.admit("n2", run_id(2), CatchUp(1, 2)) == 0
        assert memory.admit("n2", run_id(1), VOTE) == run_id(1)
        assert memory.admit("n2", run_id(2), Hello(NEW)) == run_id(2)
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(2), VOTE) == run_id(2)
        assert memory.admit("n2", run_id(1), VOTE) == -1

    def test_a_rolled_back_copy_of_the_pinned_directory_is_not_heard(self, disk, later):
        memory = peer_runs(disk, NEW)
        memory.admit("n2", run_id(3, 1), Hello(NEW))
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(2), Hello(NEW)) == -1
        assert memory.admit("n2", run_id(3, 2), Hello(NEW)) == -1
        assert memory.admit("n2", run_id(3, 1), VOTE) == run_id(3, 1)

    def test_a_learner_that_is_promoted_goes_on_being_heard(self, disk, later):
        memory = peer_runs(disk, -1)
        memory.admit("n2", run_id(1), Hello(NEW))
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(1), VOTE) == run_id(1)

    def test_as_does_a_member_of_the_configuration(self, disk, later):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(4), Hello(OLD))
        memory = later(memory, OLD)
        assert memory.admit("n2", run_id(4), VOTE) == run_id(4)

    def test_and_one_voter_that_becomes_a_learner(self, disk, later):
        memory = peer_runs(disk, NEW)
        memory.admit("n2", run_id(1), Hello(NEW))
        memory = later(memory, -1)
        assert memory.admit("n2", run_id(1), VOTE) == run_id(1)


class TestWithoutAVote:
    def test_any_directory_is_heard_once_it_says_hello(self, disk, later):
        memory = peer_runs(disk, -1)
        assert memory.admit("n2", run_id(7), VOTE) == run_id(7), "nothing is known of it yet"
        assert memory.admit("n2", run_id(7), Hello(OLD)) == run_id(7)
        memory = later(memory, -1)
        assert memory.admit("n2", run_id(1), VOTE) == -1, "as if it were a replay"
        assert memory.admit("n2", run_id(1), BEAT) == 0, "what is decided stays so"
        assert memory.admit("n2", run_id(1), Hello(NEW)) == run_id(1)
        memory = later(memory, -1)
        assert memory.admit("n2", run_id(1), BEAT) == run_id(1)
        assert memory.admit("n2", run_id(7), VOTE) == -1

    def test_replays_of_the_same_directory_are_refused(self, disk, later):
        memory = peer_runs(disk, -1)
        memory.admit("n2", run_id(7), Hello(OLD))
        memory = later(memory, -1)
        assert memory.admit("n2", run_id(6), Hello(OLD)) == -1
        assert memory.admit("n2", run_id(6), VOTE) == -1
        assert memory.admit("n2", run_id(6), CatchUp(1, 2)) == 0
        assert memory.admit("n2", run_id(8), Hello(OLD)) == run_id(8)

    def test_a_directory_renewed_while_it_runs_is_known_by_its_new_name(self, disk, later):
        memory = peer_runs(disk, -1)
        memory.admit("n2", run_id(7), Hello(OLD))
        assert memory.admit("n2", run_id(7), Hello(NEW)) == run_id(7)
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(7), VOTE) == run_id(7)

    def test_no_directory_is_taken_for_another_when_it_is_promoted(self, disk, later):
        memory = peer_runs(disk, -1)
        memory.admit("n2", run_id(7), Hello(OLD))
        memory = later(memory, NEW)
        assert memory.admit("n2", run_id(7), VOTE) == -1
        assert memory.admit("n2", run_id(8), Hello(OTHER)) == -1
        assert memory.admit("n2", run_id(1), Hello(NEW)) == run_id(1)


class TestPeers:
    def test_one_that_is_none_is_not_heard_but_not_forgotten(self, disk, later):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(4), Hello(OLD))
        memory.set_peers({"n3": 0})
        assert "n2" not in memory
        for message in (VOTE, Hello(OLD), CatchUp(1, 2)):
            assert memory.admit("n2", run_id(5), message) == -1
            assert memory.answer("n2", run_id(5), message) is None
        assert memory.known("n2") == run_id(4)
        memory.admit("n3", run_id(1), VOTE)  # written with what is known of others
        memory = later(memory, 0)
        assert memory.admit("n2", run_id(3), Hello(OLD)) == -1
        assert memory.admit("n2", run_id(4), VOTE) == run_id(4)

    def test_one_that_was_never_heard_of(self):
        memory = peer_runs()
        assert memory.known("n9") == 0
        assert memory.admit("n9", run_id(1), VOTE) == -1

    def test_a_hello_in_vain_is_answered_with_what_is_known(self):
        memory = peer_runs()
        assert memory.answer("n2", run_id(1), Hello(NEW)) == Welcome(0, 0)
        memory.admit("n2", run_id(3), Hello(OLD))
        assert memory.answer("n2", run_id(1), Hello(NEW)) == Welcome(run_id(3), OLD)

    @pytest.mark.parametrize(
        ("pin", "starts", "asked"),
        [(NEW, 3, True), (NEW, 1, True), (-1, 1, True), (0, 4, True), (OLD, 4, True),
         (0, 2, False), (OLD, 2, False)],
    )  # fmt: skip
    def test_who_would_be_heard_after_a_hello_is_asked_for_one(self, pin, starts, asked):
        """Not for every refused message, and no life that is over. One that has just started says
        it anyway; but one that was greeted, and was then put back to a state before that, knows
        an earlier run of a peer that takes itself for known here (simulator, roll-back)."""
        memory = peer_runs()
        memory.admit("n2", run_id(3), Hello(OLD))
        pinned(memory, pin)
        assert memory.admit("n2", run_id(starts), BEAT) <= 0
        assert memory.answer("n2", run_id(starts), BEAT) == (Welcome(0) if asked else None)
        assert memory.answer("n2", run_id(starts), VOTE) is None

    def test_one_misled_by_an_old_hello_hears_the_right_directory_again(self):
        memory = peer_runs(pin=-1)
        memory.admit("n2", run_id(7), Hello(OLD))
        memory.admit("n2", run_id(1), Hello(NEW))
        memory.admit("n2", run_id(7), Hello(OLD))  # a replay, but nothing shows that
        assert memory.admit("n2", run_id(1), VOTE) == -1
        assert memory.answer("n2", run_id(1), BEAT) == Welcome(0)
        assert memory.admit("n2", run_id(1), Hello(NEW)) == run_id(1)
        assert memory.admit("n2", run_id(1), VOTE) == run_id(1)

    def test_who_is_no_peer_at_the_start_is_not_forgotten(self, disk):
        PeerRuns(disk, ["n9"]).admit("n9", run_id(4, 4), VOTE)
        peer_runs(disk).admit("n2", run_id(1, 1), VOTE)
        assert PeerRuns(disk, ["n9"]).known("n9") == run_id(4, 4)


class TestDisk:
    def test_a_life_is_durable_before_it_is_believed(self, disk):
        peer_runs(disk).admit("n2", run_id(3, 1), VOTE)
        after = peer_runs(disk.crash())
        assert after.known("n2") == run_id(3, 1)
        assert after.admit("n2", run_id(3, 2), VOTE) == -1

    def test_what_is_known_costs_no_write(self, disk):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(1, 1), Hello(OLD))
        syncs = disk.syncs
        for pin in (0, OLD, -1, 0):
            pinned(memory, pin)
            for message in (VOTE, Hello(OLD), Hello(0)):
                memory.admit("n2", run_id(1, 1), message)
                memory.admit("n2", run_id(1, 2), message)
        assert disk.syncs == syncs

    @pytest.mark.parametrize("message", [VOTE, Hello(OLD)], ids=["vote", "hello"])
    @pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
    @pytest.mark.parametrize("operation", ["open", "pwritev", "fdatasync", "rename", "sync_dir"])
    def test_if_it_cannot_be_written_it_is_not_heard(self, disk, operation, number, message):
        """It costs this peer's vote, and neither the process nor what others say."""
        memory = peer_runs(disk)
        assert memory.admit("n3", run_id(1, 1), message) == run_id(1, 1)
        disk.fail[operation] = number
        assert memory.admit("n2", run_id(1, 1), message) == -1
        assert memory.known("n2") == 0
        assert memory.unwritten == {"n2": errno.errorcode[number]}
        assert memory.admit("n3", run_id(1, 1), VOTE) == run_id(1, 1)
        disk.fail.clear()
        assert memory.admit("n2", run_id(1, 2), message, now_ms=WRITE_AGAIN_MS - 1) == -1
        assert memory.admit("n2", run_id(1, 2), message, now_ms=WRITE_AGAIN_MS) == run_id(1, 2)
        assert memory.unwritten == {}
        assert peer_runs(disk).known("n2") == run_id(1, 2)

    def test_a_later_life_that_cannot_be_written_leaves_the_earlier_one(self, disk):
        memory = peer_runs(disk)
        memory.admit("n2", run_id(1), Hello(OLD))
        disk.fail["pwritev"] = errno.ENOSPC
        assert memory.admit("n2", run_id(2), Hello(OLD)) == -1
        assert memory.admit("n2", run_id(2), VOTE) == -1
        assert memory.known("n2") == peer_runs(disk).known("n2") == run_id(1)

    def test_who_is_no_peer_any_more_is_not_waited_for(self, disk):
        memory = peer_runs(disk)
        disk.fail["pwritev"] = errno.ENOSPC
        memory.admit("n2", run_id(1), Hello(OLD))
        memory.set_peers({"n3": 0})
        assert memory.unwritten == {}

    def test_the_file_of_an_older_program(self, disk, later):
        memory = peer_runs(written(disk, b'{"n2": %d, "n9": 5}' % run_id(3)))
        assert memory.known("n2") == run_id(3)
        assert memory.admit("n2", run_id(2), VOTE) == -1
        assert memory.admit("n2", run_id(4), VOTE) == run_id(4)
        assert json.loads(disk.contents()[FILE]) == {"n2": [run_id(4), 0], "n9": [5, 0]}
        assert later(memory, 0).admit("n2", run_id(4), VOTE) == run_id(4)

    @pytest.mark.parametrize(
        "text",
        [b"{", b"[]", b"\xff", b'{"n2": "x"}', b'{"n2": [1]}', b'{"n2": [1, 2, 3]}',
         b'{"n2": [1, "x"]}', b'{"n2": [-1, 2]}', b'{"n2": -1}', b'{"n2": true}',
         b'{"n2": {}}'],
    )  # fmt: skip
    def test_a_damaged_one_is_refused(self, disk, text):
        with pytest.raises(IdentityError, match="damaged"):
            peer_runs(written(disk, text))
