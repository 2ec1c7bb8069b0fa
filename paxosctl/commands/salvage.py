"""snapshot salvage: what is left of a cluster, out of the data directory of one stopped node."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.cli.progress_line import work_progress
from paxosctl.cli.render import View, human_bytes
from paxosctl.cli.streams import StreamError
from paxosctl.client.errors import RefusedError
from paxosd.host.file_path import FilePath
from paxosd.host.wording import counted

if TYPE_CHECKING:
    from paxosctl.evidence.survivor import Survivor

TAKE, LEAVE = "take", "leave"
_DIRECTORY = FilePath(path_type=Path, file_okay=False, readable=False)


@verb("salvage")
@click.argument("data_dir", type=_DIRECTORY)
@click.argument("file", type=FilePath(path_type=Path, dir_okay=False))
@click.option("--compare", "others", type=_DIRECTORY, multiple=True,
              help="Another data directory that is left: say which one goes further. May be "
              "repeated.")  # fmt: skip
@click.option(
    "--unproven",
    type=click.Choice([TAKE, LEAVE]),
    default=TAKE,
    show_default=True,
    help="What to do with votes behind the slots that the node knows to be chosen.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists and is a regular file.")
def salvage_verb(
    settings: Settings,
    data_dir: Path,
    file: Path,
    others: tuple[Path, ...],
    unproven: str,
    force: bool,
) -> None:
    """Make a snapshot FILE of what the data directory of one stopped node has, and say what may be
    lost.

    For a cluster whose majority is gone for good: nothing can be decided there any more, and only
    a new cluster can go on with what is left (`snapshot restore`). DATA_DIR is only read. FILE has
    every slot that the node knows to be chosen, and behind them what it voted for: acknowledged
    writes among them, perhaps, and some that were never acknowledged.
    """
    from paxosctl.cli.new_file import NotReplacedError  # noqa: PLC0415 -- not for --help
    from paxosctl.commands.snapshot_files import SnapshotFileError  # noqa: PLC0415 -- as above
    from paxosctl.evidence.survivor import SurvivorError, read_survivor  # noqa: PLC0415 -- as above

    try:
        with work_progress(lambda count: f"{count:,}") as progress:
            taken = unproven == TAKE
            found = read_survivor(data_dir, progress, take_unproven=taken)
            rest = [read_survivor(each, progress) for each in others]
        written = _write(found, file, force=force)
    except (SurvivorError, SnapshotFileError, NotReplacedError) as error:
        negative(str(error))
    except PermissionError as error:
        raise RefusedError("permission", f"{error.filename or error}: not permitted") from error
    except OSError as error:
        raise StreamError(f"{error.filename or data_dir}: {error.strerror}") from error
    settings.show(_view(found, rest, file, written))


def _write(found: "Survivor", path: Path, *, force: bool) -> dict[str, Any]:
    """What FILE holds. Raises NotReplacedError, SnapshotFileError, StreamError, OSError."""
    import shutil  # noqa: PLC0415 -- not for --help
    import time  # noqa: PLC0415 -- as above

    from paxosctl.cli.new_file import new_file  # noqa: PLC0415 -- as above
    from paxosctl.commands.snapshot_files import described, opened, verify  # noqa: PLC0415 -- as above
    from paxosd.snapshot.file import snapshot_name  # noqa: PLC0415 -- as above
    from paxosd.snapshot.whole import write_whole  # noqa: PLC0415 -- as above
    from paxosd.storage.disk import RealDisk  # noqa: PLC0415 -- as above

    with (
        new_file(path, force=force) as (target, name),
        tempfile.TemporaryDirectory(dir=name.parent, prefix=".salvage-") as scratch,
    ):
        disk = RealDisk(scratch)
        try:
            write_whole(disk, found.cluster, found.machine, time.time_ns() // 1_000_000)
        finally:
            disk.close()
        with open(Path(scratch) / snapshot_name(found.slot), "rb") as whole:
            shutil.copyfileobj(whole, target)
        target.flush()
        with opened(name) as file:
            return described(verify(file))


# -- what may be lost


def _view(found: "Survivor", others: list["Survivor"], file: Path, written: dict[str, Any]) -> View:
    better = [each for each in others if each.newest_slot > found.slot]
    data = {
        "file": str(file),
        "cluster": found.cluster,
        "node": found.node,
        "slot": found.slot,
        "proven_slot": found.proven_slot,
        "unproven_slots": len(found.unproven),
        "left_out_slots": list(_ranges(found.beyond)),
        "revision": written["revision"],
        "keys": written["keys"],
        "bytes": written["bytes"],
        "last_ballot": found.ballot.shown() if found.ballot.round else None,
        "last_write": _time(found.stamp_ms) or None,
        "compared": [
            {
                "node": each.node,
                "data_dir": str(each.path),
                "slot": each.slot,
                "newest_slot": each.newest_slot,
                "last_write": _time(each.stamp_ms) or None,
            }
            for each in others
        ],
        "problems": [*found.problems, *(f"{o.node}: {p}" for o in others for p in o.problems)],
        "lost": _losses(found, better),
    }
    lines = [
        f"{file}: {human_bytes(written['bytes'])}, {counted(written['keys'], 'key')}, revision "
        f"{written['revision']}, from {found.node} of cluster {found.cluster}",
        _sure(found),
        *(f"WARNING: {words}" for words in data["problems"]),
        "What may be lost:",
        *(f"  - {words}" for words in data["lost"]),
        "Next: paxosctl snapshot restore, from this one FILE, for every node of a new cluster.",
    ]
    return View(
        data=data, plain=f"{found.slot}\t{found.proven_slot}\n".encode(), text="\n".join(lines)
    )


def _sure(found: "Survivor") -> str:
    sure = f"Up to slot {found.proven_slot} all is known to be chosen"
    words = f"It holds slots 1 to {found.slot}. {sure}"
    if not found.unproven:
        return f"{words}."
    span = f"{found.unproven[0]} to {found.unproven[-1]}"
    return (
        f"{words}; for slots {span} only the vote of {found.node} speaks: most likely they were "
        "chosen, and writes in them that were never acknowledged count as well "
        "(--unproven leave: without them)."
    )


def _losses(found: "Survivor", better: list["Survivor"]) -> list[str]:
    """What may have been acknowledged and is not in the file, as far as can be known."""
    node, slot = found.node, found.slot
    voters = found.voters
    when = _time(found.stamp_ms)
    words = [
        f"every write that was acknowledged after slot {slot}"
        + (f"; the last write that is there is of {when}, by its leader's clock" if when else "")
    ]
    if found.ballot.round:
        leader = found.ballot.node
        words.append(
            f"{node} itself led then (ballot {found.ballot.shown()}): whatever it acknowledged as "
            "leader is there; what a later leader did without it is not"
            if leader == node
            else f"{leader} led then (ballot {found.ballot.shown()}): what it acknowledged with "
            f"the votes of others, and had not brought to {node} yet, is not there"
        )
    if len(voters) > 1:
        words.append(
            f"a quorum of the {len(voters)} voters ({', '.join(voters)}) decides, and others could "
            f"without {node}: nobody can say here how much"
        )
    if found.beyond:
        ranges = ", ".join(_ranges(found.beyond))
        words.append(f"slots {ranges} are in its log, and left out: what comes before them is not")
    words += [
        f"{each.node} ({each.path}) goes further, to slot {each.newest_slot}"
        f"{f', {_time(each.stamp_ms)}' if each.stamp_ms else ''}: salvage that one instead"
        for each in better
    ]
    return words


def _ranges(slots: tuple[int, ...]) -> list[str]:
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = found[-1][0], slot
        else:
            found.append((slot, slot))
    return [f"{first}" if first == last else f"{first} to {last}" for first, last in found]


def _time(stamp_ms: int) -> str:
    if not stamp_ms:
        return ""
    try:
        return datetime.fromtimestamp(stamp_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # that clock was far off
        return ""
