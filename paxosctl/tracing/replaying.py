"""One trace, replayed to its end, to a point, or to the first difference."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paxosctl.tracing.trace_files import read_file
from paxosd import __version__
from paxosd.trace.blocks import TraceError
from paxosd.trace.feed import Difference
from paxosd.trace.operations import FIRST_OUTPUT
from paxosd.trace.reader import TraceFile, Turn, read_trace
from paxosd.trace.replay import Replay
from paxosd.trace.words import message_words, words

ENDS = {
    "closed": "the node ended in order",
    "node": "the node failed",
    "full": "trace.bytes_max was used up: the node went on",
    "behind": "the recording fell behind: the node went on",
    "disk": "the recording's disk failed: the node went on",
}


@dataclass(frozen=True, slots=True)
class Point:
    """Where to stop: behind the turn that applies ``slot``, or behind ``turn``; 0: not by this."""

    slot: int = 0
    turn: int = 0

    def is_reached(self, turn: Turn) -> bool:
        """Whether this turn is the last one wanted."""
        return 0 < self.slot <= turn.applied or 0 < self.turn <= turn.number


END_OF_TRACE = Point()


@dataclass(slots=True)
class Outcome:
    """What a replay came to. ``verdict``: identical, different, or not started (the run had ended
    before the node had). ``difference``: in plain values, where there is one."""

    file: Path
    node: str
    boot_count: int
    verdict: str
    turns: int
    turns_recorded: int
    messages: int
    applied: int
    end: str
    notes: list[str]
    difference: dict[str, Any] | None = None
    reached: bool = False
    """Whether it came to the point where it was to stop."""

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": str(self.file),
            "node": self.node,
            "boot_count": self.boot_count,
            "verdict": self.verdict,
            "turns": self.turns,
            "turns_recorded": self.turns_recorded,
            "messages": self.messages,
            "applied": self.applied,
            "end": self.end,
            "notes": self.notes,
            "difference": self.difference,
        }


def replay_file(
    path: Path, until: Point = END_OF_TRACE, show: Callable[[str], object] | None = None
) -> Outcome:
    """Replay it. ``show``: takes a line for each thing that happens. Raises TraceError for what is
    no trace, StreamError, RefusedError."""
    return replay_bytes(read_file(path), path, until, show)


def replay_bytes(
    data: bytes,
    path: Path,
    until: Point = END_OF_TRACE,
    show: Callable[[str], object] | None = None,
) -> Outcome:
    """Replay the contents of a file. ``path``: its name, for people. Raises TraceError."""
    try:
        trace = read_trace(data)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error
    outcome = Outcome(path, trace.head.node, 0, "identical", 0, len(trace.turns), 0, 0,
                      _end_of(trace), _notes(trace))  # fmt: skip
    if trace.start is None:
        outcome.verdict = "not started"
        return outcome
    replay: Replay | None = None
    try:
        replay = Replay(trace)
        outcome.boot_count = replay.replica.options.boot_count
        outcome.reached = _run(replay, until, show)
    except Difference as difference:
        outcome.verdict = "different"
        outcome.difference = _describe(difference, replay, trace)
    except Exception as error:  # noqa: BLE001 - whatever it is: the node goes another way
        outcome.verdict = "different"
        words_ = f"the start fails: {type(error).__name__}: {error}"
        outcome.difference = {"turn": 0, "expected": "the node starts", "got": words_, "inputs": []}
    if replay is not None:
        outcome.turns, outcome.messages = replay.turns, replay.bus.messages
        outcome.applied = replay.replica.node.applied
    return outcome


def _run(replay: Replay, until: Point, show: Callable[[str], object] | None) -> bool:
    """Whether the point is reached."""
    for turn in replay.trace.turns:
        if show is None:
            replay.step(turn)
        else:
            try:
                replay.step(turn)
            finally:
                for line in _turn_lines(replay, turn):
                    show(line)
        if until.is_reached(turn):
            return True
    return False


def _turn_lines(replay: Replay, turn: Turn) -> Iterator[str]:
    """What happened in a turn; nothing for one in which nothing did."""
    if not (turn.operations or replay.log.lines):
        return
    yield (
        f"turn {turn.number}  {when(turn.wall_ms)}  applied {turn.applied}"
        f"{'  leads' if turn.leading else ''}"
    )
    did = iter(replay.feed.did)
    for operation in turn.operations:
        arrow = "  <-" if operation[0] < FIRST_OUTPUT else "  ->"
        line = words(operation)
        if operation[0] >= FIRST_OUTPUT:
            objects = next(did, ())
            message = objects[-1] if objects else None
            if hasattr(message, "_fields"):
                line += f"  {message_words(message)}"
        yield f"{arrow} {line}"
    for level, event, fields in replay.log.lines:
        shown = " ".join(f"{name}={value}" for name, value in fields.items())
        yield f"  log {level} {event} {shown}"


def when(wall_ms: int) -> str:
    """A time of the node's own clock; UTC."""
    moment = datetime.fromtimestamp(wall_ms / 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{wall_ms % 1000:03d}"


def _end_of(trace: TraceFile) -> str:
    if trace.end is None:
        return "killed, or still running: what came after the last block is missing"
    reason, said = trace.end
    text = ENDS.get(reason, reason)
    return f"{text}: {said}" if reason == "node" else text


def _notes(trace: TraceFile) -> list[str]:
    notes = []
    if trace.ending.reason:
        notes.append(f"{trace.ending.reason}: {trace.ending.lost_bytes} bytes are not used")
    if trace.head.version != __version__:
        notes.append(
            f"recorded by paxosd {trace.head.version}, replayed by {__version__}: what differs may "
            "be meant to"
        )
    return notes


def _describe(difference: Difference, replay: Replay | None, trace: TraceFile) -> dict[str, Any]:
    turn = replay.turn if replay is not None else None
    got = words(difference.got)
    if replay is not None and replay.feed.did and isinstance(difference.got, list):
        message = replay.feed.did[-1][-1]
        if hasattr(message, "_fields"):
            got += f"  {message_words(message)}"
    described: dict[str, Any] = {
        "turn": 0 if turn is None else turn.number,
        "time": when(trace.head.wall_ms if turn is None else turn.wall_ms),
        "applied": 0 if replay is None else replay.replica.node.applied,
        "operation": difference.place + 1,
        "expected": words(difference.expected),
        "got": got,
    }
    operations = (trace.start or ()) if turn is None else turn.operations
    described["inputs"] = [words(each) for each in operations if each[0] < FIRST_OUTPUT]
    return described
