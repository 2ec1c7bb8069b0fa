"""Whether somebody may do something, by the rights table alone: for ``paxosctl auth can-i``.

A node decides by ``replica/permissions.py`` when it is asked, and every node again when the command
is applied; a test compares this with them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from paxosd.core.commands import prefix_end
from paxosd.core.rights import PEER, Principal, covers, prefix_text


class Need(NamedTuple):
    """What a verb of paxosctl does with keys: whether it reads and writes them. ``reads_all``: it
    looks for them in the files of the nodes, which have all keys."""

    reads: bool = False
    writes: bool = False
    reads_all: bool = False


READ, WRITE, BOTH = Need(reads=True), Need(writes=True), Need(reads=True, writes=True)
VERBS: Mapping[str, Need] = MappingProxyType(
    {
        "get": READ,
        "watch": READ,
        "export": READ,
        "blame": Need(reads=True, reads_all=True),
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
what it changes. import --skip-existing: "cas".)"""


def may(who: Principal, verb: str, key: bytes, *, prefix: bool, in_table: bool = True) -> str:
    """Why ``who`` may not; "": it may. ``prefix``: with all keys that begin so. ``in_table``: False
    for an admin by a trust file alone, who has no session to write in."""
    start, end = key, prefix_end(key) if prefix else key + b"\0"
    need = VERBS[verb]
    if who.role == PEER:
        return (
            f"{who.name} is a node, whose key is for the protocol alone: ask with the key of a "
            "person or of a program (paxosctl auth new)"
        )
    if in_table and not who.keys:
        return f"{who.name} has no key to ask with: paxosctl auth rotate {who.name} gives it one"
    if need.reads_all and not who.reads_all:
        return (
            f"{who.name} ({who.role}) may not use {verb} here: it reads the nodes' own files, as "
            f"only who may read every key does; an admin can change that: paxosctl auth set "
            f'{who.name} --read ""'
        )
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
