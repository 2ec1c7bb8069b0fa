"""Writers of ours for the failover rows: plain clients that try again until a write succeeds.

    python -m tests.bench.compare_writers ENDPOINT,ENDPOINT CLIENTS SECONDS WARMUP_S VALUE_BYTES

Each client is connected to all nodes and writes in a closed loop. Prints one JSON object with the
longest time in which none of them, and in which one of them, got an acknowledgement.
"""

import json
import sys
import threading
import time
from itertools import pairwise

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError

ATTEMPT_S = 5.0


def longest_gap_ms(moments_s):
    """The longest time between two neighbours of these moments, in milliseconds."""
    return max((b - a for a, b in pairwise(sorted(moments_s))), default=0.0) * 1000


def write(endpoints, number, began_s, ends_s, value, acked):
    """One client's loop; (when, how long it took) of each acknowledged write goes to ``acked``."""
    with Client(endpoints, timeout_s=ATTEMPT_S) as client:
        while (from_s := time.monotonic()) < ends_s:
            try:
                client.put(b"bench/%d" % number, value)
            except ClientError:
                continue
            now_s = time.monotonic()
            if began_s <= now_s < ends_s:
                acked.append((now_s, now_s - from_s))


def main():
    """Run all clients, then print what they found."""
    endpoints, clients = sys.argv[1].split(","), int(sys.argv[2])
    seconds, warmup_s, value_bytes = float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    began_s = time.monotonic() + warmup_s
    ends_s = began_s + seconds
    acked = [[] for _ in range(clients)]
    threads = [
        threading.Thread(
            target=write, args=(endpoints, i, began_s, ends_s, b"x" * value_bytes, acked[i])
        )
        for i in range(clients)
    ]
    for thread in threads:
        thread.start()
    print("ready", file=sys.stderr, flush=True)
    for thread in threads:
        thread.join()
    everything = [each for of_client in acked for each in of_client]
    took_ms = sorted(took_s * 1000 for _, took_s in everything) or [0.0]
    print(json.dumps({
        "ops": len(everything), "elapsed_s": seconds,
        "p50_ms": took_ms[len(took_ms) // 2], "p99_ms": took_ms[len(took_ms) * 99 // 100],
        "max_ms": took_ms[-1], "gap_ms": longest_gap_ms([at_s for at_s, _ in everything]),
        "client_gap_ms": max(longest_gap_ms([at_s for at_s, _ in each]) for each in acked),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
