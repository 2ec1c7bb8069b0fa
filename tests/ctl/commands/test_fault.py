"""The fault verbs: each kind's good and bad form, where rules go, what list shows, and run."""

import errno
import io
import json
import re
from dataclasses import replace

import pytest

from paxosctl.cli.main import run
from paxosctl.faultrun.view import short_ms
from paxosd.check.history import History
from paxosd.core.requests import AdminRequest, ReadAnswer, ReadRequest
from paxosd.faults.rules import KINDS, MUST, FaultError
from tests.ctl.fake_daemon import FakeDaemon, closed_port


@pytest.fixture
def second():
    with FakeDaemon("n2") as fake:
        yield fake


@pytest.fixture
def daemon(second):
    """n1, which leads, of a cluster with n2 and n3, which is down."""
    gone = closed_port()
    members = {
        "n2": {"client": second.endpoint, "events": second.events_endpoint},
        "n3": {"client": gone, "events": gone},
    }
    with FakeDaemon("n1", members=members) as fake:
        second.members |= fake.members
        second.plan._nodes = ("n1", "n2", "n3")
        second.status = {"leader": "n1", "leader_endpoint": fake.endpoint, "role": "follower"}
        yield fake


@pytest.fixture
def single():
    """A cluster of one."""
    with FakeDaemon("n1") as fake:
        yield fake


