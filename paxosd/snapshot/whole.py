"""The snapshot of a machine that does nothing else meanwhile, written in one go."""

from collections.abc import Iterator

from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import SnapshotWalk
from paxosd.snapshot.file import (
    HEAD,
    HISTORY,
    LEASES,
    NAMES,
    ROWS,
    SESSIONS,
    SnapshotInfo,
    SnapshotWriter,
    encode_head,
    encode_history,
    encode_leases,
    encode_names,
    encode_rows,
    encode_sessions,
)
from paxosd.storage.disk import Disk

KEYS_PER_BLOCK = 1000
BLOCK_BYTES = 256 << 10


def write_whole(disk: Disk, cluster: str, machine: Machine, created_ms: int) -> SnapshotInfo:
    """Write the snapshot of the machine as of its applied slot, and sync it. ``created_ms``: since
    1970. Raises OSError; a part of it may be left then."""
    walk = SnapshotWalk(machine, {})
    writer = SnapshotWriter(disk, walk.head.slot, created_ms)
    writer.write([(HEAD, encode_head(cluster, created_ms, walk.head))])
    for block in _blocks(walk):
        writer.write([block])
    walk.close()
    return writer.finish()


def _blocks(walk: SnapshotWalk) -> Iterator[tuple[int, bytes]]:
    """In the order that a reader wants."""
    while sessions := walk.sessions():
        yield SESSIONS, encode_sessions(sessions)
    while names := walk.names():
        yield NAMES, encode_names(names)
    while leases := walk.leases():
        yield LEASES, encode_leases(leases)
    while history := walk.history():
        yield HISTORY, encode_history(history)
    while not walk.done:
        if rows := walk.rows(KEYS_PER_BLOCK, BLOCK_BYTES):
            yield ROWS, encode_rows(rows)
