"""When a leader lets log time go on by itself: while there are leases.

    nothing under way, a lease due by now as far as the leader knows ──► a batch without entries

Log time passes with the batches of the log alone (``core/state/log_clock.py``), and so leases end
at a slot only. Where no client writes, the leader proposes an empty batch: when the first lease may
be due; at the begin of its reign, for the first batch of a reign starts the stopwatch; and every
:data:`TICK_MS`, so that no more time than this is lost where the leader changes.
"""

from math import inf

from paxosd.core.context import Context
from paxosd.core.replication import Replication

TICK_MS = 5000


class LeaseTicks:
    """One node's part in it; it does something only while the node leads."""

    __slots__ = ("_context", "_replication")

    def __init__(self, context: Context, replication: Replication) -> None:
        self._context = context
        self._replication = replication

    def next_due_ms(self) -> float:
        """When an empty batch is to be proposed; inf: not before something else has happened."""
        context = self._context
        machine = context.machine
        if not machine.leases.table:  # in most clusters, and asked twice a turn
            return inf
        due_ms = machine.leases.due_at_ms()
        if due_ms is None or not self._replication.is_idle:
            return inf
        wait_ms = min(max(0, due_ms - machine.log_time_ms), TICK_MS)
        return self._replication.stopwatch_ms(machine.latest_reign) + wait_ms

    def tick(self) -> None:
        """Propose it, if it is due."""
        context = self._context
        if context.machine.leases.table and self.next_due_ms() <= context.now_ms:
            self._replication.propose_time()
