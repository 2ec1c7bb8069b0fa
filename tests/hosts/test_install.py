"""docs/INSTALL.md, as it stands there: three hosts under systemd, with addresses of their own."""

import json

import pytest

from tests.hosts.hosts import until
from tests.hosts.installed import NAMES, PAGE, three_hosts
from tests.hosts.pages import run_section

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def hosts(systemd):
    with three_hosts() as made:
        yield made


def property_of(host, name, unit="paxosd@n1"):
    """One property of a unit, as systemd has it."""
    return host.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()


def node(host):
    return f"paxosd@n{host.name[-1]}"


@pytest.fixture(scope="module")
def started(hosts):
    """The three of them after the page's start and check. The names of the others come late."""
    for host in hosts.values():
        host.know()
    said = run_section(PAGE, "Start", hosts)
    assert "name.failed" in said[-1]
    for host in hosts.values():
        host.know(**NAMES)
    until(lambda: "follower; leader n" in status_words(hosts["db1"])
          or "leader; leader n" in status_words(hosts["db1"]), "the cluster")  # fmt: skip
    said += run_section(PAGE, "Check", hosts)
    return hosts, said


def status_words(host):
    return property_of(host, "StatusText", node(host))


def test_the_page_makes_a_cluster(started):
    hosts, said = started
    words = "".join(said)
    assert "healthy: a write committed" in words
    assert "the cluster survives 1 more failure" in words
    assert "alice is an admin, and rights are required from now on" in words
    assert 'app1 (client) may not read "greeting"' in words
    assert "hello without n3" in words
    for host in hosts.values():
        assert property_of(host, "ActiveState", node(host)) == "active"


def test_a_machine_that_starts_starts_its_node(started):
    """What ``systemctl enable`` has linked."""
    host = started[0]["db1"]
    assert host.run("systemctl", "is-enabled", "paxosd.target", "paxosd@n1").stdout.split() == [
        "enabled", "enabled",
    ]  # fmt: skip
    host.run("systemctl", "stop", "paxosd.target")
    until(lambda: property_of(host, "ActiveState") == "inactive", "the end of n1")
    host.run("systemctl", "start", "paxosd.target")
    assert property_of(host, "ActiveState") == "active"


def test_nobody_else_can_read_a_key(started):
    for host in started[0].values():
        name = node(host).partition("@")[2]
        owner = "root" if name == "n3" else "paxosd"
        found = host.run("stat", "-c", "%n %a %U", f"/etc/paxosd/{name}.key").stdout.split("\n")
        assert found[0] == f"/etc/paxosd/{name}.key 600 {owner}"
        others = host.run("sh", "-c", "ls /etc/paxosd/*.key").stdout.split()
        assert others == [f"/etc/paxosd/{name}.key"]


def test_whoever_has_no_key_gets_nothing(started):
    where = "--endpoints=tcp://db1.example:7410"
    done = started[0]["db2"].run("/opt/paxosd/bin/paxosctl", where, "status", check=False)
    assert done.returncode == 77
    assert "wants a key, and this client has none" in done.stdout + done.stderr


class TestDoctor:
    """Where keys are files, and where the service hands them over; in a shell without either."""

    @pytest.mark.parametrize("host", ["db1", "db3"])
    def test_it_sees_the_key_of_a_node_that_runs_and_of_one_that_does_not(self, started, host):
        host = started[0][host]
        until(lambda: doctor(host)["errors"] == 0, "a sound cluster")
        host.run("systemctl", "stop", node(host))
        try:
            flaws = {each["flaw"] for each in doctor(host)["findings"]}
        finally:
            host.run("systemctl", "start", node(host))
        assert "answers.stopped" in flaws
        assert not {each for each in flaws if each.startswith(("keys", "config"))}

    def test_as_the_user_of_the_node(self, started):
        found = doctor(started[0]["db3"], "setpriv", "--reuid=paxosd", "--regid=paxosd",
                       "--clear-groups")  # fmt: skip
        assert not {each["flaw"] for each in found["findings"] if "keys" in each["flaw"]}
        assert "quorum" in found["made"], "the nodes took the key of n3"

    def test_a_key_that_the_node_could_not_read(self, started):
        host = started[0]["db1"]
        host.run("chown", "root", "/etc/paxosd/n1.key")
        try:
            findings = doctor(host)["findings"]
        finally:
            host.run("chown", "paxosd", "/etc/paxosd/n1.key")
        [found] = [each for each in findings if each["flaw"] == "keys.unusable"]
        assert "root's alone, and the node is paxosd's" in found["message"]


def doctor(host, *by):
    name = node(host).partition("@")[2]
    done = host.run(
        *by, "/opt/paxosd/bin/paxosctl", "-o", "json", "doctor", "--config",
        f"/etc/paxosd/{name}.toml", check=False,
    )  # fmt: skip
    return json.loads(done.stdout)
