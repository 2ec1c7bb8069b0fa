"""Every verb, good and bad: what it writes, and its exit code."""

import io
import json
import re
import socket
import subprocess
import sys

import pytest

from paxosctl.cli.app import Settings, complain
from paxosctl.cli.main import VERBS, run
from paxosctl.client.client import Client
from paxosctl.client.errors import RefusedError
from paxosd.core.requests import ReadAnswer
from tests.ctl.fake_daemon import FakeDaemon


def closed_port():
    """An endpoint on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


@pytest.fixture
def ctl(daemon, capsysbinary, monkeypatch):
    """``ctl("get", "k") → (exit code, stdout, stderr)``, against the fake daemon."""

    def call(*arguments, stdin=b"", endpoints=daemon.endpoint):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(["--endpoints", endpoints, *arguments])
        out, err = capsysbinary.readouterr()
        return code, out.decode("utf-8", "surrogateescape"), err.decode()

    return call


class TestKeys:
    def test_put_and_get_in_each_format(self, ctl):
        assert ctl("put", "k", "hello") == (0, "revision 1\n", "")
        assert ctl("put", "k", "hello", "-o", "json") == (0, '{"revision": 2}\n', "")
        assert ctl("get", "k") == (0, "hello\n", "")
        assert ctl("-o", "plain", "get", "k") == (0, "hello", "")
        code, out, _ = ctl("get", "k", "-o", "json")
        assert code == 0
        assert json.loads(out) == {
            "key": "k",
            "value": "hello",
            "create_revision": 1,
            "modify_revision": 2,
            "version": 2,
            "revision": 2,
            "applied": 6,
        }

    def test_get_meta_and_stale(self, ctl):
        ctl("put", "k", "hello")
        _, out, _ = ctl("get", "k", "--meta")
        assert out.split("\n")[0].split() == [
            "key", "value", "create_revision", "modify_revision", "version", "revision", "applied",
        ]  # fmt: skip
        assert out.split("\n")[1].split() == ["k", "hello", "1", "1", "1", "1", "3"]
        code, out, err = ctl("get", "k", "--stale")
        assert (code, out) == (0, "hello\n")
        assert "as of slot" in err
        assert json.loads(ctl("get", "k", "--stale", "-o", "json")[1])["age_ms"] == 0

    def test_a_node_that_has_yet_to_learn_its_age_is_asked_again(self, ctl, daemon, monkeypatch):
        """The first stale read makes it ask."""
        ctl("put", "k", "hello")
        ages, real = [-1, 3_600_000, 12, 13], daemon._answer

        def aged(request):
            answer = real(request)
            return answer._replace(age_ms=ages.pop(0)) if isinstance(answer, ReadAnswer) else answer

        monkeypatch.setattr(daemon, "_answer", aged)
        code, out, err = ctl("get", "k", "--stale")
        assert (code, out) == (0, "hello\n")
        assert "nothing is missing that was acknowledged more than 12 ms ago" in err
        assert ages == [13]

    def test_an_age_that_nobody_knows_is_said_to_be_unknown(self, ctl, daemon, monkeypatch):
        """Without a quorum there is an answer all the same, after a moment."""
        ctl("put", "k", "hello")
        real = daemon._answer

        def aged(request):
            answer = real(request)
            return answer._replace(age_ms=-1) if isinstance(answer, ReadAnswer) else answer

        monkeypatch.setattr(daemon, "_answer", aged)
        code, out, err = ctl("get", "k", "--stale")
        assert (code, out) == (0, "hello\n")
        assert "how old that is, is not known" in err

    def test_no_such_key_is_exit_1(self, ctl):
        assert ctl("get", "k") == (1, "", "paxosctl: no such key: k\n")
        code, out, err = ctl("get", "k", "-o", "json")
        found = json.loads(out)
        assert (code, found["value"], found["modify_revision"], found["revision"]) == (
            1,
            None,
            0,
            0,
        )
        assert json.loads(err) == {"error": "negative", "message": "no such key: k"}
        assert ctl("delete", "k")[0] == 1

    def test_no_match_of_a_prefix_is_an_empty_answer_for_both_verbs(self, ctl):
        ctl("put", "a", "1")
        assert ctl("get", "k", "--prefix") == (0, "key  value\n", "")
        assert ctl("delete", "k", "--prefix") == (0, "0 keys deleted\n", "")
        code, out, _ = ctl("delete", "k", "--prefix", "-o", "json")
        assert (code, json.loads(out)) == (0, {"deleted": 0, "revision": 1})

    @pytest.mark.parametrize(
        "arguments",
        [("get", ""), ("put", "", "v"), ("delete", ""), ("watch", ""),
         ("cas", "", "--expect-revision", "0", "v")],
    )  # fmt: skip
    def test_an_empty_key_is_refused_by_every_verb(self, ctl, arguments):
        code, out, err = ctl(*arguments)
        assert (code, out) == (77, "")
        assert err == "paxosctl: the key is empty: it needs at least one byte\n"

    def test_to_delete_every_key_takes_a_flag_of_its_own(self, ctl, daemon):
        ctl("put", "a", "1")
        code, _, err = ctl("delete", "--prefix", "")
        assert code == 2
        assert "give --all as well" in err
        assert len(daemon.machine.store) == 1
        assert ctl("delete", "a", "--prefix", "--all")[0] == 2
        assert ctl("delete", "--prefix", "", "--all") == (0, "1 key deleted\n", "")

    def test_zero_bytes_end_what_has_tabs_and_newlines_in_it(self, ctl):
        ctl("put", "k1", "a\tb\nc")
        ctl("put", "k2", "d")
        _, out, _ = ctl("get", "k", "--prefix", "-o", "plain", "--null")
        assert out.split("\0") == ["k1", "a\tb\nc", "k2", "d", ""]
        assert ctl("get", "k", "--prefix", "--null")[0] == 2

    def test_bytes_that_are_no_text(self, ctl, daemon):
        value = b"\x00\xff\n"
        assert ctl("put", "k", "-", stdin=value)[0] == 0
        assert daemon.machine.store.get(b"k").value == value
        assert ctl("get", "k")[1] == "b64:AP8K\n"
        assert json.loads(ctl("get", "k", "-o", "json")[1])["value"] == {"b64": "AP8K"}
        assert ctl("get", "k", "-o", "plain")[1] == value.decode("utf-8", "surrogateescape")

    def test_control_characters_never_reach_the_terminal(self, ctl):
        ctl("put", "k", "-", stdin=b"\x1b[2Jboo")
        assert "\x1b" not in ctl("get", "k")[1]
        assert "\x1b" not in ctl("get", "", "--prefix")[1]

    def test_a_scan_runs_over_pages(self, ctl):
        with FakeDaemon() as other:
            with Client([other.endpoint]) as client, client.pipeline() as pipe:
                for i in range(100):
                    pipe.put(b"p%03d" % i, b"x" * 30)
            code, out, err = ctl("get", "p", "--prefix", "-o", "json", endpoints=other.endpoint)
            assert (code, err) == (0, "")
            found = json.loads(out)
            assert (found["revision"], found["applied"]) == (100, other.machine.applied)
            rows = found["rows"]
            assert [row["key"] for row in rows] == [f"p{i:03}" for i in range(100)]
            _, out, _ = ctl(
                "get", "p", "--prefix", "--limit", "70", "-o", "plain", endpoints=other.endpoint
            )
            assert out.splitlines() == [f"p{i:03}\t{'x' * 30}" for i in range(70)]
        code, out, _ = ctl("get", "p", "--prefix", "-o", "json")
        assert (code, json.loads(out)) == (0, {"revision": 0, "applied": 0, "rows": []})

    def test_delete(self, ctl):
        for key in ("a", "ab", "b"):
            ctl("put", key, "v")
        assert ctl("delete", "b") == (0, "revision 4\n", "")
        assert ctl("delete", "a", "--prefix") == (0, "2 keys deleted\n", "")

    def test_cas(self, ctl):
        assert ctl("cas", "k", "--expect-revision", "0", "1")[0] == 0
        assert ctl("cas", "k", "--expect-value", "1", "2") == (0, "revision 2\n", "")
        code, out, err = ctl("cas", "k", "--expect-value", "1", "3")
        assert (code, out) == (1, "")
        assert "its revision is 2" in err
        code, out, _ = ctl("cas", "k", "--expect-revision", "7", "3", "-o", "json")
        assert (code, json.loads(out)) == (
            1,
            {"ok": False, "revision": None, "modify_revision": 2},
        )
        assert "no such key" in ctl("cas", "l", "--expect-value", "1", "3")[2]
        assert ctl("cas", "k", "3")[0] == 2
        assert ctl("cas", "k", "--expect-value", "1", "--expect-revision", "1", "3")[0] == 2

    def test_a_limit_is_refused_with_77_in_words(self, ctl):
        code, _, err = ctl("put", "k" * 5000, "v")
        assert code == 77
        assert "key is 5000 bytes; the limit is 4096" in err

    def test_outcome(self, ctl, daemon):
        with Client([daemon.endpoint]) as client:
            call = client.finish(client.submit([1, b"k", b"v"]))
            assert call.done
            session = client.session
            code, out, _ = ctl("outcome", str(session), "1", "-o", "json")
            assert code == 0
            assert json.loads(out)["outcome"] == "committed"
            assert "committed in slot" in ctl("outcome", str(session), "1")[1]
            code, out, _ = ctl("outcome", str(session), "5", "-o", "plain")
            assert (code, out) == (1, "fenced\n")
        assert ctl("outcome", "99", "1", "-o", "plain")[:2] == (1, "session_unknown\n")
        assert ctl("outcome", "0", "1")[0] == 2


class TestWatch:
    def test_from_a_revision(self, ctl):
        ctl("put", "k", "1")
        ctl("put", "l", "x")
        ctl("delete", "k")
        code, out, _ = ctl("watch", "k", "--from-revision", "1", "--count", "2")
        assert (code, out) == (0, "1  put  k  1\n3  delete  k\n")
        args = ("watch", "", "--prefix", "--from-revision", "2", "--count", "2", "-o")
        assert ctl(*args, "plain")[1] == "put\tl\tx\ndelete\tk\n"
        rows = [json.loads(line) for line in ctl(*args, "json")[1].splitlines()]
        assert [row["deleted"] for row in rows] == [False, True]

    def test_live_changes_follow_those_of_the_past(self, daemon):
        with Client([daemon.endpoint]) as client, Client([daemon.endpoint]) as writer:
            writer.put(b"k", b"0")
            watcher = client.watch(b"k", from_revision=1)
            assert next(watcher).value == b"0"
            seen = []
            for number in range(1, 30):
                writer.put(b"k", b"%d" % number)
                seen.append(next(watcher).value)
            assert seen == [b"%d" % number for number in range(1, 30)]
            assert watcher.live
            assert watcher.resume_revision >= 30
            watcher.close()
            assert list(watcher) == []

    def test_nobody_there(self, ctl):
        assert ctl("watch", "k", endpoints=closed_port())[0] == 69


class TestCluster:
    def test_status(self, ctl):
        code, out, _ = ctl("status")
        assert code == 0
        assert "n1 of cluster test" in out
        assert json.loads(ctl("status", "-o", "json")[1])["node"] == "n1"
        code, out, _ = ctl("status", "--cluster")
        assert code == 0
        assert "n1 leads" in out

    def test_status_of_a_lone_node_names_who_is_missing(self, ctl):
        gone = {"n2": {"client": closed_port(), "events": closed_port()}}
        with FakeDaemon(members=gone) as lone:
            lone.status = {"leader": "", "leader_endpoint": "", "role": "candidate"}
            code, out, _ = ctl("status", endpoints=lone.endpoint)
            assert code == 0
            assert "not heard: n2" in out
            assert "no quorum" in out
            code, out, _ = ctl("status", "--cluster", "-o", "json", endpoints=lone.endpoint)
            assert code == 0
            nodes = json.loads(out)["nodes"]
            assert [(node["node"], node["reachable"]) for node in nodes] == [
                ("n1", True),
                ("n2", False),
            ]
            assert ctl("leader", endpoints=lone.endpoint)[0] == 1

    def test_health(self, ctl, daemon):
        code, out, _ = ctl("health")
        assert code == 0
        assert "committed in" in out
        assert len(daemon.machine.sessions) == 0  # nothing is left behind
        daemon.refusal = "no_leader"
        code, out, err = ctl("health", "--timeout", "300ms")
        assert (code, out) == (1, "")
        assert "unhealthy" in err
        code, out, _ = ctl("health", "--timeout", "300ms", "-o", "json")
        assert (code, json.loads(out)["healthy"]) == (1, False)

    def test_leader(self, ctl, daemon):
        assert ctl("leader") == (0, f"n1  {daemon.endpoint}\n", "")

    def test_hash(self, ctl):
        ctl("put", "k", "v")
        code, out, _ = ctl("hash", "-o", "json")
        body = json.loads(out)
        assert (code, body["agree"]) == (0, True)
        assert len(body["nodes"][0]["checksum"]) == 16

    def test_hash_waits_for_a_node_that_gets_on_with_a_large_state(self, ctl, daemon):
        with Client([daemon.endpoint], timeout_s=30) as client:
            pipeline = client.pipeline()
            for number in range(250):
                pipeline.put(b"%d" % number, b"")
            pipeline.results()
        daemon.sum_keys = 2  # some 20 ms each time: longer than a request may take
        code, out, _ = ctl("hash", "--timeout", "1500ms", "-o", "json")
        assert (code, json.loads(out)["agree"]) == (0, True)
        daemon.sum_keys = 0
        code, _, err = ctl("hash", "--timeout", "1500ms")
        assert code == 3
        assert "n1 did not tell" in err

    def test_health_and_hash_name_a_node_whose_state_differs(self, ctl, daemon):
        found = {"slot": 128, "sum": "chain", "own": "2", "others": "7"}
        daemon.status = {"state": "agreed", "state_odd": {"n3": found}}
        code, out, _ = ctl("health")
        assert code == 0, "a write commits"
        assert "of n3 differs from that of n1 and the majority from slot 128 on" in out
        code, _, err = ctl("hash")
        assert code == 1
        assert "paxosctl member rejoin n3" in err

    def test_health_names_a_node_that_takes_no_more_clients(self, ctl, daemon):
        full = {"open": 98, "most": 98, "refused": 3, "silent": 0}
        daemon.status = {
            "connections": {"client": full},
            "descriptors": {"total": 256, "reserve": 64, "used": 150},
        }
        code, out, _ = ctl("health")
        assert code == 0, "a write commits"
        assert "as many client connections as it may have (98)" in out

    def test_hash_with_a_node_missing_and_with_one_that_differs(self, ctl):
        with FakeDaemon("n2") as other:
            there = {"client": other.endpoint, "events": other.events_endpoint}
            with FakeDaemon("n1", members={"n2": there}) as first:
                ctl("put", "k", "v", endpoints=other.endpoint)
                ctl("put", "k", "w", endpoints=first.endpoint)
                ctl("hash", endpoints=other.endpoint)  # both at the same slot
                other.members = first.members
                code, _, err = ctl("hash", endpoints=first.endpoint)
                assert code == 1
                assert "THE STATES DIFFER" in err
                other.silent = True
                code, out, err = ctl("hash", "--timeout", "500ms", endpoints=first.endpoint)
                assert code == 3, "that is another answer than a difference"
                assert "not complete: n2 did not tell; all others agree" in err
                assert "DIFFER" not in out + err
                options = ("--timeout", "500ms", "-o", "json")
                code, out, err = ctl("hash", *options, endpoints=first.endpoint)
                found = json.loads(out)
                assert (code, found["agree"], found["missing"]) == (3, None, ["n2"])
                assert json.loads(err)["error"] == "incomplete"
                assert [each["error"] for each in found["nodes"]] == [None, "no_answer"]

    def test_hash_asks_no_more_of_one_that_is_no_member(self, ctl, daemon):
        """An endpoint of a node that was removed may stand in the list for long."""
        both = f"{daemon.endpoint},{closed_port()}"
        code, out, _ = ctl("hash", "-o", "json", endpoints=both)
        found = json.loads(out)
        assert (code, found["agree"], found["missing"]) == (0, True, [])
        assert [each["member"] for each in found["nodes"]] == [True, False]


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


class TestBench:
    def test_put(self, ctl, daemon):
        code, out, _ = ctl(
            "bench", "put", "--count", "300", "--outstanding", "20", "--connections", "3",
            "--size", "10", "--keys", "7", "-o", "json",
        )  # fmt: skip
        body = json.loads(out)
        assert (code, body["puts"], body["errors"]) == (0, 300, {})
        assert len(daemon.machine.store) == 8  # and the key of the warm-up
        assert "puts/s" in ctl("bench", "put", "--count", "10")[1]

    def test_bad(self, ctl):
        assert ctl("bench", "put", "--connections", "5", "--outstanding", "2")[0] == 2
        assert ctl("bench", "put", "--count", "10", endpoints=closed_port())[0] == 69


class TestEndings:
    """Each failure has its exit code and says what to do."""

    def test_nobody_listens_is_69(self, ctl):
        code, _, err = ctl("get", "k", endpoints=closed_port())
        assert code == 69
        assert "connection refused" in err
        assert "start it" in err

    def test_a_node_that_is_down_is_passed_over(self, ctl, daemon):
        assert ctl("put", "k", "v", endpoints=f"{closed_port()},{daemon.endpoint}")[0] == 0

    def test_a_redirect_is_followed(self, ctl, daemon):
        with FakeDaemon("n2") as follower:
            follower.refusal, follower.hint = "not_leader", daemon.endpoint
            assert ctl("put", "k", "v", endpoints=follower.endpoint)[0] == 0
        assert daemon.machine.store.get(b"k").value == b"v"

    @pytest.mark.parametrize(
        ("code", "words"), [("no_leader", "no leader"), ("busy", "busy"), ("stopping", "stopping")]
    )
    def test_not_submitted_is_75(self, ctl, daemon, code, words):
        daemon.refusal = code
        exit_code, _, err = ctl("put", "k", "v", "--timeout", "300ms")
        assert exit_code == 75
        assert words in err
        assert "safe to try again" in err

    def test_no_quorum_is_told_from_no_leader(self, ctl):
        gone = {name: {"client": closed_port(), "events": closed_port()} for name in ("n2", "n3")}
        with FakeDaemon(members=gone) as lone:
            lone.refusal = "no_leader"
            code, _, err = ctl("put", "k", "v", "--timeout", "300ms", endpoints=lone.endpoint)
        assert code == 75
        assert "no quorum; not submitted" in err
        assert "counts 1 of 3 voters and needs 2; start or reconnect n2 and n3" in err

    def test_a_silent_node(self, ctl, daemon):
        daemon.silent = True
        code, _, err = ctl("get", "k", "--timeout", "200ms")
        assert code == 75
        assert "connected, but it does not answer" in err

    def test_an_unknown_outcome_is_124_and_the_command_it_prints_answers(self, ctl, daemon):
        assert ctl("put", "k", "0")[0] == 0
        with Client([daemon.endpoint], timeout_s=0.3) as client:
            client.put(b"k", b"1")  # the session is open
            daemon.silent_writes = True
            with pytest.raises(Exception, match="unknown") as caught:
                client.put(b"k", b"2")
            daemon.silent_writes = False
            session, seq = caught.value.session, caught.value.seq
            assert client.outcome(session, seq).state == "committed"
            assert client.put(b"k", b"3") == 4  # in a new session
        assert len({entry.first_seq for entry in daemon.writes if entry.session == session}) == 2

    def test_the_message_of_124(self, ctl, daemon, monkeypatch):
        real = daemon._answer

        def lose_puts(request):
            answer = real(request)
            lost = daemon.writes and daemon.writes[-1].session and hasattr(request, "entry")
            return None if lost else answer

        monkeypatch.setattr(daemon, "_answer", lose_puts)
        code, _, err = ctl("put", "k", "v", "--timeout", "300ms")
        assert code == 124
        ask = f"paxosctl --endpoints {daemon.endpoint} outcome 1 1"
        assert ask in err
        code, _, err = ctl("put", "k", "v", "--timeout", "300ms", "-o", "json")
        body = json.loads(err)
        assert (code, body["error"], body["session"], body["seq"]) == (124, "outcome_unknown", 2, 1)

    def test_usage_is_2(self, ctl):
        for arguments in (
            ["nonsense"],
            ["get"],
            ["get", "k", "--limit", "3"],
            ["get", "k", "--bogus"],
            ["get", "k", "-o", "yaml"],
            ["get", "k", "--timeout", "soon"],
            ["get", "k", "--timeout", "0s"],
            ["get", "k", "--endpoints", "localhost"],
        ):
            assert ctl(*arguments)[0] == 2, arguments

    def test_the_nearest_verb_is_named(self, ctl):
        assert 'did you mean "put"' in ctl("pit", "k", "v")[2]

    def test_help_of_every_verb(self, ctl):
        assert ctl("--help")[0] == 0
        for verb in VERBS:
            assert ctl(verb, "--help")[0] == 0
        assert ctl("--version")[0] == 0

    def test_two_clusters_in_one_list_are_not_mixed(self, ctl, daemon):
        """The first answer decides; the other one refuses what is addressed to the first."""
        with Client([daemon.endpoint]) as client:
            client.put(b"k", b"v")
            assert client.cluster == "test"

    def test_a_short_verb_starts_without_rich(self, daemon):
        words = (
            "import sys; from paxosctl.cli.main import run; "
            f"code = run(['--endpoints', {daemon.endpoint!r}, 'put', 'k', 'v']); "
            "bad = {'rich', 'structlog', 'asyncio'} & set(sys.modules); "
            "sys.exit(code or str(bad) if bad else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", words], capture_output=True, timeout=30, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")


class TestWords:
    def test_every_summary_is_a_whole_sentence(self, capsys):
        """In the list of verbs of each group; nothing is cut off."""
        for group in ([], ["member"], ["cluster"], ["fault"], ["snapshot"], ["bench"], ["sim"]):
            assert run([*group, "-h"]) == 0
            told = capsys.readouterr().out
            listed = told[told.index("Commands:") :]
            assert "..." not in listed
            summaries = re.split(r"\n  (?=\S)", listed)[1:]
            assert summaries
            assert all(each.rstrip().endswith((".", "?")) for each in summaries), listed

    def test_a_history_that_is_gone_names_its_first_revision(self, capsys):
        error = RefusedError("compacted", "it is gone", detail=17)
        complain(Settings(output="json"), error, [])
        assert json.loads(capsys.readouterr().err)["first_revision"] == 17
