"""What most tests of the command line use: a daemon in a thread, and a call of paxosctl."""

import io

import pytest

from paxosctl.cli.main import run
from tests.ctl.fake_daemon import FakeDaemon


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


@pytest.fixture
def ctl(daemon, capsysbinary, monkeypatch):
    """``ctl("get", "k") → (exit code, stdout, stderr)``, against the fake daemon."""

    def call(*arguments, stdin=b"", endpoints=daemon.endpoint):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(["--endpoints", endpoints, *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode("utf-8", "surrogateescape"), err.decode()

    return call