@pytest.fixture
def ctl(capsysbinary, monkeypatch, daemon):
    def call(*arguments, endpoints=daemon.endpoint):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
        code = run(["--endpoints", endpoints, "fault", *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


def good_form(kind):
    spec = KINDS[kind]
    args = ["add", f"a-{kind}", "--kind", kind]
    args += ["--on", "n1"] if spec.nodes else ["--from", "n1"]
    return args + (["--ms", "20"] if spec.ms == MUST else [])


BAD_FORMS = {
    "drop": (["--on", "n1"], "takes no --on"),
    "delay": ([], "needs --ms"),
    "duplicate": (["--oneway"], "takes no --oneway"),
    "reorder": ([], "needs --ms"),
    "partition": ([], "needs --from or --to"),
    "flap": (["--from", "n1"], "needs --ms"),
    "isolate": (["--from", "n1"], "takes no --from or --to"),
    "bridge": (["--on", "n1,n2"], "at least two nodes"),
    "crash": (["--on", "n1", "--probability", "0.5"], "needs --every"),
    "pause": (["--on", "n1"], "needs --ms"),
    "disk-slow": (["--on", "n1"], "needs --ms"),
    "disk-full": (["--on", "n1", "--every", "1s"], "takes no --every"),
    "home-full": (["--on", "n1", "--ms", "5"], "takes no --ms"),
    "fsync-error": ([], "needs --on"),
    "torn-write": (["--on", "n1", "--ms", "5"], "takes no --ms"),
    "bit-rot": (["--on", "n1", "--message", "accept"], "takes no --message"),
    "clock-skew": (["--on", "n1"], "needs --ms"),
}


class TestAdd:
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_kind_has_a_good_form(self, ctl, daemon, kind):
        code, out, _ = ctl(*good_form(kind))
        only_n1 = KINDS[kind].nodes and kind not in ("isolate", "bridge")
        # n3 is down: what concerns it too is not everywhere.
        assert (code, "added on n1" in out) == ((0, True) if only_n1 else (1, False))
        (rule,) = daemon.plan.list(0)
        assert rule["kind"] == kind

    @pytest.mark.parametrize("kind", KINDS)
    def test_and_a_bad_form_that_is_refused_in_words(self, ctl, daemon, second, kind):
        arguments, words = BAD_FORMS[kind]
        code, _, err = ctl("add", "x", "--kind", kind, *arguments)
        assert code == 2
        assert words in err
        assert len(daemon.plan) == len(second.plan) == 0

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--kind", "dropp"], 'unknown kind "dropp"; did you mean'),
            (["--kind", "drop", "--probability", "2"], "--probability is above 0 and at most 1"),
            (["--kind", "drop", "--message", "acept"], 'unknown kind of message "acept"'),
            (["--kind", "delay", "--ms", "-5"], "--ms is a whole number from 0"),
            (["--kind", "drop", "--seed", "-1"], "--seed is a whole number"),
        ],
    )
    def test_wrong_arguments_are_wrong_usage_in_the_words_of_the_options(
        self, ctl, daemon, arguments, words
    ):
        code, out, err = ctl("add", "x", *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert "message_kinds" not in err

    def test_every_argument_arrives(self, ctl, daemon):
        ctl("add", "x", "--kind", "duplicate", "--from", "n1,n2", "--to", "@leader",
            "--message", "accept,nack", "--message", "promise", "--probability", "0.25",
            "--ms", "7", "--for", "1m", "--seed", "9", "--persist")  # fmt: skip
        (rule,) = daemon.plan.list(0)
        left_ms = rule.pop("left_ms")
        assert left_ms >= 0
        assert rule == {
            "name": "x", "kind": "duplicate", "from": "n1,n2", "to": "n1",
            "message_kinds": ["accept", "nack", "promise"], "probability": 0.25, "ms": 7,
            "every_ms": 0, "for_ms": 60_000, "seed": 9, "oneway": False, "persist": True,
            "hits": 0,
        }  # fmt: skip
        ctl("add", "y", "--kind", "clock-skew", "--on", "n1", "--ms", "-500", "--every", "2s")
        rule = daemon.plan.list(0)[1]
        assert (rule["on"], rule["ms"], rule["every_ms"]) == ("n1", -500, 2000)

    def test_a_rule_on_nodes_goes_there_alone(self, ctl, daemon, second):
        assert ctl("add", "x", "--kind", "disk-full", "--on", "n2")[0] == 0
        assert (len(daemon.plan), len(second.plan)) == (0, 1)
        assert ctl("add", "y", "--kind", "disk-full", "--on", "@leader")[0] == 0
        assert (len(daemon.plan), len(second.plan)) == (1, 1)
        code, _, err = ctl("add", "z", "--kind", "disk-full", "--on", "*")
        assert code == 1
        assert "not reached: n3" in err
        assert (len(daemon.plan), len(second.plan)) == (2, 2)
        code, _, err = ctl("add", "z", "--kind", "disk-full", "--on", "n3")
        assert code == 1
        assert "on no node; not reached: n3" in err

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--on", "n7"], 'no node "n7"'),
            (["--on", "@leadr"], 'did you mean "@leader"'),
            (["--kind", "pause", "--on", "n1", "--every", "soon"], "is not a duration"),
        ],
    )
    def test_what_cannot_be_meant_is_a_usage_error(self, ctl, arguments, words):
        code, _, err = ctl("add", "x", "--kind", "crash", *arguments)
        assert code == 2
        assert words in err

    def test_no_leader_no_role(self, ctl, daemon, second):
        daemon.status = second.status = {"leader": "", "leader_endpoint": ""}
        code, _, err = ctl("add", "x", "--kind", "crash", "--on", "@leader")
        assert code == 2
        assert "no leader is known" in err

    def test_help_names_every_kind_in_80_columns(self, ctl, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        code, out, _ = ctl("add", "--help")
        assert code == 0
        for kind, spec in KINDS.items():
            assert f"{kind:<11} {spec.does}" in out
        assert max(map(len, out.splitlines())) <= 80


class TestList:
    def test_one_table_for_all_nodes_and_who_is_missing(self, ctl):
        ctl("add", "cut", "--kind", "partition", "--from", "n1", "--to", "n2", "--for", "1m")
        ctl("add", "late", "--kind", "delay", "--ms", "20", "--probability", "0.5",
            "--message", "accept", "--persist")  # fmt: skip
        ctl("add", "jump", "--kind", "clock-skew", "--on", "n2", "--ms", "-90000",
            "--every", "3s")  # fmt: skip
        code, out, _ = ctl("list")
        assert code == 0
        lines = [line.split() for line in out.splitlines()]
        assert lines[0] == ["node", "fault", "kind", "where", "how", "left", "hits"]
        assert [line[:2] for line in lines[1:6]] == [
            ["n1", "cut"], ["n1", "late"], ["n2", "cut"], ["n2", "late"], ["n2", "jump"],
        ]  # fmt: skip
        assert "n1 ↔ n2" in out
        assert "* → * accept  20ms p 0.5 persist" in out
        assert "-1m30s each 3s" in out
        assert lines[-1][:5] == ["n3", "is", "not", "reached:", "the"]

    def test_plain_has_every_field(self, ctl):
        ctl("add", "jump", "--kind", "clock-skew", "--on", "n2", "--ms", "-5", "--every", "3s")
        _, out, _ = ctl("list", "-o", "plain")
        assert out == "n2\tjump\tclock-skew\t\t\tn2\t\t1.0\t-5\t3000\t-1\t0\tFalse\tFalse\t0\n"

    def test_no_faults(self, ctl, single):
        assert ctl("list", endpoints=single.endpoint) == (0, "no faults\n", "")
        assert ctl("list")[1].startswith("no faults\nn3 is not reached")


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0ms"), (999, "999ms"), (1500, "1.5s"), (60_000, "1m"), (90_400, "1m30s"),
     (3_600_000, "1h"), (7_199_000, "1h59m"), (-5000, "-5s")],
)  # fmt: skip
def test_times_in_few_letters(ms, words):
    assert short_ms(ms) == words


