"""Reading and writing keys: put, get, delete, cas, outcome."""

from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Duration, Settings, Whole, check_key, negative, raw, raw_or_stdin, verb
from paxosctl.cli.render import View, as_cell, as_json
from paxosctl.cli.streams import say
from paxosctl.client.client import Client
from paxosctl.client.guarded import CasPrevResult, Fence
from paxosctl.client.results import CasResult, Removed
from paxosctl.client.transactions import Compare
from paxosctl.commands.fenced import fenced, with_prev
from paxosd.core.commands import KeyValue, prefix_end
from paxosd.core.requests import COUNT, GET, LINEARIZABLE, STALE, RangePage, ReadAnswer
from paxosd.host.wording import counted

STALE_LOOKS = 6
STALE_PAUSE_MS = 50
STALE_FRESH_MS = 1000
"""A state that is no older is shown as it is; else it may be the age alone that is out of date."""

META = ("create_revision", "modify_revision", "version")


@verb("put")
@click.argument("key", shell_complete=complete.keys)
@click.argument("value")
@click.option(
    "--lease",
    type=Whole(1),
    shell_complete=complete.leases,
    help="The key goes with this lease, unless it is written again before.",
)
@fenced
def put_verb(
    settings: Settings,
    key: str,
    value: str,
    lease: int | None,
    fence: Fence | None,
    prev: bool,
) -> None:
    """Set KEY to VALUE; "-" reads the value from standard input, byte for byte. Exit code 1 if
    there is no such lease."""
    check_key(key)
    content = raw_or_stdin(value)
    with settings.client() as client:
        if fence is None and not prev:
            settings.show(_revision(client.put(raw(key), content, lease=lease or 0)))
            return
        done = client.guarded_put(raw(key), content, fence=fence, prev=prev, lease=lease or 0)
    settings.show(with_prev(_revision(done.revision), done.prev, asked=prev))


@verb("get")
@click.argument("key", shell_complete=complete.keys)
@click.argument("more", nargs=-1, shell_complete=complete.keys)
@click.option("--prefix", is_flag=True, help="Every key that starts with KEY.")
@click.option("--limit", type=Whole(1), help="With --prefix: at most this number of keys.")
@click.option(
    "--stale",
    is_flag=True,
    help="Read from one node without a quorum; says how old the answer may be.",
)
@click.option(
    "--max-age",
    type=Duration(),
    help="With --stale: nothing older than this, such as 500ms.",
)
@click.option("--revision", type=Whole(1), help="As it was after this revision.")
@click.option("--keys-only", is_flag=True, help="With --prefix: the keys without their values.")
@click.option("--count-only", is_flag=True, help="With --prefix: only how many keys there are.")
@click.option("--reverse", is_flag=True, help="With --prefix: the last key first.")
@click.option("--meta", is_flag=True, help="Show the revisions and the version, too.")
@click.option(
    "--null", is_flag=True, help="With --prefix -o plain: end each key and value with a zero byte."
)
def get_verb(
    settings: Settings,
    key: str,
    more: tuple[str, ...],
    prefix: bool,
    limit: int | None,
    stale: bool,
    max_age: int | None,
    revision: int | None,
    keys_only: bool,
    count_only: bool,
    reverse: bool,
    meta: bool,
    null: bool,
) -> None:
    """Show the value of KEY. Exit code 1 if there is no such key.

    Several keys are read at one moment, and shown as with --prefix; exit code 1 if one of them does
    not exist.

    Linearizable: it sees every write that was acknowledged before. In the format plain the value
    is written byte for byte. With --prefix it is a line KEY, tab, VALUE for each key; with --null a
    zero byte ends each key and each value, for keys and values that contain tabs or newlines (for
    those that contain zero bytes: -o json). If no key matches --prefix, the answer is empty and
    the exit code 0. All that is shown is of one revision, which json and --meta show.

    With --revision it is the state after an earlier write; exit code 77 where the cluster keeps
    its history no longer (`cluster set history_revisions=N`).

    With --stale the answer may be old, but works without a quorum: everything is in it that was
    acknowledged more than age_ms before. A node that was not asked for long finds its age out
    first; -1: it does not know, for no quorum has answered it since its start. With --max-age what
    is older is not shown: it is read from a quorum instead.
    """
    if max_age is not None and (prefix or not stale):
        raise click.UsageError("--max-age goes with --stale, for one key")
    if null and not (prefix and settings.output == "plain"):
        raise click.UsageError("--null goes with --prefix and -o plain")
    scan = {"--limit": limit is not None, "--keys-only": keys_only, "--reverse": reverse}
    scan["--count-only"] = count_only
    _check_scan(prefix, scan, alone=meta or null)
    check_key(key, prefix)
    if more:
        if prefix or stale:
            raise click.UsageError("several keys go without --prefix and --stale")
        _get_many(settings, (key, *more), revision, meta=meta)
        return
    with settings.client() as client:
        if count_only:
            settings.show(_count(client, raw(key), revision, stale=stale))
        elif prefix:
            ends = raw(key), prefix_end(raw(key))
            pages = client.pages(*ends, limit=limit or 0, stale=stale, revision=revision,
                                 keys_only=keys_only, reverse=reverse)  # fmt: skip
            values = not keys_only
            settings.show(_rows(list(pages), meta, stale=stale, null=null, with_values=values))
        else:
            _show_key(settings, client, raw(key), revision, max_age, meta, stale)


