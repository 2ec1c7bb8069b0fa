"""What snapshots are for, in figures: bounded disk, quick restart, catch-up.

    python -m tests.bench.snapshot_life disk    [--puts 10000000] [--keys 100000]
    python -m tests.bench.snapshot_life restart [--keys 1000000]
    python -m tests.bench.snapshot_life catchup [--puts 1000000]

Three daemons on loopback, values of 100 bytes, default settings but for what is said.

disk      puts on a fixed number of keys, many to a request; after each tenth the disk and the
          memory of each node: both are to stop growing.
restart   KEYS keys, a snapshot, kill -9: the time from the start to the first answer.
catchup   a node is away for PUTS puts on as many keys; the time from its start until it has
          applied all of them, by snapshot, under load; and the load's p99 before and meanwhile.
"""

import argparse
import contextlib
import tempfile
import threading
import time
from pathlib import Path

from paxosctl.load.generator import Target
from paxosctl.load.latencies import Latencies
from paxosctl.load.load import Load
from paxosctl.load.processes import run_load
from tests.bench.fill import fill
from tests.bench.snapshot_stall import WIDE
from tests.processes.processes import Daemons, wait_for

MIB = 1 << 20
DEFAULTS = {section: keys for section, keys in WIDE.items() if section != "snapshots"}


@contextlib.contextmanager
def running(**settings):
    with tempfile.TemporaryDirectory() as path, Daemons(Path(path), **DEFAULTS | settings) as some:
        some.start()
        yield some


def used_bytes(daemons, name):
    """What the node's directory takes on the disk."""
    files = (daemons.path / name).rglob("*")
    sizes = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            sizes.append(file.stat().st_blocks * 512)
    return sum(sizes)


def take_all(daemons, names):
    """A snapshot of all that each of these nodes has applied."""

    def taken(name):
        daemons.admin(name, "snapshot_take")
        status = daemons.status(name, 5.0)
        return status and status["snapshot"]["slot"] == status["applied"]

    for name in names:
        wait_for(lambda name=name: taken(name), 120.0, f"a snapshot of {name}")


def measure_disk(options):
    with running() as daemons:
        leader = daemons.wait_leader()
        step = options.puts // 10
        began = time.monotonic()
        for tenth in range(1, 11):
            for _ in range(max(1, step // options.keys)):
                fill(daemons.endpoint(leader), min(step, options.keys), 100)
            cells = []
            for name in daemons.names:
                status = daemons.status(name, 10.0)
                disk, taken = used_bytes(daemons, name), status["snapshot"]["taken"]
                rss = status["rss_bytes"] / MIB
                cells.append(f"{name} {disk / MIB:5.0f} MiB, {rss:4.0f} MiB rss, {taken:2d} taken")
            print(f"{tenth * step:>9d} puts, {time.monotonic() - began:5.0f} s: {'; '.join(cells)}")
        daemons.wait_equal(60.0)


def measure_restart(options):
    with running() as daemons:
        leader = daemons.wait_leader()
        fill(daemons.endpoint(leader), options.keys, 100)
        daemons.wait_equal(120.0)
        victim = daemons.followers(leader)[0]
        for kind in ("log alone", "snapshot"):
            if kind == "snapshot":
                take_all(daemons, [victim])
            daemons.kill(victim)
            began = time.monotonic()
            daemons.start(victim)
            daemons.wait_up(victim, timeout_s=300.0)
            line = daemons.events(victim, "node.recovered")[-1]
            print(f"restart with {options.keys} keys, {kind}: {time.monotonic() - began:.1f} s to "
                  f"the first answer ({line['dur_ms']} ms of replay)")  # fmt: skip


def load_beside(daemons, leader, over, found):
    while not over.is_set():
        load = Load(count=4000, outstanding=32, connections=4, size=100, keys=100_000)
        found.add(run_load(Target.of(daemons.endpoint(leader)), load, 60_000).total.pack())


def measure_catchup(options):
    with running(snapshots={"margin_slots": 0}) as daemons:
        leader = daemons.wait_leader()
        away, other = daemons.followers(leader)
        daemons.wait_equal()
        daemons.kill(away)
        fill(daemons.endpoint(leader), options.puts, 100)
        for first in (0, 1):
            fill(daemons.endpoint(leader), 1, 100, first=first)
            daemons.wait_equal(120.0)
            take_all(daemons, [leader, other])
        fill(daemons.endpoint(leader), 1, 100)
        for kind in ("before", "while it catches up"):
            over, latencies = threading.Event(), Latencies()
            thread = threading.Thread(target=load_beside, args=(daemons, leader, over, latencies))
            thread.start()
            if kind == "before":
                time.sleep(8)
            else:
                began = time.monotonic()
                daemons.start(away)
                daemons.wait_event(away, "snapshot.installed", timeout_s=300.0)
                jumped = time.monotonic() - began

                def near():
                    views = [daemons.status(name, 5.0) for name in (away, leader)]
                    return None not in views and views[1]["applied"] - views[0]["applied"] < 20

                wait_for(near, 120.0, "the log after the snapshot")
                caught_up = time.monotonic() - began
            over.set()
            thread.join()
            print(f"load {kind}: p50 {latencies.quantile_ms(0.5):.2f} ms, "
                  f"p99 {latencies.quantile_ms(0.99):.2f} ms, {latencies.count} puts")  # fmt: skip
        line = daemons.events(away, "snapshot.installed")[-1]
        size = f"{line['bytes'] / MIB:.0f} MiB in {line['dur_ms']} ms"
        print(f"missed {options.puts} puts: jumped after {jumped:.1f} s, caught up after "
              f"{caught_up:.1f} s; {size}")  # fmt: skip
        daemons.check_equal(120.0)
        slow = [e["dur_ms"] for n in daemons.names for e in daemons.events(n, "node.slow_loop")]
        print(f"turns over 500 ms: {slow or 'none'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(required=True)
    disk = verbs.add_parser("disk")
    disk.add_argument("--puts", type=int, default=10_000_000)
    disk.add_argument("--keys", type=int, default=100_000)
    disk.set_defaults(run=measure_disk)
    restart = verbs.add_parser("restart")
    restart.add_argument("--keys", type=int, default=1_000_000)
    restart.set_defaults(run=measure_restart)
    catchup = verbs.add_parser("catchup")
    catchup.add_argument("--puts", type=int, default=1_000_000)
    catchup.set_defaults(run=measure_catchup)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
