"""The plan of a change: what it makes of a membership, and what it says about that."""

import pytest

from paxosctl.member import plan as member_plan
from paxosctl.member.plan import Contact, Findings, Move, PlanError, differences, figures, plan
from paxosd.core.membership import Member, Membership


def member(number, **more):
    host = f"tcp://10.0.0.{number}"
    return Member(f"{host}:7411", f"{host}:7410", f"{host}:7412", **more)


def contact(number):
    return Contact(*member(number)[:3])


def cluster(voters=3, learners=0, **sizes):
    members = {f"n{i}": member(i, voter=i <= voters) for i in range(1, voters + learners + 1)}
    return Membership(members, epoch=4, slot=90, **sizes)


THREE = cluster()
WITH_LEARNER = cluster(3, 1)
ALL = frozenset({"n1", "n2", "n3", "n4", "n5"})


class TestChanges:
    def test_add(self):
        after = member_plan.add(THREE, "n4", contact(4))
        assert after.epoch == 5
        assert after.learners == ("n4",)
        assert after.voters == THREE.voters
        assert differences(THREE, after) == ["n4 joins as a learner"]

    def test_promote_pins_the_directory(self):
        after = member_plan.promote(WITH_LEARNER, "n4", 77)
        assert after.voters == ("n1", "n2", "n3", "n4")
        assert after.members["n4"].directory_id == 77
        assert differences(WITH_LEARNER, after) == ["n4 gets a vote"]

    def test_demote_forgets_it(self):
        after = member_plan.demote(member_plan.promote(WITH_LEARNER, "n4", 77), "n4")
        assert after.members["n4"] == member(4, voter=False)
        assert differences(WITH_LEARNER, after) == []

    def test_remove(self):
        after = member_plan.remove(THREE, "n2")
        assert after.voters == ("n1", "n3")
        assert list(after.departed) == ["n2"]
        assert differences(THREE, after) == ["n2 leaves"]

    def test_replace_is_one_change(self):
        after = member_plan.replace(WITH_LEARNER, "n2", "n4", 9)
        assert after.epoch == WITH_LEARNER.epoch + 1
        assert after.voters == ("n1", "n3", "n4")
        assert after.members["n4"].directory_id == 9
        assert differences(WITH_LEARNER, after) == ["n2 leaves", "n4 gets a vote"]

    def test_rejoin(self):
        after = member_plan.rejoin(THREE, "n2", 5)
        assert after.members["n2"] == member(2, directory_id=5)
        assert differences(THREE, after) == ["n2 votes with another data directory"]

    def test_quorum(self):
        four = cluster(4)
        after = member_plan.set_quorum(four, 3, 2)
        assert (after.quorums.phase1, after.quorums.phase2) == (3, 2)
        words = "the quorums become 3 of 4 to take over, 2 of 4 to write"
        assert differences(four, after) == [words]
        back = member_plan.set_quorum(after, 0, 0)
        assert (back.phase1, back.phase2) == (0, 0)

    def test_sizes_that_are_majorities_are_majorities(self):
        assert member_plan.set_quorum(THREE, 2, 2).phase1 == 0

    def test_other_endpoints_are_a_difference(self):
        moved = THREE.replaced(THREE.members | {"n2": member(9)})
        assert differences(THREE, moved) == [
            "n2 is reached at peer tcp://10.0.0.9:7411",
            "n2 is reached at client tcp://10.0.0.9:7410",
            "n2 is reached at events tcp://10.0.0.9:7412",
        ]

    def test_update_changes_what_is_given(self):
        after = member_plan.update(THREE, "n2", Move(peer="tcp://10.0.0.9:1"))
        assert after.epoch == THREE.epoch + 1
        assert after.members["n2"] == member(2)._replace(peer="tcp://10.0.0.9:1")
        assert differences(THREE, after) == ["n2 is reached at peer tcp://10.0.0.9:1"]
        swapped = member_plan.update(THREE, "n2", Move(member(2).client, member(2).peer))
        assert swapped.members["n2"].client == member(2).peer

    def test_a_voter_that_is_moved_out_of_reach_counts_no_more(self):
        after = member_plan.update(THREE, "n2", Move(peer="tcp://10.0.0.9:1"))
        assert plan(THREE, after, ALL, lost_up=["n2"]).figures_after.up == ("n1", "n3")
        found = plan(THREE, after, {"n1", "n2"}, lost_up=["n2"])
        assert "nothing could be written" in found.stops[0]


