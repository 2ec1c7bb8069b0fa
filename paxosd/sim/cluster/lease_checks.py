"""Whether a lease keeps its promise, seen from outside, in true time.

    lease    no lease ends before its TTL has passed, in true time, since its last confirmed renewal
             was sent; and what has ended is confirmed to nobody

Clocks may run faster than true time by ``RATE_MAX`` at most (``clock_checks.py``). A lease that was
about to be revoked may end at any time. That all nodes end the same leases at the same slots is
part of the equality of states.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from paxosd.core.commands import Change
from paxosd.core.state.machine import Machine
from paxosd.core.types import Slot
from paxosd.sim.cluster.clock_checks import RATE_MAX
from paxosd.sim.cluster.violation import Violation

PREFIX = b"!lease/"
"""Of the holders' keys: below those of all other clients, so that no range of these has them."""


class _End(NamedTuple):
    slot: Slot
    at_ms: float


class LeaseChecks:
    """The checks of one run. Raises Violation."""

    def __init__(self, now_ms: Callable[[], float], rate_max: float = RATE_MAX) -> None:
        """``now_ms()``: true time. ``rate_max``: of the fastest clock."""
        self._now_ms = now_ms
        self._rate_max = rate_max
        self._present: set[int] = set()
        self._sent_ms: dict[int, tuple[float, int]] = {}
        """When the last confirmed renewal of a lease was sent, and its TTL."""
        self._ended: dict[int, _End] = {}
        self._revoked: set[int] = set()
        self.revisions: set[int] = set()
        """Those in which keys of holders changed. Only used for lookups."""
        self.expired = 0
        """How many leases have ended that nobody revoked."""

    def revoking(self, lease: int) -> None:
        """Its holder is about to revoke it."""
        self._revoked.add(lease)

    def is_revoked(self, lease: int) -> bool:
        """Whether its holder was about to revoke it at any time."""
        return lease in self._revoked

    def renewed(self, lease: int, ttl_ms: int, sent_ms: float) -> None:
        """A holder is answered that its lease has all of its TTL; it had asked at that time."""
        known = self._sent_ms.get(lease)
        if known is None or known[0] < sent_ms:
            self._sent_ms[lease] = sent_ms, ttl_ms
        if lease in self._ended and lease not in self._revoked:
            self._check(lease, self._ended[lease])

    def on_applied(self, slot: Slot, machine: Machine) -> None:
        """The first node has applied a slot."""
        present = set(machine.leases.table)
        for lease in sorted(self._present - present):
            end = self._ended[lease] = _End(slot, self._now_ms())
            if lease not in self._revoked:
                self.expired += 1
                self._check(lease, end)
        self._present = present

    def on_changes(self, changes: Iterable[Change]) -> None:
        """What the slot that was applied last has changed."""
        self.revisions |= {c.revision for c in changes if c.key.startswith(PREFIX)}

    def _check(self, lease: int, end: _End) -> None:
        if lease not in self._sent_ms:
            return
        sent_ms, ttl_ms = self._sent_ms[lease]
        lived_ms = end.at_ms - sent_ms
        if self._rate_max * lived_ms < ttl_ms:
            raise Violation(
                "lease",
                f"lease {lease} of {ttl_ms} ms ended in slot {end.slot}, {lived_ms:.0f} ms after "
                "its last confirmed renewal was sent",
            )