class TestCrash:
    def test_by_role_and_one_at_a_time(self, ctl, daemon, second):
        assert ctl("crash", "@leader")[1] == "n1 crashes\n"
        assert daemon.crashed.is_set()
        assert not second.crashed.is_set()
        code, _, err = ctl("crash", "@followers")
        assert code == 2
        assert "one node at a time" in err


PLAN = """
duration = "600ms"
[workload]
clients = 2
pause = "1ms"
[[fault]]
at = "100ms"
kind = "drop"
probability = 0.1
for = "200ms"
"""


def forbid_faults(daemon):
    """As if it had been started without ``[faults] enabled``."""
    daemon.admin._ports = replace(daemon.admin._ports, faults_enabled=False)


class TestClear:
    def test_a_node_that_has_faults_off_has_none_and_counts_as_cleared(self, ctl, daemon, second):
        forbid_faults(second)
        daemon.plan.add_args({"name": "x", "kind": "drop"}, 0)
        gone = daemon.members.pop("n3")
        assert gone
        code, out, err = ctl("clear")
        assert (code, err) == (0, "")
        assert out == "n2: faults are off, so there are none; 1 fault rule removed on n1\n"
        assert len(daemon.plan) == 0

    def test_where_no_node_allows_faults_it_is_refused(self, ctl, daemon, second):
        forbid_faults(daemon)
        forbid_faults(second)
        assert ctl("clear")[0] == 77


