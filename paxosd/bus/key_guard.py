"""Keys at a node's sockets, for the loop: who was kept out, who may not stay, and the words for it.

zap.py          whose key is not let in                 ─┐
connections.py  connections that failed without a key   ─┼─► counters, the log, ``status``
peer_link.py    nodes that do not take this node's key  ─┘
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from paxosd.bus.curve import NodeKeys
from paxosd.bus.handshake import CRYPTOGRAPHIC_VALUE, MISMATCH_VALUE
from paxosd.bus.peer_link import PeerLink
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.socket_set import Context
from paxosd.core.types import NodeId
from paxosd.net.endpoints import plain_address
from paxosd.net.key_files import key_text

if TYPE_CHECKING:
    from paxosd.bus.zap import Door, Turned

Failed = tuple[str, str, int]
"""peer, client or events; the address that a connection came from; what libzmq says of its end."""


class KeyGuard:
    """The door of one bus, and the reports about it."""

    def __init__(
        self,
        context: Context,
        keys: NodeKeys | None,
        refusals: RefusalLog,
        counters: Counter[str],
    ) -> None:
        """Starts the thread at the door, if the sockets take holders of keys alone. ``counters``:
        where to count (``refused.key``, ``refused.no_key``, …)."""
        self._keys = keys
        self._refusals = refusals
        self.counters = counters
        self._version = -1
        self.door: Door | None = None
        if keys is not None and keys.listens:
            from paxosd.bus import zap  # noqa: PLC0415 - a node without keys needs no asyncio

            self.door = zap.Door(context, keys.ring)

    @property
    def has_former_subscribers(self) -> bool:
        """Whether anybody who was let in to the events socket may not be there any more; asked
        again, not until another one may not."""
        if self.door is None or self.door.ring.version == self._version:
            return False
        self._version = self.door.ring.version
        return self.door.take_former_subscribers()

    def check(self) -> None:
        """Raises DoorError if nobody is at the door any more."""
        if self.door is not None:
            self.door.check()

    def report(
        self, failed: Iterable[Failed], links: Mapping[NodeId, PeerLink], now_ms: int
    ) -> None:
        """Count and log who was kept out, and which nodes this node cannot connect to."""
        for each in self.door.take_turned() if self.door is not None else ():
            # A line for each key: behind one address there may be many people.
            self._note(key_text(each.key), "key", self._turned_words(each), now_ms)
        for socket, address, value in failed:
            reason, words = self._failed_words(socket, value)
            if reason:
                self._note(plain_address(address), reason, words, now_ms)
        for name, link in links.items():
            if problem := link.problem:
                self._refusals.note("bus.handshake", name, link.why, now_ms, detail=problem)

    def _note(self, source: str, reason: str, detail: str, now_ms: int) -> None:
        self.counters[f"refused.{reason}"] += 1
        self._refusals.note("bus.refused", source, reason, now_ms, detail=detail)

    def _turned_words(self, turned: "Turned") -> str:
        assert self.door is not None
        key, address = key_text(turned.key), plain_address(turned.address)
        if self.door.ring.admits("client", turned.key):
            words = (
                f"the holder of the key {key}, at {address}, may not connect to the "
                f"{turned.socket} port"
            )
            if turned.socket == "events":
                words += ": who may not read every key; each watch tries, and asks for the history"
            return words
        return (
            f"the key {key}, which came from {address} to the {turned.socket} port, is not known "
            "here: it was revoked, or never added; known are those of paxosctl auth list, and of "
            "[peers] and [admins] in this node's trust file"
        )

    def _failed_words(self, socket: str, value: int) -> tuple[str, str]:
        """The reason in a word, and in words; "": it has nothing to do with keys."""
        if value == CRYPTOGRAPHIC_VALUE:
            return "other_key", (
                f"who came to the {socket} port expects another key than this node has: it is of "
                "another cluster, or has an old key of this node"
            )
        if value != MISMATCH_VALUE:
            return "", ""
        if self.door is not None:
            return "no_key", (
                f"who came to the {socket} port has no key, and this node wants one: --key-file "
                "for a client, [security] key_file for a node"
            )
        return "needless_key", (
            f"who came to the {socket} port uses a key, and this node takes none: it runs without "
            '[security], or with rollout = "ready"'
        )

    def close(self) -> None:
        """Close the door, after the sockets."""
        if self.door is not None:
            self.door.close()
            self.door = None
