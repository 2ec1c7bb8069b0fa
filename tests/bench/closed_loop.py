"""Many clients in one thread, each with one put under way, and when each was acknowledged.

    ClosedLoop(endpoints, clients=20).start() ──► acked_s, slowest_s ──► longest_gap

Each client is the product's own connection: it follows the leader, repeats and moves on by itself,
so that a gap is what a program with a `Client` would see. All share one thread, for the measurement
is to leave the processors to the daemons.
"""

import threading
import time
from itertools import pairwise

from paxosctl.client.connection import Connection
from paxosctl.client.transport import Transport
from paxosd.core.commands import PUT
from paxosd.host.clock import clock_ms

POLL_MAX_MS = 20


def longest_gap(acked_s, began_s, ended_s):
    """The longest time between two acknowledged writes, of which the second, or the end, lies
    between these two moments."""
    inside = sorted(at for at in acked_s if began_s < at <= ended_s)
    before = [at for at in acked_s if at <= began_s]
    points = [max(before, default=began_s), *inside, ended_s]
    return max(b - a for a, b in pairwise(points))


class _Looper:
    """One client: its connection, and the put that it waits for."""

    def __init__(self, connection, key):
        self.connection, self.key = connection, key
        self.call, self.sent_s, self.due_s, self.number = None, 0.0, 0.0, 0


class ClosedLoop(threading.Thread):
    """``clients`` connections that put again ``pause_s`` after each answer."""

    def __init__(self, endpoints, *, clients=20, pause_s=0.02, timeout_s=20.0):
        super().__init__(daemon=True)
        self.acked_s: list[float] = []
        """When each write was acknowledged, on ``time.monotonic``."""
        self.took_s: list[tuple[float, float]] = []
        """When each write was submitted, and how long it took."""
        self.failures: list[str] = []
        self.error: BaseException | None = None
        self._endpoints, self._clients = list(endpoints), clients
        self._pause_s, self._timeout_ms = pause_s, int(timeout_s * 1000)
        self._over = threading.Event()

    def run(self):
        transport = Transport()
        try:
            loopers = []
            for place in range(self._clients):
                turn = place % len(self._endpoints)
                endpoints = self._endpoints[turn:] + self._endpoints[:turn]
                loopers.append(_Looper(Connection(transport, endpoints), b"loop/%d" % place))
            while not self._over.is_set():
                due_ms = min(self._work(each) for each in loopers)
                transport.poll(max(0, min(due_ms - clock_ms(), POLL_MAX_MS)))
            for each in loopers:
                each.connection.close()
        except BaseException as error:  # noqa: BLE001 - raised again by stop
            self.error = error
        finally:
            transport.close()

    def _work(self, each):
        """Take the answer of one client and send its next put; when it has something to do."""
        now_s = time.monotonic()
        protocol = each.connection.protocol
        if each.call is not None and each.call.done:
            protocol.take_completed()
            if each.call.failure is None:
                self.acked_s.append(now_s)
                self.took_s.append((each.sent_s, now_s - each.sent_s))
            else:
                self.failures.append(str(each.call.failure))
            each.call, each.due_s = None, now_s + self._pause_s
        if each.call is None and now_s >= each.due_s:
            each.number += 1
            put = [PUT, each.key, b"%d" % each.number]
            each.call = protocol.submit(put, clock_ms(), self._timeout_ms)
            each.sent_s = now_s
        due_ms = each.connection.turn()
        if each.call is None:
            due_ms = min(due_ms, clock_ms() + int(1000 * (each.due_s - now_s)) + 1)
        return due_ms

    def stop(self):
        """End. Raises what broke the loop."""
        self._over.set()
        self.join()
        if self.error is not None:
            raise self.error

    def slowest_s(self, began_s, ended_s):
        """The longest that one write took which was under way between these moments."""
        took = [took for sent, took in self.took_s if sent < ended_s and sent + took > began_s]
        return max(took, default=0.0)
