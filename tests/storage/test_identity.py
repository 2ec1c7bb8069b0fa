"""Whose memory a directory holds, and what it says of itself for good."""

import errno
import json

import pytest

from paxosd.storage import identity
from paxosd.storage.identity import Claim, IdentityError
from paxosd.storage.small_files import write_file
from tests.snapshot.lives import CrashDisk, PowerLoss
from tests.storage.memdisk import MemDisk


def drawer(*numbers):
    """Random bits that come out as these numbers, one after the other."""
    left = list(numbers)

    def draw(bits):
        assert bits == 48
        return left.pop(0)

    return draw


def claim(disk, *numbers, node="n1"):
    return identity.claim(
        disk, "c", node, place="/d", created="now", has_log=False, random_bits=drawer(*numbers)
    )


def fields(disk):
    return json.loads(disk.contents()["identity"])


def rewrite(disk, **changes):
    """Change the identity file as another program, or decay, would; None: leave that out."""
    kept = {name: value for name, value in (fields(disk) | changes).items() if value is not None}
    write_file(disk, "identity", json.dumps(kept))


@pytest.fixture
def disk():
    return MemDisk()


class TestDirectory:
    def test_is_drawn_once(self, disk):
        assert claim(disk, 77) == Claim(1, 77, lost=False, repaired=False, by_record=True)
        assert claim(disk)[:4] == (2, 77, False, False)
        assert claim(disk.crash())[:4] == (3, 77, False, False)

    def test_is_never_the_one_that_stands_for_none(self, disk):
        assert claim(disk, 0).directory_id == 1
        assert identity.renew(disk, repaired=False, random_bits=drawer(0)) == 1

    def test_is_another_in_every_directory(self):
        found = set()
        for _ in range(20):
            made = identity.claim(
                MemDisk(), "c", "n1", place="/d", created="now", has_log=False
            ).directory_id
            assert 0 < made < 1 << 48
            found.add(made)
        assert len(found) == 20

    def test_an_older_program_wrote_none(self, disk):
        claim(disk, 77)
        rewrite(disk, directory=None, lost=None, repaired=None, by_record=None)
        assert not claim(disk, 88).by_record
        assert claim(disk.crash())[:4] == (3, 88, False, False)

    def test_a_start_that_is_refused_counts_for_nothing(self, disk):
        claim(disk, 77)
        before = disk.contents()
        with pytest.raises(IdentityError, match="belongs to node 'n1'"):
            claim(disk, node="n2")
        assert disk.contents() == before


class TestLostMemory:
    @pytest.mark.parametrize("repaired", [False, True])
    def test_lasts_until_the_node_has_rejoined(self, disk, repaired):
        claim(disk, 77)
        assert identity.renew(disk, repaired=repaired, random_bits=drawer(88)) == 88
        disk = disk.crash()
        for starts in (2, 3):
            assert claim(disk)[:4] == (starts, 88, True, repaired)
        identity.confirm(disk)
        disk = disk.crash()
        assert claim(disk)[:4] == (4, 88, False, False)
        assert fields(disk)["created"] == "now"

    def test_may_happen_again(self, disk):
        claim(disk, 77)
        identity.renew(disk, repaired=True, random_bits=drawer(88))
        identity.renew(disk, repaired=False, random_bits=drawer(99))
        assert claim(disk)[:4] == (2, 99, True, False)

    def test_there_is_nothing_to_confirm_twice(self, disk):
        claim(disk, 77)
        syncs = disk.syncs
        identity.confirm(disk)
        assert disk.syncs == syncs


class TestRemoved:
    def test_no_start_uses_the_directory_again(self, disk):
        claim(disk, 77, node="n4")
        identity.mark_removed(disk, 3, 1234)
        disk = disk.crash()
        for _ in range(2):
            with pytest.raises(IdentityError) as caught:
                claim(disk, node="n4")
        for words in (
            "node n4 was removed from the cluster at slot 1234",
            "what /d holds",
            "give it an empty data directory and add it with paxosctl member add",
        ):
            assert words in str(caught.value)
        assert disk.contents()["incarnation"] == b"1\n", "it did not start"
        assert fields(disk)["removed"] == {"epoch": 3, "slot": 1234}

    def test_the_first_mark_stays(self, disk):
        claim(disk, 77)
        identity.mark_removed(disk, 3, 1234)
        syncs = disk.syncs
        identity.mark_removed(disk, 4, 5678)
        assert disk.syncs == syncs
        with pytest.raises(IdentityError, match="slot 1234"):
            claim(disk)

    def test_it_outlasts_a_loss_of_memory(self, disk):
        claim(disk, 77)
        identity.mark_removed(disk, 3, 1234)
        identity.renew(disk, repaired=True)
        identity.confirm(disk)
        with pytest.raises(IdentityError, match="was removed"):
            claim(disk)

    def test_whose_it_is_comes_first(self, disk):
        claim(disk, 77)
        identity.mark_removed(disk, 3, 1234)
        with pytest.raises(IdentityError, match="belongs to node 'n1'"):
            claim(disk, node="n2")


CHANGES = {
    "renew": lambda disk: identity.renew(disk, repaired=True, random_bits=drawer(88)),
    "confirm": identity.confirm,
    "mark_removed": lambda disk: identity.mark_removed(disk, 3, 1234),
    "write_number": lambda disk: identity.write_number(disk, 0x123),
}


@pytest.mark.parametrize("change", CHANGES)
class TestCrashes:
    def test_leave_the_old_file_or_the_new_one(self, change):
        old, new, outcomes = None, None, set()
        for die_at in range(100):  # 0: it does not
            disk = CrashDisk()
            claim(disk, 77)
            if change == "confirm":
                identity.renew(disk, repaired=True, random_bits=drawer(88))
            old = fields(disk)
            disk.count, disk.die_at = 0, die_at
            died = False
            try:
                CHANGES[change](disk)
            except PowerLoss:
                died = True
            new = new or fields(disk)
            for keep_sector in (lambda: False, lambda: True):
                for keep_names in range(4):
                    found = fields(disk.crash(keep_sector, keep_names))
                    assert found == new or (died and found == old)
                    outcomes.add(found == new)
            if die_at and not died:
                break
        assert outcomes == {False, True}

    def test_a_file_that_is_damaged_is_not_written_over(self, change, disk):
        claim(disk, 77)
        write_file(disk, "identity", "{")
        with pytest.raises(IdentityError, match="identity is damaged"):
            CHANGES[change](disk)
        assert disk.contents()["identity"] == b"{"

    def test_a_disk_that_fails(self, change, disk):
        claim(disk, 77)
        identity.renew(disk, repaired=True, random_bits=drawer(87))
        before = fields(disk)
        disk.fail["fdatasync"] = errno.EIO
        with pytest.raises(OSError, match="EIO"):
            CHANGES[change](disk)
        assert fields(disk) == before


@pytest.mark.parametrize(
    "change",
    [{"directory": -1}, {"directory": 1 << 48}, {"directory": "7"}, {"directory": True},
     {"lost": 1}, {"repaired": "no"}, {"removed": 7}, {"removed": {}},
     {"removed": {"epoch": 1, "slot": "1"}}, {"genesis": 7}, {"genesis": ""}, {"genesis": "0x7"}],
    ids=str,
)  # fmt: skip
def test_a_field_that_cannot_be(disk, change):
    claim(disk, 77)
    rewrite(disk, **change)
    [name] = change
    with pytest.raises(IdentityError, match=f'/d/identity is damaged: "{name}"'):
        claim(disk)
    assert disk.contents()["incarnation"] == b"1\n"
