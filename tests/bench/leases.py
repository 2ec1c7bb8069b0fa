"""What leases cost: a slot with 100,000 of them, and 10,000 that are kept alive.

    python -m tests.bench.leases

Processor time of one state machine, without log and network: each node pays it.
"""

import time

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import GRANT, KEEPALIVE, OPEN, PUT, Batch, Entry, Reign
from paxosd.core.lease_bounds import FIRST_ID
from paxosd.core.state.machine import Machine

COUNT = 100_000
KEPT = 10_000
TTL_MS = 10_000


class Log:
    """A machine, one session, and log time."""

    def __init__(self):
        self.machine = Machine()
        self.machine.settings = ClusterSettings(1, LEVEL_COORDINATION)._replace(leases_max=COUNT)
        self.seq = 0
        self.now_ms = 0
        self.apply(Entry(0, 1, 0, [[OPEN]]))

    def apply(self, *entries):
        """Microseconds of processor time for one slot."""
        batch = Batch(0, list(entries), Reign(1, "n1", self.now_ms))
        began = time.process_time_ns()
        self.machine.apply(self.machine.applied + 1, batch, b"value")
        return (time.process_time_ns() - began) / 1000

    def do(self, commands):
        self.seq += len(commands)
        first = self.seq - len(commands) + 1
        return self.apply(Entry(1, first, first - 1, commands))


def make(count, ttl_ms, keys=False):
    log = Log()
    grants = [log.do([[GRANT, ttl_ms, 0]] * 1000) for _ in range(count // 1000)]
    print(f"grant: {sum(grants) / count:.2f} us each")
    if keys:
        puts = []
        for at in range(FIRST_ID, FIRST_ID + count, 1000):
            puts.append(log.do([[PUT, b"key %d" % n, b"v", n] for n in range(at, at + 1000)]))
        print(f"put with a lease: {sum(puts) / count:.2f} us each")
    return log


def puts(log, slots=300):
    """Microseconds for a slot of 10 plain puts, in the middle of the range."""
    times = []
    for _ in range(slots):
        log.now_ms += 1
        times.append(log.do([[PUT, b"plain %d" % n, b"v"] for n in range(10)]))
    return sorted(times)[slots // 2]


def main():
    print(f"a slot of 10 puts, no leases: {puts(Log()):.1f} us")
    log = make(COUNT, 10 * TTL_MS, keys=True)
    print(f"the same with {COUNT} leases, each with a key: {puts(log):.1f} us")
    log.now_ms += 11 * TTL_MS
    times = []
    while log.machine.leases.table:
        times.append(log.apply())
    print(f"all end together: {len(times)} slots, {sum(times) / len(times):.0f} us on average, "
          f"{max(times):.0f} us at most")  # fmt: skip

    log = make(KEPT, TTL_MS)
    ids = list(range(FIRST_ID, FIRST_ID + KEPT))
    for batch in (1, 10, 1000):
        spent = 0.0
        for _ in range(3):  # three rounds, each a third of the TTL
            for at in range(0, KEPT, batch):
                log.now_ms += 1 if at % 1000 == 0 else 0
                spent += log.do([[KEEPALIVE, ids[at : at + batch]]])
        share = spent / 1e6 / (TTL_MS / 1000)
        print(f"{KEPT} leases of {TTL_MS} ms, renewed three times in that, {batch} a command, each "
              f"in a slot of its own: {100 * share:.2f} % of a core")  # fmt: skip


if __name__ == "__main__":
    main()
