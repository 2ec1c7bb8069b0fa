"""When the feature level is raised: by the leader, to the highest level that every member takes.

    a member's Hello or Welcome ──► Peer.level
    leader, all members above the present one ──► CLUSTER command, once a reign, level,
                                                  version of the settings and epoch

A member takes the levels that its program knows, or fewer: an operator who may want to go back to
the version before sets ``protocol.feature_level_max`` at one member, and no leader raises the level
above it, of whichever version the leader is. A member that this node has not heard since its start
counts as one that takes none. The last level that a member named counts: it may have been started
with an older program again.

A cluster that is older than founding records gets its hash on the way. Once the configurations of
all members agree (``founding.py``), the leader first has the membership name the data directories
that vote, as their Hellos named them. Then the command that raises the level also names the number
by which the cluster is known from then on.

A node that becomes a member during the raise was not asked. Therefore the command names the epoch:
after a change of the membership it does nothing. It also names the version of the settings, so that
a raise in a slot that the leader has not applied yet is not made twice. A member that is added
later is checked then.
"""

from collections.abc import Callable

from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.context import Context
from paxosd.core.fair_queue import Waiting
from paxosd.core.types import NULL_BALLOT


class LevelRaise:
    """One node's part in it."""

    __slots__ = ("_agreed", "_context", "_directory_id", "_done", "_pinned")

    def __init__(
        self, context: Context, directory_id: int, agreed: Callable[[], bool] = lambda: True
    ) -> None:
        """``directory_id``: the identity of the data directory at the start. ``agreed``: whether
        the configurations of all members, as far as they count, agree."""
        self._context = context
        self._directory_id = directory_id
        self._agreed = agreed
        self._pinned = NULL_BALLOT
        self._done = NULL_BALLOT, 0, 0, 0
        """The last raise that was proposed here: its ballot and level, and the version and epoch
        that it names. If either has changed the raise did nothing, and is proposed again."""

    @property
    def known(self) -> int:
        """The latest level that this node's program knows."""
        options = self._context.options
        return options.level_known or options.level_target

    def lagging(self) -> list[str]:
        """The members that have not said that they take the latest level that this program knows;
        this node, if an operator holds it below that."""
        known = self.known
        return [name for name in self._context.membership.members if self._takes(name) < known]

    def _takes(self, name: str) -> int:
        """The level up to which a member goes along, as far as is known here."""
        context = self._context
        if name == context.node:
            return context.level_offered
        peer = context.peers.get(name)
        return peer.level if peer is not None else 0

    def _target(self) -> int:
        """The highest level that every member takes."""
        members = self._context.membership.members
        return min([self._context.level_offered, *map(self._takes, members)])

    def check(self) -> None:
        """Propose the raise, if it is due."""
        context = self._context
        proposer, settings = context.proposer, context.machine.settings
        if not proposer.leading:
            return
        target = self._target()
        is_named = settings.genesis or not context.genesis
        due = proposer.ballot, target, settings.version, context.epoch
        if not target or (settings.level >= target and is_named) or self._done == due:
            return
        genesis = settings.genesis or context.genesis
        if not genesis and self._directory_id:
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
        """Whether the membership names the directory of each voter. If not, propose that."""
        context = self._context
        members = dict(context.membership.members)
        unnamed = [n for n, member in members.items() if member.voter and not member.directory_id]
        if not unnamed:
            return True
        for name in unnamed:
            own = name == context.node
            directory_id = self._directory_id if own else context.peers[name].directory_id
            if not directory_id:
                return False
            members[name] = members[name]._replace(directory_id=directory_id)
        if self._pinned != context.proposer.ballot:
            document = context.membership.replaced(members).to_command()
            change = Entry(0, 1, 0, [[MEMBERS, context.epoch, document]])
            if context.proposer.enqueue(Waiting(None, change, context.codec.encode_entry(change))):
                self._pinned = context.proposer.ballot
        return False
