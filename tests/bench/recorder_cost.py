"""What the flight recorder costs: a cluster whose recorders are switched on and off as it runs.

    python -m tests.bench.recorder_cost [--clusters 3] [--rounds 10] [--dir DIR]

In each round the load runs four times: on, off, off, on, or the other way round, so that what else
the machine does falls on both alike; and in the same processes (``switched_daemon.py``), because
two clusters with the same settings differ by more than the recorder can cost. The processor time
of all threads of the three nodes counts, for one put, and beside it the rate or the median that a
client sees. Before a part is measured, its switch is settled by a few puts that do not count.
"""

import argparse
import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.processes.processes import Daemons

PUTS = 300
"""Of one client, one after the other, in one part of a round."""
SETTLE_S = 0.3
SETTLE_PUTS = 20


class SwitchedDaemons(Daemons):
    """Daemons that take the signals of ``switched_daemon.py``."""

    def command(self, name):
        return [sys.executable, "-m", "tests.bench.switched_daemon",
                "--config", str(self.config_path(name))]  # fmt: skip

    def switch(self, on):
        for name in self.names:
            self.signal(name, signal.SIGUSR1 if on else signal.SIGUSR2)


class Subject:
    """One cluster."""

    def __init__(self, daemons):
        self._daemons = daemons
        daemons.start()
        daemons.wait_leader()
        self._client = daemons.client().__enter__()

    def switch(self, on):
        """Record, or not, and settle."""
        self._daemons.switch(on)
        for number in range(SETTLE_PUTS):
            self._client.put(b"key", b"%d" % number)

    def cpu_us(self):
        """The processor time of all threads that live, in µs."""
        used = 0
        for process in self._daemons.processes.values():
            for path in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    used += int(path.read_text().split()[0])
        return used / 1000

    def _revision(self):
        names = self._daemons.processes
        return max(self._daemons.status(name)["revision"] for name in names)

    def one_client(self):
        """(processor time of a put in µs, its median in µs) with one put under way."""
        took_s = []
        before = self.cpu_us()
        for number in range(PUTS):
            began = time.perf_counter()
            self._client.put(b"key", b"%d" % number)
            took_s.append(time.perf_counter() - began)
        return (self.cpu_us() - before) / PUTS, statistics.median(took_s) * 1e6

    def a_thousand(self):
        """(processor time of a put in µs, puts a second) with 1000 under way, ten a frame."""
        options = ("--outstanding", "1000", "--per-frame", "10", "--duration", "2s")
        revision, before = self._revision(), self.cpu_us()
        bench = subprocess.run(
            [sys.executable, "-m", "paxosctl", "bench", "put", *options, "--warmup", "300ms",
             "--endpoints", ",".join(self._daemons.endpoints), "-o", "json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        time.sleep(SETTLE_S)  # followers apply what the generator has the answers of already
        used = self.cpu_us() - before
        return used / (self._revision() - revision), json.loads(bench.stdout)["puts_per_s"]


def one_round(subject, measure, number):
    """(ratio of the processor times, ratio of what the client sees, with to without)."""
    order = (True, False, False, True) if number % 2 == 0 else (False, True, True, False)
    found = {True: [], False: []}
    for on in order:
        subject.switch(on)
        found[on].append(measure(subject))
    means = {on: [statistics.mean(column) for column in zip(*rows, strict=True)]
             for on, rows in found.items()}  # fmt: skip
    return [with_it / without for with_it, without in zip(means[True], means[False], strict=True)]


def report(name, rows):
    """Print quartiles of the ratios."""
    for what, column in zip(("processor time", "seen"), zip(*rows, strict=True), strict=True):
        low, middle, high = statistics.quantiles(column, n=4)
        print(f"{name:12} {what:15} {low:.3f} {middle:.3f} {high:.3f}", flush=True)


LOADS = {"1 client": Subject.one_client, "1000": Subject.a_thousand}


def one_cluster(directory, rounds):
    """load → the ratios of each round, on a new cluster."""
    rows = {name: [] for name in LOADS}
    with (
        tempfile.TemporaryDirectory(dir=directory) as home,
        SwitchedDaemons(Path(home)) as daemons,
    ):
        subject = Subject(daemons)
        for number in range(-1, rounds):
            for name, measure in LOADS.items():
                found = one_round(subject, measure, number)
                if number >= 0:  # the first one warms up
                    rows[name].append(found)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clusters", type=int, default=3, help="so many, one after the other")
    parser.add_argument("--rounds", type=int, default=10, help="on each")
    parser.add_argument("--dir", help="on the disk that is measured")
    options = parser.parse_args()
    rows = {name: [] for name in LOADS}
    for cluster in range(options.clusters):
        for name, found in one_cluster(options.dir, options.rounds).items():
            rows[name] += found
            report(f"{cluster + 1}: {name}", found)
    print("all, with to without: lower quartile, median, upper quartile")
    for name, found in rows.items():
        report(name, found)


if __name__ == "__main__":
    main()
