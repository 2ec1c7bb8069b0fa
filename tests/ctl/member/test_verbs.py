"""member list, remove, quorum, transfer-leader: against a cluster that carries changes out."""

import pytest

from paxosctl.cli.main import run
from paxosctl.client.client import Client
from paxosd.core.membership import Member
from tests.ctl.fake_daemon import FakeDaemon, closed_port
from tests.ctl.member.trio import changes, faster, json_of, peers


class TestList:
    def test_every_member(self, ctl):
        code, out, err = ctl("list")
        assert (code, err) == (0, "")
        lines = [line.split() for line in out.splitlines()]
        assert lines[0][:6] == ["node", "role", "up", "epoch", "applied", "lag"]
        assert [line[:3] for line in lines[1:4]] == [
            ["n1", "leader", "yes"], ["n2", "voter", "yes"], ["n3", "voter", "yes"],
        ]  # fmt: skip
        assert "epoch 0, from slot 0 on; it takes 2 of 3, and survives 1 failure" in out

    def test_for_programs(self, ctl, trio):
        code, body = json_of(ctl("list", "-o", "json"))
        assert code == 0
        assert (body["leader"], body["voters"]) == ("n1", ["n1", "n2", "n3"])
        assert (body["survives_all_up"], body["survives"]) == (1, None), "nobody follows n1"
        assert body["nodes"][1]["client"] == trio[1].endpoint
        plain = ctl("list", "-o", "plain")[1].splitlines()
        assert [line.split("\t")[:2] for line in plain] == [
            ["n1", "leader"], ["n2", "voter"], ["n3", "voter"],
        ]  # fmt: skip

    def test_without_a_quorum_and_from_one_node(self, ctl):
        gone = {name: {"client": closed_port(), "events": closed_port()} for name in ("n2", "n3")}
        with FakeDaemon("n1", members=gone) as lone:
            lone.status = {"leader": "", "leader_endpoint": "", "role": "candidate"}
            lone.refusal = "no_leader"
            code, out, _ = ctl("list", endpoints=lone.endpoint)
        assert code == 0
        assert [line.split()[2] for line in out.splitlines()[1:4]] == ["yes", "no", "no"]
        assert "no quorum: only n1 is up and able to vote, and it takes 2, so nothing" in out
        assert "no leader could be asked" in out
        assert f"n2 ({gone['n2']['client']})" in out

    def test_a_lost_memory_is_shown_with_its_cure(self, ctl, trio):
        trio[2].lost = True
        _, out, _ = ctl("list")
        assert out.splitlines()[3].split()[:2] == ["n3", "memory-lost"]
        assert "to let it: paxosctl member rejoin n3" in out

    def test_a_node_that_knows_of_no_member(self, ctl, trio):
        trio[0].status = {"membership": {}, "members": {}, "voters": [], "epoch": 0}
        code, out, err = ctl("demote", "n1")
        assert (code, out) == (1, "")
        assert "do not know who is a member yet" in err

    def test_nobody_there(self, ctl):
        code, out, _ = ctl("list", endpoints=closed_port())
        assert (code, out) == (69, "")


class TestRemove:
    def test_done(self, ctl, trio):
        code, out, err = ctl("remove", "n3")
        assert code == 0
        assert "n3 is no member any more: epoch 1" in out
        assert "it will survive 0 failures, not 1 as now" in err
        membership = trio[0].membership
        assert (membership.voters, list(membership.departed)) == (("n1", "n2"), ["n3"])
        assert "n3" not in ctl("list")[1]

    def test_a_quorum_that_is_not_up_needs_force(self, ctl, trio):
        trio[2].lost = True
        code, out, err = ctl("remove", "n2")
        assert code == 1
        assert "of the voters n1, n3 only n1 is up and votes, and it takes 2" in err
        assert "survives" in out  # the table is shown all the same
        assert ctl("remove", "n2", "--dry-run")[0] == 1
        assert changes(trio[0]) == 0
        assert ctl("remove", "n2", "--force", "--no-wait")[0] == 0

    def test_the_last_one_stays(self, ctl):
        with FakeDaemon() as lone:
            code, _, err = ctl("remove", "n1", endpoints=lone.endpoint)
        assert code == 2
        assert "1 to 7 voters, not 0" in err


class TestQuorum:
    def test_there_and_back(self, ctl, trio, learner):
        ctl("promote", "n4")
        code, out, _ = ctl("quorum", "--phase1", "3", "--phase2", "2")
        assert code == 0
        assert "the quorums become 3 of 4 to take over, 2 of 4 to write: epoch 3" in out
        assert (trio[0].membership.phase1, trio[0].membership.phase2) == (3, 2)
        assert ctl("quorum", "--majority")[0] == 0
        assert trio[0].membership.phase1 == 0
        code, out, _ = ctl("quorum", "--majority")
        assert code == 0
        assert "it is so already" in out

    def test_that_need_not_meet_is_2(self, ctl):
        code, _, err = ctl("quorum", "--phase1", "1", "--phase2", "2")
        assert code == 2
        assert "need not meet" in err

    @pytest.mark.parametrize(
        "arguments",
        [[], ["--phase1", "2"], ["--majority", "--phase2", "2"],
         ["--majority", "--phase1", "2", "--phase2", "2"]],
    )  # fmt: skip
    def test_usage(self, ctl, arguments):
        assert ctl("quorum", *arguments)[0] == 2


