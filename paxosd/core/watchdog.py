"""A leader that gets nowhere gives up its ballot: whatever holds it, another may do better.

    leading, something waits, a quorum answers ── and for a while nothing at all has moved ──► stop
    each time in vain the while is twice as long; a commit index that moves makes it short again

*Nothing at all*: no slot applied, no new vote or chosen value heard, no group commit finished here,
no piece of a snapshot come. A disk or a link that is slow moves something now and then, so it keeps
its leader; where the while is too short for it all the same, doubling makes it long enough.

The ways known to get stuck have remedies of their own (``Replication.overtaken``,
``Replication.cannot_begin``); this is for those that are not known.
"""

from paxosd.core.context import Context

LEVEL_MAX = 6
"""The while is doubled so often at most."""


class Watchdog:
    """One node's own reigns, watched. ``moved`` counts what the parts cannot: finished group
    commits and pieces of snapshots."""

    __slots__ = ("_commit", "_context", "_level", "_looked_ms", "_seen", "_since_ms", "moved")

    def __init__(self, context: Context) -> None:
        self._context = context
        self.moved = 0
        self._seen: tuple[int, ...] = ()
        self._since_ms = context.now_ms
        """Since when ``_seen`` has been the same, or nothing waited."""
        self._looked_ms = context.now_ms
        self._commit = context.learner.commit
        self._level = 0

    def look(self) -> str:
        """Once a heartbeat: why this leader should give up; "" if it should not."""
        context = self._context
        now_ms = context.now_ms
        commit = context.learner.commit
        if commit != self._commit:
            self._commit, self._level = commit, 0
        seen = (commit, context.learner.news, self.moved, context.proposer.ballot.round)
        # A process that was stopped has not seen for itself that nothing moved.
        slept = now_ms - self._looked_ms > context.options.election_timeout_ms
        self._looked_ms = now_ms
        if seen != self._seen or slept or not self._waits():
            self._seen, self._since_ms = seen, now_ms
            return ""
        stuck_ms = now_ms - self._since_ms
        if stuck_ms < self.patience_ms:
            return ""
        self._since_ms = now_ms
        self._level = min(self._level + 1, LEVEL_MAX)
        return self._reason(stuck_ms)

    @property
    def patience_ms(self) -> float:
        """How long nothing may move."""
        options = self._context.options
        return options.stuck_timeouts * options.election_timeout_ms * (1 << self._level)

    def _waits(self) -> bool:
        """Whether this node leads, and anybody waits for what it does not do."""
        proposer = self._context.proposer
        if not proposer.leading:
            return False
        behind = self._context.learner.commit < proposer.next_slot - 1
        return bool(proposer.queue or proposer.open) or behind

    def _reason(self, stuck_ms: float) -> str:
        context = self._context
        proposer = context.proposer
        slots = f"slots {min(proposer.open)} to {max(proposer.open)}" if proposer.open else "none"
        return (
            f"nothing has moved for {stuck_ms:.0f} ms though a quorum answers: commit index "
            f"{context.learner.commit}, in flight: {slots}, {proposer.queue_commands} commands wait"
        )
