"""What the live audit knows of one node: how far its stream has come, and where it may have holes.

*Fence*: a subscription to a topic of its own. The node answers it with a progress message on the
same connection, so everything that the node had published before has come by then, or was lost.
That nothing was lost shows in the numbers of the next message of votes.
A node is *blind* from where its stream may have a hole until a fence has come and all nodes were
asked how far the slots go: whether it voted in a slot up to there (``blind_to``) is not known.
"""

from dataclasses import dataclass, field

from paxosctl.audit.findings import Evidence
from paxosctl.audit.live_frames import NO_BALLOT, Ballot, Standing

SYNCS_BETWEEN = 3
"""A vote that was handed over before a promise is out once so many group commits are done."""


@dataclass(slots=True)
class _Floor:
    """A promise that the node named, and how many group commits it had done by then."""

    promised: Ballot
    syncs: int
    run_id: int


@dataclass(slots=True)
class Stream:
    """``seq``: of the last message of votes in the run ``run_id``; ``voted``: the highest ballot of
    a vote, and where; ``promised``: no vote below it may come any more; ``applied``: the last slot
    that it applied; ``sure_ms``: every vote that was published until then has come."""

    node: str
    endpoint: str
    run_id: int = 0
    seq: int = 0
    voted: Ballot = NO_BALLOT
    voted_at: Evidence | None = None
    promised: Ballot = NO_BALLOT
    applied: int = 0
    frames: int = 0
    votes: int = 0
    missed: int = 0
    runs: int = 0
    blind: bool = True
    blind_to: int = 0
    blind_since_ms: float = 0.0
    fenced_ms: float = -1.0
    """When the last fence that came was begun …"""
    fence_came_ms: float = -1.0
    """… and when it came."""
    sure_ms: float = -1.0
    standing: Standing | None = None
    standing_ms: float = -1.0
    """When the node was asked what it said last; or when it was found not to answer."""
    voted_when_asked: Ballot = NO_BALLOT
    _floor: _Floor | None = None
    _fences: dict[bytes, tuple[float, Ballot]] = field(default_factory=dict)

    def evidence(self, what: str) -> Evidence:
        """The message that just came."""
        boot = f"/{self.run_id >> 20}" if self.run_id else ""
        return Evidence(self.node, f"{self.node}{boot} {what}", self.endpoint, self.frames)

    def lose(self, now_ms: float) -> None:
        """Messages may be missing here."""
        self.blind = True
        self.blind_since_ms = now_ms
        self.fenced_ms = self.sure_ms = -1.0
        self._fences.clear()

    # -- fences

    def begin_fence(self, prefix: bytes, now_ms: float) -> None:
        """A subscription to this prefix leaves now."""
        if len(self._fences) > 8:
            self._fences.clear()
        self._fences[prefix] = now_ms, self._safe_floor()

    def end_fence(self, prefix: bytes, now_ms: float) -> None:
        """The progress message of that prefix is here."""
        begun = self._fences.pop(prefix, None)
        if begun is not None:
            self.fenced_ms, self.fence_came_ms = max(self.fenced_ms, begun[0]), now_ms
            self.promised = max(self.promised, begun[1])

    def count_votes(self, seq: int) -> None:
        """A message of votes, the one after the last."""
        self.seq = seq
        self.votes += 1
        self.sure_ms = max(self.sure_ms, self.fenced_ms)

    def is_resolved(self, asked_ms: float) -> bool:
        """Whether a fence has come since the hole, and all nodes were asked after it."""
        return self.fenced_ms > self.blind_since_ms and asked_ms > self.fence_came_ms

    # -- promises

    def _safe_floor(self) -> Ballot:
        """The promise below which no vote can be on its way to the disk any more."""
        said, floor = self.standing, self._floor
        if said is None or said.run_id != self.run_id:
            return NO_BALLOT
        if floor is None or floor.run_id != said.run_id:
            self._floor = _Floor(said.promised, said.syncs, said.run_id)
        elif said.syncs >= floor.syncs + SYNCS_BETWEEN:
            self._floor = _Floor(said.promised, said.syncs, said.run_id)
            return floor.promised
        return NO_BALLOT
