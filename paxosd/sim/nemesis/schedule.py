"""What goes wrong and when: a list of directives, which a file can hold and a person can read.

    [[directive]]
    at_ms = 12000
    verb = "crash"
    node = "n1"
    args = { power = true }

Verbs (``node`` "" means every node; "@leader" the leader at that time, n1 if there is none; it can
stand in the from, to and on of fault_add, too):

    fault_add        args as in faults.parse_rule (persist: over restarts)   fault_rm   name
    fault_clear      -
    crash            power (true: what was not synced may be lost; false: as kill -9)
    crash_at_effect  effects (at which one from now on), power
    pause_at_effect  effects, ms (stopped for so long in the middle of a turn)
    restart          start if it is down                          pause, resume -
    starve           turn_ms (how long each turn takes; 0: ends)
    wipe             an empty disk (it crashes first if it is up); log_only: of its log alone
    remember         keep a copy of the disk as it is durable
    rollback         go back to that copy; file (the last of the log's files that begins so, alone);
                     witnessed (all of it, and only if another node surely knows what is lost)
    configure        started again with a file that names members; without: with its own
    limits           message_bytes_max: started again with this limit in its file (frame_limits.py)
    double           for_ms: a second process out of a copy of its disks (it must be up)
    bit_rot          lot (which bit; a number)
    tail             how (cut, zero, flip), lot (where): the log loses its end (the node is killed
                     first if it is up); witness (false: so does its tail-mark; then a cut alone is
                     found, and the rest is forgiven)
    clock_jump       ms (of the wall clock)                       clock_drift   ppm (of both clocks)
    clock_set        wall_ms (what the wall clock shows)
    disk             sync_ms ([low, high]), free_bytes (-1: plenty)
    net              loss, duplicate, replay, reorder, client_loss (probabilities), delay_ms
    client_cut       clients cannot reach the node                client_heal   … can again
    member           wish (add, promote, swap, remove, demote, quorum, relic), lot: changes.py
    settings         lot: what of the replicated settings an operator changes; or quota_bytes, its
                     value; see changes.py
    rights           lot: what of the rights an admin changes (in a run with keys); see rights.py
    rejoin           let a node that lost its memory vote again
    heal             everything of the above ends, and nodes that are down or paused go on
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from paxosd.host import toml

LEADER = "@leader"

VERBS = frozenset(
    [
        "bit_rot",
        "client_cut",
        "client_heal",
        "clock_drift",
        "clock_jump",
        "clock_set",
        "configure",
        "crash",
        "crash_at_effect",
        "disk",
        "double",
        "fault_add",
        "fault_clear",
        "fault_rm",
        "heal",
        "limits",
        "member",
        "net",
        "pause",
        "pause_at_effect",
        "rejoin",
        "remember",
        "restart",
        "resume",
        "rollback",
        "rights",
        "settings",
        "starve",
        "tail",
        "wipe",
    ]
)


class ScheduleError(ValueError):
    """Not a schedule; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One thing that is done to one node, or with ``node`` "" to all. ``at_ms``: virtual time."""

    at_ms: int
    verb: str
    node: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Plain values, for a file or a trace."""
        return {"at_ms": self.at_ms, "verb": self.verb, "node": self.node, "args": dict(self.args)}

    def __str__(self) -> str:
        args = " ".join(f"{key}={value}" for key, value in self.args.items())
        return f"{self.at_ms} ms: {self.verb} {self.node or '*'} {args}".rstrip()


class Schedule:
    """Directives in order of time; immutable. Iterate over it, or use ``directives``."""

    __slots__ = ("directives",)

    def __init__(self, directives: Iterable[Directive] = ()) -> None:
        # A stable sort: what is given for the same time stays in its order.
        self.directives = tuple(sorted(directives, key=lambda each: each.at_ms))

    def __iter__(self) -> Iterator[Directive]:
        return iter(self.directives)

    def __len__(self) -> int:
        return len(self.directives)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self.directives == other.directives

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        return f"Schedule({len(self.directives)} directives)"

    def to_json(self) -> str:
        """One line."""
        return json.dumps([each.describe() for each in self.directives], sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Schedule":
        """Raises ScheduleError."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ScheduleError(f"no JSON: {error}") from error
        return cls.from_dicts(found)

    def to_toml(self) -> str:
        """As in the head of this module."""
        return "\n".join(_toml(each) for each in self.directives)

    @classmethod
    def from_toml(cls, text: str) -> "Schedule":
        """Raises ScheduleError."""
        try:
            found = toml.parse_toml(text)
        except ValueError as error:
            raise ScheduleError(str(error)) from error
        unknown = sorted(set(found) - {"directive"})
        if unknown:
            raise ScheduleError(f'unknown key "{unknown[0]}"; [[directive]] tables are expected')
        return cls.from_dicts(found.get("directive", []))

    @classmethod
    def from_dicts(cls, found: Any) -> "Schedule":
        """From a list of what :meth:`Directive.describe` gives. Raises ScheduleError."""
        if not isinstance(found, list):
            raise ScheduleError("a list of directives is expected")
        return cls(_directive(place, each) for place, each in enumerate(found, 1))


def _directive(place: int, found: Any) -> Directive:
    if not isinstance(found, dict):
        raise ScheduleError(f"directive {place} is no table")
    unknown = sorted(set(found) - {"at_ms", "verb", "node", "args"})
    if unknown:
        raise ScheduleError(f'directive {place}: unknown key "{unknown[0]}"')
    at_ms, verb = found.get("at_ms"), found.get("verb")
    node, args = found.get("node", ""), found.get("args", {})
    if type(at_ms) is not int or at_ms < 0:
        raise ScheduleError(f"directive {place}: at_ms is a whole number of milliseconds")
    if verb not in VERBS:
        raise ScheduleError(f'directive {place}: unknown verb "{verb}"')
    if type(node) is not str or not isinstance(args, dict):
        raise ScheduleError(f"directive {place}: node is a name and args is a table")
    return Directive(at_ms, verb, node, args)


def _toml(directive: Directive) -> str:
    values = {"at_ms": directive.at_ms, "verb": directive.verb, "node": directive.node}
    args = {"args": directive.args} if directive.args else {}
    return toml.table("directive", values=values | args, repeated=True)
