"""Safeguards of transactions: all of one takes effect or none of it, and only if its compares
hold."""

from paxosd.core.state.transaction_run import _Plan
from tests.bench.mutation import around, row


def _hold_anyway(real, self, compare):
    return True


def _write_half(real, self):
    net = real(self)
    return net[: (len(net) + 1) // 2]


def _look_beneath(real, self, key):
    """The value in the store, whatever the transaction itself has planned for the key."""
    pending, self.pending = self.pending, {}
    try:
        return real(self, key)
    finally:
        self.pending = pending


TRANSACTIONS = (
    row("txn-compare-skipped", "a transaction looks at all of its compares",
        around(_Plan, "_holds", _hold_anyway), profiles="transactions", in_suite=True),
    row("txn-half-applied", "all operations of a transaction take effect",
        around(_Plan, "_net", _write_half), profiles="transactions", in_suite=True),
    row("txn-own-write-unseen", "an operation sees those before it in its transaction",
        around(_Plan, "_value", _look_beneath), profiles="transactions", seed=2),
)  # fmt: skip
