"""Tables on terminals from 60 to 200 columns: fewer columns where it is narrow, no broken word."""

import contextlib
import os
import pty
import random
import subprocess
import sys
import termios

import pytest

from paxosctl.cli.tables import cell_width, indented, layout
from paxosctl.commands.cluster import COLUMNS, OPTIONAL
from paxosctl.commands.teach_view import StoryView
from paxosctl.faultrun.view import COLUMNS as FAULT_COLUMNS
from paxosctl.faultrun.view import OPTIONAL as FAULT_OPTIONAL
from paxosctl.member.view import COLUMNS as MEMBER_COLUMNS
from paxosctl.member.view import OPTIONAL as MEMBER_OPTIONAL
from paxosd.sim.teach.teach import NAMES, play
from tests.ctl.fake_daemon import FakeDaemon

WIDTHS = range(60, 201)

STATUS_ROWS = [
    ["n1", "leader", "3:12.n1", "n1", "3:12.n1", 1234567, 1234567, 0, "5 of 5", "2", "73.1 GiB",
     "64.0 MiB", "1200000, 14 min old", "0.2.0", 4],
    ["node-in-rack-2", "memory-lost", "3:12.n1", "n1", "-", 1234567, 1234501, 66,
     "5 of 5 (4 votes)", "no quorum", "73.1 GiB", "64.0 MiB", "-", "0.1.0", "-"],
    ["n3", "unreachable", *["-"] * 13],
]  # fmt: skip
MEMBER_ROWS = [
    ["n1", "leader", "yes", 3, 1234567, 0, "tcp://10.20.30.41:7401", "tcp://10.20.30.41:7400",
     "tcp://10.20.30.41:7402"],
    ["node-in-rack-2", "memory-lost", "no", "-", "-", "-", "tcp://node-in-rack-2.example:7401",
     "tcp://node-in-rack-2.example:7400", "tcp://node-in-rack-2.example:7402"],
]  # fmt: skip
FAULT_ROWS = [
    ["n1", "cut-the-leader", "partition", "n1 ↔ n2,n3", "", "29s", "120"],
    ["n2", "slow-votes", "delay", "* → n1 accept,accepted", "250ms p 0.5 persist", "no end", "7"],
]
VALUES = [
    ["peers", "n2 (reachable, its clock 1.5 s behind), n3 (silent for 12.0 s)"],
    ["disk", "73.1 GiB free, log 64.0 MiB, at /var/lib/paxosd/some-cluster/some-node/data"],
]
TABLES = {
    "status": (COLUMNS, STATUS_ROWS, OPTIONAL),
    "member": (MEMBER_COLUMNS, MEMBER_ROWS, MEMBER_OPTIONAL),
    "fault": (FAULT_COLUMNS, FAULT_ROWS, FAULT_OPTIONAL),
    "values": (("", ""), VALUES, ()),
    "plan": (("", "now", "then"), [["voters", "n1, n2, n3", "n1, n2, node-in-rack-4, n5"]], ()),
}


def words_of(*rows):
    return {word for row in rows for cell in row for word in str(cell).split()}


def check(columns, rows, optional, width):
    """Every word is whole and, unless it alone is too wide, within the terminal."""
    lines = layout(columns, rows, optional, width=width)
    known = words_of(columns, *rows)
    shown = {word for line in lines for word in line.split()}
    assert shown <= known, f"broken at {width}: {sorted(shown - known)}"
    kept = [at for at, name in enumerate(columns) if name not in optional]
    needed = words_of(*[[row[at] for at in kept] for row in rows])
    assert needed <= shown, f"lost at {width}: {sorted(needed - shown)}"
    longest = max(map(cell_width, known))
    heads = max(map(cell_width, columns)) + 2
    for line in lines:
        assert cell_width(line) <= width or longest + heads > width, (width, line)
    return lines


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("table", TABLES)
def test_no_word_is_broken_and_no_line_too_long(table, width):
    check(*TABLES[table], width)


@pytest.mark.parametrize("width", range(20, 60))
def test_a_very_narrow_terminal_gets_a_block_for_each_row(width):
    lines = check(*TABLES["status"], width)
    assert any(line.split() == ["node", "n1"] for line in lines) or width > 45


