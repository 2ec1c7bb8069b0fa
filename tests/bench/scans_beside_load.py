"""Eight scans of the whole state beside a load of puts: what they do to it.

    python -m tests.bench.scans_beside_load [--keys 100000] [--size 1000] [--scans 8]
        [--clients 20] [--nice 0] [--read-from leader,nearest] [--spin 1,2] [--dir DIR]
        [--json FILE]

Three daemons whose state is made beforehand (``state_file.py``); ``--clients`` put in a closed
loop. A stretch of puts alone, then one from the first page of the scans to the end of the last
scan, for each way of ``--read-from``; the scans are in one process of their own
(``scan_worker.py``), which checks that each is of one revision and in order. Prints latencies of
the puts, the ratio of the p99, leaders elected meanwhile, slow turns, and the memory and the
processor time of each node. Puts and scans share the machine's processors: ``--nice 19`` says what
is left if the scans' clients are on a machine of their own, and ``--spin 1,2`` what one and two
processes do to the puts that ask the cluster for nothing, and never rest. The goal is a ratio of
at most 2, and no election. No assertion about time: this is a measurement.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from paxosd.core.client.read_spread import READ_FROM
from tests.bench.big_state import LIMIT_S, QUIET, WARM_S, forget_peak, memory_mib, stretch
from tests.bench.closed_loop import ClosedLoop
from tests.bench.compare_cluster import cpu_s
from tests.bench.state_file import write_states
from tests.processes.processes import Daemons, clean_environ

MIB = 1 << 20
LIMITS = {"message_bytes_max": 16 * MIB, "value_bytes_max": MIB, "read_bytes_max": 4 * MIB}
"""Those of conf/paxosd.toml."""

HISTORY = "history_revisions=1000000"
"""So many puts may come while a scan runs; with the 10,000 of the default a long one is refused."""


class Scans:
    """The process that scans; what it has said."""

    def __init__(self, daemons, options, read_from):
        # A client that only reads stays with the first node that answers, whether it leads or not.
        leader = daemons.endpoint(daemons.wait_leader(LIMIT_S))
        endpoints = sorted(daemons.endpoints, key=lambda endpoint: endpoint != leader)
        command = [sys.executable, "-m", "tests.bench.scan_worker", str(options.scans), read_from]
        self._process = subprocess.Popen(
            ["nice", "-n", str(options.nice), *command, *endpoints],
            stdout=subprocess.PIPE, text=True, env=clean_environ(),
        )  # fmt: skip

    def wait_begun(self):
        """Until the first page of each scan has come."""
        line = self._process.stdout.readline()
        assert line, f"the scans ended with {self._process.wait()}"
        assert json.loads(line)["begun"]

    def wait_ended(self):
        """Until all have; what each says."""
        ends = [json.loads(line) for line in self._process.stdout]
        assert self._process.wait() == 0
        return ends

    def end(self):
        """If it runs yet."""
        self._process.kill()
        self._process.wait()


class Meter:
    """What the nodes spend between two moments."""

    def __init__(self, daemons):
        self._daemons = daemons
        self._pids = {name: daemons.processes[name].pid for name in daemons.names}
        self._cpu_s = self._each(cpu_s)
        self._events = self._counts()
        for pid in self._pids.values():
            forget_peak(pid)

    def _each(self, measure):
        return {name: measure(pid) for name, pid in self._pids.items()}

    def _counts(self):
        names = ("leader.elected", "node.slow_loop")
        return {
            event: sum(len(self._daemons.events(name, event)) for name in self._daemons.names)
            for event in names
        }

    def figures(self):
        """Since it was made."""
        spent_s = {n: round(s - self._cpu_s[n], 1) for n, s in self._each(cpu_s).items()}
        counts = self._counts()
        peak_mib = self._each(lambda pid: round(memory_mib(pid, "VmHWM")))
        return {"cpu_s": spent_s, "rss_peak_mib": peak_mib,
                **{event: counts[event] - was for event, was in self._events.items()}}  # fmt: skip


def measure_alone(daemons, loop, seconds):
    """Puts without scans."""
    meter, began_s = Meter(daemons), time.monotonic()
    time.sleep(seconds)
    return stretch(loop, began_s, time.monotonic()) | meter.figures()


def measure_spinning(daemons, loop, options, count):
    """Puts beside so many processes that use a processor each, and nothing else."""
    meter, began_s = Meter(daemons), time.monotonic()
    command = ["nice", "-n", str(options.nice), sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(command) for _ in range(count)]
    try:
        time.sleep(options.alone_s)
        return stretch(loop, began_s, time.monotonic()) | meter.figures()
    finally:
        for each in spinning:
            each.kill()
            each.wait()


def measure_beside(daemons, loop, options, read_from):
    """Puts while the scans run."""
    meter = Meter(daemons)
    scans = Scans(daemons, options, read_from)
    try:
        scans.wait_begun()
        began_s = time.monotonic()
        ends = scans.wait_ended()
        found = stretch(loop, began_s, time.monotonic()) | meter.figures()
    finally:
        scans.end()
    for each in ends:
        assert each["rows"] >= options.keys, each
    return found | {"scans": ends}


def measure(options, folder):
    """All stretches, on one cluster."""
    settings = QUIET | {"limits": LIMITS}
    with Daemons(folder, **settings) as daemons:
        write_states(daemons, options.keys, options.size)
        daemons.start()
        found = {"leader": daemons.wait_leader(LIMIT_S)}
        done = daemons.run(
            "paxosctl", "--endpoints", ",".join(daemons.endpoints), "cluster", "set", HISTORY
        )
        assert done.returncode == 0, done.stderr
        loop = ClosedLoop(daemons.endpoints, clients=options.clients)
        loop.start()
        try:
            time.sleep(WARM_S)
            for read_from in options.read_from.split(","):
                alone = measure_alone(daemons, loop, options.alone_s)
                print(f"alone: {alone}", file=sys.stderr, flush=True)
                beside = measure_beside(daemons, loop, options, read_from)
                beside["p99_ratio"] = round(beside["p99_ms"] / alone["p99_ms"], 2)
                print(f"beside, {read_from}: {beside}", file=sys.stderr, flush=True)
                found[read_from] = {"alone": alone, "beside": beside}
            for count in map(int, filter(None, options.spin.split(","))):
                spun = measure_spinning(daemons, loop, options, count)
                spun["p99_ratio"] = round(spun["p99_ms"] / alone["p99_ms"], 2)
                print(f"beside {count} that spin: {spun}", file=sys.stderr, flush=True)
                found[f"spin {count}"] = spun
        finally:
            loop.stop()
        found["failures"] = len(loop.failures)
    return found


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=1000, help="of a value, in bytes")
    parser.add_argument("--scans", type=int, default=8, help="at the same time")
    parser.add_argument("--clients", type=int, default=20, help="that put")
    parser.add_argument("--nice", type=int, default=0, help="of the process that scans")
    parser.add_argument("--alone-s", type=float, default=10.0, help="a stretch without scans")
    parser.add_argument("--read-from", default=",".join(READ_FROM), help=f"of {READ_FROM}")
    parser.add_argument("--spin", default="", help="so many processes that spin, afterwards")
    parser.add_argument("--dir", default=".", help="on the disk that is measured")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    # So that the daemons are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="scans-", dir=options.dir) as path:
        found = measure(options, Path(path).absolute())
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
