"""May this node act? Admission: at each start it is compared with what its peers remember of it.

    this run ── Hello(directory_id, start mark) ──► every peer
    this run ◄── Welcome(run_id, mark) ── peer     the same run_id: the peer has compared this run
                                                   another run, and a higher mark: memory is lost
                                                   none: say Hello again, with this challenge

To *act* is to campaign, to promise, to vote, and to acknowledge a leader. A voter acts only while
all seven conditions of docs/ACTING.md hold; otherwise it learns, and serves what it has learned.
:class:`Readiness` is the table of the reasons why it may not act.

Source of the rule: Chandra, Griesemer, Redstone, "Paxos Made Live" (2007), section 5.1.
"""

from collections.abc import Callable
from enum import Enum

from paxosd.core.commands import changes_members
from paxosd.core.context import Context
from paxosd.core.founding import Founding
from paxosd.core.messages import Hello, Welcome
from paxosd.core.restart import Restart
from paxosd.core.run_id import boot_count_of
from paxosd.core.types import NOOP, Ballot, NodeId, Slot

REPORT_AFTER_MS = 5_000.0
"""What a node waits for is logged after this time."""
LISTEN_TIMEOUTS = 2
"""For this many election timeouts after its start an only voter listens before it acts: a peer may
know of a later epoch."""


class Readiness(Enum):
    """Whether a node may act and, if not, why not. If several reasons apply, the first one in this
    table counts. ``role``: what ``status`` shows for a voter; ``reason``: for the log."""

    REMOVED = "removed", "it is no member any more"
    DIVERGED = "diverged", "its state is not the one that was decided"
    LOST = "memory-lost", "its memory is an old copy"
    """Its data directory was wiped, damaged or put back to an earlier state."""
    FOREIGN = "memory-lost", "another data directory votes in its name"
    DISPUTED = "disputed", "the states of the voters differ"
    """No majority of the voters has the same state."""
    NEW = "newcomer", "the cluster is not founded"
    CONFLICT = "conflict", "others have founded this cluster otherwise"
    """They have another founding record under the same cluster id."""
    BEHIND = "catching-up", "there is a later membership, which it has yet to learn"
    UNCOMPARED = "returning", "it has not been compared with enough voters"
    ACTS = "follower", ""

    def __init__(self, role: str, reason: str) -> None:
        self.role = role
        self.reason = reason


