"""At each start a node asks its peers how they know it; without a memory it waits for all.

    this start ── Hello ──► every peer      a peer writes down which life it hears, then answers
    this start ◄── Welcome(life) ── peer    my present life: this peer confirms me
                                            another that is no older: I was here, and forgot
                                            none: it does not hear me, and I say hello again

A voter without any memory of a promise is *unconfirmed*: it learns and serves reads, but neither
promises, votes nor acknowledges a leader, until every peer has confirmed it. A vote or promise
matters only once somebody has heard it, and whoever heard this node under another life says so
here: so a disk that was wiped is found however early that was. The price is paid once: at the
very first start of a cluster every member must be up for a moment. One whose memory is found to
be lost, or to be an old copy, stays unconfirmed; peers that knew it drop all that it says.

A data directory has an *identity*, drawn when it was empty. A change of the membership may name
the one that votes in a member's name (``member promote``, ``member rejoin``): then no other does,
and this one needs nobody's confirmation. What it forgot was promised under an earlier epoch, whose
ballots decide nothing any more, and it grants nothing under the new one before it has applied all
that came before (``membership.py``).

Source of the rule: Chandra, Griesemer, Redstone, "Paxos Made Live" (2007), section 5.1.
"""

from collections.abc import Callable

from paxosd.core.context import Context
from paxosd.core.messages import Hello, Welcome
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId

TELL_AFTER_MS = 5_000.0
LOT_BITS = 20


def life_number(starts: int, lot: int) -> int:
    """The life of start number ``starts`` (from 1) with ``lot``, of which 20 bits are taken."""
    return starts << LOT_BITS | lot & (1 << LOT_BITS) - 1


def starts_of(life: int) -> int:
    """The number of starts in a life."""
    return life >> LOT_BITS


