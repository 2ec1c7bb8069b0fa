"""What passes the inbox, without any socket: faults, what is held back, who is heard."""

import pytest

from paxosd import inbox as inbox_module
from paxosd.core.messages import Accepted, CatchUp, Envelope, Heartbeat, Hello, Welcome
from paxosd.core.types import Ballot
from paxosd.faults import FaultPlan
from paxosd.inbox import Inbox, log_refusal
from paxosd.lives import PeerLives, life_number
from paxosd.refusals import RefusalLog
from tests.bus.harness import MemoryLog

VOTE = Accepted(Ballot(1, "n1"), ((1, 1),), 1)
ASK = CatchUp(1, 2)


def vote(sender="n2", life=1, seq=1):
    return Envelope(sender, life, VOTE._replace(stream_seq=seq))


class Desk:
    """An inbox of n1, and all that comes out of it."""

    def __init__(self, *peers, pins=None):
        self.plan = FaultPlan()
        self.now_ms = 0.0
        self.out, self.answers, self.refusals, self.order = [], [], [], []
        self.weights = []
        self.inbox = Inbox(
            "n1",
            self.plan,
            PeerLives(None, peers, pins),
            answer=self.answer,
            refused=self.refused,
            keep=self.keep,
        )

    def answer(self, to, message):
        self.order.append("answer")
        self.answers.append((to, message))

    def refused(self, refusal, source, now_ms):
        self.order.append("refused")
        self.refusals.append((refusal, source, now_ms))

    def keep(self, source):
        return (self.weights.pop(0) if self.weights else 1), f"kept {source}"

    def fault(self, kind, **args):
        self.plan.add_args({"name": f"rule{len(self.plan)}", "kind": kind} | args, self.now_ms)

    def hear(self, *messages):
        """They come; what goes on to the node."""
        out = []
        for message in messages:
            self.inbox.take(message, "10.0.0.2", out, self.now_ms)
        return out

    def wait(self, duration_ms):
        """Time passes; what goes on to the node."""
        self.now_ms += duration_ms
        out = []
        self.inbox.release(out, self.now_ms)
        return out

    def reasons(self):
        return [refusal.reason for refusal, _, _ in self.refusals]


@pytest.fixture
def desk():
    return Desk("n2", "n3")


class TestWithoutFaults:
    def test_what_is_heard_is_the_very_envelope_that_came(self, desk):
        messages = [vote(), vote(seq=2), vote("n3", 4)]
        out = desk.hear(*messages)
        assert all(a is b for a, b in zip(out, messages, strict=True))
        assert desk.answers == desk.refusals == []
        assert not desk.inbox.counters

    def test_when_each_was_heard_last_is_known(self, desk):
        desk.now_ms = 7.0
        desk.hear(vote(), vote("n3", life_number(2, 2)))
        desk.now_ms = 9.0
        # Neither a replay, nor a peer that may only learn, nor a stranger is a sign of life.
        desk.hear(vote("n3", life_number(1, 1)), Envelope("n3", life_number(2, 1), ASK), vote("n9"))
        assert desk.inbox.lives.heard_ms == {"n2": 7.0, "n3": 7.0}

    @pytest.mark.parametrize(
        ("sender", "reason"), [("n9", "unknown_sender"), ("n1", "own_name"), ("", "unknown_sender")]
    )
    @pytest.mark.parametrize("faulty", [False, True])
    def test_who_is_no_peer_is_refused_and_not_answered(self, desk, sender, reason, faulty):
        if faulty:
            desk.fault("delay", ms=50)
        assert desk.hear(vote(sender), Envelope(sender, 1, Hello(5))) == []
        assert desk.wait(50) == []
        assert desk.reasons() == [reason] * 2
        assert desk.answers == []
        assert desk.inbox.counters == {f"refused.{reason}": 2}
        refusal, source, _ = desk.refusals[0]
        assert (refusal.message, source) == (vote(sender), "10.0.0.2")
        assert f'"{sender}"' in refusal.detail

    def test_a_life_that_is_not_heard_is_refused_then_told_how_it_is_known(self, desk):
        known, old = life_number(3, 1), life_number(1, 1)
        desk.hear(Envelope("n2", known, Hello(5)))
        assert desk.hear(Envelope("n2", old, Hello(6))) == []
        assert desk.answers == [("n2", Welcome(known, 5))]
        assert desk.reasons() == ["stale_incarnation"]
        assert desk.refusals[0][0].known == known
        assert desk.order == ["refused", "answer"]
        assert desk.inbox.counters == {"refused.stale_incarnation": 1}

    def test_who_may_only_learn_is_heard_as_life_0(self):
        desk = Desk("n2", pins={"n2": 5})
        beat = Heartbeat(Ballot(1, "n1"), "n2", 1, 0, 0, 0)
        out = desk.hear(vote(), Envelope("n2", 1, ASK), Envelope("n2", 1, beat))
        assert out == [Envelope("n2", 0, ASK), Envelope("n2", 0, beat)]
        assert desk.reasons() == ["stale_incarnation"]
        assert desk.answers == [("n2", Welcome(0))], "it may be heard once it says Hello"

    def test_pins_come_with_the_peers(self, desk):
        desk.inbox.set_peers({"n2": None, "n4": None}, {"n2": 5})
        assert desk.hear(vote(), vote("n3"), vote("n4")) == [vote("n4")]
        assert desk.reasons() == ["stale_incarnation", "unknown_sender"]


