"""Each rule: a small recording that breaks exactly it, and the sound one that does not."""

import pytest

from paxosctl.audit import kinds
from paxosctl.audit.audit import audit
from paxosctl.audit.kinds import (
    ACCEPTED,
    ADOPTED,
    HEARTBEAT,
    HEARTBEAT_ACK,
    INSTALLED,
    PREPARE,
    PROMISE,
    PROMISED,
    PUBLISHED,
    READ,
    READ_INDEX,
    READ_INDEX_REPLY,
    RECEIVED,
    SENT,
    SUM,
    VOTED,
)  # fmt: skip
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.types import Ballot
from tests.ctl.audit.made import B1, B2, B3, NODES, Recording, X, Y, good, write_log


def broken(directory, *recordings):
    """The names of the rules that the audit finds broken."""
    for each in recordings:
        each.write()
    return {rule.name for rule in audit([directory]).rules if rule.broken}


def rule(directory, name):
    return next(each for each in audit([directory]).rules if each.name == name)


def test_a_sound_run_breaks_nothing(tmp_path):
    assert broken(tmp_path, *good(tmp_path)) == set()
    checked = {each.name for each in audit([tmp_path]).rules if each.checked}
    assert {"one-value", "one-value-per-ballot", "promises", "votes-above-promises", "ballots",
            "leads-by-quorum", "adopts-highest", "reports-votes", "chosen-by-quorum",
            "applied-in-order", "durable-first", "remembers", "one-memory",
            "acknowledged-chosen"} <= checked  # fmt: skip


