"""What a stage is made of: a client's messages, scripted lots, a member and its disks."""

import random
from typing import Any, NamedTuple

from paxosd.bus.inbox import Inbox
from paxosd.core.commands import Entry
from paxosd.core.effects import Record, Refusal, WriteReply
from paxosd.core.messages import Envelope, PeerMessage
from paxosd.core.node import Node
from paxosd.core.types import NodeId
from paxosd.replica.recovery import Memory
from paxosd.sim.world.disk import SimDisk
from paxosd.storage.peer_lives import PeerLives
from paxosd.storage.wal import SyncJob


class Write(NamedTuple):
    """A client's request to a node."""

    token: int
    entry: Entry


class Read(NamedTuple):
    """A client's linearizable read of one key."""

    token: int
    key: bytes


class Answer(NamedTuple):
    """A node's reply to a client: the outcome of a write, the value read, or a refusal."""

    token: int
    request: Write | Read
    reply: WriteReply | Refusal | bytes | None


class Lots(random.Random):
    """Injected randomness of one node, all of it drawn from one part of each interval: so that
    a script may say whose timer runs out first. What the node draws, and when, is its own."""

    def __init__(self, seed: str, part: int, parts: int) -> None:
        super().__init__(seed)
        self._low = part / parts
        self._width = 0.4 / parts

    def uniform(self, a: float, b: float) -> float:
        """Between a and b, within this node's part."""
        return a + (b - a) * (self._low + self._width * self.random())


class Silence:
    """A log that nobody reads: the narrator tells what happened."""

    def debug(self, event: str, **fields: Any) -> None: ...
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...
    def error(self, event: str, **fields: Any) -> None: ...


class Actor:
    """One member: its disks, and its node while it is up."""

    __slots__ = (
        "disk",
        "durable",
        "group",
        "home",
        "inbox",
        "job",
        "memory",
        "naive",
        "name",
        "node",
        "pending",
        "run_id",
        "turn_at",
    )  # fmt: skip

    def __init__(self, name: NodeId, rng: random.Random) -> None:
        self.name = name
        self.home = SimDisk(rng)
        """The data directory: identity, count of starts, the mark of a log."""
        self.disk = SimDisk(rng)
        """The log's directory in it."""
        self.run_id = 0
        self.inbox: Inbox
        """What comes from its peers, and whom of them it hears."""
        self.naive = False
        """Whether it is believed whatever it says of itself."""
        self.durable: list[Record] = []
        """What its log holds: for the observer."""
        self.pending: list[tuple[int, list[Record]]] = []
        self.group: list[tuple[int, list[Record]]] = []
        """On its way to the disk, and …"""
        self.job: SyncJob | None = None
        """… how."""
        self.memory: Memory
        self.node: Node | None = None
        self.turn_at: float | None = None

    def envelope(self, message: PeerMessage) -> Envelope:
        """What it says of itself with a message."""
        header = self.inbox.header
        return Envelope(
            self.name, self.run_id, message, header.genesis, header.epoch, header.log_mark
        )


class Trusting(PeerLives):
    """Believes naive actors whatever they say of themselves: what would be if nobody had written
    down whom he heard."""

    actors: dict[str, Actor]

    def admit(
        self,
        sender: NodeId,
        run_id: int,
        message: PeerMessage,
        log_mark: int = 0,
        now_ms: float = 0.0,
        old: bool = False,
    ) -> int:
        """The life to hand on with a message."""
        if self.actors[sender].naive:
            return run_id
        return super().admit(sender, run_id, message, log_mark, now_ms, old)
