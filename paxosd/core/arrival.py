"""At each start a node asks its peers how they know it; without a memory it waits for all.

    this start ── Hello ──► every peer      a peer writes down which life it hears, then answers
    this start ◄── Welcome(life) ── peer    my present life: this peer confirms me
                                            another that is no older: I was here, and forgot

A voter without any memory of a promise is *unconfirmed*: it learns and serves reads, but neither
promises, votes nor acknowledges a leader, until every peer has confirmed it. A vote or promise
matters only once somebody has heard it, and whoever heard this node under another life says so
here: so a disk that was wiped is found however early that was. The price is paid once: at the
very first start of a cluster every member must be up for a moment. One whose memory is found to
be lost, or to be an old copy, stays unconfirmed; peers that knew it drop all that it says.

Source of the rule: Chandra, Griesemer, Redstone, "Paxos Made Live" (2007), section 5.1.
"""

from collections.abc import Callable

from paxosd.core.context import Context
from paxosd.core.messages import Hello, Welcome
from paxosd.core.types import NodeId

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

    __slots__ = ("_confirmed", "_context", "_life", "_on_lost", "_tell_due_ms", "asking", "forgot")

    def __init__(self, context: Context, life: int, on_lost: Callable[[str], None]) -> None:
        """``on_lost`` is called with a reason when the node turns out to have lost its memory."""
        self._context = context
        self._life = life
        self._on_lost = on_lost
        self._confirmed: set[NodeId] = set()
        self._tell_due_ms = context.now_ms + TELL_AFTER_MS
        self.asking = False
        """Whether there are peers that have not answered, and are to be asked."""
        self.forgot: list[NodeId] = []
        """The peers that know another life of this node."""

    def missing(self) -> list[NodeId]:
        """The peers that have not confirmed this node, in order of their names."""
        return sorted(name for name in self._context.peers if name not in self._confirmed)

    def ask(self) -> None:
        """Say hello to those who have not answered; tell the log now and then who they are."""
        context = self._context
        for name in self.missing():
            context.outbox.send(name, Hello())
        if context.unconfirmed and not self.forgot and context.now_ms >= self._tell_due_ms:
            self._tell_due_ms = context.now_ms + 12 * TELL_AFTER_MS
            missing = self.missing()
            context.outbox.notice("node.waiting", "warning", members=missing, advice=_ADVICE)

    def receive_welcome(self, sender: NodeId, message: Welcome) -> None:
        """A peer says as which life it knows this node."""
        context = self._context
        if message.life != self._life:
            if starts_of(message.life) >= starts_of(self._life) and sender not in self.forgot:
                self._lose(sender)
            return  # else a late answer to an earlier start
        self._confirmed.add(sender)
        self.asking = bool(self.missing())
        if context.unconfirmed and not self.asking and not self.forgot:
            context.unconfirmed = False
            context.outbox.notice("node.confirmed", members=sorted(self._confirmed))

    def _lose(self, sender: NodeId) -> None:
        context = self._context
        self.forgot.append(sender)
        context.outbox.notice("node.memory_lost", "error", member=sender, advice=_LOST_ADVICE)
        if not context.unconfirmed and context.own_bit:
            context.unconfirmed = True
            self._on_lost("its memory is an old copy")


_ADVICE = (
    "this node has no memory yet; it votes once every other member has confirmed that it is new: "
    "start them all"
)
_LOST_ADVICE = (
    "that peer knows an earlier life of this node, whose data directory was wiped or replaced "
    "since: what it promised then is lost, so it must not vote. Put its old directory back, or "
    "replace it by a member of another name"
)
