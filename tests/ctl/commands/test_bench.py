"""bench and check perf at the command line."""

import json
import threading
import time

import pytest
from hdrh.histogram import HdrHistogram

from paxosd.core.commands import OPEN, PUT
from tests.ctl.fake_daemon import FakeDaemon, closed_port


@pytest.fixture
def bench(ctl):
    """``bench("put", …)``: the JSON that it answers with exit code 0."""

    def call(*arguments):
        code, out, err = ctl("bench", *arguments, "-o", "json")
        assert code == 0, err
        return json.loads(out)

    return call


def puts_of(daemon):
    """How many puts each request had, without that which finds the leader."""
    frames = [len(entry.commands) for entry in daemon.writes if entry.commands[0][0] == PUT]
    return frames[1:]


def sessions_of(daemon):
    return sum(entry.commands[0][0] == OPEN for entry in daemon.writes) - 1


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

    @pytest.mark.parametrize(
        "words",
        [
            ["--connections", "5", "--clients", "2"],
            ["--clients", "5", "--outstanding", "2"],
            ["--processes", "3", "--connections", "2"],
            ["--plot", "figure.png"],
            ["--plot", "/nonexistent/figure.html"],
            ["--warmup", "soon"],
            ["--duration", "0s"],
            ["--distribution", "normal"],
            ["--rate", "0"],
        ],
    )
    def test_contradictions_are_found_before_anything_is_sent(self, ctl, daemon, words):
        code, out, err = ctl("bench", "put", *words)
        assert (code, out) == (2, "")
        assert words[0] in err
        assert daemon.writes == []


class TestClients:
    def test_a_client_is_a_session_with_one_command_under_way(self, bench, daemon):
        body = bench("put", "--clients", "7", "--count", "50")
        assert (body["clients"], body["connections"], body["outstanding"]) == (7, 7, 7)
        assert puts_of(daemon) == [1] * 50
        assert sessions_of(daemon) == 7
        assert len(daemon.machine.sessions) == 0

    def test_clients_can_share_connections_and_frames(self, bench, daemon):
        body = bench("put", "--clients", "6", "--connections", "2", "--per-frame", "5",
                     "--count", "60")  # fmt: skip
        assert (body["connections"], body["outstanding"], body["per_frame"]) == (2, 30, 5)
        assert puts_of(daemon) == [5] * 12
        assert sessions_of(daemon) == 6

    def test_without_clients_a_frame_has_all_that_is_under_way(self, bench, daemon):
        bench("put", "--count", "200")
        assert puts_of(daemon) == [100, 100]

    def test_several_processes(self, bench, daemon):
        body = bench("put", "--clients", "4", "--count", "41", "--processes", "2")
        assert body["puts"] == 41
        assert body["generator"]["processes"] == 2
        assert sum(puts_of(daemon)) == 41
        assert sessions_of(daemon) == 4
        assert len(daemon.machine.sessions) == 0

    def test_a_process_that_cannot_begin(self, ctl, daemon):
        code, _, err = ctl("bench", "put", "--clients", "4", "--processes", "2", "--size",
                           "17000000")  # fmt: skip
        assert code == 77
        assert "--size" in err

    def test_the_open_loop(self, bench):
        body = bench("put", "--rate", "200", "--duration", "500ms", "--warmup", "100ms")
        assert body["puts"] + body["unsent"] == 100
        assert (body["rate"], body["warmup_s"], body["clients"]) == (200, 0.1, 100)

    def test_the_histogram_and_the_windows_have_every_put(self, bench):
        body = bench("put", "--clients", "3", "--count", "77")
        assert HdrHistogram.decode(body["histogram"]).get_total_count() == 77
        assert sum(each["operations"] for each in body["windows"]) == 77
        shown = [body[f"{name}_ms"] for name in ("p50", "p90", "p99", "p999", "max")]
        assert shown == sorted(shown)


class TestBusy:
    def refuse_some(self, daemon, first):
        answer = daemon._answer

        def refuse(request):
            daemon.refusal = "busy" if first <= len(daemon.writes) < first + 5 else ""
            if daemon.refusal:
                daemon.writes.append(daemon.writes[-1])
            return answer(request)

        daemon._answer = refuse

    def test_refusals_are_shown_and_are_no_failures(self, ctl, daemon):
        self.refuse_some(daemon, 20)
        code, out, _ = ctl("bench", "put", "--clients", "2", "--count", "50", "-o", "json")
        body = json.loads(out)
        assert (code, body["puts"], body["errors"], body["refusals"]) == (0, 50, {}, {"busy": 5})
        daemon.writes.clear()
        assert "refused 5 as busy" in ctl("bench", "put", "--clients", "2", "--count", "50")[1]

    def test_check_perf_shows_them_too(self, ctl, daemon):
        self.refuse_some(daemon, 60)  # after the opening of the sessions
        _, out, _ = ctl("check", "perf", "--duration", "500ms", "-o", "json")
        body = json.loads(out)
        assert (body["refusals"], body["checks"][0]["ok"]) == ({"busy": 5}, True)


