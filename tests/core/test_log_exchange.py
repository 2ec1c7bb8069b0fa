"""Catching up of one node: pulling, serving, and two values of one slot at one ballot."""

import pytest

from paxosd.core.effects import (
    DecisionRecord,
)
from paxosd.core.messages import (
    CatchUp,
    Decisions,
    Promise,
)
from paxosd.core.types import Ballot
from tests.core.replication_bench import B1, B2, B3, B9, Bench, of, value
from tests.core.test_proposer import promise


class TestTwoValuesAtOneBallot:
    """A log or a memory is damaged, or a node runs twice: nothing of it is taken over."""

    def logged(self, bench):
        events = [n.event for n in bench.take().notices]
        return events.count("ballot.contradiction")

    def test_a_decision_that_differs_from_what_was_accepted(self):
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        bench.take()
        bench.exchange.receive_decisions("n2", Decisions(1, ((B1, value(b"w")),), 1))
        assert bench.execution.applied == 0
        assert bench.context.contradiction.slot == 1
        bench.exchange.receive_decisions("n2", Decisions(1, ((B1, value(b"w")),), 1))
        assert self.logged(bench) == 1, "it is logged once"
        bench.context.learner.receive_commit(B1, 1)
        bench.execution.advance()
        assert bench.execution.applied == 0, "its own may be the wrong one"

    @pytest.mark.parametrize("chosen", [b"v", b"w"])
    def test_what_a_majority_says_was_chosen_is_taken(self, chosen):
        """It does not matter which node was damaged, this one or the one that it heard first."""
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        bench.exchange.receive_decisions("n2", Decisions(1, ((B1, value(b"w")),), 1))
        bench.take()
        bench.exchange.receive_decisions("n1", Decisions(1, ((B1, value(chosen)),), 1))
        assert bench.execution.applied == 1
        records = [r for r in bench.take().persist if isinstance(r, DecisionRecord)]
        assert [r.value for r in records] == ([value(b"w")] if chosen == b"w" else [])

    def test_a_decision_of_another_ballot_may_differ(self):
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        bench.exchange.receive_decisions("n2", Decisions(1, ((B2, value(b"w")),), 1))
        assert bench.execution.applied == 1
        assert bench.context.contradiction is None

    def test_an_accept_request_gets_no_vote(self):
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        ready = bench.take()
        bench.context.outbox.synced(ready.ticket)
        bench.take()
        bench.accept(B1, 1, value(b"w"))
        ready = bench.take()
        assert not ready.publishes
        assert not ready.persist
        assert [n.event for n in ready.notices] == ["ballot.contradiction"]