class Arrival:
    """One start's way to its vote."""

    __slots__ = ("_confirmed", "_context", "_life", "_lost", "_on_lost", "_tell_due_ms",
                 "asking", "directory", "forgot", "repaired")  # fmt: skip

    def __init__(
        self,
        context: Context,
        life: int,
        on_lost: Callable[[str], None],
        directory: int = 0,
        lost: bool = False,
        repaired: bool = False,
    ) -> None:
        """``on_lost`` is called with a reason when the node turns out to have lost its memory;
        ``lost``: it knows that already; ``repaired``: for what was damaged it has set aside."""
        self._context = context
        self.repaired = repaired
        """Whether it may ask to rejoin by itself."""
        self.directory = directory
        self._lost = lost
        self._life = life
        self._on_lost = on_lost
        self._confirmed: set[NodeId] = set()
        self._tell_due_ms = context.now_ms + TELL_AFTER_MS
        self.asking = False
        """Whether there are peers that have not answered, and are to be asked."""
        self.forgot: list[NodeId] = []
        """The peers that know another life of this node."""

    @property
    def forgetful(self) -> bool:
        """Whether this node, a voter by name, once had a memory that it has lost: it must not vote.
        (One that has no vote has nothing to forget.)"""
        entry = self._context.membership.members.get(self._context.node)
        has_vote = entry is None or entry.voter
        return has_vote and (self._lost or bool(self.forgot) or self._is_foreign)

    @property
    def _is_foreign(self) -> bool:
        """Whether another data directory votes in this node's name."""
        entry = self._context.membership.members.get(self._context.node)
        return entry is not None and entry.voter and entry.directory not in (0, self.directory)

    def begin(self, promised: Ballot) -> None:
        """The node starts: with these promises, if it has made any."""
        context = self._context
        self.asking = bool(context.audience)
        # Who voted had promised before, and a log that is whole forgets no promise.
        context.unconfirmed = promised == NULL_BALLOT and bool(context.own_bit)
        self.review()

    def review(self) -> None:
        """Another membership is in force, or this is the first: may this directory vote?"""
        context = self._context
        entry = context.membership.members.get(context.node)
        if entry is None or not entry.voter:
            return
        if entry.directory and entry.directory == self.directory:
            if self._lost or self.forgot:
                context.outbox.notice("node.rejoined", epoch=context.epoch)
            self._lost = self.repaired = False
            self.forgot.clear()
            self._confirmed.clear()
            context.unconfirmed = False
        elif self.forgetful:
            context.unconfirmed = True
        else:
            self._confirm_if_all()
        self.asking = bool(self.missing()) or self.forgetful

    def renew(self, directory: int) -> None:
        """The data directory was found to be an old copy, and has an identity of its own now."""
        self.directory = directory
        self._lost = True

    def missing(self) -> list[NodeId]:
        """The peers that have not confirmed this node, in order of their names."""
        return sorted(name for name in self._context.audience if name not in self._confirmed)

    def ask(self) -> None:
        """Say hello to those who have not answered; tell the log now and then who they are."""
        context = self._context
        for name in self.missing():
            context.outbox.send(name, Hello(self.directory))
        if context.unconfirmed and not self.forgetful and context.now_ms >= self._tell_due_ms:
            self._tell_due_ms = context.now_ms + 12 * TELL_AFTER_MS
            missing = self.missing()
            context.outbox.notice("node.waiting", "warning", members=missing, advice=_ADVICE)

    def tell_stuck(self) -> None:
        """It waits to be let in again, and there is no leader that could: say so now and then."""
        context = self._context
        if context.now_ms >= self._tell_due_ms:
            self._tell_due_ms = context.now_ms + 12 * TELL_AFTER_MS
            silent = [n for n, peer in context.peers.items() if not peer.up]
            context.outbox.notice("node.waiting", "error", members=silent, advice=_STUCK_ADVICE)

    def receive_welcome(self, sender: NodeId, message: Welcome) -> None:
        """A peer says as which life it knows this node."""
        if not message.life:
            # It does not hear this start: its memory of peers is new, or an old frame misled it.
            self._confirmed.discard(sender)
            self.asking = bool(self.missing()) or self.forgetful
            return
        if message.life != self._life:
            if starts_of(message.life) >= starts_of(self._life) and self._concerns(message):
                self._lose(sender)
            return  # else a late answer to an earlier start
        self._confirmed.add(sender)
        self.asking = bool(self.missing()) or self.forgetful
        self._confirm_if_all()

    def _confirm_if_all(self) -> None:
        context = self._context
        if context.unconfirmed and not self.missing() and not self.forgetful:
            context.unconfirmed = False
            context.outbox.notice("node.confirmed", members=sorted(self._confirmed))

    def _concerns(self, message: Welcome) -> bool:
        """Whether another life that a peer knows is one of the memory that votes here. A peer that
        lags may know one of a directory that does not count any more."""
        entry = self._context.membership.members.get(self._context.node)
        if entry is None or not entry.voter:
            return False
        return not entry.directory or entry.directory == self.directory == message.directory

    def _lose(self, sender: NodeId) -> None:
        context = self._context
        if sender in self.forgot:
            return
        self.forgot.append(sender)
        advice = LOST_ADVICE.replace("NAME", context.node)
        context.outbox.notice("node.memory_lost", "error", member=sender, advice=advice)
        if not context.unconfirmed and context.own_bit:
            context.unconfirmed = True
            self._on_lost("its memory is an old copy")


_ADVICE = (
    "this node has no memory yet; it votes once every other member has confirmed that it is new: "
    "start them all"
)
_STUCK_ADVICE = (
    "this node's log was damaged and set aside, and there is no leader that could let it vote "
    "again. Start the members that are down. If a majority of the voters has lost its memory, none "
    "will be elected, for nobody may decide without them: restore their data directories as they "
    "were, or make a new cluster from the best snapshot: paxosctl snapshot restore"
)
LOST_ADVICE = (
    "that peer knows an earlier life of this node, whose data directory was wiped or replaced "
    "since: what it promised then is lost, so it does not vote. To let it vote again with what it "
    "learns from the others: paxosctl member rejoin NAME"
)