def _show_key(
    settings: Settings,
    client: Client,
    key: bytes,
    revision: int | None,
    max_age_ms: int | None,
    meta: bool,
    stale: bool,
) -> None:
    if stale and revision is None:
        read = _stale(client, key, max_age_ms)
        found, as_of = read.value, {"revision": read.revision, "applied": read.applied}
        as_of["age_ms"] = read.age_ms
    else:
        at = [] if revision is None else [revision]
        answer = client.read([[GET, key, *at]], mode=STALE if stale else LINEARIZABLE)
        found = answer.results[0]
        as_of = {"revision": revision or answer.revision, "applied": answer.applied}
        if stale:
            as_of["age_ms"] = answer.age_ms
    if found is None:
        gone = View(data=json_row(KeyValue(key, None, 0, 0, 0)) | _told(as_of), plain=b"")  # type: ignore[arg-type]  # it has no value
        negative(f"no such key: {as_cell(key)}", gone)
    settings.show(_value(found, meta, as_of))
    if stale and settings.output == "table":
        say(f"as of slot {as_of['applied']}; {_age_words(as_of['age_ms'])}")


def _get_many(
    settings: Settings, keys: tuple[str, ...], revision: int | None, *, meta: bool
) -> None:
    for key in keys:
        check_key(key)
    at = [] if revision is None else [revision]
    with settings.client() as client:
        answer = client.read([[GET, raw(key), *at] for key in keys])
    if revision is not None:
        answer = answer._replace(revision=revision)
    found = [row for row in answer.results if row is not None]
    page = answer._replace(results=[RangePage(found, None)])
    view = _rows([page], meta, stale=False, null=False)
    missing = [key for key, row in zip(keys, answer.results, strict=True) if row is None]
    if missing:
        if settings.output == "table":
            settings.show(view)
        negative("no such key: " + ", ".join(as_cell(raw(key)) for key in missing), view)
    settings.show(view)


def _check_scan(prefix: bool, scan: dict[str, bool], *, alone: bool) -> None:
    """``alone``: whether something is given that a count does not have."""
    for option, given in scan.items():
        if given and not prefix:
            raise click.UsageError(f"{option} goes with --prefix")
    if scan["--count-only"] and (alone or sum(scan.values()) > 1):
        raise click.UsageError("--count-only goes with --prefix, --revision and --stale alone")


def _age_words(age_ms: int) -> str:
    if age_ms < 0:
        return "how old that is, is not known: no quorum has answered the node since its start"
    return f"nothing is missing that was acknowledged more than {age_ms} ms ago"


def _told(as_of: dict[str, int]) -> dict[str, int | None]:
    """For programs: an age that is not known is null."""
    return {name: None if value < 0 else value for name, value in as_of.items()}


def _stale(client: Any, key: bytes, max_age_ms: int | None) -> Any:
    """The first such read makes a node ask how old its state is: look again for a moment."""
    if max_age_ms is not None:
        return client.get_stale(key, max_age_ms=max_age_ms)
    for _ in range(STALE_LOOKS):
        read = client.get_stale(key)
        if 0 <= read.age_ms <= STALE_FRESH_MS:
            break
        client.turn(STALE_PAUSE_MS)
    return read


