"""Safeguards of learning, reading and replying: what is chosen, in which order, who is answered."""

from paxosd.core.client.calls import Frame
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.effects import NOT_LEADER, REFUSALS, Refusal
from paxosd.core.freshness import Freshness
from paxosd.core.learner import Learner
from paxosd.core.linearizable_reads import LinearizableReads
from paxosd.core.log_exchange import LogExchange
from paxosd.core.node import Node
from paxosd.core.peer_limits import PeerLimits
from paxosd.core.reads import LeaderReads, WaitingReads
from paxosd.core.replication import Replication
from paxosd.core.state.machine import Machine
from paxosd.core.state.sessions import FENCED_RESULT, Session, Sessions
from tests.bench.mutation import Patch, around, instead, nothing, row

# -- learning


def _take_held_value(real, self, accepted):
    slot = self.commit + 1
    known = slot in self.chosen or slot <= self.known_commit
    held = accepted.get(slot)
    if known and held is not None and slot not in self.decided:
        self.chosen[slot] = held[0]
    return real(self, accepted)


def _skip_gap(real, self, accepted):
    found = real(self, accepted)
    if found is None and self.commit + 2 in self.chosen:
        self.commit += 1  # as if the next one did not matter
        return real(self, accepted)
    return found


_LEARNING = (
    row("value-below-chosen",
        "a value held under a lower ballot than the chosen one is not taken for it",
        around(Learner, "next_chosen", _take_held_value), seed=52),
    row("apply-order", "slots are applied without gaps", around(Learner, "next_chosen", _skip_gap),
        seed=1),
    row("vote-gap-filling", "votes lost on the way are asked for",
        instead(Replication, "_ask_votes", nothing), profiles="no-votes-heard", seed=6,
        in_suite=True),
    row("catch-up", "a node that is behind pulls what it lacks",
        instead(LogExchange, "_pull", nothing), seed=1, in_suite=True),
)  # fmt: skip


# -- sessions and clients


def _fence_unremembered(real, self, slot, session_id, seq):
    session = self.table.get(session_id)
    if session is not None and session.find(seq) is None and seq > session.acked:
        return FENCED_RESULT  # said, and not remembered
    return real(self, slot, session_id, seq)


_WALL_CLOCKS: dict[int, int] = {}
"""Machine (by id) → its node's wall clock; a Machine takes no further attribute."""


def _noting_clocks(real):
    _WALL_CLOCKS.clear()  # what a run leaves behind must not lead another one

    def set_time(self, now_ms, wall_ms):
        _WALL_CLOCKS[id(self._context.machine)] = wall_ms
        real(self, now_ms, wall_ms)

    return set_time


def _apply_by_wall_clock(real, self, slot, batch, value=b""):
    if batch is not None and id(self) in _WALL_CLOCKS:
        batch = batch._replace(stamp_ms=_WALL_CLOCKS[id(self)])
    return real(self, slot, batch, value)


def _stop_as_refused(real, self, reason):
    replies = self._context.outbox.ready.replies
    before = len(replies)
    real(self, reason)
    refusal = Refusal(NOT_LEADER, REFUSALS[NOT_LEADER], "")
    replies[before:] = [(token, refusal) for token, _ in replies[before:]]


def _message_with_new_seq(real, self, frame, request_id):
    session = frame.session
    if session is not None and len(frame.ids) > 1:
        frame.first_seq = session.next_seq
        session.next_seq += len(frame.calls)
    return real(self, frame, request_id)


_SESSIONS = (
    row("session-dedup", "a command that was applied is not applied again",
        instead(Session, "find", lambda self, seq: None), seed=2, in_suite=True),
    row("forgotten-dedup", "a command whose reply was acknowledged is not applied again",
        instead(Sessions, "refuse", lambda self, session, seq: None), seed=13),
    row("session-fence", "a command that was ruled out is never applied",
        around(Sessions, "fence", _fence_unremembered), profiles="echoes", seed=6, in_suite=True),
    row("log-time", "sessions and results depend on log time, not on the node's own clock",
        Patch(Node, "set_time", _noting_clocks), around(Machine, "apply", _apply_by_wall_clock),
        where="Machine.apply", seed=1),
    row("interrupted-as-refused", "a node that leads no more says of requests in flight that their "
        "outcome is unknown", around(Replication, "stop", _stop_as_refused), seed=44),
    row("client-gives-up-as-failed", "a client that gives up on a sent command says unknown",
        instead(Frame, "possibly_submitted", property(lambda self: False)), seed=7),
    row("client-new-seq", "a client sends a command again with the same seq",
        around(ClientProtocol, "_message", _message_with_new_seq), where="ClientProtocol", seed=2),
)  # fmt: skip


