"""Why an endpoint does not answer, told apart in words."""

import socket
import threading
import time
from types import SimpleNamespace

import pytest

from paxosctl.cli import diagnose
from paxosctl.cli.diagnose import _hangs_up, _listener, _of_status, _reachable
from paxosctl.cli.main import run
from paxosctl.client.client import Client
from paxosctl.client.errors import UnreachableError
from paxosd.wire.status import decode_status
from tests.ctl.fake_daemon import closed_port


@pytest.fixture
def listener():
    """A port like that of a daemon that hangs: the kernel takes connections, nobody else does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def _endpoint(server):
    return f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_daemon_that_hangs_is_told_from_one_that_came_back(listener, capsys):
    assert run(["--endpoints", _endpoint(listener), "--timeout", "800ms", "status"]) == 69
    assert "the daemon hangs or is stopped" in capsys.readouterr().err


def test_a_stopped_daemon_is_no_wrong_port_once_the_handshake_has_timed_out(
    listener, capsys, monkeypatch
):
    """What SIGSTOP makes of a daemon: the kernel takes connections, and nothing is said."""
    monkeypatch.setattr("paxosctl.client.transport.HANDSHAKE_IVL_MS", 100)
    assert run(["--endpoints", _endpoint(listener), "--timeout", "800ms", "status"]) == 69
    told = capsys.readouterr().err
    assert "the daemon hangs or is stopped" in told
    assert "does not speak ZeroMQ" not in told


def test_a_dead_endpoint_was_never_connected_however_short_the_deadline(listener, capsys):
    endpoint = _endpoint(listener)
    listener.close()
    for verb in ("status", "leader"):
        run(["--endpoints", endpoint, "--timeout", "1ms", verb])
        told = capsys.readouterr().err
        assert "connection refused: no daemon listens there" in told
        assert "connected, but" not in told


class Greeter(threading.Thread):
    """Accepts connections, says ``greeting`` after what it waits for, and keeps them open."""

    def __init__(self, server, greeting, *, asks):
        super().__init__()
        self.server, self.greeting, self.asks = server, greeting, asks
        self.held = []

    def run(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            self.held.append(connection)
            if self.asks:
                connection.settimeout(5)
                while b"\r\n\r\n" not in connection.recv(100):
                    pass
            connection.sendall(self.greeting)


def test_a_greeting_byte_by_byte_holds_nobody():
    """Each byte came within the time that was allowed for the next: 64 of them, 3 s and more."""

    class Dripping:
        waits_s, bytes_read = 0.1, 0

        def settimeout(self, timeout_s):
            self.waits_s = timeout_s

        def recv(self, _):
            self.bytes_read += 1
            if self.waits_s < 0.02:
                raise TimeoutError
            time.sleep(0.02)
            return b"x"

    dripping = Dripping()
    assert not _hangs_up(dripping)
    assert dripping.bytes_read <= 10


@pytest.mark.parametrize(
    ("greeting", "asks", "who"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, "OTHER"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", True, "OTHER"),
        (b"\xff\0\0\0\0\0\0\0\1\x7f", False, "ZEROMQ"),
    ],
)
def test_whoever_says_something_is_no_daemon_that_hangs(listener, greeting, asks, who):
    greeter = Greeter(listener, greeting, asks=asks)
    greeter.start()
    try:
        with socket.create_connection(listener.getsockname()) as connection:
            assert _listener(connection).name == who
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        greeter.join()
        for each in greeter.held:
            each.close()


def test_nobody_listens(listener, capsys):
    endpoint = _endpoint(listener)
    listener.close()
    assert run(["--endpoints", endpoint, "--timeout", "300ms", "status"]) == 69
    assert "connection refused: no daemon listens there" in capsys.readouterr().err


@pytest.mark.parametrize("said", [b"", b"\xff\0\0\0\0\0\0\0\1\x7f", b"220 mail ESMTP\r\n"])
def test_the_other_end_ends_the_connection_at_once(listener, capsys, said):
    """As many servers do to what they do not know, and a node that has too many connections."""
    endpoint = _endpoint(listener)
    listener.settimeout(5)
    stop = threading.Event()

    def hang_up():
        while not stop.is_set():
            try:
                with listener.accept()[0] as accepted:
                    accepted.sendall(said)
                    accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        assert run(["--endpoints", endpoint, "--timeout", "800ms", "get", "k"]) == 69
    finally:
        stop.set()
        with socket.create_connection(listener.getsockname()):
            pass
        thread.join()
    words = capsys.readouterr().err
    assert ("does not speak ZeroMQ" in words) == (not said.startswith(b"\xff"))
    assert ("as many as it may have" in words) == (not said.startswith(b"220"))


def test_a_new_cluster_says_whom_it_waits_for():
    status = {
        "node": "n1",
        "role": "newcomer",
        "leader": "",
        "quorum": 2,
        "voters": ["n1", "n2", "n3"],
        "unconfirmed_by": ["n3"],
        "unconfirmed_ms": 150_000,
        "peers": {"n2": {"reachable": True}, "n3": {"reachable": False}},
    }
    assert _of_status(decode_status(status)) == (
        "newcomer: n1 has waited for 2 min for n3: it is new and votes once every member has been "
        "up: start or reconnect n3; to found the cluster without n3: docs/RUNBOOKS.md"
    )
    assert "an election takes a second" in _of_status(
        decode_status(status | {"unconfirmed_by": []})
    )


def test_endpoints_that_do_not_answer_are_not_waited_for_one_after_another(monkeypatch):
    tries = []

    def no_answer(endpoint, timeout_s):
        tries.append(endpoint)
        assert timeout_s <= diagnose.TCP_S
        time.sleep(timeout_s)  # as a host does that a firewall hides
        raise TimeoutError

    monkeypatch.setattr(diagnose, "open_tcp", no_answer)
    closed = list(dict.fromkeys(closed_port() for _ in range(10)))
    with Client(closed, timeout_s=1.0) as client:
        with pytest.raises(UnreachableError) as caught:
            client.get(b"k")
        lines = diagnose.diagnose(client, caught.value)
    assert 1 <= len(tries) <= 3
    assert [endpoint for endpoint, _ in lines] == closed
    assert all(words for _, words in lines)


def test_a_node_that_is_busy_says_for_what():
    answer = SimpleNamespace(error=None, status=decode_status({"node": "n1"}))
    queue = _reachable(answer, "the queue is full", None)
    assert queue == "n1 is busy, its queue is full: try again, send less at a time"
    other = _reachable(answer, "the queue is full: this node has yet to learn who opened it", None)
    assert other == "n1 cannot say now: this node has yet to learn who opened it; try again"
