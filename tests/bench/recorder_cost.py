"""What the flight recorder costs: two clusters side by side, one with it and one without.

    python -m tests.bench.recorder_cost [--rounds 10] [--dir DIR]

Both run all the time, and take turns at the load in the order on, off, off, on and the other way
round, so that what else the machine does falls on both alike. The processor time of all threads of
the three nodes counts, for one put, and beside it the rate or the median that a client sees.
"""

import argparse
import contextlib
import json
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


class Side:
    """One cluster."""

    def __init__(self, daemons):
        self._daemons = daemons
        daemons.start()
        daemons.wait_leader()
        self._client = daemons.client().__enter__()

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


def one_round(measure, on, off, number):
    """(ratio of the processor times, ratio of what the client sees, with to without)."""
    order = (on, off, off, on) if number % 2 == 0 else (off, on, on, off)
    found = {on: [], off: []}
    for side in order:
        found[side].append(measure(side))
    means = {side: [statistics.mean(column) for column in zip(*rows, strict=True)]
             for side, rows in found.items()}  # fmt: skip
    return [with_it / without for with_it, without in zip(means[on], means[off], strict=True)]


def report(name, rows):
    """Print quartiles of the ratios."""
    for what, column in zip(("processor time", "seen"), zip(*rows, strict=True), strict=True):
        low, middle, high = statistics.quantiles(column, n=4)
        print(f"{name:12} {what:15} {low:.3f} {middle:.3f} {high:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--dir", help="on the disk that is measured")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        sides = []
        for enabled in (True, False):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir)))
            daemons = stack.enter_context(Daemons(home, recorder={"enabled": enabled}))
            sides.append(Side(daemons))
        loads = {"1 client": Side.one_client, "1000": Side.a_thousand}
        rows = {name: [] for name in loads}
        for number in range(-1, options.rounds):
            for name, measure in loads.items():
                found = one_round(measure, *sides, number)
                if number >= 0:  # the first one warms up
                    rows[name].append(found)
    print("with to without: lower quartile, median, upper quartile")
    for name, found in rows.items():
        report(name, found)


if __name__ == "__main__":
    main()
