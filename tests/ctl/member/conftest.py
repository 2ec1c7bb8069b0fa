"""A cluster of three to change the membership of: real verbs against daemons without Paxos."""

import contextlib

import pytest

from paxosctl.cli.main import run
from paxosctl.member import change as member_steps
from tests.ctl.fake_daemon import FakeDaemon
from tests.ctl.member.trio import where


@pytest.fixture
def trio():
    """Three daemons of one cluster, n1 leads."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(FakeDaemon("n1"))
        yield [first, *(stack.enter_context(FakeDaemon(n, follows=first)) for n in ("n2", "n3"))]


@pytest.fixture
def n4(trio):
    """A daemon that wants to join."""
    with FakeDaemon("n4", follows=trio[0], member=False) as newcomer:
        yield newcomer


@pytest.fixture
def ctl(trio, capsys, monkeypatch):
    """``ctl("list") → (exit code, stdout, stderr)``, of ``paxosctl member``."""
    monkeypatch.setattr(member_steps, "SETTLE_MS", 700)
    monkeypatch.setattr(member_steps, "STALL_MS", 700)

    def call(*arguments, endpoints=trio[0].endpoint, timeout="2s"):
        code = run(["--endpoints", endpoints, "--timeout", timeout, "member", *arguments])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def learner(ctl, n4):
    """n4, a member without a vote."""
    assert ctl("add", "n4", *where(n4), "--learner")[0] == 0
    return n4
