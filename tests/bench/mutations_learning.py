"""Safeguards of learning, reading and replying: what is chosen, in which order, told to whom."""

from paxosd.core.client.calls import Frame
from paxosd.core.client.protocol import ClientProtocol
from paxosd.core.effects import NOT_LEADER, REFUSALS, Refusal
from paxosd.core.freshness import Freshness
from paxosd.core.learner import Learner
from paxosd.core.node import Node
from paxosd.core.peer_limits import PeerLimits
from paxosd.core.reads import LeaderReads, WaitingReads
from paxosd.core.replication import Replication
from paxosd.core.state.machine import Machine
from paxosd.core.state.sessions import FENCED_RESULT, Session, Sessions
from tests.bench.mutation import Patches, mutation, nothing

# -- learning


@mutation(
    "value-below-chosen",
    "a value held under a lower ballot than the chosen one is not taken for it",
    "Learner.next_chosen",
)
def _value_below_chosen(p: Patches) -> None:
    def make(original):
        def next_chosen(self, accepted):
            slot = self.commit + 1
            known = slot in self.chosen or slot <= self.known_commit
            held = accepted.get(slot)
            if known and held is not None and slot not in self.decided:
                self.chosen[slot] = held[0]
            return original(self, accepted)

        return next_chosen

    p.replace(Learner, "next_chosen", make)


@mutation("apply-order", "slots are applied without gaps", "Learner.next_chosen")
def _apply_order(p: Patches) -> None:
    def make(original):
        def next_chosen(self, accepted):
            found = original(self, accepted)
            if found is None and self.commit + 2 in self.chosen:
                self.commit += 1  # as if the next one did not matter
                return original(self, accepted)
            return found

        return next_chosen

    p.replace(Learner, "next_chosen", make)


@mutation("vote-gap-filling", "votes lost on the way are asked for", "Replication._ask_votes",
          profiles=("no-votes-heard",))  # fmt: skip
def _vote_gap_filling(p: Patches) -> None:
    p.replace(Replication, "_ask_votes", lambda _: nothing)


@mutation("catch-up", "a node that is behind pulls what it lacks", "Replication._pull")
def _catch_up(p: Patches) -> None:
    p.replace(Replication, "_pull", lambda _: nothing)


@mutation("session-dedup", "a command that was applied is not applied again", "Session.find")
def _session_dedup(p: Patches) -> None:
    p.replace(Session, "find", lambda _: lambda self, seq: None)


@mutation("forgotten-dedup", "a command whose reply was acknowledged is not applied again",
          "Sessions.refuse")  # fmt: skip
def _forgotten_dedup(p: Patches) -> None:
    p.replace(Sessions, "refuse", lambda _: lambda self, session, seq: None)


@mutation(
    "session-fence",
    "a command that was ruled out is never applied",
    "Sessions.fence",
    profiles=("echoes",),
)
def _session_fence(p: Patches) -> None:
    def make(original):
        def fence(self, slot, session_id, seq):
            session = self.table.get(session_id)
            if session is not None and session.find(seq) is None and seq > session.acked:
                return FENCED_RESULT  # said, and not remembered
            return original(self, slot, session_id, seq)

        return fence

    p.replace(Sessions, "fence", make)


@mutation("log-time", "sessions and results depend on log time, not on the node's own clock",
          "Machine.apply")  # fmt: skip
def _log_time(p: Patches) -> None:
    clocks: dict[int, int] = {}

    def make_time(original):
        def set_time(self, now_ms, wall_ms):
            clocks[id(self._context.machine)] = wall_ms
            original(self, now_ms, wall_ms)

        return set_time

    def make_apply(original):
        def apply(self, slot, batch, value=b""):
            if batch is not None and id(self) in clocks:
                batch = batch._replace(stamp_ms=clocks[id(self)])
            return original(self, slot, batch, value)

        return apply

    p.replace(Node, "set_time", make_time)
    p.replace(Machine, "apply", make_apply)


@mutation(
    "read-unconfirmed",
    "a read waits until a quorum confirms the leader",
    "LeaderReads.confirmed",
    profiles=("late-acks",),
)
def _read_unconfirmed(p: Patches) -> None:
    def make(_):
        def confirmed(self):
            done, self.in_round = self.in_round, []
            return done

        return confirmed

    p.replace(LeaderReads, "confirmed", make)


@mutation(
    "read-old-round",
    "an acknowledgement of an earlier round confirms nothing",
    "LeaderReads.receive_ack",
    profiles=("late-acks",),
)
def _read_old_round(p: Patches) -> None:
    def make(original):
        def receive_ack(self, voter, round_):
            original(self, voter, self.round)

        return receive_ack

    p.replace(LeaderReads, "receive_ack", make)


@mutation("read-index-too-low", "the index of a read covers all that this leader proposed",
          "Node._read_slot")  # fmt: skip
def _read_index_too_low(p: Patches) -> None:
    p.replace(Node, "_read_slot", lambda _: lambda self: self.applied)


