"""Clients whose endpoints are names: a call ends at its deadline whatever the name server does."""

import threading
import time

import pytest

from paxosctl.cli.main import run
from paxosctl.client.client import Client
from paxosctl.client.errors import NotSubmittedError, UnreachableError
from paxosctl.load.generator import Target
from paxosctl.load.load import Load
from paxosctl.load.processes import run_load
from paxosd.net.resolver import LOOKUPS
from tests.ctl.client.test_deadlines import LATE_S
from tests.ctl.fake_daemon import FakeDaemon, closed_port
from tests.net.name_server import NameServer

TIMEOUT_S = 0.8
HANGS = "tcp://hangs.example:7410"


@pytest.fixture
def server(monkeypatch):
    with NameServer(db_example=["127.0.0.1"]) as made:
        monkeypatch.setattr(LOOKUPS, "look_up", made.look_up)
        made.hang("hangs.example")
        yield made


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


def named(endpoint, host="db.example"):
    return endpoint.replace("127.0.0.1", host)


class TestSilence:
    @pytest.mark.parametrize(
        "call",
        [
            lambda client: client.put(b"k", b"v"),
            lambda client: client.get(b"k"),
            lambda client: client.status(),
            lambda client: client.status(HANGS),
        ],
        ids=["put", "get", "status", "status of one"],
    )
    def test_a_call_ends_at_its_deadline_and_says_why(self, server, call):
        with Client([HANGS], timeout_s=TIMEOUT_S) as client:
            began = time.monotonic()
            with pytest.raises(
                UnreachableError, match=r"the name hangs\.example cannot be resolved"
            ):
                call(client)
            assert time.monotonic() - began < TIMEOUT_S + LATE_S

    def test_the_other_endpoints_are_tried(self, server, daemon):
        with Client([HANGS, daemon.endpoint], timeout_s=10) as client:
            assert client.put(b"k", b"v") == 1
        with Client([HANGS, named(daemon.endpoint)], timeout_s=10) as client:
            assert client.put(b"k", b"v") == 2

    def test_an_answer_that_comes_late_is_taken(self, server, daemon):
        endpoint = named(daemon.endpoint, "hangs.example")
        server.addresses["hangs.example"] = ["127.0.0.1"]
        with Client([endpoint], timeout_s=TIMEOUT_S) as client:
            with pytest.raises(UnreachableError):
                client.put(b"k", b"v")
            client.timeout_s = 10
            server.answer("hangs.example")
            assert client.put(b"k", b"v") == 1

    def test_many_clients_are_one_lookup(self, server):
        before = threading.active_count()
        for _ in range(5):
            with Client([HANGS], timeout_s=0.05) as client:
                words = r"name hangs\.example cannot be resolved"
                with pytest.raises(NotSubmittedError, match=words):
                    client.status()
        assert server.asked == ["hangs.example"]
        assert threading.active_count() <= before + 1

    @pytest.mark.parametrize("verb", [["status"], ["get", "k"], ["put", "k", "v"]])
    def test_the_command_line_says_it_for_the_endpoint(self, server, verb, capsys):
        # A name of its own: a lookup of the test before may still end, for the whole process.
        host = f"hangs-{verb[0]}.example"
        server.hang(host)
        assert run(["--endpoints", f"tcp://{host}:7410", "--timeout", "800ms", *verb]) == 69
        said = capsys.readouterr().err
        assert f"the name {host} cannot be resolved: the name server does not answer" in said
        assert "check the name server" in said

    def test_the_diagnosis_of_one_name_waits_no_longer_than_of_another(self, server, capsys):
        server.hang("also.example")
        endpoints = f"{HANGS},tcp://also.example:7410"
        began = time.monotonic()
        assert run(["--endpoints", endpoints, "--timeout", "3s", "status"]) == 69
        assert time.monotonic() - began < 20, "a name server is silent for 60 s here"
        said = capsys.readouterr().err
        assert "hangs.example cannot be resolved" in said
        assert "also.example cannot be resolved" in said

    def test_the_diagnosis_looks_no_name_up_again(self, server, monkeypatch, capsys):
        monkeypatch.delattr("paxosctl.cli.diagnose.open_tcp")
        hosts = [f"h{n}.example" for n in range(20)]
        server.hang(*hosts)
        endpoints = ",".join(f"tcp://{host}:7410" for host in hosts)
        assert run(["--endpoints", endpoints, "--timeout", "300ms", "status"]) == 75
        said = capsys.readouterr().err
        for host in hosts:
            assert f"the name {host} cannot be resolved" in said


