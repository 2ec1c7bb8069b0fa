"""Who raises the feature level, and when: the leader, once every member understands the new one.

    each member's handshake ──► Node.peer_level ──► Peer.level
    leader, all members at the target or above ──► CLUSTER command, once a reign and level

A member that was not heard since this node started counts as one that understands nothing; so does
one whose last word was of a lower level: it may have been started with an older program again.
Whoever becomes a member while the raise is under way was not asked: the command names the epoch, so
that it does nothing behind a change of the membership, and the version, so that one that was made
already, in a slot that the leader has not applied yet, is not made twice. What comes later has to
be kept out by whoever lets nodes in.
"""

from paxosd.core.context import Context
from paxosd.core.proposer import Waiting
from paxosd.core.types import NULL_BALLOT


class LevelRaise:
    """One node's part in it."""

    __slots__ = ("_context", "_done")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._done = NULL_BALLOT, 0
        """The ballot and the level of the last raise that was proposed here."""

    def lagging(self) -> list[str]:
        """The members that are not known to understand the target."""
        context = self._context
        target = context.options.level_target
        return [
            name
            for name in context.membership.members
            if name != context.node
            and (name not in context.peers or context.peers[name].level < target)
        ]

    def check(self) -> None:
        """Propose it, if it is due."""
        context = self._context
        proposer, settings = context.proposer, context.machine.settings
        target = context.options.level_target
        if (
            settings.level >= target
            or not proposer.leading
            or self._done == (proposer.ballot, target)
            or self.lagging()
        ):
            return
        base = settings if settings.version else context.options.founding_settings
        after = base._replace(level=target)
        entry = after.to_entry(settings, context.epoch)
        if proposer.enqueue(Waiting(None, entry, context.codec.encode_entry(entry))):
            self._done = proposer.ballot, target
            context.outbox.notice("cluster.level_raising", feature_level=target)
