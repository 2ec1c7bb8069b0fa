"""How long a lease may be relied on, as its holder counts.

    term = LeaseTerm(lease, ttl_ms, sent_us)     it was granted; the grant was sent then
    term.renewed(ttl_ms, sent_us)                a renewal was confirmed, which was sent then
    term.found_gone(at_us)                       an answer that had come by then said so
    term.expect(history)                         at the end of a run: from when on it may have ended

Times are true ones, of the history's clock. The rule is that of ``docs/LEASES.md``: it lives for
its TTL at least since the sending of the last confirmed renewal, if no clock is faster than
``CLOCK_PPM_MAX`` says.
"""

from paxosd.check.history import History, Operation
from paxosd.core.commands import REVOKE

CLOCK_PPM_MAX = 500
LEASE_PROCESS = "lease "
"""So the name of what ends a lease begins, in the history."""


class LeaseTerm:
    """One lease of one holder. ``breach``: what it did that it must not, in words; "": nothing."""

    def __init__(self, lease: int, ttl_ms: int, sent_us: int) -> None:
        self.lease = lease
        self.may_end_us = 0
        """From then on it may end."""
        self.breach = ""
        self._gone = False
        self._revoked = False
        self.renewed(ttl_ms, sent_us)

    def renewed(self, ttl_ms: int, sent_us: int) -> None:
        """It has all of its TTL since then."""
        if self._gone:
            self.breach = f"lease {self.lease} was renewed after it had ended"
        lives_us = ttl_ms * 1000 * (1_000_000 - CLOCK_PPM_MAX) // 1_000_000
        self.may_end_us = max(self.may_end_us, sent_us + lives_us)

    def revoking(self) -> None:
        """The holder is about to end it."""
        self._revoked = True

    def found_gone(self, at_us: int) -> None:
        """By then an answer said that there is no such lease."""
        self._gone = True
        if at_us < self.may_end_us and not self._revoked:
            early_ms = (self.may_end_us - at_us) / 1000
            self.breach = f"lease {self.lease} ended {early_ms:.1f} ms early, or more"

    def expect(self, history: History) -> Operation:
        """Record that it may end from then on: for the checkers of its keys."""
        return history.expects(
            f"{LEASE_PROCESS}{self.lease}", [REVOKE, self.lease], self.may_end_us
        )
