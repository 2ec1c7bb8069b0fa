"""What a logged command does, to one key or at all, in a few words."""

from collections.abc import Iterator

from paxosctl.cli.render import as_cell
from paxosctl.inspection.wal_entries import OP_NAMES, client_words, ranges_of, value_words
from paxosd.core.commands import (
    CHECKSUM,
    CLOSE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    FENCE,
    GRANT,
    KEEPALIVE,
    MEMBERS,
    OPEN,
    PUT,
    REVOKE,
    RIGHTS,
    TXN,
    Command,
    prefix_end,
    requester_of,
)
from paxosd.core.transactions import ADD, GET_KEY, GET_RANGE
from paxosd.net.key_files import key_text

_ALL_NAMES = OP_NAMES | {
    ADD: "add to", GET_KEY: "get", GET_RANGE: "get range", FENCE: "outcome asked for",
    OPEN: "session opened", CLOSE: "session ended", CHECKSUM: "checksum", MEMBERS: "membership",
    CLUSTER: "settings of the cluster", RIGHTS: "rights",
}  # fmt: skip
_WITHOUT_KEY = frozenset((FENCE, CLOSE, CHECKSUM, MEMBERS, CLUSTER, RIGHTS))


def command_words(command: Command) -> str:
    """Its kind and its keys, and the lease, without values: ``put a (lease 7)``."""
    op = command[0]
    name = _ALL_NAMES.get(op, f"command {op}")
    if op == TXN:
        then, otherwise = (", ".join(map(command_words, branch)) for branch in command[2:4])
        words = then or "nothing"
        return f"{name} (then {words}{f'; else {otherwise}' if otherwise else ''})"
    if op == GRANT:
        return f"{name} for {command[1] / 1000:g} s"
    if op == KEEPALIVE:
        return f"{name}: {', '.join(map(str, command[1]))}"
    if op == REVOKE:
        return f"{name}: {command[1]}"
    if op == OPEN:
        by = f" by {client_words(str(command[1]))}" if command[1:] and command[1] else ""
        return f"{name}{by}{_asker_words(command)}"
    if op in (DELETE_RANGE, GET_RANGE):
        start, end = (as_cell(each) for each in command[1:3])
        if command[2] == prefix_end(command[1]):
            return f"{name} {start}*"
        return f"{name} {start} to {end or 'the end'}"
    if op in _WITHOUT_KEY or not (len(command) > 1 and isinstance(command[1], bytes)):
        return f"{name}{_asker_words(command)}"
    lease = f" (lease {command[3]})" if op == PUT and command[3:] and command[3] else ""
    return f"{name} {as_cell(command[1])}{lease}"


def _asker_words(command: Command) -> str:
    """Whose key it names, if any."""
    key = requester_of(command)
    return f" (key {key_text(key)[:8]}…)" if type(key) is bytes and key else ""


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
