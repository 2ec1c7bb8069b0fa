"""What the parts of one node share: the roles, the outbox, the time, the seeded randomness."""

import random
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import Protocol
from zlib import crc32

from paxosd.core.acceptor import Acceptor
from paxosd.core.agreement import VALUE, Difference
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.commands import Batch, Entry, Reign, Result
from paxosd.core.flow import Flow
from paxosd.core.genesis import Record
from paxosd.core.learner import Learner
from paxosd.core.membership import Membership
from paxosd.core.messages import Accept, PeerMessage, Sample
from paxosd.core.options import NodeOptions
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer, ProposerState
from paxosd.core.quorum import Quorums
from paxosd.core.reads import LeaderReads
from paxosd.core.types import Ballot, NodeId, Slot


class Codec(Protocol):
    """How values are made and read; given by the shell, for the core imports no codec."""

    def encode_batch(
        self, stamp_ms: int, entries: list[bytes], reign: Reign | None = None
    ) -> bytes:
        """A slot's value from its time and its encoded entries; never b"". With a ``reign`` in
        the form of feature level 1."""
        ...

    def encode_entry(self, entry: Entry) -> bytes:
        """An entry as a client would send it."""
        ...

    def decode_batch(self, value: bytes) -> Batch:
        """Raises ValueError for bytes that are no batch."""
        ...


class LeaseTable(Protocol):
    """The leases of the state machine."""

    @property
    def table(self) -> Sized:
        """All of them."""
        ...

    def due_at_ms(self) -> int | None:
        """The log time before which none of them ends; None: there are none."""
        ...


class StateMachine(Protocol):
    """The replicated state machine, a function of the chosen log."""

    applied: Slot
    membership: Membership
    """As the log has it; of epoch 0 if it holds no change."""
    settings: ClusterSettings
    """As the log has them; of version 0 if it holds none."""
    chain: int
    """Over all that was applied."""

    @property
    def log_time_ms(self) -> int: ...

    @property
    def latest_reign(self) -> Reign:
        """As the last batch of the latest reign in the log has it."""
        ...

    @property
    def leases(self) -> LeaseTable: ...

    def chain_at(self, slot: Slot) -> int | None:
        """What it was after an applied slot; None if that is not known."""
        ...

    @property
    def checksums(self) -> dict[Slot, str]:
        """Of the state after some slots, in hex: the last few."""
        ...

    def apply(self, slot: Slot, batch: Batch | None, value: bytes) -> list[list[Result]]:
        """Apply the next slot (None: NOOP), for which the log holds ``value``; results per entry,
        per command."""
        ...


CONTRADICTION_ADVICE = (
    "this node and that member hold different values of one slot at one ballot: a log or a memory "
    "is damaged, or a node runs twice. Neither value is taken over before a majority of the voters "
    "says which one was chosen. Start the voters that are down: what they have decides"
)


@dataclass(slots=True)
class Peer:
    """What is known of one other node."""

    heard_ms: float = float("-inf")
    seen_ms: float = float("-inf")
    """When anything came from it, even if its word did not count. Both times are forgotten when its
    connection breaks: until it is heard again it does not count as reachable."""
    contact_ms: float = float("-inf")
    """When anything last came from it, in spite of broken connections: for people."""
    votes: bool = False
    """Whether it may vote, as its last heartbeat said."""
    commit: Slot = 0
    acked_ms: float = float("-inf")
    """When it last acknowledged this node's leadership."""
    votes_asked_ms: float = float("-inf")
    sync_us: int = 0
    """What a group commit takes there, as it last said; 0: unknown."""
    low_space: bool = False
    directory_id: int = 0
    """The identity of its data directory, as its last Hello said; 0: unknown."""
    level: int = 0
    """The highest feature level that it takes, as it last said."""
    version: str | None = None
    """Of its program, as it last said; "": one of before versions were said; None: nothing yet."""
    noted: tuple[str, int] | None = None
    """The version and the level that were logged of it last; None: nothing was."""
    message_bytes_max: int = 0
    """The largest client message that it takes, as it last said (from a peer it takes a little more
    than twice that, see ``peer_limits.py``); 0: unknown."""
    skew_ms: int | None = None
    """How far its wall clock is ahead of this node's, as far as is known."""
    up: bool = False
    """Whether the last event logged of it was member.up, and not member.down."""
    flow: Flow = field(default_factory=Flow)
    """What is on its way there."""