class TestReads:
    def test_get_finds_what_was_written_before(self, bench, daemon):
        body = bench("get", "--clients", "3", "--count", "40", "--keys", "20", "--size", "9")
        assert (body["gets"], body["errors"], body["stale"]) == (40, {}, False)
        assert len(daemon.machine.store) == 21

    def test_without_writing_before(self, bench, daemon):
        bench("get", "--stale", "--count", "40", "--keys", "20", "--no-preload")
        assert len(daemon.machine.store) == 1

    @pytest.mark.parametrize(("ratio", "puts"), [("0", 30), ("1", 0)])
    def test_mixed(self, bench, daemon, ratio, puts):
        body = bench("mixed", "--clients", "3", "--count", "30", "--read-ratio", ratio,
                     "--no-preload")  # fmt: skip
        assert len(puts_of(daemon)) == puts
        assert body["operations"] == 30
        assert {verb: each["operations"] for verb, each in body["by_verb"].items()} == {
            "put" if puts else "get": 30
        }

    def test_both_verbs_have_their_own_latencies(self, bench):
        body = bench("mixed", "--clients", "3", "--count", "100", "--no-preload")
        assert sum(each["operations"] for each in body["by_verb"].values()) == 100
        assert set(body["by_verb"]) == {"put", "get"}


class TestPlot:
    def test_a_page(self, bench, tmp_path):
        bench("put", "--count", "50", "--plot", str(tmp_path / "p.html"))
        assert (tmp_path / "p.html").read_text().count("<svg") == 3


class TestPerf:
    def test_the_verdict_is_the_exit_code(self, ctl, daemon):
        code, out, err = ctl("check", "perf", "--duration", "500ms", "-o", "json")
        body = json.loads(out)
        assert body["ok"] is (code == 0), err
        assert [each["check"] for each in body["checks"]] == [
            "errors", "throughput", "slowest", "deviation",
        ]  # fmt: skip
        assert body["ok"] is all(each["ok"] for each in body["checks"])
        assert len(daemon.machine.store) == 0

    def test_a_cluster_that_fails_it(self, ctl, daemon):
        def refuse(request, answer=daemon._answer):
            if len(daemon.writes) > 150:
                daemon.refusal = "busy"
            return answer(request)

        daemon._answer = refuse
        asked = ("check", "perf", "--duration", "500ms", "--timeout", "500ms")
        code, out, err = ctl(*asked, "-o", "json")
        assert code == 1
        assert json.loads(err)["message"] == "the cluster does not carry the load s"
        body = json.loads(out)
        assert (body["ok"], body["checks"][0]["ok"]) == (False, False)
        assert "it says busy" in body["checks"][0]["message"]
        daemon.refusal = ""
        daemon.writes.clear()
        code, out, _ = ctl(*asked)
        assert code == 1
        assert "FAIL" in out.split()
        assert "could not be removed" in out


class TestLoss:
    def test_an_open_loop_ends_with_its_leader(self, ctl):
        """Also where no client had anything under way: then nothing else would say so."""
        daemon = FakeDaemon()

        def stop():
            while len(daemon.writes) < 20:
                time.sleep(0.005)
            daemon.stop()

        thread = threading.Thread(target=stop)
        thread.start()
        code, _, err = ctl("bench", "put", "--clients", "5", "--rate", "100", "--duration", "10m",
                           "--timeout", "10m", endpoints=daemon.endpoint)  # fmt: skip
        thread.join()
        assert code in (1, 124)
        assert "the connection to the leader was lost" in err


class TestWatch:
    def test_every_watcher_gets_every_put(self, bench):
        body = bench("watch", "--watchers", "5", "--rate", "50", "--duration", "400ms", "--size",
                     "20")  # fmt: skip
        assert (body["puts"], body["events"], body["missed"]) == (20, 100, 0)
        assert sum(each["operations"] for each in body["windows"]) == 100
        assert 0 < body["p50_ms"] <= body["max_ms"]

    def test_several_processes_share_the_watchers(self, bench):
        body = bench("watch", "--watchers", "5", "--rate", "50", "--duration", "400ms",
                     "--processes", "2")  # fmt: skip
        assert (body["puts"], body["events"], body["missed"]) == (20, 100, 0)
        assert body["generator"]["processes"] == 2
        assert sum(each["operations"] for each in body["windows"]) == 100

    def test_the_warm_up_is_not_measured(self, bench, daemon):
        body = bench("watch", "--watchers", "2", "--rate", "50", "--duration", "400ms",
                     "--warmup", "200ms")  # fmt: skip
        assert (body["puts"], body["events"], body["missed"]) == (20, 40, 0)
        assert body["warmup_s"] == 0.2
        assert sum(puts_of(daemon)) == 30
        assert HdrHistogram.decode(body["histogram"]).get_total_count() == 40

    def test_a_page(self, bench, tmp_path):
        bench("watch", "--watchers", "2", "--rate", "50", "--duration", "200ms", "--warmup", "0",
              "--plot", str(tmp_path / "p.html"))  # fmt: skip
        text = (tmp_path / "p.html").read_text()
        assert text.count("<svg") == 3
        assert "events in this second" in text

    @pytest.mark.parametrize("words", [["--processes", "3"], ["--plot", "p.png"]])
    def test_contradictions_are_found_before_anything_is_sent(self, ctl, daemon, words):
        code, _, err = ctl("bench", "watch", "--watchers", "2", *words)
        assert code == 2
        assert words[0] in err
        assert daemon.writes == []

    def test_what_was_not_published_is_missed(self, ctl, daemon):
        """Of the changes every second one gets lost on its way."""
        publish, published = daemon.publisher._publish, []

        def lose(topic, payload):
            published.append(topic)
            if not topic.startswith(b"kv/") or len(published) % 2:
                publish(topic, payload)

        daemon.publisher._publish = lose
        code, out, err = ctl("bench", "watch", "--watchers", "1", "--rate", "50", "--duration",
                             "400ms", "--warmup", "0", "-o", "json")  # fmt: skip
        body = json.loads(out)
        assert code == 1
        assert body["missed"] == 20 - body["events"] > 0
        assert "events were missed" in err

    def test_a_value_has_room_for_its_time(self, ctl):
        assert ctl("bench", "watch", "--size", "7")[0] == 2
