"""A leader that makes no progress at all gives up its ballot: another leader may succeed.

    leading, something waits, a quorum answers, and no progress for ``patience_ms`` ──► stop
    each stop doubles the patience; a commit index that moves sets it back

*No progress*: no slot applied, no new vote or chosen value heard, no group commit finished here, no
piece of a snapshot arrived. A slow disk or link makes some progress now and then, so a slow leader
stays; if the patience is too short for it all the same, doubling makes it long enough.

The known ways to get stuck have remedies of their own (``Replication.overtaken``,
``LogExchange.cannot_begin``). This one is for the unknown ways.
"""

from paxosd.core.context import Context

LEVEL_MAX = 6
"""The patience is doubled at most so often."""


class Watchdog:
    """It watches one node's own reigns."""

    __slots__ = ("_commit", "_context", "_level", "_looked_ms", "_progress", "_seen",
                 "_since_ms")  # fmt: skip

    def __init__(self, context: Context) -> None:
        self._context = context
        self._progress = 0
        """Counts what the other roles cannot count: finished group commits, pieces of snapshots."""
        self._seen: tuple[int, ...] = ()
        self._since_ms = context.now_ms
        """Since when ``_seen`` is unchanged, or the last time when nothing waited."""
        self._looked_ms = context.now_ms
        self._commit = context.learner.commit
        self._level = 0

    def note_progress(self) -> None:
        """A group commit is finished, or a piece of a snapshot has arrived."""
        self._progress += 1

    def look(self) -> str:
        """Once a heartbeat: why this leader should give up; "" if it should not."""
        context = self._context
        now_ms = context.now_ms
        commit = context.learner.commit
        if commit != self._commit:
            self._commit, self._level = commit, 0
        seen = (commit, context.learner.news, self._progress, context.proposer.ballot.round)
        # A process that was stopped cannot know that nothing moved meanwhile.
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
        """For how long a leader may make no progress."""
        options = self._context.options
        return options.stuck_timeouts * options.election_timeout_ms * (1 << self._level)

    def _waits(self) -> bool:
        """Whether this node leads, and something waits to be chosen or applied."""
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
            f"{context.learner.commit}, in flight: {slots}, {proposer.queue.commands} commands wait"
        )
