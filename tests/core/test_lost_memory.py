"""A node that has lost its memory does not vote, says so, and votes again by a membership."""

from typing import ClassVar

import pytest

from paxosd.core.admission import REPORT_AFTER_MS
from paxosd.core.membership import Member, Membership
from paxosd.core.messages import (
    Heartbeat,
    Hello,
    Prepare,
    Promise,
    Rejoin,
    Welcome,
)
from paxosd.core.roster import use_membership
from paxosd.core.run_id import make_run_id
from paxosd.core.state.machine import Machine
from paxosd.core.types import Ballot
from tests.core.newcomer import ANSWERS, DIRECTORIES, RUN_ID, B, Newcomer, kinds, record, restarted


class TestASetAsideLog:
    """The node itself found its log damaged: it is another directory, and asks to vote again."""

    DAMAGED: ClassVar = {"directory_id": 5, "lost": True, "repaired": True, "record": record()}

    def test_it_asks_whoever_leads(self):
        new = Newcomer(**self.DAMAGED)
        assert Rejoin not in kinds(new.run(1000))
        new.hear("n2", Heartbeat(B, "n2", 0, 0, 1, 0))
        assert {to for to, m in new.run(200) if type(m) is Rejoin} == {"n2"}
        assert "node.waiting" not in new.logged()

    @pytest.mark.parametrize("size", [1, 3])
    def test_it_tells_now_and_then_that_nobody_can_let_it(self, size):
        """As it is when a majority has lost its memory; a lone voter is one."""
        new = Newcomer(size, **self.DAMAGED)
        new.welcomed(*("n2", "n3")[: size - 1])
        sent = new.run(30 * REPORT_AFTER_MS)
        assert not kinds(sent) & ANSWERS
        assert not new.node.leading
        waiting = [n for n in new.notices if n.event == "node.waiting"]
        assert len(waiting) == 3
        assert {n.level for n in waiting} == {"error"}
        assert all("a majority" in n.fields["advice"] for n in waiting)


class TestNobodyCanLetItIn:
    """Wiped or put back, and only its peers know it: it must not wait in silence either."""

    def lost(self, **more):
        new = Newcomer(**more)
        new.hear("n3", Welcome(make_run_id(9, 0)))
        assert new.node.forgetful
        return new

    def waiting(self, new):
        logged = [n.fields["advice"] for n in new.notices if n.event == "node.waiting"]
        return [advice for advice in logged if "let it vote again" in advice]

    def test_it_says_so_and_what_is_left_to_do(self):
        new = self.lost()
        new.run(REPORT_AFTER_MS - 500)
        assert not self.waiting(new), "an election may be under way"
        new.run(20 * REPORT_AFTER_MS)
        assert 1 <= len(self.waiting(new)) <= 3
        assert all("snapshot restore" in advice for advice in self.waiting(new))

    def test_one_that_finds_out_late_waits_for_an_election_too(self):
        new = restarted().welcomed()
        new.run(4 * REPORT_AFTER_MS)
        new.hear("n3", Welcome(make_run_id(9, 1), 7))
        new.run(REPORT_AFTER_MS - 500)
        assert new.node.forgetful
        assert not self.waiting(new)
        new.run(REPORT_AFTER_MS)
        assert self.waiting(new)

    def test_not_while_somebody_leads(self):
        new = self.lost()
        for round_ in range(1, 200):
            new.hear("n2", Heartbeat(B, "n2", 0, 0, round_, 0))
            assert Rejoin not in kinds(new.run(100)), "a person has to decide that"
        assert not self.waiting(new)


