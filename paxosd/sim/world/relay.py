"""The connection on which a simulated node passes writes on: to the network it is one more client,
which reaches nodes that the other clients may be cut off from."""

from collections.abc import Callable

from paxosd.core.requests import ServerMessage, VouchedRequest, WriteRequest
from paxosd.core.types import NodeId
from paxosd.sim.world.network import RELAY, Network


class SimRelay:
    """Of one run of a process; has :class:`paxosd.replica.forwarding.Link`. Endpoints are nodes'
    names.

    ``effect`` is called ahead of what leaves; ``stopped()``: whether the process is stopped, in the
    middle of a turn; ``wake``: a turn is due."""

    def __init__(
        self,
        owner: NodeId,
        run_id: int,
        network: Network,
        *,
        effect: Callable[[str], None],
        stopped: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._prefix = b"%s%s/%d/" % (RELAY, owner.encode(), run_id)
        self._network = network
        self._effect = effect
        self._stopped = stopped
        self._wake = wake
        self._made = 0
        self._end: _End | None = None

    def aim(self, endpoint: str, node: str = "") -> None:
        """Connect there and nowhere else; "": to nobody."""
        if self._end is not None:
            self._network.forget_client(self._end.id)
            self._end = None
        if endpoint:
            self._made += 1
            self._end = _End(self._prefix + b"%d" % self._made, endpoint, self._wake)
            self._network.add_client(self._end.id, self._end)
            self._network.connect(self._end.id, endpoint)

    def send(self, message: WriteRequest | VouchedRequest) -> bool:
        """False: there is no connection."""
        end = self._end
        if end is None or not end.up or self._stopped():
            return False
        self._effect("forward")
        return self._network.request(end.id, end.to, message)

    def receive(self, limit: int) -> list[ServerMessage]:
        """What has come, at most so many."""
        if self._end is None or not self._end.answers:
            return []
        answers = self._end.answers
        self._end.answers = answers[limit:]
        return answers[:limit]

    def take_lost(self) -> bool:
        """Whether the connection broke since the last call."""
        if self._end is None or not self._end.lost:
            return False
        self._end.lost = False
        return True


class _End:
    """One connection; has :class:`paxosd.sim.world.network.ClientEnd`."""

    def __init__(self, id_: bytes, to: NodeId, wake: Callable[[], None]) -> None:
        self.id = id_
        self.to = to
        self.up = False
        self.lost = False
        self.answers: list[ServerMessage] = []
        self._wake = wake

    def connected(self, node: NodeId) -> None:
        self.up = True
        self._wake()

    def disconnected(self, node: NodeId, reason: str) -> None:
        self.lost = self.lost or self.up
        self.up = False
        self._wake()

    def arrive_answer(self, node: NodeId, message: ServerMessage) -> None:
        self.answers.append(message)
        self._wake()
