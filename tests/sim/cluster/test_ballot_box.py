"""What is promised and chosen in truth, and the rules that follow from it."""

import pytest

from paxosd.core.election import Election
from paxosd.core.quorum import Quorums
from paxosd.core.replication import Replication
from paxosd.core.types import Ballot
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.ballot_box import BallotBox
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.violation import Violation

B1, B2, B3 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3")
STORM = RunOptions(duration_ms=12_000, operations=200, clients=6, keys=3)


@pytest.fixture
def box():
    return BallotBox(["n1", "n2", "n3"])


class TestBox:
    def test_a_majority_for_one_ballot_chooses(self, box):
        assert box.propose(1, B1, b"a") == ""
        assert box.vote("n1", B1, 1) == box.vote("n1", B1, 1) == ""
        assert not box.has_chosen(1, b"a")
        assert box.vote("n2", B1, 1) == ""
        assert box.has_chosen(1, b"a")
        assert not box.has_chosen(1, b"b")

    def test_votes_of_two_ballots_do_not_add_up(self, box):
        for ballot in (B1, B2):
            box.propose(1, ballot, b"a")
        box.vote("n1", B1, 1)
        box.vote("n2", B2, 1)
        assert not box.has_chosen(1, b"a")

    def test_two_values_under_one_ballot(self, box):
        box.propose(1, B1, b"a")
        assert "two values for slot 1 under" in box.propose(1, B1, b"b")

    def test_another_value_above_what_was_chosen(self, box):
        box.propose(1, B2, b"a")
        box.vote("n1", B2, 1)
        box.vote("n2", B2, 1)
        assert box.propose(1, B3, b"a") == ""
        assert box.propose(1, B1, b"z") == "", "below it is harmless: it can never win"
        assert "another value is proposed" in box.propose(1, Ballot(4, "n1"), b"b")

    def test_two_choices(self, box):
        for ballot, value in ((B1, b"a"), (B2, b"b")):
            box.propose(1, ballot, value)
            box.vote("n1", ballot, 1)
        assert box.vote("n2", B2, 1) == ""
        assert "chosen with two values" in box.vote("n3", B1, 1)

    def test_a_vote_for_nothing(self, box):
        box.vote("n1", B1, 1)
        assert "which nobody proposed" in box.vote("n2", B1, 1)

    def test_who_may_lead(self, box):
        box.promise("n1", B1)
        box.promise("n1", B1)
        box.promise("n2", B2)
        assert not box.is_won(B1)
        box.promise("n3", B1)
        assert box.is_won(B1)

    def test_without_names_nothing_is_counted(self):
        box = BallotBox([])
        assert box.is_won(B1)
        assert box.has_chosen(1, b"x")


class TestInvariants:
    def test_a_leader_without_promises(self):
        invariants = Invariants(["n1", "n2", "n3"])
        with pytest.raises(Violation, match="quorum: n1 leads"):
            invariants.on_leader("n1", B1)
        Invariants(["n1"]).on_leader("n1", B1)

    def test_a_value_that_no_majority_voted_for(self):
        with pytest.raises(Violation, match="quorum: n1 applies"):
            Invariants(["n1", "n2", "n3"]).on_chosen("n1", 1, b"")


class TestBrokenProduct:
    """Each must be seen within a few runs."""

    def caught(self, kinds, first=21):
        for seed in range(first, 60):
            report = run_seed(seed, STORM)
            if not report.ok:
                assert report.violation.split(":")[0] in kinds, report.violation
                return
        raise AssertionError("never seen")

    def test_phase_1_with_one_promise(self, monkeypatch):
        monkeypatch.setattr(Quorums, "phase1_met", lambda self, mask: mask != 0)
        self.caught({"quorum"})

    def test_phase_2_with_one_vote(self, monkeypatch):
        monkeypatch.setattr(Quorums, "phase2_met", lambda self, mask: mask != 0)
        self.caught({"quorum"})

    def test_an_acceptor_that_takes_lower_ballots(self, monkeypatch):
        original = Replication.receive_accept

        def take_any(self, sender, message):
            acceptor = self._context.acceptor
            promised = acceptor.promised
            acceptor.promised = min(promised, message.ballot)
            try:
                return original(self, sender, message)
            finally:
                acceptor.promised = max(promised, acceptor.promised)

        monkeypatch.setattr(Replication, "receive_accept", take_any)
        self.caught({"promise", "one-value", "one-proposal", "equal-states"}, first=22)

    def test_a_leader_that_adopts_nothing(self, monkeypatch):
        original = Election.receive_promise

        def forget(self, sender, message):
            return original(self, sender, message._replace(accepted=()))

        monkeypatch.setattr(Election, "receive_promise", forget)
        self.caught({"one-value", "one-proposal", "equal-states"}, first=28)
