"""When to send an accept again: how long the votes for one take, and how much more to wait.

    first vote for a proposal ──► answered(took, sendings) ──► patience_ms(sendings)

The patience follows the measured time of a vote, its fsync included: the smoothed time and four
deviations (RFC 6298, section 2). A proposal that was sent more than once is not measured, for its
vote may answer any sending (Karn and Partridge, 1987); instead patience doubles, and is halved by
each proposal that needed one sending. So a cluster that has become slower is measured again soon,
and one that loses messages keeps a short patience: there most proposals need one sending.

Each further sending of one proposal waits twice as long as the one before, up to
``retransmit_ms``, which is also the patience before anything was measured. A resent accept is a
small one (``flow.py`` paces large ones), costs its acceptor no fsync, and has it vote again: so it
makes good for a lost accept and for a lost vote.
"""

PATIENCE_MIN_MS = 30.0
"""An accept and its vote travel on different connections, and a turn may be late by some ms."""
BOOST_MAX = 8.0


class ResendTimer:
    """The measurements of one node as leader. Times in ms."""

    __slots__ = ("_boost", "_deviation_ms", "_retransmit_ms", "_smoothed_ms")

    def __init__(self, retransmit_ms: float) -> None:
        self._retransmit_ms = retransmit_ms
        self._smoothed_ms = self._deviation_ms = 0.0
        self._boost = 1.0

    def answered(self, took_ms: float, sendings: int) -> None:
        """The first vote of another node for a proposal came, so long after its last sending."""
        if sendings > 1:
            self._boost = min(BOOST_MAX, 2 * self._boost)
            return
        self._boost = max(1.0, self._boost / 2)
        if not self._smoothed_ms:
            self._smoothed_ms, self._deviation_ms = took_ms, took_ms / 2
            return
        self._deviation_ms += (abs(took_ms - self._smoothed_ms) - self._deviation_ms) / 4
        self._smoothed_ms += (took_ms - self._smoothed_ms) / 8

    def patience_ms(self, sendings: int) -> float:
        """How long to wait after the n-th sending."""
        if not self._smoothed_ms:
            return self._retransmit_ms
        usual_ms = max(PATIENCE_MIN_MS, self._smoothed_ms + 4 * self._deviation_ms)
        return min(self._retransmit_ms, usual_ms * self._boost * (1 << min(sendings - 1, 10)))
