"""snapshot: save the state of a cluster to a file, look into it, begin a new cluster from it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Group, Settings, Whole, global_options, negative, verb
from paxosctl.cli.params import EndpointList
from paxosctl.cli.progress_line import work_progress
from paxosctl.cli.render import View, human_bytes
from paxosctl.cli.streams import StreamError, is_terminal, say, write_bytes
from paxosctl.client.errors import NO_SNAPSHOT, NotSubmittedError, RefusedError, UnreachableError
from paxosctl.commands.salvage import salvage_verb
from paxosd.host.file_path import FilePath

BUMP = 1_000_000_000
"""At 10,000 writes a second it takes a day to make so many revisions, at 100 a second four months:
more than a snapshot should be old. JSON has room for nine million such jumps."""
BUMP_MAX = 1 << 50


class _File(FilePath):
    """A snapshot file. ``-`` is a stream where ``streams`` are taken, and no file elsewhere."""

    def __init__(self, *, streams: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=False, readable=False)
        self._streams = streams

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path."""
        if str(value) == "-" and not self._streams:
            self.fail('"-" is for save alone: name the file (./- if that is its name)', param, ctx)
        return super().convert(value, param, ctx)


@click.group("snapshot", cls=Group)
def _snapshot() -> None:
    """Snapshots of the whole state: data, revisions, sessions."""


snapshot_verb = global_options(_snapshot)


@verb("save")
@click.argument("file", type=_File(streams=True))
@click.option("--endpoint", type=EndpointList(), default=None,
              shell_complete=complete.endpoints,
              help="The client endpoint of the node to ask.  [default: the leader]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it exists and is a regular file.")
def save_verb(settings: Settings, file: Path, endpoint: str | None, force: bool) -> None:
    """Save the state to FILE, or to standard output if FILE is "-".

    The file holds all that the node has applied; from the leader, this is all that was acknowledged
    before. FILE appears once it is complete and verified. Its mode is 0600, because it holds all
    data. Without a quorum there is no leader: exit code 75. Then take the snapshot of a node that
    is up with --endpoint.
    """
    from paxosctl.commands.snapshot_files import (  # noqa: PLC0415 -- not for --help
        SnapshotFileError,
        save,
        save_to,
    )

    streamed = str(file) == "-"
    if streamed and is_terminal(sys.stdout):
        raise click.UsageError("a snapshot is no text: send standard output to a file or a program")
    with settings.client() as client, source_of(client, endpoint) as source:
        try:
            with work_progress() as progress:
                if streamed:
                    found = save_to(client, source, write_bytes, progress)
                else:
                    found = save(client, source, file, force=force, progress=progress)
        except SnapshotFileError as error:
            negative(str(error))
        except PermissionError as error:
            raise RefusedError("permission", str(error)) from error
    if not streamed:
        settings.show(_view(found | {"file": str(file)}, f"saved to {file}"))
    elif settings.output == "table":
        say(f"{human_bytes(found['bytes'])} written, as of slot {found['slot']}")


@contextmanager
def source_of(client: Any, endpoint: str | None) -> Iterator[str]:
    """The client endpoint of the node that a snapshot comes from: this one, or the leader's.
    Raises NotSubmittedError if there is no leader, or it goes meanwhile."""
    source = endpoint or _leaders_endpoint(client)
    try:
        yield source
    except UnreachableError as error:
        if endpoint:
            raise
        raise NotSubmittedError(NO_SNAPSHOT, _NO_LEADER, error.troubles) from error


def _leaders_endpoint(client: Any) -> str:
    """Of a leader that is there: the others may name one for a while that has gone."""
    from paxosctl.cli.survey import leader_of, survey  # noqa: PLC0415 -- not for --help

    views = survey(client)
    name, endpoint = leader_of(views)
    if not any(view.name == name and view.status is not None for view in views):
        raise NotSubmittedError(NO_SNAPSHOT, _NO_LEADER)
    return endpoint


_NO_LEADER = (
    "no leader can be reached, so that no node is known to have all that was acknowledged; "
    "--endpoint tcp://HOST:PORT takes what that one node has applied"
)


