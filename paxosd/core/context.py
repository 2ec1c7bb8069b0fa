"""What the parts of one node share: the roles, the outbox, the time, the seeded randomness."""

import random
from dataclasses import dataclass, field
from typing import Protocol

from paxosd.core.acceptor import Acceptor
from paxosd.core.commands import Batch, Result
from paxosd.core.learner import Learner
from paxosd.core.options import NodeOptions
from paxosd.core.outbox import Outbox
from paxosd.core.proposer import Proposer
from paxosd.core.reads import LeaderReads
from paxosd.core.types import NodeId, Slot


class Codec(Protocol):
    """How values are made and read; given by the shell, for the core imports no codec."""

    def encode_batch(self, stamp_ms: int, entries: list[bytes]) -> bytes:
        """A slot's value from its log time and its encoded entries; never b""."""
        ...

    def decode_batch(self, value: bytes) -> Batch:
        """Raises ValueError for bytes that are no batch."""
        ...


class StateMachine(Protocol):
    """The replicated state machine, a function of the chosen log."""

    applied: Slot

    @property
    def log_time_ms(self) -> int: ...

    def apply(self, slot: Slot, batch: Batch | None) -> list[list[Result]]:
        """Apply the next slot (None: NOOP); results per entry, per command."""
        ...


@dataclass(slots=True)
class Peer:
    """What is known of one other node."""

    heard_ms: float = float("-inf")
    commit: Slot = 0
    acked_ms: float = float("-inf")
    """When it last acknowledged this node's leadership."""
    votes_asked_ms: float = float("-inf")
    up: bool = False
    """As the log last told it: heard, and not lost again since."""


@dataclass(slots=True)
class Context:
    """One node's shared parts. ``now_ms`` is a monotonic time, ``wall_ms`` the wall clock."""

    options: NodeOptions
    rng: random.Random
    acceptor: Acceptor
    learner: Learner
    proposer: Proposer
    leader_reads: LeaderReads
    outbox: Outbox
    machine: StateMachine
    codec: Codec
    now_ms: float = 0.0
    wall_ms: int = 0
    peers: dict[NodeId, Peer] = field(default_factory=dict)
    unconfirmed: bool = False
    """Whether this voter has no memory and not every peer has said that it never had one: it
    learns, but neither promises nor votes."""

    @property
    def node(self) -> NodeId:
        return self.options.node

    @property
    def own_bit(self) -> int:
        """This node's vote; 0 if it has none, or must not use it now."""
        return 0 if self.unconfirmed else self.options.quorums.bit.get(self.options.node, 0)