def test_a_wide_terminal_and_a_pipe_have_every_column():
    for width in (200, None):
        head = layout(*TABLES["status"], width=width)[0]
        assert head.split("  ") != []
        assert all(name in head for name in COLUMNS)


def test_what_goes_first_is_what_can_be_done_without():
    heads = [layout(*TABLES["status"], width=width)[0] for width in WIDTHS]
    counts = [sum(name in head.split() for name in COLUMNS) for head in heads]
    assert counts == sorted(counts), "a wider terminal never shows less"
    assert all("node" in head and "role" in head for head in heads)


def test_drawn_tables():
    """Any words in any number of columns."""
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(300):
        names = [f"column{at}" for at in range(rng.randint(1, 12))]
        rows = [
            [" ".join("w" * rng.randint(1, 12) for _ in range(rng.randint(1, 6))) for _ in names]
            for _ in range(rng.randint(0, 5))
        ]
        optional = rng.sample(names, rng.randint(0, len(names) - 1))
        check(names, rows, optional, rng.randint(20, 200))


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_fits_any_terminal_with_whole_words(name):
    story = play(name, 1)
    whole = set(StoryView(story, width=400, colour=False).text().split())
    for width in (*range(60, 82, 3), 100, 120, 200):
        lines = StoryView(story, width=width, colour=False).text().splitlines()
        assert [line for line in lines if cell_width(line) > width] == []
        shown = {word for line in lines for word in line.split()} - {"═" * width}
        broken = {each for each in shown - whole if not set(each) <= set("─═")}
        # A hyphen may end a line.
        assert all(any(each in word for word in whole if "-" in word) for each in broken), broken


def test_the_head_of_a_narrow_table_is_wrapped_as_its_cells_are():
    lines = layout(("n", "accepted in slot 2"), [["n1", "x"]], width=12)
    assert lines == ["n   accepted", "    in slot", "    2", "n1  x"]


def test_wide_characters_and_lines_within_a_cell():
    lines = layout(("k", "v"), [["a", "数据"], ["b", "one\ntwo"]], width=None)
    assert lines == ["k  v", "a  数据", "b  one", "   two"]


TROUBLE = """paxosctl: no endpoint can be reached; not submitted, safe to try again
  tcp://n1.example:7410  something listens there, but says nothing: the daemon hangs or is stopped \
(its machine takes the connection, the process does not), or it is no paxosd
  If it still listens at its old endpoints, change them in its file"""


@pytest.mark.parametrize("width", [*WIDTHS, 20])
def test_what_goes_to_standard_error_has_whole_words_too(width):
    lines = indented(TROUBLE, width)
    assert " ".join(" ".join(lines).split()) == " ".join(TROUBLE.split())
    longest = max(len(word) for word in TROUBLE.split())
    assert all(len(line) <= max(width, longest + 4) for line in lines)
    if width == 60:
        assert lines[:5] == [
            "paxosctl: no endpoint can be reached; not submitted, safe to",
            "  try again",
            "  tcp://n1.example:7410  something listens there, but says",
            "    nothing: the daemon hangs or is stopped (its machine",
            "    takes the connection, the process does not), or it is no",
        ]


@pytest.mark.parametrize("arguments", [["bench", "put", "--count", "10"], ["get", "missing"]])
def test_a_verb_on_a_terminal_of_40_columns_breaks_no_word(arguments):
    """With a real terminal on standard output and error."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 40))
    dead = "tcp://127.0.0.1:1"
    with FakeDaemon() as daemon:
        where = daemon.endpoint if arguments[0] == "bench" else dead
        done = subprocess.Popen(
            [sys.executable, "-m", "paxosctl", "--endpoints", where, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs,
            env={name: each for name, each in os.environ.items() if name != "COLUMNS"},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # so a terminal says that its other end has gone
            while piece := os.read(ours, 4096):
                shown += piece
        done.wait()
        os.close(ours)
    lines = shown.decode().splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 40 for line in lines), lines
