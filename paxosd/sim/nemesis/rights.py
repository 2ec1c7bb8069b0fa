"""An admin changes the rights while clients work: revokes and rotates keys, changes prefixes,
requires rights and does not.

    draw_rights(rng, duration)  → "rights" directives, each with a "lot"
    RightsAdmin(cluster, clients)  ── carry_out(lot) ──► RIGHTS command to the leader

The first two tables come by themselves: one with which nothing is required yet, then, once no
client is without a key, one that requires rights.
"""

import random
from collections.abc import Sequence
from dataclasses import replace

from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.commands import RIGHTS, Entry
from paxosd.core.requests import WriteRequest
from paxosd.core.rights import Principal, RightsTable
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.keys import OPERATOR, make_key
from paxosd.sim.cluster.rights_client import AREA, RightsClient
from paxosd.sim.nemesis.schedule import Directive
from paxosd.wire import encode_entry

LOOK_MS = 300.0
_REQUESTS_FROM = 1 << 40


def draw_rights(rng: random.Random, duration_ms: float) -> list[Directive]:
    """Changes of the rights, at any time."""
    times_ms = sorted(rng.uniform(0.1, 0.97) * duration_ms for _ in range(rng.randint(6, 16)))
    return [Directive(int(at_ms), "rights", "", {"lot": rng.randrange(1 << 16)})
            for at_ms in times_ms]  # fmt: skip


class RightsAdmin:
    """Does it. ``sent``: how many changes were sent to a leader."""

    def __init__(self, cluster: SimCluster, clients: Sequence[RightsClient]) -> None:
        self._cluster = cluster
        self._clients = clients
        self._keys = {client.name: [client.key] for client in clients}
        self._made = 0
        self._begun = False
        """Whether the first table that requires rights is in force."""
        self.sent = 0

    def start(self) -> None:
        """Look from now on whether there is a table yet."""
        self._look()

    def _look(self) -> None:
        table, keys = self._table(), self._cluster.keys
        assert keys is not None
        if table is None or not table.version:
            self._send(keys.table(1, required=False, others=self._all()))
        elif not keys.in_use:
            keys.in_use = True
        elif not self._plain_requests():
            self._send(keys.table(1, required=True, others=self._all()))
            if table.required:
                self._begun = True
                return
        self._cluster.world.at(LOOK_MS, self._look)

    def _plain_requests(self) -> bool:
        """Whether requests of the time before there were keys still wait somewhere."""
        for process in self._cluster.up():
            service = process.replica.service
            waiting = [key for *_, key in (*process.bus.requests, *service.history_waiting)]
            if not all(waiting) or not all(token.key for token, _ in service.reads_waiting):
                return True
        return False

    def _all(self) -> list[Principal]:
        # The key that its next life begins with: a change that was to enter it may have been lost.
        return [each.principal((each.prefix,), (each.key,)) for each in self._clients]

    def _table(self) -> RightsTable | None:
        leader = self._cluster.leader()
        return self._cluster.processes[leader].machine.rights if leader else None

    def carry_out(self, lot: int) -> None:
        """One change, if there is a table to change."""
        table = self._table()
        if table is None or not self._begun:
            return
        rng = random.Random(lot)
        client = rng.choice(list(self._clients))
        client.hurry()
        keys, draw = self._keys[client.name], rng.random()
        others = {each.name: each for each in table.principals}
        revoked = table.revoked
        present = others.pop(client.name, client.principal((client.prefix,), keys))
        if draw < 0.3:  # the keys are gone, and so is the principal
            revoked |= frozenset(present.keys)
            self._keys[client.name] = [self._new_key(client)]
            self._send(replace(table, principals=_sorted(others.values()), revoked=revoked))
            return
        if draw < 0.5:  # a new key beside the old one, or the old one goes
            if len(present.keys) == 1:
                keys = self._keys[client.name] = [self._new_key(client), *present.keys]
            else:
                revoked |= frozenset(present.keys[1:])
                keys = self._keys[client.name] = list(present.keys[:1])
            present = client.principal(present.read, keys)
        elif draw < 0.8:
            prefixes = [(client.prefix,), (), (AREA,), (client.prefix, AREA + b"other/")]
            read, write = rng.choice(prefixes), rng.choice(prefixes)
            present = Principal(client.name, present.role, read, write, present.keys or (keys[0],))
        required = rng.random() < 0.75 if draw >= 0.8 else table.required
        others[client.name] = present
        self._send(
            replace(table, principals=_sorted(others.values()), revoked=revoked, required=required)
        )

    def _new_key(self, client: RightsClient) -> bytes:
        """The client has it from its next life on."""
        self._made += 1
        client.key = make_key(f"{client.name}/new/{self._made}")
        return client.key

    def restored(self) -> bool:
        """Whether all nodes have a table by which each client may do what is its own, and begin
        with the keys that it has now; else ask for that."""
        keys = self._cluster.keys
        assert keys is not None
        wanted = set(self._all())
        tables = [process.machine.rights for process in self._cluster.members()]
        if all(table.required and wanted <= set(table.principals) for table in tables):
            return True
        table = self._table()
        if table is not None:
            fresh = keys.table(1, required=True, others=self._all())
            self._send(replace(table, principals=fresh.principals, required=True))
        return False

    def _send(self, table: RightsTable) -> None:
        leader = self._cluster.leader()
        if not leader:
            return
        process = self._cluster.processes[leader]
        machine = process.machine
        if machine.settings.level < LEVEL_KEYS or process.paused:
            return
        version = machine.rights.version
        entry = encode_entry(Entry(0, 1, 0, [[RIGHTS, version, table.to_command(), b""]]))
        self._cluster.invariants.proposed.add(entry)
        self.sent += 1
        process.arrive_request(OPERATOR, WriteRequest(_REQUESTS_FROM + self.sent, entry))


def _sorted(principals: object) -> tuple[Principal, ...]:
    return tuple(sorted(principals, key=lambda each: each.name))  # type: ignore[call-overload]  # an iterable