class Admission:
    """One run's way to its vote."""

    __slots__ = (
        "_again",
        "_begun_ms",
        "_blank",
        "_challenges",
        "_compared",
        "_conflicts",
        "_context",
        "_founding",
        "_lost_directory_id",
        "_on_lost",
        "_report_due_ms",
        "_reported",
        "_run_id",
        "asking",
        "directory_id",
        "forgot",
        "lost",
        "readiness",
        "removed",
        "repaired",
        "start_mark",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        restart: Restart,
        founding: Founding,
        on_lost: Callable[[str], None],
    ) -> None:
        """``on_lost`` is called with a reason when the node must stop to act."""
        self._context = context
        self._founding = founding
        self._on_lost = on_lost
        self._run_id = restart.run_id
        self.directory_id = restart.directory_id
        """The identity of the data directory."""
        self.start_mark = restart.start_mark
        """The log mark at the start."""
        self.lost = restart.lost
        """Whether this node itself found that it had lost its memory; see ``memory_lost``."""
        self.repaired = restart.repaired
        """Whether it may ask to rejoin by itself."""
        self._compared: set[NodeId] = set()
        """The peers that have compared this run, and miss nothing."""
        self._blank: set[NodeId] = set()
        """The peers that are up and have no memory to compare with: not worth waiting for."""
        self._again: set[NodeId] = set()
        """The peers to ask once more, because they may not hear this run now."""
        self._challenges: dict[NodeId, int] = {}
        """Per peer: the number that this node's Hello must repeat."""
        self._conflicts: dict[NodeId, tuple[int, int]] = {}
        """The nodes with another founding record: its hash, and their epoch."""
        self._begun_ms = context.now_ms if restart.arriving else None
        """When this run began; None: it may act at once, without a comparison (lessons)."""
        self._report_due_ms = context.now_ms + REPORT_AFTER_MS
        self._reported = Readiness.ACTS
        self._lost_directory_id = 0
        """The identity of the data directory when the loss was found. A membership that names this
        identity does not make good the loss."""
        self.asking = False
        """Whether there are peers that have not answered and must be asked."""
        self.forgot: list[NodeId] = []
        """The peers that remember more of this node than it does."""
        self.removed = False
        """Whether this node is no member any more."""
        self.readiness = Readiness.ACTS
        if restart.arriving:
            self.review()

    @property
    def forgetful(self) -> bool:
        """Whether this node is a voter that has lost its memory, so that it must not vote. (A
        learner has made no promises that it could forget.)"""
        return self._has_vote and (self.memory_lost or self._is_foreign)

    @property
    def memory_lost(self) -> bool:
        """Whether memory is known to be lost, and no membership has named this directory since.
        That also holds while the node has no vote: it may catch up through an epoch in which it had
        none, and have one in the next."""
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

    # -- may it act?

    def _judge(self) -> Readiness:
        context = self._context
        if self.removed:
            return Readiness.REMOVED
        if context.diverged:
            return Readiness.DIVERGED
        if self.memory_lost:
            return Readiness.LOST
        if self._is_foreign:
            return Readiness.FOREIGN
        if context.disputed:
            return Readiness.DISPUTED
        behind = context.newest_epoch > context.epoch and not (
            self._is_bringing_it_about() or self._voted_for_it()
        )
        if self._begun_ms is None:
            return Readiness.BEHIND if behind else Readiness.ACTS
        if self._founding.active and not self._is_named():
            return Readiness.NEW
        if self._conflicts and not self._others_agree():
            return Readiness.CONFLICT
        if behind:
            return Readiness.BEHIND
        return Readiness.ACTS if self._is_compared() else Readiness.UNCOMPARED

    def _is_bringing_it_about(self) -> bool:
        """Whether the later epoch comes from the change that this leader itself has in flight:
        another node may have counted the votes for it earlier. The leader may go on, because it
        proposes nothing behind that change. A leader of the past would need another voter, which
        refuses. (An only voter would not; but then no other node can have counted earlier.)"""
        context = self._context
        proposer = context.proposer
        is_next = context.newest_epoch == context.epoch + 1
        shared = len(context.quorums.voters) > 1
        return proposer.leading and bool(proposer.barrier) and is_next and shared

    def _voted_for_it(self) -> bool:
        """Whether the later epoch comes from a change that this node has voted for, and whose slot
        it has not applied. Then it may act, and must: the nodes that know the change to be chosen
        may have died before they said more than that there is another epoch, and without this
        node's promise nobody could find it out again. Whatever is decided with its help, that slot
        is decided first, and by phase 1 as it was: this node reports its vote (Lamport, "Paxos Made
        Simple", section 2.2, P2c); nothing is proposed behind it (``Proposer.barrier``)."""
        context = self._context
        if context.newest_epoch != context.epoch + 1 or len(context.quorums.voters) < 2:
            return False  # an only voter counts its vote first: that epoch is another one
        return any(
            slot > context.learner.commit and self._changes_members(slot, *held)
            for slot, held in context.acceptor.accepted.items()
        )

    def _changes_members(self, slot: Slot, ballot: Ballot, value: bytes) -> bool:
        if value == NOOP or ballot.epoch != self._context.epoch:
            return False
        try:
            batch = self._context.codec.decode_batch(value)
        except ValueError:
            return False  # it will be applied as a NOOP
        return any(map(changes_members, batch.entries))

    def _is_named(self) -> bool:
        """Whether a membership in the log names this directory, not only the founding record."""
        context = self._context
        entry = context.membership.members.get(context.node)
        return (
            context.epoch > 0 and entry is not None and entry.directory_id == self.directory_id != 0
        )

    def _is_compared(self) -> bool:
        """Condition 4 of docs/ACTING.md."""
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
        """Whether a phase-1 quorum has this node's founding record (condition 7): with other nodes
        in it or, if this node is the only voter, at a later epoch than the other cluster's."""
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
        # This node is a quorum by itself. Of two histories the longer one goes on: an epoch in a
        # log counts more than what a configuration file makes of emptied directories.
        latest = max(epoch for _, epoch in self._conflicts.values())
        return self._is_named() and latest < context.epoch

    @property
    def renewal_due(self) -> bool:
        """Whether the data directory still has the identity whose memory is lost. (A loss under an
        earlier identity does not count.)"""
        return bool(self.forgot) and self.directory_id == self._lost_directory_id

    def review(self) -> None:
        """Decide anew whether this node may act: the membership, the time or an answer has
        changed."""
        context = self._context
        entry = context.membership.members.get(context.node)
        if (self.memory_lost or self.repaired) and self._is_named_anew():
            context.outbox.notice("node.rejoined", epoch=context.epoch)
            self.lost = self.repaired = False
            self.forgot.clear()
        self.readiness = readiness = self._judge()
        has_vote = bool(entry is not None and entry.voter)
        context.set_unconfirmed(readiness is not Readiness.ACTS and has_vote)
        arriving = self._begun_ms is not None
        self.asking = (arriving and bool(self.missing())) or self.forgetful
        if readiness is not self._reported and has_vote:
            self._report(readiness)
        if context.unconfirmed and context.is_trying:
            self._on_lost(readiness.reason)

    def _is_named_anew(self) -> bool:
        """Whether a membership has named this directory since the loss. The directory got a new
        identity then, so that no earlier membership can name it."""
        entry = self._context.membership.members.get(self._context.node)
        return (
            entry is not None
            and entry.voter
            and self._context.epoch > 0
            and entry.directory_id == self.directory_id
            and self.directory_id not in (0, self._lost_directory_id)
        )

    def _report(self, readiness: Readiness) -> None:
        context = self._context
        before, self._reported = self._reported, readiness
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
        """The data directory had lost its memory, and has a new identity now."""
        self.directory_id = directory_id
        self.lost = True
        self._again.update(self._context.audience)  # a promotion must name this identity
        self.review()

    def leave(self) -> None:
        """This node is no member any more."""
        self.removed = True
        self.review()

    def hear_conflict(self, sender: NodeId, genesis: int, epoch: int) -> None:
        """``sender`` has another founding record (hash ``genesis``) under this cluster's id, and is
        at ``epoch``."""
        if self._conflicts.get(sender) != (genesis, epoch):
            self._conflicts[sender] = genesis, epoch
            self.review()

    def hear_epoch(self, epoch: int) -> None:
        """There is a membership of ``epoch``. Until this node has applied the change that made it,
        it does not act."""
        if epoch > self._context.newest_epoch:
            self._context.newest_epoch = epoch
            self.review()

    def missing(self) -> list[NodeId]:
        """The peers that have not compared this run, sorted by name."""
        done = self._compared - self._again
        return sorted(name for name in self._context.audience if name not in done)

    def waits_for(self) -> list[NodeId]:
        """The members that this node waits for before it acts."""
        if self.readiness is Readiness.NEW:
            return self._founding.missing()
        if self.readiness is Readiness.UNCOMPARED:
            voters = self._context.quorums.voters
            done = {self._context.node, *self._compared, *self._blank}
            return [n for n in voters if n not in done]
        return []

    def ask(self) -> None:
        """Say Hello to the peers that have not answered; now and then, log their names."""
        context = self._context
        if self._begun_ms is None:
            return
        for name in self.missing():
            self._say_hello(name)
        if self.readiness is Readiness.UNCOMPARED and context.now_ms >= self._report_due_ms:
            self._report_due_ms = context.now_ms + 12 * REPORT_AFTER_MS
            context.outbox.notice(
                "node.waiting", "warning", members=self.waits_for(),
                unconfirmed_ms=context.unconfirmed_ms, advice=_ADVICE,
            )  # fmt: skip

    def _say_hello(self, name: NodeId) -> None:
        options = self._context.options
        self._context.outbox.send(
            name,
            Hello(
                self.directory_id,
                self.start_mark,
                self._challenges.get(name, 0),
                self._context.level_offered,
                options.peer_endpoint,
                options.events_endpoint,
            ),
        )

    def report_stuck(self) -> None:
        """The node waits to rejoin, and there is no leader to let it: log that now and then."""
        context = self._context
        if context.now_ms >= self._report_due_ms:
            self._report_due_ms = context.now_ms + 12 * REPORT_AFTER_MS
            silent = [n for n, peer in context.peers.items() if not peer.up]
            context.outbox.notice(
                "node.waiting", "error", members=silent,
                unconfirmed_ms=context.unconfirmed_ms, advice=_STUCK_ADVICE,
            )  # fmt: skip

    def connection_lost(self, name: NodeId) -> None:
        """The peer may come back without a memory of this run: say Hello to it again."""
        if self._begun_ms is not None and name in self._context.audience:
            self._again.add(name)
            self.asking = True

    def receive_welcome(self, sender: NodeId, message: Welcome, *, heard: bool = True) -> None:
        """A peer says which run of this node it knows. ``heard``: whether the peer's own run is
        heard here; only then does its comparison count."""
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
        # The peer does not hear this run yet: it remembers no run of it, or wants a proof.
        self._again.add(sender)
        self.asking = True
        if news:
            self._say_hello(sender)

    def _knows_more(self, sender: NodeId, message: Welcome) -> bool:
        """Whether the peer heard something that this node does not remember."""
        entry = self._context.membership.members.get(self._context.node)
        if not message.run_id or entry is None or not entry.voter:
            return False  # without a vote there is nothing to forget
        if entry.directory_id:
            # A peer that lags may remember a directory that does not count any more.
            if not entry.directory_id == self.directory_id == message.directory_id:
                return False
        elif message.directory_id and self.directory_id != message.directory_id:
            if self._founding.active:
                # If the peer is a newcomer, too, nothing was founded yet: it will say so soon.
                waited = self._context.now_ms - self._begun_ms_or_now >= REPORT_AFTER_MS
                return waited and not self._founding.has_proposed(sender)
            return boot_count_of(message.run_id) >= boot_count_of(self._run_id)
        if message.directory_id == self.directory_id and message.mark > self.start_mark:
            return True
        return boot_count_of(message.run_id) >= boot_count_of(self._run_id)

    def _lose(self, sender: NodeId) -> None:
        context = self._context
        if sender in self.forgot:
            return
        if not self.memory_lost:  # else the identity may be a new one already
            self._lost_directory_id = self.directory_id
        self.forgot.append(sender)
        advice = LOST_ADVICE.replace("NAME", context.node)
        context.outbox.notice("node.memory_lost", "error", member=sender, advice=advice)
        self.review()


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