class TestLostMemory:
    @pytest.mark.parametrize("known", [make_run_id(1, 78), make_run_id(1, 76), make_run_id(9, 0)])
    def test_one_peer_that_knows_another_life_is_enough(self, known):
        new = Newcomer()
        new.hear("n2", Welcome(RUN_ID))
        new.hear("n3", Welcome(known))
        new.hear("n3", Welcome(RUN_ID))
        new.run()
        assert new.node.forgot == ["n3"]
        assert new.logged().count("node.memory_lost") == 1
        assert new.node.role == "memory-lost"

    def test_a_late_answer_to_an_earlier_start_means_nothing(self):
        new = Newcomer(promised=B, run_id=make_run_id(2, 1))
        new.hear("n3", Welcome(make_run_id(1, 9)))
        assert new.node.forgot == []

    def test_an_old_copy_of_a_memory_stops_voting_as_soon_as_it_knows(self):
        new = Newcomer(promised=B, run_id=make_run_id(2, 1)).welcomed()
        new.hear("n2", Prepare(Ballot(4, "n2"), 1))
        assert Promise in kinds(new.run())
        new.hear("n3", Welcome(make_run_id(2, 2)))
        new.hear("n2", Prepare(Ballot(5, "n2"), 1))
        assert Promise not in kinds(new.run())

    def test_a_membership_that_names_the_directory_that_forgot_makes_nothing_good(self):
        """It was named before it forgot."""
        node = TestAPinnedDirectory().newcomer()
        node.hear("n3", Welcome(make_run_id(9, 1), 7))
        node.node._admission.review()
        assert node.node.forgetful

    def test_its_new_identity_is_told_to_those_who_had_compared_the_old_one(self):
        """The leader names the directory that it knows, if it lets this node vote again."""
        node = restarted().welcomed()
        node.run(1000)
        node.node.use_directory(99)
        sent = node.run(100)  # before their silence makes it say hello again
        greeted = {to for to, m in sent if isinstance(m, Hello) and m.directory_id == 99}
        assert greeted == {"n2", "n3"}
        node.welcomed()
        assert Hello not in kinds(node.run(1000))

    def test_named_after_the_loss_it_votes_again_however_many_told_of_it(self):
        """The first word of it gives the directory another identity; the second changes nothing."""
        new = Newcomer(directory_id=7)
        new.run(REPORT_AFTER_MS)  # n2 and n3 are no newcomers, or they would have said so
        new.hear("n2", Welcome(make_run_id(9, 1), 6))
        new.node.use_directory(8)
        new.hear("n3", Welcome(make_run_id(9, 1), 6))
        assert new.node.forgot == ["n2", "n3"]
        members = {name: Member("", "", "") for name in DIRECTORIES}
        members["n1"] = members["n1"]._replace(directory_id=8)
        use_membership(new.node._context, Membership(members, epoch=1, slot=1))
        new.node._admission.review()
        assert not new.node.forgetful


class TestAPinnedDirectory:
    """The membership says that this one votes in the node's name."""

    def newcomer(self, directory_id=7):
        names = ("n1", "n2", "n3")
        members = {name: Member("", "", "") for name in names}
        members["n1"] = members["n1"]._replace(directory_id=7)
        machine = Machine()
        machine.membership = Membership(members, epoch=1, slot=1)
        return Newcomer(machine=machine, directory_id=directory_id)

    def test_needs_no_founding_but_to_be_compared(self):
        newcomer = self.newcomer()
        newcomer.run()
        assert newcomer.node.role == "returning"
        newcomer.welcomed()
        assert newcomer.node.role == "candidate"

    @pytest.mark.parametrize("known", [0, 6])
    def test_a_peer_that_does_not_know_it_yet_tells_of_no_loss(self, known):
        """That peer knows the directory before: it has yet to apply the change."""
        newcomer = self.newcomer()
        newcomer.run()
        newcomer.hear("n2", Welcome(make_run_id(9, 1), known))
        assert not newcomer.node.forgetful
        assert ("n2", Hello(7)) in newcomer.run(100), "it asks on"
        newcomer.hear("n2", Welcome(RUN_ID, 7))
        assert ("n2", Hello(7)) not in newcomer.run(90)

    def test_but_an_old_copy_of_it_is_one(self):
        newcomer = self.newcomer()
        newcomer.run()
        newcomer.hear("n2", Welcome(make_run_id(9, 1), 7))
        assert newcomer.node.forgetful
        assert newcomer.node.role == "memory-lost"

    def test_and_so_is_another_directory(self):
        newcomer = self.newcomer(directory_id=8)
        newcomer.run()
        assert newcomer.node.forgetful
