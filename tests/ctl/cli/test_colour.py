"""Colours: on a terminal that takes them, and nowhere else; ``--color`` decides otherwise."""

import io
import subprocess
import sys

import pytest

from paxosd.host.colour import is_dumb, may_colour
from tests.ctl.fake_daemon import FakeDaemon
from tests.ctl.terminal import INK, paxosctl

DRAW = {
    "get --prefix": ["get", "k", "--prefix"],
    "get --meta": ["get", "k", "--meta"],
    "lease list": ["lease", "list"],
    "status": ["status"],
    "status --cluster": ["status", "--cluster"],
    "hash": ["hash"],
    "member list": ["member", "list"],
    "cluster show": ["cluster", "show"],
    "fault list": ["fault", "list"],
    "bench put": ["bench", "put", "--count", "3"],
    "context list": ["context", "list"],
    "sim run": ["sim", "run", "--seeds", "1..2", "--duration", "1s", "--operations", "10"],
    "sim teach": ["sim", "teach"],
    "sim teach happy-path": ["sim", "teach", "happy-path"],
    "log timeline": ["log", "timeline", "RECORDED"],
    "log nodes": ["log", "nodes", "RECORDED"],
    "log slot": ["log", "slot", "3", "RECORDED"],
    "why-slow": ["why-slow", "RECORDED"],
    "audit": ["audit", "RECORDED"],
}
"""Each verb that draws anything: tables, stories, progress."""
PLAIN = {"get --meta", "lease list", "status", "fault list", "bench put"}
"""Those whose answer has no colours here in any case: a block for each row, or no table."""


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    command = ["sim", "run", "--seed", "1", "--duration", "1s", "--record", str(path / "recorded")]
    done = subprocess.run(
        [sys.executable, "-m", "paxosctl", *command], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return str(path / "recorded")


@pytest.fixture(scope="module")
def daemon():
    with FakeDaemon() as fake:
        yield fake


@pytest.fixture
def drawn(daemon, recorded):
    def call(name, *options, **environment):
        words = [recorded if each == "RECORDED" else each for each in DRAW[name]]
        with paxosctl(
            *options, *words, PAXOSCTL_ENDPOINTS=daemon.endpoint, **environment
        ) as terminal:
            code, seen = terminal.end()
        assert code in (0, 1), seen
        assert seen
        return seen

    return call


@pytest.mark.drawn(3)
@pytest.mark.parametrize("name", DRAW)
class TestEveryVerbThatDraws:
    def test_has_none_where_the_user_wants_none(self, drawn, name):
        assert not INK.findall(drawn(name, NO_COLOR="1"))
        assert not INK.findall(drawn(name, "--color", "never"))

    def test_sends_nothing_but_text_to_a_dumb_terminal(self, drawn, name):
        assert b"\x1b" not in drawn(name, TERM="dumb")

    def test_has_them_where_they_are_asked_for(self, drawn, name):
        found = drawn(name, "--color", "always", NO_COLOR="1")
        assert bool(INK.findall(found)) == (name not in PLAIN)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_pipe_gets_them_if_they_are_asked_for(daemon, place):
    verb, option = ["member", "list"], ["--color", "always"]
    words = [*option, *verb] if place == "before" else [*verb, *option]
    command = [sys.executable, "-m", "paxosctl", "--endpoints", daemon.endpoint]
    for more, wanted in (([], False), (words, True)):
        done = subprocess.run(
            [*command, *(more or verb)], capture_output=True, timeout=60, check=False
        )
        assert bool(INK.search(done.stdout)) is wanted
    done = subprocess.run(
        [*command, *words, "-o", "plain"], capture_output=True, timeout=60, check=False
    )
    assert not INK.search(done.stdout), "plain is byte-exact"


def test_the_rule():
    assert may_colour(Screen(), {})
    assert may_colour(Screen(), {"NO_COLOR": "", "TERM": "xterm"})
    assert not may_colour(Screen(), {"NO_COLOR": "0"})
    assert not may_colour(Screen(), {"TERM": "dumb"})
    assert is_dumb({"TERM": "dumb"})
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), None, closed):
        assert not may_colour(stream, {})
