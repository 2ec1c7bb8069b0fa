"""Who has which key: what the node's own trust file says, and what the cluster has replicated.

    trust file: peers, admins ─┐
    rights table (the log's) ──┴──► Authority ──► admits, keys_of    the sockets' key ring
                                             └──► principal_of       who asks, for each request

- A key that the table revokes is nobody's, whatever the trust file says.
- The table goes before the trust file: a key that is in both has the table's rights.
- An admin of the trust file who is in no table is one all the same. So a cluster starts, and so it
  gets a new admin key when the last one is lost. What it may do: ``permissions.py``.

The sockets' thread asks while the loop goes on: what it reads is one immutable :class:`Holders`,
which the loop replaces when another table is in force.
"""

from collections.abc import Mapping
from types import MappingProxyType

from paxosd.core.rights import NO_RIGHTS, PEER, Principal, RightsTable, admin_of
from paxosd.core.types import NodeId

PEER_SOCKET, CLIENT_SOCKET, EVENTS_SOCKET = "peer", "client", "events"
_NOBODY: Mapping[str, bytes] = MappingProxyType({})


class Holders:
    """Whom the sockets let in, by one table and one trust file; immutable. ``version`` grows with
    each that replaces another."""

    __slots__ = ("_holders", "_keys", "_trusted_admins", "version")

    def __init__(
        self,
        peers: Mapping[NodeId, bytes],
        admins: Mapping[str, bytes],
        table: RightsTable,
        version: int,
    ) -> None:
        self.version = version
        trusted = {key: admin_of(name, (key,)) for name, key in admins.items()}
        trusted |= {key: Principal(name, PEER, keys=(key,)) for name, key in peers.items()}
        holders = trusted | dict(table.by_key)
        self._holders = {key: who for key, who in holders.items() if key not in table.revoked}
        keys = {each.name: each.keys for each in table.principals if each.role == PEER}
        for name, key in peers.items():
            holder = self._holders.get(key)
            is_peer = holder is not None and (holder.role, holder.name) == (PEER, name)
            if is_peer and key not in keys.get(name, ()):
                keys[name] = (*keys.get(name, ()), key)
        self._keys = keys
        self._trusted_admins = frozenset(admins.values()) - table.revoked - table.by_key.keys()

    def holder(self, key: bytes) -> Principal | None:
        """Whose key it is; None: nobody's."""
        return self._holders.get(key)

    def is_trusted_admin(self, key: bytes) -> bool:
        """Whether it is an admin's by the trust file alone: the cluster does not know it."""
        return key in self._trusted_admins

    def keys_of(self, node: NodeId) -> tuple[bytes, ...]:
        """The public keys of a node, the newest first."""
        return self._keys.get(node, ())

    def admits(self, socket: str, key: bytes) -> bool:
        """Whether the holder of a key may connect to the ``peer``, ``client`` or ``events``
        socket."""
        holder = self._holders.get(key)
        if holder is None:
            return False
        if socket == CLIENT_SOCKET:
            return True
        is_peer = holder.role == PEER
        return is_peer or holder.reads_all if socket == EVENTS_SOCKET else is_peer


class Authority:
    """One node's knowledge of keys. :meth:`admits`, :meth:`keys_of` and ``version`` may be used
    from any thread, the rest by the loop alone."""

    __slots__ = ("_admins", "_peers", "_ring", "table")

    def __init__(
        self, peers: Mapping[NodeId, bytes] = _NOBODY, admins: Mapping[str, bytes] = _NOBODY
    ) -> None:
        """``peers``, ``admins``: those of the trust file, name → public key."""
        self._peers = dict(peers)
        self._admins = dict(admins)
        self.table = NO_RIGHTS
        """The rights table in force here, as far as this node has applied the log."""
        self._ring = Holders(self._peers, self._admins, NO_RIGHTS, 1)

    def under(self, table: RightsTable) -> Holders:
        """Who would be let in if this table were in force."""
        return Holders(self._peers, self._admins, table, 0)

    def use(self, table: RightsTable) -> None:
        """This table is in force from now on."""
        if table is not self.table:
            self.table = table
            self._ring = Holders(self._peers, self._admins, table, self._ring.version + 1)

    @property
    def version(self) -> int:
        """It changes whenever an answer may."""
        return self._ring.version

    def admits(self, socket: str, key: bytes) -> bool:
        """As :meth:`Holders.admits`."""
        return self._ring.admits(socket, key)

    def keys_of(self, node: NodeId) -> tuple[bytes, ...]:
        """As :meth:`Holders.keys_of`."""
        return self._ring.keys_of(node)

    def principal_of(self, key: bytes) -> Principal | None:
        """Whose key it is; None: nobody's."""
        return self._ring.holder(key)

    def is_trusted_admin(self, key: bytes) -> bool:
        """As :meth:`Holders.is_trusted_admin`."""
        return self._ring.is_trusted_admin(key)
