"""How long puts take while a node takes snapshots, and while it does not, in one run.

    python -m tests.bench.snapshot_stall [--keys 1000000] [--size 100] [--rounds 5] [--all]

Three daemons on loopback, filled with KEYS keys. Slices of load with and without snapshots take
turns; in a slice with them the leader (with ``--all``: every node) takes one after another, so
that each put of the slice meets one. Prints the latencies of both kinds and the ratio of their
p99, which is to be at most 2. No assertion: this is a measurement.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

from paxosctl.load.generator import Target
from paxosctl.load.latencies import Latencies
from paxosctl.load.load import Load
from paxosctl.load.processes import run_load
from tests.bench.fill import fill
from tests.processes.processes import Daemons

WIDE = {
    "wal": {"segment_bytes": 64 << 20},
    "limits": {"message_bytes_max": 16 << 20, "value_bytes_max": 1 << 20},
    "snapshots": {"slots_max": 10**9, "log_bytes_max": 1 << 40},
    "faults": {"enabled": False},
}


def keep_taking(daemons, names, stop, taken):
    """Ask these nodes for one snapshot after another until ``stop``."""
    clients = {name: daemons.client(name) for name in names}
    while not stop.is_set():
        for name, client in clients.items():
            client.admin("snapshot_take", {}, endpoint=daemons.endpoint(name))
        stop.wait(0.1)
    for name, client in clients.items():
        taken[name] = client.status()["snapshot"]["taken"]
        client.close()


def one_slice(daemons, leader, options, seed):
    load = Load(count=options.count, outstanding=options.outstanding, connections=4,
                size=options.size, keys=options.keys, seed=seed)  # fmt: skip
    report = run_load(Target.of(daemons.endpoint(leader)), load, 60_000)
    assert not report.failed, report.failed
    return report


def print_row(name, latencies, rates):
    shares = "  ".join(
        f"p{s * 100:g} {latencies.quantile_ms(s):6.2f} ms" for s in (0.5, 0.9, 0.99, 0.999)
    )
    print(f"{name:18s} {shares}  max {latencies.quantile_ms(1):6.1f} ms  "
          f"{sum(rates) / len(rates):7.0f} puts/s  n={latencies.count}")  # fmt: skip
    return latencies.quantile_ms(0.99)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--outstanding", type=int, default=32)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as path, Daemons(Path(path), **WIDE) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        began = time.monotonic()
        fill(daemons.endpoint(leader), options.keys, options.size)
        print(f"{options.keys} keys of {options.size} B in {time.monotonic() - began:.1f} s")
        daemons.wait_equal(120)
        names = daemons.names if options.all else [leader]
        without, during = (Latencies(), []), (Latencies(), [])
        taken = {}
        for number in range(options.rounds):
            for kind in (without, during):
                stop = threading.Event()
                thread = threading.Thread(target=keep_taking, args=(daemons, names, stop, taken))
                if kind is during:
                    thread.start()
                    time.sleep(0.3)
                report = one_slice(daemons, leader, options, number)
                kind[0].add(report.total.pack())
                kind[1].append(report.per_s)
                stop.set()
                if kind is during:
                    thread.join()
                    time.sleep(3)  # the last one ends
        base = print_row("without snapshots", *without)
        more = print_row("during snapshots", *during)
        print(f"snapshots taken: {taken}; p99 ratio {more / base:.2f}")
        for line in daemons.events(leader, "snapshot.finished")[-3:]:
            print(f"slot {line['slot']}: {line['bytes']} B in {line['dur_ms']} ms")


if __name__ == "__main__":
    main()
