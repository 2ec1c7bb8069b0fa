"""Every node says truly how many more may fail: a voter that is up and may not vote is none."""

import pytest

from tests.sim.simple import make_client, make_cluster, run_for, write


def tolerances(cluster):
    return {each.name: each.node.status().fault_tolerance for each in cluster.up()}


def wiped(seed, count, wipe):
    """``wipe`` of ``count`` nodes come back with empty disks, after all have voted."""
    cluster = make_cluster(seed, count)
    client, _ = make_client(cluster)
    cluster.elect()
    write(cluster, client)
    run_for(cluster, 1500)
    for name in wipe:
        cluster.crash(name)
        cluster.processes[name].disks.wipe()
    for name in wipe:
        cluster.start(name)
    run_for(cluster, 5000)
    return cluster


class TestWiped:
    @pytest.mark.parametrize("seed", range(3))
    def test_two_of_three(self, seed):
        """Those that were wiped hear three of three, themselves included: they said 0."""
        cluster = wiped(seed, 3, ["n2", "n3"])
        assert tolerances(cluster) == {"n1": -1, "n2": -1, "n3": -1}
        for name in ("n2", "n3"):
            status = cluster.processes[name].node.status()
            assert not status.votes
            assert all(peer.reachable for peer in status.peers.values())
            assert [n for n, peer in status.peers.items() if peer.votes] == ["n1"]
        seen = cluster.processes["n1"].node.status().peers
        assert all(peer.reachable for peer in seen.values()), "they are up, and are not silent"
        assert not any(peer.votes for peer in seen.values())

    @pytest.mark.parametrize("seed", range(3))
    def test_one_of_three(self, seed):
        cluster = wiped(seed, 3, ["n2"])
        assert tolerances(cluster) == {"n1": 0, "n2": 0, "n3": 0}

    def test_two_of_five(self):
        cluster = wiped(1, 5, ["n2", "n4"])
        assert set(tolerances(cluster).values()) == {0}

    def test_all_are_well(self):
        cluster = wiped(1, 3, [])
        assert set(tolerances(cluster).values()) == {1}


class TestNewcomers:
    def test_a_new_cluster_one_of_whose_members_is_missing(self):
        """Four hear each other, and none of them may vote yet."""
        cluster = make_cluster(1, 5)
        for name in cluster.names:
            cluster.crash(name)
            cluster.processes[name].disks.wipe()
        for name in cluster.names[:4]:
            cluster.start(name)
        run_for(cluster, 3000)
        assert set(tolerances(cluster).values()) == {-1}