class TestRun:
    @pytest.fixture
    def runs(self, ctl, single, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        def go(plan=PLAN, *arguments, endpoints=single.endpoint):
            (tmp_path / "p.toml").write_text(plan)
            return ctl("run", "p.toml", *arguments, endpoints=endpoints)

        return go

    def test_ok_is_exit_0_with_a_history(self, runs, single, tmp_path):
        code, out, err = runs()
        assert code == 0, out + err
        assert "ok  linearizable: " in out
        assert "ok  exactly once: " in out
        assert "longest gap without a write" in out
        (kept,) = tmp_path.glob("p-2*Z.jsonl")
        assert f"history: {kept.name}" in out
        assert "drop: over, 0 hits" in err
        history = History.load(kept)
        assert len(history) > 20
        assert single.plan.list(0) == []
        assert len(single.machine.store) == 0

    def test_json(self, runs, tmp_path):
        code, out, _ = runs(PLAN, "-o", "json", "--history-dir", "made/by/it", "--seed", "5")
        assert code == 0
        report = json.loads(out)
        assert report["ok"]
        (kept,) = (tmp_path / "made" / "by" / "it").iterdir()
        assert (report["seed"], tmp_path / report["history"]) == (5, kept)
        (fault,) = report["faults"]
        assert (fault["fault"], fault["where"], fault["hits"]) == ("drop", "* → *", 0)

    @pytest.mark.parametrize("where", ["p.toml", "p.toml/below", "/proc/nowhere"])
    def test_nothing_is_broken_where_no_history_can_be_kept(self, runs, single, where):
        code, out, err = runs(PLAN, "--history-dir", where)
        assert (code, out) in [(74, ""), (2, "")]
        assert where in err
        assert single.writes == []

    def test_a_plan_that_cannot_be_read(self, ctl, monkeypatch, tmp_path):
        (tmp_path / "p.toml").touch()

        def refused(path, *_):
            raise OSError(errno.EIO, "Input/output error", str(path))

        monkeypatch.setattr("pathlib.Path.open", refused)
        code, _, err = ctl("run", str(tmp_path / "p.toml"))
        assert code == 74
        assert "p.toml: Input/output error" in err

    def test_no_history_is_ever_overwritten(self, runs, tmp_path):
        """Two runs of one plan, within the same second or not."""
        for _ in range(2):
            assert runs(PLAN, "--duration", "300ms")[0] in (0, 1)
        first, second = tmp_path.glob("p-*.jsonl")
        assert len(History.load(first)) > 0
        assert len(History.load(second)) > 0

    def test_what_the_healing_waited_for_is_named(self, runs, single, monkeypatch):
        real, deaf = single._answer, []

        def slow_to_heal(request):
            clears = isinstance(request, AdminRequest) and request.verb == "fault_clear"
            if clears and len(deaf) < 2:
                deaf.append(request)
                return None
            return real(request)

        monkeypatch.setattr(single, "_answer", slow_to_heal)
        code, out, err = runs(PLAN, "-o", "json")
        assert code == 0, err
        (words,) = json.loads(out)["heal_waited_for"]
        assert re.fullmatch(r"n1 to answer, \d+\.\d s", words)

    def test_a_stale_read_is_exit_1(self, runs, single, monkeypatch):
        answer = single._answer
        first = {}

        def stale(request):
            found = answer(request)
            if isinstance(request, ReadRequest) and isinstance(found, ReadAnswer):
                # Each key for ever as it was first read.
                held = first.setdefault(str(request.queries), found)
                return held._replace(request_id=found.request_id)
            return found

        monkeypatch.setattr(single, "_answer", stale)
        code, out, err = runs()
        assert code == 1
        assert "BAD linearizable: " in out
        assert "paxosctl: " in err
        assert single.plan.list(0) == []

    def test_a_lost_write_is_exit_1(self, runs, single, monkeypatch):
        """The store forgets everything at the end: what was acknowledged is not there."""
        answer = single._answer
        reads = []

        def forgetful(request):
            found = answer(request)
            if isinstance(found, ReadAnswer) and hasattr(found.results[0], "rows"):
                reads.append(1)
                return found._replace(results=[found.results[0]._replace(rows=[])])
            return found

        monkeypatch.setattr(single, "_answer", forgetful)
        plan = PLAN.replace("clients = 2", "clients = 2\nmix = { put = 1 }")
        code, out, _ = runs(plan)
        assert code == 1
        assert "ok  linearizable" in out
        assert "BAD exactly once" in out
        assert "lost" in out

    def test_faults_that_are_off_are_exit_77(self, runs, single):
        single.status = {"faults_enabled": False}
        code, out, err = runs()
        assert (code, out) == (77, "")
        assert "n1: faults are off" in err

    def test_faults_that_are_there_already_are_not_meddled_with(self, runs, single):
        single.plan.add_args({"name": "mine", "kind": "drop"}, 0)
        code, _, err = runs()
        assert code == 1
        assert "there are faults already (n1: mine)" in err
        assert len(single.plan) == 1

    def test_a_node_that_is_down_is_named(self, runs, daemon):
        code, _, err = runs(endpoints=daemon.endpoint)
        assert code == 1
        assert "n3 cannot be reached" in err

    def test_a_node_that_there_is_not_is_a_wrong_plan(self, runs):
        code, _, err = runs(PLAN + 'from = "n7"\n')
        assert code == 2
        assert 'p.toml:6: drop: from: unknown node "n7"' in err

    def test_a_wrong_plan_is_exit_2_and_nothing_is_done(self, runs, single):
        code, _, err = runs(PLAN.replace("kind", "knid"), endpoints=closed_port())
        assert code == 2
        assert 'p.toml:8: [[fault]] unknown key "knid"; did you mean "kind"?' in err

    def test_no_plan(self, ctl):
        assert ctl("run", "/nowhere.toml")[0] == 2

    def test_no_cluster(self, runs):
        assert runs(endpoints=closed_port())[0] == 69

    def test_what_could_not_be_removed_is_cleared_at_the_end(self, runs, single, monkeypatch):
        def remove(name, now_ms):
            raise FaultError("not now")

        monkeypatch.setattr(single.plan, "remove", remove)
        code, out, _ = runs()
        assert code == 0
        assert "n1 died" in out  # so it seems: it does not know the rule
        assert single.plan.list(0) == []

    def test_what_a_fault_did_before_its_node_was_killed_is_counted(
        self, runs, single, monkeypatch
    ):
        """The dead node's count is gone with it: only before can it be asked for."""
        listed = single.plan.list
        monkeypatch.setattr(
            single.plan, "list", lambda now_ms: [r | {"hits": 7} for r in listed(now_ms)]
        )
        code, out, err = runs(PLAN + '[[crash]]\nat = "200ms"\non = "n1"\n', "-o", "json")
        assert code == 0, out + err
        assert single.crashed.is_set()
        hits = {fault["fault"]: fault["hits"] for fault in json.loads(out)["faults"]}
        assert hits == {"drop": 7, "crash": 1}

    def test_a_step_that_cannot_be_done_is_told(self, runs):
        code, out, _ = runs(PLAN + '[[crash]]\non = "@follower"\n')
        assert code == 0
        assert "one node only" in out
