"""One workload for two systems: clients that each run one transaction after another.

    client: begin ──► answer yes: pause, the next one      (a commit: counted)
                  └─► answer no, or no answer in time: the same again, at the next machine

What is measured is what the clients see, in simulated time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from paxosd.sim.teach.two_phase_messages import Writes
from paxosd.sim.world.world import World

PAUSE_MS = 20.0
RETRY_MS = 50.0
TIMEOUT_MS = 400.0


class Request(NamedTuple):
    """One attempt: ``number`` counts the client's transactions, ``token`` all attempts."""

    client: str
    number: int
    token: int
    to: str
    writes: Writes


@dataclass(slots=True)
class Measurements:
    """Of one run. Times in ms since the workload began."""

    commits_ms: list[float] = field(default_factory=list)
    refused: int = 0
    """Attempts answered with no."""
    unanswered: int = 0
    """Attempts that timed out."""

    def longest_gap_ms(self, until_ms: float) -> float:
        """The longest time without a commit."""
        times = [0.0, *self.commits_ms, until_ms]
        return max(b - a for a, b in pairwise(times))

    def between(self, from_ms: float, to_ms: float) -> int:
        """Commits in a span of time."""
        return sum(from_ms <= at < to_ms for at in self.commits_ms)


@dataclass(slots=True)
class _Client:
    name: str
    number: int = 0
    place: int = 0
    token: int = 0


class Workload:
    """``send`` hands an attempt to the system, which reports to :meth:`answered`."""

    def __init__(
        self, world: World, clients: int, machines: tuple[str, ...], send: Callable[[Request], None]
    ) -> None:
        self.world = world
        self.measured = Measurements()
        self._machines = machines
        self._send = send
        self._clients = {f"c{i + 1}": _Client(f"c{i + 1}") for i in range(clients)}
        self._began_ms = 0.0
        self._token = 0
        self._stopped = False

    def start(self) -> None:
        """All clients begin, a moment apart."""
        self._began_ms = self.world.now_ms
        for place, client in enumerate(self._clients.values()):
            self.world.at(place * PAUSE_MS / len(self._clients), self._next, client)

    def stop(self) -> None:
        """No attempt begins any more."""
        self._stopped = True

    def since_start_ms(self) -> float:
        """Now, on the clock of the measurements."""
        return self.world.now_ms - self._began_ms

    def answered(self, client_name: str, token: int, done: bool) -> None:
        """An attempt has its answer; a late answer to one given up counts for nothing."""
        client = self._clients[client_name]
        if token != client.token:
            return
        client.token = 0
        if done:
            self.measured.commits_ms.append(self.since_start_ms())
            self.world.at(PAUSE_MS, self._next, client)
        else:
            self.measured.refused += 1
            client.place += 1
            self.world.at(RETRY_MS, self._attempt, client)

    def _next(self, client: _Client) -> None:
        client.number += 1
        self._attempt(client)

    def _attempt(self, client: _Client) -> None:
        if self._stopped:
            return
        self._token += 1
        client.token = token = self._token
        to = self._machines[client.place % len(self._machines)]
        value = b"%d" % client.number
        writes = {f"{client.name}-a".encode(): value, f"{client.name}-b".encode(): value}
        self._send(Request(client.name, client.number, token, to, writes))
        self.world.at(TIMEOUT_MS, self._give_up, client, token)

    def _give_up(self, client: _Client, token: int) -> None:
        if client.token == token:
            self.measured.unanswered += 1
            client.token = 0
            client.place += 1
            self._attempt(client)