class TestNames:
    def test_no_such_host(self, server, capsys):
        with Client(["tcp://nowhere.example:7410"], timeout_s=0.3) as client:
            words = r"the name nowhere\.example cannot be resolved: there is no such host"
            with pytest.raises(UnreachableError, match=words):
                client.get(b"k")
        assert (
            run(["--endpoints", "tcp://nowhere.example:7410", "--timeout", "300ms", "status"]) == 69
        )
        assert "there is no such host: check --endpoints" in capsys.readouterr().err

    def test_each_address_is_tried(self, server, daemon):
        # As with "localhost" where a daemon listens on IPv4 alone: the first one refuses.
        server.addresses["db.example"] = ["::1", "127.0.0.9", "127.0.0.1"]
        with Client([named(daemon.endpoint)], timeout_s=10) as client:
            assert client.put(b"k", b"v") == 1

    def test_an_address_that_changes(self, server, daemon):
        server.addresses["db.example"] = ["127.0.0.9"]
        with Client([named(daemon.endpoint)], timeout_s=0.3) as client:
            with pytest.raises(UnreachableError):
                client.put(b"k", b"v")
            server.addresses["db.example"] = ["127.0.0.1"]
            client.timeout_s = 20
            assert client.put(b"k", b"v") == 1

    def test_refused_at_all_addresses(self, server, capsys):
        port = closed_port().rpartition(":")[2]
        server.addresses["db.example"] = ["127.0.0.1", "127.0.0.9"]
        endpoint = f"tcp://db.example:{port}"
        assert run(["--endpoints", endpoint, "--timeout", "800ms", "status"]) == 69
        assert "connection refused: no daemon listens there" in capsys.readouterr().err

    def test_addresses_need_no_resolver(self, server, daemon):
        with Client([daemon.endpoint], timeout_s=10) as client:
            client.put(b"k", b"v")
            assert client._transport._resolver is None
        assert server.asked == []

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.1"]])
    @pytest.mark.parametrize("events_host", ["db.example", "events.example"])
    def test_a_watch(self, server, addresses, events_host, monkeypatch):
        if events_host == "db.example":  # the link finds out which of its addresses works
            monkeypatch.setattr("paxosctl.client.watch_session.SUB_PATIENCE_MS", 600_000)
        server.addresses |= {"db.example": addresses, "events.example": addresses}
        with FakeDaemon() as daemon:
            daemon.members["n1"] = {
                "client": named(daemon.endpoint),
                "events": named(daemon.events_endpoint, events_host),
            }
            with Client([daemon.endpoint], timeout_s=10) as client:
                watcher = client.watch(b"k")
                until_s = time.monotonic() + 20
                while not watcher.live and time.monotonic() < until_s:
                    watcher.poll(50)
                assert watcher.live
                client.put(b"k", b"v")
                assert next(watcher).value == b"v"

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "127.0.0.1"]])
    def test_a_load(self, server, daemon, addresses):
        server.addresses["db.example"] = addresses
        endpoint = named(daemon.endpoint)
        load = Load(count=20, outstanding=4, connections=2, size=10, keys=5)
        report = run_load(Target.of(endpoint), load, 20_000)
        assert report.operations == 20

    def test_a_load_on_a_silent_name(self, server):
        some = Load(count=20, outstanding=4, connections=2, size=10, keys=5)
        with pytest.raises(NotSubmittedError, match=r"hangs\.example cannot be resolved"):
            run_load(Target.of(HANGS), some, 100)
