"""The failover rows: the leader is killed or stopped while clients write, and comes back after.

The figure is the longest time in which no client got an acknowledgement; a client that is
connected to the lost node alone may wait longer, which ``client_gap_ms`` shows.
"""

import signal
import time

from tests.bench.compare_rows import KILL

BEFORE_S = 2.0
"""From the beginning of the measured part to the loss of the leader."""
SECONDS = 20.0
"""The measured part: longer than any of the systems takes with its defaults."""


class Failover:
    """What happens during the measured part of one run on ``cluster``."""

    def __init__(self, cluster, row):
        self._cluster, self._row = cluster, row
        self._victim = ""

    def __call__(self, seconds):
        """Take the place of the mere waiting for the measured part to end."""
        time.sleep(BEFORE_S)  # so that the gap has a beginning
        self._victim = self._cluster.wait_ready()
        process = self._cluster.processes[self._victim]
        if self._row.operation == KILL:
            process.kill()
            process.wait()
        else:
            process.send_signal(signal.SIGSTOP)
        time.sleep(max(0.0, seconds - BEFORE_S))  # the rest of the measured part

    def heal(self):
        """Bring the node back, and wait until all agree again."""
        if not self._victim:
            return
        process = self._cluster.processes[self._victim]
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        else:
            self._cluster.start_node(self._victim)
        self._cluster.wait_ready()


def run_failover(cluster, row, warmup_s):
    """Figures of one failover."""
    failover = Failover(cluster, row)
    try:
        return cluster.run(row, SECONDS, warmup_s, meanwhile=failover)
    finally:
        failover.heal()