class EarlyMessages:
    """Messages under ballots of a later epoch. This node cannot handle them before it has applied
    the change that made the epoch, which is on its way. Bounded: what is dropped is sent again."""

    __slots__ = ("_bytes", "_messages")

    MESSAGES_MAX = 256
    BYTES_MAX = 16 << 20

    def __init__(self) -> None:
        self._messages: list[tuple[NodeId, int, PeerMessage]] = []
        self._bytes = 0

    def keep(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        """Keep a message, or drop it if there are too many."""
        size = len(message.value) if isinstance(message, Accept) else 0
        if len(self._messages) < self.MESSAGES_MAX and self._bytes + size <= self.BYTES_MAX:
            self._messages.append((sender, run_id, message))
            self._bytes += size

    def take(self) -> list[tuple[NodeId, int, PeerMessage]]:
        """Take out all messages, in order of arrival. Some may still be too early."""
        taken, self._messages, self._bytes = self._messages, [], 0
        return taken


@dataclass(slots=True)
class Context:
    """What all roles of one node share. ``now_ms``: monotonic time; ``wall_ms``: wall clock."""

    options: NodeOptions
    membership: Membership
    """The membership in force at the next slot to be applied."""
    rng: random.Random
    acceptor: Acceptor
    learner: Learner
    proposer: Proposer
    leader_reads: LeaderReads
    outbox: Outbox
    machine: StateMachine
    codec: Codec
    node: NodeId = field(init=False)
    now_ms: float = 0.0
    wall_ms: int = 0
    peers: dict[NodeId, Peer] = field(default_factory=dict)
    """The nodes whose messages are handled: the other members and the contacts. (For a node that
    was away for long, the contacts may be the only nodes that are still there.)"""
    commit_heard: Slot = 0
    """The highest commit index in any peer's message."""
    audience: list[NodeId] = field(default_factory=list)
    """The nodes that messages go to: the other members."""
    unconfirmed: bool = False
    """Whether this voter must not act now, for one of the reasons in ``admission.py`` …"""
    unconfirmed_since_ms: float = 0.0
    """… and since when, by the steady clock."""
    diverged: bool = False
    """Whether this node's state is not the decided one (``agreement.py``): then it applies nothing
    and serves nobody."""
    disputed: bool = False
    """Whether the voters' states differ, and no majority says which is right."""
    sums: tuple[Sample, ...] = ()
    """The samples of this node's state that the next heartbeats carry …"""
    sound: bool = True
    """… and whether they count."""
    contacts: list[NodeId] = field(default_factory=list)
    """The nodes of the configuration, and strangers that were taken as contacts (see
    ``cluster_origin.py``)."""
    genesis: str = ""
    """The hash of the founding record, in hex; "": none is known."""
    newest_epoch: int = 0
    """The highest epoch of a membership that this node has met in any envelope or ballot."""
    foreign_record: Record | None = None
    """A founding record of the cluster that does not name this node's data directory."""
    contradiction_reported: Slot = 0
    """The highest slot whose contradiction was logged."""
    early: EarlyMessages = field(default_factory=EarlyMessages)
    contradiction: Difference | None = None
    """Two values of one slot at one ballot, in the lowest slot where they were met: see
    :attr:`open_contradiction`."""
    sync_us: int = 0
    """What a group commit takes here; 0: unknown."""
    low_space: bool = False
    """Whether this node's disk is nearly full."""

    def __post_init__(self) -> None:
        self.node = self.options.node

    def note_commit(self, name: NodeId, commit: Slot) -> None:
        """A peer said that every slot up to ``commit`` is chosen."""
        peer = self.peers[name]
        if commit > peer.commit:
            peer.commit = commit
            peer.flow.arrived_up_to(commit, self.now_ms)
            self.commit_heard = max(self.commit_heard, commit)

    @property
    def level_offered(self) -> int:
        """The highest feature level that this node takes, as it says to its peers; 0: the program
        knows of none. A target below what the log has raised holds nothing back."""
        target = self.options.level_target
        return max(target, self.machine.settings.level) if target else 0

    @property
    def open_contradiction(self) -> Difference | None:
        """The contradiction that was met, until this node has applied its slot. Until then it does
        not act; after that the chain includes the slot and is compared."""
        dispute = self.contradiction
        return dispute if dispute is not None and dispute.slot > self.learner.commit else None

    def contradict(
        self, slot: Slot, ballot: Ballot, member: NodeId, own: bytes, other: bytes
    ) -> None:
        """``member`` has another value of a slot than this node, at the same ballot."""
        dispute = self.open_contradiction
        if dispute is not None and dispute.slot <= slot:
            return
        self.contradiction = Difference(VALUE, slot, crc32(own), crc32(other), (member,))
        self.report_contradiction(slot, ballot, member)

    def report_contradiction(self, slot: Slot, ballot: Ballot, member: NodeId) -> None:
        """Log a contradiction, unless one of this slot or of a higher one was logged."""
        if slot <= self.contradiction_reported:
            return
        self.contradiction_reported = slot
        self.outbox.notice(
            "ballot.contradiction",
            "error",
            slot=slot,
            ballot=ballot.shown(),
            member=member,
            advice=CONTRADICTION_ADVICE,
        )

    @property
    def is_alone_in_the_past(self) -> bool:
        """Whether this node is the only voter that it knows of, and there is a later membership."""
        return self.newest_epoch > self.epoch and self.quorums.voters == (self.node,)

    @property
    def own_bit(self) -> int:
        """This node's vote; 0 if it has none, or must not use it now."""
        return 0 if self.unconfirmed else self.membership.quorums.bit.get(self.node, 0)

    @property
    def unconfirmed_ms(self) -> int:
        """For how long this voter has been unconfirmed; -1: it is not."""
        return int(self.now_ms - self.unconfirmed_since_ms) if self.unconfirmed else -1

    def set_unconfirmed(self, unconfirmed: bool) -> None:
        """Whether this voter must not act from now on."""
        if unconfirmed and not self.unconfirmed:
            self.unconfirmed_since_ms = self.now_ms
        self.unconfirmed = unconfirmed

    @property
    def is_trying(self) -> bool:
        """Whether this node leads, or campaigns."""
        return self.proposer.state is not ProposerState.IDLE

    @property
    def quorums(self) -> Quorums:
        return self.membership.quorums

    @property
    def epoch(self) -> int:
        return self.membership.epoch
