"""A large state: how long a node takes to start from it, and what a snapshot of it does to writes.

    python -m tests.bench.big_state [--keys 1000000] [--size 100] [--rows restart,stall]
        [--nodes 3] [--rounds 3] [--dir DIR] [--json FILE]

restart   one node: from its start until it answers, and its processor time and memory by then.
stall     ``--nodes`` nodes, all of which take a snapshot at the same time, while 20 clients write:
          the longest time without an acknowledged write, and the latencies, beside a stretch of the
          same length without a snapshot; memory before and at its most.

The state is written as a snapshot file beforehand (``state_file.py``). No assertion: this is a
measurement. With ten million keys of 100 bytes a node takes some 3 GB.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.closed_loop import ClosedLoop, longest_gap
from tests.bench.compare_cluster import cpu_s
from tests.bench.state_file import write_states
from tests.processes.processes import Daemons, wait_for

MIB = 1 << 20
QUIET = {
    "snapshots": {"slots_max": 10**9, "log_bytes_max": 1 << 40},
    "wal": {"segment_bytes": 64 * MIB},
    "log": {"level": "info", "format": "json"},
    "faults": {"enabled": False},
}
LIMIT_S = 900.0
WARM_S = 3.0
QUIET_MAX_S = 30.0
ROWS = ("restart", "stall")


def memory_mib(pid, name="VmRSS"):
    """A line of /proc/PID/status in MiB; ``VmHWM``: the most that there was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(name)


def forget_peak(pid):
    """Let VmHWM begin again (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def measure_restart(options, folder):
    """The figures of each round."""
    rounds = []
    with Daemons(folder, size=1, **QUIET) as daemons:
        made = write_states(daemons, options.keys, options.size)
        name = daemons.names[0]
        for _ in range(options.rounds):
            began_s = time.monotonic()
            daemons.start(name)
            wait_for(lambda: daemons.status(name), LIMIT_S, "an answer")
            pid = daemons.processes[name].pid
            line = daemons.events(name, "node.recovered")[-1]
            rounds.append(
                {
                    "answer_s": round(time.monotonic() - began_s, 2),
                    "recovered_s": round(line["dur_ms"] / 1000, 2),
                    "cpu_s": round(cpu_s(pid), 2),
                    "rss_mib": round(memory_mib(pid)),
                    "peak_mib": round(memory_mib(pid, "VmHWM")),
                }
            )
            print(f"restart: {rounds[-1]}", file=sys.stderr, flush=True)
            daemons.kill(name)
        size = made.stat().st_size
    return {"keys": options.keys, "size": options.size, "file_mib": round(size / MIB),
            "rounds": rounds}  # fmt: skip


def take_snapshots(daemons):
    """Have every node take one, and wait until all have."""
    before = {name: daemons.status(name, 10.0)["snapshot"]["taken"] for name in daemons.names}
    for name in daemons.names:
        daemons.admin(name, "snapshot_take")

    def taken(name):
        status = daemons.status(name, 10.0)
        return status and status["snapshot"]["taken"] > before[name]

    for name in daemons.names:
        wait_for(lambda name=name: taken(name), LIMIT_S, f"a snapshot of {name}")


def stretch(loop, began_s, ended_s):
    """What clients saw between two moments, in milliseconds."""
    took_ms = sorted(took * 1000 for at, took in list(loop.took_s) if began_s <= at <= ended_s)
    at = lambda share: round(took_ms[min(len(took_ms) - 1, int(len(took_ms) * share))], 1)  # noqa: E731 - of this list alone
    gap_s = longest_gap(list(loop.acked_s), began_s, ended_s)
    return {"s": round(ended_s - began_s, 1), "writes": len(took_ms), "p50_ms": at(0.5),
            "p99_ms": at(0.99), "max_ms": at(1.0), "gap_ms": round(gap_s * 1000, 1)}  # fmt: skip


def measure_stall(options, folder):
    """A stretch without snapshots, and one while all nodes take theirs."""
    with Daemons(folder, size=options.nodes, **QUIET) as daemons:
        write_states(daemons, options.keys, options.size)
        daemons.start()
        leader = daemons.wait_leader(LIMIT_S)
        pids = {name: daemons.processes[name].pid for name in daemons.names}
        before_mib = {name: round(memory_mib(pid)) for name, pid in pids.items()}
        for pid in pids.values():
            forget_peak(pid)
        loop = ClosedLoop(daemons.endpoints)
        loop.start()
        try:
            time.sleep(WARM_S)
            marks = [time.monotonic()]
            time.sleep(options.quiet_s)
            marks.append(time.monotonic())
            spent_s = {name: cpu_s(pid) for name, pid in pids.items()}
            take_snapshots(daemons)
            marks.append(time.monotonic())
        finally:
            loop.stop()
        found = {
            "keys": options.keys, "size": options.size, "nodes": options.nodes, "leader": leader,
            "without": stretch(loop, marks[0], marks[1]),
            "during": stretch(loop, marks[1], marks[2]),
            "failures": len(loop.failures),
            "cpu_s": {name: round(cpu_s(pid) - spent_s[name], 1) for name, pid in pids.items()},
            "rss_before_mib": before_mib,
            "rss_peak_mib": {name: round(memory_mib(pid, "VmHWM")) for name, pid in pids.items()},
            "leaders_elected": sum(len(daemons.events(n, "leader.elected")) for n in daemons.names),
            "slow_turns": sum(len(daemons.events(n, "node.slow_loop")) for n in daemons.names),
        }  # fmt: skip
    print(f"stall: {found}", file=sys.stderr, flush=True)
    return found


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="of a value, in bytes")
    parser.add_argument("--rows", default="restart,stall", help=f"of {ROWS}")
    parser.add_argument("--nodes", type=int, default=3, help="of the row stall")
    parser.add_argument("--rounds", type=int, default=3, help="of the row restart")
    parser.add_argument("--quiet-s", type=float, default=10.0, help="the stretch without snapshots")
    parser.add_argument("--dir", default=".", help="on the disk that is measured")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    # So that the daemons are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows = options.rows.split(",")
    if wrong := set(rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(wrong))}; there are {', '.join(ROWS)}")
    found = {}
    for row in rows:
        with tempfile.TemporaryDirectory(prefix="big-state-", dir=options.dir) as path:
            measure = measure_restart if row == "restart" else measure_stall
            found[row] = measure(options, Path(path).absolute())
        if options.json:
            options.json.write_text(json.dumps(found, indent=1))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