@mutation(
    "read-late-answer",
    "a late answer to an earlier question of a read is ignored",
    "WaitingReads.answer",
    profiles=("late-answers",),
)
def _read_late_answer(p: Patches) -> None:
    def make(original):
        def answer(self, read_id, index):
            original(self, self.read_id, index)

        return answer

    p.replace(WaitingReads, "answer", make)


@mutation("read-not-applied", "a read waits until its index is applied here", "WaitingReads.ready")
def _read_not_applied(p: Patches) -> None:
    def make(original):
        def ready(self, applied):
            return original(self, 1 << 62)

        return ready

    p.replace(WaitingReads, "ready", make)


@mutation("read-local", "a read is confirmed by the leader at all", "Node.read")
def _read_local(p: Patches) -> None:
    def make(original):
        def read(self, token):
            self._reads._indexed.append((0, token, self._context.now_ms))

        return read

    p.replace(Node, "read", make)


# -- the age of what is read without asking


@mutation(
    "age-since-leader-heard",
    "a state's age is not the time since a leader was heard",
    "Node.age_ms",
    profiles=("stale-reads",),
)
def _age_since_leader_heard(p: Patches) -> None:
    def make(_):
        def age_ms(self, now_ms=None):
            if self.leading:
                return 0
            heard_ms = self._election.leader_heard_ms
            never = heard_ms == float("-inf")
            return -1 if never else int(self._context.now_ms - heard_ms)

        return age_ms

    p.replace(Node, "age_ms", make)


@mutation(
    "age-since-answer",
    "a state's age counts from the question, not from its answer",
    "Node._take_index",
    profiles=("stale-reads", "stale-reads-behind"),
)
def _age_since_answer(p: Patches) -> None:
    def make(_):
        def take_index(self, read_id, slot):
            if self._reads.answer(read_id, slot):
                self._freshness.confirmed(self._context.now_ms, slot)

        return take_index

    p.replace(Node, "_take_index", make)


@mutation(
    "age-not-applied",
    "a state's age counts once the confirmed index is applied",
    "Freshness.age_ms",
    profiles=("stale-reads-behind",),
)
def _age_not_applied(p: Patches) -> None:
    def make(original):
        def age_ms(self, now_ms, applied):
            return original(self, now_ms, 1 << 62)

        return age_ms

    p.replace(Freshness, "age_ms", make)


@mutation(
    "age-of-a-leader",
    "a leader's state is as old as its last confirmed round, for it may be deposed",
    "Node.age_ms",
    profiles=("stale-reads-cut",),
)
def _age_of_a_leader(p: Patches) -> None:
    def make(original):
        def age_ms(self, now_ms=None):
            return 0 if self.leading else original(self, now_ms)

        return age_ms

    p.replace(Node, "age_ms", make)


# -- unequal limits


@mutation("limits-unheard", "what goes to a peer keeps within the limits that it told",
          "PeerLimits.receive", profiles=("unequal-limits",))  # fmt: skip
def _limits_unheard(p: Patches) -> None:
    p.replace(PeerLimits, "receive", lambda _: nothing)


@mutation("parts-too-large", "a part of the log is no larger than whoever catches up takes",
          "PeerLimits.room_of", profiles=("unequal-limits",))  # fmt: skip
def _parts_too_large(p: Patches) -> None:
    p.replace(PeerLimits, "room_of", lambda _: lambda self, name: 0)


@mutation("no-way-around", "what a peer cannot take out of the log it gets with a snapshot",
          "PeerLimits.takes", profiles=("unequal-limits",))  # fmt: skip
def _no_way_around(p: Patches) -> None:
    p.replace(PeerLimits, "takes", lambda _: lambda self, name, value_bytes: True)


# -- replies


@mutation(
    "interrupted-as-refused",
    "who leads no more says of requests in flight that their outcome is unknown",
    "Replication.stop",
)
def _interrupted_as_refused(p: Patches) -> None:
    def make(original):
        def stop(self, reason):
            outbox = self._context.outbox
            before = len(outbox.ready.replies)
            original(self, reason)
            for place in range(before, len(outbox.ready.replies)):
                token, _ = outbox.ready.replies[place]
                outbox.ready.replies[place] = (
                    token,
                    Refusal(NOT_LEADER, REFUSALS[NOT_LEADER], ""),
                )

        return stop

    p.replace(Replication, "stop", make)


@mutation("client-gives-up-as-failed", "a client that gives up on a sent command says unknown",
          "Frame.possibly_submitted")  # fmt: skip
def _client_gives_up_as_failed(p: Patches) -> None:
    p.replace(Frame, "possibly_submitted", lambda _: property(lambda self: False))


@mutation("client-new-seq", "a client sends a command again with the same seq", "ClientProtocol")
def _client_new_seq(p: Patches) -> None:
    def make(original):
        def message(self, frame, request_id):
            session = frame.session
            if session is not None and len(frame.ids) > 1:
                frame.first_seq = session.next_seq
                session.next_seq += len(frame.calls)
            return original(self, frame, request_id)

        return message

    p.replace(ClientProtocol, "_message", make)
