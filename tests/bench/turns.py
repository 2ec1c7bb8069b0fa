"""How long the longest turn of a daemon's loop takes, with a large state.

    python -m tests.bench.turns [--keys 5000000] [--size 8] [--nodes 1] [--sessions 10000]

The state is not put but made: a snapshot in the product's own format, restored into each node's
directory. Then each phase of PHASES runs, and the longest turns of all nodes in it are printed, in
processor time of the loop's thread: the wall clock says little on a machine that others use. No
assertion: this is a measurement. The figures of docs/TURNS.md come from it.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from paxosctl.client.client import Client
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.state.session_walk import SessionRow
from paxosd.core.state.snapshot_head import SnapshotHead
from paxosd.snapshot.file import (
    HEAD,
    ROWS,
    SESSIONS,
    SnapshotWriter,
    encode_head,
    encode_rows,
    encode_sessions,
    snapshot_name,
)
from paxosd.storage.disk import RealDisk
from tests.processes.processes import Daemons, wait_for

WIDE = {
    "wal": {"segment_bytes": 64 << 20},
    "limits": {"message_bytes_max": 16 << 20, "value_bytes_max": 1 << 20},
    "snapshots": {"slots_max": 10**9, "log_bytes_max": 1 << 40, "margin_slots": 0},
    "faults": {"enabled": False},
}
DAEMON = """
import faulthandler, gc, json, sys, time
from paxosd.daemon import daemon
from paxosd.__main__ import main
turn = daemon.Daemon.turn
out = open({path!r}, "a", buffering=1)

def timed(self):
    began = time.thread_time()
    faulthandler.dump_traceback_later({trace_s}, exit=False)
    turn(self)
    faulthandler.cancel_dump_traceback_later()
    took_ms = (time.thread_time() - began) * 1e3
    if took_ms > {least_ms}:
        print(json.dumps([time.time(), took_ms, self.replica.turn_units]), file=out)

