"""What a node remembers of its peers' lives, for good."""

import errno

import pytest

from paxosd.disk import StorageError
from paxosd.identity import IdentityError
from paxosd.lives import FILE, PeerLives, life_number, starts_of
from tests.wal.memdisk import MemDisk


def lives(disk=None):
    return PeerLives(disk, ["n2", "n3"])


@pytest.fixture
def disk():
    return MemDisk()


def test_a_number_of_starts_and_lots_in_one():
    assert starts_of(life_number(7, 12345)) == 7
    assert life_number(1, 1 << 20) == life_number(1, 0)
    assert life_number(2, 0) > life_number(1, (1 << 20) - 1)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_only_a_later_start_takes_the_place_of_a_known_life(where, disk):
    memory = lives(disk if where == "disk" else None)
    first, twin = life_number(2, 5), life_number(2, 6)
    assert memory.known("n2") == 0
    assert memory.hear("n2", first)
    assert memory.hear("n2", first)
    assert not memory.hear("n2", twin), "as many starts, other lots: one memory cannot be both"
    assert not memory.hear("n2", life_number(2, 4))
    assert not memory.hear("n2", life_number(1, 9))
    assert memory.hear("n2", life_number(3, 0))
    assert not memory.hear("n2", first)
    assert memory.known("n2") == life_number(3, 0)
    assert memory.hear("n3", twin), "peers are remembered one by one"
    assert "n2" in memory
    assert "n4" not in memory


def test_a_life_is_durable_before_it_is_believed(disk):
    lives(disk).hear("n2", life_number(3, 1))
    after = lives(disk.crash())
    assert after.known("n2") == life_number(3, 1)
    assert not after.hear("n2", life_number(3, 2))


def test_a_known_life_costs_no_write(disk):
    memory = lives(disk)
    memory.hear("n2", life_number(1, 1))
    syncs = disk.syncs
    for _ in range(10):
        memory.hear("n2", life_number(1, 1))
        memory.hear("n2", life_number(1, 2))
    assert disk.syncs == syncs


def test_if_it_cannot_be_written_it_is_not_believed(disk):
    memory = lives(disk)
    disk.fail["fdatasync"] = errno.EIO
    with pytest.raises(StorageError, match="n2 was heard"):
        memory.hear("n2", life_number(1, 1))
    assert memory.known("n2") == 0


def test_peers_that_are_no_members_now_are_not_forgotten(disk):
    PeerLives(disk, ["n9"]).hear("n9", life_number(4, 4))
    lives(disk).hear("n2", life_number(1, 1))
    assert PeerLives(disk, ["n9"]).known("n9") == life_number(4, 4)


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"n2": "x"}', b"\xff"])
def test_a_damaged_file_is_refused(disk, text):
    file = disk.open(FILE, create=True)
    file.pwritev([text], 0)
    with pytest.raises(IdentityError, match="damaged"):
        lives(disk)
