"""Simulated members: recovery, crashes at every boundary, pauses, networks that fail."""

import pytest

from paxosd.core.messages import Envelope, Hello, Nack
from paxosd.core.requests import AdminRequest
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.network import NetworkOptions
from paxosd.sim.world.trace import Trace
from tests.sim.simple import do, make_client, make_cluster, rule, run_for, settle, write


def test_a_stranger_hides_no_change_of_the_membership(monkeypatch):
    """Where a stranger is comes to be known before the turn has noticed that another membership
    is in force: that must still be said to subscribers and recorded."""
    cluster = make_cluster()
    cluster.elect()
    replica = cluster.processes["n1"].replica
    replica._membership = None  # another one was noticed last
    monkeypatch.setattr(replica.node, "hear_stranger", lambda *_: True)
    replica._bus.inbox.strangers.append(("n9", 0, Hello(peer="p", events="e"), 0, 0))
    said = []
    monkeypatch.setattr(replica.events, "publish_members", said.append)
    replica._hear_strangers()
    replica._act()
    assert said == [replica.node.membership.epoch]


class TestCluster:
    def test_three_nodes_elect_and_write(self):
        cluster = make_cluster()
        cluster.elect()
        client, history = make_client(cluster)
        client.start()
        assert cluster.run_until(lambda: len(history) >= 100 and client.idle, 20_000)
        settle(cluster)
        assert history.counts() == {"ok": 100, "failed": 0, "unknown": 0}
        assert len({p.machine.chain for p in cluster.up()}) == 1
        assert cluster.invariants.chosen

    @pytest.mark.parametrize("count", [1, 2, 5, 7])
    def test_other_sizes(self, count):
        cluster = make_cluster(count=count)
        cluster.elect()
        client, _ = make_client(cluster)
        assert write(cluster, client).acknowledged

    def test_every_frame_through_the_wire(self):
        cluster = make_cluster(network=NetworkOptions(wire=True))
        cluster.elect()
        client, history = make_client(cluster)
        client.start()
        assert cluster.run_until(lambda: len(history) >= 100 and client.idle, 20_000)
        assert history.counts()["ok"] == 100


class TestCrash:
    @pytest.mark.parametrize("power", [False, True])
    def test_of_all_and_a_restart(self, power):
        cluster = make_cluster(segment_bytes=4096)
        cluster.elect()
        client, _ = make_client(cluster)
        for _ in range(30):
            assert write(cluster, client).acknowledged
        applied = max(cluster.applied())
        cluster.crash(power=power)
        assert cluster.up() == []
        cluster.start()
        cluster.elect()
        assert cluster.run_until(lambda: min(cluster.applied()) >= applied, 5000)
        assert {p.boot_count for p in cluster.up()} == {2}
        assert write(cluster, client).acknowledged

    def test_a_majority_down_means_no_writes_and_no_loss(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=2000)
        others = [name for name in cluster.names if name != leader]
        for name in others:
            cluster.crash(name)
        assert not write(cluster, client).acknowledged
        cluster.start(others[0])
        assert cluster.run_until(lambda: cluster.leader() != "", 25_000), "after compare_wait_ms"
        assert write(cluster, client).acknowledged

    @pytest.mark.parametrize("power", [False, True])
    @pytest.mark.parametrize("effects", [*range(1, 25), 40, 77, 150])
    def test_before_each_effect_of_the_leader(self, effects, power):
        cluster = make_cluster(effects, segment_bytes=4096)
        leader = cluster.elect()
        client, history = make_client(cluster, timeout_ms=8000)
        process = cluster.processes[leader]
        process.crash_point.arm(effects, power=power)
        client.start()
        assert cluster.run_until(lambda: not process.up, 5000)
        cluster.run_until(lambda: False, 300)
        cluster.start()
        assert cluster.run_until(lambda: len(history) >= 60, 20_000)
        client.stop()
        settle(cluster)

    @pytest.mark.parametrize("effects", range(1, 12))
    def test_while_it_recovers(self, effects):
        cluster = make_cluster(effects)
        leader = cluster.elect()
        client, _ = make_client(cluster)
        write(cluster, client)
        process = cluster.processes[leader]
        cluster.crash(leader)
        process.crash_point.arm(effects, power=True)
        cluster.start(leader)
        cluster.run_until(lambda: not process.up, 200)
        cluster.start()
        settle(cluster)
        assert write(cluster, client).acknowledged

    def test_an_armed_crash_is_in_the_trace(self):
        trace = Trace("all")
        cluster = make_cluster(trace=trace)
        cluster.elect()
        cluster.processes["n1"].crash_point.arm(1, power=False)
        run_for(cluster, 1000)
        (crash,) = [event for event in trace.events() if event["event"] == "process.crash_point"]
        assert (crash["node"], crash["before"]) == ("n1", "send")

    def test_the_admin_verb(self):
        cluster = make_cluster()
        cluster.elect()
        process = cluster.processes["n2"]
        process.arrive_request(b"x", AdminRequest(1, "fault_crash", {}))
        run_for(cluster, 100)
        assert not process.up


