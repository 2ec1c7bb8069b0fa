"""A simulated client that reads stale, now from this node and now from that, and keeps the ages.

It draws from a generator of its own and appears in no history: what it got is judged by
``check/ages.py``. It asks in bursts with pauses, some so long that the nodes forget that anybody
wants to know, and of nodes that are down, cut off or behind as well.
"""

from typing import Any

from paxosd.check.ages import StatedAge
from paxosd.check.history import History
from paxosd.core.client.calls import Call
from paxosd.core.requests import GET, STALE, ReadAnswer, ReadRequest
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import SimCluster

PAUSES_MS = (5.0, 40.0, 150.0, 400.0)
"""Means of the pauses within a burst."""
RESTS_MS = (100.0, 300.0, 1000.0, 3000.0, 15_000.0)
"""Means of the pauses between bursts."""
BURST_MAX = 20
TIMEOUT_MS = 1500


class StaleReader(SimClient):
    """``stated``: the ages that it got, each as of the moment at which it asked."""

    def __init__(self, cluster: SimCluster, name: str, keys: tuple[bytes, ...]) -> None:
        options = WorkOptions(operations=1, duration_ms=1.0, keys=keys, mix={"get": 1})
        super().__init__(
            cluster.world,
            cluster.network,
            name,
            cluster.names,
            History(),
            options,
            sent=lambda entry: None,
        )
        self.stated: list[StatedAge] = []
        self._processes = cluster.processes
        self._lots = cluster.world.derive(f"stale-reader/{name}")
        self._asked: dict[Call, tuple[str, float, float]] = {}
        self._left = 0
        self._pause_ms = 0.0

    def start(self) -> None:
        """Begin to read."""
        self.working = True
        self._next()

    def _next(self) -> None:
        lots = self._lots
        pause_ms = self._pause_ms
        if self._left <= 0:
            self._left = lots.randint(1, BURST_MAX)
            self._pause_ms = lots.choice(PAUSES_MS)
            pause_ms = lots.choice(RESTS_MS)
        self._left -= 1
        self._world.at(lots.expovariate(1.0) * pause_ms, self._ask)

    def _ask(self) -> None:
        if not self.working:
            return
        lots = self._lots
        process = self._processes[lots.choice(sorted(self._processes))]
        query: list[Any] = [GET, lots.choice(self.options.keys)]
        request = ReadRequest(0, STALE, [query])
        call = self._protocol.ask(
            request, self._now(), TIMEOUT_MS, endpoint=process.name, patience_ms=0
        )
        self._asked[call] = process.name, self._world.now_ms, process.clock.monotonic_ms()
        self._turn()
        self._next()

    def _ended(self, call: Call) -> None:
        node, at_ms, shown_ms = self._asked.pop(call)
        answer = call.result
        if call.failure is None and isinstance(answer, ReadAnswer):
            since_ms = self._processes[node].clock.true_ms(shown_ms - answer.age_ms)
            self.stated.append(StatedAge(node, at_ms, answer.age_ms, since_ms, answer.revision))
