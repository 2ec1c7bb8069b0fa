"""A node that lacks room beside its log, or descriptors, goes on as far as it safely can."""

import contextlib
import os
import resource
import socket
import subprocess
import threading

import pytest

from paxosd.daemon import exits
from tests.processes.processes import Daemons, clean_environ, wait_for


@pytest.fixture
def daemons(tmp_path):
    with Daemons(tmp_path) as started:
        started.start()
        started.wait_leader()
        yield started


class TestFullDirectory:
    def test_peers_go_on_when_another_starts_anew_and_hear_it_once_there_is_room(self, daemons):
        for name in ("n1", "n2"):
            daemons.admin(name, "fault_add", name="full", kind="home-full", on=name)
        daemons.kill("n3")
        with daemons.client("n1", "n2") as client:
            client.put(b"one", b"1")
            daemons.start("n3")
            for name in ("n1", "n2"):
                line = daemons.wait_event(name, "storage.run_unwritten", source="n3")
                assert "No space left on device" in line["detail"]
                assert "free some space" in line["detail"]
            client.put(b"two", b"2")
        assert not daemons.events("n3", "node.confirmed")[1:], "it is heard by nobody yet"
        daemons.heal()
        wait_for(
            lambda: len(daemons.events("n3", "node.confirmed")) == 2, what="n3 votes once more"
        )
        daemons.check_equal()


def limited(most):
    """What makes a process live with so many descriptors."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def started_with(daemons, taken, most=192):
    """n1 with so many descriptors open besides the first three: exit code, and what it said."""

    def before_exec():
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for number in range(3, 3 + taken):
            os.dup2(0, number)

    done = subprocess.run(
        daemons.command("n1"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, check=False, timeout=60, env=clean_environ(),
        close_fds=False, preexec_fn=before_exec,
    )  # fmt: skip
    return done.returncode, done.stderr


class Idle:
    """Connections that say nothing, and come again when they are closed."""

    def __init__(self, port, count):
        self._port = port
        self._sockets = [self._connect() for _ in range(count)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._come_again)
        self._thread.start()

    def _connect(self):
        made = socket.socket()
        made.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            made.connect(("127.0.0.1", self._port))
        return made

    def _come_again(self):
        while not self._over.wait(0.5):
            for number, each in enumerate(self._sockets):
                with contextlib.suppress(BlockingIOError):
                    try:
                        if each.recv(1024):
                            continue
                    except (ConnectionError, TimeoutError):
                        pass
                    each.close()
                    self._sockets[number] = self._connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        for each in self._sockets:
            each.close()


class TestFewDescriptors:
    @pytest.fixture
    def few(self, tmp_path):
        with Daemons(tmp_path) as started:
            started.start(preexec=limited(192))
            started.wait_leader()
            yield started

    @pytest.mark.parametrize("port", ["client", "peer", "events"])
    def test_silent_connections_lock_nobody_out_and_end_no_node(self, few, port):
        """New clients come in, members come back, and the log goes on in new segments."""
        leader = few.wait_leader()
        other = few.followers(leader)[0]

        def status(name):
            return wait_for(lambda: few.status(name), what=f"an answer of {name}")

        with Idle(few.ports[leader][port], 400):
            wait_for(
                lambda: status(leader)["connections"][port]["silent"],
                what="silent connections were ended",
            )
            few.kill(other)
            few.start(other, preexec=limited(192))
            segment = status(leader)["disk"]["wal_segments"]
            with few.client() as client:
                for number in range(20):
                    client.put(b"k%d" % number, bytes(60_000))
                wait_for(
                    lambda: (
                        client.put(b"more", bytes(60_000))
                        and status(leader)["disk"]["wal_segments"] > segment
                    ),
                    what="another segment",
                )
            few.wait_up(other)
            wait_for(lambda: status(other)["role"] == "follower", what="it is back")
        few.check_equal()

    def test_clients_above_the_limit_are_refused_with_a_word_and_the_others_go_on(self, few):
        leader = few.wait_leader()
        with few.client(leader) as client, contextlib.ExitStack() as opened:
            client.put(b"k", b"1")
            most = client.status()["connections"]["client"]["most"]
            for _ in range(most + 10):
                opened.enter_context(few.raw(leader)).get(b"k", timeout_s=0.0)
            line = few.wait_event(leader, "bus.connections_full", source="client")
            assert line["most"] == most
            assert "ulimit -n" in line["advice"]
            client.put(b"k", b"2")
            told = client.status()
            assert told["connections"]["client"]["refused"] > 0
            assert told["descriptors"]["total"] == 192
            assert 0 < told["descriptors"]["used"] <= 192 - told["descriptors"]["reserve"]
            wait_for(
                lambda: client.status()["connections"]["peer"]["open"] >= 2,
                what="the connections of both peers",
            )
        with few.client(leader) as client:
            assert client.get(b"k").value == b"2"

    def test_too_few_to_work_at_all(self, few):
        few.kill("n1")
        code, words = few.fails_to_start("n1", preexec=limited(64))
        assert code == exits.CONFIG
        assert "64 file descriptors" in words
        assert "ulimit -n" in words

    def test_too_few_are_left_to_a_node_that_is_started_with_many_open(self, few):
        """However few: a sentence, no abort of libzmq, no traceback; and with enough it starts."""
        few.kill("n1")
        for taken in (187, 180, 150, 120, 100, 90, 85):
            code, words = started_with(few, taken)
            assert code == exits.CONFIG, (taken, words)
            assert "file descriptors" in words, taken
            assert "ulimit -n" in words, taken
            assert "Traceback" not in words, taken
        few.start("n1", preexec=limited(192))
        few.wait_up("n1")

    def test_the_soft_limit_is_raised(self, few):
        few.kill("n1")
        few.start("n1", preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1000)))
        few.wait_up("n1")
        assert few.status("n1")["descriptors"]["total"] == 1000
