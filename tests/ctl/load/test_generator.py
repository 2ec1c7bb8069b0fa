"""The load generator: what it counts, and how it ends when the cluster does not play along."""

import resource
import subprocess
import sys
import threading
import time

import pytest

from paxosctl.cli.main import run as main
from paxosctl.client.client import Client
from paxosctl.client.errors import NotSubmittedError, UnreachableError
from paxosctl.load.generator import Generator, Target
from paxosctl.load.load import Load
from paxosctl.load.pace import Pace
from paxosctl.load.processes import find_leader, limits_at, run_load
from paxosd.core.client.cluster_info import Limits
from paxosd.core.commands import OPEN, PUT
from paxosd.core.effects import BUSY, INTERRUPTED, NOT_LEADER
from paxosd.core.requests import RefusalAnswer, WriteAnswer, WriteRequest
from paxosd.wire import decode_entry
from tests.ctl.fake_daemon import FakeDaemon

ENDLESS = Load(count=1_000_000, outstanding=6, connections=3, size=10, keys=50)


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


def _after_some_writes(daemon, act):
    """Do something to the daemon in the middle of a run."""

    def wait():
        while len(daemon.writes) < 20:
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def target_at(daemon, limits=None):
    return Target.of(daemon.endpoint, limits)


def _run(daemon, load=ENDLESS, timeout_ms=20_000):
    return run_load(target_at(daemon), load, timeout_ms)


class TestCounting:
    def test_every_put_is_made_once_and_measured(self, daemon):
        report = _run(daemon, Load(count=101, outstanding=7, connections=3, size=10, keys=50))
        puts = [entry for entry in daemon.writes if len(entry.commands[0]) == 3]
        assert sum(len(entry.commands) for entry in puts) == 101
        assert max(len(entry.commands) for entry in puts) == 3  # 7 on 3 connections: 3 + 2 + 2
        assert report.operations == 101
        total = report.total
        assert 0 < total.quantile_ms(0.5) <= total.quantile_ms(0.99) <= total.quantile_ms(1.0)
        assert report.failed == {}

    def test_no_session_is_left_behind(self, daemon):
        _run(daemon, Load(count=50, outstanding=5, connections=5, size=1, keys=5))
        assert len(daemon.machine.sessions) == 0
        assert daemon.machine.sessions.next_id == 6

    def test_fewer_puts_than_connections(self, daemon):
        report = _run(daemon, Load(count=2, outstanding=5, connections=5, size=1, keys=5))
        assert report.operations == 2

    def test_the_same_seed_writes_the_same_keys(self, daemon):
        load = Load(count=20, outstanding=5, connections=1, size=4, keys=1000, seed=3)
        _run(daemon, load)
        first = [entry.commands for entry in daemon.writes]
        daemon.writes.clear()
        _run(daemon, load)
        assert [entry.commands for entry in daemon.writes] == first


def puts_of(daemon):
    """How many puts each request had."""
    return [len(entry.commands) for entry in daemon.writes if entry.commands[0][0] == PUT]


