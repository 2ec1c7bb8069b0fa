"""Watchers of one key of ours: from a put to its arrival at each of them.

    python -m tests.bench.compare_watch ENDPOINT,ENDPOINT EVENTS_ENDPOINT WATCHERS SECONDS WARMUP_S

Every watcher is a SUB socket with a connection of its own, at the node whose events endpoint is
given; all are read in one thread. The next put is sent when all have received the last. Writes
"ready" to standard error when all are subscribed, and one JSON object to standard output.
"""

import json
import resource
import sys
import time

import zmq

from paxosctl.client.client import Client

KEY = b"bench/watched"
TOPIC = b"kv/" + KEY
SUBSCRIBED_LIMIT_S = 60.0
ROUND_MS = 500
ARRIVED_LIMIT_S = 30.0


class Fan:
    """The watchers."""

    def __init__(self, endpoint, count):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._context = context = zmq.Context()
        context.set(zmq.MAX_SOCKETS, 2 * count + 16)
        self._poller = zmq.Poller()
        self._sockets = [context.socket(zmq.SUB) for _ in range(count)]
        for socket in self._sockets:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SUBSCRIBE, TOPIC)
            socket.connect(endpoint)
            self._poller.register(socket, zmq.POLLIN)

    def close(self):
        """Close every connection."""
        self._context.destroy(0)

    def arrivals(self, timeout_ms):
        """(socket, when) of each change that arrives within this time."""
        for socket, _ in self._poller.poll(timeout_ms):
            socket.recv_multipart()
            yield socket, time.monotonic()

    def wait_subscribed(self, put):
        """Put until every watcher has received a change, then until none comes any more."""
        deadline_s = time.monotonic() + SUBSCRIBED_LIMIT_S
        seen = set()
        while len(seen) < len(self._sockets):
            if time.monotonic() > deadline_s:
                words = f"only {len(seen)} of {len(self._sockets)} watchers receive changes"
                raise SystemExit(words)
            put()
            while found := {socket for socket, _ in self.arrivals(ROUND_MS)}:
                seen |= found
        while list(self.arrivals(ROUND_MS)):
            pass

    def measure(self, put):
        """Milliseconds from a put to its arrival at each watcher."""
        began_s = time.monotonic()
        put()
        took_ms = []
        while len(took_ms) < len(self._sockets):
            if time.monotonic() > began_s + ARRIVED_LIMIT_S:
                raise SystemExit(f"a change reached {len(took_ms)} of {len(self._sockets)}")
            took_ms += [(at_s - began_s) * 1000 for _, at_s in self.arrivals(ROUND_MS)]
        return took_ms


def main():
    """Subscribe, measure, print."""
    endpoints, events, watchers = sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])
    seconds, warmup_s = float(sys.argv[4]), float(sys.argv[5])
    with Client(endpoints, timeout_s=ARRIVED_LIMIT_S) as client:
        fan = Fan(events, watchers)
        fan.wait_subscribed(lambda: client.put(KEY, b"x"))
        print("ready", file=sys.stderr, flush=True)
        began_s = time.monotonic() + warmup_s
        ends_s = began_s + seconds
        took_ms = []
        while (now_s := time.monotonic()) < ends_s:
            found = fan.measure(lambda: client.put(KEY, b"x"))
            took_ms += found if now_s >= began_s else []
    fan.close()
    took_ms.sort()
    print(json.dumps({
        "ops": len(took_ms), "elapsed_s": seconds,
        "p50_ms": took_ms[len(took_ms) // 2], "p99_ms": took_ms[len(took_ms) * 99 // 100],
        "max_ms": took_ms[-1], "generator_cpu_s": time.process_time(),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
