"""What waits in the core is bounded in bytes (docs/MEMORY.md)."""

import pickle

from paxosd.core import replication
from paxosd.core.commands import PUT, Entry
from paxosd.core.fair_queue import Waiting
from paxosd.core.flow import WINDOW_START_BYTES
from paxosd.core.learner import Learner
from paxosd.core.messages import Accept, Accepted, CatchUp, Decisions
from paxosd.core.quorum import Quorums
from paxosd.core.types import Ballot
from tests.core.replication_bench import B9, Bench

KB = 1 << 10


def submit(bench, count, size):
    for number in range(count):
        entry = Entry(1, number + 1, number, [[PUT, b"k", b"x" * size]])
        assert bench.context.proposer.enqueue(Waiting(number, entry, pickle.dumps(tuple(entry))))


def leader(**options):
    options = {"batch_commands_max": 1, "eager_slots_max": 64} | options
    bench = Bench(**options)
    bench.lead()
    bench.take()
    return bench


def accepts(ready, to):
    return [message.slot for name, message in ready.sends if name == to and type(message) is Accept]


class TestATurn:
    def test_it_proposes_so_many_bytes_and_no_more(self, monkeypatch):
        monkeypatch.setattr(replication, "PROPOSED_BYTES_MAX", 100 * KB)
        bench = leader()
        submit(bench, 20, 30 * KB)
        bench.replication.propose_waiting()
        bench.replication.propose_waiting()
        assert len(bench.context.proposer.open) == 4
        assert bench.replication.may_go_on()
        bench.replication.begin_turn()
        bench.replication.propose_waiting()
        assert len(bench.context.proposer.open) == 8

    def test_nothing_while_too_much_waits_for_the_disk(self):
        bench = leader()
        bench.replication.log_full = True
        submit(bench, 1, 10)
        bench.replication.propose_waiting()
        assert not bench.context.proposer.open
        assert not bench.replication.may_go_on()
        bench.replication.log_full = False
        bench.replication.propose_waiting()
        assert bench.context.proposer.open


class TestUnsentAccepts:
    SIZE = 100 * KB

    def test_a_slow_member_has_a_window_full_on_its_way_and_the_others_go_on(self):
        bench = leader()
        flow = bench.context.peers["n3"].flow
        for number in range(12):
            submit(bench, 1, self.SIZE)
            bench.replication.propose_waiting()
            bench.take()
            slot = number + 1
            vote = Accepted(B9, ((slot, slot),), slot)
            bench.replication.receive_accepted("n2", 1, vote)
            assert bench.context.learner.commit == slot
            assert flow.in_flight <= WINDOW_START_BYTES
        assert flow.skipped

    def test_what_did_not_fit_goes_once_there_is_room(self):
        bench = leader()
        submit(bench, 6, self.SIZE)
        bench.replication.propose_waiting()
        first = accepts(bench.take(), "n3")
        assert first == [1, 2]
        bench.replication.send_skipped()
        assert accepts(bench.take(), "n3") == []
        bench.replication.receive_accepted("n3", 1, Accepted(B9, ((1, 1),), 1))
        bench.replication.send_skipped()
        assert accepts(bench.take(), "n3") == [3, 4], "it grew by what arrived"

    def test_what_is_on_its_way_is_not_sent_again_before_its_time(self):
        bench = leader()
        submit(bench, 1, self.SIZE)
        bench.replication.propose_waiting()
        bench.take()
        bench.context.now_ms += 300
        bench.replication.check_flows()
        bench.replication.retransmit()
        assert accepts(bench.take(), "n3") == []
        bench.context.now_ms += 60_000
        bench.replication.check_flows()
        bench.replication.retransmit()
        assert accepts(bench.take(), "n3") == [1]

    def test_what_could_not_be_handed_over_goes_again(self):
        bench = leader()
        submit(bench, 1, self.SIZE)
        bench.replication.propose_waiting()
        bench.take()
        bench.context.peers["n3"].flow.unsent(1)
        bench.context.now_ms += 300
        bench.replication.retransmit()
        assert accepts(bench.take(), "n3") == [1]

    def test_one_far_behind_is_sent_nothing_that_it_would_not_take(self):
        bench = leader(accept_ahead_slots_max=2, window_slots_max=3)
        for slot in range(1, 9):
            submit(bench, 1, 10)
            bench.replication.propose_waiting()
            bench.replication.receive_accepted("n2", 1, Accepted(B9, ((slot, slot),), slot))
            bench.context.note_commit("n2", slot)
            sent = accepts(bench.take(), "n3")
            assert sent == ([slot] if slot <= 5 else [])


class TestCatchUp:
    def served(self, bench):
        return [(serve.to, serve.first) for serve in bench.take().serves]

    def bench(self):
        bench = leader()
        for slot in range(1, 6):
            submit(bench, 1, 10)
            bench.replication.propose_waiting()
            bench.replication.receive_accepted("n2", 1, Accepted(B9, ((slot, slot),), slot))
        bench.take()
        return bench

    def test_a_question_that_is_repeated_is_not_answered_twice(self):
        bench = self.bench()
        flow = bench.context.peers["n3"].flow
        flow.reset()
        bench.exchange.receive_catch_up("n3", CatchUp(1, 5))
        assert self.served(bench) == [("n3", 1)]
        flow.served(1, 3, 20 * KB, 0.0)
        bench.exchange.receive_catch_up("n3", CatchUp(1, 5))
        assert self.served(bench) == []
        bench.exchange.receive_catch_up("n3", CatchUp(4, 5))
        assert self.served(bench) == [("n3", 4)]

    def test_pulled_values_that_are_not_next_are_bounded(self):
        learner = Learner(Quorums(["n1", "n2", "n3"]))
        learner.ahead_bytes_max = 10 * KB
        ballot = Ballot(1, "n1")
        for first in (100, 200):
            values = tuple((ballot, b"x" * KB) for _ in range(8))
            learner.receive_decisions(Decisions(first, values, 300))
        assert learner.decided_bytes <= 10 * KB
        assert learner.decided_bytes == sum(len(v) for _, v in learner.decided.values())
        learner.receive_decisions(Decisions(1, ((ballot, b"y" * 20 * KB),), 300))
        assert learner.next_chosen({}) is not None, "the next one always fits"
        learner.install(250)
        assert learner.decided_bytes == 0
