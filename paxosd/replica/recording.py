"""What a replica records of each turn: messages, records, applied slots, answers to clients.

    envelopes ──► heard()        Ready ──► done()        answers ──► wrote(), read()
                     └──────────────┴──────────┬───────────┘
                                        recorder (``paxosd/recorder``)

It stands where everything passes that goes into the node and comes out of it, so that the core
knows nothing of it, and the simulator records what the daemon does. While a turn goes on only
moments are noted; events are made of many at a time, at the end of a turn, when nobody waits for
what it sends.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paxosd.core.effects import (
    AcceptRecord,
    PromiseRecord,
    ReadReady,
    Ready,
    Record,
    Refusal,
    WriteReply,
)
from paxosd.core.membership import UNKNOWN, Membership
from paxosd.core.messages import (
    Accept,
    Accepted,
    Envelope,
    Heartbeat,
    HeartbeatAck,
    PeerMessage,
    ReadIndex,
    ReadIndexReply,
    Votes,
)
from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.recorder.event import (
    APPLIED,
    INSTALLED,
    MEMBER,
    OTHER_OUTCOME,
    OUTCOMES,
    PROMISED,
    PUBLISHED,
    READ,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    UNSENT,
    VOTED,
    WRITE,
)
from paxosd.recorder.messages import record_accepted, record_message
from paxosd.recorder.recorder import Recorder
from paxosd.replica.slow_requests import SlowRequests
from paxosd.replica.tokens import WriteToken
from paxosd.storage.wal import SyncJob

PUT_OFF_MAX = 64
SETTLE_MS = 50.0
"""What is put off is recorded once there is so much of it, or so long after the last time."""
HELD_BYTES_MAX = 1 << 20
Deeds = tuple[Sequence[Record], Sequence[tuple[NodeId, PeerMessage]], Sequence[Accepted]]
"""What is written, sent and published, as ``Ready`` has it."""
_SMALL = frozenset([Accept, Accepted, Votes, Heartbeat, HeartbeatAck, ReadIndex, ReadIndexReply])
"""Messages that may be put off: short, or their value is in the next group commit."""


class Recording:
    """Records one replica. ``now_ms``: the clock of the turns, read anew; None: no time passes
    within a turn. ``slow``: watches for slow requests; None: nothing does. ``next_group``: which
    group of the log holds what is handed to it now; None: it has none."""

    wants_applied = True

    def __init__(
        self,
        recorder: Recorder,
        node: Node,
        machine: Machine,
        now_ms: Callable[[], float] | None = None,
        slow: SlowRequests | None = None,
        next_group: Callable[[], int] | None = None,
    ) -> None:
        self._recorder = recorder
        self._later = recorder.later
        self._node = node
        self._machine = machine
        self._precise_now_ms = now_ms
        self._slow = slow
        self._next_group = next_group
        self._membership = UNKNOWN
        """The last one that was recorded."""
        self.now_ms = 0.0
        """When this turn began."""
        self._heard_ms = 0.0
        """When this turn's messages were read."""
        self._hears = False
        """Whether a message was heard in this turn."""
        self._settled_ms = 0.0
        self._held_bytes = 0
        """About how much memory is held by what is put off."""

    def start(self, now_ms: float, commit: Slot) -> None:
        """The run begins. ``commit``: up to which slot the log has chosen values."""
        self._recorder.set_time(now_ms)
        node = self._node
        lost = int(node.memory_lost)
        self._recorder.record(
            START, "", lost, node.applied, node.promised, commit, node.directory_id
        )
        self._note_members(now_ms)
        self._recorder.settle()

    def begin_turn(self, now_ms: float) -> None:
        """The time of the turn; what comes now is recorded with it."""
        self.now_ms = self._heard_ms = now_ms
        self._hears = False
        if self._slow is not None:
            self._slow.now_ms = now_ms

    def end_turn(self) -> None:
        """Messages have left and clients have their answers. What is to be recorded waits until it
        is worth while: each kind of event takes several times as long if it comes alone."""
        recorder = self._recorder
        if recorder.has_notes:
            recorder.take_notes(self._read_ms())
        put_off = recorder.put_off
        if (
            put_off >= PUT_OFF_MAX
            or self._held_bytes >= HELD_BYTES_MAX
            or (put_off and self.now_ms >= self._settled_ms + SETTLE_MS)
        ):
            self._settled_ms, self._held_bytes = self.now_ms, 0
            recorder.settle()

    def look(self) -> None:
        """See whether the data directory has a new identity; called now and then."""
        self._recorder.directory_id = self._node.directory_id

    def heard(self, envelope: Envelope) -> None:
        """A message of a peer, as it is handed to the node. It was read from the sockets within
        this turn, and may have been sent after the turn began."""
        if not self._hears and self._precise_now_ms is not None:
            self._hears = True
            self._heard_ms = self._precise_now_ms()
        self._later((self._heard_ms, self._record_heard, envelope, None))
        if type(envelope.body) not in _SMALL:
            self._held_bytes = HELD_BYTES_MAX
        if self._slow is not None:
            self._slow.heard(envelope)

    def _record_heard(self, envelope: Envelope, _: None) -> None:
        record_message(self._recorder, envelope.sender, RECEIVED, envelope.body)

    def done(self, ready: Ready) -> None:
        """What the node asks for, about to be done."""
        now_ms = self.now_ms
        if self._precise_now_ms is not None:
            now_ms = self._precise_now_ms()
        if self._slow is not None:
            self._slow.done(ready, now_ms)
        persist, sends, publishes = ready.persist, ready.sends, ready.publishes
        if persist or sends or publishes:
            group = self._next_group() if persist and self._next_group is not None else 0
            # Not the whole of it: it has the answers, too, and they may be large.
            self._later((now_ms, self._record_deeds, (persist, sends, publishes), group))
            for _, message in sends:
                if type(message) not in _SMALL:
                    self._held_bytes = HELD_BYTES_MAX
        if ready.applied:
            chain_at, rows = self._machine.chain_at, []
            for slot, ballot, value, _ in ready.applied:
                # A chain is known as long as nothing else is applied.
                rows.append((slot, ballot, value, chain_at(slot) or 0))
                self._held_bytes += len(value)
            self._later((now_ms, self._record_applied, rows, None))
        if self._node.membership is not self._membership:
            self._note_members(now_ms)

    def _record_deeds(self, deeds: Deeds, group: int) -> None:
        persist, sends, publishes = deeds
        recorder = self._recorder
        record = recorder.record
        for each in persist:
            if type(each) is AcceptRecord:
                slot, ballot, value = each
                record(VOTED, "", 0, slot, ballot, group, recorder.digest_of(value))
            elif type(each) is PromiseRecord:
                record(PROMISED, ballot=each.ballot, x=group)
        for to, message in sends:
            record_message(recorder, to, SENT, message)
        for accepted in publishes:
            record_accepted(recorder, "", PUBLISHED, accepted)

    def _record_applied(self, rows: Sequence[tuple[Slot, Ballot, bytes, int]], _: None) -> None:
        recorder = self._recorder
        for slot, ballot, value, chain in rows:
            recorder.record(APPLIED, "", 0, slot, ballot, chain, recorder.digest_of(value))

    def _note_members(self, now_ms: float) -> None:
        """Another membership is in force than was recorded last."""
        membership = self._membership = self._node.membership
        self._later((now_ms, self._record_members, membership, None))

    def _record_members(self, membership: Membership, _: None) -> None:
        epoch = _as_round(membership.epoch)
        sizes = membership.phase1 | membership.phase2 << 32
        for name, member in membership.members.items():
            self._recorder.record(
                MEMBER, name, int(member.voter), membership.slot, epoch, member.directory_id, sizes
            )

    def installed(self, slot: Slot) -> None:
        """The state machine jumps to what a snapshot holds of the slots up to this one."""
        self._later((self._read_ms(), self._record_installed, slot, None))

    def _record_installed(self, slot: Slot, _: None) -> None:
        self._recorder.record(INSTALLED, slot=slot)

    def unsent(self, to: NodeId, message: PeerMessage) -> None:
        """A message could not be handed to its connection after all."""
        self._later((self._read_ms(), self._record_unsent, to, message))

    def _record_unsent(self, to: NodeId, message: PeerMessage) -> None:
        record_message(self._recorder, to, UNSENT, message)

    def synced(self, job: SyncJob, now_ms: float) -> None:
        """A group commit is durable, or was found to be."""
        if self._precise_now_ms is not None:
            now_ms = self._precise_now_ms()
        size = job.end - job.offset
        # Each value that is put off by a vote or an accept stands in one of these.
        self._held_bytes += size
        self._later(
            (now_ms, self._record_synced, (job.group, size), (job.duration_us, job.records))
        )

    def _record_synced(self, group: tuple[int, int], synced: tuple[int, int]) -> None:
        number, size = group
        self._recorder.record(SYNCED, "", 0, number, _as_round(size), *synced)

    def answered(self, token: Any, answer: WriteReply | ReadReady | Refusal) -> None:
        """A client's request has its answer; a read may wait for its turn to be served."""
        now_ms = self._read_ms()
        if self._slow is not None:
            self._slow.answered(token, answer, now_ms)
        slot, code = 0, 0
        if type(answer) is WriteReply:
            slot = answer.slot
        elif type(answer) is ReadReady:
            slot = answer.applied
        elif type(answer) is Refusal:
            code = OUTCOMES.get(answer.code, OTHER_OUTCOME)
        took_us = int((now_ms - token.came_ms) * 1000)
        self._later((now_ms, self._record_answered, token, (slot, code, took_us)))

    def _record_answered(self, token: Any, answered: tuple[int, int, int]) -> None:
        slot, code, took_us = answered
        took = _as_round(max(0, took_us))
        if type(token) is WriteToken:
            self._recorder.record(WRITE, "", code, slot, took, token.session, token.seqs)
        else:
            self._recorder.record(READ, "", code, slot, took, 0, token.request_id)

    def _read_ms(self) -> float:
        return self._precise_now_ms() if self._precise_now_ms is not None else self.now_ms


def _as_round(number: int) -> Ballot:
    """A number in the place of a ballot's round."""
    return Ballot(number, "")
