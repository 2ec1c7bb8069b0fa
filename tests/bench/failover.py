"""How long until a write succeeds after the leader was killed with -9.

    python -m tests.bench.failover [--rounds 20] [--freeze] [--election-timeout-ms MS]

Three daemons on loopback. A client that is connected to all of them writes in a loop; the leader
is killed; the time counts from just before the signal to the first acknowledged write that was
submitted after it. The node is started again, and the next round begins once all three agree.

With ``--freeze`` it is stopped (SIGSTOP) instead: no connection breaks, so that only silence
shows it, as when its machine has lost its network.

Prints one line per round, then the median and the extremes. No assertion: this is a measurement.
"""

import argparse
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.processes.processes import Daemons


def measure(daemons, number, freeze):
    """The leader's name, and the milliseconds of one failover."""
    leader = daemons.wait_leader()
    daemons.wait_equal()
    with daemons.client(timeout_s=60.0) as client:
        for _ in range(20):
            client.put(b"warm", b"%d" % number)
        began = time.monotonic()
        if freeze:
            daemons.signal(leader, signal.SIGSTOP)
        else:
            daemons.kill(leader)
        client.put(b"after", b"%d" % number)
        took_ms = (time.monotonic() - began) * 1000
    if freeze:
        daemons.signal(leader, signal.SIGCONT)
    else:
        daemons.start(leader)
    daemons.wait_up(leader)
    return leader, took_ms


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--election-timeout-ms", type=int, default=0, help="0: the default")
    parser.add_argument("--freeze", action="store_true", help="SIGSTOP instead of SIGKILL")
    options = parser.parse_args()
    protocol = {}
    if options.election_timeout_ms:
        protocol["election_timeout_ms"] = options.election_timeout_ms
    times = []
    with (
        tempfile.TemporaryDirectory() as path,
        Daemons(Path(path), protocol=protocol) as daemons,
    ):
        daemons.start()
        for number in range(options.rounds):
            leader, took_ms = measure(daemons, number, options.freeze)
            times.append(took_ms)
            print(f"round {number + 1}: {leader}, next write after {took_ms:.0f} ms")
    print(
        f"{len(times)} rounds: median {statistics.median(times):.0f} ms, "
        f"least {min(times):.0f} ms, most {max(times):.0f} ms"
    )


if __name__ == "__main__":
    main()
