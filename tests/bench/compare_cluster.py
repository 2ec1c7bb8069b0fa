"""What the comparison needs of a system: three nodes as processes, and a load on them.

A node's processes are ended, stopped and continued by their ids, which are our own children's.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.compare_figures import Figures
from tests.processes.ports import free_ports
from tests.processes.processes import clean_environ, wait_for

NAMES = ("n1", "n2", "n3")
READY_LIMIT_S = 90.0
STABLE_S = 2.0
RUN_SLACK_S = 120.0
"""How much longer than its load a load generator may take: connections, keys, the last answers."""
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
LISTEN_HOST = "127.0.0.2"
"""Where the nodes listen for each other behind relays, which listen on 127.0.0.1."""

_GIVEN = set()
"""Ports that a cluster of this process has."""


class MissingError(Exception):
    """A system, or something that its measurement needs, is not on this machine."""


class ImpossibleError(Exception):
    """This system has nothing that this row could measure."""


class LoadFailedError(Exception):
    """A load generator ended with an error; the words are what it wrote."""


def cpu_s(pid):
    """Processor time of a process with all its threads, in seconds (proc(5), stat 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pid):
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def tail_of(path):
    """The end of what a process wrote to a file, on one line."""
    return " ".join(path.read_text().split())[-500:] or "nothing"


class Cluster:
    """Three nodes of one system under ``path``. ``rtt_ms``: between the nodes, by a relay; 0 for
    none. ``program``: the server to run, if it is not the one in PATH. Raises MissingError if the
    system is not here."""

    name = ""
    title = ""
    names = NAMES
    remarks = ()
    """What is not comparable, a sentence each."""
    has_relay = True

    def __init__(self, path, rtt_ms=0.0, program=""):
        if rtt_ms and not self.has_relay:
            raise MissingError(f"{self.title}: not measured with a round trip between its nodes")
        self.path = Path(path) / self.name
        self.rtt_ms = rtt_ms
        self.program = program
        self.processes = {}
        self._helpers = []
        """Processes that are part of the stage: relays, watchers."""
        self.prepare()
        self.path.mkdir(parents=True)

    # -- what each system defines

    def prepare(self):
        """Find the programs and build the load generator. Raises MissingError."""

    def start(self):
        """Start all nodes."""
        raise NotImplementedError

    def start_node(self, name):
        """Start one node, also again after it was killed."""
        raise NotImplementedError

    def leader(self):
        """The leader's name if every running node agrees on it, else "" ."""
        raise NotImplementedError

    def check(self, row):
        """Raises ImpossibleError if this system has nothing that the row could measure."""

    def load_command(self, row, leader, seconds, warmup_s):
        """The load generator's command line."""
        raise NotImplementedError

    def figures_of(self, output):
        """The Figures of what the load generator wrote to standard output."""
        return Figures.of_json(json.loads(output))

    def version(self):
        """What is compared, in words."""
        raise NotImplementedError

    # -- what they share

    @staticmethod
    def ports(count):
        """Free ports that no other cluster of this process was given: it may not listen yet."""
        free = [port for port in free_ports(count + len(_GIVEN)) if port not in _GIVEN][:count]
        _GIVEN.update(free)
        return free

    def spawn(self, name, command, **more):
        """A process of this cluster; its output goes to a file."""
        with (self.path / f"{name}.out").open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=more.pop("stdin", subprocess.DEVNULL),
                stdout=more.pop("stdout", output),
                stderr=output,
                env=clean_environ() | more.pop("env", {}),
                **more,
            )

    def start_relay(self, ports):
        """Relay these ports of 127.0.0.1 to the same ones of LISTEN_HOST."""
        pairs = [f"127.0.0.1:{port}={LISTEN_HOST}:{port}" for port in ports]
        command = [sys.executable, "-m", "tests.bench.relay", "--rtt-ms", str(self.rtt_ms), *pairs]
        process = self.spawn("relay", command, stdout=subprocess.PIPE)
        self.add_helper(process)
        assert process.stdout.readline() == b"ready\n", f"see {self.path}/relay.out"

    def add_helper(self, process):
        self._helpers.append(process)

    def wait_ready(self):
        """Wait until all nodes agree on a leader; its name."""

        def agreed():
            for name, process in self.processes.items():
                assert process.poll() is None, f"{self.name} {name} has ended: see {self.path}"
            return self.leader()

        return wait_for(agreed, READY_LIMIT_S, f"a leader of {self.name}")

    def signal(self, number):
        """Send a signal to every process of the cluster."""
        for process in [*self.processes.values(), *self._helpers]:
            if process.poll() is None:
                process.send_signal(number)

    def freeze(self):
        """Stop all nodes, so that they take no processor time from the system that is measured."""
        self.signal(signal.SIGSTOP)

    def thaw(self):
        """Continue all nodes, and wait until they have agreed on one leader for STABLE_S: what
        they say at first is from before they were stopped."""
        self.signal(signal.SIGCONT)
        held, since_s = "", 0.0

        def is_stable():
            nonlocal held, since_s
            leader, now_s = self.leader(), time.monotonic()
            if not leader or leader != held:
                held, since_s = leader, now_s
            return leader and now_s - since_s >= STABLE_S

        wait_for(is_stable, READY_LIMIT_S, f"a leader of {self.name} that stays")

    def run(self, row, seconds, warmup_s, meanwhile=time.sleep):
        """One load on the cluster; its Figures. ``meanwhile``: called with the length of the
        measured part when it begins, and returns at its end. Raises LoadFailedError."""
        leader = self.wait_ready()
        command = self.load_command(row, leader, seconds, warmup_s)
        errors = self.path / "load.err"
        with errors.open("w") as written:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=written, text=True, env=clean_environ()
            )
        is_ready = lambda: "ready" in errors.read_text() or process.poll() is not None  # noqa: E731 - two looks at one moment
        try:
            wait_for(is_ready, RUN_SLACK_S, f"the load generator of {self.name}")
            cpu = self.measured_cpu(seconds, warmup_s, meanwhile)
            output, _ = process.communicate(timeout=RUN_SLACK_S)
        except (AssertionError, subprocess.TimeoutExpired) as late:
            raise LoadFailedError(f"{late}; it wrote: {tail_of(errors)}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        if process.returncode != 0:
            raise LoadFailedError(f"exit code {process.returncode}: {tail_of(errors)}")
        return self.figures_of(output).with_nodes(cpu, leader, self.rss())

    def measured_cpu(self, seconds, warmup_s, meanwhile=time.sleep):
        """Wait for warm-up and measured part; node → processor time in the latter, in seconds."""
        time.sleep(warmup_s)  # it is not measured
        before = self.usage()
        meanwhile(seconds)
        after = self.usage()
        return {name: after[name] - before[name] for name in before if name in after}

    def usage(self):
        return {
            name: cpu_s(process.pid)
            for name, process in self.processes.items()
            if process.poll() is None
        }

    def rss(self):
        return {
            name: rss_bytes(process.pid)
            for name, process in self.processes.items()
            if process.poll() is None
        }

    def close(self):
        """End every process of the cluster."""
        for process in [*self.processes.values(), *self._helpers]:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(timeout=30)
