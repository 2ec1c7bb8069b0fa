"""What passes the inbox, without any socket: faults, what is held back, who is heard."""

import pytest

from paxosd.bus import inbox as inbox_module
from paxosd.bus.inbox import Inbox, log_refusal
from paxosd.bus.refusal_log import RefusalLog
from paxosd.core.messages import Accepted, CatchUp, Envelope, Heartbeat, Hello, Welcome
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.faults.plan import FaultPlan
from paxosd.storage.peer_runs import PeerRuns
from tests.bus.harness import MemoryLog

VOTE = Accepted(Ballot(1, "n1"), ((1, 1),), 1)
ASK = CatchUp(1, 2)


def vote(sender="n2", run_id=1, seq=1):
    return Envelope(sender, run_id, VOTE._replace(stream_seq=seq))


class Desk:
    """An inbox of n1, and all that comes out of it."""

    def __init__(self, *peers, pins=None, genesis=0, **options):
        self.plan = FaultPlan()
        self.now_ms = 0.0
        self.out, self.answers, self.refusals, self.order = [], [], [], []
        self.weights = []
        self.inbox = Inbox(
            "n1",
            self.plan,
            PeerRuns(None, peers, pins, **options),
            answer=self.answer,
            refused=self.refused,
            keep=self.keep,
        )
        self.inbox.header.genesis = genesis

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

    def hear(self, *messages, source="10.0.0.2"):
        """They come; what goes on to the node."""
        out = []
        for message in messages:
            self.inbox.take(message, source, out, self.now_ms)
        return out

    def wait(self, duration_ms):
        """Time passes; what goes on to the node."""
        self.now_ms += duration_ms
        out = []
        self.inbox.release(out, self.now_ms)
        return out

    def reasons(self):
        return [refusal.reason for refusal, _, _ in self.refusals]

    def reported(self):
        """The log's lines about what was refused."""
        lines = MemoryLog()
        log = RefusalLog(lines)
        for refusal, source, now_ms in self.refusals:
            log_refusal(log, refusal, source, now_ms)
        return lines


@pytest.fixture
def desk():
    return Desk("n2", "n3")


class TestFounded:
    """Nearly all that a founded cluster says takes a shorter way."""

    def vote(self, seq=1, epoch=0):
        return vote(seq=seq)._replace(genesis=9, epoch=epoch)

    @pytest.mark.parametrize(
        ("kind", "args", "now", "later"),
        [("drop", {}, 0, 0), ("delay", {"ms": 50}, 0, 1), ("duplicate", {}, 2, 0)],
    )
    def test_faults_act_on_it(self, kind, args, now, later):
        desk = Desk("n2", genesis=9)
        assert desk.hear(self.vote()) == [self.vote()]
        desk.fault(kind, **args)
        assert desk.hear(self.vote()) == [self.vote()] * now
        assert desk.wait(50) == [self.vote()] * later

    def test_the_newest_epoch_is_known(self):
        desk = Desk("n2", genesis=9)
        messages = [self.vote(epoch=epoch) for epoch in (0, 3, 2)]
        assert desk.hear(*messages) == messages
        assert desk.inbox.newest_epoch == 3


class TestWithoutFaults:
    def test_what_is_heard_is_the_very_envelope_that_came(self, desk):
        messages = [vote(), vote(seq=2), vote("n3", 4)]
        out = desk.hear(*messages)
        assert all(a is b for a, b in zip(out, messages, strict=True))
        assert desk.answers == desk.refusals == []
        assert not desk.inbox.counters

    def test_when_each_was_heard_last_is_known(self, desk):
        desk.now_ms = 7.0
        desk.hear(vote(), vote("n3", make_run_id(2, 2)))
        desk.now_ms = 9.0
        # Neither a replay, nor a peer that may only learn, nor a stranger is a sign of life.
        desk.hear(vote("n3", make_run_id(1, 1)), Envelope("n3", make_run_id(2, 1), ASK), vote("n9"))
        assert desk.inbox.peer_runs.heard_ms == {"n2": 7.0, "n3": 7.0}

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
        known, old = make_run_id(3, 1), make_run_id(1, 1)
        desk.hear(Envelope("n2", known, Hello(5)))
        assert desk.hear(Envelope("n2", old, Hello(6))) == []
        assert desk.answers == [("n2", Welcome(known, 5))]
        assert desk.reasons() == ["stale_run"]
        assert desk.refusals[0][0].known == known
        assert desk.order == ["refused", "answer"]
        assert desk.inbox.counters == {"refused.stale_run": 1}

    def test_who_may_only_learn_is_heard_as_life_0(self):
        desk = Desk("n2", pins={"n2": 5})
        beat = Heartbeat(Ballot(1, "n1"), "n2", 1, 0, 0, 0)
        out = desk.hear(vote(), Envelope("n2", 1, ASK), Envelope("n2", 1, beat))
        assert out == [Envelope("n2", 0, ASK), Envelope("n2", 0, beat)]
        assert desk.reasons() == ["stale_run"]
        assert desk.answers == [("n2", Welcome(0))], "it may be heard once it says Hello"

    def test_pins_come_with_the_peers(self, desk):
        desk.inbox.set_peers({"n2": None, "n4": None}, {"n2": 5})
        assert desk.hear(vote(), vote("n3"), vote("n4")) == [vote("n4")]
        assert desk.reasons() == ["stale_run", "unknown_sender"]