class TestSplitting:
    """What is more than one request or one session may hold goes out in several."""

    @pytest.fixture
    def limits(self, daemon):
        with Client([daemon.endpoint], timeout_s=20) as client:
            return limits_at(client, daemon.endpoint)

    def run(self, daemon, limits, **how):
        load = Load(**{"connections": 1, "size": 1, "keys": 50} | how)
        report = run_load(target_at(daemon, limits), load, 20_000)
        assert report.failed == {}
        assert report.operations == load.count
        assert len(daemon.machine.sessions) == 0
        return puts_of(daemon)

    def test_more_than_a_request_may_hold(self, daemon, limits):
        frames = self.run(daemon, limits, count=3000, outstanding=1025)
        assert frames[:2] == [1024, 1]
        assert sum(frames) == 3000
        assert daemon.machine.sessions.next_id == 2

    def test_more_than_a_session_may_have_under_way(self, daemon, limits):
        assert sum(self.run(daemon, limits, count=20_000, outstanding=17_000)) == 20_000
        assert daemon.machine.sessions.next_id == 4  # 8192 + 8192 + 616

    def test_more_bytes_than_one_request_is_to_have(self, daemon, limits):
        frames = self.run(daemon, limits, count=21, outstanding=21, size=300_000)
        assert frames == [3] * 7

    def test_values_as_large_as_they_may_be(self, daemon, limits):
        assert self.run(daemon, limits, count=3, outstanding=2, size=1 << 20) == [1, 1, 1]

    def test_the_limits_are_those_of_the_cluster(self, daemon):
        daemon.status = {"settings": {"level": 1, "commands_per_request_max": 10,
                                      "session_window_max": 15}}  # fmt: skip
        with Client([daemon.endpoint], timeout_s=20) as client:
            limits = limits_at(client, daemon.endpoint)
        frames = self.run(daemon, limits, count=100, outstanding=40)
        assert frames[:5] == [10, 5, 10, 5, 10]
        assert max(frames) == 10
        assert daemon.machine.sessions.next_id == 4

    def test_answers_in_any_order_never_lead_out_of_the_window(self, daemon):
        limits = Limits(commands_per_request_max=2, session_window_max=8)
        load = Load(count=30, outstanding=8, connections=1, size=1, keys=5)
        run = Generator(target_at(daemon, limits), load, 20_000)
        (client,) = run._clients
        client.id = 1
        run._idle[client] = None
        run._pace = Pace(load, 0)
        run._issue()
        sent = dict(run._sent)
        assert [frame.commands for frame in sent.values()] == [2, 2, 2, 2]
        first, *others = sent
        for request_id in others:
            run._take(WriteAnswer(request_id, 1, [1, 1]))
        assert client.acked == 0
        assert list(run._sent) == [first]  # no seq above 8 before the first two are answered
        run._take(WriteAnswer(first, 1, [1, 1]))
        assert client.acked == 8
        assert [frame.first_seq for frame in run._sent.values()] == [9, 11, 13, 15]
        run._pool.close()

    def test_a_value_that_no_request_may_hold_is_refused_by_name(self, daemon, capsys):
        how = ["--endpoints", daemon.endpoint, "bench", "put", "--size", "17000000"]
        assert main(how) == 77
        words = capsys.readouterr().err
        assert "value is 17000000 bytes; the limit is 1048576 (limits.value_bytes_max)" in words
        assert "--size" in words
        assert puts_of(daemon) == [1]  # the one that finds the leader


