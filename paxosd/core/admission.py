"""At each start a node compares with its peers what they heard of it; until then it does not act.

    this start ── Hello(directory, start mark) ──► every peer
    this start ◄── Welcome(life, mark) ── peer     my present life: that peer has compared me
                                                   another, and a higher mark: I forgot something
                                                   none: say hello again, with this challenge

To *act* is to campaign, to promise, to vote and to acknowledge a leader. A voter acts only while
all of this holds; otherwise it learns, and serves what it has learned:

1. **It is founded.** Its data directory is named by the founding record (``genesis.py``), or by a
   later membership, or is of a time before there were such records. An empty one waits.
2. **It is the one that is named.** The membership in force names the identity of its directory.
3. **It has not lost its memory**, as far as it or any peer knows. Peers remember the highest *log
   mark* (number of the last durable group of the log) that they heard from each directory: a log
   that ends below it has lost votes or promises that somebody heard.
4. **It has been compared in this run** by all other voters of the membership in force that have a
   memory or, once ``compare_wait_ms`` have passed since the start, by as many as answered; in any
   case by enough to be a phase-1 quorum with itself. A vote or promise matters only once somebody
   has heard it, and whoever heard it has to say so here; only a peer that is away for longer than
   that can be missed.
5. **It is not behind.** No envelope told of an epoch of the membership that it has not applied.
   So a node that catches up through old epochs does nothing in any of them, least of all in one
   where its name was the only voter.
6. **Its state is that of the others**, as far as compared (``agreement.py``): no majority of the
   voters has another, nor do voters differ without a majority that decides it.
7. **Nobody founded the cluster otherwise.** If it hears another founding record under the id of
   its cluster, it goes on only with a quorum of others that have its own.

A node that is the only voter has nobody to compare with; after a start it listens for two election
timeouts first, for those who know of a later epoch.

A change of the membership may name the directory that votes in a member's name (``member
promote``, ``member rejoin``). What another one forgot was promised under an earlier epoch, whose
ballots decide nothing any more (``membership.py``).

Source of the rule: Chandra, Griesemer, Redstone, "Paxos Made Live" (2007), section 5.1.
"""

from collections.abc import Callable
from enum import Enum

from paxosd.core.context import Context
from paxosd.core.founding import Founding
from paxosd.core.messages import Hello, Welcome
from paxosd.core.run_id import boot_count_of
from paxosd.core.types import NodeId

TELL_AFTER_MS = 5_000.0
LISTEN_TIMEOUTS = 2
"""How many election timeouts an only voter listens after a start before it acts."""


class Readiness(Enum):
    """Whether a node may act, and if not, why; the first that applies."""

    ACTS = "acts"
    LOST = "lost"
    FOREIGN = "foreign"
    """Another data directory votes in its name."""
    NEW = "new"
    """It is not founded."""
    CONFLICT = "conflict"
    """Others have another founding record."""
    BEHIND = "behind"
    """There is a later membership."""
    UNCOMPARED = "uncompared"
    DIVERGED = "diverged"
    """Its state is not the one that was decided."""
    DISPUTED = "disputed"
    """The voters' states differ, and no majority says which is right."""
    REMOVED = "removed"
    """It is no member any more."""


