"""The Proposer alone: what it may propose after phase 1, its window, its queue."""

import pytest

from paxosd.core.commands import PUT, Batch, Entry
from paxosd.core.fair_queue import Waiting
from paxosd.core.messages import AcceptedValue, Promise
from paxosd.core.options import NodeOptions
from paxosd.core.proposer import Proposer, ProposerState
from paxosd.core.quorum import Quorums
from paxosd.core.types import NOOP, Ballot

B1, B2, B3, B9 = (Ballot(r, "n1") for r in (1, 2, 3, 9))


def make(**options):
    quorums = options.pop("quorums", None) or Quorums(["n1", "n2", "n3"])
    return Proposer(NodeOptions(node="n1", quorums=quorums, **options))


def promise(ballot, *accepted, commit=0, until=0, from_slot=1):
    reports = tuple(AcceptedValue(*a) for a in accepted)
    return Promise(ballot, from_slot, until, commit, reports)


def no_change(value):
    """No value changes the membership."""
    return False


def waiting(token, commands=1, size=10):
    return Waiting(token, Entry(1, 1, 0, [[PUT, b"k", b"v"]] * commands), b"x" * size)


def lead(proposer, *promises, ballot=B9, commit=0):
    proposer.start(ballot, commit + 1, 0.0)
    for sender, message in promises or (("n1", promise(ballot)), ("n2", promise(ballot))):
        proposer.receive_promise(sender, message)
    return proposer.take_lead(commit, 0.0, no_change)


def propose(proposer, tokens=()):
    entries = proposer.next_entries()
    batch = Batch(0, [w.entry for w in entries])
    return proposer.propose(b"".join(w.blob for w in entries), batch, list(tokens), 0.0)


class TestPhase1:
    def test_it_takes_a_quorum_of_different_acceptors(self):
        proposer = make()
        proposer.start(B9, 1, 0.0)
        proposer.receive_promise("n1", promise(B9))
        proposer.receive_promise("n1", promise(B9))
        assert not proposer.prepared
        proposer.receive_promise("stranger", promise(B9))
        assert not proposer.prepared
        proposer.receive_promise("n3", promise(B9))
        assert proposer.prepared

    def test_a_promise_of_another_ballot_counts_not(self):
        proposer = make()
        proposer.start(B9, 1, 0.0)
        for sender in ("n1", "n2", "n3"):
            proposer.receive_promise(sender, promise(B3, (1, B2, b"v")))
        assert not proposer.prepared

    def test_a_ballot_is_used_once(self):
        proposer = make()
        proposer.start(B3, 1, 0.0)
        proposer.stop()
        for ballot in (B3, B2):
            with pytest.raises(AssertionError, match="used once"):
                proposer.start(ballot, 1, 0.0)

    def test_an_incomplete_report_counts_not_and_the_next_page_is_asked_for(self):
        proposer = make()
        proposer.start(B9, 1, 0.0)
        proposer.receive_promise("n1", promise(B9))
        assert proposer.receive_promise("n2", promise(B9, (1, B1, b"v"), until=1)) == 2
        assert not proposer.prepared
        assert not proposer.promised_by("n2")
        page = promise(B9, (2, B1, b"w"), from_slot=2)
        assert proposer.receive_promise("n2", page) == 0
        assert proposer.prepared
        assert [p.value for p in proposer.take_lead(0, 0.0, no_change)] == [b"v", b"w"]

    def test_the_highest_ballots_value_is_adopted_whatever_the_order(self):
        reports = [("n1", promise(B9, (1, B1, b"old"))), ("n2", promise(B9, (1, B2, b"new")))]
        for order in (reports, reports[::-1]):
            assert [p.value for p in lead(make(), *order)] == [b"new"]

    def test_holes_become_noops_and_nothing_above_the_highest_is_proposed(self):
        proposer = make()
        proposals = lead(
            proposer,
            ("n1", promise(B9, (2, B1, b"b"))),
            ("n3", promise(B9, (5, B1, b"e"))),
        )
        assert [(p.slot, p.value) for p in proposals] == [
            (1, NOOP), (2, b"b"), (3, NOOP), (4, NOOP), (5, b"e"),
        ]  # fmt: skip
        assert proposer.next_slot == 6
        assert proposer.reign_start == 5

    def test_what_a_promiser_calls_chosen_is_never_proposed(self):
        proposer = make()
        proposals = lead(
            proposer,
            ("n1", promise(B9, (2, B1, b"stale"), (4, B1, b"d"))),
            ("n2", promise(B9, commit=3)),
        )
        assert [(p.slot, p.value) for p in proposals] == [(4, b"d")]
        assert proposer.floor == 3

    def test_what_was_applied_during_the_campaign_is_not_proposed(self):
        proposer = make()
        proposer.start(B9, 1, 0.0)
        proposer.receive_promise("n1", promise(B9, (1, B1, b"a"), (2, B1, b"b")))
        proposer.receive_promise("n2", promise(B9))
        assert [p.slot for p in proposer.take_lead(1, 0.0, no_change)] == [2]

    def test_an_empty_log_starts_at_slot_1(self):
        proposer = make()
        assert lead(proposer) == []
        assert proposer.next_slot == 1
        assert proposer.reign_start == 0

    def test_flexible_quorums_need_their_phase_1_size(self):
        proposer = make(quorums=Quorums(["n1", "n2", "n3"], phase1=3, phase2=1))
        proposer.start(B9, 1, 0.0)
        proposer.receive_promise("n1", promise(B9))
        proposer.receive_promise("n2", promise(B9))
        assert not proposer.prepared


