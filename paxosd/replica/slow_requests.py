"""Which requests were slow, and what each of them waited for: a line of the log for each.

    came ─ queue ─► proposed ─ persist ─► own vote durable ─ quorum ─► chosen ─ apply ─► answered

What a slot passes is kept for the last few thousand slots, as numbers; a line is made of it only
for a request that took longer than the limit, so that a quick one costs next to nothing. Chosen
without this node's own vote, a slot has no stage ``quorum``: ``persist`` ends when it is chosen.
"""

from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from paxosd.core.effects import AcceptRecord, ReadReady, Ready, Refusal, WriteReply
from paxosd.core.messages import (
    Accepted,
    Envelope,
    HeartbeatAck,
    PeerMessage,
    ReadIndexReply,
    Votes,
)
from paxosd.core.node import Node
from paxosd.core.types import NodeId, Slot
from paxosd.host.log import Log
from paxosd.recorder.event import COUNT_BIT
from paxosd.replica.request_times import STAGED_EVERY, STAGES, RequestTimes
from paxosd.replica.tokens import ReadToken, WriteToken
from paxosd.storage.wal import SyncJob

SLOTS = 8192
"""So many slots are remembered: a power of two."""
VOTES = 4096
"""So many votes of each voter are; one may be for a run of slots."""
LINES_MAX = 10
"""So many lines a second are logged; the next one says how many were not."""
_MASK = SLOTS - 1
_SEQ_MAX = (1 << COUNT_BIT) - 1

Answer = WriteReply | ReadReady | Refusal
Stages = dict[str, float]


