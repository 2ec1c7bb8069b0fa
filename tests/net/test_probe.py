"""The probe: what is reached, what is not and why, one at a time, and never waited for."""

import socket
import threading
from contextlib import closing

import pytest

from paxosd.net.probe import CONNECT_S, KEPT_S, PROBE_S, ProbeError, Probes
from tests.ctl.fake_daemon import closed_port
from tests.processes.processes import wait_for


@pytest.fixture
def listener():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def finished(probes, endpoints):
    """The results, once there are some."""
    answer = wait_for(
        lambda: (a := probes.ask(endpoints)) and not a["pending"] and a, what="results"
    )
    return answer["results"]


class Name:
    """A name server that answers only when the test lets it."""

    def __init__(self, monkeypatch):
        self.answer = threading.Event()
        monkeypatch.setattr("paxosd.net.resolver.socket.getaddrinfo", self.look_up)

    def look_up(self, *_, **__):
        assert self.answer.wait(60)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_reached_and_refused(listener):
    closed = closed_port()
    results = finished(Probes(), [listener, closed])
    assert list(results) == [listener, closed]
    assert results[listener]["ok"] is True
    assert results[listener]["error"] == ""
    assert 0 <= results[listener]["ms"] < CONNECT_S * 1000
    assert results[closed]["ok"] is False
    assert "refused" in results[closed]["error"]


def test_ipv6_and_a_name(listener):
    port = listener.rpartition(":")[2]
    results = finished(Probes(), [f"tcp://[::1]:{port}", f"tcp://localhost:{port}"])
    assert [result["ok"] for result in results.values()] == [False, True]


def test_a_host_that_does_not_answer():
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
    crowd = [socket.socket() for _ in range(4)]  # the kernel drops what its queue has no room for
    for each in crowd:
        each.setblocking(False)
        each.connect_ex(silent.getsockname())
    results = finished(Probes(), [endpoint])
    for each in (silent, *crowd):
        each.close()
    assert results[endpoint]["ok"] is False
    assert results[endpoint]["error"] == "no answer from the host"


def test_no_such_host(monkeypatch):
    name = Name(monkeypatch)
    name.answer.set()
    results = finished(Probes(), ["tcp://nowhere.example:7411"])
    assert results["tcp://nowhere.example:7411"]["error"] == (
        "the name nowhere.example cannot be resolved: there is no such host"
    )


def test_what_was_told_is_asked_anew(listener):
    probes = Probes()
    assert probes.ask([listener])["pending"]
    assert finished(probes, [listener])[listener]["ok"]
    assert probes.ask([listener])["pending"]


def test_what_is_old_is_asked_anew(listener):
    now = [0.0]
    probes = Probes(lambda: now[0])
    probes.ask([listener])
    probes._probe.thread.join()
    now[0] += KEPT_S
    assert probes.ask([listener])["pending"]


def test_a_name_server_that_hangs_for_one_name_costs_the_others_nothing(monkeypatch, listener):
    monkeypatch.setattr("paxosd.net.probe.NAMES_S", 0.1)
    name = Name(monkeypatch)
    try:
        results = finished(Probes(), [hanging := "tcp://hangs.example:7411", listener])
    finally:
        name.answer.set()
    assert results[listener]["ok"] is True
    assert results[hanging]["ok"] is False
    assert "the name hangs.example cannot be resolved: the name server" in results[hanging]["error"]


def test_each_address_of_a_name_is_tried(monkeypatch, listener):
    # As "localhost" is, of a machine whose daemon listens on IPv4 alone: ::1 refuses.
    answer = ("::1", "127.0.0.1", "127.0.0.1")
    monkeypatch.setattr("paxosd.net.probe.LOOKUPS.look_up", lambda _: answer)
    endpoint = f"tcp://both.example:{listener.rpartition(':')[2]}"
    assert finished(Probes(), [endpoint])[endpoint]["ok"] is True


def test_a_probe_that_takes_too_long_holds_nobody_up_and_no_second_one_begins(
    monkeypatch, listener
):
    now = [0.0]
    monkeypatch.setattr("paxosd.net.probe.NAMES_S", 60)
    probes = Probes(lambda: now[0])
    name = Name(monkeypatch)
    try:
        hanging = ["tcp://slow.example:7411"]
        assert probes.ask(hanging) == {"pending": True, "results": {}}
        assert probes.ask(hanging)["pending"]
        with pytest.raises(ProbeError, match="busy with another probe, try again"):
            probes.ask([listener])
        now[0] += PROBE_S
        assert "no answer within 3 s" in probes.ask(hanging)["results"][hanging[0]]["error"]
        with pytest.raises(ProbeError, match="busy"):
            probes.ask(hanging)
    finally:
        name.answer.set()
    wait_for(lambda: not probes._probe.thread.is_alive(), what="the end of the thread")
    assert probes.ask(hanging)["pending"]
    assert "no such host" in finished(probes, hanging)[hanging[0]]["error"]


def test_what_is_no_endpoint_is_refused():
    with pytest.raises(ProbeError, match="reads tcp://HOST:PORT"):
        Probes().ask(["localhost:7411"])
