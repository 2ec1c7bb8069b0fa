"""Real daemons for tests: processes, sockets on free loopback ports, disks under a tmp_path.

Nothing sleeps for its own sake: every wait is for a condition, with a deadline that fails.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from paxosctl.client import Client

TICK_S = 0.02


def wait_for(condition, timeout_s=30.0, what="the condition"):
    """Poll until ``condition()`` is truthy and return its value; fails after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        time.sleep(TICK_S)  # between two looks at other processes; there is nothing to wait on


def free_ports(count):
    """Ports nobody listens on now, below the range that outgoing connections are given."""
    ports, held = [], []
    start = 20_000 + (os.getpid() * 37) % 10_000
    port = start
    while len(ports) < count:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
        else:
            held.append(probe)
            ports.append(port)
        port += 1
    for probe in held:
        probe.close()
    return ports


class Daemons:
    """A cluster of ``size`` processes n1 …; use it as a context manager."""

    def __init__(self, path: Path, size=3, *, extra="", level="info"):
        self.path = Path(path)
        self.extra = extra
        ports = free_ports(3 * size)
        self.names = [f"n{i + 1}" for i in range(size)]
        self.ports = {
            name: dict(zip(("client", "peer", "events"), ports[3 * i : 3 * i + 3], strict=True))
            for i, name in enumerate(self.names)
        }
        self.processes: dict[str, subprocess.Popen] = {}
        self.level = level
        for name in self.names:
            self.write_config(name)

    def endpoint(self, name, kind="client"):
        return f"tcp://127.0.0.1:{self.ports[name][kind]}"

    @property
    def endpoints(self):
        return [self.endpoint(name) for name in self.names]

    def config_path(self, name):
        return self.path / f"{name}.toml"

    def log_path(self, name):
        return self.path / f"{name}.log"

    def write_config(self, name):
        members = "\n".join(
            f"[cluster.members.{each}]\n"
            + "\n".join(f'{kind} = "{self.endpoint(each, kind)}"' for kind in self.ports[each])
            for each in self.names
        )
        self.config_path(name).write_text(
            f'[cluster]\nid = "test"\n{members}\n[node]\nname = "{name}"\n'
            f'data_dir = "{name}"\n[faults]\nenabled = true\n'
            f"[wal]\nsegment_bytes = 4194304\n"
            f'[log]\nformat = "json"\nlevel = "{self.level}"\nfile = "{name}.log"\n{self.extra}\n'
        )

    def start(self, *names):
        for name in names or self.names:
            assert name not in self.processes
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "paxosd", "--config", str(self.config_path(name))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=(self.path / f"{name}.stderr").open("ab"),
                env={k: v for k, v in os.environ.items() if not k.startswith("PAXOSD_")},
            )

    def kill(self, *names, sig=signal.SIGKILL):
        """Send a signal that ends the process and reap it; returns the exit codes."""
        chosen = names or tuple(self.processes)
        for name in chosen:
            self.processes[name].send_signal(sig)
        return [self.processes.pop(name).wait(timeout=30) for name in chosen]

    def signal(self, name, sig):
        self.processes[name].send_signal(sig)

    def client(self, *names, timeout_s=10.0):
        endpoints = [self.endpoint(name) for name in names] if names else self.endpoints
        return Client(endpoints, timeout_s=timeout_s)

    def status(self, name, timeout_s=1.0):
        """A node's status, or None if it does not answer."""
        with contextlib.suppress(Exception), self.client(name, timeout_s=timeout_s) as client:
            return client.status()
        return None

    def leader(self):
        """The leader that every running node agrees on, or "" ."""
        views = [self.status(name) for name in self.processes]
        leaders = {view["leader"] for view in views if view is not None}
        if views and None not in views and len(leaders) == 1:
            return leaders.pop()
        return ""

    def wait_leader(self, timeout_s=30.0):
        return wait_for(self.leader, timeout_s, "a leader that all agree on")

    def wait_equal(self, timeout_s=30.0):
        """Wait until all running nodes have applied the same slots."""

        def equal():
            views = [self.status(name) for name in self.processes]
            return None not in views and len({v["applied"] for v in views}) == 1

        wait_for(equal, timeout_s, "equal applied slots")

    def logs(self, name):
        return self.log_path(name).read_text() if self.log_path(name).exists() else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(timeout=30)
        self.processes.clear()
