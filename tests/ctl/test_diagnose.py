"""Why an endpoint does not answer, told apart in words."""

import socket
import threading
import time

import pytest

from paxosctl import diagnose
from paxosctl.__main__ import run
from paxosctl.client import Client, UnreachableError
from paxosctl.diagnose import _of_status
from tests.ctl.test_cli import closed_port


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


def test_nobody_listens(listener, capsys):
    endpoint = _endpoint(listener)
    listener.close()
    assert run(["--endpoints", endpoint, "--timeout", "300ms", "status"]) == 69
    assert "connection refused: no daemon listens there" in capsys.readouterr().err


def test_the_other_end_is_no_zeromq(listener, capsys):
    # A port that closes each connection at once, as many servers do to what they do not know.
    endpoint = _endpoint(listener)
    listener.settimeout(5)
    stop = threading.Event()

    def hang_up():
        while not stop.is_set():
            try:
                listener.accept()[0].close()
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
    assert "does not speak ZeroMQ" in capsys.readouterr().err


def test_a_new_cluster_says_whom_it_waits_for():
    status = {
        "node": "n1",
        "role": "newcomer",
        "leader": "",
        "quorum": 2,
        "voters": ["n1", "n2", "n3"],
        "unconfirmed_by": ["n3"],
        "peers": {"n2": {"reachable": True}, "n3": {"reachable": False}},
    }
    assert _of_status(status) == (
        "n1 is new and votes once every member has been up: start or reconnect n3"
    )
    assert "an election takes a second" in _of_status(status | {"unconfirmed_by": []})


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
