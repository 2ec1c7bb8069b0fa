"""What a logged command does to one key, in a few words."""

from collections.abc import Iterator

from paxosctl.inspection.wal_entries import ranges_of, value_words
from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, TXN, Command
from paxosd.core.transactions import ADD


def change_words(command: Command, key: bytes) -> str:
    """Of a transaction both branches, for the log does not say which was done; of a put with a
    lease the lease as well. "": nothing beyond its op and value."""
    if command[0] == TXN:
        then, otherwise = (", ".join(_parts(branch, key)) for branch in command[2:4])
        return then + (f"{'; ' if then else ''}else {otherwise}" if otherwise else "")
    if command[0] == PUT and len(command) > 3 and command[3]:
        return f"{value_words(command[2])} (lease {command[3]})"
    return ""


def _parts(branch: list[Command], key: bytes) -> Iterator[str]:
    for each in branch:
        touches = any(
            start == key if end is None else start <= key and (not end or key < end)
            for start, end in ranges_of(each)
        )
        if not touches:
            continue
        if each[0] == ADD:
            yield f"add {each[2]}"
        elif each[0] == PUT:
            yield change_words(each, key) or value_words(each[2])
        elif each[0] in (DELETE, DELETE_RANGE):
            yield "deleted"
        else:
            yield f"({change_words(each, key)})"
