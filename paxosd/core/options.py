"""The numbers that the protocol runs by. Units end the names."""

from dataclasses import dataclass

from paxosd.core.cluster_settings import DEFAULTS, ClusterSettings
from paxosd.core.membership import Membership
from paxosd.core.quorum import Quorums
from paxosd.core.types import NodeId

MESSAGE_BYTES_MIN = 65_536
"""The least that ``limits.message_bytes_max`` may be: every node takes that."""
FRAME_EXTRA_BYTES = 1 << 20
"""What a frame between daemons may have beyond twice a client's largest message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """Settings of one node. Every bound exists so that no peer or client can exhaust memory."""

    node: NodeId
    quorums: Quorums
    """Who votes at epoch 0, as long as the log holds no change of the membership."""
    bootstrap: Membership | None = None
    """The same with everybody's endpoints, and the members without a vote."""
    cluster: str = ""
    """Its id, as the founding record has it."""
    peer_endpoint: str = ""
    events_endpoint: str = ""
    """Where this node is reached, for a peer whose configuration does not say."""
    compare_wait_ms: float = 15_000
    """After a start a voter votes once all other voters have compared its memory with what they
    heard of it, or after this time once a phase-1 quorum has (``admission.py``)."""
    heartbeat_ms: float = 100
    election_timeout_ms: float = 600
    """A follower that hears no leader for this long, and a random part of it more, asks for
    pre-votes (``election.py``)."""
    stuck_timeouts: int = 10
    """A leader that makes no progress for so many election timeouts, though something waits and a
    quorum answers, gives up its ballot; the next time after twice as long (``watchdog.py``)."""
    retransmit_ms: float = 250
    """An unanswered question is sent again after this; an accept after this at the latest, and
    earlier once it is known how long votes take (``resend_timer.py``)."""
    pull_after_ms: float = 30
    """How long a chosen slot's value may be missing before it is pulled: an accept and the
    votes for it travel on different sockets, so a short absence is normal."""
    window_slots_max: int = 64
    eager_slots_max: int = 2
    """With this many slots in flight a new one waits for one to be chosen, or for a full batch:
    larger batches cost less per command than a deeper pipeline saves in latency."""
    eager_batch_bytes: int = 256 << 10
    """What counts as a full batch for that rule."""
    window_bytes_max: int = 32 << 20
    batch_bytes_max: int = 4 << 20
    batch_commands_max: int = 2_000
    queue_commands_max: int = 20_000
    queue_bytes_max: int = 64 << 20
    apply_commands_max: int = 1_000
    """A turn of the loop that has applied so many commands, a slot counting for one more, applies
    no further slot. The first one it always does, and whole."""
    reads_waiting_max: int = 20_000
    accept_ahead_slots_max: int = 4096
    """An acceptor takes no slot further above its commit index: it must catch up first."""
    catch_up_slots_max: int = 1024
    promise_bytes_max: int = 4 << 20
    message_bytes_max: int = 0
    """The largest client message that this node takes, which it sends to its peers; 0: not sent."""
    message_bytes_min: int = MESSAGE_BYTES_MIN
    frame_extra_bytes: int = FRAME_EXTRA_BYTES
    """The same on all nodes; the simulator has less of both, to meet them more often."""
    level_target: int = 0
    """The feature level that a leader raises the cluster to at most, once all members take it."""
    level_known: int = 0
    """The highest that the program knows, if an operator holds the target below it; 0: the same."""
    version: str = ""
    """Of the program, as its peers are to know it; "": they are not."""
    founding_settings: ClusterSettings = DEFAULTS
    """What the first raise makes the replicated settings, besides the level."""
