"""cluster show and set: what each says, does and ends with; against daemons without Paxos."""

import contextlib
import json

import pytest

from paxosctl.cli.main import run
from paxosctl.client.client import Client
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.commands import CLUSTER
from tests.ctl.fake_daemon import FakeDaemon

LEVEL_1 = ClusterSettings(1, 1)


@pytest.fixture
def trio():
    """Three daemons of one cluster, n1 leads; their log is that of n1."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(FakeDaemon("n1"))
        first.machine.settings = LEVEL_1
        yield [first, *(stack.enter_context(FakeDaemon(n, follows=first)) for n in ("n2", "n3"))]


@pytest.fixture
def ctl(trio, capsys):
    """``ctl("show") → (exit code, stdout, stderr)``, of ``paxosctl cluster``."""

    def call(*arguments):
        code = run(["--endpoints", trio[0].endpoint, "--timeout", "2s", "cluster", *arguments])
        return code, *capsys.readouterr()

    return call


def changes(daemon):
    """How many changes of the settings arrived."""
    return sum(entry.commands[0][0] == CLUSTER for entry in daemon.writes)


class TestShow:
    def test_as_a_table(self, ctl):
        code, out, err = ctl("show")
        assert (code, err) == (0, "")
        rows = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
        assert rows["feature_level"] == "1", "as in JSON"
        assert rows["sessions_max"] == "10000"

    def test_as_json(self, ctl):
        code, out, _ = ctl("show", "-o", "json")
        found = json.loads(out)
        assert code == 0
        found["level"] = found.pop("feature_level")
        found["genesis"] = found["genesis"] or ""
        assert ClusterSettings(**{n: found[n] for n in ClusterSettings._fields}) == LEVEL_1
        assert found["feature_level_lagging"] == []

    def test_as_plain(self, ctl):
        code, out, _ = ctl("show", "-o", "plain")
        assert code == 0
        assert "value_bytes_max\t1048576\n" in out
        assert "feature_level\t1\n" in out

    def test_below_level_1_it_says_who_is_waited_for(self, ctl, trio):
        trio[0].machine.settings = ClusterSettings()
        trio[0].status["level_lagging"] = ["n3"]
        code, out, _ = ctl("show")
        assert code == 0
        assert "feature level 0" in out
        assert "waiting for: n3" in out

    def test_a_file_that_differs_is_named(self, ctl, trio):
        trio[1].status["file_settings"] = {"value_bytes_max": 77}
        _, out, _ = ctl("show")
        assert "n2: its file has value_bytes_max = 77" in out
        _, out, _ = ctl("show", "-o", "json")
        assert json.loads(out)["differing_files"] == {"n2": {"value_bytes_max": 77}}

    def test_of_nodes_of_a_version_before(self, ctl, trio):
        for daemon in trio:
            for name in ("settings", "level", "level_lagging", "file_settings", "message_room"):
                daemon.without.add(name)
        code, out, _ = ctl("show")
        assert code == 0
        assert "feature level 0" in out


class TestVersions:
    """What is said while the nodes run several versions."""

    def skew(self, trio, **own):
        """n1 leads and knows level 3; n2 is of a version that does not say; n3 as ``own`` has."""
        for daemon in trio:
            daemon.status |= {"version": "2.0", "feature_level_known": 3, "level": 1}
        trio[1].status["version"] = "1.9"
        trio[1].without |= {"feature_level_known", "feature_level_max"}
        trio[2].status |= own
        trio[0].status["peers"] = {"n2": {"level": 1, "version": ""}, "n3": {"level": 2}}

    def test_each_node_and_what_the_next_level_waits_for(self, ctl, trio):
        self.skew(trio, feature_level_max=2)
        code, out, _ = ctl("show")
        assert code == 0
        assert "n1: version 2.0, up to feature level 3\n" in out
        assert "n2: version 1.9, up to feature level 1\n" in out
        assert "n3: version 2.0, up to feature level 2\n" in out
        words = " ".join(out.split())
        assert (
            "the feature level is 1; level 3 waits for n2 (version 1.9, up to level 1); " in words
        )
        assert "n3 (its file has protocol.feature_level_max = 2)" in words
        nodes = json.loads(ctl("show", "-o", "json")[1])["nodes"]
        assert nodes["n3"] == {"version": "2.0", "feature_level_known": 3, "feature_level_max": 2,
                               "feature_level_taken": 2}  # fmt: skip
        assert nodes["n2"]["feature_level_known"] is None

    def test_a_member_that_does_not_answer_counts_as_it_was_heard_last(self, ctl, trio):
        self.skew(trio)
        trio[2].silent = True
        _, out, _ = ctl("show")
        assert "n3 (does not answer; it last took level 2)" in " ".join(out.split())
        assert "n3: version not known, up to feature level 2" in out

    def test_a_member_that_the_leader_has_never_heard(self, ctl, trio):
        self.skew(trio)
        trio[2].silent = True
        trio[0].status["peers"] = {"n2": {"level": 1, "version": ""}}
        words = " ".join(ctl("show")[1].split())
        assert "n3 (does not answer; nobody has heard it yet)" in words

    def test_a_leader_of_a_version_before_is_as_the_others_have_heard_it(self, ctl, trio):
        self.skew(trio)
        trio[0].without |= {"feature_level_known", "feature_level_max"}
        trio[1].status["peers"] = {"n1": {"level": 2, "version": "1.9"}, "n3": {"level": 1}}
        _, out, _ = ctl("show")
        assert "n1: version 2.0, up to feature level 2\n" in out
        assert "n3 (version 2.0, up to level 2)" not in out  # that is the leader's to say

    def test_a_program_between(self, ctl, trio):
        self.skew(trio, version="1.95", feature_level_known=2)
        assert "n3 (version 1.95, up to level 2)" in " ".join(ctl("show")[1].split())

    def test_in_the_status_of_the_cluster(self, trio, capsys):
        self.skew(trio, feature_level_max=2)
        trio[2].silent = True
        arguments = ["--endpoints", trio[0].endpoint, "--timeout", "2s", "status", "--cluster"]
        assert run(arguments) == 0
        out = capsys.readouterr().out
        rows = {line.split()[0]: line.split()[-2:] for line in out.splitlines()[1:4]}
        assert rows == {"n1": ["2.0", "3"], "n2": ["1.9", "1"], "n3": ["-", "2"]}
        assert "level 3 waits for n2 (version 1.9, up to level 1)" in out

    def test_nothing_is_waited_for_at_the_latest_level(self, ctl, trio):
        for daemon in trio:
            daemon.status |= {"feature_level_known": 1, "version": "2.0"}
        assert "waits" not in ctl("show")[1]


class TestSet:
    def test_several_at_once(self, ctl, trio):
        code, out, err = ctl("set", "session_ttl_ms=2h", "value_bytes_max=2000")
        assert (code, err) == (0, "")
        assert "session_ttl_ms 3600000 → 7200000; value_bytes_max 1048576 → 2000" in out
        assert "version 2, in force from slot" in out
        after = trio[0].machine.settings
        assert after == LEVEL_1._replace(version=2, session_ttl_ms=7_200_000, value_bytes_max=2000)

    def test_json(self, ctl):
        code, out, _ = ctl("set", "sessions_max=5", "-o", "json")
        found = json.loads(out)
        assert (code, found["sessions_max"], found["version"]) == (0, 5, 2)
        assert found["changed"] == ["sessions_max 10000 → 5"]

    def test_a_dry_run_changes_nothing(self, ctl, trio):
        code, out, _ = ctl("set", "--dry-run", "sessions_max=5")
        assert code == 0
        assert "sessions_max 10000 → 5; nothing was changed" in out
        assert changes(trio[0]) == 0

    def test_what_is_so_already(self, ctl, trio):
        code, out, _ = ctl("set", "sessions_max=10000")
        assert code == 0
        assert "it is so already" in out
        assert changes(trio[0]) == 0

    @pytest.mark.parametrize(
        ("argument", "words"),
        [
            ("sesions_max=5", 'did you mean "sessions_max"?'),
            ("level=2", '"level" is no setting'),
            ("genesis=ab", '"genesis" is no setting'),
            ("sessions_max", "must read KEY=VALUE"),
            ("sessions_max=many", "is not a whole number"),
            ("sessions_max=0", "from 1 to 1000000"),
            ("session_ttl_ms=soon", "is not a duration"),
            ("session_window_max=10", "commands_per_request_max is above session_window_max"),
        ],
    )
    def test_what_cannot_be_is_usage(self, ctl, trio, argument, words):
        code, _, err = ctl("set", argument)
        assert code == 2
        assert words in err
        assert changes(trio[0]) == 0

    def test_below_level_1_it_is_refused(self, ctl, trio):
        trio[0].machine.settings = ClusterSettings()
        code, out, err = ctl("set", "sessions_max=5")
        assert (code, out) == (77, "")
        assert "feature level 0" in err
        assert changes(trio[0]) == 0

    def test_above_the_level_that_is_known_here_it_is_refused(self, ctl, trio, monkeypatch):
        for module in ("paxosd.core.cluster_settings", "paxosctl.commands.cluster_settings"):
            monkeypatch.setattr(f"{module}.LEVEL_LATEST", 0)
        code, out, err = ctl("set", "sessions_max=5")
        assert (code, out) == (77, "")
        assert "the cluster is at feature level 1, and this paxosctl knows 0: change its" in err
        assert changes(trio[0]) == 0

    def test_what_one_node_cannot_take_is_not_done(self, ctl, trio):
        trio[2].status["message_room"] = {"message_bytes_max": 1 << 20, "part_bytes_max": 0}
        code, _, err = ctl("set", "value_bytes_max=600000")
        assert code == 1
        assert "n3: value_bytes_max = 600000" in err
        assert "limits.message_bytes_max" in err
        assert changes(trio[0]) == 0

    def test_another_change_was_faster(self, ctl, trio, monkeypatch):
        real = Client.change_settings

        def late(self, version, epoch, document):
            trio[0].machine.settings = LEVEL_1._replace(version=2, sessions_max=9)
            return real(self, version, epoch, document)

        monkeypatch.setattr(Client, "change_settings", late)
        code, _, err = ctl("set", "sessions_max=5")
        assert code == 1
        assert "another change was faster (version 2 instead of 1" in err
        assert trio[0].machine.settings.sessions_max == 9

    def test_an_answer_that_was_lost_counts_as_done(self, ctl, monkeypatch):
        real = Client.change_settings

        def twice(self, version, epoch, document):
            real(self, version, epoch, document)
            return real(self, version, epoch, document)

        monkeypatch.setattr(Client, "change_settings", twice)
        code, out, _ = ctl("set", "sessions_max=5")
        assert code == 0
        assert "version 2, in force" in out
