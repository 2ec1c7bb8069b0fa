"""docs/RUNBOOKS.md, as it stands there: on three hosts with a cluster that has data."""

import json
import re

import pytest

from tests.hosts.hosts import until
from tests.hosts.installed import three_hosts
from tests.hosts.pages import blocks_of, run_block, run_section, section_of

PAGE = "docs/RUNBOOKS.md"
TOP = "Runbooks for disasters"
WRITES = 30

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def installed(systemd):
    """Three hosts as docs/INSTALL.md makes them, with nothing started, and a spare one."""
    with three_hosts(spare=True) as made:
        for block in blocks_of(section_of(PAGE, TOP))[:1]:
            for name in block.hosts:
                run_block(block, made[name])
        yield made


@pytest.fixture
def hosts(installed):
    """With a cluster, and some data in it."""
    run_section("docs/INSTALL.md", "Start", installed)
    ctl(installed["db1"], "health")
    ctl(installed["db1"], "auth", "init")
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


def run_restore(hosts):
    """The blocks of the page from where one host has the file; what the last one wrote."""
    blocks = blocks_of(section_of(PAGE, "All nodes are lost, and there is a backup"))[1:]
    for block in blocks:
        for name in block.hosts:
            said = run_block(block, hosts[name])
    return said


def lose(host):
    """The node of this host, with its data, for good."""
    node = f"n{host.name[-1]}"
    host.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", f"paxosd@{node}")
    host.run("systemctl", "disable", "--now", f"paxosd@{node}")
    host.run("rm", "-rf", f"/var/lib/paxosd/{node}")


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
    assert ctl(hosts["db1"], "get", "greeting", "-o", "plain") == "hello"


def logged_waiting(host):
    """What n2 has logged of waiting."""
    journal = host.run("journalctl", "-o", "cat", "-u", "paxosd@n2").stdout
    return [json.loads(line) for line in journal.splitlines() if '"node.waiting"' in line]


def waiting_words(host):
    """The status line of n1, once it says who is waited for."""
    words = host.run("systemctl", "show", "--value", "-p", "StatusText", "paxosd@n1").stdout
    return "waits for" in words and words


def test_another_node_in_the_place_of_one_that_is_lost(hosts):
    lose(hosts["db3"])
    said = run_section(PAGE, "A node is lost", hosts)
    assert "n4 votes in the place of n3" in said[-1]
    assert "the cluster survives 1 more failure" in said[-1]
    lose(hosts["db2"])
    ctl(hosts["db1"], "put", "greeting", "by n1 and n4")
    revoked = json.loads(ctl(hosts["db1"], "auth", "list", "-o", "json"))
    assert "n3" not in json.dumps(revoked["principals"])


def test_another_key_for_a_node(hosts):
    def key():
        return json.loads(ctl(hosts["db1"], "auth", "show", "n2", "-o", "json"))["keys"]

    before = key()
    said = run_section(PAGE, "Another key for a node", hosts)
    assert "keys.different" not in said[1]
    after = key()
    assert len(before) == len(after) == 1
    assert before != after
    lose(hosts["db3"])
    ctl(hosts["db1"], "put", "greeting", "by n1 and n2")


def test_a_new_admin_when_the_last_key_is_lost(hosts):
    hosts["db1"].run("rm", "/run/home/alice.key")
    said = run_section(PAGE, "The last admin key is lost", hosts)
    assert "healthy" in "".join(said)
    assert "alice" not in ctl(hosts["db1"], "auth", "list")
    assert ctl(hosts["db1"], "get", "greeting", "-o", "plain") == "hello"


def test_backups_and_the_way_back_from_one(hosts):
    said = run_section(PAGE, "Backups every night", hosts)
    assert re.search(r"orders\s+\d+ .* good ", said[-1])
    host = hosts["db1"]
    assert "paxosd-backup.timer" in host.run("systemctl", "list-timers", "--all").stdout
    assert host.run("stat", "-c", "%a %U", "/etc/paxosd/backup.key").stdout.split() == [
        "600", "root",
    ]  # fmt: skip
    ctl(host, "put", "late", "after the backup")
    for each in ("db1", "db2", "db3"):
        lose(hosts[each])
    heading = "All nodes are lost, and there is a backup"
    run_block(blocks_of(section_of(PAGE, heading))[0], host)
    said = run_restore(hosts)
    assert "hello" in said
    assert "all nodes agree" in said
    assert ctl(host, "get", f"k{WRITES - 1}", "-o", "plain") == str(WRITES - 1)
    assert ctl(host, "get", "late", check=False) == ""
    assert ctl(host, "--key-file", "/run/home/alice.key", "health", check=False) == ""


def test_a_backup_that_is_not_let_in_fails_where_people_look(hosts):
    run_section(PAGE, "Backups every night", hosts)
    ctl(hosts["db1"], "auth", "set", "backup", "--no-read")
    hosts["db1"].run("systemctl", "start", "paxosd-backup", check=False)
    assert "paxosd-backup" in hosts["db1"].run("systemctl", "--failed", "--no-pager").stdout
    said = hosts["db1"].run("journalctl", "-o", "cat", "-u", "paxosd-backup").stdout
    assert "backup (client) may not" in said


def test_the_way_back_with_one_node_of_three(hosts):
    for name in ("db1", "db2"):
        lose(hosts[name])
    [said] = run_section(PAGE, "A majority is lost for good, and one node is left", hosts)
    assert "all is known to be chosen" in said
    assert "What may be lost" in said
    assert "a quorum of the 3 voters (n1, n2, n3) decides" in said
    hosts["db3"].run("bash", "-c", "scp /var/backups/restore.paxsnap db1.example:/var/backups/")
    said = run_restore(hosts)
    assert "hello" in said
    assert "all nodes agree" in said
    rows = ctl(hosts["db1"], "get", "k", "--prefix", "-o", "json")
    assert rows.count('"key"') == WRITES
