"""A simulated client with a key of its own, which tries what it may do and what it may not.

It writes its own keys, those of others, and all; it renews and ends the leases of others; it sends
with the session numbers of others; it reads, and asks for the history, at any node. What comes of
that is judged by ``rights_checks.py`` and ``read_checks.py``. Each draws
from a stream of its own, and no history has it.
"""

from collections.abc import Sequence
from typing import Any

from paxosd.check.history import History
from paxosd.core.client.calls import Call
from paxosd.core.commands import (
    DELETE_RANGE,
    GRANT,
    KEEPALIVE,
    PUT,
    REVOKE,
    Entry,
    Status,
    prefix_end,
)
from paxosd.core.requests import (
    LINEARIZABLE,
    RANGE,
    STALE,
    HistoryRequest,
    ReadRequest,
    WriteRequest,
)
from paxosd.core.rights import CLIENT, Principal
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.keys import SimKeys, make_key
from paxosd.sim.cluster.lease_checks import PREFIX
from paxosd.sim.cluster.read_checks import Question, ReadChecks
from paxosd.sim.cluster.rights_checks import STOLEN, RightsChecks

AREA = PREFIX + b"\x7fown/"
"""So the keys begin that only such clients touch; no range of anybody else has them."""
TIMEOUT_MS = 3000
PAUSE_MS = 250.0
LOOK_MS = 60.0
HURRY_MS, HURRIED_LOOKS = 12.0, 20
RAW_ID = 1 << 50
LOOK_ID = 1 << 51
TTL_MS = 5000