class TestFaults:
    def test_what_is_dropped_is_not_even_judged(self, desk):
        desk.fault("drop", **{"from": "n2"})
        assert desk.hear(vote(), Envelope("n2", 1, Hello(5)), vote("n3")) == [vote("n3")]
        assert desk.inbox.peer_runs.known("n2") == 0
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
        assert desk.reasons() == ["stale_run", "unknown_sender"]
        assert [source for _, source, _ in desk.refusals] == ["kept 10.0.0.2"] * 2
        assert desk.answers == []

    def test_a_frame_of_an_earlier_life_that_was_held_back_is_stale_when_it_comes(self, desk):
        old, new = make_run_id(1, 1), make_run_id(2, 2)
        desk.hear(vote(run_id=old))
        desk.fault("delay", ms=50)
        desk.hear(vote(run_id=old))
        desk.plan.clear(desk.now_ms)
        desk.hear(vote(run_id=new))
        assert desk.wait(50) == []
        assert desk.reasons() == ["stale_run"]

    def test_copies_are_all_of_one_life_and_one_refusal(self):
        desk = Desk("n2", pins={"n2": 5})
        desk.fault("duplicate")
        desk.fault("duplicate")
        assert desk.hear(Envelope("n2", 1, ASK)) == [Envelope("n2", 0, ASK)] * 3
        assert desk.inbox.counters == {"fault.duplicated": 2}
        desk.hear(vote())
        assert desk.reasons() == ["stale_run"]

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


