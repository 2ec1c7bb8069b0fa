"""What one put of one client costs each daemon in system calls: counted, not timed.

What a daemon calls by itself meanwhile (heartbeats, timers) is measured before, for a daemon
without load, and taken off by the time that the puts took: under ``strace``, on a busy machine,
this is most of it. The bounds have room for what differs from run to run; they catch what costs a
turn, a sync or a wake-up more for each message of a put.
"""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.bench.compare_syscalls import calls_of
from tests.processes.processes import Daemons, wait_for

MOST = {"follower": 90, "leader": 220}
"""Calls for one put. In runs on machines of two cores, idle ones and such with ten times the work
that they can do, a follower took 25 to 42, a leader up to 113."""
PATIENT = {"election_timeout_ms": 6000, "heartbeat_ms": 500}
"""A leader that is traced on a busy machine is slow, and is to stay."""
PUTS = 150
IDLE_S = 2.0
SYNCS = ("fdatasync", "fsync", "pwritev", "pwrite64", "pwritev2")

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


class Strace:
    """Counts the calls of all threads of one process; use it as a context manager."""

    def __init__(self, pid, path):
        self._pid, self._path = pid, path
        self.seconds = 0.0
        self.calls = {}

    def __enter__(self):
        self._process = subprocess.Popen(
            ["strace", "-c", "-f", "-o", str(self._path), "-p", str(self._pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(self._attached, what="strace to be attached")
        self._began_s = time.monotonic()
        return self

    def _attached(self):
        if self._process.poll() is not None:
            pytest.skip(f"strace may not trace here: {self._process.stderr.read().strip()}")
        tasks = Path(f"/proc/{self._pid}/task").glob("*/status")
        return all("TracerPid:\t0\n" not in each.read_text() for each in tasks)

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self._began_s
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=60)
        self._process.stderr.close()
        if self._path.exists():
            self.calls = calls_of(self._path.read_text())


def idle_rate(pid, path):
    """{call: calls a second} of a daemon without load."""
    with Strace(pid, path) as traced:
        time.sleep(IDLE_S)  # the measured part: nothing happens in it
    return {name: count / traced.seconds for name, count in traced.calls.items()}


def for_a_put(daemons, name):
    """{call: calls for one put} of one node, and their "total"."""
    pid = daemons.processes[name].pid
    idle = idle_rate(pid, daemons.path / f"{name}.idle")
    with daemons.client(daemons.wait_leader(), timeout_s=60.0) as client:
        client.put(b"warm", b"up")
        with Strace(pid, daemons.path / f"{name}.puts") as traced:
            for number in range(PUTS):
                client.put(b"k%d" % (number % 10), b"v")
    own = {
        name: (count - idle.get(name, 0.0) * traced.seconds) / PUTS
        for name, count in traced.calls.items()
    }
    print(f"{name}: { ({call: round(n, 1) for call, n in sorted(own.items()) if abs(n) >= 0.05}) }")
    return own


def test_a_put_costs_each_node_no_more_system_calls_than_it_is_given(tmp_path):
    quiet = {"faults": {"enabled": False}, "recorder": {"enabled": False}}  # it writes by time
    with Daemons(tmp_path, protocol=PATIENT, **quiet) as daemons:
        daemons.start()
        leader = daemons.wait_leader(90.0)
        follower = daemons.followers(leader)[0]
        calls = {"follower": for_a_put(daemons, follower), "leader": for_a_put(daemons, leader)}
        assert daemons.wait_leader() == leader, "it was not that one's work that was counted"
    for role, most in MOST.items():
        assert calls[role]["total"] <= most, role
        assert sum(calls[role].get(each, 0) for each in SYNCS) <= 3, role
