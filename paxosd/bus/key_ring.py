"""Which keys may do what with a node's sockets.

A *key* is the public half of a CURVE key, 32 bytes: it is who the other end is. The thread that
answers ZeroMQ's questions about new connections (``zap.py``) asks as well as the loop, so a ring
answers from an immutable table that is replaced as a whole.
"""

from collections.abc import Mapping
from typing import Protocol

SOCKETS = ("peer", "client", "events")


class KeyRing(Protocol):
    """Whom a node lets in."""

    @property
    def version(self) -> int:
        """Changes whenever an answer of this ring may."""
        ...

    def admits(self, socket: str, key: bytes) -> bool:
        """Whether the holder of a key may connect to ``socket``: peer, client or events."""
        ...

    def keys_of(self, node: str) -> tuple[bytes, ...]:
        """The keys of a node, the newest first; empty: it is no peer that is known here."""
        ...


class StaticKeyRing:
    """The keys of a trust file alone (``net/key_files.py``)."""

    version = 0

    def __init__(
        self, peers: Mapping[str, bytes] | None = None, admins: Mapping[str, bytes] | None = None
    ) -> None:
        """``peers``, ``admins``: name → key, as the trust file has them."""
        self._keys = {name: (key,) for name, key in (peers or {}).items()}
        self._peers = frozenset((peers or {}).values())
        self._all = self._peers | frozenset((admins or {}).values())

    def admits(self, socket: str, key: bytes) -> bool:
        """Peers on every socket; admins, who may read everything, on all but that of peers."""
        return key in (self._peers if socket == "peer" else self._all)

    def keys_of(self, node: str) -> tuple[bytes, ...]:
        """One at most: a trust file has one key a name."""
        return self._keys.get(node, ())
