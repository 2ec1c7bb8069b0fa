"""What a replica records of each turn: messages, records, applied slots, answers to clients.

    envelopes ──► heard()        Ready ──► done()        answers ──► wrote(), read()
                     └──────────────┴──────────┬───────────┘
                                        recorder (``paxosd/recorder``)

It stands where everything passes that goes into the node and comes out of it, so that the core
knows nothing of it, and the simulator records what the daemon does. While a turn goes on only
moments are noted; events are made of them at its end, when nobody waits for what it sends.
"""

from collections.abc import Callable, Sequence
from typing import Any

from paxosd.core.effects import (
    ReadReady,
    Ready,
    Refusal,
    WriteReply,
)
from paxosd.core.membership import Membership
from paxosd.core.messages import (
    Envelope,
    PeerMessage,
)
from paxosd.core.node import Node
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.recorder.event import (
    INSTALLED,
    MEMBER,
    OTHER_OUTCOME,
    OUTCOMES,
    READ,
    START,
    SYNCED,
    UNSENT,
    WRITE,
)
from paxosd.recorder.messages import record_message
from paxosd.recorder.recorder import ADVANCED, DONE, HEARD, NUMBERS, Recorder
from paxosd.replica.slow_requests import SlowRequests
from paxosd.replica.tokens import WriteToken
from paxosd.storage.wal import SyncJob, Wal


class Recording:
    """Records one replica. ``now_ms``: the clock of the turns, read anew; None: no time passes
    within a turn. ``slow``: watches for slow requests; None: nothing does. ``wal``: the log, which
    knows the group commit that is to hold what is handed to it now; None: there is none."""

    wants_applied = True

    def __init__(
        self,
        recorder: Recorder,
        node: Node,
        machine: Machine,
        now_ms: Callable[[], float] | None = None,
        slow: SlowRequests | None = None,
        wal: Wal | None = None,
    ) -> None:
        self._recorder = recorder
        self._later = recorder.later
        self._node = node
        self._machine = machine
        self._precise_now_ms = now_ms
        self._slow = slow
        self._wal = wal
        self.now_ms = 0.0
        """When this turn began."""

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
        self.now_ms = now_ms
        if self._slow is not None:
            self._slow.now_ms = now_ms

    def end_turn(self) -> None:
        """Messages have left and clients have their answers: nobody waits for what is done now.
        Nothing is held for longer than a turn: messages and values can be large."""
        recorder = self._recorder
        if recorder.notes:
            recorder.take_notes(self._read_ms())
        if recorder.moments:
            recorder.settle()

    def look(self) -> None:
        """See whether the data directory has a new identity; called now and then."""
        self._recorder.directory_id = self._node.directory_id

    def heard(self, envelopes: Sequence[Envelope]) -> None:
        """Messages of peers, about to be handed to the node. They were read from the sockets within
        this turn, and may have been sent after the turn began."""
        now_ms = self.now_ms
        if self._precise_now_ms is not None:
            now_ms = self._precise_now_ms()
        self._later((now_ms, HEARD, envelopes, None))
        if self._slow is not None:
            self._slow.heard(envelopes)

    def done(self, ready: Ready) -> None:
        """What the node asks for, about to be done."""
        persist, sends, publishes, applied = (
            ready.persist, ready.sends, ready.publishes, ready.applied
        )  # fmt: skip
        if persist or sends or publishes or applied:
            now_ms = self.now_ms
            if self._precise_now_ms is not None:
                now_ms = self._precise_now_ms()
            if persist or sends or publishes:
                if self._slow is not None:
                    self._slow.done(ready, now_ms)
                group = self._wal.next_group if persist and self._wal is not None else 0
                self._later((now_ms, DONE, (persist, sends, publishes), group))
            if applied:
                # A chain is known as long as nothing else is applied.
                machine = self._machine
                chains = machine.trail.run(machine.applied - applied[0].slot, len(applied))
                self._later((now_ms, ADVANCED, applied, chains))

    def members_changed(self) -> None:
        """Another membership is in force."""
        self._note_members(self._read_ms())

    def _note_members(self, now_ms: float) -> None:
        self._later((now_ms, self._record_members, self._node.membership, None))

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
        numbers = SYNCED, 0, job.group, size, job.duration_us, job.records
        self._later((now_ms, NUMBERS, numbers, None))

    def answered(self, token: Any, answer: WriteReply | ReadReady | Refusal) -> None:
        """A client's request has its answer; a read may wait for its turn to be served."""
        now_ms = self._precise_now_ms() if self._precise_now_ms is not None else self.now_ms
        if self._slow is not None:
            self._slow.answered(token, answer, now_ms)
        slot, code = 0, 0
        if type(answer) is WriteReply:
            slot = answer.slot
        elif type(answer) is ReadReady:
            slot = answer.applied
        elif type(answer) is Refusal:
            code = OUTCOMES.get(answer.code, OTHER_OUTCOME)
        took_us = max(0, int((now_ms - token.came_ms) * 1000))
        if type(token) is WriteToken:
            numbers = WRITE, code, slot, took_us, token.session, token.seqs
        else:
            numbers = READ, code, slot, took_us, 0, token.request_id
        self._later((now_ms, NUMBERS, numbers, None))

    def _read_ms(self) -> float:
        return self._precise_now_ms() if self._precise_now_ms is not None else self.now_ms


def _as_round(number: int) -> Ballot:
    """A number in the place of a ballot's round."""
    return Ballot(number, "")
