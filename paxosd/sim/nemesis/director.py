"""Carries out directives on a simulated cluster; see ``schedule.py`` for the verbs."""

from collections.abc import Callable, Mapping
from typing import Any

from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultError, parse_rule
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.double import end_double, start_double
from paxosd.sim.cluster.process import SimProcess
from paxosd.sim.nemesis.changes import Operator
from paxosd.sim.nemesis.misuse import is_rolled_back
from paxosd.sim.nemesis.rights import RightsAdmin
from paxosd.sim.nemesis.schedule import LEADER, Directive, Schedule, ScheduleError
from paxosd.sim.nemesis.tails import harms

_NET_KEYS = frozenset({"loss", "duplicate", "replay", "reorder", "client_loss", "delay_ms"})
_SCOPES = ("from", "to", "on")


class Director:
    """Carries out a schedule, and ends all of its faults at the heal.

    ``counts``: kind of fault (as in ``nemesis/kinds.py``) → how often it was done to a process.
    """

    def __init__(self, cluster: SimCluster, rights_admin: RightsAdmin | None = None) -> None:
        """``rights_admin``: who changes the rights, in a run with keys."""
        self.cluster = cluster
        self.counts: dict[str, int] = {}
        self.operator = Operator(cluster)
        self.rights_admin = rights_admin
        self._whole: set[NodeId] = set()
        """The nodes that lose no memory in this schedule."""
        self._doubles: dict[NodeId, SimProcess] = {}
        self._rules: dict[tuple[NodeId, str], tuple[float, Mapping[str, Any]]] = {}
        """Persistent fault rules: (node, name) → when it ends (0: never) and its arguments."""
        self._verbs: dict[str, Callable[[SimProcess, Mapping[str, Any]], object]] = {
            "fault_add": self._fault_add,
            "fault_rm": self._fault_rm,
            "fault_clear": self._fault_clear,
            "crash": self._crash,
            "crash_at_effect": self._crash_at_effect,
            "pause_at_effect": self._pause_at_effect,
            "restart": lambda process, args: self._start(process),
            "pause": self._pause,
            "resume": lambda process, args: process.resume(),
            "starve": self._starve,
            "wipe": self._wipe,
            "remember": lambda process, args: process.disks.remember(),
            "rollback": self._rollback,
            "tail": self._tail,
            "bit_rot": lambda process, args: process.disks.bit_rot(int(args.get("lot", 0))),
            "configure": self._configure,
            "limits": self._limits,
            "double": self._double,
            "clock_jump": self._clock_jump,
            "clock_set": self._clock_set,
            "clock_drift": self._clock_drift,
            "disk": self._disk,
            "client_cut": self._client_cut,
            "client_heal": lambda process, args: cluster.network.cut.discard(process.name),
        }

    def follow(self, schedule: Schedule) -> None:
        """Have each directive carried out at its time. Raises ScheduleError for a node that
        does not exist."""
        known = (*self.cluster.names, "", LEADER)
        if any(is_rolled_back(each) for each in schedule):
            self._whole = set(self.cluster.names) - {each.node for each in schedule if harms(each)}
            self.cluster.invariants.call_witnesses(lambda: self.cluster.world.now_ms)
        for directive in schedule:
            if directive.node not in known:
                raise ScheduleError(f'{directive}: there is no node "{directive.node}"')
            delay_ms = directive.at_ms - self.cluster.world.now_ms
            self.cluster.world.at(delay_ms, self.carry_out, directive)

    def carry_out(self, directive: Directive) -> None:
        """Carry it out now. What is not possible now is left out."""
        cluster = self.cluster
        leader = cluster.leader() or cluster.names[0]
        node = leader if directive.node == LEADER else directive.node
        args = _with_leader(directive.args, leader)
        cluster.note(f"nemesis.{directive.verb}", node, **args)
        if directive.verb == "net":
            if "delay_ms" in args:
                self.count("slow-net")
            cluster.network.change(**{k: v for k, v in args.items() if k in _NET_KEYS})
        elif directive.verb == "heal":
            self.heal()
        elif directive.verb == "member":
            before, relics = self.operator.sent, self.operator.relics
            self.operator.carry_out(args)
            self.counts["member"] = self.counts.get("member", 0) + self.operator.sent - before
            if self.operator.relics > relics:
                self.count("relic")
        elif directive.verb == "settings":
            if "quota_bytes" in args:
                self.operator.set_one("quota_bytes", int(args["quota_bytes"]))
            else:
                self.operator.set_settings(int(args["lot"]))
        elif directive.verb == "rights":
            if self.rights_admin is not None:
                self.count("rights")
                self.rights_admin.carry_out(int(args["lot"]))
        elif directive.verb == "rejoin":
            self.operator.rejoin(node)
        else:
            verb = self._verbs[directive.verb]
            names = [node] if node else cluster.names
            for name in names:
                verb(cluster.processes[name], args)

    def heal(self) -> None:
        """Every fault ends; processes that are down are started, stopped ones go on."""
        cluster = self.cluster
        self._rules.clear()
        cluster.network.heal()
        for name, double in list(self._doubles.items()):
            self._end_double(name, double)
        for process in cluster.processes.values():
            process.heal()
            if process.misconfigured:
                self._use_file(process, None)
            if not process.up:
                self._start(process)

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- verbs

    def _start(self, process: SimProcess) -> None:
        if process.up:
            return
        self.cluster.start(process.name)
        if process.up:
            now_ms = self.cluster.world.now_ms
            for (name, _), (ends_ms, args) in list(self._rules.items()):
                if name == process.name and not (ends_ms and now_ms >= ends_ms):
                    left_ms = int(ends_ms - now_ms) if ends_ms else 0
                    self._add(process, {**args, "for_ms": left_ms})

    def _fault_add(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if process.up:
            self._add(process, args)
        if args.get("persist"):
            for_ms = args.get("for_ms", 0)
            ends_ms = self.cluster.world.now_ms + for_ms if for_ms else 0.0
            self._rules[process.name, args["name"]] = (ends_ms, args)

    def _add(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        assert process.plan is not None
        now_ms = process.clock.monotonic_ms()
        try:
            process.plan.add(parse_rule(args, nodes=self.cluster.names), now_ms)
        except FaultError as error:
            process.log.info("fault.refused", message=str(error))

    def _fault_rm(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        name = str(args.get("name", ""))
        self._rules.pop((process.name, name), None)
        if process.up and process.plan is not None:
            try:
                process.plan.remove(name, process.clock.monotonic_ms())
            except FaultError as error:
                process.log.info("fault.refused", message=str(error))

    def _fault_clear(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        for node, name in [pair for pair in self._rules if pair[0] == process.name]:
            del self._rules[node, name]
        if process.up and process.plan is not None:
            process.plan.clear(process.clock.monotonic_ms())

    def _crash(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if process.up:
            self.count("crash")
        self.cluster.crash(process.name, power=bool(args.get("power", True)))

    def _crash_at_effect(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        self.count("crash-point")
        process.crash_point.arm(int(args.get("effects", 1)), power=bool(args.get("power", True)))

    def _pause(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if process.up:
            self.count("pause")
        process.pause()

    def _starve(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        process.extra_turn_ms = float(args.get("turn_ms", 0.0))
        if process.extra_turn_ms:
            self.count("starve")

    def _pause_at_effect(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        self.count("pause")
        process.crash_point.arm_pause(int(args.get("effects", 1)), float(args.get("ms", 1000)))

    def _client_cut(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        self.count("client-cut")
        self.cluster.network.cut.add(process.name)

    def _wipe(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if process.up:
            process.crash(power=True)
        if args.get("log_only"):
            process.disks.lose_log()
            return
        process.disks.wipe()

    def _tail(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if process.up:
            process.crash(power=False)
        how, lot = str(args.get("how", "zero")), int(args.get("lot", 0))
        process.disks.harm_tail(how, lot, witness=bool(args.get("witness", True)))

    def _rollback(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if args.get("witnessed"):
            self._go_back(process, power=bool(args.get("power", True)))
            return
        if process.up:
            process.crash(power=True)
        if process.disks.rollback(str(args.get("file", ""))):
            self.count("rollback")

    def _go_back(self, process: SimProcess, *, power: bool) -> None:
        """Roll back a running member, if another node surely remembers a vote that is lost by it.
        Without ``power`` the others notice at once that it is gone."""
        witnesses = self.cluster.invariants.witnesses
        fit = [n for n in self._whole - {process.name} if not self.cluster.processes[n].paused]
        if witnesses is None or not process.up:
            return
        if witnesses.know(process.name, process.disks.remembered_ms, fit):
            process.crash(power=power)
            if process.disks.go_back():
                self.count("roll-back")

    def _configure(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        """Start it again with this file, or with its own."""
        members = args.get("members")
        if process.idle or process.removed or (members is None and not process.misconfigured):
            return
        if members is not None:
            self.count("wrong-file")
        self._use_file(process, members)
        self._start(process)

    def _limits(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        """Start it again with another limit in its file."""
        self.count("limits")
        process.limit_messages(int(args["message_bytes_max"]))
        if process.up:
            process.crash(power=False)
            self._start(process)

    def _use_file(self, process: SimProcess, members: list[NodeId] | None) -> None:
        if process.up:
            process.crash(power=False)
        process.configure(members)

    def _double(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        name = process.name
        if name in self._doubles or not process.up:
            return
        self.count("doubled")
        double = start_double(self.cluster, name, self.counts["doubled"])
        self._doubles[name] = double
        self.cluster.world.at(float(args.get("for_ms", 1000)), self._end_double, name, double)

    def _end_double(self, name: NodeId, double: SimProcess) -> None:
        if self._doubles.get(name) is double:
            del self._doubles[name]
            end_double(self.cluster, name, double)

    def _clock_drift(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        ppm = float(args.get("ppm", 0.0))
        if ppm:
            self.count("clock-drift")
        process.clock.drift(ppm)

    def _clock_jump(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        self.count("clock-skew")
        process.clock.skew_ms += float(args.get("ms", 0.0))

    def _clock_set(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        self.count("clock-skew")
        clock = process.clock
        clock.skew_ms += float(args["wall_ms"]) - clock.wall_ms()

    def _disk(self, process: SimProcess, args: Mapping[str, Any]) -> None:
        if "sync_ms" in args:
            low_ms, high_ms = args["sync_ms"]
            process.set_sync_ms((float(low_ms), float(high_ms)))
        if "free_bytes" in args:
            if int(args["free_bytes"]) >= 0:
                self.count("disk-full")
            process.disks.set_free_bytes(int(args["free_bytes"]))


def _with_leader(args: Mapping[str, Any], leader: NodeId) -> dict[str, Any]:
    """The arguments with the leader's name where they say LEADER."""
    found = dict(args)
    for key in _SCOPES:
        if key in found:
            value = found[key]
            names = value if isinstance(value, list | tuple) else [value]
            found[key] = [leader if name == LEADER else name for name in names]
    return found