class TestFounding:
    """Which founding record a sender has, and which version of the wire it speaks."""

    def test_another_founding_record_is_another_cluster(self):
        desk = Desk("n2", "n3", genesis=9)
        strange = [
            vote()._replace(genesis=8, epoch=7),
            Envelope("n2", 1, Hello(5), 8, 7),
            Envelope("n2", 1, ASK, 8, 7),
            vote("n9")._replace(genesis=8, epoch=7),
        ]
        assert desk.hear(*strange) == []
        assert desk.reasons() == ["genesis"] * 4
        assert desk.inbox.counters == {"refused.genesis": 4}
        assert desk.answers == []
        assert desk.inbox.strangers == strange, "the node is to know"
        assert desk.inbox.newest_epoch == 0, "of another cluster"
        assert desk.inbox.peer_runs.known("n2") == 0
        assert desk.inbox.peer_runs.heard_ms == {}
        good = vote()._replace(genesis=9)
        assert desk.hear(good) == [good]

    def test_it_is_told_once_for_each_sender_wherever_it_speaks_from(self):
        desk = Desk("n2", "n3", genesis=9)
        for source in ("10.0.0.2", "10.0.0.3"):
            desk.hear(*[vote()._replace(genesis=8)] * 3, source=source)
        desk.hear(vote("n3")._replace(genesis=8))
        lines = desk.reported()
        assert [line[1] for line in lines.lines] == ["bus.other_genesis"] * 2
        first, second = lines.of("bus.other_genesis")
        assert (first["source"], second["source"]) == ("n2", "n3")
        assert first["address"] == "10.0.0.2"
        assert f"{8:016x}, here {9:016x}" in first["detail"]

    @pytest.mark.parametrize(("here", "there"), [(9, 0), (0, 9), (0, 0), (9, 9)])
    def test_one_that_has_none_is_heard_and_hears(self, here, there):
        desk = Desk("n2", genesis=here)
        messages = [vote()._replace(genesis=there), Envelope("n2", 1, Hello(5), there)]
        assert desk.hear(*messages) == messages
        assert desk.refusals == desk.inbox.strangers == []

    def test_who_is_no_peer_may_know_more_of_this_cluster(self):
        desk = Desk("n2", genesis=9)
        strangers = [vote("n9")._replace(genesis=9, epoch=4), vote("n8")]
        assert desk.hear(*strangers) == []
        assert desk.reasons() == ["unknown_sender"] * 2
        assert desk.inbox.strangers == strangers
        desk.hear(vote("n1"), vote(run_id=make_run_id(2, 1)), vote(run_id=make_run_id(1, 1)))
        assert desk.reasons()[2:] == ["own_name", "stale_run"]
        assert desk.inbox.strangers == strangers, "neither is a stranger"

    @pytest.mark.parametrize("genesis", [8, 9])
    def test_strangers_are_kept_in_bounds(self, genesis):
        desk = Desk("n2", genesis=9)
        desk.hear(*[vote("n9", seq=seq)._replace(genesis=genesis) for seq in range(100)])
        assert len(desk.inbox.strangers) == inbox_module.STRANGERS_MAX
        assert len(desk.refusals) == 100

    def test_the_old_version_is_heard_as_long_as_there_is_no_founding_record(self, desk):
        old = vote()._replace(version=1)
        assert desk.hear(old) == [old]
        desk.inbox.header.genesis = 9
        assert desk.hear(old, vote("n9")._replace(version=1)) == []
        assert desk.reasons() == ["version"] * 2
        assert desk.inbox.counters == {"refused.version": 2}
        assert desk.inbox.strangers == []
        assert desk.answers == []
        [line] = desk.reported().of("bus.refused")
        assert line["source"] == "10.0.0.2"
        assert "upgrade" in line["detail"]

    def test_who_speaks_the_new_version_is_remembered_while_it_matters(self, desk):
        desk.hear(vote()._replace(version=1), vote("n9"))
        assert desk.inbox.new_speakers == set(), "and of peers alone"
        desk.hear(vote("n3"), vote("n2")._replace(genesis=7))
        assert desk.inbox.new_speakers == {"n2", "n3"}


class TestEpochs:
    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (vote(run_id=make_run_id(2, 1)), None),
            (Envelope("n2", make_run_id(1, 1), ASK), None),
            (vote(run_id=make_run_id(1, 1)), "stale_run"),
            (Envelope("n2", make_run_id(1, 1), Hello(6)), "stale_run"),
            (vote("n9"), "unknown_sender"),
            (vote("n1"), "own_name"),
        ],
        ids=["heard", "learns", "stale", "hello", "stranger", "own-name"],
    )
    @pytest.mark.parametrize("faulty", [False, True])
    def test_whoever_tells_of_a_later_one_is_believed(self, message, reason, faulty):
        """Also one that is not heard: to know of an epoch makes nobody do anything."""
        desk = Desk("n2", genesis=9)
        desk.hear(Envelope("n2", make_run_id(2, 1), Hello(5), 9, 3))
        assert desk.inbox.newest_epoch == 3
        if faulty:
            desk.fault("duplicate")
        for epoch, newest in ((7, 7), (5, 7), (0, 7), (8, 8)):
            for genesis in (0, 9):
                desk.hear(message._replace(genesis=genesis, epoch=epoch))
                assert desk.inbox.newest_epoch == newest
        assert set(desk.reasons()) == ({reason} if reason else set())