class RightsClient(SimClient):
    """One client. ``leases``: lease → who holds it, shared by all such clients."""

    def __init__(
        self, cluster: SimCluster, name: str, leases: dict[int, str], reads: ReadChecks
    ) -> None:
        assert cluster.keys is not None
        self._reads = reads
        self._looks = cluster.world.derive(f"rights-client/{name}/looks")
        self._keys: SimKeys = cluster.keys
        self.key = make_key(f"{name}/1")
        """What its next life begins with."""
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
        self.succeeded = 0
        """How many of its calls did."""
        self._choices = cluster.world.derive(f"rights-client/{name}")
        self._leases = leases
        self._asked: dict[Call, list[Any]] = {}
        self._raw = 0

    def _begin_life(self) -> None:
        super()._begin_life()
        self._keys.own[self.id] = self.key

    @property
    def prefix(self) -> bytes:
        """Of its own keys."""
        return AREA + self.name.encode() + b"/"

    def principal(self, read: Sequence[bytes], keys: Sequence[bytes]) -> Principal:
        """Itself in a table."""
        return Principal(self.name, CLIENT, tuple(read), (self.prefix,), tuple(keys))

    def start(self) -> None:
        """Begin to work."""
        self.working = True
        self._world.at(self._choices.uniform(0, PAUSE_MS), self._act)
        self._world.at(self._looks.uniform(0, LOOK_MS), self._look)

    def hurry(self) -> None:
        """Its rights change at this moment: look as often as it can."""
        for _ in range(HURRIED_LOOKS):
            self._world.at(self._looks.uniform(0, HURRY_MS), self._ask_to_see)

    def _look(self) -> None:
        self._ask_to_see()
        if self.working:
            self._world.at(self._looks.expovariate(1 / LOOK_MS), self._look)

    def _ask_to_see(self) -> None:
        """Ask any node for what may be seen, and for what may not."""
        if not self.working:
            return
        rng = self._looks
        wanted = [self.prefix] * 3 + [AREA + b"other/", AREA, b"k", b""]
        prefixes = tuple(rng.choices(wanted, k=rng.choice((1, 1, 2))))
        ends = [(each, prefix_end(each)) for each in prefixes]
        self._raw += 1
        number = LOOK_ID + self._raw
        mode = rng.choice((STALE, STALE, LINEARIZABLE))
        if rng.random() < 0.3:
            prefixes = prefixes[:1]
            revision = rng.randrange(1, 50)
            request: ReadRequest | HistoryRequest = HistoryRequest(number, *ends[0], revision, 0)
        else:
            request = ReadRequest(number, mode, [[RANGE, *each, 5, False, False] for each in ends])
        stale = mode == STALE or isinstance(request, HistoryRequest)
        question = Question(self._keys.own[self.id], prefixes, stale)
        self._reads.ask(self.id, number, question)
        self._network.request(self.id, rng.choice(self._endpoints), request)

    def begin_again(self) -> None:
        """A new life, with the key that it has now."""
        self._asked.clear()
        self._network.forget_client(self.id)
        self._wake_ms = float("inf")
        self._begin_life()

    @property
    def idle(self) -> bool:
        return not self._asked

    def ask_once(self) -> None:
        """Write one key of its own."""
        self._ask([PUT, self.prefix + b"last", b"own"])
        self._turn()

    def _act(self) -> None:
        if not self.working:
            return
        rng = self._choices
        lot = rng.random()
        others = sorted(lease for lease, who in self._leases.items() if who != self.name)
        if lot < 0.03:
            self.begin_again()
        elif lot < 0.5:
            self._ask([PUT, self.prefix + b"%d" % rng.randrange(4), b"own"])
        elif lot < 0.6:
            self._ask([PUT, AREA + b"other/%d" % rng.randrange(4), b"not mine"])
        elif lot < 0.65:
            self._ask([DELETE_RANGE, AREA, AREA + b"\xff"])
        elif lot < 0.75:
            self._ask([GRANT, TTL_MS, 0])
        elif lot < 0.88 and others:
            lease = rng.choice(others)
            put = [PUT, self.prefix + b"leased", b"", lease]
            self._ask(rng.choice([[KEEPALIVE, [lease]], [REVOKE, lease], put]))
        else:
            self._steal()
        self._turn()
        self._world.at(rng.expovariate(1 / PAUSE_MS), self._act)

    def _ask(self, command: list[Any]) -> None:
        self._asked[self._protocol.submit(command, self._now(), TIMEOUT_MS)] = command

    def _steal(self) -> None:
        """A write under a session number that may be another's."""
        rng = self._choices
        self._raw += 1
        command = [PUT, self.prefix + b"stolen", self._mark()]
        seq = (1 << 40) + self._raw if rng.random() < 0.2 else rng.randint(1, 2000)
        blob = self._encode(Entry(rng.randint(1, 40), seq, 0, [command]))
        for node in self._endpoints:
            self._network.request(self.id, node, WriteRequest(RAW_ID + self._raw, blob))

    def _mark(self) -> bytes:
        return STOLEN + self._keys.own[self.id] + b"%d" % self._raw

    def _ended(self, call: Call) -> None:
        command = self._asked.pop(call, None)
        if command is None or call.failure is not None:
            return
        done = isinstance(call.result, int) or call.result[0] == Status.OK
        self.succeeded += done
        if not done:
            return
        if command[0] == GRANT:
            self._leases[call.result[2]] = self.name


def make_rights_clients(cluster: SimCluster, count: int) -> list[RightsClient]:
    """So many clients, and the checks of what they may do."""
    if not count:
        return []
    assert cluster.keys is not None
    clock = cluster.invariants.clock
    assert clock is not None
    processes, world = cluster.processes, cluster.world
    reads = ReadChecks(processes, lambda name: processes[name].machine.applied)
    checks = RightsChecks(cluster.keys, clock.unused, reads, lambda: world.now_ms)
    cluster.invariants.rights = checks
    cluster.network.on_answer = checks.on_answer
    if cluster.invariants.leases is None:
        cluster.invariants.watch_leases(lambda: cluster.world.now_ms)  # which knows their revisions
    leases: dict[int, str] = {}
    return [RightsClient(cluster, f"k{number + 1}", leases, reads) for number in range(count)]
