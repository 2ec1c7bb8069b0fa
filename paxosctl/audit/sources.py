"""What is handed to the auditor: data directories, parents of several, and single files.

Recorder files stand in ``DIR/recorder/rec-*.bin``, the log in ``DIR/wal/wal-*.log``; ``identity``
and ``genesis`` are JSON (docs/DATA.md). A file that is named itself is what its contents say,
whatever its name. Whatever is foreign, damaged or newer is named, and the
rest is used.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from paxosctl.audit import membership, recorder_file, wal_file
from paxosctl.audit.membership import Membership
from paxosctl.audit.recorder_file import Block
from paxosctl.audit.wal_file import NotALogError, Segment, TailMark

GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 64 << 10
"""So much of a file is looked at; the first block of a recording may be damaged."""
DEPTH_MAX = 3
"""How far below a given directory data directories are looked for."""


class NothingToReadError(Exception):
    """None of the sources holds a recording or a log."""


@dataclass(slots=True)
class DataDirectory:
    """One node's log, and what stands beside it. ``directory``: its identity, 0: not known;
    ``lost``: its memory is known to be lost, or a log was set aside there."""

    path: Path
    node: str = ""
    cluster: str = ""
    directory: int = 0
    lost: bool = False
    single: bool = False
    """Its segments were named one by one, and nothing of what stands beside them is known."""
    segments: list[Segment] = field(default_factory=list)
    genesis: Membership | None = None
    tail_mark: TailMark | None = None
    """Up to which group the log was durable, as a second file has it."""


@dataclass(slots=True)
class Sources:
    """All that was found. ``troubles``: what could not be used, a sentence each."""

    blocks: list[Block] = field(default_factory=list)
    directories: list[DataDirectory] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def clusters(self) -> list[str]:
        """The ids of the clusters that these are of."""
        found = {block.cluster for block in self.blocks}
        found |= {each.cluster for each in self.directories if each.segments}
        return sorted(found - {""})


def read_sources(paths: list[Path]) -> Sources:
    """Find and index everything. Raises NothingToReadError; OSError for what cannot be read at
    all."""
    sources = Sources()
    recorders: dict[Path, None] = {}
    homes: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            _look(path, recorders, homes)
        elif wal_file.segment_number(path.name) is not None:
            homes[path.parent.parent if path.parent.name == "wal" else path.parent] = None
        else:
            _take_file(sources, path, recorders)
    for file in sorted(recorders):
        _index(sources, file)
    for home in sorted(homes):
        sources.directories.append(_open_home(sources, home))
    if not sources.blocks and not any(each.segments for each in sources.directories):
        places = ", ".join(map(str, paths))
        why = "".join(f"; {trouble}" for trouble in sources.troubles)
        raise NothingToReadError(f"there is no recording and no log in {places}{why}")
    return sources


def _take_file(sources: Sources, path: Path, recorders: dict[Path, None]) -> None:
    """A file that was named: a recording, or a segment under a name of somebody's own."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if recorder_file.MAGIC in head or recorder_file.file_number(path.name) is not None:
        recorders[path] = None
    elif head.startswith(wal_file.MAGIC):
        _take_segment(sources, path)
    elif head.startswith(GZIP_MAGIC):
        sources.troubles.append(f"{path} is not used: it is packed; unpack it first, with gunzip")
    else:
        sources.troubles.append(
            f"{path} is not used: it is neither a data directory, nor a recorder file, nor a "
            "segment of a log"
        )


def _take_segment(sources: Sources, path: Path) -> None:
    """Segments of one node that were named one by one are its log."""
    try:
        segment = wal_file.open_segment(path)
    except NotALogError as error:
        sources.troubles.append(f"{error}; it is not used")
        return
    for home in sources.directories:
        if home.single and (home.node, home.cluster) == (segment.node, segment.cluster):
            break
    else:
        home = DataDirectory(path.parent, segment.node, segment.cluster, single=True)
        sources.directories.append(home)
    home.segments.append(segment)
    home.segments.sort(key=lambda each: each.number)
    numbers = [each.number for each in home.segments]
    home.lost = numbers != list(range(numbers[0], numbers[0] + len(numbers)))


def _look(path: Path, recorders: dict[Path, None], homes: dict[Path, None], depth: int = 0) -> None:
    """Everything in a directory, and in those below it."""
    is_home = path.name == "wal" and depth == 0  # the log itself was named
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            # A log or a recording may lie on another disk; other links could lead anywhere.
            if depth < DEPTH_MAX and (not entry.is_symlink() or entry.name in ("wal", "recorder")):
                _look(entry, recorders, homes, depth + 1)
        elif recorder_file.file_number(entry.name) is not None:
            recorders[entry] = None
        elif wal_file.segment_number(entry.name) is not None:
            homes[path.parent if path.name == "wal" or is_home else path] = None
        elif entry.name == "identity":
            homes[path] = None


def _index(sources: Sources, path: Path) -> None:
    try:
        blocks, losses = recorder_file.blocks_of(path)
    except FileNotFoundError:
        sources.troubles.append(f"{path} is gone: the node that runs dropped its oldest file")
        return
    sources.blocks += blocks
    if not blocks and not losses.later and path.stat().st_size:
        sources.troubles.append(f"{path} holds no sound block: it is foreign or damaged")
        return
    for offset, count in losses.damaged:
        sources.troubles.append(
            f"{path}: {count} bytes at {offset} are torn or damaged, and passed over"
        )
    if losses.later:
        sources.troubles.append(
            f"{path}: {losses.later} blocks are of a later version, and passed over: use the "
            "paxosctl of that version"
        )


def _open_home(sources: Sources, home: Path) -> DataDirectory:
    found = DataDirectory(home)
    _read_identity(found, home / "identity")
    place = home / "wal" if (home / "wal").is_dir() else home
    with suppress(OSError):  # before the log: of a node that runs it grows meanwhile
        found.tail_mark = wal_file.read_tail_mark(place / "tail-mark")
    names = sorted(each.name for each in place.iterdir())
    found.lost = found.lost or any(name.startswith("lost-") for name in names)
    before = 0
    for name in names:
        number = wal_file.segment_number(name)
        if number is None:
            continue
        try:
            segment = wal_file.open_segment(place / name)
        except NotALogError as error:
            sources.troubles.append(f"{error}; the log of this directory is used without it")
            found.lost = True
            continue
        except FileNotFoundError:
            sources.troubles.append(f"{place / name} is gone: the node that runs gave it back")
            continue
        if before and number != before + 1:
            sources.troubles.append(f"{place}: the segments between {before} and {number} are gone")
            found.lost = True
        before = number
        found.segments.append(segment)
        found.node, found.cluster = segment.node, segment.cluster
    genesis = home / "genesis"
    if genesis.is_file():
        found.genesis = membership.of_genesis(genesis.read_bytes())
        if found.genesis is None:
            sources.troubles.append(f"{genesis} is no founding record, and is not used")
    return found


def _read_identity(found: DataDirectory, path: Path) -> None:
    try:
        known = json.loads(path.read_bytes())
        found.directory = int(known.get("directory", 0))
        found.node, found.cluster = str(known["node"]), str(known["cluster"])
        found.lost = bool(known.get("lost")) or bool(known.get("diverged"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