class SlowRequests:
    """Watches one node's requests. ``limit_ms``: what takes as long is slow. ``precise_now_ms``:
    the clock of the turns, read anew; None: no time passes within a turn. ``times``: where to note
    how long all of them took; None: nowhere."""

    wants_applied = False

    def __init__(
        self,
        node: Node,
        name: NodeId,
        log: Log,
        limit_ms: float,
        precise_now_ms: Callable[[], float] | None = None,
        times: RequestTimes | None = None,
    ) -> None:
        self._node = node
        self._name = name
        self._log = log
        self._limit_ms = limit_ms
        self._precise_now_ms = precise_now_ms
        self._times = times
        self._staged_slot: Slot = 0
        """The last slot whose stages were noted: it may answer more than one request."""
        self.now_ms = 0.0
        """When this turn began."""
        self._proposed_ms = array("d", bytes(8 * SLOTS))
        self._votes: defaultdict[NodeId, deque[tuple[Slot, Slot, float]]] = defaultdict(
            lambda: deque(maxlen=VOTES)
        )
        """Voter → what it voted for and when this node heard of it: first slot, last, time."""
        self._confirmer = ""
        self._confirmed_ms = -1.0
        """Who last confirmed that a leader leads, and when."""
        self._second_ms = 0.0
        self._lines = self._unlogged = 0

    # -- what happens

    def begin_turn(self, now_ms: float) -> None:
        """The time of the turn."""
        self.now_ms = now_ms

    def end_turn(self) -> None:
        """Nothing is put off."""

    def heard(self, envelopes: Sequence[Envelope]) -> None:
        """Messages of peers, about to be handed to the node."""
        for envelope in envelopes:
            message: Any = envelope.body
            kind = type(message)
            if kind is Accepted:
                votes = self._votes[envelope.sender]
                for first, last in message.ranges:
                    votes.append((first, last, self.now_ms))
            elif kind is HeartbeatAck or kind is ReadIndexReply:
                self._confirmer, self._confirmed_ms = envelope.sender, self.now_ms
            elif kind is Votes and self._times is not None:
                self._times.votes_repeated += 1

    def done(self, ready: Ready, now_ms: float = -1.0) -> None:
        """What the node asks for, about to be done. ``now_ms``: if that was read already."""
        if not (ready.persist or ready.publishes):
            return
        if now_ms < 0.0:
            now_ms = self.now_ms if self._precise_now_ms is None else self._precise_now_ms()
        proposed_ms = self._proposed_ms
        for record in ready.persist:
            if type(record) is AcceptRecord:
                proposed_ms[record[0] & _MASK] = now_ms
        for accepted in ready.publishes:
            votes = self._votes[self._name]
            for first, last in accepted.ranges:
                votes.append((first, last, now_ms))

    def answered(self, token: Any, answer: Answer, now_ms: float = -1.0) -> None:
        """A client's request has its answer. ``now_ms``: if that was read already."""
        if now_ms < 0.0:
            now_ms = self.now_ms if self._precise_now_ms is None else self._precise_now_ms()
        took_ms = now_ms - token.came_ms
        if self._times is not None:
            self._times.note(token, answer, took_ms)
            if type(answer) is WriteReply and not answer.slot % STAGED_EVERY:
                self._note_stages(answer.slot, token.came_ms, now_ms)
        if took_ms >= self._limit_ms:
            self._note(token, answer, now_ms)

    def look(self) -> None:
        """Nothing that is looked at now and then."""

    def members_changed(self) -> None:
        """No request waits for that."""

    def unsent(self, to: NodeId, message: PeerMessage) -> None:
        """It is sent again, and that takes its time."""

    def synced(self, job: SyncJob, now_ms: float) -> None:
        """What it made durable shows when the vote leaves."""

    def installed(self, slot: Slot) -> None:
        """No request waits for that."""

    # -- a slow one

    def _note(self, token: WriteToken | ReadToken, answer: Answer, now_ms: float) -> None:
        if now_ms - self._second_ms >= 1000.0:
            self._second_ms, self._lines = now_ms, 0
        if self._lines >= LINES_MAX:
            self._unlogged += 1
            return
        self._lines += 1
        fields: dict[str, Any] = {"dur_ms": round(now_ms - token.came_ms, 1)}
        if type(token) is WriteToken:
            fields |= {
                "what": "write",
                "session": token.session,
                "first_seq": token.seqs & _SEQ_MAX,
                "commands": token.seqs >> COUNT_BIT,
            }
            if type(answer) is WriteReply:
                fields |= self._stages(answer.slot, token.came_ms, now_ms)
        else:
            fields |= {"what": "read", "session": 0, "first_seq": token.request_id}
            if type(answer) is ReadReady:
                fresh = self._confirmed_ms == self.now_ms
                fields["stage"] = "quorum" if fresh else "apply"
                fields["waited_for"] = self._confirmer if fresh else self._name
        if type(answer) is Refusal:
            fields["code"] = answer.code
        if self._unlogged:
            fields["unlogged"], self._unlogged = self._unlogged, 0
        self._log.info("slow_request", **fields)

    def _note_stages(self, slot: Slot, came_ms: float, now_ms: float) -> None:
        if slot == self._staged_slot or self._times is None:
            return
        self._staged_slot = slot
        found = self._passed(slot, came_ms, now_ms)
        if found is not None:
            self._times.note_stages(found[0])

    def _stages(self, slot: Slot, came_ms: float, now_ms: float) -> dict[str, Any]:
        """What is known of the slot; if it was carried out by another leader, or long ago, that is
        its number alone."""
        found = self._passed(slot, came_ms, now_ms)
        if found is None:
            return {"slot": slot}
        took = dict(zip(STAGES, found[0], strict=True))
        return {
            "slot": slot,
            **{f"{stage}_ms": round(each_ms, 1) for stage, each_ms in took.items()},
            "stage": max(took, key=took.__getitem__),
            "waited_for": found[1] if _waits_for_others(took) else self._name,
        }

    def _passed(
        self, slot: Slot, came_ms: float, now_ms: float
    ) -> tuple[tuple[float, float, float, float], NodeId] | None:
        """How many ms each of STAGES took, and whose vote completed the quorum."""
        proposed_ms = self._proposed_ms[slot & _MASK]
        if not came_ms <= proposed_ms <= now_ms:
            return None
        quorums = self._node.membership.quorums
        heard = []
        for voter in quorums.voters:
            at_ms = self._voted_ms(voter, slot, proposed_ms)
            if at_ms is not None:
                heard.append((at_ms, voter))
        if len(heard) < quorums.phase2:
            return None
        heard.sort()
        chosen_ms, completed_by = heard[quorums.phase2 - 1]
        own_ms = next((at_ms for at_ms, voter in heard if voter == self._name), chosen_ms)
        durable_ms = min(own_ms, chosen_ms)
        return (
            proposed_ms - came_ms,
            durable_ms - proposed_ms,
            chosen_ms - durable_ms,
            now_ms - chosen_ms,
        ), completed_by

    def _voted_ms(self, voter: NodeId, slot: Slot, since_ms: float) -> float | None:
        """When its first vote for the slot came since then; None: never. Votes stand in the order
        of their times, and the latest are looked at first: those since then are few."""
        found = None
        for first, last, at_ms in reversed(self._votes[voter]):
            if at_ms < since_ms:
                break
            if first <= slot <= last:
                found = at_ms
        return found


def _waits_for_others(took: Stages) -> bool:
    """A queue moves as fast as what is ahead of it, and that waits for what this slot waits for."""
    own = {stage: each_ms for stage, each_ms in took.items() if stage != "queue"}
    return max(own, key=own.__getitem__) == "quorum"
