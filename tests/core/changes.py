"""Changes of the membership for the in-memory cluster."""

from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.membership import Member
from tests.core.cluster import Cluster


def plain(voter=True, directory_id=0):
    return Member("", "", "", voter, directory_id)


def membership(cluster):
    """The latest that a node that is up has applied."""
    return max((m.node.membership for m in cluster.up()), key=lambda each: each.epoch)


def change_entry(epoch, document):
    return Entry(0, 1, 0, [[MEMBERS, epoch, document]])


def wanted(cluster, *, voters=(), learners=(), gone=(), **sizes):
    """The present membership with these as voters and learners, and without those."""
    present = membership(cluster)
    return present, changed(cluster, present, voters=voters, learners=learners, gone=gone, **sizes)


def changed(cluster, present, *, voters=(), learners=(), gone=(), **sizes):
    """That membership with these as voters and learners, and without those."""
    members = {name: member for name, member in present.members.items() if name not in gone}
    for names, voter in ((voters, True), (learners, False)):
        for name in names:
            directory = cluster.members[name].directory_id if voter else 0
            members[name] = plain(voter, directory)
    return present.replaced(members, **sizes)


def change(cluster, **what):
    """Carry out one change; returns the result of the command."""
    present, new = wanted(cluster, **what)
    reply = cluster.call(change_entry(present.epoch, new.to_command()))
    return reply.results[0]


def settled(cluster):
    """Run until all members have applied the latest membership and agree on a leader of it."""

    def done():
        present = membership(cluster)
        nodes = [cluster.members[n].node for n in present.members]
        nodes = [node for node in nodes if node is not None]
        leader = cluster.leader()
        return (
            leader in present.voters
            and all(node.membership.epoch == present.epoch for node in nodes)
            and all(node.leader == leader for node in nodes)
            and cluster.members[leader].node.promised.epoch == present.epoch
        )

    cluster.run_until(done)
    return cluster.leader()


def caught_up(cluster, name):
    """Run until the node has applied what its leader has."""
    cluster.run_until(
        lambda: (
            cluster.members[name].node.applied >= cluster.members[cluster.leader()].node.applied
            if cluster.leader()
            else False
        )
    )


def grown(size=3, seed=1, **options):
    """A cluster with a leader, an open session, and one node, ``n9``, that joined as a learner."""
    cluster = Cluster(size, seed, **options)
    cluster.elect()
    session = cluster.open_session()
    cluster.put(session, 1, b"k", b"before")
    cluster.join("n9", directory_id=9)
    assert change(cluster, learners=["n9"])[0] == 0
    settled(cluster)
    caught_up(cluster, "n9")
    return cluster, session
