"""Snapshot files on this machine: one fetched, one looked into, a cluster begun from one."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from paxosctl.cli.new_file import NotReplacedError, new_file
from paxosctl.cli.public_names import member_fields
from paxosctl.cli.streams import StreamError
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import Membership
from paxosd.core.state.snapshot import Restore
from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.host.clock import clock_ms
from paxosd.host.progress import PhaseProgress, Progress, no_progress
from paxosd.snapshot.file import (
    HEAD,
    HISTORY,
    SnapshotInfo,
    SnapshotReader,
    SnapshotWriter,
    encode_head,
    finish_restore,
    restore_block,
)
from paxosd.storage import restored_from
from paxosd.storage.datadir import DataDir, usable
from paxosd.storage.disk import RealFile
from paxosd.wire.status import decode_status

POLL_MS = 50
VERIFYING = "verifying"
PIECE_BYTES = 1 << 20


class SnapshotFileError(Exception):
    """It cannot be done with these files; the text says why and what to do."""


@contextmanager
def opened(path: Path) -> Iterator[RealFile]:
    """A file to be read. Raises SnapshotFileError, PermissionError; StreamError if the file system
    does not let it."""
    try:
        file = RealFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except PermissionError as error:
        raise PermissionError(f"{path}: this user may not read it") from error
    except OSError as error:
        raise StreamError(f"{path} cannot be read: {error.strerror}") from error
    try:
        yield file
    except SnapshotError as error:
        raise SnapshotFileError(f"{path} is not a good snapshot: {error}") from error
    except OSError as error:
        raise StreamError(f"{path} cannot be read: {error.strerror}") from error
    finally:
        file.close()


def verify(file: RealFile, progress: Progress = no_progress) -> SnapshotReader:
    """Read all of it and check everything: what it holds is that of a state machine."""
    reader = SnapshotReader(file)
    restore = Restore(reader.head)
    while (block := reader.read()) is not None:
        restore_block(restore, block)
        progress(*reader.read_bytes)
    finish_restore(restore, reader)
    return reader


def described(reader: SnapshotReader) -> dict[str, Any]:
    """What a verified file holds, as plain values."""
    info, head = reader.info, reader.head
    assert info is not None
    membership = Membership.from_json(head.membership)
    members = {name: dict(endpoints) for name, endpoints in sorted(head.members.items())}
    if membership.epoch:
        members = {n: member_fields(each._asdict()) for n, each in membership.members.items()}
    return {
        "cluster": reader.cluster,
        "slot": head.slot,
        "revision": head.revision,
        "keys": head.keys,
        "sessions": head.sessions,
        "log_time_ms": head.log_time_ms,
        "created_ms": info.created_ms,
        "bytes": info.size_bytes,
        "digest": info.digest.hex(),
        "checksum": info.total,
        "epoch": membership.epoch,
        "members": members,
    }


# ---- save


def save(
    client: Any,
    endpoint: str,
    path: Path,
    *,
    force: bool,
    progress: PhaseProgress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Have the node take a snapshot of what it has applied by now, fetch it, verify it. Only its
    owner may read it (it holds all data), and it appears as a whole or not at all. Raises
    SnapshotFileError, PermissionError, StreamError."""
    try:
        with new_file(path, force=force) as (file, name):
            _fetch(client, endpoint, file, progress)
            file.flush()
            with opened(name) as written:
                return described(verify(written, partial(progress, VERIFYING)))
    except NotReplacedError as error:
        raise SnapshotFileError(str(error)) from error


def save_to(
    client: Any, endpoint: str, write: Callable[[bytes], object], progress: PhaseProgress
) -> dict[str, Any]:
    """The same, but handed on piece by piece: none of it before all of it is verified."""
    try:
        with tempfile.TemporaryFile() as file:
            _fetch(client, endpoint, file, progress)
            file.flush()
            copy = RealFile(os.dup(file.fileno()))
            try:
                found = described(verify(copy, partial(progress, VERIFYING)))
            finally:
                copy.close()
            file.seek(0)
            while piece := file.read(PIECE_BYTES):
                write(piece)
    except SnapshotError as error:
        raise SnapshotFileError(f"what {endpoint} sent is no good snapshot: {error}") from error
    except OSError as error:
        words = f"no room for the snapshot in {tempfile.gettempdir()}: {error.strerror}"
        raise StreamError(words) from error
    return found