@verb("delete")
@click.argument("key", shell_complete=complete.keys)
@click.option("--prefix", is_flag=True, help="Remove every key that starts with KEY, in one step.")
@click.option("--all", "everything", is_flag=True, help='With --prefix "": remove every key.')
@fenced
def delete_verb(
    settings: Settings,
    key: str,
    prefix: bool,
    everything: bool,
    fence: Fence | None,
    prev: bool,
) -> None:
    """Remove KEY. Exit code 1 if there is no such key; with --prefix no match is no error, as
    with `get --prefix`: exit code 0, and 0 keys deleted."""
    if everything and not (prefix and not key):
        raise click.UsageError('--all goes with an empty prefix: delete --prefix "" --all')
    if prefix and not key and not everything:
        words = "an empty prefix is every key: to delete them all, give --all as well"
        raise click.UsageError(words)
    if prefix and (fence is not None or prev):
        raise click.UsageError("--fence and --prev go with one key; for a prefix use txn")
    check_key(key, prefix)
    before: KeyValue | None = None
    with settings.client() as client:
        if fence is None and not prev:
            gone = client.remove(raw(key), prefix=prefix)
        else:
            revision, before = client.guarded_delete(raw(key), fence=fence, prev=prev)
            gone = Removed(int(revision is not None), revision or 0)
    data = {"deleted": gone.keys, "revision": gone.revision}
    if prefix:
        words = f"{counted(gone.keys, 'key')} deleted"
        settings.show(View(data=data, plain=b"%d\n" % gone.keys, text=words))
        return
    if not gone.keys:
        negative(f"no such key: {as_cell(raw(key))}", View(data=data, plain=b""))
    view = _revision(gone.revision)
    shown = View(data=data, plain=view.plain, text=view.text)
    settings.show(with_prev(shown, before, asked=prev))


@verb("cas")
@click.argument("key", shell_complete=complete.keys)
@click.option("--expect-value", help='Set KEY only if it has this value; "-": standard input.')
@click.option(
    "--expect-revision",
    type=Whole(0),
    help="Set KEY only if it has this modify revision; 0: only if there is no such key.",
)
@click.argument("new")
@fenced
def cas_verb(
    settings: Settings,
    key: str,
    expect_value: str | None,
    expect_revision: int | None,
    new: str,
    fence: Fence | None,
    prev: bool,
) -> None:
    """Compare and set: KEY becomes NEW if it is as expected. Exit code 1 if it is not."""
    if (expect_value is None) == (expect_revision is None):
        raise click.UsageError("give either --expect-value or --expect-revision")
    if expect_value == "-" and new == "-":
        raise click.UsageError("only one of the two values can come from standard input")
    check_key(key)
    content = raw_or_stdin(new)
    before: KeyValue | None = None
    result: CasResult | CasPrevResult
    with settings.client() as client:
        if fence is not None or prev:
            if expect_revision is not None:
                expect = Compare.number("modify", raw(key), "=", expect_revision)
            else:
                expect = Compare.value(raw(key), "=", raw_or_stdin(expect_value or ""))
            found = client.guarded_cas(raw(key), expect, content, fence=fence, prev=prev)
            result, before = found, found.prev
        elif expect_revision is not None:
            result = client.cas_revision(raw(key), expect_revision, content)
        else:
            assert expect_value is not None
            result = client.cas_value(raw(key), raw_or_stdin(expect_value), content)
    view = View(
        data={
            "ok": result.ok,
            "revision": result.revision if result.ok else None,
            "modify_revision": result.revision,
        },
        plain=b"%d\n" % result.revision,
        text=f"revision {result.revision}",
    )
    view = with_prev(view, before, asked=prev)
    if not result.ok:
        now = f"its revision is {result.revision}" if result.revision else "there is no such key"
        negative(f"not set, for the key is not as expected: {now}", view)
    settings.show(view)


