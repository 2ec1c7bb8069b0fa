"""How fast locks are: uncontended, and with many waiters.

    python -m tests.bench.lock_speed [--waiters 1000] [--procs 1] [--rounds 200] [--hand-overs 99]

Daemons of one host, in processes of their own. The waiters are tasks of ``--procs`` clients, each
in a process of its own (``lock_waiters.py``). Prints the p50 of acquire and release together; how
long it took until all waited; the time of a hand-over, from the begin of a release to the end of
the next one's acquire; and for one hand-over: looks at the queue, messages and bytes of all these
clients, and processor time of daemons and of clients, less what passes without hand-overs.
"""

import argparse
import json
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.processes.processes import Daemons, clean_environ, wait_for

UP_S = 300
IDLE_S = 5.0
TICK_S = 0.01
"""Of the processor times in /proc."""


def uncontended(client, rounds):
    """Seconds of each acquire with its release."""
    lock = client.lock(b"alone")
    lock.acquire()
    lock.release()  # the connection is made
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        lock.acquire()
        lock.release()
        took.append(time.perf_counter() - began)
    return took


class Crowd:
    """All processes of waiters."""

    def __init__(self, endpoints, waiters, procs):
        self._said = queue.Queue()
        self._processes = []
        for number in range(procs):
            command = [sys.executable, "-m", "tests.bench.lock_waiters", str(waiters // procs)]
            process = subprocess.Popen(
                [*command, *endpoints], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                text=True, env=clean_environ(),
            )  # fmt: skip
            self._processes.append(process)
            threading.Thread(target=self._read, args=(number, process), daemon=True).start()

    def _read(self, number, process):
        for line in process.stdout:
            self._said.put((number, json.loads(line)))

    def _send(self, number, *words):
        stdin = self._processes[number].stdin
        stdin.write(" ".join(map(str, words)) + "\n")
        stdin.flush()

    def held(self):
        """(process, waiter, when) of the next one that has the lock."""
        number, said = self._said.get(timeout=60)
        assert "held" in said, said
        return number, said["held"], said["at"]

    def hand_over(self, holder):
        """The holder gives it back: the next one, and the seconds that it took."""
        number, waiter, _ = holder
        self._send(number, "release", waiter)
        said = [self._said.get(timeout=60), self._said.get(timeout=60)]
        (began,) = [each["at"] for _, each in said if "began" in each]
        (found,) = [(where, each) for where, each in said if "held" in each]
        where, each = found
        return (where, each["held"], each["at"]), each["at"] - began

    def counts(self):
        """The sums over all processes."""
        for number in range(len(self._processes)):
            self._send(number, "counts")
        total = Counter()
        for _ in self._processes:
            total.update(self._said.get(timeout=60)[1])
        return total

    def end(self):
        """End them."""
        for process in self._processes:
            process.kill()
            process.wait()


def cpu_s(daemons):
    """The processor time of all daemons until now."""
    total = 0
    for name in daemons.names:
        fields = (
            Path(f"/proc/{daemons.processes[name].pid}/stat").read_text().split(") ")[1].split()
        )
        total += int(fields[11]) + int(fields[12])
    return total * TICK_S


def contended(daemons, waiters, procs, hand_overs):
    """Prints what many waiters cost."""
    began = time.monotonic()
    crowd = Crowd(daemons.endpoints, waiters, procs)
    try:
        holder = crowd.held()
        wait_for(lambda: crowd.counts()["waiting"] >= waiters - 1, UP_S, "all wait")
        print(f"{waiters} waiters in {procs} processes: all wait after "
              f"{time.monotonic() - began:.1f} s", flush=True)  # fmt: skip
        time.sleep(2.0)

        def measured(action):
            before, daemons_s, began_s = crowd.counts(), cpu_s(daemons), time.monotonic()
            action()
            took_s = time.monotonic() - began_s
            found = crowd.counts()
            found.subtract(before)
            return found, cpu_s(daemons) - daemons_s, took_s

        took = []

        def hand_over_all():
            nonlocal holder
            for _ in range(hand_overs):
                holder, seconds = crowd.hand_over(holder)
                took.append(seconds)

        idle, idle_s, idle_took = measured(lambda: time.sleep(IDLE_S))
        busy, busy_s, busy_took = measured(hand_over_all)
    finally:
        crowd.end()
    took.sort()
    share = busy_took / idle_took

    def each(name):
        return (busy[name] - idle[name] * share) / hand_overs

    print(
        f"hand-over: p50 {1000 * statistics.median(took):.2f} ms, "
        f"p99 {1000 * took[len(took) * 99 // 100]:.2f} ms, max {1000 * took[-1]:.2f} ms"
    )
    print(
        f"for each: {each('looks'):.2f} looks, {each('sent'):.1f} messages sent, "
        f"{each('answers'):.1f} answers, {each('events'):.1f} events, {each('bytes'):.0f} bytes; "
        f"processor: daemons {1000 * (busy_s - idle_s * share) / hand_overs:.2f} ms, "
        f"clients {1000 * each('cpu_s'):.2f} ms",
        flush=True,
    )
    print(
        f"waiting alone: {idle['sent'] / idle_took:.0f} messages sent and "
        f"{idle['events'] / idle_took:.0f} events a second; processor: daemons "
        f"{100 * idle_s / idle_took:.0f} %, clients {100 * idle['cpu_s'] / idle_took:.0f} %"
    )


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waiters", type=int, default=1000)
    parser.add_argument("--procs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--hand-overs", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as path, Daemons(Path(path), 3) as daemons:
        daemons.start()
        daemons.wait_leader()
        wait_for(
            lambda: all(
                (daemons.status(name) or {}).get("level", 0) >= LEVEL_COORDINATION
                for name in daemons.names
            ),
            what="the feature level of leases",
        )
        if options.rounds:
            with daemons.client() as client:
                took = sorted(uncontended(client, options.rounds))
            print(f"acquire + release: p50 {1000 * statistics.median(took):.2f} ms, "
                  f"p90 {1000 * took[len(took) * 9 // 10]:.2f} ms", flush=True)  # fmt: skip
        if options.waiters:
            contended(daemons, options.waiters, options.procs, options.hand_overs)


if __name__ == "__main__":
    main()
