"""How fast locks are: uncontended, and with many waiters.

    python -m tests.bench.lock_speed [--waiters 1000] [--rounds 200]

Daemons of one host, in processes of their own; all waiters are of one client in this process, whose
thread of locks has one connection. Prints the p50 of acquire and release together, the time of a
hand-over (from the begin of a release to the next one's acquire), and how many looks at the queue
and how many watches were begun for a hand-over.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from tests.processes.processes import Daemons, wait_for


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


def contended(client, waiters, hand_overs):
    """Seconds of each hand-over with so many waiters, and how many looks one takes."""
    locks = [client.lock(b"queue", ttl_s=120) for _ in range(waiters + 1)]
    order, acquired = [], threading.Semaphore(0)

    def wait(lock):
        lock.acquire()
        order.append((time.perf_counter(), lock))
        acquired.release()

    threading.stack_size(256 << 10)
    for lock in locks:
        threading.Thread(target=wait, args=(lock,), daemon=True).start()
    assert acquired.acquire(timeout=60)
    wait_for(lambda: all(each.protocol.is_behind for each in locks if each is not order[0][1]),
             300, "all wait")  # fmt: skip
    time.sleep(2.0)  # the last watches connect
    looks = sum(lock.protocol.looks for lock in locks)
    took = []
    for place in range(hand_overs):
        began = time.perf_counter()
        order[place][1].release()
        assert acquired.acquire(timeout=60)
        took.append(order[place + 1][0] - began)
    return took, (sum(lock.protocol.looks for lock in locks) - looks) / hand_overs


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--waiters", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--hand-overs", type=int, default=50)
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
        with daemons.client() as client:
            took = sorted(uncontended(client, options.rounds))
            print(f"acquire + release: p50 {1000 * statistics.median(took):.2f} ms, "
                  f"p90 {1000 * took[len(took) * 9 // 10]:.2f} ms", flush=True)  # fmt: skip
            if options.waiters:
                took, looks = contended(client, options.waiters, options.hand_overs)
                print(f"{options.waiters} waiters: hand-over p50 "
                      f"{1000 * statistics.median(took):.2f} ms, max {1000 * max(took):.2f} ms; "
                      f"{looks:.2f} looks a hand-over", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
