"""node log-level, what a status says of the log, and what a terminal gets of a value."""

import json

import pytest

from paxosctl.cli.render import as_cell, as_json
from paxosctl.commands.node import log_words
from paxosd.core.admin_verbs import ADMIN_VERBS
from paxosd.core.cluster_settings import LEVEL_LATEST


class TestLogLevel:
    def test_it_says_whose_level_it_is_and_for_how_long(self, ctl):
        code, out, _ = ctl("node", "log-level", "debug", "--for", "60s")
        assert code == 0
        assert out == "n1 logs at level debug for 60 s more, then info\n"
        assert ctl("-o", "plain", "node", "log-level")[1] == "debug\n"
        answer = json.loads(ctl("-o", "json", "node", "log-level")[1])
        assert (answer["node"], answer["log_level"], answer["configured"]) == (
            "n1",
            "debug",
            "info",
        )
        assert ctl("node", "log-level", "info")[1] == "n1 logs at level info\n"

    def test_of_the_node_that_is_named(self, ctl, daemon):
        endpoint = daemon.endpoint
        nowhere = "tcp://127.0.0.1:1"
        assert ctl("node", "log-level", "debug", "--endpoint", endpoint, endpoints=nowhere)[0] == 0
        code, _, err = ctl("node", "log-level", "debug", "--endpoint", nowhere, endpoints=endpoint)
        assert code == 69
        assert nowhere in err

    def test_a_node_of_a_version_before_refuses_in_words(self, ctl, daemon, monkeypatch):
        daemon.status |= {"feature_level_known": LEVEL_LATEST}
        known = {name: verb for name, verb in ADMIN_VERBS.items() if name != "log_level"}
        monkeypatch.setattr("paxosd.replica.admin.ADMIN_VERBS", known)
        code, _, err = ctl("node", "log-level", "debug")
        assert code == 77
        assert "log_level" in err
        assert "earlier version" not in err

    def test_a_node_that_knows_a_lower_feature_level_is_named(self, ctl, daemon, monkeypatch):
        """A version that has never heard of a verb says nothing of versions."""
        known = {name: verb for name, verb in ADMIN_VERBS.items() if name != "log_level"}
        monkeypatch.setattr("paxosd.replica.admin.ADMIN_VERBS", known)
        daemon.status |= {"level": 3}
        daemon.without |= {"feature_level_known", "feature_level_max"}
        code, _, err = ctl("node", "log-level", "debug")
        assert code == 77
        assert "n1 is of an earlier version" in err
        assert "the cluster is at feature level 3 (paxosctl cluster show)" in err
        code, _, err = ctl("node", "log-level", "debug", "-o", "json")
        assert "earlier version" in json.loads(err)["endpoints"][daemon.endpoint]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ({"level": "info", "configured": "info", "left_ms": 0, "dropped": 0}, "info"),
        (
            {"level": "debug", "configured": "info", "left_ms": 2000, "dropped": 7},
            "debug for 2 s more, then info; 7 lines were dropped",
        ),
        (
            {"level": "info", "configured": "info", "left_ms": 0, "dropped": 1},
            "info; 1 line was dropped",
        ),
    ],
)
def test_words_of_a_status(log, words):
    assert log_words(log) == words


def test_a_carriage_return_does_not_act_on_a_terminal():
    assert as_cell(b"good\rbad") == "good\\rbad"
    assert as_json(b"good\rbad") == "good\rbad"  # JSON escapes it
    assert as_cell(b"\x1b[2J").startswith("b64:")
