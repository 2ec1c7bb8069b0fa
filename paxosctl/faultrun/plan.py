"""A plan of faults for ``paxosctl fault run``: reading it, and what it may say.

A plan is a TOML file:

    duration = "20s"              how long the workload runs; then everything is healed
    seed = 1                      of the workload, and of faults without a seed of their own

    [workload]                    all of it may be left out
    clients = 4                   each in a closed loop, with one operation under way
    keys = 8
    value_bytes = 24
    pause = "5ms"                 between two operations of a client
    timeout = "1500ms"            of an operation; after it the outcome may be unknown
    transactors = 2               more clients, with transactions and leases on keys of their own
    lockers = 2                   more clients, which hold a lock in turn and write with its fence
    mix = { put = 35, get = 35, cas = 20, delete = 5, range = 4, delete_range = 1 }

    [[fault]]                     a rule as ``fault add`` takes it; removed after ``for``
    at = "2s"                     since the start
    name = "cut"                  the kind, if left out
    kind = "partition"
    from = "@leader"              also to, on; @leader, @follower, @followers: at that moment
    for = "3s"                    left out: to the end
    repeat = "5s"                 again this long after the last time, until the end
    # message, probability, ms, every, seed, oneway, persist: as for fault add

    [[crash]]                     a node dies as by kill -9
    at = "8s"
    on = "@leader"
    repeat = "5s"

Durations are texts such as "500ms", "2s", "1m"; ``ms`` is a number. Every mistake is
found before anything is done, and is reported with its line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paxosctl.faultrun.nodes import ROLES
from paxosd.config.settings import nearest
from paxosd.faults.rules import FaultError, parse_rule
from paxosd.host.durations import parse_duration_ms
from paxosd.host.toml import read_toml
from paxosd.wire import PEER_KIND_NAMES

MIX = {"put": 35, "get": 35, "cas": 20, "delete": 5, "range": 4, "delete_range": 1}
DURATION_MS_MAX = 24 * 3_600_000
STEPS_MAX = 10_000
_WORKLOAD_KEYS = ("clients", "keys", "value_bytes", "pause", "timeout", "mix", "transactors",
                  "lockers")  # fmt: skip
_TIMED = ("at", "repeat", "on")


class PlanError(Exception):
    """A plan that cannot be run; one line that names the file, the line and the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the clients do meanwhile. ``mix``: kind of operation → weight. ``transactors``,
    ``lockers``: so many clients more; where the cluster is below their feature level, none."""

    clients: int = 4
    keys: int = 8
    value_bytes: int = 24
    pause_ms: int = 5
    timeout_ms: int = 1500
    mix: Mapping[str, int] = field(default_factory=lambda: dict(MIX))
    transactors: int = 2
    lockers: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens. ``args``: as ``fault_add`` takes them, its names still with
    roles; None: a crash of ``on``. ``line``: where the plan says so."""

    at_ms: int
    name: str
    args: dict[str, Any] | None = None
    on: str = ""
    for_ms: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultScript:
    """A whole plan: ``steps`` by time."""

    path: str
    duration_ms: int
    seed: int
    workload: Workload
    steps: tuple[Step, ...]

    def check_nodes(self, nodes: list[str]) -> None:
        """Whether the cluster has every node that is named. Raises PlanError."""
        for step in self.steps:
            try:
                _try_rule(step, nodes)
            except FaultError as error:
                raise PlanError(f"{self.path}:{step.line}: {step.name}: {error}") from None


def load_script(path: Path, duration_ms: int | None, seed: int | None) -> FaultScript:
    """Read a plan; ``duration_ms`` and ``seed`` win over its own. Raises PlanError, OSError."""
    try:
        text, raw = read_toml(path)
    except ValueError as error:
        raise PlanError(f"{path}: {error}") from None
    return _Reader(str(path), text, raw).script(duration_ms, seed)


