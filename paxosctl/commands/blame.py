"""blame: who changed a key, from the replicated log."""

from pathlib import Path

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Settings, check_key, negative, raw, verb
from paxosctl.cli.streams import StreamError, say
from paxosctl.commands.log_options import Reading, reading_options
from paxosctl.evidence.located import SMALL, VALUES, Wanted, located
from paxosctl.inspection.blame import blame
from paxosctl.inspection.blame_view import blame_view
from paxosctl.inspection.sources import find_sources, make_scratch


@verb("blame")
@click.argument("key", shell_complete=complete.keys)
@click.option("--prefix", is_flag=True, help="All keys that begin with KEY.")
@reading_options
def blame_verb(settings: Settings, key: str, prefix: bool, reading: Reading) -> None:
    """Who changed a key: revision, slot, ballot, leader, time, session, client and principal of
    each change.

    SOURCES are data directories, or the directory of several; none: the running nodes. It goes back
    as far as their logs do, and says how far that is. A client's name is what it said itself; its
    principal, where there are keys, is proven by its key. The times are of the leaders' clocks.
    Exit code 1 if no change is there.
    """
    check_key(key, prefix)
    problems: list[str] = []
    with (
        located(reading.sources, settings, Wanted(VALUES | SMALL)) as found,
        make_scratch() as scratch,
    ):
        sources = find_sources(found.names, Path(scratch))
        if not sources.wals:
            words = "no write-ahead log is among the sources: a bundle has them if made with --wal"
            raise StreamError("; ".join([words, *sources.passed_over]))
        story = blame(sources.wals, raw(key), problems, prefix=prefix)
        for words in (*sources.passed_over, *problems):
            say(f"paxosctl: passed over: {found.named(words)}")
    since_ms, until_ms = reading.span(story.last_ms)
    changes = [each for each in story.changes if since_ms <= each.command.stamp_ms]
    if until_ms is not None:
        changes = [each for each in changes if each.command.stamp_ms <= until_ms]
    view = blame_view(story, changes)
    if not changes:
        what = f'key that begins with "{key}"' if prefix else f'"{key}"'
        negative(f"no change of {what} is there; {'; '.join(filter(None, view.notes))}", view)
    settings.show(view)