class TestCannotBe:
    """PITFALLS 15: the misspelt member, above all."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda m: member_plan.promote(m, "nn2", 1),
            lambda m: member_plan.demote(m, "nn2"),
            lambda m: member_plan.remove(m, "nn2"),
            lambda m: member_plan.replace(m, "nn2", "n4", 1),
            lambda m: member_plan.rejoin(m, "nn2", 1),
            lambda m: member_plan.update(m, "nn2", Move("tcp://10.0.0.9:1")),
        ],
        ids=["promote", "demote", "remove", "replace", "rejoin", "update"],
    )
    def test_a_misspelt_name(self, change):
        with pytest.raises(PlanError, match=r'there is no member "nn2"; did you mean "n2"\?'):
            change(WITH_LEARNER)

    @pytest.mark.parametrize(
        ("name", "words"),
        [("n2", "n2 is a voter already"), ("n4", "n4 is a learner already; .*promote n4")],
    )
    def test_a_member_twice(self, name, words):
        with pytest.raises(PlanError, match=words):
            member_plan.add(WITH_LEARNER, name, contact(8))

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"client": "tcp://10.0.0.2:7411"}, "is the peer endpoint of n2 already"),
            ({"events": "tcp://10.0.0.9:7411"}, "is --peer already"),
            ({"peer": "10.0.0.9:7411"}, "--peer: .*reads tcp://HOST:PORT"),
            ({"peer": "tcp://0.0.0.0:7411"}, "nobody can connect"),
        ],
    )
    def test_endpoints_that_do_not_do(self, wrong, words):
        with pytest.raises(PlanError, match=words):
            member_plan.add(THREE, "n9", contact(9)._replace(**wrong))

    @pytest.mark.parametrize(
        ("move", "words"),
        [
            (Move(client="tcp://10.0.0.2:7411"), "is the peer endpoint of n2 already"),
            (Move(events="tcp://10.0.0.1:7411"), "is --peer already"),
            (Move(peer="10.0.0.9:7411"), "--peer: .*reads tcp://HOST:PORT"),
            (Move(peer="tcp://0.0.0.0:7411"), "nobody can connect"),
        ],
    )
    def test_nor_for_a_member_that_moves(self, move, words):
        with pytest.raises(PlanError, match=words):
            member_plan.update(THREE, "n1", move)

    def test_a_membership_without_endpoints_is_not_written_into_the_log(self):
        """At epoch 0 they come from the file of the node that was asked, which may lack some."""
        lacking = Membership(THREE.members | {"n2": Member("", "", "")})
        with pytest.raises(PlanError, match="does not know where n2 can be reached"):
            member_plan.demote(lacking, "n3")

    @pytest.mark.parametrize("name", ["", "-x", "n 4", "n/4", "ü"])
    def test_a_name_that_is_none(self, name):
        with pytest.raises(PlanError, match="cannot be called"):
            member_plan.add(THREE, name, contact(4))

    def test_a_vote_twice_or_none(self):
        with pytest.raises(PlanError, match="is a voter already"):
            member_plan.promote(THREE, "n1", 1)
        with pytest.raises(PlanError, match="has no vote"):
            member_plan.demote(WITH_LEARNER, "n4")
        with pytest.raises(PlanError, match="just start it"):
            member_plan.rejoin(WITH_LEARNER, "n4", 1)

    def test_replacements(self):
        with pytest.raises(PlanError, match="member rejoin n2"):
            member_plan.replace(THREE, "n2", "n2", 1)
        with pytest.raises(PlanError, match="n3 is a voter already"):
            member_plan.replace(THREE, "n2", "n3", 1)
        with pytest.raises(PlanError, match="n4 has no vote to hand on"):
            member_plan.replace(WITH_LEARNER, "n4", "n1", 1)

    def test_the_last_voter_stays(self):
        with pytest.raises(PlanError, match="1 to 7 voters, not 0"):
            member_plan.remove(cluster(1), "n1")
        with pytest.raises(PlanError, match="1 to 7 voters, not 8"):
            member_plan.promote(cluster(7, 1), "n8", 1)

    def test_quorums_that_need_not_meet(self):
        with pytest.raises(
            PlanError,
            match=r"need not meet: together they must be more than 3, and each at most 3$",
        ):
            member_plan.set_quorum(THREE, 1, 2)
        with pytest.raises(PlanError, match=r"need not meet: .*; first: .*quorum --majority"):
            member_plan.promote(cluster(3, 1, phase1=3, phase2=1), "n4", 1)


class TestJudgement:
    def test_nothing_to_say(self):
        found = plan(THREE, member_plan.add(THREE, "n4", contact(4)), ALL)
        assert found.warnings == found.stops == ()
        assert found.what == "n4 joins as a learner"

    def test_figures(self):
        after = member_plan.promote(WITH_LEARNER, "n4", 1)
        found = plan(WITH_LEARNER, after, {"n1", "n2"}, joined_up={"n4"})
        was, will = found.figures_before, found.figures_after
        assert (was.need, was.tolerates, was.up) == (2, 1, ("n1", "n2"))
        assert (will.need, will.tolerates, will.up) == (3, 1, ("n1", "n2", "n4"))

    def test_an_even_number_of_voters(self):
        found = plan(WITH_LEARNER, member_plan.promote(WITH_LEARNER, "n4", 1), ALL)
        assert found.warnings == ("4 voters survive no more failures than 3",)
        assert found.stops == ()

    def test_a_lower_tolerance(self):
        found = plan(THREE, member_plan.remove(THREE, "n3"), ALL)
        assert "it will survive 0 failures, not 1 as now" in found.warnings

    def test_a_quorum_that_is_not_up_afterwards_stops(self):
        found = plan(THREE, member_plan.remove(THREE, "n3"), {"n1", "n3"})
        (words,) = found.stops
        assert words.startswith(
            "of the voters n1, n2 only n1 is up and votes, and it takes 2 afterwards"
        )
        assert words.endswith(": nothing could be written")

    def test_removing_the_dead_is_no_reason_to_stop(self):
        assert plan(THREE, member_plan.remove(THREE, "n3"), {"n1", "n2"}).stops == ()

    def test_no_quorum_now_is_said(self):
        found = plan(THREE, member_plan.add(THREE, "n4", contact(4)), {"n2"})
        assert "only n2 is up and votes, and it takes 2 now" in found.warnings[0]
        assert found.stops  # nor afterwards

    def test_whoever_forgot_counts_once_it_is_back(self):
        after = member_plan.rejoin(THREE, "n2", 5)
        found = plan(THREE, after, {"n1", "n3"}, joined_up={"n2"})
        assert found.figures_before.up == ("n1", "n3")
        assert found.figures_after.up == ("n1", "n2", "n3")

    def test_what_was_noticed_otherwise_is_kept(self):
        found = plan(THREE, THREE, ALL, findings=Findings(warnings=["w"], stops=["s"]))
        assert (found.warnings, found.stops, found.what) == (("w",), ("s",), "nothing changes")

    def test_flexible_quorums(self):
        after = member_plan.set_quorum(cluster(4), 3, 2)
        found = figures(after, ALL)
        assert (found.need, found.tolerates) == (3, 1)