@verb("status")
@click.argument("file", type=_File())
def status_verb(settings: Settings, file: Path) -> None:
    """Verify all of FILE, and show what it holds. Exit code 1 if it is damaged."""
    from paxosctl.commands.snapshot_files import (  # noqa: PLC0415 -- not for --help
        VERIFYING,
        SnapshotFileError,
        described,
        opened,
        verify,
    )

    try:
        with opened(file) as data, work_progress() as progress:
            found = described(verify(data, partial(progress, VERIFYING)))
    except SnapshotFileError as error:
        bad = {"file": str(file), "good": False, "message": str(error)}
        negative(str(error), View(data=bad, plain=b"bad\n"))
    except PermissionError as error:
        raise RefusedError("permission", str(error)) from error
    settings.show(_view({"good": True} | found | {"file": str(file)}, f"{file} is good"))


@verb("restore")
@click.argument("file", type=_File())
@click.option("--data-dir", type=FilePath(path_type=Path, file_okay=False, readable=False),
              required=True,
              help="The data directory to make: node.data_dir of the node.")  # fmt: skip
@click.option(
    "--cluster-id",
    required=True,
    help="The id of the new cluster; it must differ from the old one.",
)
@click.option("--node", required=True, help="The node's name in the new cluster.")
@click.option(
    "--bump-revision",
    "bump",
    type=Whole(0, BUMP_MAX),
    default=BUMP,
    show_default=True,
    help="How far the revision jumps ahead: by more than the writes since FILE was saved. The same "
    "for every node.",
)
def restore_verb(
    settings: Settings, file: Path, data_dir: Path, cluster_id: str, node: str, bump: int
) -> None:
    """Make the data directory of one node of a new cluster from FILE.

    The new cluster goes on at a later revision, so that no fencing token that the old one gave
    after FILE was saved is given, or passed by, a second time; the ids of sessions and leases jump
    as well.

    Do this with the same FILE for EVERY node of the new cluster before the first one starts: a
    node that begins empty could otherwise outvote what was restored. The first start waits for all
    of them, as that of any new cluster.
    """
    from paxosctl.commands.snapshot_files import SnapshotFileError, restore  # noqa: PLC0415 -- not for --help
    from paxosd.config.schema import NAME_ALLOWED, NAME_PATTERN  # noqa: PLC0415 -- as above
    from paxosd.storage.disk import StorageError  # noqa: PLC0415 -- as above

    for option, name in (("--cluster-id", cluster_id), ("--node", node)):
        if not re.fullmatch(NAME_PATTERN, name):
            raise click.UsageError(f'{option}: "{name}" is not allowed: {NAME_ALLOWED}')
    try:
        with work_progress() as progress:
            made = restore(file, data_dir, cluster_id, node, bump, progress)
    except SnapshotFileError as error:
        negative(str(error))
    except StorageError as error:
        raise StreamError(str(error)) from error
    except PermissionError as error:
        raise RefusedError("permission", str(error)) from error
    words = (
        f"{data_dir} is node {node} of the new cluster {cluster_id}, which goes on from revision "
        f"{made['revision']}.\n"
        f"What {made['was_cluster']} acknowledged after {_taken(made)} (slot {made['slot']}) is "
        "not in it.\n"
        "Restore every other node of it from the same file, with the same --bump-revision, before "
        "the first one starts."
    )
    settings.show(_view(made, words))


def _taken(found: dict[str, Any]) -> str:
    return datetime.fromtimestamp(found["created_ms"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _view(found: dict[str, Any], words: str) -> View:
    rows = [
        ("cluster", found["cluster"]),
        ("slot", found["slot"]),
        ("revision", found["revision"]),
        ("keys", found["keys"]),
        ("sessions", found["sessions"]),
        ("taken", _taken(found)),
        ("size", human_bytes(found["bytes"])),
        ("digest", found["digest"]),
        ("checksum", found["checksum"] or "not summed up"),
    ]
    if found["members"]:
        rows.append(("members", ", ".join(found["members"])))
    return View(
        data=found,
        plain="".join([f"{name}\t{value}\n" for name, value in rows]).encode(),
        columns=("", ""),
        rows=rows,
        text=words,
    )


for _verb in (save_verb, status_verb, restore_verb, salvage_verb):
    snapshot_verb.add_command(_verb)
