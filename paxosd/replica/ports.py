"""What a replica is given: the ports through which it reaches the world, and its options.

The daemon gives it sockets, a thread for group commits and real clocks; the simulator gives it a
network, a committer and a clock of its own. The replica sees no difference.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from paxosd.bus.inbox import Inbox
from paxosd.bus.peers import PeerEndpoints
from paxosd.core.message_room import MessageRoom
from paxosd.core.messages import Accepted, Envelope, PeerMessage
from paxosd.core.requests import ClientRequest, ServerMessage
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.host.log import Log
from paxosd.recorder.recorder import Recorder
from paxosd.replica.admin import FileSource, ProbeSource
from paxosd.replica.authority import Authority
from paxosd.replica.deferred_answers import DeferredHelper
from paxosd.replica.forwarding import Link
from paxosd.replica.request_times import RequestTimes
from paxosd.snapshot.jobs import Helper
from paxosd.storage.wal import SyncJob
from paxosd.wire import EntryLimits


class Answers(Protocol):
    """Where answers go: the bus, or the debug log of requests before it."""

    def answer(self, client: bytes, message: ServerMessage) -> bool: ...


class ReplicaBus(Answers, Protocol):
    """How a replica receives and sends; :class:`paxosd.bus.bus.Bus` implements it. Nothing here
    blocks."""

    inbox: Inbox

    @property
    def relay(self) -> Link: ...

    def set_peers(self, peers: Mapping[NodeId, Any], pins: Mapping[NodeId, int]) -> None: ...

    @property
    def has_subscriptions(self) -> bool: ...

    @property
    def event_bytes_waiting(self) -> int: ...

    def receive_peers(self, limit: int) -> list[Envelope]: ...

    def receive_clients(self, limit: int) -> list[ClientRequest]: ...

    def receive_subscriptions(self) -> list[tuple[bool, bytes]]: ...

    def disconnected(self) -> list[NodeId]: ...

    def send(self, to: NodeId, message: PeerMessage) -> bool: ...

    def publish_accepted(self, message: Accepted) -> None: ...

    def publish(self, topic: bytes, payload: bytes) -> None: ...


class Committer(Protocol):
    """Runs group commits, one at a time, beside the loop or in it;
    :class:`paxosd.daemon.commits.Commits` implements it."""

    def start(self, job: SyncJob, *, may_block: bool) -> bool:
        """Begin. True: it has ended already, as :meth:`finished` reports. ``may_block``: whether it
        may be carried out at once, while the caller waits."""
        ...

    def finished(self) -> list[SyncJob]:
        """The jobs done since the last call. Raises the StorageError of one that failed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a replica reaches the world through.

    ``helper``: runs snapshots' jobs. ``now_ms``: the clock of the turns. ``precise_now_ms``: the
    same clock read anew in the middle of a turn; None: no time passes within a turn.
    ``read_now_ms``: the same for what clients are answered; None: as ``precise_now_ms``. The
    others: see :class:`~paxosd.replica.admin.AdminPorts`."""

    bus: ReplicaBus
    committer: Committer
    helper: Helper
    log: Log
    plan: FaultPlan
    faults_enabled: bool
    now_ms: Callable[[], float]
    status: Callable[[], dict[str, Any]]
    crash: Callable[[], None]
    save_faults: Callable[[], None] = lambda: None
    precise_now_ms: Callable[[], float] | None = None
    read_now_ms: Callable[[], float] | None = None
    probes: ProbeSource | None = None
    log_level: Callable[[str, int], dict[str, Any]] | None = None
    files: FileSource | None = None
    file_helper: DeferredHelper | None = None
    """Reads those files beside the loop; None: the node hands out none."""
    recorder: Recorder | None = None
    """Where it records what it does; None: nowhere."""
    authority: Authority | None = None
    """Who has which key, if the sockets ask it, too; None: it is made here. The replica brings it
    up to date."""
    request_times: RequestTimes | None = None
    """Where it notes how long requests took; None: nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """Who the replica is and how much it does at a time; sizes in bytes.

    ``contacts``: where the other members of the configuration are reached. ``trusted_peers`` and
    ``trusted_admins``: name → public key, as the node's trust file has them. ``debug``: whether the
    log takes protocol events; if not, none is made.
    """

    cluster: str
    node: NodeId
    boot_count: int
    entry_limits: EntryLimits
    read_bytes_max: int
    catch_up_bytes_max: int
    subscriptions_max: int
    contacts: Mapping[NodeId, PeerEndpoints]
    trusted_peers: Mapping[NodeId, bytes] = field(default_factory=dict)
    trusted_admins: Mapping[str, bytes] = field(default_factory=dict)
    room: MessageRoom | None = None
    debug: bool = False
    slow_request_ms: float = 0.0
    """A request that takes as long is logged; 0: none is."""
