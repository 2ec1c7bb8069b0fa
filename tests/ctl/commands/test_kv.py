"""The verbs for keys: put, get, scan, delete, cas, outcome and watch, in each format."""

import json

import pytest

from paxosctl.client.client import Client
from paxosd.core.requests import ReadAnswer
from tests.ctl.fake_daemon import FakeDaemon, closed_port


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