# -- reads


def _confirm_unasked(self):
    done, self.in_round = self.in_round, []
    return done


def _read_at_once(self, token):
    self._waiting.indexed.append((0, token, self._context.now_ms))


_READS = (
    row("read-unconfirmed", "a read waits until a quorum confirms the leader",
        instead(LeaderReads, "confirmed", _confirm_unasked), profiles="late-acks", seed=176,
        in_suite=True),
    row("read-old-round", "an acknowledgement of an earlier round confirms nothing",
        around(LeaderReads, "receive_ack",
               lambda real, self, voter, round_: real(self, voter, self.round)),
        profiles="late-acks", seed=245),
    row("read-index-too-low", "the index of a read covers all that this leader proposed",
        instead(LinearizableReads, "_read_slot", lambda self: self._execution.applied), seed=36),
    row("read-late-answer", "a late answer to an earlier question of a read is ignored",
        around(WaitingReads, "answer",
               lambda real, self, read_id, index: real(self, self.read_id, index)),
        profiles="late-answers", seed=9),
    row("read-not-applied", "a read waits until its index is applied here",
        around(WaitingReads, "ready", lambda real, self, applied: real(self, 1 << 62)), seed=7),
    row("read-local", "a read is confirmed by the leader at all",
        instead(LinearizableReads, "read", _read_at_once), seed=6),
)  # fmt: skip


# -- the age of what is read without asking


def _age_since_heard(self, now_ms=None):
    if self.leading:
        return 0
    heard_ms = self._election.leader_heard_ms
    return -1 if heard_ms == float("-inf") else int(self._context.now_ms - heard_ms)


def _take_index_by_answer(self, read_id, slot):
    if self._waiting.answer(read_id, slot):
        self._freshness.confirmed(self._context.now_ms, slot)


_AGES = (
    row("age-since-leader-heard", "a state's age is not the time since a leader was heard",
        instead(Node, "age_ms", _age_since_heard), profiles="stale-reads", seed=2, in_suite=True),
    row("age-since-answer", "a state's age counts from the question, not from its answer",
        instead(LinearizableReads, "_take_index", _take_index_by_answer),
        profiles="stale-reads-behind stale-reads", seed=14, in_suite=True),
    row("age-not-applied", "a state's age counts once the confirmed index is applied",
        around(Freshness, "age_ms",
               lambda real, self, now_ms, applied: real(self, now_ms, 1 << 62)),
        profiles="stale-reads-behind", seed=1, in_suite=True),
    row("age-of-a-leader", "a leader's state is as old as its last confirmed round, for it may be "
        "deposed", around(Node, "age_ms",
               lambda real, self, now_ms=None: 0 if self.leading else real(self, now_ms)),
        profiles="stale-reads-cut", seed=3, in_suite=True),
)  # fmt: skip


# -- unequal limits

_LIMITS = (
    row("limits-unheard", "what goes to a peer keeps within the limits that it announced",
        instead(PeerLimits, "receive", nothing), profiles="unequal-limits", seed=2, in_suite=True),
    row("parts-too-large", "a part of the log is no larger than a node that catches up takes",
        instead(PeerLimits, "room_of", lambda self, name: 0), profiles="unequal-limits", seed=82),
    row("no-way-around", "what a peer cannot take out of the log it gets with a snapshot",
        instead(PeerLimits, "takes", lambda self, name, value_bytes: True),
        profiles="unequal-limits", seed=45, in_suite=True),
)  # fmt: skip

LEARNING = (*_LEARNING, *_SESSIONS, *_READS, *_AGES, *_LIMITS)
