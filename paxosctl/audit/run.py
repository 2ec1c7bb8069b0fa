"""One run of a node while its events go by: what the rules need to know of the moment.

The state is brought up to date after the rules have looked at an event, so that they compare it
with what was before.
"""

from collections.abc import Callable

from paxosctl.audit import kinds
from paxosctl.audit.facts import PLACE_MASK, Facts, RunBlocks, in_run
from paxosctl.audit.kinds import key

KEPT_SLOTS = 4096
"""So far below the last applied slot votes are still known: one held back may come late."""
SLACK_US = 2
OLDER_MAX = 20_000

Handler = Callable[["Run", int, int, int, int, int, int], None]
"""``handler(run, at_us, peer, ballot, slot, x, y)``."""


class Vote:
    """A vote as it was handed to the log."""

    __slots__ = ("at_us", "ballot", "digest", "said", "seq", "syncs")

    def __init__(self, ballot: int, digest: int, at_us: int, seq: int, syncs: int) -> None:
        self.ballot, self.digest = ballot, digest
        self.at_us, self.seq, self.syncs = at_us, seq, syncs
        self.said = False


class Memory:
    """What a data directory must remember from run to run. ``promised``: the highest ballot that
    was said to somebody, and ``promised_at`` where; ``votes``: the last vote in each open slot of
    the runs before, with its where as ``seq``; ``said``: whether somebody heard of it."""

    __slots__ = ("promised", "promised_at", "votes")

    def __init__(self) -> None:
        self.promised = 0
        self.promised_at = 0
        self.votes: dict[int, Vote] = {}


class Run:
    """``where``: the place of the event that goes by; ``whole``: none is missing since the first of
    this run."""

    def __init__(self, facts: Facts, blocks: RunBlocks, memory: Memory, *, first: bool) -> None:
        self.facts = facts
        self.blocks = blocks
        self.number, self.node, self.rank = blocks.number, blocks.node, blocks.rank
        self.bit = 1 << blocks.rank
        self.directory = blocks.directory
        self.memory = memory
        self.first = first
        """Whether it is the first start of this directory."""
        self.whole = True
        self.where = in_run(blocks.number, 0)
        self.promised = 0
        self.promised_at: dict[int, tuple[int, int]] = {}
        """Ballot → when it was handed to the log, and after how many group commits."""
        self.start_promise = 0
        self.started = False
        self.lost = False
        self.applied = 0
        self.applied_known = False
        self.votes: dict[int, Vote] = {}
        self.older: dict[tuple[int, int], Vote] = {}
        self.syncs = 0
        self.durable_to_us = -1
        """What was handed to the log at or before this time is durable, as far as times show."""

    @property
    def seq(self) -> int:
        """The number of the event that goes by."""
        return self.where & PLACE_MASK

    def at(self, seq: int) -> int:
        """The place of another event of this run."""
        return in_run(self.number, seq)

    def vote_of(self, slot: int, ballot: int) -> Vote | None:
        """The vote of this run, as it was handed to the log; None: it was not."""
        vote = self.votes.get(slot)
        if vote is not None and vote.ballot == ballot:
            return vote
        return self.older.get((slot, ballot))

    def leave(self) -> None:
        """The run is over: what it leaves in the memory of its directory."""
        kept = {slot: v for slot, v in self.memory.votes.items() if slot > self.applied}
        for slot, vote in self.votes.items():
            if slot > self.applied:
                vote.said = self.facts.has_vote(self.rank, vote.ballot, slot)
                vote.seq = self.at(vote.seq)
                kept[slot] = vote
        self.memory.votes = kept

    def is_durable(self, at_us: int, syncs: int) -> bool:
        """Whether what was handed over then may be durable now."""
        return self.syncs > syncs and at_us <= self.durable_to_us


def follow() -> dict[int, Handler]:
    """The handlers that keep a run's state; they come after those of the rules."""
    return {
        key(kinds.START): _on_start,
        key(kinds.START, 1): _on_start,
        key(kinds.PROMISED): _on_promised,
        key(kinds.VOTED): _on_voted,
        key(kinds.SYNCED): _on_synced,
        key(kinds.APPLIED): _on_applied,
        key(kinds.INSTALLED): _on_installed,
    }


def _on_start(run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
    run.started = True
    run.promised = run.start_promise = ballot
    run.applied = max(slot, run.applied)
    run.applied_known = True
    if y:
        run.directory = y


def _on_promised(run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
    run.promised = max(run.promised, ballot)
    run.promised_at[ballot] = at_us, run.syncs


def _on_voted(run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
    run.promised = max(run.promised, ballot)
    held = run.votes.get(slot)
    if held is not None:
        if len(run.older) > OLDER_MAX:
            run.older.clear()
        run.older[slot, held.ballot] = held
    run.votes[slot] = Vote(ballot, y + 1, at_us, run.seq, run.syncs)


def _on_synced(run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
    run.syncs += 1
    began_us = at_us - x + SLACK_US + x // 1000
    run.durable_to_us = max(run.durable_to_us, began_us)


def _on_applied(run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
    run.applied = slot
    run.applied_known = True
    run.votes.pop(slot - KEPT_SLOTS, None)


def _on_installed(run: Run, at_us: int, peer: int, ballot: int, slot: int, x: int, y: int) -> None:
    run.applied = slot
    run.applied_known = True
    for each in [each for each in run.votes if each < slot - KEPT_SLOTS]:
        del run.votes[each]
