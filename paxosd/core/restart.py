"""What a node has when it starts: the memory that its disk gave back, and who it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from paxosd.core.context import StateMachine
from paxosd.core.genesis import Record
from paxosd.core.types import NULL_BALLOT, Ballot, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """One start of a node. What was promised and accepted must be all that an earlier start made
    durable: an acceptor that forgets breaks the safety of Paxos (Lamport, "Paxos Made Simple",
    section 2.5)."""

    machine: StateMachine
    """The state machine. It has applied exactly the slots up to ``commit``."""
    commit: Slot = 0
    """All slots up to this one are known to be chosen, and are applied."""
    promised: Ballot = NULL_BALLOT
    """The highest ballot that the acceptor promised, or voted under."""
    accepted: Mapping[Slot, tuple[Ballot, bytes]] = field(default_factory=dict)
    """Per slot above ``commit``: the last ballot under which this node voted, and the value. What
    it merely learned to be chosen is not among them."""
    start_mark: int = 0
    """The log mark at the start: the number of the last durable group of the log."""
    run_id: int = 1
    """The number of this run: boot count and random bits (``run_id.py``)."""
    directory_id: int = 0
    """The identity of the data directory; 0: it has none (a data directory of an old version)."""
    arriving: bool = False
    """Whether the node must be compared with its peers before it acts (``admission.py``). False
    only in tests and lessons."""
    lost: bool = False
    """Whether the data directory is known to have lost its memory."""
    repaired: bool = False
    """Whether the memory was lost by damage that this node found and set aside. Then it may ask by
    itself to vote again."""
    record: Record | None = None
    """The founding record, if the directory holds it."""
    genesis: int = 0
    """The hash of the founding record, if the directory knows it from others; 0: unknown. Not used
    if ``record`` is given."""
    now_ms: float = 0.0
    """Monotonic time of the start."""
    wall_ms: int = 0
    """Wall clock at the start."""
