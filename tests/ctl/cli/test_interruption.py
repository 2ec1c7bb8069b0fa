"""What ends a verb from outside leaves nothing half done behind."""

import os
import signal
import subprocess
import sys

import pytest

from paxosctl.cli.new_file import new_file
from tests.ctl.fake_daemon import FakeDaemon
from tests.processes.processes import wait_for


def begin_bundle(tmp_path, daemon, *before):
    """A verb that has begun a file and a directory, and waits for a node that is silent."""
    (tmp_path / "scratch").mkdir()
    command = [*before, sys.executable, "-m", "paxosctl", "--timeout", "60s", "debug", "bundle"]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "b.tar.zst")],
        env={"PAXOSCTL_ENDPOINTS": daemon.endpoint, "TMPDIR": str(tmp_path / "scratch")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: list(tmp_path.glob("*.part")), what="a file is begun")
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_was_begun_is_removed(tmp_path, number):
    with FakeDaemon() as daemon:
        daemon.silent = True
        process = begin_bundle(tmp_path, daemon)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    assert (out, b"Traceback" in err) == (b"", False)
    assert [each.name for each in tmp_path.iterdir()] == ["scratch"]
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_signal_that_is_to_be_ignored_is(tmp_path):
    with FakeDaemon() as daemon:
        daemon.silent = True
        process = begin_bundle(tmp_path, daemon, "/usr/bin/nohup")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def test_an_interruption_just_when_the_file_is_there(tmp_path, monkeypatch):
    real = os.open

    def interrupted(*given):
        descriptor = real(*given)
        os.close(descriptor)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "open", interrupted)
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "b", force=False):
        pass
    assert list(tmp_path.iterdir()) == []