class TestTrouble:
    @pytest.mark.parametrize(
        ("code", "counted"), [(NOT_LEADER, NOT_LEADER), (INTERRUPTED, "outcome_unknown")]
    )
    def test_a_refusal_ends_each_connection_and_is_counted_as_what_it_is(
        self, daemon, code, counted
    ):
        thread = _after_some_writes(daemon, lambda: setattr(daemon, "refusal", code))
        report = _run(daemon)
        thread.join()
        assert report.failed == {counted: 6}
        assert report.first_error.code == counted
        assert report.operations

    def test_silence_ends_it_at_the_time_out(self, daemon):
        thread = _after_some_writes(daemon, lambda: setattr(daemon, "silent", True))
        report = _run(daemon, timeout_ms=300)
        thread.join()
        assert report.failed == {"outcome_unknown": 6}
        assert "no answer in time" in str(report.first_error)
        assert report.unknown

    def test_the_exit_code_of_unknown_outcomes(self, daemon, capsys):
        thread = _after_some_writes(daemon, lambda: setattr(daemon, "silent", True))
        code = main(["--endpoints", daemon.endpoint, "--timeout", "300ms", "bench", "put"])
        thread.join()
        assert code == 124
        assert "the outcome is unknown" in capsys.readouterr().err

    def test_a_leader_that_dies_ends_it_at_once(self):
        daemon = FakeDaemon()
        thread = _after_some_writes(daemon, daemon.stop)
        report = _run(daemon, timeout_ms=600_000)  # by it nothing has ended yet
        thread.join()
        assert report.failed == {"outcome_unknown": 6}
        assert "connection to the leader was lost" in str(report.first_error)

    def test_puts_that_the_state_machine_did_not_carry_out_are_no_success(self, daemon):
        def forget_sessions():
            daemon.machine.sessions.table.clear()

        thread = _after_some_writes(daemon, forget_sessions)
        report = _run(daemon)
        thread.join()
        assert report.failed == {"refused": 6}
        assert not report.unknown

    def test_no_session_to_be_had(self, daemon):
        daemon.refusal = BUSY
        with pytest.raises(NotSubmittedError, match="refused to open 3 of 3 sessions") as caught:
            _run(daemon, timeout_ms=300)
        assert caught.value.code == BUSY

    def test_no_session_of_a_node_that_does_not_lead(self, daemon):
        daemon.refusal = NOT_LEADER
        with pytest.raises(NotSubmittedError) as caught:
            _run(daemon)
        assert caught.value.code == NOT_LEADER

    def test_nobody_there(self, daemon):
        with (
            Client(["tcp://127.0.0.1:1"], timeout_s=0.3) as client,
            pytest.raises(UnreachableError),
        ):
            find_leader(client)

    def test_the_leader_cannot_be_reached_but_others_can(self, daemon, capsys):
        gone = "tcp://127.0.0.1:1"
        daemon.status = {"leader": "n2", "leader_endpoint": gone}
        code = main(["--endpoints", daemon.endpoint, "--timeout", "1s", "bench", "put"])
        out, err = capsys.readouterr()
        assert (code, out) == (75, "")
        assert f"the leader ({gone}) cannot be reached from here" in err
        assert "no endpoint can be reached" not in err

    @pytest.mark.parametrize("hard", [100, 4096])
    def test_more_connections_than_files_is_said_in_words(self, daemon, hard):
        """The soft limit is raised as far as the hard one allows."""
        done = subprocess.run(
            [sys.executable, "-m", "paxosctl", "--endpoints", daemon.endpoint, "bench", "put",
             "--connections", "200", "--outstanding", "200", "--count", "200"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)),
        )  # fmt: skip
        if hard > 400:
            assert (done.returncode, done.stderr) == (0, "")
            return
        assert (done.returncode, done.stdout) == (75, "")
        assert "ulimit -n" in done.stderr
        assert "Traceback" not in done.stderr


def refusing(daemon, times, wanted=PUT):
    """Refuse as busy what comes with the first command ``wanted``, so many times."""
    answer, left = daemon._answer, [times]

    def refuse(request):
        is_write = isinstance(request, WriteRequest)
        first = decode_entry(request.entry).commands[0][0] if is_write else None
        if first != wanted or not left[0]:
            return answer(request)
        left[0] -= 1
        return RefusalAnswer(request.request_id, BUSY, "it says busy", "", "", 0)

    daemon._answer = refuse
    return left


