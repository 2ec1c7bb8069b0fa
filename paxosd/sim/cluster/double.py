"""A second process out of a copy of a running member's disks, as a cloned machine is.

It sends to all nodes under the member's name. What is sent to that name goes to the original, so
that the double receives published votes only. It must never act, and what it sends must not count.
The original goes on, and is checked as usual.
"""

from typing import TYPE_CHECKING, Any, cast

from paxosd.core.effects import AcceptRecord, PromiseRecord, Ready
from paxosd.core.messages import Envelope
from paxosd.core.node import Node
from paxosd.core.requests import ServerMessage
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.world.network import Network

if TYPE_CHECKING:
    from paxosd.sim.cluster.cluster import SimCluster
    from paxosd.storage.wal import Recovered


class _OneWayNetwork:
    """The network as a double sees it: it can send, and nothing reaches it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.keys = network.keys
        self.events = self

    def send(self, envelope: Envelope, to: NodeId) -> None:
        self._network.send(envelope, to)

    def answer(self, sender: NodeId, client: bytes, message: ServerMessage) -> bool:
        return False

    def publish(self, *_: object, **__: object) -> None:
        """A double has no watchers."""

    add = started = broke = publish


class _NeverActs(Invariants):
    """The checks of a double: it must not act, and nothing else that it does is checked."""

    def on_ready(self, name: NodeId, node: Node, ready: Ready) -> None:
        for record in ready.persist:
            if isinstance(record, AcceptRecord | PromiseRecord):
                raise Violation("doubled", f"the second process of {name} acts: {type(record)}")

    def recovered(self, name: NodeId, recovered: "Recovered") -> None: ...
    def on_chosen(self, name: NodeId, slot: Slot, value: bytes) -> None: ...
    def on_applied(self, name: NodeId, slot: Slot, before: Slot, machine: Machine) -> None: ...
    def on_state(self, name: NodeId, slot: Slot, machine: Machine) -> None: ...
    def check_log(self, name: NodeId, slot: Slot, value: bytes) -> None: ...
    def on_leader(self, name: NodeId, ballot: Ballot) -> None: ...


def start_double(cluster: "SimCluster", name: NodeId, number: int) -> SimProcess:
    """Copy what is durable of a member now, and start it a second time. Call its ``crash`` to end
    it, and :func:`end_double`."""
    original = cluster.processes[name]
    original.collect_hits()
    unjudged = _NeverActs()
    unjudged.understood = cluster.invariants.understood
    aside: Any = _OneWayNetwork(cluster.network)
    double = SimProcess(
        cluster.world,
        name,
        cluster,
        cast(Network, aside),
        unjudged,
        original.options,
        streams=f"{name}/double{number}",
    )
    double.disks.home.restore(original.disks.home.copy())
    double.disks.log.restore(original.disks.log.copy())
    double.tally.counts.update(original.tally.counts)  # the copy is damaged as well
    cluster.network.eavesdroppers[name] = double
    double.start()
    return double


def end_double(cluster: "SimCluster", name: NodeId, double: SimProcess) -> None:
    """End the double."""
    double.crash(power=False)
    if cluster.network.eavesdroppers.get(name) is double:
        del cluster.network.eavesdroppers[name]