def test_two_values_in_a_slot(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.add(kinds.DECISIONS, "n2", RECEIVED, 2, B1, 2, Y)
    assert broken(tmp_path, n1, n2, n3) == {"one-value"}
    (found,) = rule(tmp_path, "one-value").violations
    assert found.text == "slot 2 has two values that are held for chosen"
    assert [each.node for each in found.evidence] == ["n1", "n3"]
    assert all(each.event and each.file.endswith("rec-00000001.bin") for each in found.evidence)


def test_another_value_above_the_chosen_one(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n2.propose(2, B2, Y)
    assert "one-value" in broken(tmp_path, n1, n2, n3)


def test_two_values_at_a_ballot(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.add(ADOPTED, "n2", SENT, 4, B1, 0, X).add(ADOPTED, "n2", SENT, 4, B1, 0, Y)
    assert broken(tmp_path, n1, n2, n3) == {"one-value-per-ballot"}


def test_a_promise_below_another(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.promise(B3, "n1", slot=4, commit=3)
    n3.add(PREPARE, "n1", RECEIVED, 4, B1)
    assert broken(tmp_path, n1, n2, n3) == set()
    n3.add(PROMISE, "n1", SENT, 4, B1, 3)
    assert broken(tmp_path, n1, n2, n3) == {"promises"}


def test_a_promise_that_was_asked_for_before_a_higher_one_may_leave_late(tmp_path):
    n1, n2, n3 = good(tmp_path)
    b4 = Ballot(4, "n1")
    n3.add(PREPARE, "n1", RECEIVED, 4, B3).add(PREPARE, "n2", RECEIVED, 4, b4)
    n3.add(PROMISED, ballot=B3).add(PROMISED, ballot=b4).sync()
    n3.add(PROMISE, "n1", SENT, 4, B3, 3).add(PROMISE, "n2", SENT, 4, b4, 3)
    assert broken(tmp_path, n1, n2, n3) == set()


def test_a_vote_below_a_promise(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.vote(4, B1)
    assert broken(tmp_path, n1, n2, n3) == {"votes-above-promises"}


def test_an_acknowledgement_below_a_promise(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.add(HEARTBEAT, "n2", RECEIVED, 3, B2, 1).add(HEARTBEAT_ACK, "n2", SENT, 3, B2, 1)
    assert broken(tmp_path, n1, n2, n3) == set()
    n3.add(HEARTBEAT, "n1", RECEIVED, 3, B1, 1).add(HEARTBEAT_ACK, "n1", SENT, 3, B1, 1)
    assert broken(tmp_path, n1, n2, n3) == {"acks-above-promises"}


@pytest.mark.parametrize("again", [B2, B1])
def test_a_ballot_is_used_again(tmp_path, again):
    n1, n2, n3 = good(tmp_path)
    n2.start(applied=3, promised=B2)
    n2.add(PREPARE, "n3", SENT, 4, Ballot(again.round, "n2"))
    assert broken(tmp_path, n1, n2, n3) == {"ballots"}


def test_a_leader_without_a_quorum(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n1.lead(Ballot(4, "n1"), slot=3)
    assert broken(tmp_path, n1, n2, n3) == set()
    n1.add(HEARTBEAT, "n2", SENT, 2, Ballot(4, "n1"), 1)
    assert broken(tmp_path, n1, n2, n3) == {"leads-by-quorum"}


def test_part_of_a_report_is_no_promise(tmp_path):
    n1, n2, n3 = good(tmp_path)
    b4 = Ballot(4, "n1")
    n1.lead(b4, slot=3).add(PROMISE, "n2", RECEIVED, 3, b4, 2, 1 << kinds.PARTIAL_BIT)
    n1.add(HEARTBEAT, "n2", SENT, 2, b4, 1)
    assert broken(tmp_path, n1, n2, n3) == {"leads-by-quorum"}


def test_another_value_than_reported(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n1.lead(Ballot(4, "n1"), "n2", slot=3, reported=[(5, B2, X)])
    n1.propose(5, Ballot(4, "n1"), Y)
    assert broken(tmp_path, n1, n2, n3) == {"adopts-highest"}


def test_a_proposal_where_a_promise_said_chosen(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n1.lead(Ballot(4, "n1"), "n2", slot=3, commit=6)
    n1.propose(6, Ballot(4, "n1"), Y)
    assert broken(tmp_path, n1, n2, n3) == {"adopts-highest"}


def test_a_promise_that_hides_a_vote(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.vote(4, B2, X, "n2").promise(B3, "n1", slot=4, commit=3, reported=[(4, B2, X)])
    assert broken(tmp_path, n1, n2, n3) == set()
    n3.start(applied=3, promised=B3).promise(Ballot(5, "n1"), "n1", slot=4, commit=3)
    assert broken(tmp_path, n1, n2, n3) == {"reports-votes"}


def test_a_slot_that_is_applied_for_no_reason(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.vote(4, B2, Y, "n2").apply(4, B2, Y)
    assert broken(tmp_path, n1, n2, n3) == {"chosen-by-quorum"}


def test_votes_at_two_ballots_make_no_quorum(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.hear("n1", 4, B1).hear("n2", 4, B2).apply(4, B2, Y)
    assert broken(tmp_path, n1, n2, n3) == {"chosen-by-quorum"}


def test_a_slot_that_another_node_had_applied(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.add(HEARTBEAT, "n2", RECEIVED, 4, B2, 1).apply(4, B2, Y)
    assert broken(tmp_path, n1, n2, n3) == set()


def test_a_hole(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n1.add(INSTALLED, slot=9).add(HEARTBEAT, "n2", RECEIVED, 99, B2, 1).apply(10, B2)
    assert broken(tmp_path, n1, n2, n3) == set()
    n1.apply(12, B2)
    assert broken(tmp_path, n1, n2, n3) == {"applied-in-order"}


def test_histories_that_differ(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n1.add(HEARTBEAT, "n2", RECEIVED, 9, B2, 1).apply(3, B2, Y, chain=5).apply(4, B2, X, chain=6)
    n3.add(HEARTBEAT, "n2", RECEIVED, 9, B2, 1).apply(4, B2, X, chain=7)
    assert broken(tmp_path, n1, n2, n3) == {"equal-states"}


def test_states_that_differ(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n1.add(SUM, "n2", SENT, 3, x=5, y=513).add(SUM, "n3", RECEIVED, 3, x=5, y=513)
    assert broken(tmp_path, n1, n2, n3) == set()
    n2.add(SUM, "n1", SENT, 3, x=6, y=513)
    assert broken(tmp_path, n1, n2, n3) == {"equal-states"}


@pytest.mark.parametrize("how", ["vote", "promise", "ballot"])
def test_said_before_it_is_durable(tmp_path, how):
    n1, n2, n3 = good(tmp_path)
    if how == "vote":
        n3.add(VOTED, slot=4, ballot=B2, y=X).say(4, B2)
    elif how == "promise":
        n3.add(PREPARE, "n1", RECEIVED, 4, B3).add(PROMISED, ballot=B3)
        n3.add(PROMISE, "n1", SENT, 4, B3, 3)
    else:
        n3.add(PROMISED, ballot=B3).add(PREPARE, "n1", SENT, 4, B3)
    assert broken(tmp_path, n1, n2, n3) == {"durable-first"}


def test_a_group_commit_that_began_before_does_not_count(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.add(VOTED, slot=4, ballot=B2, y=X)
    n3.add(kinds.SYNCED, slot=9, ballot=Ballot(100, ""), x=5000, y=2).say(4, B2)
    assert broken(tmp_path, n1, n2, n3) == {"durable-first"}


def test_a_vote_that_was_never_written(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.sync().say(4, B2)
    assert broken(tmp_path, n1, n2, n3) == {"durable-first"}


def test_a_log_that_lacks_what_was_said(tmp_path):
    n1, n2, n3 = good(tmp_path)
    votes = [AcceptRecord(slot, B1, b"x") for slot in (1, 2)]
    write_log(tmp_path, "n1", [[PromiseRecord(B1)], votes])
    assert broken(tmp_path, n1, n2, n3) == set()
    write_log(tmp_path, "n1", [[PromiseRecord(B1)], votes[:1]])
    assert broken(tmp_path, n1, n2, n3) == {"log-keeps"}


def test_a_start_that_forgot_its_promise(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.start(applied=3, promised=B2)
    assert broken(tmp_path, n1, n2, n3) == set()
    n3.start(applied=3, promised=B1)
    assert broken(tmp_path, n1, n2, n3) == set()
    assert rule(tmp_path, "remembers").verdict == "partly checked"
    n3.add(PROMISED, ballot=B1).sync().add(PROMISE, "n1", SENT, 4, B1, 3)
    assert "remembers" in broken(tmp_path, n1, n2, n3)


def test_a_start_that_knows_its_memory_is_lost(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.start(applied=0, lost=1, directory_id=8)
    assert broken(tmp_path, n1, n2, n3) == set()


def test_two_memories_speak_for_one_voter(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n3.start(applied=0, directory_id=8).promise(B3, "n1", commit=0)
    assert broken(tmp_path, n1, n2, n3) == {"one-memory"}


def test_acknowledged_before_it_is_applied(tmp_path):
    n1, n2, n3 = good(tmp_path)
    n2.acknowledge(4)
    assert "acknowledged-chosen" in broken(tmp_path, n1, n2, n3)


def test_acknowledged_and_the_logs_show_no_quorum(tmp_path):
    recording = Recording(tmp_path, "n1").start()
    recording.add(HEARTBEAT, "n2", RECEIVED, 1, B1, 1).apply(1, B1, 1 << 32).acknowledge(1)
    for name in NODES:
        write_log(tmp_path, name, [[PromiseRecord(B1)]])
    assert broken(tmp_path, recording) == {"acknowledged-chosen"}


class TestReads:
    def leader(self, tmp_path):
        return good(tmp_path)[0].add(HEARTBEAT, "n2", SENT, 2, B1, 5)

    def test_of_the_leader(self, tmp_path):
        n1 = self.leader(tmp_path).add(HEARTBEAT_ACK, "n2", RECEIVED, 2, B1, 5)
        n1.add(READ, slot=2, ballot=Ballot(3000, ""))
        assert broken(tmp_path, n1) == set()

    def test_of_an_older_round(self, tmp_path):
        n1 = self.leader(tmp_path).add(HEARTBEAT_ACK, "n2", RECEIVED, 2, B1, 5)
        n1.add(READ, slot=2, ballot=Ballot(1500, ""))
        assert broken(tmp_path, n1) == {"reads"}

    def test_of_a_round_that_nobody_confirmed(self, tmp_path):
        n1 = self.leader(tmp_path).add(READ, slot=2, ballot=Ballot(3000, ""))
        assert broken(tmp_path, n1) == {"reads"}

    def test_below_a_write_that_was_acknowledged_before(self, tmp_path):
        n1 = self.leader(tmp_path).add(HEARTBEAT_ACK, "n2", RECEIVED, 2, B1, 5)
        n1.add(READ, slot=1, ballot=Ballot(3000, ""))
        assert broken(tmp_path, n1) == {"reads"}

    @pytest.mark.parametrize(("named", "rules"), [(2, set()), (3, {"reads"})])
    def test_of_a_follower(self, tmp_path, named, rules):
        n3 = good(tmp_path)[2].add(READ_INDEX, "n2", SENT, x=9)
        n3.add(READ_INDEX_REPLY, "n2", RECEIVED, named, x=9).add(
            READ, slot=2, ballot=Ballot(3000, "")
        )
        assert broken(tmp_path, n3) == rules

    def test_a_question_that_is_answered_unconfirmed(self, tmp_path):
        n1 = good(tmp_path)[0].add(READ_INDEX, "n3", RECEIVED, x=9)
        n1.add(READ_INDEX_REPLY, "n3", SENT, 2, x=9)
        assert broken(tmp_path, n1) == {"reads"}

    def test_a_question_that_is_answered_too_low(self, tmp_path):
        n1 = good(tmp_path)[0].add(READ_INDEX, "n3", RECEIVED, x=9)
        n1.add(HEARTBEAT, "n2", SENT, 2, B1, 5).add(HEARTBEAT_ACK, "n2", RECEIVED, 2, B1, 5)
        n1.add(READ_INDEX_REPLY, "n3", SENT, 1, x=9)
        assert broken(tmp_path, n1) == {"reads"}


def test_published_runs_of_slots_count_each(tmp_path):
    n1, n2, n3 = good(tmp_path)
    for slot in (4, 5):
        n3.add(VOTED, slot=slot, ballot=B2, y=X)
    n3.sync().add(ACCEPTED, "", PUBLISHED, 4, B2, 5)
    assert broken(tmp_path, n1, n2, n3) == set()
