"""A simulated client that holds leases: grants, renews, attaches keys, revokes, or falls silent.

It draws from a stream of its own, its keys (:data:`PREFIX`) are nobody else's, and nothing of it is
in the history: what it is answered is judged by ``lease_checks.py``.
"""

from typing import Any

from paxosd.check.history import History
from paxosd.core.client.calls import Call
from paxosd.core.commands import DELETE, DELETE_RANGE, GRANT, KEEPALIVE, PUT, REVOKE, Status
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.lease_checks import PREFIX, LeaseChecks

TTLS_MS = (1000, 1500, 2500, 5000)
LEASES_MAX = 4
TIMEOUT_MS = 4000
WAIT_MS = 500.0
"""Between two tries to get a first lease."""


class LeaseHolder(SimClient):
    """One client with some leases at a time."""

    def __init__(self, cluster: SimCluster, name: str, checks: LeaseChecks) -> None:
        options = WorkOptions(operations=1, duration_ms=1.0, keys=(b"",), mix={"get": 1})
        super().__init__(
            cluster.world,
            cluster.network,
            name,
            cluster.names,
            History(),
            options,
            sent=cluster.invariants.proposed.add,
        )
        self.renewals = 0
        """Grants and renewals that were confirmed."""
        self._checks = checks
        self._choices = cluster.world.derive(f"lease-holder/{name}")
        self._leases: dict[int, int] = {}
        """Lease → its TTL in ms, as long as nothing says that it has ended."""
        self._asked: dict[Call, tuple[list[Any], float]] = {}
        """What is under way: the command, and when it was given to the protocol."""

    def start(self) -> None:
        """Begin to work."""
        self.working = True
        self._next()

    def leave_one(self) -> None:
        """Ask for one more lease, which nobody renews; to be called when the work is over."""
        self._ask([GRANT, TTLS_MS[-1], 0])
        self._turn()

    @property
    def idle(self) -> bool:
        return not self._asked

    def _next(self) -> None:
        rng = self._choices
        ttl_ms = min(self._leases.values(), default=0)
        pause_ms = ttl_ms * rng.uniform(0.15, 0.6) if ttl_ms else WAIT_MS
        if rng.random() < 0.1:
            pause_ms += rng.uniform(0.5, 2.5) * ttl_ms
        self._world.at(pause_ms, self._act)

    def _act(self) -> None:
        if not self.working:
            return
        rng = self._choices
        lot = rng.random()
        leases = sorted(self._leases)
        if not leases or (len(leases) < LEASES_MAX and lot < 0.15):
            self._ask([GRANT, rng.choice(TTLS_MS), 0])
        elif lot < 0.7:
            self._ask([KEEPALIVE, leases])
        elif lot < 0.9:
            self._ask([PUT, self._key(), b"", rng.choice(leases)])
        elif lot < 0.94:
            removal = [DELETE, self._key()] if lot < 0.93 else [DELETE_RANGE, PREFIX, PREFIX + b"~"]
            self._ask([PUT, self._key(), b""] if lot < 0.92 else removal)
        elif lot < 0.99:
            self._ask([REVOKE, rng.choice(leases)])
        else:
            self._forget()
        self._turn()
        self._next()

    def _key(self) -> bytes:
        return PREFIX + self.name.encode() + b"/%d" % self._choices.randrange(4)

    def _ask(self, command: list[Any]) -> None:
        if command[0] == REVOKE:
            self._checks.revoking(command[1])
            del self._leases[command[1]]
        call = self._protocol.submit(command, self._now(), TIMEOUT_MS)
        self._asked[call] = command, self._world.now_ms

    def _forget(self) -> None:
        """The client's process dies: its leases are left alone."""
        self._leases.clear()
        self._asked.clear()
        self._network.forget_client(self.id)
        self._wake_ms = float("inf")
        self._begin_life()

    def _ended(self, call: Call) -> None:
        asked = self._asked.pop(call, None)
        if asked is None or call.failure is not None or isinstance(call.result, int):
            return
        (op, *arguments), sent_ms = asked
        status, _, detail = call.result
        if op == GRANT and status == Status.OK:
            self._renewed(detail, arguments[0], sent_ms)
        elif op == KEEPALIVE:
            for lease, ttl_ms in zip(arguments[0], detail, strict=True):
                if ttl_ms:
                    self._renewed(lease, ttl_ms, sent_ms)
                else:
                    self._leases.pop(lease, None)

    def _renewed(self, lease: int, ttl_ms: int, sent_ms: float) -> None:
        self.renewals += 1
        if not self._checks.is_revoked(lease):
            self._leases[lease] = ttl_ms
        self._checks.renewed(lease, ttl_ms, sent_ms)


def make_holders(cluster: SimCluster, count: int) -> list[LeaseHolder]:
    """So many clients with leases, and the checks of what becomes of these."""
    if not count:
        return []
    checks = cluster.invariants.watch_leases(lambda: cluster.world.now_ms)
    return [LeaseHolder(cluster, f"h{number + 1}", checks) for number in range(count)]
