"""Data directories with a state of any size, made offline: ten million puts would take an hour.

What is written is an ordinary snapshot file, block by block, as `paxosctl snapshot restore` leaves
it in a new data directory: the node that starts there restores it and goes on from its slot.
"""

import os
from itertools import islice

from paxosctl.load.keys import key_of
from paxosd.core.cluster_settings import LEVEL_LATEST, ClusterSettings
from paxosd.core.state.snapshot_head import SnapshotHead
from paxosd.snapshot.file import HEAD, ROWS, SnapshotWriter, encode_head, encode_rows, snapshot_name
from paxosd.storage import restored_from
from paxosd.storage.datadir import DataDir

SLOT = 1000
ROWS_PER_BLOCK = 500
POOL_BYTES = 1 << 20
CREATED_MS = 1


def head_of_keys(keys):
    """Of a state of so many keys, each written once, at the newest feature level."""
    settings = ClusterSettings(version=1, level=LEVEL_LATEST).to_json()
    return SnapshotHead(slot=SLOT, revision=keys, log_time_ms=0, chain=0, next_session=1,
                        sessions=0, keys=keys, members={}, settings=settings)  # fmt: skip


def numbers_as_text(count):
    """The numbers below ``count`` in the order of their decimal digits: 0, 1, 10, 100, 101, …"""
    yield 0
    number = 1
    for _ in range(count - 1):
        yield number
        if number * 10 < count:
            number *= 10
            continue
        while number % 10 == 9 or number + 1 >= count:
            number //= 10
        number += 1


def rows_of(keys, size):
    """The rows in the order of their keys, which are those of the load generator: blocks of
    [key, (value, create, modify, version), …]. The values differ, and are no zeros."""
    pool = os.urandom(POOL_BYTES + size)
    numbers = numbers_as_text(keys)
    while some := list(islice(numbers, ROWS_PER_BLOCK)):
        block = []
        for number in some:
            at = number * 97 % POOL_BYTES
            block += key_of(number), (pool[at : at + size], number + 1, number + 1, 1)
        yield block


def write_state(path, cluster, node, keys, size):
    """A new data directory for ``node`` with so many keys of ``size`` bytes; where the file is."""
    with DataDir.open(path, cluster, node) as home:
        home.node_directory.claim()
        writer = SnapshotWriter(home.disk, SLOT, CREATED_MS)
        writer.write([(HEAD, encode_head(cluster, CREATED_MS, head_of_keys(keys)))])
        for block in rows_of(keys, size):
            writer.write([(ROWS, encode_rows(block))])
        writer.finish()
        restored_from.write(home.home, "made", SLOT, keys)
    return path / "wal" / snapshot_name(SLOT)


def write_states(daemons, keys, size):
    """The same state for every node of a cluster that was not started yet. All have one file: no
    program writes to a snapshot again."""
    first, *others = daemons.names
    cluster = "test"
    made = write_state(daemons.path / first, cluster, first, keys, size)
    for name in others:
        with DataDir.open(daemons.path / name, cluster, name) as home:
            home.node_directory.claim()
            os.link(made, daemons.path / name / "wal" / made.name)
            home.disk.sync_dir()
            restored_from.write(home.home, "made", SLOT, keys)
    return made
