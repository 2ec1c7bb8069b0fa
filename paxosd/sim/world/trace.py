"""What happened, one line an event: virtual time, node, event, fields.

    {"at": 1042.31, "event": "leader.elected", "leader": "n1", "node": "n2", …}

JSON with sorted keys and no spaces, so that equal runs have equal traces, byte for byte, on any
machine. ``keep="all"`` keeps every line and its digest; ``keep="tail"`` keeps the last few and
writes none of them out before somebody asks. A run without a trace has None in its place, and
then nothing is made at all.
"""

import hashlib
import json
from collections import deque
from typing import Any, Literal

TAIL_LINES = 400

Event = tuple[float, str, str, dict[str, Any]]
"""Virtual time in ms, node ("" for none), event name, fields."""


class Trace:
    """A record of one run. ``clock`` (a :class:`~paxosd.sim.world.world.World`) is set by the
    run."""

    __slots__ = ("_digest", "_events", "_keep", "clock", "count")

    def __init__(self, keep: Literal["all", "tail"] = "tail", tail_lines: int = TAIL_LINES) -> None:
        self.clock: Any = None
        """Whatever has ``now_ms``."""
        self.count = 0
        self._keep = keep
        self._events: deque[Event | str] = deque(maxlen=None if keep == "all" else tail_lines)
        self._digest = hashlib.sha256()

    def add(self, node: str, event: str, fields: dict[str, Any]) -> None:
        """Something happened now. The fields must not change any more (but see "all")."""
        self.count += 1
        now_ms = self.clock.now_ms if self.clock is not None else 0.0
        entry: Event = (now_ms, node, event, fields)
        if self._keep == "all":
            line = render(entry)
            self._digest.update(line.encode() + b"\n")
            self._events.append(line)
        else:
            self._events.append(entry)

    def lines(self) -> list[str]:
        """What was kept, oldest first."""
        return [each if isinstance(each, str) else render(each) for each in self._events]

    def events(self) -> list[dict[str, Any]]:
        """The same, parsed: ``at``, ``node``, ``event`` and the fields."""
        return [json.loads(line) for line in self.lines()]

    def digest(self) -> str:
        """SHA-256 in hex over all lines of the run; with "tail", over those kept."""
        if self._keep == "all":
            return self._digest.hexdigest()
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()


def render(entry: Event) -> str:
    """One event as its line."""
    now_ms, node, event, fields = entry
    # The fields first: none of them may hide the three that every line has.
    whole = {**fields, "at": round(now_ms, 3), "node": node, "event": event}
    return json.dumps(whole, sort_keys=True, separators=(",", ":"), default=plain_value)


def plain_value(value: Any) -> Any:
    """Bytes as text where they are text; anything else by its kind alone, never by address."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, frozenset | set):
        return sorted(map(str, value))
    return f"<{type(value).__name__}>"


class TraceLog:
    """The ``Log`` of :mod:`paxosd.replica.replica`: one node's log lines go into the trace."""

    __slots__ = ("_node", "_trace")

    def __init__(self, trace: Trace | None, node: str) -> None:
        self._trace = trace
        self._node = node

    def debug(self, event: str, **fields: Any) -> None:
        """A protocol event."""
        if self._trace is not None:
            self._trace.add(self._node, event, fields)

    info = warning = error = debug
