"""Who has which key in a simulated cluster with keys.

There is no cryptography: the network knows which end a request comes from, as CURVE does. The trust
files have the nodes and one admin, the operator. Ordinary clients are one principal, ``workers``,
who may do everything with data; they have no key before the first rights table is in the log, as
while a real cluster changes over. The clients of ``rights_client.py`` have keys of their own.
"""

from collections.abc import Iterable
from hashlib import blake2b

from paxosd.core.rights import CLIENT, EVERYTHING, PEER, Principal, RightsTable, admin_of
from paxosd.core.types import NodeId
from paxosd.replica.authority import CLIENT_SOCKET, Authority

RELAY = b"relay/"
UNCONFIRMED_MS_MAX = 1500
"""Short, so that nodes are cut off for longer within a run."""
OPERATOR = b"operator"


def make_key(label: str) -> bytes:
    """A public key that this label stands for."""
    return blake2b(label.encode(), digest_size=32).digest()


ROOT = make_key("root")
WORKERS = make_key("workers")


class SimKeys:
    """``own``: id of a client's life → its key, of those with keys of their own."""

    def __init__(self, nodes: Iterable[NodeId]) -> None:
        self.nodes = {name: make_key(f"node/{name}") for name in nodes}
        self.own: dict[bytes, bytes] = {}
        self.in_use = False
        """Whether ordinary clients have their key."""

    def key_of(self, client: bytes) -> bytes:
        """The key of the end with this id; b"": none."""
        if client.startswith(RELAY):
            return self.nodes[client.split(b"/")[1].decode()]
        if client == OPERATOR:
            return ROOT
        return self.own.get(client) or (WORKERS if self.in_use else b"")

    def shown_to(self, client: bytes, authority: Authority) -> bytes | None:
        """As :meth:`paxosd.sim.world.network.Network.key_of`. Keys that are revoked reach the node:
        their connections may be older than that. Those that it has yet to hear of do not."""
        key = self.key_of(client)
        known = not key or authority.admits(CLIENT_SOCKET, key)
        return key if known or key in authority.table.revoked else None

    def table(self, version: int, required: bool, others: Iterable[Principal]) -> RightsTable:
        """A table with these principals beside the nodes, the operator and the workers."""
        principals = [Principal(name, PEER, keys=(key,)) for name, key in self.nodes.items()]
        principals += [admin_of("root", (ROOT,)), *others]
        principals.append(Principal("workers", CLIENT, EVERYTHING, EVERYTHING, (WORKERS,)))
        return RightsTable(
            version, required, tuple(sorted(principals)), unconfirmed_ms_max=UNCONFIRMED_MS_MAX
        )