class Admission:
    """One start's way to its vote. ``founding``: whether and how the cluster is still to be
    founded."""

    __slots__ = (
        "_again",
        "_begun_ms",
        "_blank",
        "_challenges",
        "_compared",
        "_conflicts",
        "_context",
        "_lost_directory_id",
        "_on_lost",
        "_removed",
        "_run_id",
        "_tell_due_ms",
        "_told",
        "asking",
        "directory_id",
        "forgot",
        "founding",
        "lost",
        "readiness",
        "repaired",
        "start_mark",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        run_id: int,
        on_lost: Callable[[str], None],
        founding: Founding,
        directory_id: int = 0,
        lost: bool = False,
        repaired: bool = False,
        start_mark: int = 0,
    ) -> None:
        """``on_lost`` is called with a reason when the node must stop to act; ``lost``: it knows
        already that it has lost its memory; ``repaired``: for what was damaged it has set
        aside. ``start_mark``: the last group of its log at the start."""
        self._context = context
        self.repaired = repaired
        """Whether it may ask to rejoin by itself."""
        self.directory_id = directory_id
        self.start_mark = start_mark
        self.founding = founding
        self.lost = lost
        """Whether the directory says so, or it was found out by itself; see ``memory_lost``."""
        self._run_id = run_id
        self._on_lost = on_lost
        self._compared: set[NodeId] = set()
        """Who has compared this run, and found nothing missing …"""
        self._blank: set[NodeId] = set()
        """Who is up and has no memory to compare with: waiting for it is of no use …"""
        self._again: set[NodeId] = set()
        """… and is to be asked again, for it may not hear this run now."""
        self._challenges: dict[NodeId, int] = {}
        self._conflicts: dict[NodeId, tuple[int, int]] = {}
        """Who has another founding record: its hash, and the epoch there."""
        self._begun_ms: float | None = None
        """When this run began; None: it does not arrive, and acts at once (tests, lessons)."""
        self._tell_due_ms = context.now_ms + TELL_AFTER_MS
        self._removed = False
        self._told = Readiness.ACTS
        self._lost_directory_id = 0
        """The identity that the directory had when the loss was found: what names it does not
        make good the loss."""
        self.asking = False
        """Whether there are peers that have not answered, and are to be asked."""
        self.forgot: list[NodeId] = []
        """The peers that know more of this node's memory than it does."""
        self.readiness = Readiness.ACTS

    @property
    def forgetful(self) -> bool:
        """Whether this node, a voter by name, once had a memory that it has lost: it must not vote.
        (One that has no vote has nothing to forget.)"""
        return self._has_vote and (self.memory_lost or self._is_foreign)

    @property
    def memory_lost(self) -> bool:
        """Whether something is known to be missing, and no membership has named this directory
        since. Whoever loses its vote meanwhile has lost it all the same: an epoch that it passes
        through while it catches up may have given it none, and the next one have."""
        return self.lost or bool(self.forgot)

    @property
    def _begun_ms_or_now(self) -> float:
        return self._context.now_ms if self._begun_ms is None else self._begun_ms

    @property
    def _has_vote(self) -> bool:
        entry = self._context.membership.members.get(self._context.node)
        return entry is None or entry.voter

    @property
    def _is_foreign(self) -> bool:
        """Whether another data directory votes in this node's name."""
        entry = self._context.membership.members.get(self._context.node)
        return (
            entry is not None and entry.voter and entry.directory_id not in (0, self.directory_id)
        )

    def begin(self) -> None:
        """The node starts."""
        self._begun_ms = self._context.now_ms
        self.review()

    # -- may it act?

    def _judge(self) -> Readiness:
        context = self._context
        if self._removed:
            return Readiness.REMOVED
        if context.diverged:
            return Readiness.DIVERGED
        if self.memory_lost:
            return Readiness.LOST
        if self._is_foreign:
            return Readiness.FOREIGN
        if context.disputed:
            return Readiness.DISPUTED
        behind = context.newest_epoch > context.epoch and not self._is_bringing_it_about()
        if self._begun_ms is None:
            return Readiness.BEHIND if behind else Readiness.ACTS
        if self.founding.active and not self._is_named():
            return Readiness.NEW
        if self._conflicts and not self._others_agree():
            return Readiness.CONFLICT
        if behind:
            return Readiness.BEHIND
        return Readiness.ACTS if self._is_compared() else Readiness.UNCOMPARED

    def _is_bringing_it_about(self) -> bool:
        """Whether the next epoch is that of the change which this leader has in flight: others may
        have counted the votes before it did. It proposes nothing behind that change, and if it
        were of the past it would still need another voter, which refuses. (As the only voter it
        would not; but then nobody can have counted before it did.)"""
        context = self._context
        proposer = context.proposer
        is_next = context.newest_epoch == context.epoch + 1
        shared = len(context.quorums.voters) > 1
        return proposer.leading and bool(proposer.barrier) and is_next and shared

    def _is_named(self) -> bool:
        """Whether a membership of the log, not only a founding record, names this directory."""
        context = self._context
        entry = context.membership.members.get(context.node)
        return (
            context.epoch > 0 and entry is not None and entry.directory_id == self.directory_id != 0
        )

    def _is_compared(self) -> bool:
        """Rule 4."""
        context = self._context
        assert self._begun_ms is not None
        quorums = context.quorums
        others = [name for name in quorums.voters if name != context.node]
        options = context.options
        waited_ms = context.now_ms - self._begun_ms
        if not others:
            return waited_ms >= LISTEN_TIMEOUTS * options.election_timeout_ms
        all_answered = all(name in self._compared or name in self._blank for name in others)
        waited = all_answered or waited_ms >= options.compare_wait_ms
        return waited and quorums.phase1_met(self._mask(others))

    def _mask(self, others: list[NodeId]) -> int:
        bit = self._context.quorums.bit
        mask = bit.get(self._context.node, 0)
        for name in others:
            if name in self._compared:
                mask |= bit[name]
        return mask

    def _others_agree(self) -> bool:
        """Whether a quorum has this node's founding record: of others too, or it stands alone and
        its cluster has changed its members more often than the other one."""
        context = self._context
        others = [
            name
            for name in context.quorums.voters
            if name != context.node and name not in self._conflicts
        ]
        if not context.quorums.phase1_met(self._mask(others)):
            return False
        if any(name in self._compared for name in others):
            return True
        # It is enough by itself. What the log made it is more than what a file makes of emptied
        # directories: of two histories the one that has gone further goes on.
        latest = max(epoch for _, epoch in self._conflicts.values())
        return self._is_named() and latest < context.epoch

    @property
    def renewal_due(self) -> bool:
        """Whether the directory still has the identity that it lost its memory with. (It may have
        lost the memory of an earlier one before, which says nothing of this one.)"""
        return bool(self.forgot) and self.directory_id == self._lost_directory_id

    def review(self) -> None:
        """Something has changed: another membership, an answer, the time. May this node act?"""
        context = self._context
        entry = context.membership.members.get(context.node)
        if (self.memory_lost or self.repaired) and self._is_named_anew():
            context.outbox.notice("node.rejoined", epoch=context.epoch)
            self.lost = self.repaired = False
            self.forgot.clear()
        self.readiness = readiness = self._judge()
        has_vote = bool(entry is not None and entry.voter)
        context.unconfirmed = readiness is not Readiness.ACTS and has_vote
        arriving = self._begun_ms is not None
        self.asking = (arriving and bool(self.missing())) or self.forgetful
        if readiness is not self._told and has_vote:
            self._tell_readiness(readiness)
        if context.unconfirmed and context.is_trying:
            self._on_lost(_REASONS[readiness])

    def _is_named_anew(self) -> bool:
        """Whether a membership names this directory since it lost its memory: it got another
        identity then, so that no earlier membership can name it."""
        entry = self._context.membership.members.get(self._context.node)
        return (
            entry is not None
            and entry.voter
            and self._context.epoch > 0
            and entry.directory_id == self.directory_id
            and self.directory_id not in (0, self._lost_directory_id)
        )

    def _tell_readiness(self, readiness: Readiness) -> None:
        context = self._context
        before, self._told = self._told, readiness
        if readiness is Readiness.ACTS and before in (Readiness.NEW, Readiness.UNCOMPARED):
            context.outbox.notice("node.confirmed", members=sorted(self._compared))
        elif readiness is Readiness.BEHIND:
            context.outbox.notice(
                "node.catching_up", epoch=context.epoch, newest_epoch=context.newest_epoch
            )
        elif readiness is Readiness.FOREIGN:
            advice = FOREIGN_ADVICE.replace("NAME", context.node)
            context.outbox.notice("node.memory_lost", "error", advice=advice)
        elif readiness is Readiness.CONFLICT:
            context.outbox.notice(
                "founding.conflict",
                "error",
                members=sorted(self._conflicts),
                advice=CONFLICT_ADVICE,
            )

    # -- what becomes known

    def renew(self, directory_id: int) -> None:
        """The data directory was found to be an old copy, and has an identity of its own now."""
        self.directory_id = directory_id
        self.lost = True
        self._again.update(self._context.audience)  # whoever promotes it names this one
        self.review()

    def leave(self) -> None:
        """This node is no member any more."""
        self._removed = True
        self.review()

    def hear_conflict(self, sender: NodeId, genesis: int, epoch: int) -> None:
        """``sender`` has another founding record under this cluster's id, and is at ``epoch``."""
        if self._conflicts.get(sender) != (genesis, epoch):
            self._conflicts[sender] = genesis, epoch
            self.review()

    def missing(self) -> list[NodeId]:
        """The peers that have not compared this run, in order of their names."""
        done = self._compared - self._again
        return sorted(name for name in self._context.audience if name not in done)

    def waits_for(self) -> list[NodeId]:
        """The members without which this node does not act."""
        if self.readiness is Readiness.NEW:
            return self.founding.missing()
        if self.readiness is Readiness.UNCOMPARED:
            voters = self._context.quorums.voters
            done = {self._context.node, *self._compared, *self._blank}
            return [n for n in voters if n not in done]
        return []

    def ask(self) -> None:
        """Say hello to those who have not answered; tell the log now and then who they are."""
        context = self._context
        if self._begun_ms is None:
            return
        for name in self.missing():
            self._say_hello(name)
        if self.readiness is Readiness.UNCOMPARED and context.now_ms >= self._tell_due_ms:
            self._tell_due_ms = context.now_ms + 12 * TELL_AFTER_MS
            context.outbox.notice(
                "node.waiting", "warning", members=self.waits_for(), advice=_ADVICE
            )

    def _say_hello(self, name: NodeId) -> None:
        options = self._context.options
        self._context.outbox.send(
            name,
            Hello(
                self.directory_id,
                self.start_mark,
                self._challenges.get(name, 0),
                options.level_target,
                options.peer_endpoint,
                options.events_endpoint,
            ),
        )

    def tell_stuck(self) -> None:
        """It waits to be let in again, and there is no leader that could: say so now and then."""
        context = self._context
        if context.now_ms >= self._tell_due_ms:
            self._tell_due_ms = context.now_ms + 12 * TELL_AFTER_MS
            silent = [n for n, peer in context.peers.items() if not peer.up]
            context.outbox.notice("node.waiting", "error", members=silent, advice=_STUCK_ADVICE)

    def connection_lost(self, name: NodeId) -> None:
        """It may come back without a memory of this run, or be another one: say hello again."""
        if self._begun_ms is not None and name in self._context.audience:
            self._again.add(name)
            self.asking = True

    def receive_welcome(self, sender: NodeId, message: Welcome, *, heard: bool = True) -> None:
        """A peer says as which life it knows this node. ``heard``: whether its own life is
        known here; what another has compared does not count."""
        news = message.challenge not in (0, self._challenges.get(sender))
        if news:
            self._challenges[sender] = message.challenge
        if message.run_id == self._run_id:
            if not message.witness:
                self._blank.add(sender)
            elif heard:
                self._compared.add(sender)
            if heard:
                self._conflicts.pop(sender, None)
                self._again.discard(sender)
            self.review()
            return
        if self._knows_more(sender, message):
            self._lose(sender)
            return
        # It does not hear this start yet: its memory of peers is new, or it asks for proof.
        self._again.add(sender)
        self.asking = True
        if news:
            self._say_hello(sender)

    def _knows_more(self, sender: NodeId, message: Welcome) -> bool:
        """Whether the peer heard something of this memory that it has not any more."""
        entry = self._context.membership.members.get(self._context.node)
        if not message.run_id or entry is None or not entry.voter:
            return False  # who has no vote has nothing to forget
        if entry.directory_id:
            # A peer that lags may know a directory that does not count any more.
            if not entry.directory_id == self.directory_id == message.directory_id:
                return False
        elif message.directory_id and self.directory_id != message.directory_id:
            if self.founding.active:
                # Nothing was founded yet if that one is a newcomer, too: it says so soon.
                waited = self._context.now_ms - self._begun_ms_or_now >= TELL_AFTER_MS
                return waited and not self.founding.has_proposed(sender)
            return boot_count_of(message.run_id) >= boot_count_of(self._run_id)
        if message.directory_id == self.directory_id and message.mark > self.start_mark:
            return True
        return boot_count_of(message.run_id) >= boot_count_of(self._run_id)

    def _lose(self, sender: NodeId) -> None:
        context = self._context
        if sender in self.forgot:
            return
        if not self.memory_lost:  # it may have got another identity since
            self._lost_directory_id = self.directory_id
        self.forgot.append(sender)
        advice = LOST_ADVICE.replace("NAME", context.node)
        context.outbox.notice("node.memory_lost", "error", member=sender, advice=advice)
        self.review()


