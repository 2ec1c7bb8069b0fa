"""member: what each verb does to a cluster, says, and ends with; against daemons without Paxos."""

import contextlib
import json
import tomllib

import pytest

from paxosctl.cli.main import run
from paxosctl.client.client import Client
from paxosctl.member import change as member_steps
from paxosd.config.sources import load
from paxosd.core.membership import Member
from tests.ctl.fake_daemon import FakeDaemon, peer_of
from tests.ctl.test_cli import closed_port


@pytest.fixture
def trio():
    """Three daemons of one cluster, n1 leads."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(FakeDaemon("n1"))
        yield [first, *(stack.enter_context(FakeDaemon(n, follows=first)) for n in ("n2", "n3"))]


@pytest.fixture
def n4(trio):
    """A daemon that wants to join."""
    with FakeDaemon("n4", follows=trio[0], member=False) as newcomer:
        yield newcomer


@pytest.fixture
def ctl(trio, capsys, monkeypatch):
    """``ctl("list") → (exit code, stdout, stderr)``, of ``paxosctl member``."""
    monkeypatch.setattr(member_steps, "SETTLE_MS", 700)
    monkeypatch.setattr(member_steps, "STALL_MS", 700)

    def call(*arguments, endpoints=trio[0].endpoint, timeout="2s"):
        code = run(["--endpoints", endpoints, "--timeout", timeout, "member", *arguments])
        return code, *capsys.readouterr()

    return call


def where(daemon, **other):
    """The options that say where a daemon is."""
    found = {
        "peer": peer_of(daemon.endpoint),
        "client": daemon.endpoint,
        "events": daemon.events_endpoint,
    }
    return [word for kind, text in (found | other).items() for word in (f"--{kind}", text)]


def nowhere():
    """Three endpoints at which nobody listens."""
    ports = {kind: closed_port() for kind in ("peer", "client", "events")}
    return [word for kind, text in ports.items() for word in (f"--{kind}", text)]


def changes(daemon):
    """How many changes of the membership arrived."""
    return sum(entry.commands[0][0] == 10 for entry in daemon.writes)


def json_of(found):
    code, out, err = found
    assert err == ""
    return code, json.loads(out)


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


class TestAdd:
    def test_a_running_node_gets_its_vote_with_its_directory(self, ctl, trio, n4):
        code, out, err = ctl("add", "n4", *where(n4))
        assert code == 0, err
        assert "n4 is a voter: epoch 2, in force from slot 3 on" in out
        assert "warning: 4 voters survive no more failures than 3" in err
        assert ["quorum", "2", "of", "3", "3", "of", "4"] in [x.split() for x in out.splitlines()]
        member = trio[0].membership.members["n4"]
        assert (member.voter, member.directory_id) == (True, n4.directory_id)

    def test_as_a_learner(self, ctl, trio, n4):
        code, out, err = ctl("add", "n4", *where(n4), "--learner")
        assert (code, err) == (0, "")
        assert out.endswith("n4 is a learner: epoch 1, in force from slot 2 on\n")
        assert trio[0].membership.learners == ("n4",)

    def test_without_waiting(self, ctl, trio, n4):
        code, out, _ = ctl("add", "n4", *where(n4), "--no-wait")
        assert code == 0
        assert out.endswith("to give it a vote: paxosctl member promote n4\n")
        assert trio[0].membership.learners == ("n4",)

    def test_one_that_does_not_run_yet_gets_its_configuration(self, ctl, trio, tmp_path):
        code, body = json_of(ctl("add", "n4", *nowhere(), "-o", "json"))
        assert code == 0
        assert "does not answer" in body["warnings"][0]
        assert body["probe"]["running"] is False
        (tmp_path / "n4.toml").write_text(body["configuration"])
        config = load(tmp_path / "n4.toml", environ={})
        assert (config.cluster.id, config.node.name, config.node.join) == ("test", "n4", True)
        assert list(config.cluster.members) == ["n1", "n2", "n3", "n4"]
        assert config.cluster.members["n1"].client == trio[0].endpoint
        assert trio[0].membership.learners == ("n4",)

    def test_and_is_told_how_to_go_on(self, ctl):
        code, out, err = ctl("add", "n.4", *nowhere())
        assert code == 0
        assert '[cluster.members."n.4"]' in out
        assert "paxosd --config n.4.toml" in out
        assert "and then, to give it a vote: paxosctl member promote n.4" in out
        assert "warning: n.4 does not answer" in err
        toml = out[out.index("[cluster]\nid") : out.index("and run, on its machine")]
        assert tomllib.loads(toml)["cluster"]["members"]["n.4"]["voter"] is False

    def test_the_same_again_goes_on_from_where_it_stopped(self, ctl, trio, n4):
        n4.silent = True
        first = ctl("add", "n4", *where(n4), timeout="600ms")
        again = ctl("add", "n4", *where(n4), timeout="600ms")
        assert (first[0], again[0], changes(trio[0])) == (0, 0, 1)
        assert "n4 is a learner: it was one already" in again[1]
        assert "join = true" in first[1]
        assert "join = true" in again[1], "each time it is asked"
        n4.silent = False
        code, out, _ = ctl("add", "n4", *where(n4))
        assert code == 0
        assert "n4 is a voter: epoch 2" in out
        code, out, err = ctl("add", "n4", *where(n4))
        assert (code, err) == (0, "")
        assert "n4 is a voter already; nothing was changed" in out

    def test_plain_is_the_configuration_alone_each_time_it_is_asked(self, ctl, trio, n4, tmp_path):
        n4.silent = True
        file = tmp_path / "n4.toml"
        for ask in (
            ("add", "n4", *where(n4), "--dry-run"),
            ("add", "n4", *where(n4)),
            ("add", "n4", *where(n4)),
            ("replace", "n3", "n4", *where(n4)),
        ):
            code, out, _ = ctl(*ask, "-o", "plain", timeout="600ms")
            assert code == (ask[0] == "replace"), "it does not run yet"
            file.write_text(out)
            config = load(file, environ={})
            assert (config.node.name, config.node.join) == ("n4", True)
            told = json.loads(ctl(*ask, "-o", "json", timeout="600ms")[1])
            assert told["configuration"] == out
        n4.silent = False
        for _ in range(2):
            code, out, _ = ctl("replace", "n3", "n4", *where(n4), "-o", "plain")
            assert code == 0
            file.write_text(out)
            assert load(file, environ={}).node.name == "n4"

    def test_plain_of_a_refused_change_is_no_configuration(self, ctl, trio, n4):
        n4.status = {"cluster": "another"}
        code, out, err = ctl("add", "n4", *where(n4), "-o", "plain")
        assert code == 1
        assert "not done" in err
        assert "[cluster]" not in out

    def test_config_prints_the_configuration_at_any_time(self, ctl, learner, tmp_path):
        code, out, err = ctl("config", "n4", "-o", "plain")
        assert (code, err) == (0, "")
        assert out.startswith("[cluster]")
        (tmp_path / "n4.toml").write_text(out)
        config = load(tmp_path / "n4.toml", environ={})
        assert (config.node.name, config.node.join) == ("n4", True)
        assert config.cluster.members["n4"].client == learner.endpoint
        assert ctl("config", "n4")[1].strip() == out.strip()
        assert json_of(ctl("config", "n4", "-o", "json"))[1] == {
            "node": "n4",
            "configuration": out,
        }
        code, _, err = ctl("config", "n7")
        assert code == 2
        assert "there is no member" in err

    @pytest.mark.parametrize("name", ["n1", "n2"])
    def test_a_member_twice_is_2(self, ctl, trio, name):
        code, out, err = ctl("add", name, *nowhere())
        assert (code, out) == (2, "")
        assert f"{name} is a voter already" in err
        assert changes(trio[0]) == 0

    def test_a_link_local_address_without_its_interface_is_2(self, ctl, trio, n4):
        options = list(where(n4))
        options[options.index("--peer") + 1] = "tcp://[fe80::1]:7441"
        code, _, err = ctl("add", "n4", *options)
        assert code == 2
        assert "--peer: fe80::1 is a link-local address" in err
        code, _, err = ctl("list", endpoints="tcp://[fe80::1]:7410")
        assert code == 2
        assert "as in fe80::1%eth0" in err

    def test_another_ones_endpoint_is_2(self, ctl, trio, n4):
        code, _, err = ctl("add", "n4", *where(n4, events=trio[1].events_endpoint))
        assert code == 2
        assert "of n2 already" in err

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            ({"cluster": "other"}, "belongs to cluster other, not to test"),
            ({"node": "n5"}, "is called n5, not n4"),
        ],
    )
    def test_the_wrong_node_is_refused_also_by_force(self, ctl, trio, n4, status, words):
        n4.status = status
        for force in ([], ["--force"]):
            code, _, err = ctl("add", "n4", *where(n4), *force)
            assert code == 1
            assert words in err
        assert changes(trio[0]) == 0

    def test_one_that_is_not_empty_needs_force(self, ctl, trio, n4):
        n4.status = {"applied": 17}
        code, _, err = ctl("add", "n4", *where(n4), "--learner")
        assert code == 1
        assert "n4 is not empty: it has applied 17 slots" in err
        assert "--force goes on all the same" in err
        assert changes(trio[0]) == 0
        assert ctl("add", "n4", *where(n4), "--learner", "--force")[0] == 0

    def test_a_way_that_is_closed_needs_force(self, ctl, trio, n4):
        code, out, err = ctl("add", "n4", *where(n4, events=closed_port()), "-o", "json")
        body = json.loads(out)
        assert json.loads(err)["error"] == "negative"
        assert code == 1
        events = [link for link in body["probe"]["links"] if link["kind"] == "events"]
        assert {link["source"] for link in events if link["error"]} == {"n1", "n2", "n3"}
        assert {link["target"] for link in body["probe"]["links"]} == {"n1", "n2", "n3", "n4"}
        code, _, err = ctl("add", "n4", *where(n4, events=closed_port()))
        assert code == 1
        assert "n2 does not reach the events endpoint" in err
        assert "Connection refused" in err
        assert changes(trio[0]) == 0

    def test_a_clock_that_is_off_is_told(self, ctl, n4):
        n4.status = {"wall_ms": 1_000_000}
        code, _, err = ctl("add", "n4", *where(n4), "--dry-run")
        assert code == 0
        assert "s behind the leader's" in err

    def test_a_dry_run_changes_nothing(self, ctl, trio, n4):
        code, body = json_of(ctl("add", "n4", *where(n4), "--dry-run", "-o", "json"))
        assert code == 0
        assert body["dry_run"] is True
        assert (
            body["before"]["survives_all_up"],
            body["after"]["survives_all_up"],
        ) == (1, 1)
        assert body["after"]["voters"] == ["n1", "n2", "n3", "n4"]
        assert body["probe"]["directory_id"] == f"{n4.directory_id:016x}"
        assert "nothing was changed" in ctl("add", "n4", *where(n4), "--dry-run")[1]
        assert changes(trio[0]) == 0

    def test_one_that_does_not_catch_up_stays_a_learner(self, ctl, trio, n4):
        n4.status = {"applied": 0, "epoch": 0}
        code, out, err = ctl("add", "n4", *where(n4))
        assert (code, out) == (1, "")
        assert "n4 comes no closer, and was not waited for any longer" in err
        assert "to go on: paxosctl member promote n4" in err
        assert trio[0].membership.learners == ("n4",)


@pytest.fixture
def learner(ctl, n4):
    """n4, a member without a vote."""
    assert ctl("add", "n4", *where(n4), "--learner")[0] == 0
    return n4


class TestPromoteDemote:
    def test_there_and_back(self, ctl, trio, learner):
        code, out, _ = ctl("promote", "n4")
        assert code == 0
        assert "n4 is a voter: epoch 2" in out
        assert trio[0].membership.members["n4"].directory_id == learner.directory_id
        assert ctl("demote", "n4")[0] == 0
        assert trio[0].membership.learners == ("n4",)

    def test_one_that_has_not_caught_up_needs_force(self, ctl, trio, learner):
        trio[0].status = {"applied": 5000}
        code, _, err = ctl("promote", "n4")
        assert code == 1
        assert "n4 has not caught up: it is 4999 slots behind the leader (slot 1)" in err
        learner.status = {"epoch": 0}
        trio[0].status = {}
        assert "not yet at the present membership" in ctl("promote", "n4")[2]
        assert ctl("promote", "n4", "--force")[0] == 0

    def test_one_that_does_not_answer_needs_force(self, ctl, trio):
        ctl("add", "n4", *nowhere())
        code, _, err = ctl("promote", "n4")
        assert code == 1
        assert "n4 does not answer" in err
        assert ctl("promote", "n4", "--force")[0] == 0
        assert trio[0].membership.members["n4"].directory_id == 0

    def test_a_misspelt_name_is_2(self, ctl):
        for verb in ("promote", "demote", "remove", "rejoin"):
            code, out, err = ctl(verb, "nn2")
            assert (code, out) == (2, "")
            assert 'there is no member "nn2"; did you mean "n2"?' in err

    def test_no_vote_to_take_or_give_is_2(self, ctl, learner):
        assert ctl("promote", "n1")[0] == 2
        assert ctl("demote", "n4")[0] == 2


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


class TestReplace:
    def test_in_one_go(self, ctl, trio, n4):
        code, out, err = ctl("replace", "n2", "n4", *where(n4))
        assert (code, err) == (0, "")
        assert "n4 votes in the place of n2: epoch 2" in out
        assert trio[0].membership.voters == ("n1", "n3", "n4")
        assert trio[0].membership.members["n4"].directory_id == n4.directory_id
        assert changes(trio[0]) == 2

    def test_a_dead_one_by_a_learner(self, ctl, trio, learner):
        trio[1].silent = True
        assert ctl("replace", "n2", "n4")[0] == 0
        assert trio[0].membership.voters == ("n1", "n3", "n4")

    def test_one_that_does_not_run_yet_is_1_and_the_same_command_goes_on(self, ctl, trio, n4):
        n4.silent = True
        code, out, err = ctl("replace", "n2", "n4", *where(n4), timeout="600ms")
        assert code == 1
        assert "n2 is not replaced yet: n4 does not run" in err
        assert "join = true" in out, "the configuration is an answer"
        assert trio[0].membership.learners == ("n4",)
        again = ctl("replace", "n2", "n4", *where(n4), timeout="600ms")
        assert again[0] == 1
        assert "join = true" in again[1], "each time it is asked"
        n4.silent = False
        assert ctl("replace", "n2", "n4", *where(n4))[0] == 0
        assert trio[0].membership.voters == ("n1", "n3", "n4")
        code, out, err = ctl("replace", "n2", "n4", *where(n4))
        assert (code, err) == (0, "")
        assert "n4 votes in the place of n2 already; nothing was changed" in out

    def test_without_waiting_it_is_begun(self, ctl, trio, n4):
        code, _, err = ctl("replace", "n2", "n4", *where(n4), "--no-wait")
        assert code == 1
        assert "n4 is a learner and has to catch up; then: paxosctl member replace n2 n4" in err
        assert ctl("replace", "n2", "n4", "--no-wait")[0] == 0
        assert trio[0].membership.voters == ("n1", "n3", "n4")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["n2", "n4"], "n4 is no member yet: --peer, --events and --client are needed"),
            (["nn2", "n4"], "did you mean"),
            (["n2", "n3"], "n3 is a voter already"),
            (["n2", "n2"], "paxosctl member rejoin n2"),
        ],
    )
    def test_usage(self, ctl, arguments, words):
        code, out, err = ctl("replace", *arguments)
        assert (code, out) == (2, "")
        assert words in err

    def test_other_endpoints_than_those_of_the_member_are_2(self, ctl, learner):
        code, _, err = ctl("replace", "n2", "n4", *nowhere())
        assert code == 2
        assert "n4 is a member already, and reached elsewhere" in err
        assert "paxosctl member update n4" in err

    def test_a_dry_run(self, ctl, trio, n4):
        code, out, _ = ctl("replace", "n2", "n4", *where(n4), "--dry-run")
        assert code == 0
        assert "n2 leaves; n4 joins as a voter; nothing was changed" in out
        assert changes(trio[0]) == 0


class TestRejoin:
    def test_one_that_has_heard_of_nobody_is_told_whom_to_ask(self, ctl, trio):
        trio[2].status = {"membership": {}, "memory": "new"}
        code, _, err = ctl("rejoin", "n3")
        assert code == 1
        assert "n3 has heard of no member yet" in err
        assert "let it name those of now (n1, n2;" in err
        assert changes(trio[0]) == 0

    def test_done(self, ctl, trio):
        trio[2].lost = True
        code, out, err = ctl("rejoin", "n3")
        assert (code, err) == (0, "")
        assert "the data directory that n3 has now votes in its name: epoch 1" in out
        assert "promised under epochs before 1" in out
        assert out.endswith("n3 has caught up, and votes\n")
        member = trio[0].membership.members["n3"]
        assert (member.voter, member.directory_id) == (True, trio[2].directory_id)

    def test_one_whose_directory_is_another_by_then(self, ctl, trio):
        trio[2].status = {"memory": "lost"}
        real = trio[2]._status

        def status():
            return real() | ({"directory": 9} if changes(trio[0]) else {})

        trio[2].admin._handlers["status"] = lambda _: status()
        code, _, err = ctl("rejoin", "n3")
        assert code == 1
        assert "got a new identity meanwhile; again: paxosctl member rejoin n3" in err

    def test_one_whose_memory_is_whole(self, ctl, trio):
        code, _, err = ctl("rejoin", "n3", "--force")
        assert code == 1
        assert "the memory of n3 is whole" in err
        assert changes(trio[0]) == 0

    def test_one_that_is_new_needs_force(self, ctl, trio):
        trio[2].status = {"memory": "new", "role": "newcomer", "unconfirmed_by": ["n2"]}
        code, _, err = ctl("rejoin", "n3")
        assert code == 1
        assert "it is new" in err
        assert "waits for n2" in err
        assert ctl("rejoin", "n3", "--force", "--no-wait")[0] == 0

    def test_one_that_does_not_answer(self, ctl, trio):
        trio[2].silent = True
        code, _, err = ctl("rejoin", "n3", "--force", timeout="600ms")
        assert code == 1
        assert "start it" in err


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


class TestUpdate:
    """n2 of three moves; what says where it listens is its own file."""

    def test_to_where_it_is_found(self, ctl, trio):
        there = peer_of(trio[1].endpoint)
        code, out, err = ctl("update", "n2", "--client", there, "--peer", trio[1].endpoint)
        assert (code, err) == (0, "")
        assert f"n2 is reached at client {there}" in out
        assert "epoch 1, in force from slot 2 on" in out
        assert ["n2", "client", trio[1].endpoint, there] in [x.split() for x in out.splitlines()]
        assert trio[0].membership.members["n2"][:2] == (trio[1].endpoint, there)
        assert trio[0].membership.members["n3"].client == trio[2].endpoint

    def test_a_dry_run_changes_nothing(self, ctl, trio):
        there = peer_of(trio[1].endpoint)
        found = ctl(
            "update", "n2", "--client", there, "--peer", trio[1].endpoint, "--dry-run", "-o", "json"
        )
        code, body = json_of(found)
        assert code == 0
        assert body["dry_run"] is True
        assert f"n2 is reached at client {there}" in body["change"]
        assert body["after"]["epoch"] == 1
        assert changes(trio[0]) == 0

    def test_to_where_it_is_not_is_stopped(self, ctl, trio):
        away = closed_port()
        code, out, err = ctl("update", "n2", "--client", away)
        assert code == 1
        assert f"n2 does not answer at {away}" in err
        assert "change them in its file" in err
        assert changes(trio[0]) == 0
        away = closed_port()
        code, out, err = ctl("update", "n2", "--peer", away)
        assert code == 1
        assert f"n1 does not reach the peer endpoint {away} of n2" in err
        assert "change them in its file" in err
        assert ["up", "3", "of", "3", "2", "of", "3"] in [x.split() for x in out.splitlines()]
        code, _, err = ctl("update", "n2", "--peer", away, "--force")
        assert code == 0
        assert trio[0].membership.members["n2"].peer == away

    def test_another_file_is_a_warning(self, ctl, trio):
        there = peer_of(trio[1].endpoint)
        in_file = trio[1].membership.members["n2"]
        trio[1].status = {"file_members": {"n2": in_file._asdict()}}
        code, _, err = ctl("update", "n2", "--client", there, "--peer", trio[1].endpoint)
        assert code == 0
        assert f"the file of n2 still has client {trio[1].endpoint}" in err

    def test_to_another_node_is_not_done_whatever_is_wished(self, ctl, trio, n4):
        code, _, err = ctl("update", "n2", "--client", n4.endpoint, "--force")
        assert code == 1
        assert f"the node at {n4.endpoint} is called n4, not n2" in err
        assert changes(trio[0]) == 0

    def test_so_already(self, ctl, trio):
        code, out, _ = ctl("update", "n2", "--client", trio[1].endpoint)
        assert code == 0
        assert "it is so already" in out
        assert changes(trio[0]) == 0

    def test_usage(self, ctl):
        assert ctl("update", "n2")[0] == 2
        code, _, err = ctl("update", "nn2", "--peer", "tcp://127.0.0.1:1")
        assert code == 2
        assert 'did you mean "n2"' in err


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


def faster(monkeypatch, trio, members):
    """Somebody else's change comes between the look and the change."""
    real = Client.change_members

    def late(self, epoch, document):
        with Client([trio[0].endpoint]) as other:
            now = trio[0].membership
            after = now.replaced(now.members | members)
            assert real(other, now.epoch, after.to_command()).status == 0
        return real(self, epoch, document)

    monkeypatch.setattr(Client, "change_members", late)


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


def peers(*names):
    return {name: {"reachable": True, "heard_ms_ago": 1, "commit": 0} for name in names}
