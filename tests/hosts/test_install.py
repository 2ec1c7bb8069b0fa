"""docs/INSTALL.md, as it stands there: three hosts under systemd, with addresses of their own."""

import pytest

from tests.hosts.hosts import until
from tests.hosts.installed import PAGE, three_hosts
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
    """The three of them after the page's start and check."""
    said = run_section(PAGE, "Start", hosts)
    said += run_section(PAGE, "Check", hosts)
    return hosts, said


def test_the_page_makes_a_cluster(started):
    hosts, said = started
    words = "".join(said)
    assert "healthy: a write committed" in words
    assert "the cluster survives 1 more failure" in words
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
