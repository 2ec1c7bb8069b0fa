"""docs/RUNBOOKS.md, as it stands there: on three hosts with a cluster that has data."""

import json
import re

import pytest

from tests.hosts.hosts import until
from tests.hosts.installed import three_hosts
from tests.hosts.pages import blocks_of, run_block, run_section, section_of

PAGE = "docs/RUNBOOKS.md"
TOP = "Runbooks for disasters"
RESTORE = "/var/backups/restore.paxsnap"
WRITES = 30

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def installed(systemd):
    """Three hosts as docs/INSTALL.md makes them, with nothing started."""
    with three_hosts() as made:
        for block in blocks_of(section_of(PAGE, TOP))[:1]:
            for name in block.hosts:
                run_block(block, made[name])
        yield made


@pytest.fixture
def hosts(installed):
    """With a cluster, and some data in it."""
    run_section("docs/INSTALL.md", "Start", installed)
    ctl(installed["db1"], "health")
    ctl(installed["db1"], "put", "greeting", "hello")
    rows = "".join(f'{{"key": "k{n}", "value": "{n}"}}\n' for n in range(WRITES))
    installed["db1"].write("/run/rows", rows)
    ctl(installed["db1"], "import", "/run/rows")
    return installed


def ctl(host, *words, check=True):
    script = '. /run/page-environment; exec paxosctl "$@"'
    done = until_done(host, script, words) if check else host.run(
        "bash", "-c", script, "bash", *words, check=False)  # fmt: skip
    return done.stdout


def until_done(host, script, words):
    """Where the cluster is not ready yet, "try again" is what one does."""
    return until(lambda: host.run("bash", "-c", script, "bash", *words), " ".join(words))


def carry(source, others):
    """As ``scp`` does it: the file of the page, from one host to the others."""
    data = source.run("base64", RESTORE).stdout
    for host in others:
        host.run("sh", "-c", f"base64 -d > {RESTORE}", input=data)


def run_restore(hosts):
    """The blocks of the page from where every host has the file."""
    blocks = blocks_of(section_of(PAGE, "All nodes are lost, and there is a backup"))
    restore, start, check = blocks[1:]
    for block in (restore, start):
        for name in block.hosts:
            run_block(block, hosts[name])
    ctl(hosts["db1"], "health")
    return run_block(check, hosts["db1"])


def test_every_block_says_how_it_is_run():
    for page, heading in ((PAGE, TOP), ("docs/INSTALL.md", "Installing on three hosts")):
        assert any(block.hosts for block in blocks_of(section_of(page, heading)))


def test_a_founder_that_does_not_come(installed):
    hosts = installed
    for name in ("db1", "db2"):
        hosts[name].run("systemctl", "enable", "--now", "paxosd.target", f"paxosd@n{name[-1]}")
    words = until(lambda: waiting_words(hosts["db1"]), "words about who is waited for")
    assert re.search(r"newcomer; leader unknown; waits for n3 since \d{4}-\d\d-\d\d ", words)
    waiting = until(lambda: logged_waiting(hosts["db2"]), "the log's word of it")
    assert waiting[0]["members"] == ["n3"]
    assert waiting[0]["unconfirmed_ms"] >= 5000
    said = run_section(PAGE, "A founder is not there", hosts)
    assert re.search(r"newcomer: n1 has\s+waited for \d+ s for n3", said[0])
    assert "votes once every member has been up" in " ".join(said[0].split())
    assert "the cluster survives 1 more failure" in said[-1]
    assert ctl(hosts["db3"], "get", "greeting", "-o", "plain") == "hello"


def logged_waiting(host):
    """What n2 has logged of waiting."""
    journal = host.run("journalctl", "-o", "cat", "-u", "paxosd@n2").stdout
    return [json.loads(line) for line in journal.splitlines() if '"node.waiting"' in line]


def waiting_words(host):
    """The status line of n1, once it says who is waited for."""
    words = host.run("systemctl", "show", "--value", "-p", "StatusText", "paxosd@n1").stdout
    return "waits for" in words and words


def test_backups_and_the_way_back_from_one(hosts):
    said = run_section(PAGE, "Backups every night", hosts)
    assert re.search(r"orders\s+\d+ .* good ", said[-1])
    assert "paxosd-backup.timer" in hosts["db1"].run("systemctl", "list-timers", "--all").stdout
    ctl(hosts["db1"], "put", "late", "after the backup")
    for host in hosts.values():  # all nodes are lost
        host.run(
            "systemctl", "kill", "--kill-whom=main", "--signal=KILL", f"paxosd@n{host.name[-1]}"
        )
        host.run("systemctl", "stop", f"paxosd@n{host.name[-1]}")
        host.run("rm", "-rf", f"/var/lib/paxosd/n{host.name[-1]}")
    heading = "All nodes are lost, and there is a backup"
    run_block(blocks_of(section_of(PAGE, heading))[0], hosts["db1"])
    carry(hosts["db1"], [hosts["db2"], hosts["db3"]])
    said = run_restore(hosts)
    assert "hello" in said
    assert "all nodes agree" in said
    assert ctl(hosts["db1"], "get", f"k{WRITES - 1}", "-o", "plain") == str(WRITES - 1)
    assert ctl(hosts["db1"], "get", "late", check=False) == ""


def test_the_way_back_with_one_node_of_three(hosts):
    for name in ("db1", "db2"):  # their disks are gone for good
        hosts[name].run(
            "systemctl", "kill", "--kill-whom=main", "--signal=KILL", f"paxosd@n{name[-1]}"
        )
        hosts[name].run("systemctl", "stop", f"paxosd@n{name[-1]}")
        hosts[name].run("rm", "-rf", f"/var/lib/paxosd/n{name[-1]}")
    [said] = run_section(PAGE, "A majority is lost for good, and one node is left", hosts)
    assert "all is known to be chosen" in said
    assert "What may be lost" in said
    assert "a quorum of the 3 voters (n1, n2, n3) decides" in said
    carry(hosts["db3"], [hosts["db1"], hosts["db2"]])
    said = run_restore(hosts)
    assert "hello" in said
    assert "all nodes agree" in said
    rows = ctl(hosts["db2"], "get", "k", "--prefix", "-o", "json")
    assert rows.count('"key"') == WRITES
