"""Clients that reach every node but the leader write through the others."""

from tests.sim.simple import make_client, make_cluster, run_for, write


def led(seed):
    cluster = make_cluster(seed)
    assert cluster.run_until(lambda: cluster.agreed_leader() != "", 20_000)
    return cluster, cluster.agreed_leader()


def passed_on(cluster):
    return sum(p.replica.forwarding.passed_on for p in cluster.processes.values())


def test_writes_go_on_while_no_client_reaches_the_leader():
    for seed in range(1, 4):
        cluster, leader = led(seed)
        client, history = make_client(cluster, operations=200, duration_ms=10_000.0)
        cluster.network.cut.add(leader)
        client.start()
        run_for(cluster, 10_000)
        client.stop()
        assert write(cluster, client).acknowledged, f"seed {seed}"
        assert cluster.agreed_leader() == leader, "it leads all the while"
        assert passed_on(cluster) > 50, f"seed {seed}"
        assert history.counts()["ok"] > 150, f"seed {seed}: {history.counts()}"


def test_without_it_no_write_succeeds(monkeypatch):
    cluster, leader = led(1)
    for process in cluster.processes.values():
        process.replica.service._forwarding = None
    client, _ = make_client(cluster)
    cluster.network.cut.add(leader)
    assert not write(cluster, client).acknowledged


def test_the_end_of_the_one_that_passes_on_loses_and_doubles_nothing():
    """kill -9 of each in turn; the invariants and the checker look at every write."""
    for seed in range(1, 4):
        cluster, leader = led(seed)
        client, history = make_client(cluster, operations=300, duration_ms=15_000.0)
        cluster.network.cut.add(leader)
        client.start()
        for name in [n for n in cluster.names if n != leader] * 2:
            run_for(cluster, 1500)
            cluster.processes[name].crash(power=False)
            run_for(cluster, 500)
            cluster.processes[name].start()
        run_for(cluster, 8000)
        client.stop()
        cluster.network.heal()
        assert write(cluster, client).acknowledged, f"seed {seed}"
        assert passed_on(cluster), f"seed {seed}"
        assert history.counts()["ok"] > 100, f"seed {seed}: {history.counts()}"
