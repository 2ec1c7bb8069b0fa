"""PySyncObj beside ours: a Raft library for Python. Its client is the application's own process."""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import time

from tests.bench.compare_build import PEERS
from tests.bench.compare_cluster import (
    NAMES,
    RUN_SLACK_S,
    Cluster,
    ImpossibleError,
    MissingError,
    wait_for,
)
from tests.bench.compare_rows import KEYS, PUT

PROGRAM = PEERS / "pysyncobj_node.py"


class PySyncObj(Cluster):
    """The load is made inside the leader's process: nothing is sent between client and server."""

    name = "pysyncobj"
    title = "PySyncObj"
    remarks = (
        "PySyncObj does not sync its journal to the disk: what it acknowledges can be lost with "
        "the power. Its figures are those of a system without fsync.",
        "PySyncObj: the client is a thread in the leader's process; no connections, no frames, no "
        "linearizable reads. Its processor time includes the load generator.",
    )
    has_relay = False

    def prepare(self):
        if importlib.util.find_spec("pysyncobj") is None:
            raise MissingError("PySyncObj is not installed (pip install pysyncobj)")

    def start(self):
        self._address = {
            name: f"127.0.0.1:{port}"
            for name, port in zip(NAMES, self.ports(len(NAMES)), strict=True)
        }
        for name in NAMES:
            self.start_node(name)

    def start_node(self, name):
        others = [self._address[each] for each in NAMES if each != name]
        addresses = ",".join([self._address[name], *others])
        command = [sys.executable, str(PROGRAM), addresses, str(self.path / f"{name}.journal")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.processes[name] = self.spawn(name, command, **pipes)

    def _ask(self, name, question):
        process = self.processes[name]
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def leader(self):
        found = {
            self._ask(name, {"ask": "leader"})["leader"]
            for name, process in self.processes.items()
            if process.poll() is None
        }
        address = found.pop() if len(found) == 1 else ""
        return next((name for name in NAMES if self._address[name] == address), "")

    def check(self, row):
        if row.operation != PUT or row.rate:
            raise ImpossibleError("no linearizable reads, no open loop, no clients of its own")

    def run(self, row, seconds, warmup_s, meanwhile=time.sleep):
        leader = self.wait_ready()
        process = self.processes[leader]
        asked = {
            "clients": row.clients, "keys": KEYS, "value_bytes": row.value_bytes,
            "seconds": seconds, "warmup_s": warmup_s,
        }  # fmt: skip
        output = self.path / f"{leader}.out"
        written = output.read_text().count("ready")
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        wait_for(
            lambda: output.read_text().count("ready") > written, RUN_SLACK_S, "the load's beginning"
        )
        cpu = self.measured_cpu(seconds, warmup_s, meanwhile)
        found = self.figures_of(process.stdout.readline())
        return found.with_nodes(cpu, leader, self.rss())

    def version(self):
        return f"PySyncObj {importlib.metadata.version('pysyncobj')}, in its own process"
