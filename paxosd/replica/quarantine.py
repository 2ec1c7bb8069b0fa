"""Setting a log aside that was damaged, or lost its end: what the node promised is not known any
more. A log whose state has diverged (``core/agreement.py``) is set aside, too, with its snapshots.

A node with such a log must not vote with its old identity. It goes on with a new one, which has
promised nothing yet, and asks to vote again (``core/admission.py``). What its snapshots hold was
decided, and may be used.

    mark    DIR/quarantine, durable: from now on every start goes on here, whatever a crash leaves
    renew   the directory's identity, durable: what follows is not of the old node
    move    wal-N.log → lost-G-wal-N.log, which no program reads; tail-mark is removed
    forget  DIR/log-created, then the mark: the log that is begun next is this identity's first

A node whose state has diverged does not ask to vote by itself: the cause may still be there (a bad
memory module, for instance), so an operator decides.

A cut log can look whole: without the mark, a crash between two of the moves could leave one. One
generation G of lost files is kept, so that they take no more room than one log.
"""

import re
import secrets
from collections.abc import Callable

from paxosd.snapshot.file import snapshot_slot
from paxosd.storage import identity, wal_mark
from paxosd.storage.disk import Disk
from paxosd.storage.small_files import read_file, write_file
from paxosd.storage.wal_format import segment_number

MARK = "quarantine"
ADVICE = (
    "the damaged log was set aside (lost-*.log): what this node promised is lost with it, so it "
    "does not vote. It catches up from the other members and asks their leader to let it vote "
    "again. If they elect none, a majority of the voters has lost its memory: then no node may "
    "decide that. Make a new cluster from the best snapshot: paxosctl snapshot restore"
)

DIVERGED_ADVICE = (
    "this node's state was not the one that was decided: its log and snapshots were set aside "
    "(lost-*), and it learns all from the other members. It does not vote; once the cause is "
    "found, let it: paxosctl member rejoin NAME"
)

_LOST = re.compile(r"lost-(\d+)-(wal-\d{8,}\.log|snap-\d{16,}\.paxsnap)")


def begun(home: Disk) -> bool:
    """Whether an earlier start began to set the log aside, and did not finish."""
    return home.exists(MARK)


def set_aside(
    home: Disk, log_disk: Disk, random_bits: Callable[[int], int] = secrets.randbits
) -> int:
    """Set the log aside, or finish that; if the state has diverged, the snapshots, too. Returns the
    new identity of the directory, which has no log then. Raises IdentityError, OSError."""
    generation = _mark(home, log_disk)
    diverged = identity.diverged(home)
    directory = identity.renew(home, repaired=not diverged, random_bits=random_bits)
    _move(log_disk, generation, snapshots=bool(diverged))
    identity.forget_log(home)
    home.unlink(MARK)
    home.sync_dir()
    if diverged:
        identity.end_divergence(home)  # last: a crash before this begins again
    return directory


def _mark(home: Disk, log_disk: Disk) -> int:
    """Begin, or go on; the generation of the files."""
    if begun(home):
        text = read_file(home, MARK)
        if text.strip().isdigit():
            return int(text)
    generation = 1 + max((number for number, _ in _lost(log_disk)), default=0)
    write_file(home, MARK, f"{generation}\n")
    return generation


def _move(disk: Disk, generation: int, *, snapshots: bool) -> None:
    segments = sorted(
        name
        for name in disk.list()
        if segment_number(name) is not None or (snapshots and snapshot_slot(name) is not None)
    )
    if segments:  # else the log is gone: what was kept before may be all that there is
        for number, name in _lost(disk):
            if number != generation:
                disk.unlink(name)
        for name in segments:
            disk.rename(name, f"lost-{generation}-{name}")
    if disk.exists(wal_mark.NAME):
        disk.unlink(wal_mark.NAME)  # of the log that is gone: the next one has synced nothing yet
    disk.sync_dir()


def _lost(disk: Disk) -> list[tuple[int, str]]:
    """The files set aside, with their generations."""
    found = ((_LOST.fullmatch(name), name) for name in disk.list())
    return [(int(match[1]), name) for match, name in found if match is not None]
