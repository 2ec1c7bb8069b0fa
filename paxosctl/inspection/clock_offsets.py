"""How far the clocks of the nodes are apart, from the messages between them, as NTP does it.

A message from a to b gives ``received - sent = delay + offset of b``, one from b to a ``delay -
offset of b``. Of each direction a quick one counts: with the same delay both ways, half of the
difference of the two is the offset, and half of their sum bounds the error (Mills, "Internet Time
Synchronization", 1991). The very quickest is not taken: a turn of the daemon's loop has one time,
and a message that came in a turn that took long seems to have come earlier than it did.

Messages are matched by what they say. Only kinds that say something else each time count: votes
(numbered in their stream) and questions for a read, with their answers.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from paxosctl.inspection.events import ACCEPTED, MESSAGES
from paxosd.recorder.event import PUBLISHED, RECEIVED, SENT, Event

PAIR_KINDS = frozenset((ACCEPTED, MESSAGES["read_index"], MESSAGES["read_index_reply"]))
UNKNOWN_SLACK_US = 2_000_000
"""How much later the sender's clock may be, where nothing is known of the two clocks."""
SLACK_US = 20_000
QUICK_PART = 20
"""One of so many messages is quicker than the one that counts."""


@dataclass(frozen=True, slots=True)
class Offset:
    """``ahead_us``: how far a node's wall clock is ahead of the reference's; ``error_us``: at most
    so much that is wrong."""

    ahead_us: int
    error_us: int


@dataclass(slots=True)
class Offsets:
    """Of all nodes, against ``reference``. A node that is not in ``of`` has no known offset."""

    reference: str = ""
    of: dict[str, Offset] = field(default_factory=dict)

    def ahead_us(self, node: str) -> int:
        """What to take from a time of this node; 0 if it is not known."""
        offset = self.of.get(node)
        return offset.ahead_us if offset is not None else 0

    def slack_us(self, node: str, other: str) -> int:
        """How far corrected times of the two may be apart for what happened at once."""
        one, two = self.of.get(node), self.of.get(other)
        if one is None or two is None:
            return UNKNOWN_SLACK_US
        return SLACK_US + 2 * (one.error_us + two.error_us)

    def sentences(self, nodes: Iterable[str]) -> list[str]:
        """For people: ``n2 is 1.3 ms ahead of n1 (± 0.2)``."""
        words = []
        for node in nodes:
            if node == self.reference:
                continue
            offset = self.of.get(node)
            if offset is None:
                words.append(f"{node}: not known, for no messages both ways between it and others "
                             "are recorded")  # fmt: skip
                continue
            apart = f"{abs(offset.ahead_us) / 1000:.1f}"
            direction = "ahead of" if offset.ahead_us >= 0 else "behind"
            where = f"{apart} ms {direction}" if float(apart) else "level with"
            words.append(f"{node} is {where} {self.reference} (± {offset.error_us / 1000:.1f} ms)")
        return words


def estimate(samples: Iterable[Iterable[Event]]) -> Offsets:
    """From some events of each node, in any order of nodes."""
    sent: dict[tuple[object, ...], tuple[str, int]] = {}
    received: list[tuple[tuple[object, ...], str, int]] = []
    nodes: set[str] = set()
    for sample in samples:
        for event in sample:
            nodes.add(event.node)
            if event.kind not in PAIR_KINDS:
                continue
            said = (event.kind, event.voter, event.round, event.slot, event.x, event.y)
            if event.code == PUBLISHED:
                sent.setdefault((event.node, "", *said), (event.node, event.wall_us))
            elif event.code == SENT:
                sent.setdefault((event.node, event.peer, *said), (event.node, event.wall_us))
            elif event.code == RECEIVED:
                to = "" if event.kind == ACCEPTED else event.node
                received.append(((event.peer, to, *said), event.node, event.wall_us))
    return _solve(sorted(nodes), _least(sent, received))


def _least(
    sent: dict[tuple[object, ...], tuple[str, int]],
    received: list[tuple[tuple[object, ...], str, int]],
) -> dict[tuple[str, str], int]:
    """(from, to) → ``received - sent`` of a quick message."""
    found: dict[tuple[str, str], list[int]] = {}
    for key, node, at_us in received:
        origin = sent.get(key)
        if origin is not None:
            found.setdefault((origin[0], node), []).append(at_us - origin[1])
    return {link: sorted(took)[len(took) // QUICK_PART] for link, took in found.items()}


def _solve(nodes: list[str], least: dict[tuple[str, str], int]) -> Offsets:
    """From the reference over the links that have messages both ways."""
    if not nodes:
        return Offsets()
    reference = max(nodes, key=lambda n: (sum((n, o) in least and (o, n) in least for o in nodes),
                                          -nodes.index(n)))  # fmt: skip
    found = {reference: Offset(0, 0)}
    waiting = deque([reference])
    while waiting:
        here = waiting.popleft()
        for other in nodes:
            there, back = least.get((here, other)), least.get((other, here))
            if other in found or there is None or back is None:
                continue
            base = found[here]
            found[other] = Offset(
                base.ahead_us + (there - back) // 2, base.error_us + abs(there + back) // 2
            )
            waiting.append(other)
    return Offsets(reference, found)
