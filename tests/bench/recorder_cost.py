"""What the flight recorder costs: a cluster whose recorders are switched on and off as it runs; or
what it costs to note the times of requests for /metrics, and one scrape.

    python -m tests.bench.recorder_cost [--of metrics] [--load "1 client"] [--pairs 100] [--dir DIR]

Each pair is two short parts of the load, one with and one without, in an order that is drawn, so
that what else the machine does falls on both alike; and in the same processes
(``switched_daemon.py``), because two clusters with the same settings differ by more than the
recorder can cost. Many short pairs say more than a few long ones. The processor time
of all threads of the three nodes counts, for one put, and beside it the rate or the median that a
client sees. Before a part is measured, its switch is settled by a few puts that do not count.
"""

import argparse
import contextlib
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.processes.ports import free_ports
from tests.processes.processes import Daemons

PUTS = 100
"""Of one client, one after the other, in one part of a pair."""
SETTLE_S = 0.3
SETTLE_PUTS = 5
SCRAPES = 30
SCRAPE_S = 0.3
"""About what scraping all nodes takes: each answers at its next look."""
BOOTSTRAP_DRAWS = 2000


class SwitchedDaemons(Daemons):
    """Daemons that take the signals of ``switched_daemon.py``. ``of``: recorder or metrics."""

    def __init__(self, path, of):
        super().__init__(path)
        self._of = of
        self.http_ports = dict(zip(self.names, free_ports(len(self.names)), strict=True))

    def spawn(self, name, **how):
        env = {"SWITCHED": self._of}
        if self._of == "metrics":
            env["PAXOSD_HTTP_LISTEN"] = f"127.0.0.1:{self.http_ports[name]}"
        return super().spawn(name, env=env, **how)

    def scrape(self):
        """The text of each node's /metrics."""
        for port in self.http_ports.values():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                answer.read()

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

    def scrape_us(self):
        """The processor time of a scrape of one node, idle otherwise, over what it takes idle."""
        used = []
        for scrapes in (0, 1):
            before = self.cpu_us()
            for _ in range(SCRAPES):
                if scrapes:
                    self._daemons.scrape()
                else:
                    time.sleep(SCRAPE_S)
            used.append(self.cpu_us() - before)
        return (used[1] - used[0]) / SCRAPES / len(self._daemons.names)

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


LOADS = {"1 client": Subject.one_client, "1000": Subject.a_thousand}


def one_pair(subject, measure):
    """(ratio of the processor times, ratio of what the client sees), with to without."""
    found = {}
    for on in random.sample([True, False], 2):
        subject.switch(on)
        found[on] = measure(subject)
    return [with_it / without for with_it, without in zip(found[True], found[False], strict=True)]


def median_within(values):
    """(the median, between which two values it lies in 95 of 100 draws from these)."""
    drawn = sorted(
        statistics.median(random.choices(values, k=len(values))) for _ in range(BOOTSTRAP_DRAWS)
    )
    edge = BOOTSTRAP_DRAWS // 40
    return statistics.median(values), drawn[edge], drawn[-1 - edge]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--of", choices=("recorder", "metrics"), default="recorder")
    parser.add_argument("--load", choices=LOADS, action="append", help="this one alone")
    parser.add_argument("--pairs", type=int, default=100, help="so many of each load")
    parser.add_argument("--dir", help="on the disk that is measured")
    options = parser.parse_args()
    print("with to without: median, and its 95 % interval")
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as home,
        SwitchedDaemons(Path(home), options.of) as daemons,
    ):
        subject = Subject(daemons)
        if options.of == "metrics":
            print(f"a scrape: {subject.scrape_us() / 1000:.2f} ms of processor time")
        for name in options.load or LOADS:
            measure = LOADS[name]
            measure(subject)  # warms up
            pairs = [one_pair(subject, measure) for _ in range(options.pairs)]
            for what, column in zip(("processor time", "seen"), zip(*pairs, strict=True),
                                    strict=True):  # fmt: skip
                middle, low, high = median_within(column)
                print(f"{name:10} {what:15} {middle:.3f}  {low:.3f} to {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
