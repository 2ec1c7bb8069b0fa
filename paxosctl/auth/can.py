"""Whether somebody may do something, by the rights table alone: for ``paxosctl auth can-i``.

A node decides by ``replica/permissions.py`` when it is asked, and every node again when the command
is applied; a test compares this with them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from paxosd.core.commands import prefix_end
from paxosd.core.rights import Principal, covers, prefix_text


class Need(NamedTuple):
    """What a verb of paxosctl does with keys: whether it reads and writes them."""

    reads: bool = False
    writes: bool = False


READ, WRITE, BOTH = Need(reads=True), Need(writes=True), Need(reads=True, writes=True)
VERBS: Mapping[str, Need] = MappingProxyType(
    {
        "get": READ,
        "watch": READ,
        "export": READ,
        "blame": READ,
        "put": WRITE,
        "delete": WRITE,
        "import": WRITE,
        "cas": BOTH,
        "incr": BOTH,
        "lock": BOTH,
        "elect": BOTH,
        "read": READ,
        "write": WRITE,
    }
)
"""What can be asked of a key or a prefix. (A txn: "read" for what it compares and gets, "write" for
what it changes.)"""


def may(who: Principal, verb: str, key: bytes, *, prefix: bool, in_table: bool = True) -> str:
    """Why ``who`` may not; "": it may. ``prefix``: with all keys that begin so. ``in_table``: False
    for an admin by a trust file alone, who has no session to write in."""
    start, end = key, prefix_end(key) if prefix else key + b"\0"
    need = VERBS[verb]
    if need.writes and not in_table:
        return (
            f"{who.name} is an admin by the nodes' trust files alone, and may change no data: add "
            "it to the table first, with paxosctl auth new"
        )
    for wanted, what, prefixes in (
        (need.reads, "read", who.read),
        (need.writes, "write", who.write),
    ):
        if wanted and not covers(prefixes, start, end):
            has = ", ".join([prefix_text(each) for each in prefixes])
            ends = f"its {what} prefixes are {has}" if has else f"it has no {what} prefixes"
            every = "every key with " if prefix else ""
            return (
                f'{who.name} ({who.role}) may not {what} {every}"{prefix_text(key)}": {ends}; an '
                f"admin can change that: paxosctl auth set {who.name}"
            )
    return ""
