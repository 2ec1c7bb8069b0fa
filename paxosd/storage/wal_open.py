"""Opening the log of a node: read, judged and repaired, or begun where there is none."""

from paxosd.host.progress import Progress, no_progress
from paxosd.storage.disk import CorruptionError, Disk
from paxosd.storage.wal import Wal
from paxosd.storage.wal_format import NONCE_BYTES, SegmentHeader
from paxosd.storage.wal_mark import TailMark
from paxosd.storage.wal_recovery import (
    Recovered,
    Scan,
    Segment,
    check_tail,
    close_all,
    repair,
    scan,
)
from paxosd.storage.wal_segments import SegmentPreparer, WalOptions, failure

NO_MARK = "tail-mark cannot be written: a lost tail of the log would pass for a torn write"


def open_wal(
    disk: Disk,
    *,
    cluster_id: str,
    node_id: str,
    options: WalOptions | None = None,
    create: bool = True,
    progress: Progress = no_progress,
) -> tuple[Wal, Recovered]:
    """Recover the log on ``disk``, or begin one if there is none and ``create`` is set.
    ``progress``: called with how many of all segments were read.

    Raises CorruptionError (nothing is changed then) and StorageError (disk errors, another node's
    log, no log though ``create`` is False).
    """
    options = options or WalOptions()
    try:
        found = scan(disk, cluster_id, node_id, progress)
        if not found.last_group and not create:
            close_all(found)
            raise CorruptionError(
                f"the log of node {node_id!r} is gone: its directory holds no records though "
                "there was a log before. This node must not vote without its memory: restore "
                "nothing by hand; it catches up from the other members and asks to vote again"
            )
        check_tail(disk, found)
        if found.segments:
            return _recover(disk, found, options)
        return _begin(disk, found, options, cluster_id, node_id)
    except OSError as problem:
        raise failure("open the log", problem) from problem


def _begin(
    disk: Disk, found: Scan, options: WalOptions, cluster_id: str, node_id: str
) -> tuple[Wal, Recovered]:
    nonce = options.random_bytes(NONCE_BYTES)
    header = SegmentHeader(1, nonce, options.segment_bytes, cluster_id, node_id)
    preparer = SegmentPreparer(disk, options.prepare_ahead)
    mark = TailMark(disk, ahead=options.prepare_ahead)
    try:
        found.segments.append(Segment(header, preparer.take(header)))
    except OSError:
        mark.close()
        raise
    wal = Wal(disk, options, preparer, mark, found)
    wal.begin()
    return wal, Recovered(created=True, segments=1)


def _recover(disk: Disk, found: Scan, options: WalOptions) -> tuple[Wal, Recovered]:
    # This nonce is not used. It is drawn so that a simulated run goes on drawing, from its seed,
    # what it drew when the seeds of the tests were recorded.
    options.random_bytes(NONCE_BYTES)
    preparer = SegmentPreparer(disk, options.prepare_ahead)
    mark = TailMark(disk, ahead=options.prepare_ahead)
    try:
        repair(disk, found)
    except OSError:
        mark.close()
        close_all(found)
        raise
    wal = Wal(disk, options, preparer, mark, found)
    if found.last_group:
        current = found.segments[found.current]
        mark.note(found.last_group, current.header, current.end)
    else:
        wal.begin()
    if not mark.usable:
        found.warnings.append(NO_MARK)
    try:
        accepted = {
            slot: (ballot, wal.segments.read(slot, location)[1])
            for slot, (ballot, location) in sorted(found.ballots.items())
        }
    except BaseException:
        wal.close()
        raise
    return wal, found.recovered(accepted)
