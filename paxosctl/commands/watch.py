"""watch: every change of a key or a prefix, none left out."""

import click

from paxosctl.cli.app import Settings, Whole, check_key, raw, verb
from paxosctl.cli.render import View, as_cell, as_json
from paxosctl.cli.streams import say
from paxosctl.cli.tables import explain
from paxosd.core.commands import Change


@verb("watch")
@click.argument("key")
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
def watch_verb(
    settings: Settings,
    key: str,
    prefix: bool,
    from_revision: int | None,
    history: str,
    count: int | None,
) -> None:
    """Show each change of KEY as it happens, until Ctrl-C.

    Continues over restarts, changes of the leader and the replacement of nodes. The formats json
    and plain have a line for each change; in plain it is "put", tab, KEY, tab, VALUE or "delete",
    tab, KEY. Ends with exit code 77 where continuing would hide changes: the history was discarded,
    or the cluster has another history.
    """
    check_key(key, prefix)
    if history and from_revision is None:
        raise click.UsageError("--history goes with --from-revision: of which history it is")
    seen = 0
    with settings.client() as client:
        watcher = client.watch(
            raw(key),
            prefix=prefix,
            from_revision=from_revision,
            history=history,
            on_trouble=_say,
        )
        try:
            for change in watcher:
                settings.show(_view(change))
                seen += 1
                if seen == count:
                    break
        except KeyboardInterrupt:
            resume = watcher.resume_revision
            if resume is not None:
                of = f" --history {watcher.history}" if watcher.history else ""
                say(f"\nto go on from here: --from-revision {resume}{of}")
            raise


def _say(reason: str) -> None:
    explain(f"paxosctl: {reason}; going on with another node")


def _view(change: Change) -> View:
    data = {
        "revision": change.revision,
        "slot": change.slot,
        "key": as_json(change.key),
        "value": as_json(change.value),
        "deleted": change.value is None,
    }
    if change.value is None:
        plain = b"delete\t%s\n" % change.key
        text = f"{change.revision}  delete  {as_cell(change.key)}"
    else:
        plain = b"put\t%s\t%s\n" % (change.key, change.value)
        text = f"{change.revision}  put  {as_cell(change.key)}  {as_cell(change.value)}"
    return View(data=data, plain=plain, text=text)
