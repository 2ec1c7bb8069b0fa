"""From the first moment of the process on: signals, standard files, a log that nobody reads, and
variables of the environment that are no settings; and the level of the log while a node runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from paxosctl.client.errors import RefusedError
from paxosd.core.requests import GET, STALE, ReadRequest
from tests.processes.processes import Daemons, clean_environ, full_pipe, wait_for

RECOVERING = """
import sys, time
import paxosd.daemon.startup
from paxosd.config.sources import load
from pathlib import Path

def long_recovery(*_, **__):
    print("recovering", flush=True)
    while True:
        pass

paxosd.daemon.startup.assemble = long_recovery
import paxosd.cli
sys.argv = ["paxosd", "--config", sys.argv[1]]
from paxosd.__main__ import main
main()
"""


@pytest.fixture
def single(tmp_path):
    """A cluster of one, not started."""
    with Daemons(tmp_path, 1) as daemons:
        yield daemons


class TestLogNobodyReads:
    @pytest.fixture
    def stuck(self, single):
        single.settings["log"] = {"format": "json", "file": "", "level": "debug"}
        single.write_config("n1")
        single.init("n1")
        single.founded = True
        with full_pipe() as writer:
            yield lambda: os.dup2(writer, 2)

    def test_neither_the_loop_nor_the_end_waits_for_it(self, single, stuck):
        single.start(preexec=stuck)
        single.wait_leader()
        with single.client() as client:
            client.put(b"k", b"v")
        single.signal("n1", signal.SIGTERM)
        assert single.wait_end("n1") == 0

    def test_nor_does_a_start_that_fails(self, single, stuck):
        single.start()
        single.wait_leader()
        code, _ = single.fails_to_start("n1", preexec=stuck)
        assert code == 69

    def test_what_was_dropped_is_in_the_status(self, single, stuck):
        single.start(preexec=stuck)
        single.wait_leader()

        with single.raw("n1") as raw:

            def dropped():
                for _ in range(1000):  # a line each
                    raw.send(ReadRequest(0, STALE, [[GET, b"k"]]))
                status = single.status("n1")
                return status and status["log"]["dropped"]

            assert wait_for(dropped, 60.0, "a line that is dropped") > 0


class TestStandardFiles:
    def test_closed_ones_are_nobodys_numbers(self, single):
        """The log of the acceptor must not become standard error."""
        single.start(preexec=lambda: [os.close(fd) for fd in (0, 1, 2)])
        single.wait_leader()
        pid = single.processes["n1"].pid
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3
        assert single.events("n1", "node.ready")

    def test_a_start_that_fails_keeps_its_code(self, single):
        single.config_path("n1").write_text("nonsense")
        code, _ = single.fails_to_start("n1", preexec=lambda: os.close(2))
        assert code == 78


class TestSignalsDuringRecovery:
    @pytest.fixture
    def recovering(self, single):
        """Starts a node whose recovery never ends; ``before``: what is put before the command."""
        single.init("n1")
        started = []

        def start(*before):
            process = subprocess.Popen(
                [*before, sys.executable, "-c", RECOVERING, str(single.config_path("n1"))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=clean_environ(),
            )
            started.append(process)
            assert process.stdout.readline() == b"recovering\n"
            return process

        yield start
        for process in started:
            process.kill()
            process.wait()
            process.stdout.close()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_ends_it(self, single, recovering, number):
        process = recovering()
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        (line,) = single.events("n1", "node.stopping")
        assert line["reason"] == number.name
        assert single.events("n1", "node.stopped")[-1]["exit_code"] == 0
        single.founded = True
        single.start()  # and nothing was left behind
        single.wait_leader()

    def test_a_reload_waits(self, single, recovering):
        process = recovering()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0

    def test_a_stop_ends_it_as_process_1_too(self, recovering):
        if shutil.which("unshare") is None or os.geteuid() != 0:
            pytest.skip("making a PID namespace needs root and unshare")
        process = recovering("unshare", "--pid", "--fork", "--kill-child")
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as children:
            inner = int(children.read())
        os.kill(inner, signal.SIGTERM)
        assert process.wait(timeout=60) == 0


class TestSignalsBeforeThat:
    SLOW_IMPORT = (
        "import sys\n"
        "class Slow:\n"
        " def find_spec(self, name, *_):\n"
        "  if name == 'paxosd.cli':\n"
        "   print('importing', flush=True)\n"
        "   while True: pass\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from paxosd.__main__ import main\n"
        "main()\n"
    )

    @pytest.fixture
    def importing(self):
        with subprocess.Popen(
            [sys.executable, "-c", self.SLOW_IMPORT], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout.readline() == b"importing\n"
            yield process
            process.kill()

    def test_a_stop_of_a_node_is_a_clean_end(self, single):
        """Also while what a node is made of is being imported, which takes seconds at times."""
        script = self.SLOW_IMPORT.replace("paxosd.cli", "paxosd.daemon.daemon")
        command = [sys.executable, "-c", script, "--config", str(single.config_path("n1"))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environ()) as process:
            assert process.stdout.readline() == b"importing\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0

    def test_a_reload_does_not_end_it(self, importing):
        importing.send_signal(signal.SIGHUP)
        importing.send_signal(signal.SIGTERM)
        assert importing.wait(timeout=60) == -signal.SIGTERM

    def test_a_command_that_is_no_daemon_ends_by_a_signal_as_commands_do(self, tmp_path):
        script = (
            "import os, signal, click\n"
            "from paxosd.host.stop_signals import SIGNALS\n"
            "SIGNALS.catch()\n"
            "os.kill(os.getpid(), signal.SIGHUP)\n"
            "print('alive', flush=True)\n"
            "SIGNALS.release()\n"
            "print('never', flush=True)\n"
        )
        done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False)
        assert (done.returncode, done.stdout) == (-signal.SIGHUP, b"alive\n")


class TestEnvironment:
    def test_the_variables_of_a_service_are_told_once(self, single):
        variables = {"PAXOSD_PORT": "tcp://10.96.0.7:7410", "PAXOSD_SERVICE_HOST": "10.96.0.7"}
        single.start(env=variables)
        single.wait_leader()
        (line,) = single.events("n1", "config.environ_ignored")
        assert line["variables"] == sorted(variables)


class TestFatalStart:
    def test_its_last_line_is_json(self, single):
        single.start()
        single.wait_leader()
        code, words = single.fails_to_start("n1")
        line = json.loads(words.splitlines()[-1])
        assert (code, line["exit_code"], line["event"]) == (69, 69, "node.failed")
        (refused,) = single.events("n1", "datadir.refused")
        assert "process" in refused["message"]
        assert not single.events("n1", "storage.failed")

    def test_in_the_log_itself_too(self, single):
        single.settings["log"] = {"format": "json", "file": ""}
        single.write_config("n1")
        single.start()
        single.wait_leader()
        code, words = single.fails_to_start("n1")
        lines = [json.loads(line) for line in words.splitlines()]
        # The node that runs logs to the same file.
        ended = [line["exit_code"] for line in lines if line["event"] == "node.failed"]
        assert (code, ended) == (69, [69])

    def test_another_nodes_directory_is_no_storage_failure(self, single):
        single.start()
        single.wait_leader()
        single.kill()
        path = single.config_path("n1")
        path.write_text(path.read_text().replace('id = "test"', 'id = "prod"'))
        code, words = single.fails_to_start("n1")
        assert code == 78
        assert "belongs to" in json.loads(words.splitlines()[-1])["message"]
        assert single.events("n1", "datadir.refused")
        assert not single.events("n1", "storage.failed")


class TestLogLevel:
    def ctl(self, single, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "paxosctl", "--endpoints", single.endpoint("n1"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=clean_environ(),
        )
        return done.returncode, done.stdout, done.stderr

    def test_it_changes_for_a_while_and_back_by_itself(self, single):
        single.start()
        single.wait_leader()
        code, out, _ = self.ctl(single, "-o", "json", "node", "log-level", "debug", "--for", "20s")
        assert code == 0
        answer = json.loads(out)
        assert (answer["node"], answer["log_level"], answer["configured"]) == (
            "n1",
            "debug",
            "info",
        )
        assert 0 < answer["left_ms"] <= 20_000
        assert single.status("n1")["log"]["level"] == "debug"
        assert "debug for " in self.ctl(single, "status")[1]
        with single.client() as client:
            client.put(b"k", b"v")
        single.wait_event("n1", "accepted.published")
        single.wait_event("n1", "client.request", what="write")
        single.wait_event("n1", "fsync")
        # Anew, for less long: the last word counts.
        assert self.ctl(single, "node", "log-level", "debug", "--for", "1ms")[0] == 0
        single.wait_event("n1", "log.level", **{"from": "debug", "to": "info"})
        assert single.status("n1")["log"] == {
            **{"level": "info", "configured": "info"},
            **{"left_ms": 0, "dropped": 0},
        }
        count = len(single.events("n1", "client.request"))
        with single.client() as client:
            client.put(b"k", b"w")
            assert client.get(b"k").value == b"w"
        assert len(single.events("n1", "client.request")) == count

    def test_the_configured_level_ends_the_while(self, single):
        single.start()
        single.wait_leader()
        assert single.admin("n1", "log_level", level="error", for_ms=60_000)["left_ms"] > 0
        assert single.admin("n1", "log_level", level="info", for_ms=60_000)["left_ms"] == 0
        assert self.ctl(single, "node", "log-level")[1] == "n1 logs at level info\n"

    def test_what_cannot_be_is_refused(self, single):
        single.start()
        single.wait_leader()
        for wrong in ({"level": "loud", "for_ms": 1}, {"level": "debug"}, {"level": 3}):
            with pytest.raises(RefusedError), closing(single.client()) as client:
                client.admin("log_level", wrong, endpoint=single.endpoint("n1"))
        assert self.ctl(single, "node", "log-level", "loud")[0] == 2
        assert single.status("n1")["log"]["level"] == "info"
