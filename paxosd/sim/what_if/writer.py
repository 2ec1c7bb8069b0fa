"""A client that writes one value after another, and remembers what was acknowledged."""

from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.requests import RefusalAnswer, ServerMessage, WriteAnswer, WriteRequest
from paxosd.core.types import NodeId
from paxosd.sim.world.network import Network
from paxosd.sim.world.world import World
from paxosd.wire import encode_entry

AGAIN_MS = 1000.0
"""What is not answered for so long is asked of the next node, under the same number."""
PAUSE_MS = 20.0


class Writer:
    """Writes ``PREFIX/1``, ``PREFIX/2`` …; ``acknowledged``: how many. ``gap_ms``: the longest time
    without one."""

    def __init__(
        self, world: World, network: Network, nodes: list[NodeId], entries: set[bytes]
    ) -> None:
        """``entries``: gets every entry that is sent."""
        self.acknowledged = 0
        self.gap_ms = 0.0
        self._world = world
        self._network = network
        self._nodes = nodes
        self._entries = entries
        self._target = 0
        self._session = 0
        self._seq = 0
        self._request_id = 0
        self._tries = 0
        self._last_ms = world.now_ms
        self._stopped = False
        self._id = b"what-if"
        network.add_client(self._id, self)

    def start(self) -> None:
        """Begin."""
        self._try()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    @staticmethod
    def key(number: int) -> bytes:
        """Of the write of this number."""
        return b"paxosctl-what-if/%d" % number

    def _entry(self) -> bytes:
        if not self._session:
            return encode_entry(Entry(0, (1 << 32) + 1, 0, [[OPEN]]))
        number = self._seq
        return encode_entry(
            Entry(self._session, number, number - 1, [[PUT, self.key(number), b"%d" % number]])
        )

    def _try(self) -> None:
        """Send what is next to the present target, and to another one if nothing comes back."""
        if self._stopped:
            return
        self._tries += 1
        self._network.connect(self._id, self._nodes[self._target])
        self._world.at(AGAIN_MS, self._again, self._tries)

    def _again(self, tries: int) -> None:
        if tries == self._tries:
            self._go_to_next()

    def _go_to_next(self, node: NodeId = "") -> None:
        self._target = (self._target + 1) % len(self._nodes)
        if node in self._nodes:
            self._target = self._nodes.index(node)
        self._try_soon()

    def _try_soon(self) -> None:
        """What was to be tried before is not any more."""
        self._tries += 1
        self._world.at(PAUSE_MS, self._try_if, self._tries)

    def _try_if(self, tries: int) -> None:
        if tries == self._tries:
            self._try()

    def connected(self, node: NodeId) -> None:
        """As the network says."""
        if node == self._nodes[self._target] and not self._stopped:
            entry = self._entry()
            self._entries.add(entry)
            self._request_id += 1
            self._network.request(self._id, node, WriteRequest(self._request_id, entry))

    def disconnected(self, node: NodeId, reason: str) -> None:
        """As the network says."""
        if node == self._nodes[self._target] and not self._stopped:
            self._go_to_next()

    def arrive_answer(self, node: NodeId, message: ServerMessage) -> None:
        """As the network says."""
        if self._stopped or message.request_id != self._request_id:
            return
        if isinstance(message, RefusalAnswer):
            self._go_to_next(message.leader)
        elif isinstance(message, WriteAnswer):
            self._take(message)

    def _take(self, answer: WriteAnswer) -> None:
        result = answer.results[0]
        if not self._session:
            assert isinstance(result, tuple)
            self._session = result[2]
        else:
            self.acknowledged += 1
        self.gap_ms = max(self.gap_ms, self._world.now_ms - self._last_ms)
        self._last_ms = self._world.now_ms
        self._seq += 1
        self._try_soon()
