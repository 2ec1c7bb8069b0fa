"""member add, promote, demote, replace, rejoin: how a node gets its vote, and loses it."""

import json
import tomllib

import pytest

from paxosd.config.sources import load
from tests.ctl.fake_daemon import closed_port
from tests.ctl.member.trio import changes, json_of, nowhere, where


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
