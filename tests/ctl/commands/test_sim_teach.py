"""``paxosctl sim teach`` as a user meets it: formats, exit codes, colours, stepping."""

import codecs
import json
import os
import pty
import select
import subprocess
import sys

import pytest

from paxosctl.cli.main import run
from paxosctl.commands.teach_view import StoryView
from paxosd.core.quorum import Quorums
from paxosd.sim.teach.teach import NAMES, play


@pytest.fixture
def ctl(capsys):
    def call(*arguments):
        code = run(["sim", "teach", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_without_a_name_it_lists_them(ctl):
    code, out, _ = ctl()
    assert code == 0
    for name, about in NAMES.items():
        assert f"{name} " in out
        assert about in out
    assert [row["lesson"] for row in json.loads(ctl("-o", "json")[1])["lessons"]] == list(NAMES)
    assert ctl("-o", "plain")[1].splitlines()[0].split("\t")[0] == "happy-path"


def test_a_lesson_as_text(ctl):
    code, out, err = ctl("happy-path")
    assert (code, err) == (0, "")
    assert out.startswith("happy-path: One leader, one write\n")
    assert "✓ Checked: all three nodes applied the same value in slot 2." in out
    assert "Lamport, “Paxos Made Simple”" in out
    assert "\x1b" not in out, "no colours but on a terminal"
    assert ctl("happy-path") == (0, out, ""), "the same seed, the same text"
    assert ctl("happy-path", "-o", "plain") == (0, out, "")
    assert ctl("happy-path", "--seed", "2")[1] != out


def test_a_lesson_as_data(ctl):
    code, out, _ = ctl("leader-crash", "-o", "json", "--seed", "3")
    story = json.loads(out)
    assert (code, story["lesson"], story["seed"], story["failure"]) == (0, "leader-crash", 3, "")
    types = {part["type"] for part in story["parts"]}
    assert types == {"act", "remark", "step", "check", "table"}


def test_an_unknown_name_is_refused_with_the_nearest(ctl):
    code, out, err = ctl("hapy-path")
    assert (code, out) == (2, "")
    assert 'there is no scenario "hapy-path"; did you mean "happy-path"?' in err
    code, _, err = ctl("zzz")
    assert code == 2
    assert "wiped-acceptor" in err, "all of them, where none is near"


def test_a_claim_that_does_not_hold_is_exit_code_1(ctl, monkeypatch):
    monkeypatch.setattr(Quorums, "phase1_met", lambda self, mask: mask.bit_count() >= 1)
    code, out, err = ctl("lost-promise")
    assert code == 1
    assert "this did not hold" in err
    assert ctl("lost-promise", "-o", "json")[0] == 1
    assert out == "" or "FAILED" in out


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_the_terminal(name):
    story = play(name)
    for width in (80, 100):
        text = StoryView(story, width=width, colour=False).text()
        assert [line for line in text.splitlines() if len(line) > width] == []


def test_colours_change_nothing_but_colours():
    story = play("happy-path")
    plain = StoryView(story, width=80, colour=False).text()
    coloured = StoryView(story, width=80, colour=True).text()
    assert "\x1b[" in coloured
    stripped = "".join(
        piece.partition("m")[2] if at else piece for at, piece in enumerate(coloured.split("\x1b["))
    )
    assert stripped == plain


class Terminal:
    """``paxosctl`` on a terminal of its own, 80 columns wide."""

    def __init__(self, *arguments, **variables):
        self.fd, child = pty.openpty()
        environment = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paxosctl", *arguments],
            stdin=child,
            stdout=child,
            stderr=child,
            env=environment,
        )
        os.close(child)
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read_until(self, condition):
        """Read on until it holds or the program ends."""
        while not condition(self.seen):
            assert select.select([self.fd], [], [], 30)[0], f"stuck after: {self.seen[-300:]}"
            try:
                piece = os.read(self.fd, 65536)
            except OSError:  # how Linux ends a terminal
                break
            if not piece:
                break
            self.seen += self._decoder.decode(piece)  # a piece may end within a character

    def end(self):
        self.read_until(lambda seen: False)
        os.close(self.fd)
        return self.process.wait(30)


def test_colours_on_a_terminal():
    terminal = Terminal("sim", "teach", "happy-path")
    assert terminal.end() == 0
    assert "\x1b[" in terminal.seen


def test_no_color_is_respected():
    terminal = Terminal("sim", "teach", "happy-path", NO_COLOR="1")
    assert terminal.end() == 0
    assert "Checked" in terminal.seen
    assert "\x1b[" not in terminal.seen


def test_step_waits_for_enter_before_each_step():
    terminal = Terminal("sim", "teach", "happy-path", "--step", NO_COLOR="1")
    terminal.read_until(lambda seen: "Enter" in seen)
    assert "  1 " not in terminal.seen
    assert "You will see" in terminal.seen
    os.write(terminal.fd, b"\n")
    terminal.read_until(lambda seen: seen.count("Enter") >= 2)
    assert "PreVote 1.n1" in terminal.seen
    assert "PreVoteReply" not in terminal.seen
    os.write(terminal.fd, b"q\n")
    assert terminal.end() == 0
    assert "What to remember" not in terminal.seen


def test_step_without_a_terminal_does_not_wait(ctl):
    assert ctl("happy-path", "--step") == ctl("happy-path")
