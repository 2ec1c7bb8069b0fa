"""The load generator: what it counts, and how it ends when the cluster does not play along."""

import resource
import subprocess
import sys
import threading
import time

import pytest

from paxosctl.client import Client
from paxosctl.errors import NotSubmittedError, UnreachableError
from paxosctl.load import Load, LoadRun, find_leader
from paxosd.core.effects import BUSY, INTERRUPTED
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


def _run(daemon, load=ENDLESS, timeout_ms=20_000):
    return LoadRun(daemon.endpoint, load, timeout_ms).run()


class TestCounting:
    def test_every_put_is_made_once_and_measured(self, daemon):
        report = _run(daemon, Load(count=101, outstanding=7, connections=3, size=10, keys=50))
        puts = [entry for entry in daemon.writes if len(entry.commands[0]) == 3]
        assert sum(len(entry.commands) for entry in puts) == 101
        assert max(len(entry.commands) for entry in puts) == 3  # 7 on 3 connections: 3 + 2 + 2
        assert len(report.latencies_ns) == 101
        assert report.latencies_ns == sorted(report.latencies_ns)
        assert 0 < report.quantile_ms(0.5) <= report.quantile_ms(0.99) <= report.quantile_ms(1.0)
        assert report.failed == {}

    def test_no_session_is_left_behind(self, daemon):
        _run(daemon, Load(count=50, outstanding=5, connections=5, size=1, keys=5))
        assert len(daemon.machine.sessions) == 0
        assert daemon.machine.sessions.next_id == 6

    def test_fewer_puts_than_connections(self, daemon):
        report = _run(daemon, Load(count=2, outstanding=5, connections=5, size=1, keys=5))
        assert len(report.latencies_ns) == 2

    def test_the_same_seed_writes_the_same_keys(self, daemon):
        load = Load(count=20, outstanding=5, connections=1, size=4, keys=1000, seed=3)
        _run(daemon, load)
        first = [entry.commands for entry in daemon.writes]
        daemon.writes.clear()
        _run(daemon, load)
        assert [entry.commands for entry in daemon.writes] == first


class TestTrouble:
    @pytest.mark.parametrize(("code", "counted"), [(BUSY, BUSY), (INTERRUPTED, "outcome_unknown")])
    def test_a_refusal_ends_each_connection_and_is_counted_as_what_it_is(
        self, daemon, code, counted
    ):
        thread = _after_some_writes(daemon, lambda: setattr(daemon, "refusal", code))
        report = _run(daemon)
        thread.join()
        assert report.failed == {counted: 6}
        assert report.first_error.code == counted
        assert report.latencies_ns

    def test_silence_ends_it_at_the_time_out(self, daemon):
        thread = _after_some_writes(daemon, lambda: setattr(daemon, "silent", True))
        report = _run(daemon, timeout_ms=300)
        thread.join()
        assert report.failed == {"outcome_unknown": 6}
        assert "no answer in time" in str(report.first_error)

    def test_a_leader_that_dies_ends_it_at_once(self):
        daemon = FakeDaemon()
        thread = _after_some_writes(daemon, daemon.__exit__)
        began = time.monotonic()
        report = _run(daemon)
        thread.join()
        assert time.monotonic() - began < 10  # the time-out is 20 s
        assert report.failed == {"outcome_unknown": 6}
        assert "connection to the leader was lost" in str(report.first_error)

    def test_puts_that_the_state_machine_did_not_carry_out_are_no_success(self, daemon):
        def forget_sessions():
            daemon.machine.sessions.table.clear()

        thread = _after_some_writes(daemon, forget_sessions)
        report = _run(daemon)
        thread.join()
        assert report.failed == {"refused": 6}

    def test_no_session_to_be_had(self, daemon):
        daemon.refusal = BUSY
        with pytest.raises(NotSubmittedError) as caught:
            _run(daemon)
        assert caught.value.code == BUSY

    def test_nobody_there(self, daemon):
        with (
            Client(["tcp://127.0.0.1:1"], timeout_s=0.3) as client,
            pytest.raises(UnreachableError),
        ):
            find_leader(client)

    def test_more_connections_than_files_is_said_in_words(self, daemon):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        done = subprocess.run(
            [sys.executable, "-m", "paxosctl", "--endpoints", daemon.endpoint, "bench", "put",
             "--connections", "200", "--outstanding", "200", "--count", "200"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard)),
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (75, "")
        assert "ulimit -n" in done.stderr
        assert "Traceback" not in done.stderr
