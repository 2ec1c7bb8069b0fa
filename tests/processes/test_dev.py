"""``paxosd dev`` with real nodes: as a person in a terminal would see it."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from tests.processes.ports import free_ports
from tests.processes.processes import clean_environ, full_pipe, wait_for


class Dev:
    """One run of ``paxosd dev`` and what it has printed so far."""

    def __init__(self, directory, base_port, *arguments):
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "paxosd", "dev", "--data-dir", str(directory), *arguments]
            + (["--base-port", str(base_port)] if base_port else []),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=clean_environ() | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def text(self):
        return "\n".join(self.lines)

    def wait_said(self, pattern, times=1):
        """Wait for so many lines that match; the last of them."""

        def find():
            found = [match for line in self.lines if (match := re.search(pattern, line))]
            return found[times - 1] if len(found) >= times else None

        try:
            return wait_for(find, 60.0, f"the words {pattern!r}")
        except AssertionError:
            pytest.fail(f"{pattern!r} is not in:\n{self.text}")

    def pid(self, name, run_id=1):
        return int(self.wait_said(rf"{name}\s+ready in .* pid (\d+)", run_id)[1])

    def end(self, sig=signal.SIGINT):
        """Ctrl-C, or another signal; the exit code."""
        self.process.send_signal(sig)
        code = self.process.wait(timeout=60)
        self._reader.join(10)
        self.process.stdout.close()
        return code


@pytest.fixture
def dev(tmp_path):
    """Starts a run on the test's directory and ports; all of them end with the test."""
    runs = []
    ports = free_ports(1)
    base_port = ports[0] - 10  # of node 1; the scheme spreads over 23 ports from there

    def start(*arguments, base=base_port):
        run = Dev(tmp_path / "data", base, *arguments)
        runs.append(run)
        return run

    start.base_port = base_port
    start.endpoints = [f"tcp://127.0.0.1:{base_port + 10 * i}" for i in (1, 2, 3)]
    yield start
    for run in runs:
        if run.process.poll() is None:
            run.end(signal.SIGTERM)


def revision_at(endpoint):
    """A node's revision; -1 if it does not answer."""
    try:
        with Client([endpoint], timeout_s=2.0) as client:
            return client.status()["revision"]
    except ClientError:
        return -1


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_from_the_first_start_to_the_second(dev, tmp_path):
    first = dev()
    first.wait_said("Ctrl-C here stops the cluster")
    text = first.text
    for endpoint in dev.endpoints:
        assert endpoint in text
    assert str(tmp_path / "data") in text
    for name in ("n1", "n2", "n3"):
        assert (tmp_path / "data" / f"{name}.toml").exists()
        assert f"{name}.log" in text
    commands = [line for line in first.lines if re.match(r"\s+\S*paxosctl|.* -m paxosctl", line)]
    assert len(commands) == 3
    assert f"export PAXOSCTL_ENDPOINTS={','.join(dev.endpoints)}" in text
    with Client(dev.endpoints, timeout_s=30.0) as client:
        client.put(b"greeting", b"hello")
    pids = [first.pid(name) for name in ("n1", "n2", "n3")]
    assert first.end() == 0
    assert not any(is_alive(pid) for pid in pids)
    # On a machine that is busy, one that takes longer than a second is killed, and one that has not
    # come so far as to heed the signal is ended by it: neither harms anything.
    assert len(re.findall(r"n\d\s+(?:stopped|ended: killed by SIG(?:KILL|TERM))", first.text)) == 3

    second = dev(base=None)  # the ports are those of the files
    second.wait_said("Ctrl-C here stops the cluster")
    assert "existing cluster" in second.text
    with Client(dev.endpoints, timeout_s=30.0) as client:
        assert client.get(b"greeting").value == b"hello"
    assert second.end(signal.SIGTERM) == 0


def test_a_child_that_dies_is_told_of_and_started_again(dev):
    run = dev("--restart-after", "1s")
    run.wait_said("Ctrl-C here stops the cluster")
    with Client(dev.endpoints, timeout_s=30.0) as client:
        client.put(b"k", b"1")
        os.kill(run.pid("n2"), signal.SIGKILL)
        run.wait_said(r"n2\s+ended: killed by SIGKILL")
        run.wait_said(r"n2\s+starts again in 1 s")
        client.put(b"k", b"2")
        assert run.pid("n2", 2) != run.pid("n2")
        revision = client.put(b"k", b"3")
    wait_for(lambda: revision_at(dev.endpoints[1]) >= revision, what="n2 to catch up")
    assert run.end() == 0


def test_never_leaves_it_down_and_prints_the_command(dev, tmp_path):
    run = dev("--restart-after", "never")
    run.wait_said("Ctrl-C here stops the cluster")
    os.kill(run.pid("n3"), signal.SIGKILL)
    command = run.wait_said(r"n3\s+left down; to start it: (.+)")[1]
    assert str(tmp_path / "data" / "n3.toml") in command
    by_hand = subprocess.Popen(
        command.split(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environ(),
    )
    try:
        with Client(dev.endpoints, timeout_s=30.0) as client:
            revision = client.put(b"by", b"hand")

        what = "the node that was started by hand"
        wait_for(lambda: revision_at(dev.endpoints[2]) >= revision, what=what)
    finally:
        by_hand.terminate()
        assert by_hand.wait(timeout=30) == 0
    assert run.end() == 0


def test_children_end_with_a_supervisor_that_is_killed(dev):
    run = dev()
    pids = [run.pid(name) for name in ("n1", "n2", "n3")]
    run.end(signal.SIGKILL)
    wait_for(lambda: not any(is_alive(pid) for pid in pids), what="the end of the children")


def test_a_screen_that_nobody_reads_stops_neither_the_cluster_nor_ctrl_c(dev, tmp_path):
    with full_pipe() as screen:
        command = [sys.executable, "-m", "paxosd", "dev", "--data-dir", str(tmp_path / "data")]
        process = subprocess.Popen(
            [*command, "--base-port", str(dev.base_port), "--nodes", "1"],
            stdin=subprocess.DEVNULL,
            stdout=screen,
            stderr=screen,
            env=clean_environ(),
            start_new_session=True,
        )
        try:
            with Client(dev.endpoints[:1], timeout_s=60.0) as client:
                client.put(b"k", b"v")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()


def test_a_second_cluster_on_the_same_ports_is_refused_before_it_starts(dev, tmp_path):
    first = dev()
    first.wait_said("Ctrl-C here stops the cluster")
    other = Dev(tmp_path / "other", dev.base_port)
    assert other.process.wait(timeout=60) == 69
    assert "another --base-port" in other.text
    other._reader.join(10)
    other.process.stdout.close()
    assert not list((tmp_path / "other").glob("*/wal"))
