"""The supervisor with real processes: fake_node.py stands in for the daemon."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from paxosd.daemon import exits
from paxosd.dev.child import ChildSpec, why_ended
from paxosd.dev.supervisor import STOP_TIMEOUT_S, NoSocketDirectoryError, Supervisor

FAKE = Path(__file__).with_name("fake_node.py")


class Story:
    """What the supervisor says, and what the test does when it says something."""

    def __init__(self):
        self.lines = []
        self._then = []

    def when(self, words, act, times=1):
        self._then += [(words, act)] * times

    def say(self, line):
        self.lines.append(line)
        for index, (words, act) in enumerate(self._then):
            if words in line:
                del self._then[index]
                act()
                return

    def text(self):
        return "\n".join(self.lines)


@pytest.fixture
def story():
    return Story()


@pytest.fixture
def run(tmp_path, story):
    def start(*words, restart_after_ms=None, stop_timeout_s=5.0):
        supervisor = Supervisor(
            [spec(tmp_path, f"n{index}", word) for index, word in enumerate(words, 1)],
            restart_after_ms=restart_after_ms,
            say=story.say,
            when_ready=["Try:"],
            stop_timeout_s=stop_timeout_s,
        )
        return supervisor.run()

    return start


def spec(directory, name, word):
    argv = (sys.executable, str(FAKE), word, str(directory))
    return ChildSpec(name, argv, dict(os.environ), directory / f"{name}.err", f"start {name}")


def pids(directory):
    return [int(line) for line in (directory / "starts").read_text().split()]


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition, timeout_s=10.0):
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.01)


class TestStart:
    def test_all_ready_then_what_to_try_then_one_ctrl_c(self, run, story, tmp_path):
        story.when("Try:", ctrl_c)
        assert run("stay", "stay", "stay") == 0
        text = story.text()
        assert text.count("ready in") == 4
        assert "follower of n1" in text
        assert text.index("ready in") < text.index("Try:") < text.index("stopping")
        assert text.count("  stopped") == 3
        assert not any(alive(pid) for pid in pids(tmp_path))

    def test_one_that_is_slow_is_named(self, run, story, monkeypatch):
        monkeypatch.setattr("paxosd.dev.supervisor.SLOW_START_S", 0.2)
        story.when("not ready after", ctrl_c)
        assert run("stay", "mute") == 0
        assert re.search("not ready after 0.2 s: (n1, )?n2", story.text()), "n1 may be late, too"
        assert "Try:" not in story.text()

    def test_a_program_that_is_not_there(self, story, tmp_path):
        missing = ChildSpec("n1", ("/no/such",), {}, tmp_path / "n1.err", "start n1")
        supervisor = Supervisor([missing], restart_after_ms=None, say=story.say)
        assert supervisor.run() == 1
        assert "cannot be started" in story.text()


class TestSockets:
    """A socket's path is short, wherever TMPDIR is."""

    @pytest.fixture
    def long_path(self, tmp_path, monkeypatch):
        path = tmp_path / ("t" * 90)
        path.mkdir()
        monkeypatch.setattr("tempfile.tempdir", None)  # what was found is kept there
        monkeypatch.setenv("TMPDIR", str(path))
        yield path
        tempfile.tempdir = None

    def test_a_long_tmpdir_is_passed_over(self, run, story, long_path):
        story.when("Try:", ctrl_c)
        assert run("stay", "stay") == 0
        assert "cannot be started" not in story.text()
        assert not list(long_path.iterdir())

    def test_where_no_directory_will_do_the_words_say_what_to_set(
        self, run, story, long_path, monkeypatch
    ):
        monkeypatch.setattr("paxosd.dev.supervisor._SHORT", ("/no/such",))
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        with pytest.raises(NoSocketDirectoryError, match="Set TMPDIR") as caught:
            run("stay")
        assert exits.code_of(caught.value) == exits.CONFIG
        assert not story.lines

    def test_the_way_out_is_the_first_that_can_be_written_to(
        self, run, story, long_path, monkeypatch
    ):
        monkeypatch.setattr("paxosd.dev.supervisor._SHORT", ("/no/such", "/tmp"))
        story.when("Try:", ctrl_c)
        assert run("stay") == 0


