"""A simulated client that does stale reads at random nodes, and keeps the ages that it gets.

It draws from a stream of its own, and its reads are in no history: what it got is judged by
``check/ages.py``. It asks in bursts. Some pauses between them are so long that the nodes no longer
keep track of ages; and it also asks nodes that are down, cut off or behind.
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
    """``stated``: the ages that it got, each as of the time at which it asked."""

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
        self._choices = cluster.world.derive(f"stale-reader/{name}")
        self._asked: dict[Call, tuple[str, float, float]] = {}
        self._left = 0
        self._pause_ms = 0.0

    def start(self) -> None:
        """Begin to read."""
        self.working = True
        self._next()

    def _next(self) -> None:
        rng = self._choices
        pause_ms = self._pause_ms
        if self._left <= 0:
            self._left = rng.randint(1, BURST_MAX)
            self._pause_ms = rng.choice(PAUSES_MS)
            pause_ms = rng.choice(RESTS_MS)
        self._left -= 1
        self._world.at(rng.expovariate(1.0) * pause_ms, self._ask)

    def _ask(self) -> None:
        if not self.working:
            return
        rng = self._choices
        process = self._processes[rng.choice(sorted(self._processes))]
        query: list[Any] = [GET, rng.choice(self.options.keys)]
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
