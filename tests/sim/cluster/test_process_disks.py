"""Simulated members whose disks fail, rot, are rolled back or lost."""

import pytest

from paxosd.core.run_id import boot_count_of
from paxosd.sim.cluster.violation import Violation
from tests.sim.simple import do, make_client, make_cluster, rule, run_for, settle, write


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