@verb("outcome")
@click.argument("session", type=Whole(1))
@click.argument("seq", type=Whole(1))
def outcome_verb(settings: Settings, session: int, seq: int) -> None:
    """Show what became of command SEQ of SESSION; a call that timed out prints both numbers.

    If it was not applied, it never will be from now on. Exit code 0: it was committed.
    """
    with settings.client() as client:
        outcome = client.outcome(session, seq)
    words = {
        "committed": f"committed in slot {outcome.slot}, with result {_said(outcome.result)}",
        "fenced": "not committed, and it never will be: safe to try again",
        "forgotten": "its client has acknowledged its end, so nothing is kept of it",
        "session_unknown": "no such session: it never was, was closed, or expired",
        "window": "so far ahead in its session that it was never sent",
    }.get(outcome.state, "the cluster gave an answer that this version does not know")
    view = View(
        data={
            "session": session,
            "seq": seq,
            "outcome": outcome.state,
            "slot": outcome.slot or None,
            "result": outcome.result,
        },
        plain=f"{outcome.state}\n".encode(),
        text=words,
    )
    if outcome.state != "committed":
        negative(words, view)
    settings.show(view)


def _said(result: Any) -> str:
    return f"revision {result}" if isinstance(result, int) else str(result)


def _revision(revision: int) -> View:
    return View(data={"revision": revision}, plain=b"%d\n" % revision, text=f"revision {revision}")


def json_row(row: KeyValue) -> dict[str, Any]:
    """A key, its value and its revisions."""
    return {
        "key": as_json(row.key),
        "value": as_json(row.value),
        **{name: getattr(row, name) for name in META},
    }


def _cells(row: KeyValue, meta: bool) -> list[Any]:
    cells: list[Any] = [as_cell(row.key), as_cell(row.value)]
    return cells + [getattr(row, name) for name in META] if meta else cells


def _value(row: KeyValue, meta: bool, as_of: dict[str, int]) -> View:
    data = json_row(row) | _told(as_of)
    if meta:
        columns = ("key", "value", *META, *as_of)
        rows = [[*_cells(row, True), *as_of.values()]]
        return View(
            data=data, plain=row.value, columns=columns, rows=rows, optional=[*META, *as_of]
        )
    return View(data=data, plain=row.value, text=as_cell(row.value))


def _rows(
    pages: list[ReadAnswer], meta: bool, *, stale: bool, null: bool, with_values: bool = True
) -> View:
    rows = [row for page in pages for row in page.results[0].rows]
    as_of = _as_of(pages, stale=stale)
    ends = b"\0" if null else b"\t", b"\0" if null else b"\n"
    names = ["key", *(["value"] if with_values else []), *(META if meta else ())]
    notes = []
    if pages[0].revision != pages[-1].revision:
        notes.append(
            f"each page is of its own revision, from {pages[0].revision} to {pages[-1].revision}: "
            "the cluster is below feature level 4"
        )
    shown = [json_row(row) for row in rows]
    if not with_values:
        for each in shown:
            del each["value"]
    return View(
        data=_told(as_of) | {"rows": shown},
        plain=b"".join(
            [row.key + (ends[0] + row.value if with_values else b"") + ends[1] for row in rows]
        ),
        columns=names,
        rows=[[_cell(getattr(row, name)) for name in names] for row in rows],
        optional=META,
        notes=notes,
    )


def _cell(value: bytes | int) -> str | int:
    return as_cell(value) if isinstance(value, bytes) else value


def _as_of(pages: list[ReadAnswer], *, stale: bool) -> dict[str, int]:
    as_of = {"revision": pages[0].revision, "applied": pages[0].applied}
    if stale:
        ages_ms = [page.age_ms for page in pages]
        as_of["age_ms"] = -1 if min(ages_ms) < 0 else max(ages_ms)
    return as_of


def _count(client: Client, prefix: bytes, revision: int | None, *, stale: bool) -> View:
    at = [] if revision is None else [revision]
    query = [COUNT, prefix, prefix_end(prefix), *at]
    answer = client.read([query], mode=STALE if stale else LINEARIZABLE)
    as_of = _as_of([answer], stale=stale)
    if revision is not None:
        as_of["revision"] = revision
    count = answer.results[0]
    plain = b"%d\n" % count
    return View(data=_told(as_of) | {"count": count}, plain=plain, text=counted(count, "key"))
