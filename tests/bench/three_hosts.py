"""Three hosts that know each other by name: names that come late, and names that change.

    python -m tests.bench.three_hosts [--rounds 3]

Each host is a set of namespaces with an address and an /etc/hosts of its own (``tests/hosts``). Two
things are measured, each from the moment at which the name is right, to a write that needs the node
that had been away:

    late     n1 and n2 do not know db3 when the cluster starts; then it is written into their
             /etc/hosts. (ZooKeeper kept such a peer away until its restart: ZOOKEEPER-4728.)
    moved    n3's host gets another address, and then its name (etcd kept asking the old one:
             etcd#7798)

No daemon is started again meanwhile, but for n3 with its host. It needs root.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.hosts.hosts import Host, HostError, Wire, until, why_no_hosts
from tests.hosts.installed import ADDRESSES
from tests.hosts.pages import ROOT

MOVED = "10.77.0.33"
BOUND_S = 30.0
"""Within this time the node is to take part: names are asked for at least every 10 s while nothing
is connected (``RETRY_MS_MAX`` in paxosd/net/resolver.py), and every 30 s while it is."""
MEMBER = """
[cluster.members.{name}]
peer = "tcp://{host}:7411"
client = "tcp://{host}:7410"
events = "tcp://{host}:7412"
"""


class Trio:
    """n1, n2, n3 on db1, db2, db3, found by name; without systemd."""

    def __init__(self, wire, path):
        self.path = path
        self.hosts = {}
        self.daemons = {}
        try:
            for host, address in ADDRESSES.items():
                self.hosts[host] = Host(wire, host, address)
        except BaseException:
            self.close()
            raise

    def known(self, host, **others):
        """This host's /etc/hosts: itself, and what it is to know of the others."""
        own = {host: self.hosts[host].address}
        self.hosts[host].know(**(own | others))

    def start(self, node):
        """Start the daemon of a node on its host; its log is kept across starts."""
        host = f"db{node[1:]}"
        members = "".join(MEMBER.format(name=f"n{h[2:]}", host=h) for h in ADDRESSES)
        config = self.path / f"{node}.toml"
        config.write_text(
            f'[cluster]\nid = "hosts"\n{members}\n[node]\nname = "{node}"\n'
            f'data_dir = "{node}"\nbind_host = "*"\n[log]\nformat = "json"\nfile = "{node}.log"\n'
            "[protocol]\ncompare_wait_ms = 2000\n[security]\ninsecure = true\n"
        )
        script = f"echo $$ > /run/{node}.pid; cd {ROOT}; exec {sys.executable} -m paxosd --config"
        script += f" {config}"
        self.daemons[node] = self.hosts[host].spawn("sh", "-c", script)

    def stop(self, node):
        host = self.hosts[f"db{node[1:]}"]
        host.run("sh", "-c", f"kill $(cat /run/{node}.pid)")
        assert self.daemons.pop(node).wait(timeout=30) == 0

    def ask(self, node, *words):
        """One verb of paxosctl at this node, on its own host; its JSON, None if it fails."""
        host = self.hosts[f"db{node[1:]}"]
        done = host.run(
            sys.executable, "-m", "paxosctl", "--endpoints", "tcp://127.0.0.1:7410",
            "--timeout", "2s", "-o", "json", *words, check=False, cwd=ROOT,
        )  # fmt: skip
        return json.loads(done.stdout) if not done.returncode else None

    def votes(self, node):
        """Whether it takes part."""
        status = self.ask(node, "status")
        return status is not None and status["role"] in ("leader", "follower")

    def events(self, node, event):
        log = self.path / f"{node}.log"
        lines = map(json.loads, log.read_text().splitlines()) if log.exists() else ()
        return [line for line in lines if line["event"] == event]

    def starts(self):
        """How often each daemon was started."""
        return {node: len(self.events(node, "node.starting")) for node in ("n1", "n2", "n3")}

    def close(self):
        for host in self.hosts.values():
            host.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def late(trio):
    """A name that has no address at first: the seconds from when it has one until the cluster is
    founded, which needs all three; and what the log said meanwhile."""
    a, b, c = ADDRESSES.values()
    trio.known("db1", db2=b)
    trio.known("db2", db1=a)
    trio.known("db3", db1=a, db2=b)
    for node in ("n1", "n2", "n3"):
        trio.start(node)
    for node in ("n1", "n2"):
        until(lambda node=node: trio.events(node, "name.failed"), f"{node} misses db3")
    until(lambda: trio.ask("n1", "status"), "n1")
    began_s = time.monotonic()
    trio.known("db1", db2=b, db3=c)
    trio.known("db2", db1=a, db3=c)
    until(lambda: all(map(trio.votes, ("n1", "n2", "n3"))), "the founding", BOUND_S)
    took_s = time.monotonic() - began_s
    assert trio.starts() == dict.fromkeys(("n1", "n2", "n3"), 1), "nobody was started again"
    failed = {line["host"] for node in ("n1", "n2") for line in trio.events(node, "name.failed")}
    found = {line["host"] for line in trio.events("n1", "name.resolved")}
    assert failed == {"db3"}, f"the log names the host that is missing: {failed}"
    assert "db3" in found
    return took_s


def moved(trio):
    """A host that gets another address, and its name somewhat later: the seconds from when the
    name is right until its node takes part again."""
    a, b, _ = ADDRESSES.values()
    before = trio.starts()
    trio.stop("n3")
    trio.hosts["db3"].readdress(MOVED)
    trio.known("db3", db1=a, db2=b)
    trio.start("n3")
    until(lambda: trio.ask("n3", "status"), "n3")
    assert trio.ask("n1", "put", "k", "without n3") is not None
    began_s = time.monotonic()
    trio.known("db1", db2=b, db3=MOVED)
    trio.known("db2", db1=a, db3=MOVED)
    until(lambda: trio.votes("n3"), "n3 takes part", BOUND_S)
    took_s = time.monotonic() - began_s
    until(lambda: trio.events("n1", "name.changed"), "n1 has noticed", BOUND_S)
    assert trio.starts() == before | {"n3": before["n3"] + 1}, "n1 and n2 were not started again"
    changed = {line["host"] for line in trio.events("n1", "name.changed")}
    assert changed == {"db3"}, f"the log names the host that moved: {changed}"
    return took_s


def run_round(path):
    """One cluster: the seconds of both."""
    with Wire() as wire, Trio(wire, path) as trio:
        return late(trio), moved(trio)


@click.command()
@click.option("--rounds", default=3, show_default=True)
def main(rounds):
    """Measure how long a node is away because of its name."""
    if why := why_no_hosts():
        raise click.ClickException(why)
    times = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as path:
            try:
                times.append(run_round(Path(path)))
            except (AssertionError, HostError) as error:
                raise click.ClickException(f"round {number + 1}: {error}") from error
        click.echo(f"round {number + 1}: late {times[-1][0]:.1f} s, moved {times[-1][1]:.1f} s")
    for name, values in zip(("late", "moved"), zip(*times, strict=True), strict=True):
        click.echo(f"{name}: median {statistics.median(values):.1f} s, most {max(values):.1f} s")


if __name__ == "__main__":
    main()