class TestPauseAndStarve:
    def test_a_stopped_leader_is_replaced_and_follows_afterwards(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        cluster.pause(leader)
        assert write(cluster, client, 20_000).acknowledged
        assert cluster.leader() != leader or cluster.processes[leader].paused
        run_for(cluster, 30_000)
        cluster.resume(leader)
        settle(cluster)
        assert cluster.leader() != leader

    def test_a_stopped_process_does_nothing(self):
        cluster = make_cluster()
        cluster.elect()
        process = cluster.processes["n1"]
        cluster.pause("n1")
        applied, held = process.node.applied, len(process.bus.arrived)
        client, _ = make_client(cluster, timeout_ms=20_000)
        write(cluster, client, 20_000)
        assert process.node.applied == applied
        assert len(process.bus.arrived) > held, "its sockets fill"

    def test_a_starved_process_takes_few_turns(self):
        trace = Trace("all")
        cluster = make_cluster(trace=trace)
        leader = cluster.elect()
        do(cluster, "starve", leader, turn_ms=2000)
        assert cluster.run_until(lambda: cluster.agreed_leader() not in ("", leader), 20_000)

    @pytest.mark.parametrize("effects", range(1, 13))
    def test_a_pause_in_the_middle_of_a_turn(self, effects):
        """What the turn still has to say leaves when the process goes on, and nothing else."""
        trace = Trace("all")
        cluster = make_cluster(trace=trace)
        leader = cluster.elect()
        client, history = make_client(cluster, timeout_ms=20_000, operations=40)
        process = cluster.processes[leader]
        said = []
        real = cluster.network.send
        cluster.network.send = lambda envelope, to: (
            said.append(envelope.sender),
            real(envelope, to),
        )
        client.start()
        do(cluster, "pause_at_effect", leader, effects=effects, ms=3000)
        assert cluster.run_until(lambda: process.paused, 2000)
        said.clear()
        run_for(cluster, 2900)
        assert process.paused
        assert leader not in said
        (point,) = [line for line in trace.lines() if "process.pause_point" in line]
        silent = '"sync"' in point or '"write"' in point  # of the log, or of its tail-mark
        assert process.bus._stalled or silent, "it was stopped with something still to say"
        assert cluster.run_until(lambda: not process.paused, 200)
        assert leader in said or silent
        assert cluster.run_until(lambda: len(history) >= 40 and client.idle, 20_000)
        settle(cluster)

    def test_who_dies_in_such_a_pause_says_nothing_more(self):
        cluster = make_cluster()
        leader = cluster.elect()
        process = cluster.processes[leader]
        do(cluster, "pause_at_effect", leader, effects=1, ms=3000)
        assert cluster.run_until(lambda: process.paused, 2000)
        process.crash(power=True)
        said = []
        real = cluster.network.send
        cluster.network.send = lambda envelope, to: (
            said.append(envelope.sender),
            real(envelope, to),
        )
        run_for(cluster, 5000)
        assert said
        assert leader not in said

    def test_a_pause_by_rule_ends_by_itself(self):
        cluster = make_cluster()
        leader = cluster.elect()
        process = cluster.processes[leader]
        rule(cluster, leader, "pause", on=["*"], ms=5000)
        assert cluster.run_until(lambda: process.paused, 1000)
        assert cluster.run_until(lambda: not process.paused, 5100)
        settle(cluster)


class TestNetworkFaults:
    def test_an_isolated_leader_steps_down_and_comes_back(self):
        cluster = make_cluster()
        leader = cluster.elect()
        rule(cluster, "", "isolate", on=[leader])
        assert cluster.run_until(lambda: not cluster.processes[leader].node.leading, 5000)
        assert cluster.run_until(lambda: cluster.leader() not in ("", leader), 5000)
        do(cluster, "fault_clear")
        settle(cluster)

    def test_a_rule_that_persists_outlives_a_restart(self):
        cluster = make_cluster()
        leader = cluster.elect()
        director = Director(cluster)
        for name, persist in (("stays", True), ("goes", False)):
            args = {"name": name, "kind": "isolate", "on": ["@leader"], "persist": persist}
            director.carry_out(Directive(0, "fault_add", "", args))
        director.carry_out(Directive(0, "crash", leader))
        director.carry_out(Directive(0, "restart", leader))
        plan = cluster.processes[leader].plan
        assert [each["name"] for each in plan.list(0.0)] == ["stays"]
        assert plan.list(0.0)[0]["on"] == leader
        director.heal()
        assert len(plan) == 0
        settle(cluster)

    def test_frames_of_an_earlier_life_are_refused_once_the_new_one_was_heard(self):
        cluster = make_cluster()
        cluster.elect()
        process = cluster.processes["n1"]
        cluster.crash("n2")
        peer_runs = process.bus.inbox.peer_runs
        cluster.run_until(lambda: False, 2 * peer_runs.silence_ms)
        hello = Hello(peer_runs._heard["n2"].directory_id, 1 << 30, peer_runs._challenge)
        process.arrive(Envelope("n2", make_run_id(5, 1), hello))
        process.bus.receive_peers(100)
        message = Nack(Ballot(1, "n1"), Ballot(2, "n2"))
        new, old, twin = make_run_id(5, 1), make_run_id(4, 9), make_run_id(5, 2)
        for run_id in (new, old, twin, new):
            process.arrive(Envelope("n2", run_id, message))
        assert [
            each.run_id
            for each in process.bus.receive_peers(100)
            if each.sender == "n2" and each.run_id >= old
        ] == [
            new,
            new,
        ]


class TestClocks:
    def test_a_leader_with_a_wrong_clock_goes_on(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster)
        for ms in (7_200_000, -14_400_000):
            do(cluster, "clock_jump", leader, ms=ms)
            assert write(cluster, client).acknowledged
        do(cluster, "clock_drift", leader, ppm=200_000)
        assert write(cluster, client).acknowledged
        settle(cluster)
