"""What the loop hands to the thread that answers monitors: values that nobody changes any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paxosd.core.status import NodeStatus
from paxosd.host.histogram import Histogram

Counts = Mapping[str, int]
Times = Mapping[str, Histogram]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One node at one moment. Counts and times are since the start of the process."""

    at_ms: float
    """When, on the monotonic clock."""
    status: NodeStatus
    stopping: bool = False
    """Whether the node was asked to stop, or is no member any more."""
    leader_changes: int = 0
    requests: Counts = field(default_factory=dict)
    """Kind → how many came."""
    refusals: Counts = field(default_factory=dict)
    """Code → how many."""
    writes: Times = field(default_factory=dict)
    """Outcome → how long; see :class:`paxosd.replica.request_times.RequestTimes`, for the next
    three, too."""
    reads: Times = field(default_factory=dict)
    stages: Times = field(default_factory=dict)
    votes_repeated: int = 0
    syncs: Histogram = field(default_factory=Histogram)
    snapshots: Histogram = field(default_factory=Histogram)
    watchers: Counts = field(default_factory=dict)
    """What the publisher of changes counts."""
    event_bytes_waiting: int = 0
    fault_hits: Counts = field(default_factory=dict)
    """Kind → hits."""
    leases: int = 0
    quota_bytes_max: int = 0
    """0: there is no quota."""
    window_slots_max: int = 0
    queue_commands_max: int = 0
    slow_turns: int = 0
