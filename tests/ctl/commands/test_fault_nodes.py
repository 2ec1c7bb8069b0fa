"""Fault verbs where some nodes refuse them or do not answer."""

import json

from tests.ctl.fake_daemon import FakeDaemon, closed_port


class TestFaults:
    ADD = ("fault", "add", "cut", "--kind", "drop", "--from", "n1", "--for", "30s", "--seed", "3")

    def test_add_list_rm_clear(self, ctl, daemon):
        assert ctl(*self.ADD) == (0, "fault cut added on n1\n", "")
        (rule,) = daemon.plan.list(0)
        assert (rule["kind"], rule["from"], rule["for_ms"], rule["seed"]) == (
            "drop", "n1", 30_000, 3,
        )  # fmt: skip
        assert "cut" in ctl("fault", "list")[1]
        assert (
            json.loads(ctl("fault", "list", "-o", "json")[1])["nodes"][0]["faults"][0]["fault"]
            == "cut"
        )
        assert ctl(*self.ADD)[0] == 77  # there is one of that name
        assert ctl("fault", "rm", "cut") == (0, "fault cut removed on n1\n", "")
        code, _, err = ctl("fault", "rm", "cut")
        assert code == 1
        assert "no node has" in err
        ctl(*self.ADD)
        assert ctl("fault", "clear")[1] == "1 fault rule removed on n1\n"
        assert ctl("fault", "list")[1] == "no faults\n"

    def test_a_wrong_kind_is_refused_with_the_nearest(self, ctl):
        code, _, err = ctl("fault", "add", "x", "--kind", "dropp")
        assert code == 2
        assert 'did you mean "drop"' in err
        assert ctl("fault", "add", "x")[0] == 2

    def test_refused_where_faults_are_off(self, ctl):
        with FakeDaemon(faults=False) as strict:
            for verb in (self.ADD, ("fault", "clear"), ("fault", "crash", "n1")):
                code, _, err = ctl(*verb, endpoints=strict.endpoint)
                assert code == 77
                assert "enabled = true" in err

    def test_a_rule_that_one_node_refuses_is_taken_back(self, ctl):
        with FakeDaemon("n2", faults=False) as strict:
            there = {"client": strict.endpoint, "events": strict.events_endpoint}
            with FakeDaemon("n1", members={"n2": there}) as first:
                assert ctl(*self.ADD, endpoints=first.endpoint)[0] == 77
                assert first.plan.list(0) == []

    def test_a_node_that_is_not_reached_is_named(self, ctl):
        there = {"client": closed_port(), "events": closed_port()}
        with FakeDaemon("n1", members={"n2": there}) as first:
            code, _, err = ctl(*self.ADD, endpoints=first.endpoint)
            assert code == 1
            assert "not reached: n2" in err

    def test_crash(self, ctl, daemon):
        assert ctl("fault", "crash", "n7")[0] == 2
        assert not daemon.crashed.is_set()
        assert ctl("fault", "crash", "n1")[0] == 0
        assert daemon.crashed.is_set()