class TestDeath:
    def test_last_words_in_json_are_told_in_words(self, run, story, tmp_path):
        run("json")
        assert "  no room on the disk\\x1b[2J" in story.text()
        assert '"event"' not in story.text()

    def test_a_killed_child_is_reported_and_comes_back(self, run, story, tmp_path):
        story.when("Try:", lambda: os.kill(pids(tmp_path)[0], signal.SIGKILL))
        story.when("ready in", lambda: None, times=3)
        story.when("ready in", ctrl_c)
        assert run("stay", "stay", restart_after_ms=50) == 0
        assert "ended: killed by SIGKILL" in story.text()
        assert "starts again in 0.05 s" in story.text()
        assert len(pids(tmp_path)) == 3

    def test_with_never_it_stays_down_and_the_command_is_printed(self, run, story, tmp_path):
        story.when("Try:", lambda: os.kill(pids(tmp_path)[0], signal.SIGKILL))
        story.when("left down", ctrl_c)
        assert run("stay", "stay") == 0
        assert "left down; to start it: start n" in story.text()
        assert len(pids(tmp_path)) == 2

    def test_a_lasting_error_is_not_tried_again(self, run, story, tmp_path):
        assert run("storage", restart_after_ms=1) == 74
        text = story.text()
        assert "exit code 74: a storage error" in text
        assert "the disk is on fire" in text
        assert "then: start n1" in text
        assert "no node is left running" in text
        assert len(pids(tmp_path)) == 1

    def test_one_that_was_removed_stays_down(self, run, story, tmp_path):
        run("removed", restart_after_ms=1)
        assert "left down, for it was removed from the cluster" in story.text()
        assert len(pids(tmp_path)) == 1

    def test_a_passing_error_is_tried_again(self, run, story, tmp_path):
        story.when("starts again", lambda: None)
        story.when("starts again", ctrl_c)
        assert run("fail", restart_after_ms=1) == 0
        assert len(pids(tmp_path)) == 2

    def test_the_last_words_are_of_this_life(self, run, story, tmp_path):
        (tmp_path / "n1.err").write_text("an older story\n")
        run("fail")
        assert "the disk is on fire" in story.text()
        assert "an older story" not in story.text()

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (-9, "killed by SIGKILL"),
            (-200, "killed by signal 200"),
            (69, "exit code 69: it cannot listen"),
            (5, "exit code 5: a code that paxosd does not use"),
        ],
    )
    def test_words_for_an_end(self, code, words):
        assert why_ended(code).startswith(words)


class TestStop:
    def test_a_child_that_does_not_listen_is_killed(self, run, story, tmp_path):
        story.when("Try:", ctrl_c)
        assert run("deaf", "stay", stop_timeout_s=0.3) == 0
        assert "still running, so killed: n1" in story.text()
        assert not any(alive(pid) for pid in pids(tmp_path))

    def test_a_leader_does_not_wait_for_a_successor_that_stops_too(self, run, story):
        story.when("Try:", ctrl_c)
        assert run("leader", "stay", stop_timeout_s=60) == 0
        assert "handing over" in story.text()
        assert story.text().count("  stopped") == 2

    def test_a_ctrl_c_ends_all_within_a_second(self):
        assert STOP_TIMEOUT_S < 1.0

    def test_a_second_ctrl_c_does_not_wait(self, run, story, tmp_path):
        story.when("Try:", ctrl_c)
        story.when("  stopped", ctrl_c)
        began = time.monotonic()
        assert run("deaf", "stay", stop_timeout_s=60) == 0
        assert time.monotonic() - began < 30
        assert "ended: killed by SIGKILL" in story.text()

    def test_a_stopped_child_is_woken_to_end(self, run, story, tmp_path):
        def freeze_and_stop():
            os.kill(pids(tmp_path)[0], signal.SIGSTOP)
            ctrl_c()

        story.when("Try:", freeze_and_stop)
        assert run("stay") == 0
        assert "  stopped" in story.text()

    def test_handlers_are_put_back(self, run, story):
        before = signal.getsignal(signal.SIGINT)
        story.when("Try:", ctrl_c)
        run("stay")
        assert signal.getsignal(signal.SIGINT) is before

    def test_no_child_is_left_behind_by_an_error(self, run, story, tmp_path):
        def fail():
            raise RuntimeError("in the supervisor")

        story.when("Try:", fail)
        with pytest.raises(RuntimeError, match="in the supervisor"):
            run("stay", "stay")
        assert not any(alive(pid) for pid in pids(tmp_path))

    def test_output_that_nobody_reads_does_not_stop_the_cluster(self, run, story):
        def nobody_reads():
            raise BrokenPipeError

        story.when("ready in", nobody_reads)
        story.when("Try:", ctrl_c)
        assert run("stay") == 0


SUPERVISED = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from paxosd.dev.supervisor import Supervisor
from paxosd.dev.child import ChildSpec
directory = Path({directory!r})
argv = (sys.executable, {fake!r}, "stay", str(directory))
Supervisor([ChildSpec("n1", argv, dict(__import__("os").environ), directory / "n1.err", "")],
           restart_after_ms=None, say=lambda line: print(line, flush=True)).run()
"""


class TestKilledSupervisor:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
    def test_its_children_end_too(self, tmp_path):
        script = SUPERVISED.format(
            here=str(FAKE.parents[2]), directory=str(tmp_path), fake=str(FAKE)
        )
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as dev:
            until(lambda: b"ready in" in dev.stdout.readline())
            child = pids(tmp_path)[0]
            assert alive(child)
            assert os.getsid(child) != os.getsid(0)
            dev.kill()
        until(lambda: not alive(child))
