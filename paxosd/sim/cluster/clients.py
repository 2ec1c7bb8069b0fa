"""Simulated clients: the real client code does the work of ``check/workload.py``.

    workload ── submit, ask ──► ClientProtocol ── take ──► Network ──► SimBus of a process
                    history ◄── take_completed ◄── on_answer, on_disconnected, on_tick

A *closed* client waits for the end of an operation before it begins the next; an *open* one
begins a whole burst at once. Both keep a pace: what they missed while nothing worked they make up
for later. Now and then a client ends its session; or it dies without notice and begins a new life,
and the outcome of what was under way stays unknown. Some clients ask for the outcome of an unknown
command, which settles it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from paxosd.check.history import READS, History, Operation
from paxosd.check.workload import Mix, Request, WorkloadClient
from paxosd.core.client.calls import NO_DEADLINE_MS, Call, ClientOptions, OutcomeUnknown
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.commands import FENCE, Entry, Status
from paxosd.core.requests import LINEARIZABLE, ReadAnswer, ReadRequest, ServerMessage
from paxosd.core.types import NodeId
from paxosd.sim.world.frame_limits import CLIENT_FRAME_BYTES, Sizes
from paxosd.sim.world.network import Network
from paxosd.sim.world.world import World
from paxosd.wire import encode_entry
from paxosd.wire.status import decode_status

OUTSTANDING_MAX = 24
"""Operations of one open client that may be under way at a time."""
FENCE_TIMEOUT_MS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOptions:
    """One client's work: ``operations`` within ``duration_ms``, each with ``timeout_ms``.

    ``asks_outcome``: probability for each unknown command; ``ends_session``, ``dies``: for each
    burst.
    """

    operations: int
    duration_ms: float
    keys: tuple[bytes, ...]
    mix: Mix
    timeout_ms: int = 5_000
    attempt_timeout_ms: int = 1_000
    burst_mean: float = 4.0
    open_loop: bool = False
    asks_outcome: float = 0.5
    ends_session: float = 0.01
    dies: float = 0.002
    sizes: Sizes | None = None
    """How large values are; None: a few bytes."""
    gives_name: bool = False
    """Whether it gives its name with each session."""


class SimClient:
    """One client. ``name`` is its process in the history."""

    def __init__(
        self,
        world: World,
        network: Network,
        name: str,
        endpoints: list[NodeId],
        history: History,
        options: WorkOptions,
        *,
        sent: Callable[[bytes], object],
    ) -> None:
        """``endpoints``: names of nodes. ``sent(entry)`` is called with every encoded entry."""
        self.name = name
        self.options = options
        self.working = False
        self.issued = 0
        self._world = world
        self._network = network
        self._endpoints = endpoints
        self._history = history
        self._sent = sent
        self._rng = world.derive(f"client/{name}")
        self.workload = WorkloadClient(
            name,
            history,
            self._rng,
            keys=options.keys,
            mix=options.mix,
            pad=self._padding(options.sizes),
        )
        self._life = 0
        self._burst_left = 0
        self._planned_ms = 0.0
        self._under_way: dict[Operation, None] = {}
        self._fences: dict[Call, Operation] = {}
        self._wake_ms = float("inf")
        self._begin_life()

    def _padding(self, sizes: Sizes | None) -> Callable[[bytes], bytes] | None:
        if sizes is None:
            return None
        rng = self._world.derive(f"client/{self.name}/sizes")
        return lambda value: sizes.pad(value, rng)

    def _begin_life(self) -> None:
        self._life += 1
        self.id = f"{self.name}.{self._life}".encode()
        endpoints = list(self._endpoints)
        self._rng.shuffle(endpoints)
        self._protocol = ClientProtocol(
            endpoints,
            encode_entry=self._encode,
            decode_status=decode_status,
            rng=random.Random(self._rng.random()),
            options=self._client_options(),
            learns=self.options.sizes is not None,
        )
        self._network.add_client(self.id, _LifeEnd(self, self._life))

    def _client_options(self) -> ClientOptions:
        name = self.id.decode() if self.options.gives_name else ""
        usual = ClientOptions(attempt_timeout_ms=self.options.attempt_timeout_ms, name=name)
        if self.options.sizes is None:
            return usual
        return replace(usual, frame_bytes_max=CLIENT_FRAME_BYTES)

    def _encode(self, entry: Entry) -> bytes:
        blob = encode_entry(entry)
        self._sent(blob)
        return blob

    # -- the workload

    def start(self) -> None:
        """Begin to work now."""
        self.working = True
        self._planned_ms = self._world.now_ms
        self._next_burst()

    def stop(self) -> None:
        """Begin nothing more."""
        self.working = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way and not self._fences

    def probe(self, timeout_ms: int = 0) -> Operation:
        """Begin one more write, beside the other work, and return its operation. ``timeout_ms``:
        0 for the usual one."""
        return self.write(self.workload.draw_put(), timeout_ms)

    def read_all(self) -> None:
        """A read of every key."""
        for key in self.options.keys:
            self.read(self.workload.get(key))

    def _next_burst(self) -> None:
        if not self.working or self.issued >= self.options.operations:
            return
        rng = self._rng
        options = self.options
        count = 1 + int(rng.expovariate(1.0) * (options.burst_mean - 1.0))
        self._burst_left = min(count, options.operations - self.issued, OUTSTANDING_MAX)
        if rng.random() < options.dies and self.issued:
            self._die()
        elif rng.random() < options.ends_session:
            self._end_session()
        pause_ms = self._burst_left * options.duration_ms / options.operations
        self._planned_ms += pause_ms * rng.uniform(0.5, 1.5)
        delay_ms = max(0.0, self._planned_ms - self._world.now_ms)
        self._world.at(delay_ms, self._work, self._life)

    def _work(self, life: int) -> None:
        """Begin the next operation, or the whole burst."""
        if life != self._life or not self.working:
            return
        if not self.options.open_loop:
            self._burst_left -= 1
            self._begin()
            return
        while self._burst_left > 0 and len(self._under_way) < OUTSTANDING_MAX:
            self._burst_left -= 1
            self._begin()
        self._burst_left = 0
        self._next_burst()

    def _went_on(self, life: int) -> None:
        """An operation has ended: a closed client begins the next one."""
        if life != self._life or self.options.open_loop or not self.working or self._under_way:
            return
        if self._burst_left > 0:
            self._world.at(self._rng.random() * 2.0, self._work, self._life)
        else:
            self._next_burst()

    def _begin(self) -> None:
        """Begin one operation."""
        self.issued += 1
        request = self.workload.draw()
        if request.is_read:
            self.read(request)
        else:
            self.write(request)

    # -- operations

    def write(self, request: Request, timeout_ms: int = 0) -> Operation:
        """Begin a write, and return its operation. ``timeout_ms``: 0 for the usual one."""
        operation = self.workload.begin(request)
        self._under_way[operation] = None
        timeout_ms = timeout_ms or self.options.timeout_ms
        self._protocol.submit(request.body, self._now(), timeout_ms, operation)
        self._turn()
        return operation

    def read(self, request: Request) -> None:
        """Begin a linearizable read."""
        operation = self.workload.begin(request)
        self._under_way[operation] = None
        query = ReadRequest(0, LINEARIZABLE, [request.body])
        call = self._protocol.ask(query, self._now(), self.options.timeout_ms)
        call.tag = operation
        self._turn()

    def _ended(self, call: Call) -> None:
        if call in self._fences:
            self._settle(self._fences.pop(call), call)
            return
        operation = call.tag
        if operation is None:
            return
        del self._under_way[operation]
        self._world.at(0.0, self._went_on, self._life)
        failure = call.failure
        if failure is None:
            if isinstance(call.result, ReadAnswer):
                self.workload.record_read(operation, call.result)
            else:
                # Without its slot: the answer to a repeated command names that of the repetition.
                self.workload.record_result(operation, call.result)
        elif not isinstance(failure, OutcomeUnknown):
            self._history.failed(operation)
        else:
            self._history.unknown(operation)
            if failure.session and self._rng.random() < self.options.asks_outcome:
                fence = [FENCE, failure.session, failure.seq]
                asked = self._protocol.submit_alone(fence, self._now(), FENCE_TIMEOUT_MS)
                self._fences[asked] = operation

    def _settle(self, operation: Operation, call: Call) -> None:
        """The answer to an outcome query."""
        result = call.result
        if call.failure is not None or not isinstance(result, tuple | list):
            return
        if result[0] == Status.COMMITTED:
            slot, kept = result[2]
            if isinstance(kept, tuple | list) and kept[0] == Status.MALFORMED:
                self._history.failed(operation)  # applied, and refused for the quota
            else:
                self.workload.record_result(operation, kept, slot)
        elif result[0] == Status.FENCED:
            self._history.failed(operation)

    # -- runs and sessions

    def _end_session(self) -> None:
        last = self._protocol.close()
        if last is not None:
            self._network.request(self.id, last.endpoint, last.message)

    def _die(self) -> None:
        """The client's process dies: the outcome of what is under way stays unknown."""
        for operation in self._under_way:
            if operation.kind in READS:
                self._history.failed(operation)
            else:
                self._history.unknown(operation)
        self._under_way.clear()
        self._fences.clear()
        self._network.forget_client(self.id)
        self._wake_ms = float("inf")
        self._begin_life()

    # -- the protocol's shell

    def _now(self) -> int:
        return int(self._world.now_ms)

    def _turn(self) -> None:
        protocol = self._protocol
        now_ms = self._now()
        while True:
            protocol.on_tick(now_ms)
            connects, sends = protocol.take(now_ms)
            for endpoint in connects:
                self._network.connect(self.id, endpoint)
            for endpoint, message in sends:
                if not self._network.request(self.id, endpoint, message):
                    protocol.on_unsent(message.request_id, now_ms)
            completed = protocol.take_completed()
            if not completed:
                break
            for call in completed:
                self._ended(call)
        self._plan_wake(protocol.next_due_ms())

    def _plan_wake(self, due_ms: int) -> None:
        if due_ms < NO_DEADLINE_MS and due_ms < self._wake_ms:
            self._wake_ms = due_ms
            delay_ms = max(due_ms - self._world.now_ms, 0.0)
            self._world.at(delay_ms, self._on_wake, self._life, due_ms)

    def _on_wake(self, life: int, due_ms: int) -> None:
        if life == self._life and due_ms == self._wake_ms:
            self._wake_ms = float("inf")
            self._turn()

    # -- what the network reports

    def on_connected(self, node: NodeId) -> None:
        self._protocol.on_connected(node, self._now())
        self._turn()

    def on_disconnected(self, node: NodeId, reason: str) -> None:
        self._protocol.on_disconnected(node, reason, self._now())
        self._turn()

    def on_answer(self, message: ServerMessage) -> None:
        self._protocol.on_answer(message, self._now())
        self._turn()

    def alive(self, life: int) -> bool:
        """Whether this is still the client's present life."""
        return life == self._life


class _LifeEnd:
    """The network's end of one life of a client: reports for a life that is over are dropped."""

    __slots__ = ("_client", "_life")

    def __init__(self, client: SimClient, life: int) -> None:
        self._client = client
        self._life = life

    def connected(self, node: NodeId) -> None:
        if self._client.alive(self._life):
            self._client.on_connected(node)

    def disconnected(self, node: NodeId, reason: str) -> None:
        if self._client.alive(self._life):
            self._client.on_disconnected(node, reason)

    def arrive_answer(self, node: NodeId, message: ServerMessage) -> None:
        if self._client.alive(self._life):
            self._client.on_answer(message)
