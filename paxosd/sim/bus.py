"""The bus of a simulated process: what :class:`paxosd.bus.Bus` is to the daemon, on a Network.

What the sockets hold waits in ``inbox`` until a turn takes it; then the fault plan has its say,
then the check of incarnations, as in the daemon.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from typing import Any

from paxosd.core.messages import Accepted, PeerMessage
from paxosd.core.requests import ClientMessage, ServerMessage
from paxosd.core.types import NodeId
from paxosd.faults import FaultPlan
from paxosd.lives import PeerLives
from paxosd.sim.network import Network
from paxosd.wire import PEER_KIND_NAMES

INBOX_MAX = 5_000
"""Sockets are full then; what comes besides is dropped."""
HELD_MAX = 10_000

Received = tuple[NodeId, int, PeerMessage]
Effect = Callable[[str], None]


class SimBus:
    """One life of one process on the network; has :class:`paxosd.replica.ReplicaBus`.

    ``effect`` is called ahead of everything that leaves: there the process may be made to crash.
    """

    def __init__(
        self,
        name: NodeId,
        incarnation: int,
        peers: Iterable[NodeId],
        network: Network,
        plan: FaultPlan,
        *,
        lives: PeerLives,
        now_ms: Callable[[], float],
        effect: Effect,
    ) -> None:
        self.inbox: list[Received] = []
        self.requests: list[tuple[bytes, ClientMessage]] = []
        self.subscriptions: list[tuple[bool, bytes]] = []
        self.lost: list[NodeId] = []
        """Peers whose connection broke."""
        self.dropped = 0
        self._name = name
        self._incarnation = incarnation
        self._peers = list(peers)
        self._network = network
        self._plan = plan
        self._now_ms = now_ms
        self._effect = effect
        self._lives = lives
        self._held: list[tuple[float, int, Received]] = []
        self._held_order = 0
        self._stalled: list[Callable[[], object]] | None = None

    def set_peers(self, peers: Mapping[NodeId, Any], pins: Mapping[NodeId, int]) -> None:
        """Who the peers are from now on; see :meth:`paxosd.bus.Bus.set_peers`. Where they are
        reached is of no matter here."""
        self._peers = list(peers)
        self._lives.set_peers({name: pins.get(name, 0) for name in peers})

    @property
    def has_subscriptions(self) -> bool:
        return bool(self.subscriptions)

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]:
        wishes, self.subscriptions = self.subscriptions, []
        return wishes

    # -- receiving

    def receive_peers(self, limit: int) -> list[Received]:
        inbox = self.inbox
        received: list[Received] = []
        now_ms = 0.0
        if self._plan.messages_active or self._held:
            now_ms = self._now_ms()
            while self._held and self._held[0][0] <= now_ms:
                self._admit(heappop(self._held)[2], 1, received)
        if not inbox:
            return received
        if len(inbox) > limit:
            taken, self.inbox = inbox[:limit], inbox[limit:]
        else:
            taken, self.inbox = inbox, []
        faulty = self._plan.messages_active
        for message in taken:
            arriving = self._through_faults(message, now_ms) if faulty else 1
            if arriving:
                self._admit(message, arriving, received)
        return received

    def _through_faults(self, message: Received, now_ms: float) -> int:
        """How many of this message arrive now; see ``paxosd.bus.Bus``."""
        kind_name = PEER_KIND_NAMES[type(message[2])]
        drop, delay_ms, copies, copies_delay_ms = self._plan.on_message(
            message[0], self._name, kind_name, now_ms
        )
        if drop:
            return 0
        arriving = 1
        if delay_ms:
            self._hold(message, now_ms + delay_ms)
            arriving = 0
        if copies:
            copies_delay_ms += delay_ms
            if not copies_delay_ms:
                return arriving + copies
            for _ in range(copies):
                self._hold(message, now_ms + copies_delay_ms)
        return arriving

    def _hold(self, message: Received, due_ms: float) -> None:
        if len(self._held) < HELD_MAX:
            self._held_order += 1
            heappush(self._held, (due_ms, self._held_order, message))

    def _admit(self, message: Received, copies: int, received: list[Received]) -> None:
        """Pass on what is no replay of an earlier life, and of no lost disk; see
        ``paxosd.bus.Bus``."""
        sender, life, body = message
        heard = self._lives.admit(sender, life, body)
        if heard >= 0:
            received += [message if heard == life else (sender, heard, body)] * copies
        if heard > 0:
            return
        answer = self._lives.answer(sender, life, body)
        if answer is not None:
            self.send(sender, answer)

    def receive_clients(self, limit: int) -> list[tuple[bytes, ClientMessage]]:
        requests = self.requests
        if not requests:
            return requests
        self.requests = requests[limit:]
        return requests[:limit]

    def disconnected(self) -> list[NodeId]:
        lost = self.lost
        if lost:
            self.lost = []
        return lost

    def next_due_ms(self) -> float | None:
        """When a message that was held back is due, on the process's clock."""
        return self._held[0][0] if self._held else None

    # -- sending

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        if to not in self._peers:
            return False
        self._effect("send")
        self._leave(self._network.send, self._name, self._incarnation, to, message)
        return True

    def publish_accepted(self, message: Accepted) -> None:
        self._effect("publish")
        for peer in self._peers:
            self._leave(self._network.send, self._name, self._incarnation, peer, message)

    def publish(self, topic: bytes, payload: bytes) -> None:
        """To those who watch; see ``event_links.py``."""
        self._effect("publish")
        self._leave(self._network.events.publish, self._name, topic, payload)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        self._effect("answer")
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