def _newest_slot(client: Any, endpoint: str) -> int:
    """That of the node's newest snapshot; 0: it has none."""
    snapshot = decode_status(client.status(endpoint)).snapshot
    return snapshot.slot if snapshot is not None else 0


def _fetch(client: Any, endpoint: str, file: Any, progress: PhaseProgress) -> None:
    asked = client.admin("snapshot_take", {}, endpoint=endpoint)
    until_ms = clock_ms() + max(60_000, int(client.timeout_s * 1000))
    while _newest_slot(client, endpoint) < asked["applied"]:
        if clock_ms() >= until_ms:
            raise SnapshotFileError(f"{endpoint} took no snapshot in time; its log says why")
        client.turn(POLL_MS)
        progress("the node takes a snapshot", 0, 0)
    slot = offset = 0
    while True:
        piece = client.admin("snapshot_read", {"slot": slot, "offset": offset}, endpoint=endpoint)
        slot = piece["slot"]
        file.write(piece["data"])
        offset += len(piece["data"])
        progress("fetching", offset, piece["total"])
        if offset >= piece["total"] or not piece["data"]:
            return


# ---- restore


def restore(
    path: Path,
    data_dir: Path,
    cluster: str,
    node: str,
    bump: int,
    progress: PhaseProgress = lambda what, done, total: None,
) -> dict[str, Any]:
    """A new data directory for ``node`` of the new cluster ``cluster``, with the state of the
    file, its revision moved ahead by ``bump``. Nothing is left of it if that fails. Raises
    SnapshotFileError, PermissionError, StreamError."""
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise SnapshotFileError(
            f"{data_dir} exists and is not empty: a node is restored into a new directory"
        )
    with opened(path) as file:
        reader = verify(file, partial(progress, VERIFYING))
        if reader.cluster == cluster:
            raise SnapshotFileError(
                f"the snapshot is of cluster {cluster!r} itself: give the new cluster another id, "
                "or its nodes could meet those of the old one"
            )
        was_there = data_dir.exists()
        try:
            info = _write(
                file, data_dir, cluster, node, bump, progress=partial(progress, "writing")
            )
        except BaseException as error:
            _remove(data_dir, keep=was_there)
            if isinstance(error, OSError) and not isinstance(error, PermissionError):
                words = f"{data_dir} cannot be written: {error.strerror}"
                raise StreamError(words) from error
            raise
    return described(reader) | {
        "cluster": cluster,
        "was_cluster": reader.cluster,
        "revision": reader.head.revision + bump,
        "was_revision": reader.head.revision,
        "node": node,
        "data_dir": str(data_dir),
        "digest": info.digest.hex(),
        "checksum": info.total,
        "bytes": info.size_bytes,
        "members": {},
    }


def _write(
    file: RealFile, data_dir: Path, cluster: str, node: str, bump: int, *, progress: Progress
) -> SnapshotInfo:
    with DataDir.open(data_dir, cluster, node) as home:
        with usable(data_dir):
            home.node_directory.claim()
        reader = SnapshotReader(file)
        # A new cluster: who is its member, and by what number it is known, is for it to say.
        settings = ClusterSettings.from_json(reader.head.settings)._replace(genesis="")
        kept = settings.to_json() if settings.version else b""
        head = reader.head.moved(bump)._replace(members={}, membership=b"", settings=kept)
        restore = Restore(head)
        writer = SnapshotWriter(home.disk, head.slot, reader.created_ms)
        writer.write([(HEAD, encode_head(cluster, reader.created_ms, head))])
        while (block := reader.read()) is not None:
            progress(*reader.read_bytes)
            if block[0] == HISTORY:
                continue  # the history of the new cluster begins with it
            writer.write([block])
            restore_block(restore, block)
        restore.finish()
        restored_from.write(home.home, reader.cluster, head.slot, reader.head.revision)
        was_summed = reader.info is not None and reader.info.total
        return writer.finish(restore.total if was_summed else "")


def _remove(data_dir: Path, *, keep: bool) -> None:
    with suppress(OSError):
        if not keep:
            shutil.rmtree(data_dir)
            return
        for entry in data_dir.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
