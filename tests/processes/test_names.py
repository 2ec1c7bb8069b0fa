"""Real clusters that are reached by IPv6 addresses, or by names."""

import contextlib
import socket

import pytest

from paxosctl.client.client import Client
from tests.processes.processes import Daemons, wait_for


def has_ipv6():
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


class Elsewhere(Daemons):
    """A cluster whose endpoints have another host than 127.0.0.1."""

    def __init__(self, path, host, bind_host="", **how):
        self.host = host
        self.bind_host = bind_host
        super().__init__(path, **how)

    def spawn(self, name, **how):
        env = {"PAXOSD_NODE_BIND_HOST": self.bind_host, "PAXOSD_SECURITY_INSECURE": "true"}
        return super().spawn(name, env=env, **how)

    def endpoint(self, name, kind="client"):
        return f"tcp://{self.host}:{self.ports[name][kind]}"


def works(daemons, endpoints):
    """A write, a read, a watch and the status, through these endpoints."""
    with Client(endpoints, timeout_s=20) as client:
        watcher = client.watch(b"k", from_revision=1)
        client.put(b"k", b"v")
        assert client.get(b"k").value == b"v"
        assert wait_for(lambda: watcher.poll(100), what="the change").value == b"v"
        peers = client.status()["peers"]
        assert peers.keys() < set(daemons.names)


@pytest.mark.parametrize("bind_host", ["", "::", "*"])
@ipv6
def test_a_cluster_on_ipv6(tmp_path, bind_host):
    with Elsewhere(tmp_path, "[::1]", bind_host) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        works(daemons, daemons.endpoints)
        daemons.kill(leader)
        daemons.wait_leader()
        works(daemons, daemons.endpoints)


def test_a_cluster_of_names_that_listens_everywhere(tmp_path):
    """localhost: on most machines ::1 and 127.0.0.1, and the daemons listen on both."""
    with Elsewhere(tmp_path, "localhost", "*") as daemons:
        daemons.start()
        daemons.wait_leader()
        works(daemons, daemons.endpoints)
        works(daemons, [each.replace("localhost", "127.0.0.1") for each in daemons.endpoints])
        names = daemons.status("n1")["names"]
        assert names.keys() == {"localhost"}
        assert names["localhost"]["addresses"]
        [line] = daemons.events("n1", "name.resolved")
        assert line["host"] == "localhost"


def test_a_cluster_of_names_that_listens_on_ipv4_alone(tmp_path):
    with Elsewhere(tmp_path, "localhost", "127.0.0.1") as daemons:
        daemons.start()
        daemons.wait_leader()
        works(daemons, daemons.endpoints)


def test_a_daemon_listens_on_its_name(tmp_path):
    with Elsewhere(tmp_path, "localhost") as daemons:
        daemons.start()
        daemons.wait_leader()
        works(daemons, daemons.endpoints)


def test_a_name_that_cannot_be_listened_on(tmp_path):
    with Elsewhere(tmp_path, "localhost", "nowhere.invalid", size=1) as daemons:
        code, said = daemons.fails_to_start("n1")
        assert code == 69
        assert "the name nowhere.invalid cannot be resolved" in said
        assert "set node.bind_host" in said
