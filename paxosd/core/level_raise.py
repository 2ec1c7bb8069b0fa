"""Who raises the feature level, and when: the leader, once every member understands the new one.

    each member's handshake ──► Node.peer_level ──► Peer.level
    leader, all members at the target or above ──► CLUSTER command, once a reign, level,
                                                   version of the settings and epoch

A member that was not heard since this node started counts as one that understands nothing; so does
one whose last word was of a lower level: it may have been started with an older program again.

A cluster of the time before founding records gets one on the way. Its leader first has the
membership name the data directories that vote in it, as their Hellos told, once the configurations
of all members agree (``founding.py``); then the command that raises the level says by which number
the cluster is known from then on.

Whoever becomes a member while the raise is under way was not asked: the command names the epoch, so
that it does nothing behind a change of the membership, and the version, so that one that was made
already, in a slot that the leader has not applied yet, is not made twice. What comes later has to
be kept out by whoever lets nodes in.
"""

from collections.abc import Callable

from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.context import Context
from paxosd.core.proposer import Waiting
from paxosd.core.types import NULL_BALLOT


class LevelRaise:
    """One node's part in it."""

    __slots__ = ("_agreed", "_context", "_done", "_pinned", "directory_id")

    def __init__(self, context: Context, agreed: Callable[[], bool] = lambda: True) -> None:
        """``agreed``: whether the configurations of all members, as far as they count, agree."""
        self._context = context
        self._agreed = agreed
        self.directory_id = 0
        """The identity of this node's data directory."""
        self._pinned = NULL_BALLOT
        self._done = NULL_BALLOT, 0, 0, 0
        """Of the last raise that was proposed here: ballot and level, and the version and epoch
        that it named. Behind a change of either it did nothing, and is to be proposed again."""

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
        known = settings.genesis or not context.genesis
        due = proposer.ballot, target, settings.version, context.epoch
        if (
            not target
            or (settings.level >= target and known)
            or not proposer.leading
            or self._done == due
            or self.lagging()
        ):
            return
        genesis = settings.genesis or context.genesis
        if not genesis and self.directory_id:
            if not self._agreed() or not self._names_directories():
                return
            genesis = f"{context.rng.getrandbits(63) or 1:016x}"
        base = settings if settings.version else context.options.founding_settings
        after = base._replace(level=max(target, settings.level), genesis=genesis)
        entry = after.to_entry(settings, context.epoch)
        if proposer.enqueue(Waiting(None, entry, context.codec.encode_entry(entry))):
            self._done = due
            context.outbox.notice("cluster.level_raising", feature_level=target)

    def _names_directories(self) -> bool:
        """Whether the membership names the directory of each voter; if not, that is proposed."""
        context = self._context
        members = dict(context.membership.members)
        unnamed = [n for n, member in members.items() if member.voter and not member.directory_id]
        if not unnamed:
            return True
        for name in unnamed:
            own = name == context.node
            directory_id = self.directory_id if own else context.peers[name].directory_id
            if not directory_id:
                return False
            members[name] = members[name]._replace(directory_id=directory_id)
        if self._pinned != context.proposer.ballot:
            document = context.membership.replaced(members).to_command()
            change = Entry(0, 1, 0, [[MEMBERS, context.epoch, document]])
            if context.proposer.enqueue(Waiting(None, change, context.codec.encode_entry(change))):
                self._pinned = context.proposer.ballot
        return False
