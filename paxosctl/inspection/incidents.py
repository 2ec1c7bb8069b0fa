"""What went wrong in a cluster, when and where: each incident with how it is known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from paxosctl.inspection.events import event_id, ms
from paxosctl.inspection.timeline_view import clock_time
from paxosd.recorder.event import Event

MACHINE_BUSY = "machine busy"
KINDS = {
    "died": "the process ended without a word",
    "ended": "the process was ended in order, or by itself for a reason that it gave",
    "still": "the process neither ran nor wanted to: stopped by a signal, or with its machine",
    "busy": "the node had too little of the processors, or its loop had too much to do",
    MACHINE_BUSY: "the same on all nodes at once: they share a machine, or have the same load",
    "disk": "its group commits took far longer than those of another node at the time",
    "disk failed": "a write or a sync failed",
    "wiped": "the node began without its memory, in a new data directory",
    "clock": "its wall clock moved against its monotonic clock",
    "slow link": "what node sent to peer was late, all of it about alike",
    "lossy link": "of what node sent to peer some was lost, or came late as after a loss",
    "one-way": "nothing of what node sent arrived at peer, though the other direction went on",
    "cut link": "nothing arrived between node and peer, in neither direction",
    "cut off": "nothing arrived between the node and all others that lived",
    "members": "the membership was changed",
    "no leader": "no write was answered, until another leader was there",
}
"""What an incident is, and what that says."""


@dataclass(frozen=True, slots=True)
class Incident:
    """``what``: of :data:`KINDS`. ``node``: where; "" of the cluster; ``peer``: the other end of a
    link. ``since_us``, ``until_us``: on the axis of the lives. ``is_noted``: the log says that it
    was put in on purpose; otherwise it follows from what happened."""

    what: str
    node: str
    peer: str
    since_us: int
    until_us: int
    words: str
    evidence: tuple[Event, ...] = ()
    is_noted: bool = False

    def overlaps(self, since_us: int, until_us: int) -> bool:
        """Whether it was there at some time between the two."""
        return self.since_us <= until_us and self.until_us >= since_us

    def concerns(self, node: str) -> bool:
        """Whether it is about this node."""
        return node in (self.node, self.peer)

    @property
    def label(self) -> str:
        """What requests that were slow because of it have in common."""
        return _LABELS.get(self.what, "{node}: {what}").format(
            node=self.node, peer=self.peer, what=self.what
        )

    def sentence(self) -> str:
        """When, where and what, without a full stop."""
        took = self.until_us - self.since_us
        when = f"from {clock_time(self.since_us)} for {ms(took)}" if took >= 1000 else (
            f"at {clock_time(self.since_us)}"
        )  # fmt: skip
        return f"{self.words}, {when}"

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "what": self.what,
            "node": self.node,
            "peer": self.peer,
            "since_us": self.since_us,
            "until_us": self.until_us,
            "text": self.sentence(),
            "evidence": [event_id(each) for each in self.evidence],
            "noted": self.is_noted,
        }


_LABELS = {
    "still": "{node} stood still",
    "busy": "{node} is busy",
    MACHINE_BUSY: "the machine is busy",
    "disk": "{node}'s disk",
    "slow link": "the link from {node} to {peer}",
    "lossy link": "the link from {node} to {peer}",
    "one-way": "the link from {node} to {peer}",
    "cut link": "the link between {node} and {peer}",
    "cut off": "{node} was cut off",
    "died": "{node} died",
    "ended": "{node} was ended",
}


def merged(spans: Iterable[tuple[int, int]], apart_us: int = 0) -> list[tuple[int, int]]:
    """Spans of time in order, those that are no further apart than this as one."""
    found: list[tuple[int, int]] = []
    for since_us, until_us in sorted(spans):
        if found and since_us <= found[-1][1] + apart_us:
            found[-1] = found[-1][0], max(found[-1][1], until_us)
        else:
            found.append((since_us, until_us))
    return found


def overlap_us(one: tuple[int, int], others: Sequence[tuple[int, int]]) -> int:
    """How much of a span the others, which do not overlap, cover."""
    return sum(max(0, min(one[1], end) - max(one[0], begin)) for begin, end in others)
