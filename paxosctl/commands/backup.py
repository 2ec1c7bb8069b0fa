"""backup: snapshots of a running cluster in a directory, verified, and only so many of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from paxosctl.cli.app import (
    Group,
    Settings,
    Whole,
    global_options,
    negative,
    verb,
)
from paxosctl.cli.params import EndpointList
from paxosctl.cli.progress_line import work_progress
from paxosctl.cli.render import View, human_bytes
from paxosctl.client.errors import RefusedError
from paxosctl.commands.snapshot import source_of
from paxosd.host.file_path import FilePath
from paxosd.host.wording import counted

if TYPE_CHECKING:
    from paxosctl.commands.backup_files import Checked, Taken

KEEP_MIN = 7
"""What --keep-days keeps at least, whatever the clock says."""
TIME = "%Y-%m-%dT%H:%M:%SZ"


@click.group("backup", cls=Group)
def _backup() -> None:
    """Backups: verified snapshots of a running cluster in a directory, only so many of them."""


backup_verb = global_options(_backup)


def _directory(command: Any) -> Any:
    return click.argument(
        "directory", type=FilePath(path_type=Path, file_okay=False, readable=False)
    )(command)


@contextmanager
def _explained() -> Iterator[None]:
    """What is wrong with files or the directory, with its exit code."""
    from paxosctl.commands.backup_files import BackupError  # noqa: PLC0415 -- not for --help
    from paxosctl.commands.snapshot_files import SnapshotFileError  # noqa: PLC0415 -- as above

    try:
        yield
    except (BackupError, SnapshotFileError) as error:
        negative(str(error))
    except PermissionError as error:
        raise RefusedError("permission", str(error)) from error


@verb("take")
@_directory
@click.option("--keep", type=Whole(1), default=None,
              help="Keep the newest NUMBER backups of this cluster, and remove its others.  "
              f"[default: none is removed; with --keep-days: {KEEP_MIN}]")  # fmt: skip
@click.option("--keep-days", type=Whole(1, 36_500), default=None,
              help="Keep all backups of the last NUMBER days, too.")  # fmt: skip
@click.option("--endpoint", type=EndpointList(), default=None,
              help="The client endpoint of the node to ask.  [default: the leader]")  # fmt: skip
def take_verb(
    settings: Settings,
    directory: Path,
    keep: int | None,
    keep_days: int | None,
    endpoint: str | None,
) -> None:
    """Take a backup into DIRECTORY, verify it, then remove those that are not to be kept.

    The leader's holds all that was acknowledged before. It appears in DIRECTORY under its name
    (cluster, time, slot) once it is whole, on the disk and verified; its mode is 0600. Only what
    neither --keep nor --keep-days keeps is removed, only of the same cluster, and only after the
    new one was verified; what is damaged, or cannot be read, does not count as kept.

    Exit codes: 0 taken; 1 not taken, or taken and an older one is damaged, or can neither be read
    nor removed: the message says which; 69 and 75 no node, or no leader, can be reached; 74 and 77
    DIRECTORY cannot be written.
    """
    from paxosctl.commands.backup_files import Retention, take  # noqa: PLC0415 -- not for --help

    retention = Retention(keep or (KEEP_MIN if keep_days else 0), keep_days or 0)
    with (
        _explained(),
        settings.client() as client,
        source_of(client, endpoint) as source,
        work_progress() as progress,
    ):
        taken = take(client, source, directory, retention, lambda: datetime.now(UTC), progress)
    view = _taken_view(taken)
    if not taken.unusable and not taken.stuck:
        settings.show(view)
        return
    if settings.output == "table":
        settings.show(view)
    damaged = ", ".join(each.backup.path.name for each in taken.unusable if each.damaged)
    refused = ", ".join(each.backup.path.name for each in taken.unusable if each.refused)
    stuck = ", ".join(f"{path.name} ({why})" for path, why in taken.stuck)
    words = [f"older ones are damaged: {damaged}"] if damaged else []
    words += [f"older ones belong to another user, and were not read: {refused}"] if refused else []
    words += [f"older ones cannot be removed: {stuck}"] if stuck else []
    message = f"the new backup is good, but {'; '.join(words)}"
    negative(message, view, code="damaged" if taken.unusable else "not_removed")


def _taken_view(taken: "Taken") -> View:
    found = taken.found
    removed = [path.name for path in taken.removed]
    words = [
        f"taken: {taken.path}, {human_bytes(found['bytes'])}, slot {found['slot']}, revision "
        f"{found['revision']}, {counted(found['keys'], 'key')}"
    ]
    if removed:
        words.append(f"removed: {', '.join(removed)}")
    return View(
        data={
            **{name: found[name] for name in ("cluster", "slot", "revision", "keys", "bytes")},
            "file": str(taken.path),
            "removed": removed,
            "damaged": [each.backup.path.name for each in taken.unusable],
        },
        plain=f"{taken.path}\n".encode(),
        text="\n".join(words),
    )


@verb("list")
@_directory
def list_verb(settings: Settings, directory: Path) -> None:
    """Show the backups in DIRECTORY, the newest first, by what their heads say.

    It reads no more of them than that: `backup verify` does. Exit code 1 if there is none.
    """
    from paxosctl.commands.backup_files import glance, look_through  # noqa: PLC0415 -- not for --help

    with _explained():
        found = look_through(directory, glance)
    _show(settings, directory, found, read_all=False)


@verb("verify")
@_directory
def verify_verb(settings: Settings, directory: Path) -> None:
    """Read all backups in DIRECTORY again, and check everything in them.

    Exit code 1 if one is damaged, or if there is none.
    """
    from paxosctl.commands.backup_files import check, look_through  # noqa: PLC0415 -- not for --help

    with _explained(), work_progress() as progress:
        found = look_through(directory, lambda backup: check(backup, progress))
    _show(settings, directory, found, read_all=True)


def _fields(checked: "Checked", *, read_all: bool) -> dict[str, Any]:
    backup, head = checked.backup, checked.found
    return {
        "file": backup.path.name,
        "cluster": backup.cluster,
        "taken": backup.taken.strftime(TIME),
        "slot": backup.slot,
        "revision": head.get("revision"),
        "keys": head.get("keys"),
        "bytes": head.get("bytes"),
        "good": False if checked.damaged else True if read_all and not checked.refused else None,
        "message": checked.trouble,
    }


def _show(settings: Settings, directory: Path, found: list["Checked"], *, read_all: bool) -> None:
    rows = [_fields(each, read_all=read_all) for each in found]
    damaged = [each.damaged for each in found if each.damaged]
    refused = [each.refused for each in found if each.refused]
    view = View(
        data={"directory": str(directory), "backups": rows},
        plain="".join(
            "\t".join([row["file"], _good_words(row), str(row["slot"])]) + "\n" for row in rows
        ).encode(),
        columns=("taken", "cluster", "slot", "revision", "keys", "size", "good", "file"),
        optional=("keys", "revision", "cluster"),
        rows=[
            (
                row["taken"],
                row["cluster"],
                row["slot"],
                "-" if row["revision"] is None else row["revision"],
                "-" if row["keys"] is None else row["keys"],
                "-" if row["bytes"] is None else human_bytes(row["bytes"]),
                _good_words(row),
                row["file"],
            )
            for row in rows
        ],
    )
    if not rows:
        negative(f"there is no backup in {directory}", view)
    if not damaged or settings.output == "table":
        settings.show(view)
    if damaged:
        why = "\n  ".join(damaged + refused)
        negative(f"damaged:\n  {why}", view, code="damaged")
    if refused:
        raise RefusedError("permission", "\n  ".join(refused))


def _good_words(row: dict[str, Any]) -> str:
    return {None: "not checked", True: "good", False: "DAMAGED"}[row["good"]]


for _verb in (take_verb, list_verb, verify_verb):
    backup_verb.add_command(_verb)
