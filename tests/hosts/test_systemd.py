"""The units of ``conf`` under a real systemd: what it hears of a node, and does with it."""

import pytest

from tests.hosts import program
from tests.hosts.hosts import Host, Wire, until
from tests.hosts.pages import run_section

LOAD_KEY = program.ROOT / "conf" / "load-key.conf"
UNIT = "paxosd@n1"
BACKUPS = "/var/backups/paxosd"
DROP_IN = f"/etc/systemd/system/{UNIT}.service.d/test.conf"
CONFIG = """
[cluster]
id = "single"
[cluster.members.n1]
peer = "tcp://127.0.0.1:7411"
client = "tcp://127.0.0.1:7410"
events = "tcp://127.0.0.1:7412"
[node]
name = "n1"
data_dir = "/var/lib/paxosd/n1"
"""
HANG = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))\n"
"""Makes a process whose loop, and nothing else of it, can be stopped."""
SLOW_START = """
import sys, time
if "n1.toml" in " ".join(sys.orig_argv):
    from paxosd.daemon import start_progress
    from paxosd.replica import recovery
    start_progress.EXTEND_MS = 8000
    whole = recovery._replay
    def slowly(memory, log, now_ms, started_ms, progress):
        for step in range(1, {steps} + 1):
            time.sleep({step_s})
            progress("applying the log", step, {steps})
        whole(memory, log, now_ms, started_ms, progress)
    recovery._replay = slowly
"""

pytestmark = pytest.mark.timeout(180)


class Machine:
    """A host whose systemd runs one node, a cluster by itself."""

    def __init__(self, host):
        self.host = host
        program.install(host)
        run_section("docs/INSTALL.md", "User, directories, units", dict.fromkeys(
            ("db1", "db2", "db3"), host))  # fmt: skip
        host.write("/etc/paxosd/n1.toml", CONFIG)
        self.systemctl("start", UNIT)
        self.systemctl("stop", UNIT)
        init = f"{program.PREFIX}/bin/paxosd init --config /etc/paxosd/n1.toml"
        host.run("setpriv", "--reuid=paxosd", "--regid=paxosd", "--clear-groups", "sh", "-c", init)

    def systemctl(self, *words, check=True):
        return self.host.run("systemctl", *words, check=check)

    def show(self, name):
        return self.systemctl("show", "--value", "-p", name, UNIT).stdout.strip()

    def journal(self):
        return self.host.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT).stdout

    def prepare(self, *settings, code=""):
        """The unit is stopped, and has these settings besides; ``code`` runs in its interpreter."""
        self.systemctl("stop", UNIT, check=False)
        self.systemctl("reset-failed", UNIT, check=False)
        self.host.run("mkdir", "-p", DROP_IN.rpartition("/")[0])
        self.host.write(DROP_IN, "\n".join(["[Service]", *settings, ""]))
        self.host.write(f"{program.PREFIX}/source/sitecustomize.py", code)
        self.systemctl("daemon-reload")

    def works(self):
        return "healthy" in self.host.run(f"{program.PREFIX}/bin/paxosctl", "health").stdout


@pytest.fixture(scope="module")
def made(systemd):
    with Wire() as wire, Host(wire, "single", "10.77.0.1", systemd=True) as host:
        yield Machine(host)


@pytest.fixture
def machine(made):
    made.prepare()
    return made


def test_a_start_is_done_when_the_node_is_ready(machine):
    machine.systemctl("start", UNIT)
    assert (machine.show("ActiveState"), machine.show("SubState")) == ("active", "running")
    until(lambda: machine.show("StatusText") == "leader; leader n1", "the status line")
    assert machine.works()
    main = machine.show("MainPID")
    assert machine.host.run("stat", "-c", "%U", f"/proc/{main}").stdout.strip() == "paxosd"
    directory = machine.host.run("stat", "-c", "%a %U", "/var/lib/paxosd/n1").stdout
    assert directory.split() == ["700", "paxosd"]
    core = machine.host.run("grep", "Max core file size", f"/proc/{main}/limits").stdout
    assert core.split()[4:6] == ["0", "0"]


def test_a_stop_is_clean(machine):
    machine.systemctl("start", UNIT)
    machine.systemctl("stop", UNIT)
    assert (machine.show("ActiveState"), machine.show("Result")) == ("inactive", "success")


def test_a_reload_ends_and_the_node_goes_on(machine):
    machine.systemctl("start", UNIT)
    main = machine.show("MainPID")
    machine.host.write("/etc/paxosd/n1.toml", CONFIG + "[protocol]\nheartbeat_ms = 50\n")
    try:
        machine.systemctl("reload", UNIT)
        until(lambda: '"at_next_start": ["protocol.heartbeat_ms"]' in machine.journal(), "a reload")
    finally:
        machine.host.write("/etc/paxosd/n1.toml", CONFIG)
    until(lambda: machine.show("SubState") == "running", "the end of the reload")
    assert machine.show("MainPID") == main
    assert machine.works()