class TestTransfer:
    def test_done(self, ctl, trio):
        assert ctl("transfer-leader", "n3") == (0, "n3 leads\n", "")
        assert ctl("transfer-leader") == (0, "n1 leads\n", "")
        assert ctl("transfer-leader", "n1") == (0, "n1 leads already\n", "")

    def test_a_dry_run(self, ctl, trio):
        said = ctl("transfer-leader", "n2", "--dry-run")[1]
        assert said == "n1 hands over to n2; nothing was changed (--dry-run)\n"
        assert trio[0].shared["leader"] == "n1"

    def test_the_leader_says_no(self, ctl, trio):
        trio[0].transfer = lambda name: f"{name} does not answer; these do: n3"
        code, _, err = ctl("transfer-leader", "n2")
        assert code == 77
        assert "n2 does not answer; these do: n3" in err

    def test_the_leader_cannot_be_reached_but_others_can(self, ctl, trio):
        trio[0].stop()
        gone = trio[0].endpoint
        code, _, err = ctl("transfer-leader", endpoints=f"{trio[1].endpoint},{trio[2].endpoint}")
        assert code == 75
        assert f"the leader ({gone}) cannot be reached from here, and it alone can hand over" in err

    def test_nobody_takes_over(self, ctl, trio):
        trio[0].transfer = lambda name: ""
        code, _, err = ctl("transfer-leader", "n2")
        assert code == 1
        assert "n2 did not take over: n1 leads" in err

    def test_usage(self, ctl, learner):
        assert ctl("transfer-leader", "n9")[0] == 2
        code, _, err = ctl("transfer-leader", "n4")
        assert code == 2
        assert "n4 has no vote" in err

    def test_no_leader(self, ctl, trio):
        trio[0].shared |= {"leader": "", "endpoint": ""}
        assert ctl("transfer-leader")[0] == 1


class TestEndings:
    def test_two_changes_at_once(self, ctl, trio, monkeypatch):
        """PITFALLS 15: the second does nothing, and says who was faster."""
        n9 = Member("tcp://h:1", "tcp://h:2", "tcp://h:3", voter=False)
        faster(monkeypatch, trio, {"n9": n9})
        code, out, err = ctl("remove", "n3")
        assert (code, out) == (1, "")
        assert "nothing was done, for another change was faster (epoch 1 instead of 0)" in err
        assert "n9 joins as a learner" in err
        assert trio[0].membership.voters == ("n1", "n2", "n3")

    def test_an_answer_that_was_lost(self, ctl, trio, monkeypatch):
        """The change that was faster is this one itself, in its first attempt."""
        real = trio[0]._answer

        def lose_first(request):
            answer = real(request)
            return None if changes(trio[0]) == 1 and hasattr(request, "entry") else answer

        monkeypatch.setattr(trio[0], "_answer", lose_first)
        code, out, _ = ctl("remove", "n3", timeout="4s")
        assert code == 0
        assert "n3 is no member any more: epoch 1" in out
        assert sum(map(changes, trio)) == 2

    def test_an_answer_that_was_lost_and_another_change_behind_it(self, ctl, trio, monkeypatch):
        """The leader may name the directories that vote as soon as one of them is let in."""
        real = Client.change_members

        def slow(self, epoch, document):
            assert real(self, epoch, document).status == 0
            now = trio[0].membership
            after = now.replaced(now.members | {"n1": now.members["n1"]._replace(directory_id=7)})
            assert real(self, now.epoch, after.to_command()).status == 0
            return real(self, epoch, document)

        monkeypatch.setattr(Client, "change_members", slow)
        code, out, _ = ctl("remove", "n3")
        assert code == 0
        assert "n3 is no member any more: epoch 2" in out

    def test_no_answer_but_a_change(self, ctl, trio):
        for each in trio:
            each.silent_writes = True
        code, out, _ = ctl("remove", "n3", timeout="600ms")
        assert code == 0
        assert "epoch 1" in out

    def test_no_answer_and_no_change_is_124(self, ctl, trio):
        for each in trio:
            each.deaf_writes = True
        code, out, err = ctl("remove", "n3", timeout="600ms")
        assert (code, out) == (124, "")
        assert "`paxosctl member list` shows whether it was made" in err

    def test_no_leader_is_75(self, ctl, trio):
        for each in trio:
            each.refusal = "no_leader"
        code, out, err = ctl("remove", "n3", timeout="600ms")
        assert (code, out) == (75, "")
        assert "safe to try again" in err

    def test_no_leader_afterwards(self, ctl, trio):
        for each in trio:
            each.status = {"ballot": [1, "n1"]}
        code, _, err = ctl("remove", "n3")
        assert code == 1
        assert "the change is made (epoch 1, from slot 2 on), but no leader under it" in err

    def test_a_change_that_the_daemon_refuses_is_77(self, ctl, trio):
        for each in trio:
            each.refusal = "forbidden"
        assert ctl("remove", "n3")[0] == 77


class TestStatus:
    def test_members_and_lost_memories(self, trio, learner, capsys):
        trio[2].lost = True
        trio[0].status = {"peers": peers("n2", "n3")}
        assert run(["--endpoints", trio[0].endpoint, "status", "--cluster"]) == 0
        out = capsys.readouterr().out
        assert "n3 lost its memory and does not vote; to let it: paxosctl member rejoin n3" in out
        assert "n1 leads; the cluster survives 0 more failures" in out
        assert [line.split()[:2] for line in out.splitlines()[1:5]][2] == ["n3", "memory-lost"]
        assert run(["--endpoints", trio[2].endpoint, "status"]) == 0
        out = capsys.readouterr().out
        assert "paxosctl member rejoin n3" in out
        assert "voter, epoch 1" in out
        assert run(["--endpoints", learner.endpoint, "status"]) == 0
        assert "learner, epoch 1" in capsys.readouterr().out