class _Reader:
    """Turns tables into steps; knows where each key stands in the text."""

    def __init__(self, path: str, text: str, raw: dict[str, Any]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._raw = raw

    def script(self, duration_ms: int | None, seed: int | None) -> FaultScript:
        raw = self._raw
        top = _Table(self, "", 0, raw)
        top.only("duration", "seed", "workload", "fault", "crash")
        own_ms = top.duration("duration", 20_000, minimum=1)
        length_ms = duration_ms or own_ms
        number = top.whole("seed", 0, 0, 1 << 62) if seed is None else seed
        steps: list[Step] = []
        for header, make in (("fault", self._fault), ("crash", self._crash)):
            tables = raw.get(header, [])
            if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
                raise self.error(top.line(header), f"write [[{header}]], once for each")
            for place, each in enumerate(tables):
                table = _Table(self, header, place, each)
                step = make(table, number + len(steps))
                if step.at_ms >= own_ms:
                    raise table.error("at", f"at is not within the duration of {own_ms / 1000:g}s")
                steps.extend(_repeated(table, step, length_ms))
        if not steps:
            raise self.error(1, "no [[fault]] and no [[crash]] in its time: nothing would happen")
        if len(steps) > STEPS_MAX:
            raise self.error(1, f"{len(steps)} steps are more than {STEPS_MAX}: repeat less often")
        steps.sort(key=lambda step: step.at_ms)
        return FaultScript(
            path=self._path,
            duration_ms=length_ms,
            seed=number,
            workload=self._workload(),
            steps=tuple(steps),
        )

    def _workload(self) -> Workload:
        raw = self._raw.get("workload", {})
        if not isinstance(raw, dict):
            raise self.error(self.line_of("", 0, "workload"), "workload is a table: [workload]")
        table = _Table(self, "workload", 0, raw)
        table.only(*_WORKLOAD_KEYS)
        mix = raw.get("mix", MIX)
        whole = isinstance(mix, dict) and all(
            type(share) is int and 0 <= share <= 1_000_000 for share in mix.values()
        )
        if not whole or not sum(mix.values()):
            raise table.error("mix", "mix has a whole number for each kind of operation")
        for kind in mix:
            if kind not in MIX:
                raise table.error("mix", f'mix: unknown operation "{kind}"; {nearest(kind, MIX)}')
        return Workload(
            clients=table.whole("clients", 4, 1, 64),
            keys=table.whole("keys", 8, 1, 10_000),
            value_bytes=table.whole("value_bytes", 24, 1, 65_536),
            pause_ms=table.duration("pause", 5),
            timeout_ms=table.duration("timeout", 1500, minimum=10),
            mix=mix,
            transactors=table.whole("transactors", 2, 0, 64),
            lockers=table.whole("lockers", 2, 0, 64),
        )

    def _fault(self, table: "_Table", seed: int) -> Step:
        table.only("at", "repeat", *_RULE_KEYS)
        raw = table.raw
        for_ms = table.duration("for", 0)
        args = {_RULE_KEYS[key]: value for key, value in raw.items() if key in _PLAIN_KEYS}
        args |= {"every_ms": table.duration("every", 0), "seed": raw.get("seed", seed)}
        args.setdefault("name", raw.get("kind", ""))
        name = str(args["name"])
        step = Step(
            at_ms=table.duration("at", 0), name=name, args=args, for_ms=for_ms, line=table.start
        )
        try:
            _try_rule(step, [])
        except FaultError as error:
            raise table.error(_key_in(str(error), raw), str(error)) from None
        return step

    def _crash(self, table: "_Table", _seed: int) -> Step:
        table.only(*_TIMED)
        on = table.raw.get("on")
        if not isinstance(on, str) or not on or "," in on or on in ("*", "@followers"):
            raise table.error("on", 'on is one node, such as "n1", "@leader" or "@follower"')
        return Step(at_ms=table.duration("at", 0), name="crash", on=on, line=table.start)

    def line_of(self, header: str, place: int, key: str = "") -> int:
        """The line of a key in the ``place``-th table of that name, or else of its header."""
        pattern = re.compile(rf"\s*\[+\s*{header}\s*\]+")
        starts = [n for n, line in enumerate(self._lines, 1) if pattern.match(line)]
        start = starts[place] if header and place < len(starts) else 0
        for number in range(start + 1, len(self._lines) + 1):
            line = self._lines[number - 1]
            if line.lstrip().startswith("["):
                if re.match(rf"\s*\[+\s*{re.escape(key)}\s*\]", line) and not header:
                    return number
                if header:
                    break
            elif key and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[.=]""", line):
                return number
        return max(start, 1)

    def error(self, line: int, words: str) -> PlanError:
        return PlanError(f"{self._path}:{line}: {words}")


class _Table:
    """One table of the plan, its values checked as they are taken."""

    def __init__(self, reader: _Reader, header: str, place: int, raw: dict[str, Any]) -> None:
        self.raw = raw
        self._reader = reader
        self._header = header
        self._place = place
        self.start = reader.line_of(header, place)

    def line(self, key: str) -> int:
        return self._reader.line_of(self._header, self._place, key)

    def error(self, key: str, words: str) -> PlanError:
        where = f"[[{self._header}]] " if self._header in ("fault", "crash") else ""
        return self._reader.error(self.line(key), f"{where}{words}")

    def only(self, *known: str) -> None:
        for key in self.raw:
            if key not in known:
                raise self.error(key, f'unknown key "{key}"; {nearest(key, known)}')

    def whole(self, key: str, default: int, minimum: int, maximum: int) -> int:
        value = self.raw.get(key, default)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.error(key, f"{key} is a whole number from {minimum} to {maximum}")
        return value

    def duration(self, key: str, default: int, minimum: int = 0) -> int:
        """Milliseconds."""
        value = self.raw.get(key)
        if value is None:
            return default
        try:
            found = parse_duration_ms(value) if isinstance(value, str) else -1
        except ValueError:
            found = -1
        if not minimum <= found <= DURATION_MS_MAX:
            raise self.error(key, f'{key} is a duration in quotes, such as "500ms" or "2s"')
        return found


_PLAIN_KEYS = ("name", "kind", "from", "to", "on", "message", "probability", "ms", "oneway",
               "persist")  # fmt: skip
_RULE_KEYS = {key: key for key in (*_PLAIN_KEYS, "every", "for", "seed")}
_RULE_KEYS["message"] = "message_kinds"


def _key_in(message: str, raw: Mapping[str, Any]) -> str:
    """The key that an error of parse_rule is about, to find its line."""
    plain = message.replace("message kinds", "message").replace("kind of message", "message")
    words = re.findall(r"[a-z_]+", plain)
    named = [word.removesuffix("_ms") for word in words]
    return next((word for word in named if word in raw), "kind" if "kind" in raw else "")


def _try_rule(step: Step, nodes: list[str]) -> None:
    """Raises FaultError unless a daemon with these nodes (none: any) would take the rule."""
    stand_in = nodes[0] if nodes else "n"
    args = dict(step.args) if step.args is not None else _CRASH | {"on": step.on}
    bridge = args.get("kind") == "bridge"
    for key in ("from", "to", "on"):
        names = args.get(key)
        if isinstance(names, str):
            parts = [part.strip() for part in names.split(",")]
            for part in parts:
                if part.startswith("@") and part not in ROLES:
                    raise FaultError(f'{key}: unknown role "{part}"; {nearest(part, ROLES)}')
            args[key] = ",".join(stand_in if part in ROLES else part for part in parts)
    known = nodes or (["n", "one", "other", str(args.get("on"))] if bridge else [])
    kinds = PEER_KIND_NAMES.values()
    parse_rule(args | {"for_ms": step.for_ms}, nodes=known, message_kinds=kinds)


_CRASH = {"name": "crash", "kind": "crash"}


def _repeated(table: _Table, step: Step, length_ms: int) -> list[Step]:
    """A step, and the same again each ``repeat``, until the end; nothing after it."""
    repeat_ms = table.duration("repeat", 0)
    if not repeat_ms:
        return [step] if step.at_ms < length_ms else []
    if step.args is not None and not 0 < step.for_ms < repeat_ms:
        raise table.error("repeat", "what is repeated needs a for that is shorter than repeat")
    if repeat_ms < 100:
        raise table.error("repeat", "repeat is at least 100ms")
    return [replace(step, at_ms=at_ms) for at_ms in range(step.at_ms, length_ms, repeat_ms)]
