"""One question answered: replay to the point, adopt the nodes, do the faults, go on, check."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.messages import Envelope
from paxosd.core.requests import GET
from paxosd.core.types import NodeId
from paxosd.faults.rules import parse_rule
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watched import WatchedMachine, WatchedNode
from paxosd.sim.what_if.process import AdoptedProcess
from paxosd.sim.what_if.question import Fault, Question, QuestionError
from paxosd.sim.what_if.writer import Writer
from paxosd.sim.world.network import Network, NetworkOptions
from paxosd.sim.world.trace import Trace
from paxosd.sim.world.world import World
from paxosd.trace.merge import Merge
from paxosd.trace.reader import TraceFile, Turn
from paxosd.trace.replay import Replay

RUN_MS = 20_000.0
UNDER_WAY_MS = 1000
"""What was sent earlier than that before the point, and has not arrived, is lost."""
CONNECTED_AFTER_MS = 0.5


@dataclass(slots=True)
class WhatIfReport:
    """What came of it. ``point``: where the run was left. ``leaders``: who led since then, as
    (ballot, node). ``chosen``: slots since then. ``violation``: "": the checkers hold."""

    question: str
    seed: int
    point: str
    leader_before: NodeId
    leaders: list[tuple[str, NodeId]] = field(default_factory=list)
    leader: NodeId = ""
    chosen: int = 0
    acknowledged: int = 0
    longest_gap_ms: float = 0.0
    simulated_ms: float = 0.0
    violation: str = ""
    nodes: dict[NodeId, dict[str, Any]] = field(default_factory=dict)


class _Names:
    """Who there is; see ``life.Names``."""

    def __init__(self, names: list[NodeId]) -> None:
        self.names = names
        self.first = names


class WhatIf:
    """One run. Raises QuestionError for a question that these traces have no answer to, and what a
    replay raises."""

    def __init__(
        self, traces: Sequence[TraceFile], question: Question, text: str, seed: int
    ) -> None:
        self._question = question
        self._text = text
        self._seed = seed
        self._heads = {trace.head.node: trace.head for trace in traces}
        names = sorted(self._heads)
        for name in {*(n for fault in question.faults for n in fault.nodes), question.node} - {""}:
            if name not in self._heads:
                words = f"{name} has no trace among these; there are {', '.join(names)}"
                raise QuestionError(words)
        self.world = World(seed)
        self.trace = Trace(keep="all")
        self.trace.clock = self.world
        self.invariants = Invariants(names)
        self.invariants.understood = dict.fromkeys(names, LEVEL_LATEST)
        cluster = next(iter(self._heads.values())).cluster
        self.network = Network(self.world, cluster, NetworkOptions())
        self.processes = {
            name: AdoptedProcess(
                self.world, name, _Names(names), self.network, self.invariants, head, self.trace
            )
            for name, head in self._heads.items()
        }
        self._merge = Merge(traces, self._make_replay)

    def _make_replay(self, trace: TraceFile) -> Replay:
        """A run begins: on the disks as the trace has them."""
        process = self.processes[trace.head.node]
        process.home.files.clear()
        process.log_disk.files.clear()
        return Replay(
            trace,
            disks=(process.home, process.log_disk),
            node_kind=WatchedNode,
            machine=WatchedMachine(self.invariants, process.name, trace.head.checksum_slots),
        )

    def run(self, duration_ms: float = RUN_MS) -> WhatIfReport:
        """Carry it out."""
        found = self._merge.run(self._is_reached)
        if found is None and (self._question.slot or self._question.turn):
            raise QuestionError(f'"{self._text}": the traces end before that')
        name, turn = found if found is not None else ("", None)
        point = "the end of the traces" if turn is None else (
            f"turn {turn.number} of {name}, slot {turn.applied} applied"
        )  # fmt: skip
        report = WhatIfReport(self._text, self._seed, point, self._leader_now())
        try:
            self._go_on(report, duration_ms)
        except Violation as violation:
            report.violation = str(violation)
        report.simulated_ms = self.world.now_ms
        self._describe(report)
        return report

    def _is_reached(self, name: NodeId, turn: Turn) -> bool:
        question = self._question
        of = question.node or next(
            (n for fault in question.faults for n in fault.nodes if fault.kind != "cut"), ""
        )
        if of and name != of:
            return False
        return 0 < question.slot <= turn.applied or 0 < question.turn <= turn.number

    def _leader_now(self) -> NodeId:
        leading = [
            (node.replay.replica.node.promised, name)
            for name, node in self._merge.nodes.items()
            if node.replay is not None and node.replay.replica.node.leading
        ]
        return max(leading)[1] if leading else ""

    # -- from the point on

    def _go_on(self, report: WhatIfReport, duration_ms: float) -> None:
        invariants = self.invariants
        invariants.proposed |= self._merge.entries
        for name, node in self._merge.nodes.items():
            # A run whose trace ends before the point was killed then, and is down.
            if node.replay is not None and (
                node.next_turn() is not None or not self._is_down(name)
            ):
                self.processes[name].adopt(node.replay)
        self._send_what_is_under_way()
        slots, reigns = len(invariants.chosen), len(invariants.leaders)
        self._inflict()
        writer = Writer(self.world, self.network, sorted(self.processes), invariants.proposed)
        self.world.at(CONNECTED_AFTER_MS, writer.start)
        try:
            self.world.run_until(duration_ms)
            writer.stop()
            self._check_acknowledged(writer.acknowledged)
        finally:
            report.acknowledged = writer.acknowledged
            report.longest_gap_ms = round(writer.gap_ms, 1)
            report.chosen = len(invariants.chosen) - slots
            since = list(invariants.leaders.items())[reigns:]
            report.leaders = [(ballot.shown(), name) for ballot, name in since]

    def _is_down(self, name: NodeId) -> bool:
        """Whether the node's trace ends well before the point: then the process had ended."""
        node = self._merge.nodes[name]
        assert node.replay is not None
        turn = node.replay.turn
        last_ms = turn.wall_ms if turn is not None else node.replay.trace.head.wall_ms
        return self._merge.now_wall_ms - last_ms > UNDER_WAY_MS

    def _send_what_is_under_way(self) -> None:
        for (sender, to), messages in self._merge.under_way.items():
            replay = self._merge.nodes[sender].replay
            if replay is None or to not in self.processes:
                continue
            header = replay.bus.inbox.header
            for message, wall_ms in messages:
                if self._merge.now_wall_ms - wall_ms <= UNDER_WAY_MS:
                    envelope = Envelope(sender, replay.run_id, message, header.genesis,
                                        header.epoch, header.log_mark)  # fmt: skip
                    self.network.send(envelope, to)

    def _inflict(self) -> None:
        for number, fault in enumerate(self._question.faults):
            if fault.kind == "lose":
                self.network.change(loss=fault.share)
            elif fault.kind in ("cut", "isolate"):
                self._cut(fault, f"what-if-{number}")
            else:
                self._stop(self.processes[fault.nodes[0]], fault)

    def _stop(self, process: AdoptedProcess, fault: Fault) -> None:
        if fault.kind == "crash":
            process.crash(power=False)
            if fault.for_ms:
                # Another crash of the same node may have ended earlier.
                self.world.at(fault.for_ms, lambda: None if process.up else process.start())
            return
        process.pause()
        if fault.for_ms:
            self.world.at(fault.for_ms, process.resume)

    def _cut(self, fault: Fault, name: str) -> None:
        first = fault.nodes[0]
        others = fault.nodes[1:] or tuple(sorted(self.processes.keys() - {first}))
        for number, other in enumerate(others):
            rule = {
                "name": f"{name}-{number}",
                "kind": "partition",
                "from": first,
                "to": other,
                "for_ms": fault.for_ms,
            }
            for process in (self.processes[first], self.processes[other]):
                if process.up and process.plan is not None:
                    now_ms = process.clock.monotonic_ms()
                    process.plan.add(parse_rule(rule, nodes=sorted(self.processes)), now_ms)

    def _check_acknowledged(self, count: int) -> None:
        """What was acknowledged is in the state of whoever has applied the most."""
        up = [process for process in self.processes.values() if process.up]
        if not up:
            return
        machine = max(up, key=lambda process: process.node.applied).machine
        for number in range(1, count + 1):
            (row,) = machine.query([[GET, Writer.key(number)]], 1 << 20)
            if row is None or row.value != b"%d" % number:
                raise Violation("lost", f"write {number} was acknowledged, and is gone")

    def _describe(self, report: WhatIfReport) -> None:
        leading = []
        for name, process in sorted(self.processes.items()):
            if not process.up:
                report.nodes[name] = {"state": process.failure or "down"}
                continue
            node = process.node
            state = "paused" if process.paused else node.role
            report.nodes[name] = {"state": state, "applied": node.applied,
                                  "promised": node.promised.shown()}  # fmt: skip
            if node.leading and not process.paused:
                leading.append((node.promised, name))
        report.leader = max(leading)[1] if leading else ""
