"""One node of PySyncObj, and its load generator: the library lives in the application's process.

    python pysyncobj_node.py SELF_ADDRESS,OTHER,OTHER JOURNAL_FILE

Reads one JSON object a line: ``{"ask": "leader"}``, or a load with the fields of load(). Writes one
JSON object a line. It needs nothing of ours.
"""

import json
import random
import sys
import threading
import time

from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict

APPEND_PERIOD_S = 0.01
TICK_PERIOD_S = 0.005


class Load:
    """Chains of puts: the next is made when the one before has been applied here."""

    def __init__(self, replicated, *, clients, keys, value_bytes, seconds, warmup_s):
        self._replicated, self._keys, self._value = replicated, keys, "x" * value_bytes
        self._clients = clients
        self.began_s = time.monotonic() + warmup_s
        self.ends_s = self.began_s + seconds
        self.latencies, self.errors = [], 0
        self._under_way = clients
        self._lock = threading.Lock()
        self.over = threading.Event()

    def run(self):
        for _ in range(self._clients):
            self._put()
        self.over.wait(self.ends_s - time.monotonic() + 10)

    def _put(self):
        from_s = time.monotonic()
        key = f"bench/{random.randrange(self._keys)}"
        self._replicated.set(
            key, self._value, callback=lambda result, error: self._done(from_s, error)
        )

    def _done(self, from_s, error):
        now_s = time.monotonic()
        if self.began_s <= now_s < self.ends_s:
            if error:
                self.errors += 1
            else:
                self.latencies.append(now_s - from_s)
        if now_s < self.ends_s:
            self._put()
            return
        with self._lock:
            self._under_way -= 1
            if not self._under_way:
                self.over.set()


def load(node, replicated, asked):
    # One command is sent on at once; many wait for each other, as the library advises.
    node.conf.appendEntriesUseBatch = asked["clients"] > 1
    run = Load(
        replicated, clients=asked["clients"], keys=asked["keys"], value_bytes=asked["value_bytes"],
        seconds=asked["seconds"], warmup_s=asked["warmup_s"],
    )  # fmt: skip
    print("ready", file=sys.stderr, flush=True)
    run.run()
    found = sorted(run.latencies) or [0.0]

    def quantile_ms(share):
        return found[int(share * (len(found) - 1))] * 1000

    return {
        "ops": len(run.latencies), "errors": run.errors, "elapsed_s": asked["seconds"],
        "p50_ms": quantile_ms(0.5), "p99_ms": quantile_ms(0.99), "max_ms": quantile_ms(1.0),
    }  # fmt: skip


def main():
    addresses, journal = sys.argv[1].split(","), sys.argv[2]
    replicated = ReplDict()
    node = SyncObj(
        addresses[0], addresses[1:], consumers=[replicated],
        conf=SyncObjConf(
            journalFile=journal, fullDumpFile=journal + ".dump", autoTickPeriod=TICK_PERIOD_S,
            appendEntriesPeriod=APPEND_PERIOD_S, appendEntriesUseBatch=False,
        ),
    )  # fmt: skip
    for line in sys.stdin:
        asked = json.loads(line)
        if asked.get("ask") == "leader":
            leader = node._getLeader()
            answer = {"leader": leader.address if leader else "", "is_ready": node.isReady()}
        else:
            answer = load(node, replicated, asked)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
