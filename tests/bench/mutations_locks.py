"""Safeguards of locks: the holder knows first, fences are compared, and the queue goes on."""

from paxosd.core.client import lock as lock_module
from paxosd.core.client.lock import Await, LockProtocol
from paxosd.core.state import transaction_run
from paxosd.core.transactions import EQUAL
from tests.bench.mutation import around, instead, row

ATTEMPT_MS = 1000
"""After so long a simulated client sends a command again."""


def _count_from_now(real, self, result, failure, began_ms, now_ms):
    return real(self, result, failure, now_ms, now_ms)


def _count_from_the_last_sending(real, self, result, failure, began_ms, now_ms):
    passed_ms = (now_ms - began_ms) // ATTEMPT_MS * ATTEMPT_MS
    return real(self, result, failure, began_ms + passed_ms, now_ms)


def _await_itself(real, self, ahead, revision):
    if self.plan.shared > 1:
        return real(self, ahead, revision)
    self._awaited = frozenset((self.key,))
    return [Await(self.plan.prefix, self._awaited, revision + 1)]


_ALWAYS = {**transaction_run._COMPARISONS, EQUAL: lambda found, wanted: True}

LOCKS = (
    row("lock-from-confirmation", "a lease is counted from the sending of its renewal",
        around(LockProtocol, "_on_renewal", _count_from_now),
        around(LockProtocol, "_on_grant", _count_from_now), profiles="locks-brief", seed=30,
        in_suite=True),
    row("lock-second-sending", "a renewal that is sent again counts from the first sending",
        around(LockProtocol, "_on_renewal", _count_from_the_last_sending),
        around(LockProtocol, "_on_grant", _count_from_the_last_sending), profiles="locks-brief",
        seed=7, in_suite=True),
    row("lock-no-drift", "the holder allows for the drift of its own clock",
        instead(lock_module, "DRIFT_PPM_MAX", 0), instead(lock_module, "MARGIN_MS", 0),
        where="LockProtocol._renewed", profiles="slow-holder", seed=1, in_suite=True),
    row("lock-fence-ignored", "a fenced write of a former holder is refused",
        instead(transaction_run, "_COMPARISONS", _ALWAYS), where="the compare of a TXN",
        profiles="locks-brief", seed=3, in_suite=True),
    row("lock-wrong-predecessor", "a waiter awaits the one before it",
        around(LockProtocol, "_await", _await_itself), profiles="locks-brief", seed=2),
)  # fmt: skip