class TestDoubled:
    """Two processes that call themselves n2, one of them out of a copy of the other's directory."""

    FIRST = Envelope("n2", make_run_id(3, 1), Hello(5))
    TWINS = (make_run_id(4, 2), make_run_id(5, 1))

    @pytest.fixture
    def desk(self):
        desk = Desk("n2", "n3", silence_ms=100)
        assert desk.hear(self.FIRST, source="10.0.0.2") == [self.FIRST]
        return desk

    def last(self, desk, twin, run_id=FIRST.run_id):
        """Both say Hello again, and the first repeats what it is asked to."""
        desk.hear(Envelope("n2", twin, Hello(5)), source="10.0.0.7")
        source = desk.inbox._sources["n2"].removeprefix("kept ")
        desk.hear(Envelope("n2", run_id, Hello(5)), source=source)
        desk.refusals.clear()
        desk.answers.clear()
        desk.inbox.counters.clear()

    def test_a_quick_restart_is_none(self, desk):
        """Its last run was heard a moment ago, and its end is not noticed yet."""
        assert desk.hear(*[Envelope("n2", self.TWINS[1], Hello(5))] * 2) == []
        assert desk.reasons() == ["waits"] * 2
        assert desk.reported().lines == []
        desk.now_ms += 100
        assert len(desk.hear(Envelope("n2", self.TWINS[1], Hello(5)))) == 1

    @pytest.mark.parametrize("twin", TWINS)
    def test_the_one_that_is_heard_goes_on_and_both_addresses_are_told(self, desk, twin):
        self.last(desk, twin)
        for source in ("10.0.0.7", "10.0.0.8"):
            assert desk.hear(*[Envelope("n2", twin, Hello(5))] * 2, source=source) == []
        assert desk.reasons() == ["doubled"] * 4
        assert desk.inbox.counters == {"refused.doubled": 4}
        assert desk.refusals[0][0].known == self.FIRST.run_id
        assert desk.answers == [("n2", Welcome(self.FIRST.run_id, 5))] * 4
        lines = desk.reported()
        assert [line[1] for line in lines.lines] == ["bus.doubled"], "once, by the name"
        [line] = lines.of("bus.doubled")
        assert (line["source"], line["address"]) == ("n2", "10.0.0.7")
        assert "said Hello from kept 10.0.0.2 goes on" in line["detail"]
        good = vote(run_id=self.FIRST.run_id)
        assert desk.hear(good) == [good]

    def test_the_address_is_that_of_the_present_life(self, desk):
        again = self.FIRST._replace(run_id=make_run_id(4, 7))
        desk.now_ms += 100
        assert desk.hear(again, source="10.0.0.5") == [again]
        self.last(desk, make_run_id(5, 1), again.run_id)
        desk.hear(Envelope("n2", make_run_id(5, 1), Hello(5)), source="10.0.0.7")
        assert "from kept 10.0.0.5 goes on" in desk.refusals[0][0].detail

    def test_an_address_that_was_kept_with_a_held_hello_is_not_kept_again(self, desk):
        desk.fault("delay", ms=50)
        assert desk.hear(self.FIRST, source="10.0.0.5") == []
        assert desk.wait(50) == [self.FIRST]
        desk.plan.clear(desk.now_ms)
        self.last(desk, self.TWINS[0])
        desk.hear(Envelope("n2", self.TWINS[0], Hello(5)), source="10.0.0.7")
        assert "from kept 10.0.0.5 goes on" in desk.refusals[0][0].detail

    @pytest.mark.parametrize(
        "message",
        [
            Envelope("n2", make_run_id(2, 1), Hello(5)),
            Envelope("n2", make_run_id(4, 1), Hello(6)),
            vote(run_id=make_run_id(4, 1)),
        ],
        ids=["fewer-starts", "another-directory", "no-hello"],
    )
    def test_what_may_be_a_replay_or_a_wiped_directory_is_called_so(self, desk, message):
        assert desk.hear(message) == []
        assert desk.reasons() == ["stale_run"]

    def test_the_life_that_is_heard_is_not_its_own_double(self, desk):
        desk.inbox.set_peers({"n2": None}, {"n2": 6})
        assert desk.hear(self.FIRST) == []
        assert desk.reasons() == ["stale_run"], "for another directory votes in its name"

    def test_one_that_fell_silent_has_no_double(self, desk):
        desk.now_ms += 100
        [(_, twin, _, *_)] = desk.hear(Envelope("n2", self.TWINS[1], Hello(5)))
        assert twin == self.TWINS[1]
        desk.hear(self.FIRST)
        assert desk.reasons() == ["stale_run"]


class TestTelling:
    def test_a_stranger_by_the_address_and_a_stale_life_by_its_name(self, desk):
        desk.hear(Envelope("n2", make_run_id(3, 1), Hello(5)), vote("n9"))
        desk.hear(*[vote(run_id=make_run_id(2, 1))] * 3)
        lines = desk.reported()
        assert [line["source"] for line in lines.of("bus.refused")] == ["10.0.0.2"]
        (stale,) = lines.of("bus.stale_run")
        assert stale["source"] == "n2"
        assert (stale["sender_boot_count"], stale["highest_boot_count"]) == (2, 3)
        assert stale["address"] == "10.0.0.2"
        assert "replay" in stale["detail"]

    def test_one_that_has_not_said_hello_is_told_from_one_that_forgot(self):
        desk = Desk("n2", pins={"n2": 5})
        desk.hear(vote())
        assert "said Hello" in desk.refusals[0][0].detail
