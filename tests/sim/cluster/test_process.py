"""Simulated members: recovery, crashes at every boundary, pauses, disks that fail."""

import pytest

from paxosd.core.messages import Envelope, Hello, Nack
from paxosd.core.requests import AdminRequest
from paxosd.core.run_id import boot_count_of, make_run_id
from paxosd.core.types import Ballot
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.network import NetworkOptions
from paxosd.sim.world.trace import Trace
from tests.sim.simple import make_client, make_cluster, run_for, write


def do(cluster, verb, node="", **args):
    Director(cluster).carry_out(Directive(0, verb, node, args))


def rule(cluster, node, kind, **args):
    do(cluster, "fault_add", node, name=f"a-{kind}", kind=kind, **args)


def settle(cluster, limit_ms=10_000):
    """All nodes have applied the same, under one leader."""
    assert cluster.run_until(
        lambda: cluster.agreed_leader() and len(set(cluster.applied())) == 1, limit_ms
    )


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


class TestDiskFaults:
    @pytest.mark.parametrize("kind", ["fsync-error", "disk-full"])
    def test_a_failing_disk_ends_the_process_and_it_comes_back(self, kind):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        rule(cluster, leader, kind, on=["*"])
        assert write(cluster, client, 20_000).acknowledged
        process = cluster.processes[leader]
        assert not process.up
        assert "could not" in process.failure
        cluster.start(leader)
        settle(cluster)

    def test_no_space_left(self):
        cluster = make_cluster(segment_bytes=4096)
        leader = cluster.elect()
        client, history = make_client(cluster, operations=200, timeout_ms=20_000)
        do(cluster, "disk", leader, free_bytes=100)
        client.start()
        process = cluster.processes[leader]
        assert cluster.run_until(lambda: not process.up, 10_000)
        assert "full" in process.failure
        cluster.start(leader)
        do(cluster, "disk", leader, free_bytes=-1)
        cluster.start(leader)
        assert cluster.run_until(lambda: len(history) == 200 and client.idle, 20_000)
        settle(cluster)

    def known(self, cluster):
        """Which life of n3 the others have heard."""
        n3 = cluster.processes["n3"]
        peer_runs = [cluster.processes[name].bus.inbox.peer_runs for name in ("n1", "n2")]
        return [boot_count_of(each.known("n3")) == n3.boot_count for each in peer_runs]

    def test_two_full_disks_hear_a_third_node_that_starts_anew(self):
        """Log and directory share the room: only the reserve takes what must be written down."""
        cluster = make_cluster()
        cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        write(cluster, client)
        for name in ("n1", "n2"):
            do(cluster, "disk", name, free_bytes=0)
        for _ in range(3):
            cluster.crash("n3")
            cluster.start("n3")
            assert cluster.run_until(lambda: all(self.known(cluster)), 10_000)
            assert write(cluster, client, 20_000).acknowledged
        for name in ("n1", "n2"):
            cluster.crash(name)
            cluster.start(name)
            assert write(cluster, client, 20_000).acknowledged
        assert not any(process.failure for process in cluster.processes.values())
        settle(cluster)

    def test_a_directory_that_takes_nothing_costs_the_one_that_starts_anew(self):
        cluster = make_cluster()
        cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        write(cluster, client)
        cluster.crash("n3")
        rule(cluster, "n1", "home-full", on=["n1"])
        cluster.start("n3")
        unwritten = cluster.processes["n1"].bus.inbox.peer_runs.unwritten
        assert cluster.run_until(lambda: "n3" in unwritten, 10_000)
        assert write(cluster, client, 20_000).acknowledged
        assert self.known(cluster) == [False, True]
        do(cluster, "fault_clear")
        assert cluster.run_until(lambda: all(self.known(cluster)), 10_000)
        settle(cluster)
        assert not any(process.failure for process in cluster.processes.values())

    def test_a_torn_write(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        rule(cluster, leader, "torn-write", on=["*"])
        assert write(cluster, client, 20_000).acknowledged
        assert not cluster.processes[leader].up
        cluster.start(leader)
        settle(cluster)

    def test_slow_syncs_take_long(self):
        cluster = make_cluster()
        cluster.elect()
        client, _ = make_client(cluster)
        write(cluster, client)
        rule(cluster, "", "disk-slow", on=["*"], ms=300)
        began_ms = cluster.world.now_ms
        assert write(cluster, client).acknowledged
        assert cluster.world.now_ms - began_ms > 300

    def test_rot_is_found_and_the_node_votes_again_by_itself(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        for _ in range(20):
            write(cluster, client)
        process = cluster.processes[leader]
        cluster.crash(leader, power=True)
        # Somewhere in the first part of what is written.
        process.disks.bit_rot(700)
        cluster.start(leader)
        assert process.damaged
        assert process.node.forgetful
        assert process.replica.wal.commit == 0
        assert write(cluster, client, 20_000).acknowledged
        run_for(cluster, 5000)
        assert not process.node.forgetful
        assert process.node.membership.epoch == 1
        assert write(cluster, client, 20_000).acknowledged
        cluster.crash(leader, power=True)
        cluster.start(leader)
        assert not process.node.forgetful, "it is the one that votes now"

    def test_rot_in_a_majority_elects_no_leader_until_an_operator_acts(self):
        """Nobody may decide any more who votes: not those who forgot, nor those who did not."""
        cluster = make_cluster()
        cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        for _ in range(20):
            write(cluster, client)
        for name in ("n1", "n2"):
            cluster.crash(name, power=True)
            cluster.processes[name].disks.lose_log()
        reigns = len(cluster.invariants.leaders)
        cluster.crash("n3")
        for name in ("n3", "n1", "n2"):
            cluster.start(name)
        run_for(cluster, 30_000)
        assert len(cluster.invariants.leaders) == reigns
        assert all(cluster.processes[name].node.forgetful for name in ("n1", "n2"))
        applied = cluster.processes["n3"].node.applied
        assert applied >= 20
        assert [p.node.applied for p in cluster.up()] == [applied] * 3, "they serve stale reads"

    def test_a_sound_log_that_is_taken_for_corrupt_is_a_violation(self):
        cluster = make_cluster()
        cluster.elect()
        run_for(cluster, 1000)
        cluster.crash("n1")
        cluster.processes["n1"].disks.log.bit_rot(100)  # behind the process's back
        with pytest.raises(Violation, match="takes its sound log for corrupt"):
            cluster.start("n1")


class TestOneFileRolledBack:
    def test_a_file_that_others_follow_is_set_aside(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        process = cluster.processes[leader]
        write(cluster, client)
        do(cluster, "remember", leader)
        last = max(name for name in process.disks._remembered.log if name.startswith("wal-"))
        while max(n for n in process.disks.log.list() if n.startswith("wal-")) <= last:
            write(cluster, client, 20_000)
        run_for(cluster, 1000)
        process.tally.counts["bit-rot"] = 1  # so that its refusal is no finding
        do(cluster, "rollback", leader, file="wal-")
        cluster.start(leader)
        assert process.node.forgetful
        assert f"lost-1-{last}" in process.disks.log.list()
        assert write(cluster, client, 20_000).acknowledged


class TestLostMemory:
    """What the present product does not survive: the checks must see it."""

    def test_a_wiped_node_starts_from_nothing(self):
        cluster = make_cluster()
        cluster.elect()
        client, _ = make_client(cluster)
        write(cluster, client)
        do(cluster, "wipe", "n1")
        process = cluster.processes["n1"]
        process.start()
        assert process.boot_count == 1

    def test_a_log_that_is_gone_while_its_mark_is_there_is_noticed(self):
        cluster = make_cluster()
        cluster.elect()
        cluster.crash("n1")
        process = cluster.processes["n1"]
        process.disks.lose_log()
        process.start()
        assert process.node.forgetful
        run_for(cluster, 5000)
        assert not process.node.forgetful

    def test_a_rolled_back_disk_breaks_a_promise(self):
        cluster = make_cluster()
        leader = cluster.elect()
        client, _ = make_client(cluster, timeout_ms=20_000)
        do(cluster, "remember")
        for _ in range(5):
            write(cluster, client)
        process = cluster.processes[leader]
        cluster.crash(leader)
        assert process.disks.rollback()
        with pytest.raises(Violation, match="memory"):
            process.start()

    def test_nothing_was_remembered(self):
        cluster = make_cluster()
        cluster.crash("n1")
        assert not cluster.processes["n1"].disks.rollback()


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
