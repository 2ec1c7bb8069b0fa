"""A simulated cluster: processes, the network between them, and what is always checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from paxosd.core.types import NodeId
from paxosd.sim.cluster.clock_checks import ClockChecks
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.keys import SimKeys
from paxosd.sim.cluster.life import CLUSTER, ProcessOptions
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.world.network import Network, NetworkOptions
from paxosd.sim.world.trace import Trace
from paxosd.sim.world.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """``network`` and ``process``: as all begin."""

    network: NetworkOptions = field(default_factory=NetworkOptions)
    process: ProcessOptions = field(default_factory=lambda: ProcessOptions(node={}))


def node_names(count: int) -> list[NodeId]:
    """n1, n2, …"""
    return [f"n{number}" for number in range(1, count + 1)]


class SimCluster:
    """``names`` and the processes of these names; all are down at first. ``first``: the members of
    epoch 0; the others, ``spares``, may join later."""

    def __init__(
        self,
        world: World,
        names: list[NodeId],
        options: ClusterOptions | None = None,
        trace: Trace | None = None,
        spares: Sequence[NodeId] = (),
        records: RunRecords | None = None,
        *,
        keyed: bool = False,
    ) -> None:
        """``records``: what the processes leave behind; None: nothing. ``keyed``: whether nodes and
        clients have keys."""
        options = options or ClusterOptions()
        self.world = world
        self.first = names
        self.spares = list(spares)
        self.names = names = [*names, *spares]
        self.trace = trace
        if trace is not None:
            trace.clock = world
        self.invariants = Invariants(self.first, ClockChecks(lambda: world.now_ms))
        self.network = Network(world, CLUSTER, options.network)
        self.keys = SimKeys(names) if keyed else None
        """None: nobody has a key."""
        self.network.keys = self.keys
        self.processes: dict[NodeId, SimProcess] = {
            name: SimProcess(
                world,
                name,
                self,
                self.network,
                self.invariants,
                options.process,
                trace,
                records=records,
            )
            for name in names
        }

    def note(self, event: str, node: NodeId = "", **fields: Any) -> None:
        """Into the trace, if there is one."""
        if self.trace is not None:
            self.trace.add(node, event, fields)

    # -- processes

    def run_program(self, name: NodeId, level: int) -> None:
        """From its next start on the process runs a program that understands this feature level;
        if it is up, it is started again."""
        self.invariants.understood[name] = level
        process = self.processes[name]
        if process.up:
            self.note("process.upgrade", name, feature_level=level)
            process.crash(power=False)
            self.start(name)

    def up(self) -> list[SimProcess]:
        """Those that have a process, stopped or not."""
        return [process for process in self.processes.values() if process.up]

    def start(self, name: NodeId = "") -> None:
        """This one, or all that are down."""
        for process in self._of(name):
            if not process.up and not (process.removed or process.idle):
                self.note("process.start", process.name)
                process.start()

    def crash(self, name: NodeId = "", *, power: bool = True) -> None:
        """See :meth:`SimProcess.crash`."""
        for process in self._of(name):
            process.crash(power=power)

    def pause(self, name: NodeId) -> None:
        for process in self._of(name):
            process.pause()

    def resume(self, name: NodeId = "") -> None:
        for process in self._of(name):
            process.resume()

    def _of(self, name: NodeId) -> list[SimProcess]:
        return [self.processes[name]] if name else list(self.processes.values())

    # -- what is known of it

    def leader(self) -> NodeId:
        """Who leads with the highest ballot, of those that are up; "" if none does."""
        leaders = [(p.node.promised, p.name) for p in self.up() if p.node.leading]
        return max(leaders)[1] if leaders else ""

    def members(self) -> list[SimProcess]:
        """The processes of the present members, as the leader has them; without one, all that are
        up."""
        leader = self.leader()
        if not leader:
            return self.up()
        members = self.processes[leader].node.membership.members
        return [process for process in self.up() if process.name in members]

    def agreed_leader(self) -> NodeId:
        """The leader that all members that run follow; "" if there is none."""
        name = self.leader()
        if name and all(p.node.leader == name for p in self.members() if not p.paused):
            return name
        return ""

    def applied(self) -> list[int]:
        """Of each member that is up."""
        return [process.node.applied for process in self.members()]

    def run_until(self, condition: Callable[[], bool], limit_ms: float) -> bool:
        """Let time pass until it holds; False if it did not within the limit."""
        return self.world.run_while(lambda: not condition(), limit_ms)

    def elect(self, limit_ms: float = 30_000) -> NodeId:
        """Until there is a leader that all follow; its name. Raises AssertionError."""
        assert self.run_until(lambda: self.agreed_leader() != "", limit_ms), "no leader in time"
        return self.agreed_leader()
