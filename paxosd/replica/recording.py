"""What a replica records of each turn: messages, records, applied slots, answers to clients.

    envelopes ──► heard()        Ready ──► done()        answers ──► wrote(), read()
                     └──────────────┴──────────┬───────────┘
                                        recorder (``paxosd/recorder``)

It stands where everything passes that goes into the node and comes out of it, so that the core
knows nothing of it, and the simulator records what the daemon does.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.effects import AcceptRecord, PromiseRecord, ReadReady, Ready, Refusal, WriteReply
from paxosd.core.membership import UNKNOWN
from paxosd.core.messages import Accepted, Envelope, PeerMessage
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
from paxosd.recorder.messages import digest_of, record_accepted, record_message
from paxosd.recorder.recorder import Recorder
from paxosd.replica.slow_requests import SlowRequests
from paxosd.replica.tokens import WriteToken
from paxosd.storage.wal import SyncJob


class Recording:
    """Records one replica. ``now_ms``: the clock of the turns, read anew; None: no time passes
    within a turn. ``slow``: watches for slow requests; None: nothing does."""

    wants_applied = True

    def __init__(
        self,
        recorder: Recorder,
        node: Node,
        machine: Machine,
        now_ms: Callable[[], float] | None = None,
        slow: SlowRequests | None = None,
    ) -> None:
        self._recorder = recorder
        self._node = node
        self._machine = machine
        self._precise_now_ms = now_ms
        self._slow = slow
        self._membership = UNKNOWN
        """The last one that was recorded."""
        self.now_ms = 0.0
        """When this turn began."""
        self._hears = False
        """Whether a message was recorded in this turn."""

    def start(self, now_ms: float, commit: Slot) -> None:
        """The run begins. ``commit``: up to which slot the log has chosen values."""
        self._recorder.set_time(now_ms)
        node = self._node
        lost = int(node.memory_lost)
        self._recorder.record(
            START, "", lost, node.applied, node.promised, commit, node.directory_id
        )
        self._note_members()

    def begin_turn(self, now_ms: float) -> None:
        """The time of the turn; what comes now is recorded with it."""
        self.now_ms = now_ms
        self._hears = False
        self._recorder.set_time(now_ms)
        if self._slow is not None:
            self._slow.now_ms = now_ms

    def look(self) -> None:
        """See whether the data directory has a new identity; called now and then."""
        self._recorder.directory_id = self._node.directory_id

    def heard(self, envelope: Envelope) -> None:
        """A message of a peer, as it is handed to the node. It was read from the sockets within
        this turn, and may have been sent after the turn began."""
        if not self._hears and self._precise_now_ms is not None:
            self._hears = True
            self._recorder.set_time(self._precise_now_ms())
        record_message(self._recorder, envelope.sender, RECEIVED, envelope.body)
        if self._slow is not None:
            self._slow.heard(envelope)

    def done(self, ready: Ready) -> None:
        """What the node asks for, about to be done."""
        recorder = self._recorder
        now_ms = self.now_ms
        if self._precise_now_ms is not None:
            now_ms = self._precise_now_ms()
            recorder.set_time(now_ms)
        if self._slow is not None:
            self._slow.done(ready, now_ms)
        for record in ready.persist:
            if type(record) is AcceptRecord:
                slot, ballot, value = record
                recorder.record(VOTED, "", 0, slot, ballot, 0, digest_of(value))
            elif type(record) is PromiseRecord:
                recorder.record(PROMISED, ballot=record.ballot)
        for to, message in ready.sends:
            record_message(recorder, to, SENT, message)
        for accepted in ready.publishes:
            self._published(accepted)
        for slot, ballot, value, _ in ready.applied:
            chain = self._machine.chain_at(slot) or 0
            recorder.record(APPLIED, "", 0, slot, ballot, chain, digest_of(value))
        if self._node.membership is not self._membership:
            self._note_members()

    def _note_members(self) -> None:
        """Another membership is in force than was recorded last."""
        membership = self._membership = self._node.membership
        epoch = _as_round(membership.epoch)
        sizes = membership.phase1 | membership.phase2 << 32
        for name, member in membership.members.items():
            self._recorder.record(
                MEMBER, name, int(member.voter), membership.slot, epoch, member.directory_id, sizes
            )

    def installed(self, slot: Slot) -> None:
        """The state machine jumps to what a snapshot holds of the slots up to this one."""
        self._recorder.record(INSTALLED, slot=slot)

    def _published(self, accepted: Accepted) -> None:
        record_accepted(self._recorder, "", PUBLISHED, accepted)

    def unsent(self, to: NodeId, message: PeerMessage) -> None:
        """A message could not be handed to its connection after all."""
        record_message(self._recorder, to, UNSENT, message)

    def synced(self, job: SyncJob, now_ms: float) -> None:
        """A group commit is durable, or was found to be."""
        recorder = self._recorder
        recorder.set_time(self._precise_now_ms() if self._precise_now_ms is not None else now_ms)
        size = job.end - job.offset
        recorder.record(SYNCED, "", 0, job.group, _as_round(size), job.duration_us, job.records)

    def answered(self, token: Any, answer: WriteReply | ReadReady | Refusal) -> None:
        """A client's request has its answer; a read may wait for its turn to be served."""
        slot, code = 0, 0
        if isinstance(answer, WriteReply):
            slot = answer.slot
        elif isinstance(answer, ReadReady):
            slot = answer.applied
        else:
            code = OUTCOMES.get(answer.code, OTHER_OUTCOME)
        now_ms = self._precise_now_ms() if self._precise_now_ms is not None else self.now_ms
        if self._slow is not None:
            self._slow.answered(token, answer, now_ms)
        took = _as_round(max(0, int((now_ms - token.came_ms) * 1000)))
        if type(token) is WriteToken:
            self._recorder.record(WRITE, "", code, slot, took, token.session, token.seqs)
        else:
            self._recorder.record(READ, "", code, slot, took)


def _as_round(number: int) -> Ballot:
    """A number in the place of a ballot's round."""
    return Ballot(number, "")
