"""Keys a second by transactions of five keys, beside the same puts one by one: ratios of one run.

    python -m tests.bench.transactions [--rounds 5] [--seconds 2] [--size 100] [--dir DIR]

Three daemons on loopback and one client in one thread. The four ways take turns, each for
``--seconds`` in a round:

single              puts, each after the answer to the one before it
txn                 transactions of five puts, likewise
pipelined           puts, 1,000 under way
pipelined txn       transactions of five puts, 200 under way: as many keys

Prints for each way the keys a second (median of the rounds) and the processor time of the daemons
for a key, and as ratios what a transaction does for a key. Each puts 10,000 keys in turn. No
assertion: this is a measurement.
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from paxosctl.client import Operation
from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.bench.compare_cluster import cpu_s
from tests.processes.processes import Daemons, wait_for

KEYS = 10_000
FIVE = 5
UNDER_WAY = 1000


class Ways:
    """Each method writes some keys, waits for all of them, and returns how many there were."""

    def __init__(self, client, size):
        self._client, self._value = client, b"v" * size
        self._numbers = count()

    def _key(self):
        return b"bench/%05d" % (next(self._numbers) % KEYS)

    def _five(self):
        return [Operation.put(self._key(), self._value) for _ in range(FIVE)]

    def single(self):
        for _ in range(FIVE):
            self._client.put(self._key(), self._value)
        return FIVE

    def txn(self):
        assert self._client.txn(then=self._five()).succeeded
        return FIVE

    def pipelined(self):
        with self._client.pipeline() as pipe:
            for _ in range(UNDER_WAY):
                pipe.put(self._key(), self._value)
        return UNDER_WAY

    def pipelined_txn(self):
        with self._client.pipeline() as pipe:
            for _ in range(UNDER_WAY // FIVE):
                pipe.txn(then=self._five())
        return UNDER_WAY


def measure(daemons, act, seconds):
    """Keys a second, and microseconds of the daemons' processor time for a key."""
    pids = [process.pid for process in daemons.processes.values()]
    act()
    used_s, began_s, keys = sum(map(cpu_s, pids)), time.monotonic(), 0
    while time.monotonic() < began_s + seconds:
        keys += act()
    took_s = time.monotonic() - began_s
    return keys / took_s, (sum(map(cpu_s, pids)) - used_s) / keys * 1e6


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=100, help="of a value, in bytes")
    parser.add_argument("--dir", default=".", help="on the disk that is measured")
    options = parser.parse_args()
    # So that the daemons are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with (
        tempfile.TemporaryDirectory(prefix="transactions-", dir=options.dir) as path,
        Daemons(Path(path).absolute(), faults={"enabled": False}) as daemons,
    ):
        daemons.start()
        leader = daemons.wait_leader()
        wait_for(
            lambda: (daemons.status(leader) or {}).get("level", 0) >= LEVEL_COORDINATION,
            what="the feature level of transactions",
        )
        with daemons.client(timeout_s=30.0) as client:
            ways = Ways(client, options.size)
            acts = (ways.single, ways.txn, ways.pipelined, ways.pipelined_txn)
            found = {act.__name__: [] for act in acts}
            for _ in range(options.rounds):
                for act in acts:
                    found[act.__name__].append(measure(daemons, act, options.seconds))
    rates, costs = {}, {}
    for name, pairs in found.items():
        all_rates, all_costs = zip(*pairs, strict=True)
        rates[name], costs[name] = statistics.median(all_rates), statistics.median(all_costs)
        print(f"{name:<14} {rates[name]:>8.0f} keys/s ({min(all_rates):.0f} to "
              f"{max(all_rates):.0f})   {costs[name]:>6.0f} µs of the daemons a key")  # fmt: skip
    for txn, put in (("txn", "single"), ("pipelined_txn", "pipelined"), ("txn", "pipelined")):
        print(f"{txn} to {put}: {rates[txn] / rates[put]:.2f} times the keys a second, "
              f"{costs[txn] / costs[put]:.2f} times the processor time a key")  # fmt: skip


if __name__ == "__main__":
    main()