class TestCatchingUp:
    def test_a_missing_value_is_pulled_after_a_while(self):
        bench = Bench("n3")
        bench.context.peers["n1"].commit = 1
        for voter in ("n1", "n2"):
            bench.votes(voter, B2, 1, 1)
        bench.exchange.check_missing()
        assert of(CatchUp, bench.take().sends) == []
        bench.later(31)
        bench.exchange.check_missing()
        assert bench.take().sends[-1] == ("n1", CatchUp(1, 1))
        bench.exchange.receive_decisions("n1", Decisions(1, ((B2, value(b"v")),), 1))
        assert bench.execution.applied == 1

    def test_far_behind_it_pulls_at_once_in_bounded_steps(self):
        bench = Bench("n3", catch_up_slots_max=10)
        bench.context.peers["n2"].commit = 500
        bench.context.learner.receive_commit(B2, 500)
        bench.exchange.check_missing()
        assert bench.take().sends == [("n2", CatchUp(1, 10))]
        values = tuple((B2, value(b"v")) for _ in range(10))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 500))
        assert bench.take().sends == [("n2", CatchUp(11, 20))], "the next step at once"

    def test_what_it_got_is_applied_in_pieces_and_only_then_it_asks_for_more(self):
        bench = Bench("n3", catch_up_slots_max=10, apply_commands_max=3)
        execution, exchange = bench.execution, bench.exchange
        bench.context.peers["n2"].commit = 500
        values = tuple((B2, value(b"v")) for _ in range(10))
        exchange.receive_decisions("n2", Decisions(1, values, 500))
        for applied in (3, 6, 9):
            assert (execution.applied, execution.held) == (applied, True)
            assert bench.context.learner.commit == applied
            exchange.resume()
            assert execution.applied == applied, "the turn is not over"
            bench.later(300)
            for _ in range(2):
                exchange.check_missing()
                exchange.check_behind()
            assert of(CatchUp, bench.take().sends) == [], "nothing is missing"
            execution.end_turn()
            exchange.resume()
        assert (execution.applied, execution.held) == (10, False)
        assert bench.take().sends == [("n2", CatchUp(11, 20))]

    def test_a_slot_is_applied_whole_however_large_it_is(self):
        bench = Bench("n3", apply_commands_max=1)
        values = tuple((B2, value(b"v")) for _ in range(3))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 3))
        for applied in (1, 2, 3):
            assert bench.execution.applied == applied
            bench.execution.end_turn()
            bench.exchange.resume()
        assert not bench.execution.held

    def test_while_the_shell_has_enough_to_do_nothing_is_applied(self):
        bench = Bench("n3")
        bench.execution.pausing = True
        values = tuple((B2, value(b"v")) for _ in range(3))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 3))
        assert (bench.execution.applied, bench.execution.held) == (0, True)
        bench.execution.pausing = False
        bench.exchange.resume()
        assert (bench.execution.applied, bench.execution.held) == (3, False)

    def test_a_repeated_answer_asks_for_nothing(self):
        bench = Bench("n3", catch_up_slots_max=1)
        message = Decisions(1, ((B2, value(b"v")),), 500)
        bench.exchange.receive_decisions("n2", message)
        assert len(of(CatchUp, bench.take().sends)) == 1
        for _ in range(3):
            bench.exchange.receive_decisions("n2", message)
        assert bench.take().sends == []

    def test_an_empty_answer_asks_for_nothing(self):
        bench = Bench("n3")
        bench.exchange.receive_decisions("n2", Decisions(1, (), 500))
        assert bench.take().sends == []

    def test_only_who_has_it_is_asked(self):
        bench = Bench("n3")
        bench.context.peers["n2"].commit = 4
        bench.context.learner.receive_commit(B2, 9)
        for _ in range(20):
            bench.later(300)
            bench.exchange.check_missing()
        assert {to for to, _ in bench.take().sends} == {"n2"}

    def test_standing_still_behind_a_peer_it_pulls(self):
        bench = Bench("n3")
        bench.context.peers["n2"].commit = 3
        bench.exchange.check_behind()
        assert bench.take().sends == []
        bench.exchange.check_behind()
        assert bench.take().sends == [("n2", CatchUp(1, 3))]

    def test_pulled_values_are_recorded(self):
        bench = Bench("n3")
        v = value(b"v")
        bench.exchange.receive_decisions("n2", Decisions(1, ((B2, v),), 1))
        assert bench.take().persist == [DecisionRecord(1, B2, v)]

    def test_a_value_held_alike_is_recorded_again_only_under_a_higher_ballot(self):
        """A deposed leader that is served this slot must see a ballot above its own."""
        for held, decided, records in [(B2, B2, 0), (B3, B2, 0), (B2, B9, 1)]:
            bench = Bench("n3")
            bench.accept(held, 1, value(b"v"))
            bench.take()
            message = Decisions(1, ((decided, value(b"v")),), 1)
            bench.exchange.receive_decisions("n2", message)
            assert len(bench.take().persist) == records

    def test_serving_is_bounded_by_commit_and_count(self):
        bench = Bench("n3", commit=50, catch_up_slots_max=10)
        for ask in (CatchUp(1, 1000), CatchUp(45, 1000), CatchUp(51, 60)):
            bench.exchange.receive_catch_up("n2", ask)
        served = [(s.first, s.last) for s in bench.take().serves]
        assert served == [(1, 10), (45, 50)]

    def test_a_new_leader_trusts_no_value_of_its_own_below_the_floor(self):
        """Another ballot may have chosen it: a promise can be much older than its arrival."""
        accepted = {1: (B1, value(b"other"))}
        bench = Bench(accepted=accepted)
        bench.lead(("n1", Promise(B9, 1, 0, 0, ())), ("n2", promise(B9, commit=1)))
        bench.execution.advance()
        assert bench.execution.applied == 0
        bench.context.acceptor.accepted[1] = (Ballot(10, "n3"), value(b"another"))
        bench.execution.advance()
        assert bench.execution.applied == 0
        bench.exchange.receive_decisions("n2", Decisions(1, ((B3, value(b"v")),), 1))
        assert [a.value for a in bench.take().applied] == [value(b"v")]
