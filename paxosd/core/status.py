"""What one node reports about itself and the others, for people, monitors and clients.

    Node.status ──► the daemon adds what it alone knows ──► wire/status.py ──► clients, paxosctl

The names are those of ``paxosctl -o json`` (docs/JSON.md). ``wire/status.py`` has the names that
they have in the answer to the admin verb ``status``, which older programs read. Every field has a
default: that is what a reader finds where the node that answered is of an older version and does
not send the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import UNKNOWN, Member, Membership
from paxosd.core.message_room import MessageRoom
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId, Slot


class Reached(NamedTuple):
    """Where a member is reached: by requests, and for what it publishes. ``keys``: the public keys
    by which it proves who it is, the newest first, as 40 characters of Z85; (): it has none."""

    client: str = ""
    events: str = ""
    keys: tuple[str, ...] = ()


class PortStatus(NamedTuple):
    """The connections of one listening socket: ``open`` ones of at most ``most``. Since the start,
    ``refused`` were ended at once, and ``silent`` ones later, to make room for others."""

    open: int = 0
    most: int = 0
    refused: int = 0
    silent: int = 0


class Misfit(NamedTuple):
    """``member`` has ``value`` for ``key`` in its file, which does not fit: the node that reports
    this has ``own`` for ``own_key``."""

    member: NodeId = ""
    key: str = ""
    value: int = 0
    own_key: str = ""
    own: int = 0


class FrameCut(NamedTuple):
    """``member`` ended its connection over a frame of so many bytes."""

    member: NodeId = ""
    frame_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStatus:
    """Another member, as the node that reports sees it."""

    reachable: bool = False
    """Whether it was heard within two election timeouts."""
    heard_ms_ago: int = -1
    """Milliseconds since anything came from it; -1: never."""
    commit: Slot = 0
    """Its commit index, as it last said."""
    feature_level: int = 0
    """The highest feature level that it takes, as it last said."""
    version: str | None = None
    """Of its program, as it last said; "": one that does not say it; None: it said nothing yet."""
    skew_ms: int | None = None
    """How many milliseconds its wall clock is ahead of this node's; None: not known."""
    voter: bool = True
    """Whether the membership gives it a vote."""
    votes: bool = True
    """Whether its vote counts now: it is a voter, is heard, and says that it may vote."""
    client: str = ""
    """Its client endpoint; "": not known."""
    link_problem: str = ""
    """Why the node that reports cannot connect to it, in words; "": nothing is known."""
    hears: bool = True
    """False: it says again and again that it does not hear the node that reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SumMismatch:
    """The first slot known after which the sums of two states differ."""

    slot: Slot = 0
    sum: str = ""
    """Which sum: of the chain of decisions, or of the state."""
    own: str = ""
    """The node's own sum, in hex."""
    others: str = ""
    """What others have there, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDifference(SumMismatch):
    """How the state of the node that reports differs from that of ``members``."""

    members: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonStatus:
    """What the comparison of states found (``comparison.py``)."""

    state: str = "agreed"
    """``agreed``, ``diverged`` (a majority has another state) or ``disputed``."""
    state_difference: StateDifference | None = None
    """The difference that this was decided by."""
    state_agreed_slot: Slot = 0
    """The last slot after which a majority had this node's sum."""
    state_odd: Mapping[NodeId, SumMismatch] = field(default_factory=dict)
    """The peers whose state differs from that of this node and of the majority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLimitsStatus:
    """How the limits in the members' files fit together (``peer_limits.py``)."""

    limits_differ: tuple[Misfit, ...] = ()
    """What other members have that does not fit what this node has."""
    frames_cut: tuple[FrameCut, ...] = ()
    """The members that show that they take smaller messages, without saying so."""
    message_bytes_least: int = 0
    """The largest message in bytes that every member takes; 0: not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FounderStatus:
    """A founder of the cluster: whether it got a vote, and with which data directory."""

    voter: bool = True
    directory_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingStatus:
    """The record of the founding. ``genesis``: its hash in hex."""

    genesis: str = ""
    members: Mapping[NodeId, FounderStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginStatus:
    """The snapshot that the cluster began with: of which cluster, and as of when."""

    cluster: str = ""
    slot: Slot = 0
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskStatus:
    """The data directory and the write-ahead log in it."""

    path: str = ""
    wal_segments: int = 0
    wal_bytes: int = -1
    """The size of all segments in use; -1: not known."""
    written_bytes: int = 0
    """Since the start."""
    syncs: int = 0
    """Since the start."""
    sync_us_last: int = 0
    sync_us_median: int = 0
    """Of the last 128 syncs, in microseconds."""
    sync_us_counts: Mapping[str, int] = field(default_factory=dict)
    """How many syncs since the start took how long: by the upper bound of a bucket in microseconds,
    exclusive, as text."""
    first_slot: Slot = 0
    last_slot: Slot = 0
    free_bytes: int = -1
    """-1: not known."""
    free_files: int = -1
    """-1: not known."""
    poisoned: bool = False
    """Whether a write or a sync failed, after which the log takes nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubStatus:
    """The reading of all that is on the disk, pass after pass."""

    last_ms_ago: int = -1
    """Milliseconds since a pass ended; -1: none did."""
    bytes: int = 0
    """Read by all passes since the start."""
    found: int = 0
    """Bad segments and snapshots since the start, however they were found."""
    repaired: int = 0
    running: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """The snapshots of a node, and what goes on with them."""

    slot: Slot = 0
    """That of the newest one; 0: there is none."""
    age_ms: int = -1
    """The age of the newest one; -1: there is none."""
    bytes: int = 0
    """The size of the newest one's file."""
    older_slots: tuple[Slot, ...] = ()
    running: bool = False
    """Whether one is being taken."""
    taken: int = 0
    """Since the start."""
    fetching: str = ""
    """What is done with a peer's snapshot now; "": none is fetched."""
    installed: int = 0
    """Peers' snapshots that took the place of this node's state, since the start."""
    scrub: ScrubStatus = ScrubStatus()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLevelStatus:
    """How much a node logs now, and by its configuration; for how long it is not the latter."""

    level: str = ""
    configured: str = ""
    left_ms: int = 0
    dropped: int = 0
    """Lines that were dropped since the start, because writing them would have blocked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStatus:
    """The flight recorder: whether it is on, the size of its files and how large they may be; what
    was not written since the start, and why not of late ("": all is well)."""

    enabled: bool = False
    bytes: int = 0
    bytes_max: int = 0
    unwritten_blocks: int = 0
    lost_events: int = 0
    """Dropped in memory, because writing took too long."""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceStatus:
    """The trace of all that goes into the node: whether it is on, the file of this run, the size of
    all such files and how large they may be; why it ended ("": it goes on)."""

    enabled: bool = False
    file: str = ""
    bytes: int = 0
    bytes_max: int = 0
    stopped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameStatus:
    """A host name of peers: its addresses, and why the last lookup failed ("": it did not)."""

    addresses: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorsStatus:
    """File descriptors: those that the process may have, those of them that are kept for itself,
    and about how many are in use."""

    total: int = 0
    reserve: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityStatus:
    """Keys: the node's own public key in Z85 ("": it has none), how far the switch to keys is
    ("": there are none), and what is wrong ("": nothing)."""

    key: str = ""
    rollout: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """All that a node reports about itself. :meth:`paxosd.core.node.Node.status` fills in what the
    core knows; the daemon adds the rest."""

    node: NodeId = ""
    cluster: str = ""
    version: str = ""
    """Of the program."""
    boot_count: int = 0
    """How often the data directory was started."""
    run_id: int = 0
    """This process: boot count and random bits."""
    directory_id: int = 0
    """The identity of the data directory; 0: not known."""
    role: str = ""
    """See :attr:`paxosd.core.node.Node.role`."""
    memory: str = "whole"
    """``whole``; ``lost``: the node must not vote, for it forgot what it promised; ``new``: it has
    no vote yet, and nothing to forget."""
    votes: bool = True
    """Whether this node may vote, by its own word."""

    ballot: Ballot = NULL_BALLOT
    """That of the leader which this node follows."""
    promised: Ballot = NULL_BALLOT
    leader: NodeId = ""
    """"": none is known."""
    leader_client: str = ""
    """The leader's client endpoint; "": not known."""
    elections: int = 0
    """How often this node began an election, since its start."""
    commit: Slot = 0
    known_commit: Slot = 0
    """The highest commit index that any node reported."""
    proposed: Slot = 0
    """The last slot that this leader proposed for; 0 of any other node."""
    applied: Slot = 0
    lag_slots: int = 0
    """How far ``applied`` is behind ``known_commit``."""
    age_ms: int = -1
    """What is applied here holds everything that was acknowledged so many milliseconds ago, or
    earlier; -1: not known."""
    open_slots: int = 0
    """Proposed and not chosen yet."""
    queued_commands: int = 0
    reads_waiting: int = 0
    unconfirmed_by: tuple[NodeId, ...] = ()
    """For which members this node waits until it may vote."""
    unconfirmed_ms: int = -1
    """For how many milliseconds this voter has not been allowed to act; -1: it is allowed."""

    voters: tuple[NodeId, ...] = ()
    quorum: int = 0
    """The larger of the two quorum sizes."""
    phase1: int = 0
    phase2: int = 0
    fault_tolerance: int = 0
    """How many more voters may fail before writing stops; -1: it has stopped. A voter counts if it
    is heard and, by its own word, may vote; a leader counts only those that acknowledge it."""
    peers: Mapping[NodeId, PeerStatus] = field(default_factory=dict)

    epoch: int = 0
    """Of the membership in force."""
    newest_epoch: int = 0
    """The latest that this node has heard of."""
    membership: Membership = UNKNOWN
    members: Mapping[NodeId, Reached] = field(default_factory=dict)
    """Where the members are reached: by the membership, or, as long as a node that joins knows of
    none, by its configuration file."""
    file_members: Mapping[NodeId, Member] = field(default_factory=dict)
    """The members that the configuration file names; without directory ids."""
    members_differ: Mapping[NodeId, Mapping[str, Any]] = field(default_factory=dict)
    """What the file says otherwise than the membership, see ``config/file_members.py``."""

    genesis: str | None = None
    """What this cluster's history is known by, in hex; "": not known yet; None: the program is of a
    version that knows of none."""
    founding: FoundingStatus | None = None
    """The founding record; None: this node does not have it."""
    restored_from: OriginStatus | None = None
    feature_level: int = 0
    feature_level_lagging: tuple[NodeId, ...] = ()
    """The members that do not take the latest level that this node's program knows, as far as it
    has heard; itself, if its file holds the level down."""
    feature_level_known: int = 0
    """The latest level that this node's program knows; 0: it is of a version that does not say."""
    feature_level_max: int = 0
    """``protocol.feature_level_max`` in this node's file, above which the level is not raised; 0:
    there is none."""
    settings: ClusterSettings | None = None
    """The replicated settings."""
    file_settings: Mapping[str, int] = field(default_factory=dict)
    """What the configuration file has for settings that the log holds, or is to hold."""
    message_room: MessageRoom | None = None

    state: str = "agreed"
    """This and the next three: see :class:`ComparisonStatus`."""
    state_difference: StateDifference | None = None
    state_agreed_slot: Slot = 0
    state_odd: Mapping[NodeId, SumMismatch] = field(default_factory=dict)
    limits_differ: tuple[Misfit, ...] = ()
    """This and the next two: see :class:`PeerLimitsStatus`."""
    frames_cut: tuple[FrameCut, ...] = ()
    message_bytes_least: int = 0
    low_space: tuple[NodeId, ...] = ()
    """Whose disk is nearly full, as far as this node knows: its own; of the leader, the others',
    too."""

    revision: int = 0
    keys: int = 0
    held_bytes: int = 0
    """What the keys count towards the quota; 0: there is none (``core/state/quota.py``)."""
    quota: str = ""
    """``ok``, ``near`` or ``full``; "": there is none."""
    sessions: int = 0
    log_time_ms: int = 0
    """The time of the log, by which sessions age."""
    wall_ms: float | None = None
    """The node's wall clock, in milliseconds since 1970."""
    uptime_ms: int = 0
    rss_bytes: int = 0
    """Resident memory."""
    cpu_ms: int = 0
    """Processor time of the process since its start, all threads; 0: not known."""
    disk: DiskStatus = field(default_factory=DiskStatus)
    snapshot: SnapshotStatus | None = None
    """None: this node keeps no snapshots."""
    log: LogLevelStatus | None = None
    recorder: RecorderStatus | None = None
    """None: the program is of a version without one."""
    trace: TraceStatus | None = None
    """None: [trace] is not enabled, or the program is of a version without it."""
    security: SecurityStatus | None = None
    """None: the program is of a version without keys."""
    names: Mapping[str, NameStatus] = field(default_factory=dict)
    descriptors: DescriptorsStatus | None = None
    connections: Mapping[str, PortStatus] = field(default_factory=dict)
    """``peer``, ``client`` and ``events``: the connections of each listening socket."""
    faults_enabled: bool = False
    fault_count: int = 0
    """Fault rules that are active."""
    counters: Mapping[str, int] = field(default_factory=dict)
    """Of the bus and the service, since the start."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What a newer version sends beyond this, under the names and in the form of the wire."""
