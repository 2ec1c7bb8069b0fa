"""The bus of a simulated process: what :class:`paxosd.bus.bus.Bus` is to the daemon, on a Network.

What the sockets hold waits in ``arrived`` until a turn takes it; then it passes the daemon's own
inbox (``paxosd/bus/inbox.py``): faults, and whether its sender's run is heard.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from paxosd.bus.inbox import Inbox, InboxKind, Refusal, Source, log_refusal
from paxosd.bus.refusal_log import RefusalLog
from paxosd.core.messages import Accepted, Envelope, PeerMessage
from paxosd.core.requests import ClientMessage, ClientRequest, ServerMessage
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.host.log import Log
from paxosd.sim.world.network import Network
from paxosd.sim.world.relay import SimRelay
from paxosd.storage.peer_runs import PeerRuns

ARRIVED_MAX = 5_000
"""So many messages fill the sockets; what comes after them is dropped."""

Effect = Callable[[str], None]


class SimBus:
    """One run of one process on the network; has :class:`paxosd.replica.ports.ReplicaBus`.

    ``effect`` is called ahead of everything that leaves: there the process may be made to crash.
    """

    def __init__(
        self,
        name: NodeId,
        run_id: int,
        peers: Iterable[NodeId],
        network: Network,
        plan: FaultPlan,
        *,
        peer_runs: PeerRuns,
        now_ms: Callable[[], float],
        effect: Effect,
        wake: Callable[[], None],
        log: Log,
        frames_max: Mapping[NodeId, int] | None = None,
        inbox_kind: InboxKind = Inbox,
    ) -> None:
        self.arrived: list[Envelope] = []
        """What lies in the sockets."""
        self.requests: list[ClientRequest] = []
        self.subscriptions: list[tuple[bool, bytes]] = []
        self.lost: list[NodeId] = []
        """Peers whose connection broke."""
        self.dropped = 0
        self._frames_max = frames_max
        """Peer → the largest frame that it takes; None: nobody takes less than this node sends."""
        self._name = name
        self._run_id = run_id
        self._peers = list(peers)
        self._network = network
        self._now_ms = now_ms
        self._effect = effect
        self._refusals = RefusalLog(log)
        self.inbox = inbox_kind(name, plan, peer_runs, answer=self.send, refused=self._on_refused)
        self._stalled: list[Callable[[], object]] | None = None
        self.relay = SimRelay(
            name, run_id, network, effect=effect, stopped=self._is_stalled, wake=wake
        )

    def _is_stalled(self) -> bool:
        return self._stalled is not None

    def set_peers(self, peers: Mapping[NodeId, Any], pins: Mapping[NodeId, int]) -> None:
        """Who the peers are from now on; see :meth:`paxosd.bus.bus.Bus.set_peers`. Where they are
        reached is of no matter here."""
        self._peers = list(peers)
        self.inbox.set_peers(peers, pins)

    @property
    def has_subscriptions(self) -> bool:
        return bool(self.subscriptions)

    @property
    def event_bytes_waiting(self) -> int:
        """Watchers of the simulator read."""
        return 0

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]:
        wishes, self.subscriptions = self.subscriptions, []
        return wishes

    # -- what comes to its sockets

    def arrive(self, envelope: Envelope) -> bool:
        """A peer's message; False if the sockets are full, and it is dropped."""
        if len(self.arrived) >= ARRIVED_MAX:
            self.dropped += 1
            return False
        self.arrived.append(envelope)
        return True

    def arrive_request(self, client: bytes, message: ClientMessage, key: bytes = b"") -> bool:
        """A client's request, with its key; False if the sockets are full, and it is dropped."""
        if len(self.requests) >= ARRIVED_MAX:
            return False
        self.requests.append((client, message, key))
        return True

    # -- receiving

    def receive_peers(self, limit: int) -> list[Envelope]:
        now_ms = self._now_ms()
        self._refusals.tick(int(now_ms))
        received: list[Envelope] = []
        self.inbox.release(received, now_ms)
        arrived = self.arrived
        if not arrived:
            return received
        self.arrived = arrived[limit:]
        for message in arrived[:limit]:
            self.inbox.take(message, message.sender, received, now_ms)
        return received

    def _on_refused(self, refusal: Refusal, source: Source, now_ms: float) -> None:
        log_refusal(self._refusals, refusal, source, now_ms)

    def receive_clients(self, limit: int) -> list[ClientRequest]:
        requests = self.requests
        if not requests:
            return requests
        self.requests = requests[limit:]
        return requests[:limit]

    def disconnected(self) -> list[NodeId]:
        lost = self.lost
        if lost:
            self.lost = []
            for name in lost:
                self.inbox.closed(name)
        return lost

    def next_due_ms(self) -> float | None:
        """When a message that was held back is due, on the process's clock."""
        return self.inbox.next_due_ms()

    # -- sending

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        if to not in self._peers:
            return False
        envelope = self._envelope(message)
        if self._frames_max is not None and self._is_too_large(envelope, to):
            return False
        self._effect("send")
        self._leave(self._network.send, envelope, to)
        return True

    def _is_too_large(self, envelope: Envelope, to: NodeId) -> bool:
        assert self._frames_max is not None
        frames = self._network.frames
        most = self._frames_max.get(to) or frames.frame_bytes_max(self._name)
        return frames.size_of(envelope) > most

    def publish_accepted(self, message: Accepted) -> None:
        self._effect("publish")
        envelope = self._envelope(message)
        for peer in self._peers:
            self._leave(self._network.send, envelope, peer)

    def _envelope(self, message: PeerMessage) -> Envelope:
        header = self.inbox.header
        return Envelope(
            self._name, self._run_id, message, header.genesis, header.epoch, header.log_mark
        )

    def publish(self, topic: bytes, payload: bytes) -> None:
        """To those who watch; see ``event_links.py``."""
        self._effect("publish")
        self._leave(self._network.events.publish, self._name, topic, payload)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        self._effect("answer")
        if self._network.on_answer is not None:
            self._network.on_answer(self._name, client, message)
        if self._stalled is None:
            return self._network.answer(self._name, client, message)
        self._leave(self._network.answer, self._name, client, message)
        return True

    def _leave(self, how: Callable[..., object], *what: Any) -> None:
        if self._stalled is None:
            how(*what)
        else:
            self._stalled.append(lambda: how(*what))

    def stall(self) -> None:
        """The process is stopped in the middle of a turn: what the rest of the turn says leaves
        when it goes on, if it does."""
        if self._stalled is None:
            self._stalled = []

    def go_on(self) -> None:
        """It is continued."""
        stalled, self._stalled = self._stalled or (), None
        for leave in stalled:
            leave()
