"""A pytest file made of traces: it replays them, and fails as soon as a run goes another way."""

from base64 import b85encode
from pathlib import Path
from typing import NamedTuple

from paxosctl.evidence.running_nodes import is_node_name
from paxosctl.tracing.replaying import Outcome, Point, replay_bytes
from paxosctl.tracing.trace_files import read_file
from paxosd import __version__
from paxosd.trace.blocks import TraceError
from paxosd.trace.packing import pack_trace
from paxosd.trace.reader import read_trace

INLINE_BYTES_MAX = 16 << 10
"""A trace that takes no more is in the test itself."""
LINE_CHARS = 88

_TEST = '''"""Runs of nodes, executed again: made by `paxosctl trace to-test`, version {version}.

{about}
"""

from base64 import b85decode
from pathlib import Path

import pytest

from paxosctl.tracing.replaying import replay_bytes

RUNS = {{
{runs}}}
"""Name → turns, messages, the slot applied last, and the trace or the file that holds it."""


@pytest.mark.parametrize("name", RUNS)
def test_the_run_goes_as_it_was_recorded(name):
    *expected, trace = RUNS[name]
    if isinstance(trace, str):
        data = Path(__file__).with_name(trace).read_bytes()
    else:
        data = b85decode(b"".join(trace))
    outcome = replay_bytes(data, Path(name))
    assert outcome.verdict == "identical", outcome.difference
    assert [outcome.turns, outcome.messages, outcome.applied] == expected
'''


class NotIdenticalError(Exception):
    """A run that does not replay identically now makes no test; the text says which."""


class MadeTest(NamedTuple):
    """``files``: name → contents, all for one directory."""

    files: dict[str, bytes]
    runs: int
    turns: int


def make_test(paths: list[Path], name: str, until: Point) -> MadeTest:
    """The files of a test called ``name``. Raises TraceError, NotIdenticalError, StreamError."""
    files: dict[str, bytes] = {}
    runs: list[str] = []
    about: list[str] = []
    labels: set[str] = set()
    turns = 0
    for path in paths:
        data = read_file(path)
        outcome = replay_bytes(data, path, until)
        if outcome.verdict == "not started":
            continue
        if outcome.verdict != "identical":
            raise NotIdenticalError(
                f"{path} goes another way than it was recorded, at turn "
                f"{(outcome.difference or {}).get('turn')}: paxosctl trace replay shows how"
            )
        packed = pack_trace(read_trace(data), outcome.turns)
        label = _label(path, outcome, len(runs), labels)
        if len(packed) > INLINE_BYTES_MAX:
            attached = f"{name.removesuffix('.py')}-{label}.trc"
            files[attached] = packed
            runs.append(_run_line(label, outcome, repr(attached)))
        else:
            runs.append(_run_line(label, outcome, _inline(packed)))
        about.append(f"{label}: {outcome.turns} turns, slots up to {outcome.applied}.")
        turns += outcome.turns
    if not runs:
        raise NotIdenticalError("no run of these had begun: there is nothing to test")
    text = _TEST.format(version=__version__, about="\n".join(about), runs="".join(runs))
    return MadeTest({name: text.encode(), **files}, len(runs), turns)


def _label(path: Path, outcome: Outcome, number: int, taken: set[str]) -> str:
    """Node and start, and a number where another run is called so. It becomes a part of a file's
    name and of a program, and comes from who made the trace. Raises TraceError."""
    if not is_node_name(outcome.node):
        raise TraceError(f'{path}: "{outcome.node:.80}" is no name of a node')
    label = f"{outcome.node}-{outcome.boot_count}"
    label = label if label not in taken else f"{label}-{number + 1}"
    taken.add(label)
    return label


def _run_line(label: str, outcome: Outcome, trace: str) -> str:
    numbers = f"{outcome.turns}, {outcome.messages}, {outcome.applied}"
    return f'    "{label}": ({numbers}, {trace}),\n'


def _inline(packed: bytes) -> str:
    """The bytes as a tuple of lines."""
    text = b85encode(packed).decode()
    lines = [text[at : at + LINE_CHARS] for at in range(0, len(text), LINE_CHARS)]
    return "(\n" + "".join([f"        b{line!r},\n" for line in lines]) + "    )"
