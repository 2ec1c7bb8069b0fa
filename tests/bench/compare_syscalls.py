"""System calls of a follower for one put of one client, counted by ``strace -c``.

strace slows the traced node down; the number of calls for a put changes little by that. What the
node does by itself meanwhile (heartbeats, timers) is in the figure.
"""

import re
import shutil
import signal
import subprocess
import time

from tests.bench.compare_cluster import NAMES, MissingError

LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)\s*$", re.M)


def calls_of(table):
    """{call: how often, "total": all} of the table that ``strace -c`` writes."""
    found = {name: int(count) for count, name in LINE.findall(table) if name != "total"}
    return found | {"total": sum(found.values())}


class Tracer:
    """Traces one process during the measured part of a run."""

    def __init__(self, pid, path):
        self._pid, self._path = pid, path

    def __call__(self, seconds):
        """Take the place of the mere waiting for the measured part to end."""
        command = ["strace", "-c", "-f", "-o", str(self._path), "-p", str(self._pid)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)  # the measured part
            process.send_signal(signal.SIGINT)
            process.wait()

    def calls(self):
        """What was counted."""
        return calls_of(self._path.read_text())


def count_syscalls(cluster, row, seconds, warmup_s):
    """{call: calls for one command} on a follower, and their "total". Raises MissingError."""
    if shutil.which("strace") is None:
        raise MissingError("strace is not installed")
    leader = cluster.wait_ready()
    follower = next(name for name in NAMES if name != leader)
    tracer = Tracer(cluster.processes[follower].pid, cluster.path / "strace")
    figures = cluster.run(row, seconds, warmup_s, meanwhile=tracer)
    if not figures.ops:
        return {}
    return {name: round(count / figures.ops, 2) for name, count in tracer.calls().items()}
