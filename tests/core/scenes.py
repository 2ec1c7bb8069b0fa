"""Small steps that the tests of whole clusters share."""

from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import Refusal
from paxosd.core.types import Ballot
from tests.core.cluster import Cluster


def put_entry(session, seq, value):
    return Entry(session, seq, seq - 1, [[PUT, b"k", value]])


def started(size=3, seed=1, **options):
    """A cluster with a leader and a session: (cluster, leader, session)."""
    cluster = Cluster(size, seed, **options)
    leader = cluster.elect()
    return cluster, leader, cluster.open_session()


def others(cluster, *names):
    return [name for name in cluster.members if name not in names]


def value_on(cluster, name, key=b"k"):
    found = cluster.members[name].machine.query([[1, key]], 1 << 20)[0]
    return found and found.value


def all_equal(cluster, limit_ms=10_000):
    cluster.run_until(lambda: len({m.node.applied for m in cluster.up()}) == 1, limit_ms)
    cluster.check_equal()


def read_now(cluster, name, limit_ms=5_000):
    """A linearizable read on a node: the value of k, or the refusal."""
    token = cluster.read(name)
    cluster.run_until(lambda: token in cluster.replies, limit_ms)
    reply = cluster.replies[token]
    return reply if isinstance(reply, Refusal) else value_on(cluster, name)


def ballots(cluster):
    """The ballots that won, in order of their winning."""
    won = [list(Ballot.of_text(n.fields["ballot"])) for _, name, n in cluster.notices
           if n.event == "leader.elected" and n.fields["leader"] == name]  # fmt: skip
    return won


def restart_all(cluster):
    for name in cluster.members:
        if cluster.members[name].node is not None:
            cluster.crash(name)
    for name in cluster.members:
        cluster.start(name)