_REASONS = {
    Readiness.DIVERGED: "its state is not the one that was decided",
    Readiness.DISPUTED: "the states of the voters differ",
    Readiness.REMOVED: "it is no member any more",
    Readiness.LOST: "its memory is an old copy",
    Readiness.FOREIGN: "another data directory votes in its name",
    Readiness.NEW: "the cluster is not founded",
    Readiness.CONFLICT: "others have founded this cluster otherwise",
    Readiness.BEHIND: "there is a later membership, which it has yet to learn",
    Readiness.UNCOMPARED: "it has not been compared with enough voters",
}
_ADVICE = (
    "this node votes once the other voters have compared its memory with what they heard of it; "
    "after protocol.compare_wait_ms a quorum of them is enough: start those that are down"
)
_STUCK_ADVICE = (
    "this node has lost its memory, and there is no leader that could let it vote again. Start the "
    "members that are down. If a majority of the voters has lost its memory, none will be elected, "
    "for nobody may decide without them: restore their data directories as they were, or begin a "
    "new cluster with what the best of these nodes has: paxosctl snapshot save --endpoint ENDPOINT "
    "FILE, and paxosctl snapshot restore"
)
LOST_ADVICE = (
    "that peer heard more of this node than its data directory holds, which was wiped, replaced or "
    "put back to an earlier state since: what it promised then is lost, so it does not vote. To "
    "let it vote again with what it learns from the others: paxosctl member rejoin NAME"
)
FOREIGN_ADVICE = (
    "the cluster counts the vote of another data directory for this node: this one was wiped, "
    "replaced or taken from elsewhere since, and what the other promised is not in it, so this "
    "node does not vote. Start it with the directory that was counted or, if that one is gone, let "
    "this one vote with what it learns from the others: paxosctl member rejoin NAME"
)
CONFLICT_ADVICE = (
    "these members run a cluster of the same id that was founded at another time. This node acts "
    "no more: if its data directory is the wrong one, stop it, empty the directory, start it and "
    "let it rejoin (paxosctl member rejoin); if they are strangers, give one of the clusters "
    "another id"
)
