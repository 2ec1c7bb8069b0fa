"""A simulated client that reads earlier revisions at random nodes, and what it must get.

    the changes of the chosen log ──► WatchTruth ── rows at R ──► judge
    node ── rows, count, one key, as they were at R ──────────────┘

A node may refuse a revision only if all nodes have let it go: a floor is never above what the
settings that the cluster began with promise to keep. It draws from a stream of its own, and its
reads are in no history.
"""

from typing import Any

from paxosd.check.history import History
from paxosd.core.client.calls import Call, Refused
from paxosd.core.effects import COMPACTED
from paxosd.core.requests import COUNT, GET, LINEARIZABLE, RANGE, STALE, ReadAnswer, ReadRequest
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watch_truth import WatchTruth

PAUSE_MS = 150.0
"""The mean of the pauses."""
RECENT = 30
"""Half of the revisions that are asked for are among so many of the newest."""
TIMEOUT_MS = 3000


class RevisionReader(SimClient):
    """``checked``: how many answers it has found right. ``refused``: how many revisions were gone
    already."""

    def __init__(
        self, cluster: SimCluster, truth: WatchTruth, name: str, keys: tuple[bytes, ...]
    ) -> None:
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
        self.checked = 0
        self.refused = 0
        self._truth = truth
        self._invariants = cluster.invariants
        self._choices = cluster.world.derive(f"revision-reader/{name}")
        self._asked: dict[Call, tuple[int, bytes]] = {}

    def start(self) -> None:
        """Begin to read."""
        self.working = True
        self._next()

    def _next(self) -> None:
        self._world.at(self._choices.expovariate(1.0) * PAUSE_MS, self._ask)

    def _ask(self) -> None:
        if not self.working:
            return
        rng = self._choices
        newest = self._truth.revision
        revision = newest - rng.randrange(RECENT) if rng.random() < 0.5 else rng.randint(0, newest)
        key = rng.choice(self.options.keys)
        if revision >= 1:
            queries: list[list[Any]] = [
                [GET, key, revision],
                [RANGE, b"", b"", 0, rng.random() < 0.5, False, revision],
                [COUNT, b"", b"", revision],
            ]
            mode = rng.choice((LINEARIZABLE, STALE))
            call = self._protocol.ask(ReadRequest(0, mode, queries), self._now(), TIMEOUT_MS)
            self._asked[call] = revision, key
            self._turn()
        self._next()

    def _ended(self, call: Call) -> None:
        revision, key = self._asked.pop(call)
        if call.failure is None:
            assert isinstance(call.result, ReadAnswer)
            self._judge(revision, key, call.result.results)
        elif isinstance(call.failure, Refused):
            self._judge_refusal(revision, call.failure)

    def _judge(self, revision: int, key: bytes, results: list[Any]) -> None:
        one, page, count = results
        wanted = self._truth.rows(b"", b"", revision)
        rows = sorted((row.key, row.value, row.modify_revision) for row in page.rows)
        if rows != wanted or count != len(wanted):
            raise Violation(
                "revision",
                f"{self.name} reads {len(rows)} keys and counts {count} at revision {revision}, "
                f"where there were {len(wanted)}: {_difference(rows, wanted)}",
            )
        found = None if one is None else (one.key, one.value, one.modify_revision)
        if found != next((row for row in wanted if row[0] == key), None):
            raise Violation("revision", f"{self.name} reads {found} at revision {revision}")
        self.checked += 1

    def _judge_refusal(self, revision: int, failure: Refused) -> None:
        if "has not come yet" in failure.message:
            raise Violation("revision", f"{self.name}: {failure.message}")
        if failure.code != COMPACTED:
            return
        self.refused += 1
        floor_max = self._invariants.floor_max(self._truth.revision)
        if not revision < failure.detail <= floor_max:
            raise Violation(
                "revision",
                f"{self.name} may not read revision {revision}, for the history begins at "
                f"{failure.detail}; it must reach back to {floor_max}",
            )


def _difference(rows: list[Any], wanted: list[Any]) -> str:
    odd = [row for row in rows if row not in wanted] + [row for row in wanted if row not in rows]
    return repr(odd[:3])