class TestBusy:
    LOAD = Load(count=60, outstanding=6, connections=3, size=10, keys=50)

    def test_what_is_refused_as_busy_is_sent_again_and_counted(self, daemon):
        left = refusing(daemon, 10)
        report = _run(daemon, self.LOAD)
        assert left == [0]
        assert (report.operations, report.failed, report.refused) == (60, {}, {BUSY: 20})
        assert report.refused_count == sum(each.refused for each in report.windows) == 20
        assert sum(puts_of(daemon)) == 60
        assert len(daemon.machine.sessions) == 0

    def test_its_latency_counts_from_the_first_time(self, daemon):
        refusing(daemon, 5)  # the last of five pauses has 160 ms at least, all together 310
        report = _run(daemon, Load(count=1, outstanding=1, connections=1, size=1, keys=1))
        assert report.total.quantile_ms(1) >= 310

    def test_gets_as_well(self, daemon):
        refusing(daemon, 10, wanted=None)
        load = Load(verb="get", count=20, outstanding=2, connections=2, size=1, keys=5)
        report = _run(daemon, load)
        assert (report.operations, report.failed, report.refused) == (20, {}, {BUSY: 10})

    def test_the_opening_of_sessions_as_well(self, daemon):
        left = refusing(daemon, 5, wanted=OPEN)
        report = _run(daemon, self.LOAD)
        assert left == [0]
        assert (report.operations, report.refused) == (60, {})

    def test_a_cluster_that_stays_busy_ends_it_at_the_time_out(self, daemon):
        thread = _after_some_writes(daemon, lambda: setattr(daemon, "refusal", BUSY))
        report = _run(daemon, timeout_ms=300)
        thread.join()
        assert report.failed == {BUSY: 6}
        assert not report.unknown
        assert "it says busy (sent " in str(report.first_error)
        assert report.refused_count > 6

    def test_with_the_connection_ends_what_waits(self):
        daemon = FakeDaemon()

        def end():
            daemon.refusal = BUSY
            while daemon.refusals < 6:  # one for each client: all of them wait
                time.sleep(0.005)
            daemon.stop()

        thread = _after_some_writes(daemon, end)
        report = _run(daemon, timeout_ms=600_000)
        thread.join()
        assert report.failed_count == 6


class TestReading:
    def test_stale_reads_go_to_all_members_in_turn(self, daemon):
        with FakeDaemon("n2", follows=daemon) as other:
            asked = {daemon: 0, other: 0}
            for each in asked:
                each._answer = counting(each, asked)
            target = Target(daemon.endpoint, (daemon.endpoint, other.endpoint), Limits())
            load = Load(verb="get", stale=True, count=20, outstanding=2, connections=2, size=1,
                        keys=5)  # fmt: skip
            assert run_load(target, load, 20_000).operations == 20
        assert min(asked.values()) > 0
        assert sum(asked.values()) == 20
        assert len(daemon.machine.sessions) == 0

    def test_a_node_that_dies_ends_the_reads_of_it_alone(self, daemon):
        other = FakeDaemon("n2", follows=daemon)
        target = Target(daemon.endpoint, (daemon.endpoint, other.endpoint), Limits())
        load = Load(verb="get", stale=True, count=2000, outstanding=2, connections=2, size=1,
                    keys=5, per_frame=1)  # fmt: skip
        asked = {other: 0}
        other._answer = counting(other, asked)

        def wait():
            while asked[other] < 20:
                time.sleep(0.005)
            other.stop()

        thread = threading.Thread(target=wait)
        thread.start()
        report = run_load(target, load, 600_000)
        thread.join()
        assert report.failed in ({"no_answer": 1}, {})  # it may die with nothing under way
        assert not report.unknown
        assert report.operations + report.failed_count == 2000


def counting(daemon, asked):
    answer = daemon._answer

    def count(request):
        asked[daemon] += 1
        return answer(request)

    return count


class TestOpenLoop:
    def test_a_stall_meets_every_put_that_was_due_in_it(self, daemon):
        """Coordinated omission: a generator that waits would record one slow put."""
        answer = daemon._answer

        def stall_once(request):
            if len(daemon.writes) == 10:
                daemon._answer = answer
                time.sleep(0.4)
            return answer(request)

        daemon._answer = stall_once
        load = Load(rate=100.0, count=100, outstanding=1, connections=1, per_frame=1, size=1,
                    keys=5)  # fmt: skip
        report = _run(daemon, load)
        assert report.operations == 100
        # 30 are due in the first 300 ms of the stall, and end 100 ms later or more.
        assert report.total.quantile_ms(0.75) >= 100