class TestPhase2:
    def test_slots_are_used_once_in_order(self):
        proposer = make(eager_slots_max=9)
        lead(proposer)
        slots = []
        for token in range(3):
            assert proposer.enqueue(waiting(token))
            slots.append(propose(proposer).slot)
        proposer.close(2)
        proposer.enqueue(waiting(9))
        slots.append(propose(proposer).slot)
        assert slots == [1, 2, 3, 4]

    def test_the_window_is_bounded_in_slots(self):
        proposer = make(window_slots_max=3, eager_slots_max=9)
        lead(proposer)
        for token in range(5):
            proposer.enqueue(waiting(token))
            if proposer.may_propose():
                propose(proposer)
        assert len(proposer.open) == 3
        proposer.close(1)
        assert proposer.may_propose()

    def test_the_window_is_bounded_in_bytes(self):
        proposer = make(window_bytes_max=100, eager_slots_max=9)
        lead(proposer)
        proposer.enqueue(waiting(1, size=100))
        propose(proposer)
        proposer.enqueue(waiting(2))
        assert not proposer.may_propose()
        proposer.close(1)
        assert proposer.open_bytes == 0
        assert proposer.may_propose()

    def test_adopted_values_count_toward_the_window(self):
        proposer = make(window_slots_max=2)
        lead(
            proposer,
            ("n1", promise(B9, (1, B1, b"a"), (2, B1, b"b"))),
            ("n2", promise(B9)),
        )
        proposer.enqueue(waiting(1))
        assert not proposer.may_propose()

    def test_with_slots_in_flight_a_small_batch_waits_and_a_full_one_goes(self):
        proposer = make(eager_slots_max=1, eager_batch_bytes=50)
        lead(proposer)
        proposer.enqueue(waiting(1))
        propose(proposer)
        proposer.enqueue(waiting(2, size=49))
        assert not proposer.may_propose()
        proposer.enqueue(waiting(3, size=1))
        assert proposer.may_propose()

    def test_nothing_is_proposed_without_the_lead(self):
        proposer = make()
        proposer.enqueue(waiting(1))
        assert not proposer.may_propose()
        proposer.start(B9, 1, 0.0)
        assert not proposer.may_propose()


class TestQueue:
    def test_a_batch_keeps_order_and_its_bounds(self):
        proposer = make(batch_commands_max=5, batch_bytes_max=100)
        for token, commands, size in [(1, 2, 10), (2, 3, 10), (3, 1, 95), (4, 1, 10)]:
            assert proposer.enqueue(waiting(token, commands, size))
        batches = []
        while proposer.queue:
            batches.append([w.token for w in proposer.next_entries()])
        assert batches == [[1, 2], [3], [4]]
        assert (proposer.queue.bytes, proposer.queue.commands) == (0, 0)

    def test_an_entry_over_the_batch_bound_still_travels_alone(self):
        proposer = make(batch_bytes_max=10)
        proposer.enqueue(waiting(1, size=50))
        assert [w.token for w in proposer.next_entries()] == [1]

    def test_the_queue_is_bounded_in_commands_and_bytes(self):
        proposer = make(queue_commands_max=10, queue_bytes_max=100)
        assert proposer.enqueue(waiting(1, commands=10))
        assert not proposer.enqueue(waiting(2, commands=1))
        proposer.next_entries()
        assert proposer.enqueue(waiting(3, size=100))
        assert not proposer.enqueue(waiting(4, size=1))
        assert len(proposer.queue) == 1

    def test_the_end_of_a_reign_tells_queued_from_in_flight(self):
        proposer = make()
        lead(proposer)
        proposer.enqueue(waiting("flying"))
        propose(proposer, ["flying"])
        proposer.enqueue(waiting("queued"))
        queued, in_flight = proposer.stop()
        assert [w.token for w in queued] == ["queued"]
        assert in_flight == ["flying"]
        assert proposer.state is ProposerState.IDLE
        assert (proposer.open, proposer.open_bytes, proposer.queue.commands) == ({}, 0, 0)

    def test_a_closed_slot_of_an_old_reign_is_nobodys(self):
        proposer = make()
        lead(proposer)
        proposer.enqueue(waiting("old"))
        propose(proposer, ["old"])
        proposer.stop()
        assert proposer.close(1) is None