class TestFaults:
    def test_what_is_dropped_is_not_even_judged(self, desk):
        desk.fault("drop", **{"from": "n2"})
        assert desk.hear(vote(), Envelope("n2", 1, Hello(5)), vote("n3")) == [vote("n3")]
        assert desk.inbox.lives.known("n2") == 0
        assert desk.answers == []
        assert desk.inbox.counters == {"fault.dropped": 2}

    def test_rules_see_kind_sender_and_receiver(self, desk):
        desk.fault("drop", message_kinds=["accepted"], **{"from": "n2", "to": "n1"})
        asked = Envelope("n2", 1, ASK)
        assert desk.hear(vote(), asked, vote("n3")) == [asked, vote("n3")]

    def test_what_is_delayed_comes_when_it_is_due_in_order_of_arrival(self, desk):
        desk.fault("delay", ms=50)
        assert desk.hear(*[vote(seq=seq) for seq in range(5)]) == []
        desk.now_ms = 10.0
        assert desk.hear(vote("n3")) == []
        assert desk.inbox.next_due_ms() == 50.0
        assert desk.wait(39) == []
        assert desk.wait(1) == [vote(seq=seq) for seq in range(5)]
        assert desk.inbox.next_due_ms() == 60.0
        assert desk.wait(10) == [vote("n3")]
        assert desk.inbox.next_due_ms() is None
        assert desk.inbox.counters == {"fault.delayed": 6}

    def test_what_was_held_back_is_judged_when_it_is_due(self, desk):
        desk.fault("delay", ms=50)
        desk.hear(vote(), Envelope("n2", 1, ASK), vote("n3"))
        desk.inbox.set_peers({"n2": None}, {"n2": 5})
        assert desk.wait(50) == [Envelope("n2", 0, ASK)]
        assert desk.reasons() == ["stale_incarnation", "unknown_sender"]
        assert [source for _, source, _ in desk.refusals] == ["kept 10.0.0.2"] * 2
        assert desk.answers == []

    def test_a_frame_of_an_earlier_life_that_was_held_back_is_stale_when_it_comes(self, desk):
        old, new = life_number(1, 1), life_number(2, 2)
        desk.hear(vote(life=old))
        desk.fault("delay", ms=50)
        desk.hear(vote(life=old))
        desk.plan.clear(desk.now_ms)
        desk.hear(vote(life=new))
        assert desk.wait(50) == []
        assert desk.reasons() == ["stale_incarnation"]

    def test_copies_are_all_of_one_life_and_one_refusal(self):
        desk = Desk("n2", pins={"n2": 5})
        desk.fault("duplicate")
        desk.fault("duplicate")
        assert desk.hear(Envelope("n2", 1, ASK)) == [Envelope("n2", 0, ASK)] * 3
        assert desk.inbox.counters == {"fault.duplicated": 2}
        desk.hear(vote())
        assert desk.reasons() == ["stale_incarnation"]

    def test_a_copy_may_come_later(self, desk):
        desk.fault("duplicate", ms=500)
        now = desk.hear(*[vote(seq=seq) for seq in range(20)])
        assert list(dict.fromkeys(now)) == [vote(seq=seq) for seq in range(20)]
        later = desk.wait(500)
        assert len(now) + len(later) == 40
        assert len(later) > 10
        assert desk.inbox.next_due_ms() is None

    def test_a_copy_of_what_is_delayed_is_delayed_too(self, desk):
        desk.fault("delay", ms=50)
        desk.fault("duplicate")
        assert desk.hear(vote()) == []
        assert desk.wait(49) == []
        assert desk.wait(1) == [vote()] * 2

    def test_what_is_held_back_is_bounded_in_count(self, desk, monkeypatch):
        monkeypatch.setattr(inbox_module, "HELD_MAX", 2)
        desk.fault("delay", ms=50)
        desk.hear(*[vote(seq=seq) for seq in range(5)])
        assert desk.inbox.counters["fault.held_overflow"] == 3
        assert desk.wait(50) == [vote(seq=0), vote(seq=1)]
        desk.hear(vote())
        assert desk.wait(50) == [vote()], "there is room again"

    def test_what_is_held_back_is_bounded_in_bytes(self, desk, monkeypatch):
        monkeypatch.setattr(inbox_module, "HELD_BYTES_MAX", 100)
        desk.fault("delay", ms=50)
        desk.weights = [60, 60, 40, 1]
        desk.hear(*[vote(seq=seq) for seq in range(4)])
        assert desk.inbox.counters["fault.held_overflow"] == 2
        assert desk.wait(50) == [vote(seq=0), vote(seq=2)]
        desk.weights = [100]
        desk.hear(vote())
        assert desk.wait(50) == [vote()], "there is room again"

    def test_nothing_held_back_comes_out_of_an_inbox_that_was_cleared(self, desk, monkeypatch):
        monkeypatch.setattr(inbox_module, "HELD_BYTES_MAX", 1)
        desk.fault("delay", ms=50)
        desk.hear(vote())
        desk.inbox.clear()
        assert desk.wait(50) == []
        desk.hear(vote())
        assert desk.wait(50) == [vote()]


class TestTelling:
    def test_a_stranger_by_the_address_and_a_stale_life_by_its_name(self, desk):
        lines = MemoryLog()
        log = RefusalLog(lines)
        desk.hear(Envelope("n2", life_number(3, 1), Hello(5)), vote("n9"))
        desk.hear(*[vote(life=life_number(2, 1))] * 3)
        for refusal, source, now_ms in desk.refusals:
            log_refusal(log, refusal, source, now_ms)
        assert [line["source"] for line in lines.of("bus.refused")] == ["10.0.0.2"]
        (stale,) = lines.of("bus.stale_incarnation")
        assert stale["source"] == "n2"
        assert (stale["sender_incarnation"], stale["highest_seen"]) == (2, 3)
        assert stale["address"] == "10.0.0.2"
        assert "replay" in stale["detail"]

    def test_one_that_has_not_said_hello_is_told_from_one_that_forgot(self):
        desk = Desk("n2", pins={"n2": 5})
        desk.hear(vote())
        assert "said Hello" in desk.refusals[0][0].detail
