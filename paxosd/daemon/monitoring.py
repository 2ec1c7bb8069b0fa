"""What a daemon shows monitors over HTTP, if ``[http]`` is set: its parts, and the observation.

The loop calls ``look`` ten times a second, and nothing else of this is in its way.
"""

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from paxosd.bus.bus import Bus
from paxosd.config.http_address import HttpAddress
from paxosd.config.schema import Config
from paxosd.core.node import Node
from paxosd.core.status import NodeStatus
from paxosd.core.types import NULL_BALLOT
from paxosd.daemon.http_server import Answer, HttpServer, Request, in_words
from paxosd.daemon.metrics_board import MetricsBoard
from paxosd.faults.plan import FaultPlan
from paxosd.host.histogram import Histogram
from paxosd.metrics.observation import Observation
from paxosd.replica.replica import Replica
from paxosd.replica.request_times import RequestTimes
from paxosd.replica.service import Service


class StartingPages:
    """What is served while the node reads its log: it is alive, and not ready."""

    def ask(self) -> int:
        """There is nothing to wait for."""
        return 0

    def answer(self, request: Request, waited_ms: float) -> Answer:
        """At once."""
        if request.target.partition("?")[0] == "/livez":
            return in_words(HTTPStatus.OK, "alive")
        return in_words(HTTPStatus.SERVICE_UNAVAILABLE, "[-] running: the node starts\nnot ready")


class Monitoring:
    """Of one daemon."""

    def __init__(self, config: Config) -> None:
        """Listens from now on, and says that the node starts. Raises HttpError."""
        self._config = config
        self.times = RequestTimes()
        """For the replica to note in."""
        self.slow_turns = 0
        """Counted by the loop."""
        self.leader_changes = 0
        self._ballot = NULL_BALLOT
        self._server = HttpServer(HttpAddress.parse(config.http.listen), StartingPages())
        self._node: Node | None = None
        self._board: MetricsBoard | None = None

    def start(
        self,
        replica: Replica,
        bus: Bus,
        status: Callable[[], NodeStatus],
        stopping: Callable[[], bool],
        plan: FaultPlan,
        now_ms: float,
    ) -> None:
        """Serve this replica."""
        # Here alone: a daemon without [http] does not pay for the import.
        from paxosd.daemon.http_pages import HttpPages  # noqa: PLC0415 - as said above

        self._node = replica.node

        def observe(at_ms: float) -> Observation:
            waiting = bus.event_bytes_waiting
            return replace(
                self._observe(replica, at_ms, status()),
                stopping=stopping(),
                fault_hits=dict(plan.hits()),
                event_bytes_waiting=waiting,
            )

        self._board = MetricsBoard(observe, now_ms)
        self._server.use(HttpPages(self._board))

    def look(self, now_ms: float) -> None:
        """For the loop, now and then."""
        if self._board is None or self._node is None:
            return
        ballot = self._node.leader_ballot
        if ballot != self._ballot:
            self._ballot = ballot
            self.leader_changes += 1
        self._board.look(now_ms)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _observe(self, replica: Replica, at_ms: float, status: NodeStatus) -> Observation:
        machine, exchange = replica.machine, replica.exchange
        times, config = self.times, self._config
        return Observation(
            at_ms=at_ms,
            status=status,
            leader_changes=self.leader_changes,
            requests=_kinds(replica.service),
            refusals=dict(replica.service.refusals),
            writes={outcome: each.copy() for outcome, each in times.writes.items()},
            reads={outcome: each.copy() for outcome, each in times.reads.items()},
            stages={stage: each.copy() for stage, each in times.stages.items()},
            votes_repeated=times.votes_repeated,
            syncs=replica.wal.sync_times.histogram(),
            snapshots=exchange.own.times.copy() if exchange is not None else Histogram(),
            watchers=dict(replica.events.counters),
            leases=len(machine.leases),
            quota_bytes_max=machine.store.quota.limit_bytes,
            window_slots_max=config.protocol.window_slots_max,
            queue_commands_max=config.limits.queue_commands_max,
            slow_turns=self.slow_turns,
        )


def _kinds(service: Service) -> dict[str, int]:
    """Kind → how many requests; writes are those that are nothing else."""
    kinds = dict(service.kinds)
    return {"write": service.requests - sum(kinds.values()), **kinds}
