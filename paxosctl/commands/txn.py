"""Transactions and counters: txn, incr."""

from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Settings, Whole, check_key, negative, raw, verb
from paxosctl.cli.render import View, as_cell, as_json
from paxosctl.cli.streams import StreamError, read_all
from paxosctl.cli.transaction_text import TextError, parse_transaction
from paxosctl.client.transactions import TxnResult
from paxosd.core.commands import KeyValue
from paxosd.core.requests import RangePage
from paxosd.host.numbers import WHOLE_MAX


@verb("txn")
@click.argument("file", default="-", shell_complete=complete.files)
def txn_verb(settings: Settings, file: str) -> None:
    """Compare, then do one list of operations or another: at once, in one revision.

    FILE holds the transaction; "-", and nothing, is standard input. docs/TRANSACTIONS.md has the
    form; a line each: conditions, operations, "else", operations. For example:

    \b
    if value state = idle
    put state busy
    else
    get state

    Exit code 1 if the conditions did not hold; the operations behind "else" were done then.
    """
    try:
        parts = parse_transaction(_content(file))
    except TextError as error:
        raise click.UsageError(f"the transaction: {error}") from None
    with settings.client() as client:
        try:
            result = client.txn(*parts)
        except ValueError as error:
            raise click.UsageError(f"the transaction: {error}") from None
    view = _view(result)
    if not result.succeeded:
        negative("the conditions did not hold; what stands behind else was done", view)
    settings.show(view)


@verb("incr")
@click.argument("key", shell_complete=complete.keys)
@click.option(
    "--by",
    type=Whole(-WHOLE_MAX),
    default=1,
    show_default=True,
    help="What to add; below 0: to take away.",
)
def incr_verb(settings: Settings, key: str, by: int) -> None:
    """Add to the number that KEY holds, exactly once; no such key counts as 0."""
    check_key(key)
    with settings.client() as client:
        number = client.incr(raw(key), by)
    settings.show(View(data={"value": number}, plain=b"%d\n" % number, text=str(number)))


def _content(file: str) -> bytes:
    if file == "-":
        return read_all()
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as error:
        raise StreamError(f"{file} cannot be read: {error.strerror}") from None


def _view(result: TxnResult) -> View:
    data = _json(result)
    words = [f"{'then' if result.succeeded else 'else'}, revision {result.revision}"]
    if result.results is None:
        words.append("done; what it read is not known any more, for the first answer was lost")
    words += [_text(each) for each in result.results or ()]
    text = "\n".join(words)
    return View(data=data, plain=f"{text}\n".encode(), text=text)


def _json(result: TxnResult) -> dict[str, Any]:
    results = None if result.results is None else [_json_of(each) for each in result.results]
    return {"succeeded": result.succeeded, "revision": result.revision, "results": results}


def _json_of(found: Any) -> Any:
    if isinstance(found, TxnResult):
        return _json(found)
    if isinstance(found, KeyValue):
        return row_json(found)
    if isinstance(found, RangePage):
        return {"rows": [row_json(row) for row in found.rows], "more": as_json(found.more)}
    return found


def row_json(row: KeyValue) -> dict[str, Any]:
    """A key with its value and numbers, as ``get`` has it."""
    return {**row._asdict(), "key": as_json(row.key), "value": as_json(row.value)}


def _text(found: Any) -> str:
    if isinstance(found, TxnResult):
        inner = ["then" if found.succeeded else "else", *map(_text, found.results or ())]
        return "\n  ".join(inner)
    if isinstance(found, KeyValue):
        return f"{as_cell(found.key)}\t{as_cell(found.value)}"
    if isinstance(found, RangePage):
        return "\n".join([_text(row) for row in found.rows]) or "no keys"
    return "no such key" if found is None else str(found)