daemon.Daemon.turn = timed
sys.argv = ["paxosd", "--config", {config!r}]
main()
"""
LEAST_MS = 5
TRACE_S = 0.3
"""A turn that lasts so long by the clock is shown on standard error: where it is."""
PER_BLOCK = 2000


def key_of(number):
    return b"t/%d/%08d" % (number % 5, number)


def make_snapshot(directory, keys, size, sessions):
    """A snapshot file with so much in it; its path."""
    disk = RealDisk(directory)
    head = SnapshotHead(10, keys + 10, 1000, 0, sessions + 1, sessions, keys, {})
    writer = SnapshotWriter(disk, 10, int(time.time() * 1000))
    writer.write([(HEAD, encode_head("made", int(time.time() * 1000), head))])
    for first in range(1, sessions + 1, 100):
        rows = [
            SessionRow(number, 1000, 0, 10, [(1 + 2 * n, 5, [n, n + 1]) for n in range(5)])
            for number in range(first, min(first + 100, sessions + 1))
        ]
        writer.write([(SESSIONS, encode_sessions(rows))])
    for first in range(0, keys, PER_BLOCK):
        rows = []
        for number in range(first, min(first + PER_BLOCK, keys)):
            rows += [key_of(number), (b"%0*d" % (size, number), number + 1, number + 1, 1)]
        writer.write([(ROWS, encode_rows(rows))])
    writer.finish()
    return directory / snapshot_name(10)


class Timed(Daemons):
    """Each node writes down when a turn took long."""

    def times_path(self, name):
        return self.path / f"{name}.turns"

    def spawn(self, name, **_):
        code = DAEMON.format(
            path=str(self.times_path(name)),
            config=str(self.config_path(name)),
            least_ms=LEAST_MS,
            trace_s=TRACE_S,
        )
        with self.stderr_path(name).open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def longest(self, since, until, count=3):
        """The longest turns that ended in this time, over all nodes, in ms."""
        took = []
        for name in self.names:
            if self.times_path(name).exists():
                for line in self.times_path(name).read_text().splitlines():
                    at, *took_ms_and_units = json.loads(line)
                    took += [took_ms_and_units] if since <= at <= until else []
        return sorted(took)[-count:]


class Load:
    """What one client does in the phases."""

    def __init__(self, daemons, keys):
        self.daemons, self.keys = daemons, keys
        self.client = Client(daemons.endpoints, timeout_s=600)
        self.rng = random.Random(1)

    def put(self, count, *, new=False):
        for _ in range(count // 1000):
            pipeline = self.client.pipeline()
            for _ in range(1000):
                number = self.rng.randrange(self.keys)
                pipeline.put(key_of(number) + (b"x" if new else b""), b"w" * 8)
            pipeline.results()

    def idle(self):
        time.sleep(5)

    def overwrite(self):
        self.put(100_000)

    def put_new_in_no_order(self):
        self.put(200_000, new=True)

    def scan(self):
        for _ in islice(self.client.scan(b"t/1/"), 200_000):
            pass

    def checksum(self):
        ctl(self.daemons, "--timeout", "1200s", "hash")

    def snapshot_under_load(self):
        self.snapshot(lambda: self.put(20_000))

    def snapshot(self, beside=lambda: None):
        """The second one also gives the log back."""
        before = {name: self.taken(name) for name in self.daemons.names}
        for name in self.daemons.names:
            endpoint = self.daemons.endpoint(name)
            self.client.admin("snapshot_take", {}, endpoint=endpoint)
        while any(self.taken(name) == before[name] for name in self.daemons.names):
            beside()

    def taken(self, name):
        return self.client.status(self.daemons.endpoint(name))["snapshot"]["taken"]

    def remove_a_fifth(self):
        self.client.delete_prefix(b"t/2/")
        self.settle()

    def remove_all_under_watch(self):
        watcher = self.client.watch(b"t/", prefix=True)
        while not watcher.live:
            watcher.poll(100)
        self.client.delete_prefix(b"t/")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            watcher.poll(100)
        watcher.close()
        self.settle()

    def settle(self):
        """Wait until the work that was put off is probably done."""
        time.sleep(30)

    PHASES = (
        idle, overwrite, put_new_in_no_order, scan, checksum, snapshot_under_load, overwrite,
        snapshot, remove_a_fifth, remove_all_under_watch, idle,
    )  # fmt: skip


def ctl(daemons, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "paxosctl", "--endpoints", ",".join(daemons.endpoints), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(f"  paxosctl {' '.join(arguments)}: {done.returncode} {done.stdout} {done.stderr}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--sessions", type=int, default=9_000)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--phases", help="some of them, with commas")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paxosd-turns-") as path:
        home = Path(path)
        file = make_snapshot(home, options.keys, options.size, options.sessions)
        print(f"made a snapshot of {file.stat().st_size >> 20} MiB", flush=True)
        with Timed(home, options.nodes, **WIDE) as daemons:
            for name in daemons.names:
                ctl(daemons, "snapshot", "restore", str(file), "--data-dir", str(home / name),
                    "--cluster-id", "test", "--node", name)  # fmt: skip
            os.unlink(file)
            daemons.start()
            wait_for(lambda: (daemons.status("n1") or {}).get("level") == LEVEL_LATEST, 3000)
            print(f"n1 has {daemons.status('n1')['rss_bytes'] >> 20} MiB", flush=True)
            load = Load(daemons, options.keys)
            chosen = options.phases.split(",") if options.phases else None
            for phase in Load.PHASES:
                if chosen is not None and phase.__name__ not in chosen:
                    continue
                since = time.time()
                phase(load)
                longest = [(round(ms, 1), n) for ms, n in daemons.longest(since, time.time())]
                took_s = round(time.time() - since)
                print(
                    f"{phase.__name__:24} {took_s:5} s  longest turns, ms and units: {longest}",
                    flush=True,
                )
            for name in daemons.names:
                print(daemons.stderr(name)[-20_000:])


if __name__ == "__main__":
    main()
