"""The members that a configuration file names, beside those of the founding and those of now.

Once a cluster is founded its file decides nothing about who belongs to it: the founding record and
the log do. The file's members are where a node looks for the others at first; a difference is
reported, in the log (``config.members_differ``), in the status, and by ``paxosd --check-config``.
The last reads two files of the data directory only, and changes nothing there: ``genesis`` and
``members``, a note of the present membership that the daemon leaves there for it, and that nothing
else reads.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paxosd.config.schema import Config
from paxosd.core.genesis import GenesisError, Record
from paxosd.core.membership import UNKNOWN, Member, Membership, MembershipError
from paxosd.core.types import NodeId
from paxosd.storage.disk import Disk
from paxosd.storage.small_files import note_file

NOTE = "members"
_GENESIS = "genesis"
_PLACES = ("peer", "client", "events")

Differing = dict[NodeId, dict[str, Any]]
"""Per member that differs: ``file`` and ``cluster``, each with the fields that differ, or None
where it is no member."""


def of_file(config: Config) -> dict[NodeId, Member]:
    """The members as the file has them."""
    members = config.cluster.members.items()
    return {name: Member(m.peer, m.client, m.events, m.voter) for name, m in members}


def differences(
    file: Mapping[NodeId, Member], membership: Membership, *, joins: bool = False
) -> Differing:
    """What the file says otherwise than the membership. ``joins``: the file is of a node that
    joined later, and was not meant to say who votes."""
    found: Differing = {}
    cluster = membership.members
    for name in sorted(file.keys() | cluster.keys()):
        mine, theirs = file.get(name), cluster.get(name)
        if mine is None or theirs is None:
            found[name] = {"file": _shown(mine), "cluster": _shown(theirs)}
            continue
        kinds = [k for k in _PLACES if getattr(theirs, k) not in ("", getattr(mine, k))]
        if not joins and mine.voter != theirs.voter:
            kinds.append("voter")
        if kinds:
            found[name] = {
                "file": {kind: getattr(mine, kind) for kind in kinds},
                "cluster": {kind: getattr(theirs, kind) for kind in kinds},
            }
    return found


def _shown(member: Member | None) -> dict[str, Any] | None:
    if member is None:
        return None
    return {k: v for k, v in member._asdict().items() if k != "directory_id" and v != ""}


def words(differing: Mapping[NodeId, Mapping[str, Any]]) -> list[str]:
    """The same for people, a line for each difference."""
    lines = []
    for name, (mine, theirs) in ((n, (d["file"], d["cluster"])) for n, d in differing.items()):
        if mine is None:
            lines.append(f"{name} is a member, and the file does not name it")
        elif theirs is None:
            lines.append(f"the file names {name}, which is no member")
        else:
            lines += [f"{name}: {_difference(kind, mine[kind], theirs[kind])}" for kind in mine]
    return lines


def _difference(kind: str, mine: Any, theirs: Any) -> str:
    if kind == "voter":
        return (
            "it votes, and the file says no" if theirs else "it has no vote, and the file says so"
        )
    return f"{kind} is {theirs}, and the file has {mine}"


# -- the note


def leave_note(home: Disk, membership: Membership) -> bool:
    """Write the membership down for ``--check-config``; returns whether the disk took it. The node
    itself never reads it."""
    return note_file(home, NOTE, membership.to_json().decode() + "\n")


def side_by_side(config: Config) -> str:
    """File, founding and present membership of a data directory, as comments in TOML; "" if it is
    of no cluster yet. Only reads."""
    try:
        record, present = _read(config.node.data_dir)
    except (GenesisError, MembershipError, OSError) as problem:
        return f"# The data directory does not say who is a member: {problem}\n"
    if record is None and not present.members:
        return ""
    return "".join(f"# {line}".rstrip() + "\n" for line in _table(config, record, present))


def _read(data_dir: Path) -> tuple[Record | None, Membership]:
    """The founding record, and the membership in force as far as the node knew when it ran."""
    genesis = _content(data_dir / _GENESIS)
    record = None if genesis is None else Record.from_json(genesis)
    note = _content(data_dir / NOTE)
    present = UNKNOWN if note is None else Membership.from_json(note)
    return record, present


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _table(config: Config, record: Record | None, present: Membership) -> Iterator[str]:
    file = of_file(config)
    founders = {} if record is None else {n: f.voter for n, f in record.members.items()}
    if not present.epoch and record is not None:
        present = record.membership(file)
    rows = [("member", "this file", "founding", f"epoch {present.epoch}")]
    rows += [
        (
            name,
            _role(file[name].voter if name in file else None),
            _role(founders.get(name)),
            _role(present.members[name].voter if name in present.members else None),
        )
        for name in sorted(file.keys() | founders.keys() | present.members.keys())
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    hash_words = "" if record is None else f" (founding record {record.hash:016x})"
    yield f"Who is a member, as {config.node.data_dir} knew last{hash_words}:"
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
    lines = words(differences(file, present, joins=config.node.join))
    if lines:
        yield "The file differs from it, and decides nothing about it:"
        yield from (f"  {line}" for line in lines)


def _role(votes: bool | None) -> str:
    return "-" if votes is None else "voter" if votes else "learner"
