"""Who counts as new: a node that never promised, however little of its log it still has.

One that has promised is ``returning`` until it has been compared (``paxosd/core/admission.py``).
"""

import random
import time

import pytest

from paxosd.core.effects import PromiseRecord
from paxosd.core.node import Node
from paxosd.core.options import NodeOptions
from paxosd.core.quorum import Quorums
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.replica.recovery import make_restart, recover
from paxosd.snapshot.file import snapshot_name
from paxosd.storage import identity
from paxosd.storage.wal import WalOptions
from paxosd.storage.wal_mark import NAME
from tests.snapshot.lives import Life, Lines, reference
from tests.snapshot.test_file import written
from tests.storage.memdisk import SMALL, MemDisk, open_wal

PROMISED = Ballot(7, "n2")
NAMES = ("n1", "n2", "n3")


def started(home, disk, *, cluster="c"):
    """n1 of three with what these disks hold, before it hears anything."""
    memory = recover(
        home, disk, cluster=cluster, node="n1", log=Lines(), now_ms=time.monotonic,
        wal_options=WalOptions(segment_bytes=SMALL, prepare_ahead=False),
    )  # fmt: skip
    options = NodeOptions(node="n1", quorums=Quorums(NAMES))
    restart = make_restart(memory, run_id=1, now_ms=0.0, wall_ms=0)
    return Node(options, list(NAMES[1:]), memory.codec, random.Random(1), restart)


@pytest.fixture
def home():
    disk = MemDisk()
    identity.mark_log_created(disk)
    return disk


def promised(disk):
    """``disk`` with a log that begins with a promise."""
    wal, _ = open_wal(disk)
    wal.append([PromiseRecord(PROMISED)])
    wal.sync()
    wal.close()
    return disk


def test_who_never_promised(home):
    node = started(MemDisk(), MemDisk())
    assert (node.role, node.promised) == ("newcomer", NULL_BALLOT)
    node = started(home, promised(MemDisk()))
    assert (node.role, node.promised) == ("returning", PROMISED)


def test_the_promise_outlives_the_log_that_held_it(home):
    disk = promised(MemDisk())
    first = set(disk.files)
    life = Life(disk, seed=2)
    life.write(120)
    life.finish()
    assert life.wal.first_slot > 50
    life.wal.close()
    assert first & set(disk.files) == {NAME}, "its segment is to be gone"
    for _ in range(2):
        node = started(home, disk := disk.crash(keep_sector=lambda: False))
        assert (node.role, node.promised) == ("returning", PROMISED)
        assert node.applied >= 119


@pytest.mark.parametrize("before", [NULL_BALLOT, PROMISED])
def test_a_snapshot_above_the_log_neither_makes_nor_forgets_a_promise(home, before):
    """As ``snapshot restore`` leaves it (nothing promised), or a crash in an install."""
    disk = MemDisk() if before == NULL_BALLOT else promised(MemDisk())
    source, info = written(reference(9))
    name = snapshot_name(info.slot)
    copy = disk.open(name, create=True)
    copy.pwritev([bytes(source.files[name].data)], 0)
    copy.fdatasync()
    disk.sync_dir()
    if before == NULL_BALLOT:
        home = MemDisk()
    for _ in range(2):
        node = started(home, disk)
        assert (node.applied, node.promised) == (9, before)
        assert node.role == ("newcomer" if before == NULL_BALLOT else "returning")
