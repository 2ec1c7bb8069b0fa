"""The outbox alone: nothing about the acceptor's memory leaves before it is durable."""

import pytest

from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.messages import Accepted, Nack, Promise
from paxosd.core.outbox import Outbox
from paxosd.core.types import Ballot

B1, B2 = Ballot(1, "n1"), Ballot(2, "n2")
PROMISE = Promise(B1, 1, 0, 0, ())


def take(outbox):
    outbox.settle()
    return outbox.take()


def self_messages(outbox):
    found = []
    while (message := outbox.self_message()) is not None:
        found.append(message)
    return found


class TestGate:
    def test_a_promise_waits_for_its_record(self):
        outbox = Outbox("n1")
        outbox.persist(PromiseRecord(B1))
        outbox.send_synced("n2", PROMISE)
        ready = take(outbox)
        assert ready.persist == [PromiseRecord(B1)]
        assert ready.sends == []
        outbox.synced(ready.ticket)
        assert take(outbox).sends == [("n2", PROMISE)]

    def test_a_vote_waits_for_its_record_and_is_told_to_oneself_too(self):
        outbox = Outbox("n1")
        outbox.persist(AcceptRecord(1, B1, b"v"))
        outbox.vote(1, B1)
        ready = take(outbox)
        assert ready.publishes == []
        assert self_messages(outbox) == []
        outbox.synced(ready.ticket)
        accepted = Accepted(B1, ((1, 1),), 1)
        assert self_messages(outbox) == [accepted]
        assert take(outbox).publishes == [accepted]

    def test_a_message_with_no_record_of_its_own_waits_for_those_before_it(self):
        outbox = Outbox("n1")
        outbox.persist(PromiseRecord(B1))
        first = take(outbox)
        outbox.send_synced("n2", Nack(B1, B2))
        assert take(outbox).sends == []
        outbox.synced(first.ticket)
        assert take(outbox).sends == [("n2", Nack(B1, B2))]

    def test_with_nothing_to_persist_it_leaves_at_once(self):
        outbox = Outbox("n1")
        outbox.send_synced("n2", PROMISE)
        ready = take(outbox)
        assert ready.sends == [("n2", PROMISE)]
        assert ready.ticket == 0

    def test_what_says_nothing_about_the_acceptor_never_waits(self):
        outbox = Outbox("n1")
        outbox.persist(PromiseRecord(B1))
        outbox.send("n2", PROMISE)
        assert take(outbox).sends == [("n2", PROMISE)]

    def test_a_record_that_comes_after_settling_still_goes_before_its_message(self):
        outbox = Outbox("n1")
        outbox.persist(PromiseRecord(B1))
        outbox.settle()
        outbox.persist(AcceptRecord(1, B1, b"v"))
        outbox.vote(1, B1)
        ready = take(outbox)
        assert len(ready.persist) == 2
        assert ready.publishes == []
        outbox.synced(ready.ticket)
        assert len(take(outbox).publishes) == 1

    def test_tickets_open_in_order(self):
        outbox = Outbox("n1")
        tickets = []
        for slot in (1, 2, 3):
            outbox.persist(AcceptRecord(slot, B1, b"v"))
            outbox.vote(slot, B1)
            tickets.append(take(outbox).ticket)
        assert tickets == sorted(set(tickets))
        outbox.synced(tickets[1])
        assert take(outbox).publishes == [Accepted(B1, ((1, 2),), 1)]
        outbox.synced(tickets[0])
        assert take(outbox).publishes == [], "an old ticket opens nothing"
        outbox.synced(tickets[2])
        assert take(outbox).publishes == [Accepted(B1, ((3, 3),), 2)]

    def test_a_ticket_never_handed_out_is_refused(self):
        with pytest.raises(AssertionError, match="never handed out"):
            Outbox("n1").synced(1)

    def test_a_message_to_oneself_passes_the_gate_too(self):
        outbox = Outbox("n1")
        outbox.persist(PromiseRecord(B1))
        outbox.send_synced("n1", PROMISE)
        ready = take(outbox)
        assert self_messages(outbox) == []
        outbox.synced(ready.ticket)
        assert self_messages(outbox) == [PROMISE]
        assert take(outbox).sends == []


class TestPublishing:
    def test_one_message_per_ballot_with_runs(self):
        outbox = Outbox("n1")
        for slot, ballot in [(1, B1), (2, B1), (5, B1), (6, B2), (7, B2)]:
            outbox.vote(slot, ballot)
        assert take(outbox).publishes == [
            Accepted(B1, ((1, 2), (5, 5)), 1),
            Accepted(B2, ((6, 7),), 2),
        ]
        assert outbox.stream_seq == 2

    def test_the_stream_counts_from_1_without_gaps(self):
        outbox = Outbox("n1")
        seqs = []
        for slot in range(1, 4):
            outbox.vote(slot, B1)
            seqs += [m.stream_seq for m in take(outbox).publishes]
        assert seqs == [1, 2, 3]

    def test_take_hands_out_once(self):
        outbox = Outbox("n1")
        outbox.reply("t", None)
        outbox.notice("x", level="warning", n=1)
        ready = take(outbox)
        assert ready.replies == [("t", None)]
        assert (ready.notices[0].event, ready.notices[0].level) == ("x", "warning")
        assert take(outbox).replies == []