def test_a_loop_that_hangs_is_ended_and_the_node_starts_again(machine):
    """Its other threads run on: none of them feeds the watchdog."""
    machine.prepare("WatchdogSec=5", "RestartSec=0", code=HANG)
    machine.systemctl("start", UNIT)
    first = machine.show("MainPID")
    machine.host.run("kill", "-USR1", first)
    until(lambda: machine.show("NRestarts") != "0", "another start")
    until(lambda: machine.show("ActiveState") == "active", "the node")
    assert machine.show("MainPID") != first
    assert machine.works()
    journal = machine.journal()
    assert "Watchdog timeout" in journal
    assert "sitecustomize.py" in journal, "what the loop was doing"


def test_a_start_that_gets_ahead_has_the_time_that_it_needs(machine):
    machine.prepare("TimeoutStartSec=10", code=SLOW_START.format(steps=26, step_s=0.5))
    machine.systemctl("start", "--no-block", UNIT)
    words = until(
        lambda: "applying the log, " in machine.show("StatusText") and machine.show("StatusText"),
        "words about how far it is",
    )
    assert words.startswith("starting: applying the log, ")
    assert "s left" in words
    until(lambda: machine.show("ActiveState") != "activating", "the end of the start")
    assert machine.show("ActiveState") == "active"
    assert machine.show("NRestarts") == "0"


def test_a_start_that_stands_still_is_ended(machine):
    machine.prepare("TimeoutStartSec=1", "Restart=no", code=SLOW_START.format(steps=1, step_s=3600))
    machine.systemctl("start", UNIT, check=False)
    assert (machine.show("ActiveState"), machine.show("Result")) == ("failed", "timeout")


def test_what_a_start_cannot_cure_is_not_tried_again(machine):
    machine.host.write("/etc/paxosd/n1.toml", CONFIG + "[nothing]\n")
    try:
        machine.systemctl("start", UNIT, check=False)
        until(lambda: machine.show("ActiveState") == "failed", "the failure")
    finally:
        machine.host.write("/etc/paxosd/n1.toml", CONFIG)
    assert machine.show("ExecMainStatus") == "78"
    assert machine.show("NRestarts") == "0"


def test_one_that_was_killed_is_started_again(machine):
    machine.systemctl("start", UNIT)
    machine.host.run("kill", "-KILL", machine.show("MainPID"))
    until(lambda: machine.show("NRestarts") == "1", "another start")
    until(lambda: machine.show("ActiveState") == "active", "the node")
    assert machine.works()


def test_a_backup_of_a_cluster_without_keys(machine):
    """The unit as it is: it is handed no key, as there is none."""
    machine.systemctl("start", UNIT)
    machine.host.write("/etc/paxosd/backup.env", "PAXOSCTL_ENDPOINTS=tcp://127.0.0.1:7410\n")
    until(machine.works, "the leader")
    machine.systemctl("start", "paxosd-backup")
    taken = machine.host.run(f"{program.PREFIX}/bin/paxosctl", "backup", "list", BACKUPS).stdout
    assert "single" in taken


def test_a_key_is_handed_to_the_node_alone(machine):
    """The files are root's; what the service gets is its user's, and in no file system."""
    keygen = (f"{program.PREFIX}/bin/paxosd", "keygen", "--name", "n1", "--cluster", "single")
    files = ("/etc/paxosd/n1.key", "/etc/paxosd/paxosd.trust")
    machine.host.run("rm", "-f", *files)
    machine.host.run(*keygen, "-o", files[0], "--trust", files[1])
    machine.host.run("chown", "root:root", *files)
    machine.prepare(*LOAD_KEY.read_text().partition("[Service]")[2].split("\n"))
    machine.systemctl("start", UNIT)
    main = machine.show("MainPID")
    directory = f"/run/credentials/{UNIT}.service"
    environ = machine.host.run("cat", f"/proc/{main}/environ").stdout.split("\0")
    assert f"CREDENTIALS_DIRECTORY={directory}" in environ
    inside = ("nsenter", "--target", main, "--mount", "--")
    key = machine.host.run(*inside, "stat", "-c", "%a %U", f"{directory}/paxosd.key").stdout
    assert key.split() == ["400", "paxosd"]
    until(lambda: machine.show("StatusText") == "leader; leader n1", "a node with keys")
    plain = machine.host.run(f"{program.PREFIX}/bin/paxosctl", "health", check=False)
    assert plain.returncode != 0, "it takes keys alone"
    machine.systemctl("stop", UNIT)
    assert machine.host.run("test", "-e", directory, check=False).returncode != 0


def test_without_its_key_a_node_does_not_start(machine):
    machine.host.run("rm", "-f", "/etc/paxosd/n1.key")
    machine.prepare("Restart=no", *LOAD_KEY.read_text().partition("[Service]")[2].split("\n"))
    machine.systemctl("start", UNIT, check=False)
    assert machine.show("ActiveState") == "failed"
