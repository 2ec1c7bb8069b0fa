"""Small simulated clusters for the tests."""

from paxosd.check.history import History
from paxosd.check.workload import BALANCED
from paxosd.sim.cluster.clients import SimClient, WorkOptions
from paxosd.sim.cluster.cluster import ClusterOptions, SimCluster, node_names
from paxosd.sim.cluster.life import ProcessOptions
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.world import World

KEYS = (b"k0", b"k1", b"k2", b"k3")


def make_cluster(seed=1, count=3, *, network=None, node=None, trace=None, records=None, **process):
    """All up; not yet elected."""
    more = {} if network is None else {"network": network}
    options = ClusterOptions(process=ProcessOptions(node=node or {}, **process), **more)
    cluster = SimCluster(World(seed), node_names(count), options, trace, records=records)
    cluster.start()
    return cluster


def make_client(cluster, name="c1", *, operations=100, duration_ms=5000.0, **options):
    """A client with its own history, not yet at work."""
    history = History(lambda: int(cluster.world.now_ms * 1000))
    options = {"keys": KEYS, "mix": BALANCED, "dies": 0.0, "ends_session": 0.0} | options
    work = WorkOptions(operations=operations, duration_ms=duration_ms, **options)
    client = SimClient(
        cluster.world,
        cluster.network,
        name,
        cluster.names,
        history,
        work,
        sent=cluster.invariants.proposed.add,
    )
    return client, history


def run_for(cluster, duration_ms):
    cluster.world.run_until(cluster.world.now_ms + duration_ms)


def write(cluster, client, limit_ms=10_000):
    """One more write, to its end."""
    operation = client.probe(client.options.timeout_ms)
    assert cluster.run_until(lambda: operation.returned >= 0, limit_ms)
    return operation


def do(cluster, verb, node="", **args):
    Director(cluster).carry_out(Directive(0, verb, node, args))


def rule(cluster, node, kind, **args):
    do(cluster, "fault_add", node, name=f"a-{kind}", kind=kind, **args)


def settle(cluster, limit_ms=10_000):
    """All nodes have applied the same, under one leader."""
    assert cluster.run_until(
        lambda: cluster.agreed_leader() and len(set(cluster.applied())) == 1, limit_ms
    )
