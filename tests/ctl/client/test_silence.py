"""A client's connection that is dead though it stands, and one that is merely slow."""

import socket
import threading
import time
from contextlib import suppress

import pytest

from paxosctl.client import transport
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.client.transport import SILENT, Link, Transport
from paxosd.net import silence
from tests.bus.black_hole import BlackHole
from tests.ctl.fake_daemon import FakeDaemon


@pytest.fixture
def impatient(monkeypatch):
    """Silence is noticed in half a second instead of four."""
    monkeypatch.setattr(silence, "ASK_MS", 100)
    monkeypatch.setattr(silence, "SILENCE_MS", 400)


@pytest.fixture
def daemon():
    with FakeDaemon() as one:
        one.asked = []
        receive = one._receive

        def note(client, frame):
            one.asked.append((client, b"alive" in frame))
            receive(client, frame)

        one._receive = note
        yield one


def clients_of(daemon):
    return len({client for client, _ in daemon.asked})


class TestDead:
    def test_a_call_that_is_to_be_made_once_ends_soon(self, daemon, impatient):
        """What must not be sent twice would wait for its deadline otherwise, longer than a test."""
        with Client([daemon.endpoint], timeout_s=600.0) as client:
            assert client.status()
            daemon.silent = True
            with pytest.raises(ClientError, match="no answer came in time"):
                client.admin("transfer_leader", {"name": ""}, endpoint=daemon.endpoint)

    def test_the_connection_is_made_anew_over_many_short_calls(self, daemon, impatient):
        with (
            BlackHole(daemon.endpoint) as hole,
            Client([hole.endpoint], timeout_s=0.05) as client,
        ):
            client.timeout_s = 10.0
            client.put(b"k", b"1")
            hole.swallow()
            client.timeout_s = 0.05

            def fails():
                with pytest.raises(ClientError):
                    client.put(b"k", b"lost")
                return hole.dead >= 2

            wait(fails)
            hole.heal()
            client.timeout_s = 30.0
            assert client.put(b"k", b"2")

    def test_a_watch_leaves_a_node_that_does_not_answer_though_its_events_come(
        self, daemon, impatient
    ):
        with BlackHole(daemon.endpoint) as hole:
            daemon.members["n1"]["client"] = hole.endpoint  # there is no other way to it
            with Client([hole.endpoint], timeout_s=30.0) as client:
                troubles = []
                watcher = client.watch(b"k", on_trouble=troubles.append)
                wait(lambda: watcher.poll(20) is None and watcher.live)
                hole.swallow()
                daemon.publish_members(1)  # so that it asks
                wait(lambda: watcher.poll(20) is None and troubles)
                assert troubles[0] == SILENT
                hole.heal()
                client.put(b"k", b"1")
                assert wait(lambda: watcher.poll(20)).value == b"1"


def wait(condition):
    deadline_s = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline_s
    return found


class TestNewConnection:
    def test_the_silence_of_the_one_before_is_not_held_against_it(self, daemon, monkeypatch):
        clock = [1000]
        monkeypatch.setattr(transport, "clock_ms", lambda: clock[0])
        sockets, downs = Transport(), []
        daemon.silent = True

        def pumped(condition):
            wait(lambda: (sockets.poll(20), condition())[1])

        with BlackHole(daemon.endpoint) as hole:
            link = Link(
                sockets,
                hole.endpoint,
                on_frame=lambda frame: None,
                on_up=lambda: None,
                on_down=downs.append,
            )
            try:
                pumped(lambda: link.send(transport._ALIVE))
                clock[0] += silence.ASK_MS
                assert not link.look(waiting=True)  # it asks now
                hole.cut()
                pumped(lambda: downs)
                pumped(lambda: link._state == "up")
                clock[0] += silence.SILENCE_MS
                assert not link.look(waiting=True)
            finally:
                link.close()
                sockets.close()


class TestAlive:
    def test_who_says_that_it_is_there_is_waited_for(self, daemon, impatient):
        with Client([daemon.endpoint], timeout_s=3.0) as client:
            client.put(b"k", b"1")
            daemon.deaf_writes = True
            with pytest.raises(ClientError):
                client.put(b"k", b"2")
        assert sum(is_asked for _, is_asked in daemon.asked) >= 4
        assert clients_of(daemon) == 1

    def test_who_is_idle_asks_nothing(self, daemon, impatient):
        with Client([daemon.endpoint], timeout_s=10.0) as client:
            client.put(b"k", b"1")
            client.status()
            client.turn(wait_ms=1000)
        assert not [client for client, is_asked in daemon.asked if is_asked]

    def test_a_large_answer_on_a_slow_link_is_no_silence(self, daemon, monkeypatch):
        monkeypatch.setattr(silence, "ASK_MS", 200)
        monkeypatch.setattr(silence, "SILENCE_MS", 800)
        value = b"x" * 400_000
        with SlowLink(daemon.endpoint) as link, Client([link.endpoint], timeout_s=60.0) as client:
            daemon.members["n1"]["client"] = link.endpoint  # there is no other way to it
            client.put(b"k", value)
            began_s = time.monotonic()
            link.piece_bytes = 2000
            assert client.get(b"k").value == value
            took_s = time.monotonic() - began_s
            assert took_s > 3 * (silence.ASK_MS + silence.SILENCE_MS) / 1000, "it was no slow link"
            assert link.taken == 1


class SlowLink:
    """Forwards one port to another in pieces of ``piece_bytes``, 50 of them a second."""

    def __init__(self, endpoint):
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self._target = (host, int(port))
        self.piece_bytes = 1 << 20
        self.taken = 0
        self._ends = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            other = socket.create_connection(self._target)
            self._ends += [one, other]
            for pair in ((one, other), (other, one)):
                self._threads.append(threading.Thread(target=self._forward, args=pair))
                self._threads[-1].start()

    def _forward(self, source, target):
        with suppress(OSError):
            while source.recv(1, socket.MSG_PEEK):  # the size counts that is set by then
                target.sendall(source.recv(self.piece_bytes))
                time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in (self._listener, *self._ends):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for each in self._threads:
            each.join()
