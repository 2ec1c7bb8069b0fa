"""A simulated client that does transactions, on keys that only such clients touch.

What they are answered is in a history of their own, which ``check/transactions.py`` judges. Each
draws from a stream of its own.
"""

from paxosd.check.history import TXN, History, Operation
from paxosd.check.transaction_workload import TransactionWorkload, record_command
from paxosd.core.client.calls import Call, OutcomeUnknown
from paxosd.core.commands import FENCE, Status
from paxosd.sim.cluster.clients import FENCE_TIMEOUT_MS, SimClient, WorkOptions
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.lease_checks import PREFIX

KEYS = tuple(PREFIX + b"\x7ftxn/%d" % number for number in range(5))
"""Above those of the holders of leases, and no range of anybody else has them."""
TIMEOUT_MS = 4000
PAUSE_MS = 400.0


class Transactor(SimClient):
    """One client, which waits for each answer."""

    def __init__(self, cluster: SimCluster, name: str, records: History) -> None:
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
        self.records = records
        self._choices = cluster.world.derive(f"transactor/{name}")
        self._drawn = TransactionWorkload(name, self._choices, KEYS)
        self._asked: dict[Call, Operation] = {}

    def start(self) -> None:
        """Begin to work."""
        self.working = True
        self._world.at(self._choices.uniform(0, PAUSE_MS), self._act)

    @property
    def idle(self) -> bool:
        return not self._asked

    def _act(self) -> None:
        if not self.working:
            return
        command = self._drawn.draw()
        record = self.records.invoke(self.name, TXN, b"", command=command)
        self._asked[self._protocol.submit(command, self._now(), TIMEOUT_MS)] = record
        self._turn()

    def _ended(self, call: Call) -> None:
        record = self._asked.pop(call, None)
        if record is None:
            return
        result, failure = call.result, call.failure
        if call.request[0] == FENCE:
            if failure is None and result[0] == Status.COMMITTED:
                self._done(record, result[2][1])
            elif failure is None and result[0] == Status.FENCED:
                self.records.failed(record)
        elif failure is None:
            self._done(record, result)
        elif not isinstance(failure, OutcomeUnknown):
            self.records.failed(record)
        elif failure.session and self._choices.random() < 0.7:
            fence = [FENCE, failure.session, failure.seq]
            asked = self._protocol.submit_alone(fence, self._now(), FENCE_TIMEOUT_MS)
            self._asked[asked] = record
        if not self._asked and self.working:
            self._world.at(self._choices.expovariate(1 / PAUSE_MS), self._act)

    def _done(self, record: Operation, result: object) -> None:
        if record_command(self.records, record, result):
            self._drawn.learn(record.result)


def make_transactors(cluster: SimCluster, count: int) -> list[Transactor]:
    """So many clients, with records of their own, shared by all."""
    records = History()
    if count and cluster.invariants.leases is None:
        cluster.invariants.watch_leases(lambda: cluster.world.now_ms)  # which knows their revisions
    return [Transactor(cluster, f"t{number + 1}", records) for number in range(count)]
