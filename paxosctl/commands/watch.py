"""watch: every change of a key or a prefix, none left out."""

from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Duration, Settings, Whole, check_key, raw, verb
from paxosctl.cli.render import View, as_cell, as_json
from paxosctl.cli.streams import say
from paxosctl.cli.tables import explain
from paxosctl.client.results import ChangeGroup, Progress, WatchItem
from paxosctl.client.watch_items import DELETES, PUTS
from paxosctl.commands.kv import json_row
from paxosd.core.commands import AnyChange, ChangeOf


@verb("watch")
@click.argument("key", shell_complete=complete.keys)
@click.option("--prefix", is_flag=True, help="Every key that starts with KEY.")
@click.option(
    "--from-revision",
    type=Whole(1),
    help="Begin with the changes of this revision.  [default: what changes from now on]",
)
@click.option(
    "--history",
    default="",
    help="With --from-revision: of which history of the cluster, as an interrupted watch says.",
)
@click.option("--count", type=Whole(1), help="Stop after this number of changes.")
@click.option("--prev", is_flag=True, help="With the value that was there before, too.")
@click.option("--only", type=click.Choice([PUTS, DELETES]), help="Changes of this kind alone.")
@click.option(
    "--progress",
    "progress_ms",
    type=Duration(),
    help="When nothing came for so long, such as 10s, say which revision has been seen.",
)
@click.option(
    "--groups", is_flag=True, help="With -o json: a line for each revision, with all its changes."
)
def watch_verb(
    settings: Settings,
    key: str,
    prefix: bool,
    from_revision: int | None,
    history: str,
    count: int | None,
    prev: bool,
    only: str | None,
    progress_ms: int | None,
    groups: bool,
) -> None:
    """Show each change of KEY as it happens, until Ctrl-C.

    Continues over restarts, changes of the leader and the replacement of nodes. The formats json
    and plain have a line for each change; in plain it is "put", tab, KEY, tab, VALUE or "delete",
    tab, KEY; with --prev, a tab and the value before follow (nothing, if there was none: json shows
    the difference). With --progress, {"progress": REVISION}, in plain "progress", tab, REVISION,
    says that every change up to REVISION was shown. Ends with exit code 77 where continuing would
    hide changes: the history was discarded, or the cluster has another history.
    """
    check_key(key, prefix)
    if history and from_revision is None:
        raise click.UsageError("--history goes with --from-revision: of which history it is")
    if groups and settings.output != "json":
        raise click.UsageError("--groups goes with -o json")
    seen = 0
    with settings.client() as client:
        watcher = client.watch(
            raw(key),
            prefix=prefix,
            from_revision=from_revision,
            history=history,
            prev=prev,
            only=only,
            progress_s=None if progress_ms is None else progress_ms / 1000,
            groups=groups,
            on_trouble=_say,
        )
        try:
            for item in watcher:
                settings.show(_view(item))
                seen += _count_of(item)
                if count is not None and seen >= count:
                    break
        except KeyboardInterrupt:
            resume = watcher.resume_revision
            if resume is not None:
                of = f" --history {watcher.history}" if watcher.history else ""
                say(f"\nto go on from here: --from-revision {resume}{of}")
            raise


def _say(reason: str) -> None:
    explain(f"paxosctl: {reason}; going on with another node")


def _count_of(item: WatchItem) -> int:
    if isinstance(item, ChangeGroup):
        return len(item.changes)
    return 0 if isinstance(item, Progress) else 1


def _view(item: WatchItem) -> View:
    if isinstance(item, Progress):
        seen = item.revision
        text = f"{seen}  nothing new"
        return View(data={"progress": seen}, plain=b"progress\t%d\n" % seen, text=text)
    if isinstance(item, ChangeGroup):
        changes = [_fields(change) for change in item.changes]
        data = {"revision": item.revision, "slot": item.slot, "changes": changes}
        return View(data=data | {"last": item.is_last}, plain=b"", text="")
    done = "delete" if item.value is None else "put"
    cells = [as_cell(item.key)]
    parts = [done.encode(), item.key]
    if item.value is not None:
        cells.append(as_cell(item.value))
        parts.append(item.value)
    if isinstance(item, ChangeOf):
        before = item.previous
        cells.append(f"(before: {as_cell(before.value)})" if before is not None else "(new)")
        parts.append(before.value if before is not None else b"")
    text = "  ".join([str(item.revision), done, *cells])
    return View(data=_fields(item), plain=b"\t".join(parts) + b"\n", text=text)


def _fields(change: AnyChange) -> dict[str, Any]:
    data: dict[str, Any] = {
        "revision": change.revision,
        "slot": change.slot,
        "key": as_json(change.key),
        "value": as_json(change.value),
        "deleted": change.value is None,
    }
    if isinstance(change, ChangeOf):
        before = change.previous
        data["previous"] = None if before is None else json_row(before)
    return data
