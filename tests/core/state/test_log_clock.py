"""Log time as a stopwatch: differences within a reign, nothing between reigns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core.commands import OPEN, PUT, Batch, Entry, Reign
from paxosd.core.messages import Accept
from paxosd.core.state.log_clock import NUMBER_MAX, LogClock
from tests.core.cluster import Cluster
from tests.core.member import PickleCodec
from tests.core.test_cluster_settings import RAISING, levels, raised

YEAR_2099_MS = 4_070_908_800_000


def run(*reigns, level=1, clock=None):
    """Log time after each batch."""
    clock = clock or LogClock()
    times = []
    for reign in reigns:
        clock.advance(Batch(YEAR_2099_MS, [], reign and Reign(*reign)), level)
        times.append(clock.now_ms)
    return times


class TestRule:
    def test_within_a_reign_it_adds_what_passed(self):
        assert run((3, "n1", 7000), (3, "n1", 7200), (3, "n1", 7201)) == [0, 200, 201]

    def test_the_first_of_a_reign_adds_nothing(self):
        assert run((3, "n1", 0), (3, "n1", 50), (5, "n2", 900), (5, "n2", 950)) == [0, 50, 50, 100]

    def test_the_wall_clock_decides_nothing(self):
        assert run((3, "n1", 5), (3, "n1", 6)) == [0, 1]

    def test_it_never_goes_backward(self):
        assert run((3, "n1", 500), (3, "n1", 200), (3, "n1", 400), (3, "n1", 600)) == [0, 0, 0, 100]

    def test_a_late_batch_of_an_old_leader_adds_nothing(self):
        """It was adopted behind the new reign's own, which has counted that time."""
        assert run((3, "n1", 10), (5, "n2", 0), (5, "n2", 3000), (3, "n1", 3_600_000),
                   (5, "n2", 3100)) == [0, 0, 3000, 3000, 3100]  # fmt: skip

    def test_two_late_batches_side_by_side_add_nothing(self):
        """The second follows one of its own ballot, an hour apart: the new reign counted it."""
        assert run((3, "n1", 10), (5, "n2", 0), (5, "n2", 3_000_000), (3, "n1", 20),
                   (3, "n1", 3_600_000), (5, "n2", 3_000_100)) == [
            0, 0, 3_000_000, 3_000_000, 3_000_000, 3_000_100]  # fmt: skip

    def test_of_one_round_the_name_tells_reigns_apart(self):
        assert run((3, "n1", 0), (3, "n2", 5000), (3, "n2", 5001)) == [0, 0, 1]

    def test_at_level_0_it_is_the_highest_stamp(self):
        clock = LogClock()
        for stamp_ms in (50, 20, 70):
            clock.advance(Batch(stamp_ms, []), 0)
        assert clock.now_ms == 70

    def test_the_switch_keeps_what_was_reached_and_counts_on(self):
        clock = LogClock()
        clock.advance(Batch(YEAR_2099_MS, []), 0)
        clock.advance(Batch(YEAR_2099_MS + 9, []), 1)  # proposed before the raise was applied
        assert clock.now_ms == YEAR_2099_MS
        assert run((1, "n1", 100), (1, "n1", 160), clock=clock)[-1] == YEAR_2099_MS + 60

    def test_it_is_bounded(self):
        assert run((1, "n1", 0), (1, "n1", NUMBER_MAX), clock=LogClock(5))[-1] == NUMBER_MAX

    @pytest.mark.parametrize("stamp_ms", [None, "1", 1.5, True])
    def test_a_stamp_that_is_none_is_ignored(self, stamp_ms):
        clock = LogClock(3)
        clock.advance(Batch(stamp_ms, []), 0)
        assert clock.now_ms == 3

    @given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["n1", "n2"]),
                              st.integers(0, 1000))))  # fmt: skip
    def test_each_reign_adds_no_more_than_it_lasted(self, reigns):
        clock = LogClock()
        spans: dict = {}
        for reign in reigns:
            clock.advance(Batch(0, [], Reign(*reign)), 1)
            spans.setdefault(reign[:2], []).append(reign[2])
        assert clock.now_ms <= sum(max(each) - min(each) for each in spans.values())


class TestCluster:
    def start(self, seed=1):
        cluster = Cluster(3, seed, options=RAISING)
        cluster.elect()
        levels(cluster)
        cluster.run_until(lambda: raised(cluster))
        return cluster

    def times(self, cluster):
        return {member.machine.log_time_ms for member in cluster.up()}

    def test_it_follows_true_time_in_a_steady_reign(self):
        cluster = self.start()
        session = cluster.open_session()
        cluster.put(session, 1, b"k", b"1")
        before = max(self.times(cluster))
        cluster.run(5000)
        cluster.put(session, 2, b"k", b"2")
        assert 4900 <= max(self.times(cluster)) - before <= 5600

    def test_an_old_leader_that_resumes_does_not_make_it_leap(self):
        """It proposes before it hears that it was deposed, and a third leader adopts that."""
        cluster = self.start()
        session = cluster.open_session()
        old = cluster.leader()
        cluster.put(session, 1, b"k", b"1")
        began, true_ms = max(self.times(cluster)), cluster.now
        cluster.pause(old)
        others = [name for name in cluster.members if name != old]
        cluster.run_until(lambda: cluster.leader() in others)
        cluster.put(session, 2, b"k", b"2")
        cluster.run(60_000)
        cluster.put(session, 3, b"k", b"3")
        # What the old one proposes goes to its own acceptor and to nobody else.
        cluster.isolate(old)
        member = cluster.members[old]
        cluster.submit(old, Entry(session, 4, 3, [[PUT, b"k", b"4"]]))
        cluster.resume(old)
        cluster.heal()
        cluster.put(session, 5, b"k", b"5")
        cluster.run(2000)
        assert max(self.times(cluster)) - began <= cluster.now - true_ms
        assert member.node is not None
        cluster.check_equal()

    def test_a_batch_of_the_old_form_behind_the_raise(self):
        """Proposed before the raise was applied: decodable, and it adds nothing."""
        cluster = Cluster(3, options=RAISING)
        leader = cluster.elect()
        cluster.filter = lambda src, dst, message: not isinstance(message, Accept)
        levels(cluster)
        cluster.run_until(lambda: cluster.members[leader].node.status().open_slots == 1)
        cluster.submit(leader, Entry(0, 1, 0, [[OPEN]]))
        assert cluster.members[leader].node.status().open_slots == 2
        cluster.filter = lambda src, dst, message: True
        cluster.run_until(lambda: raised(cluster) and len(cluster.chosen) >= 2)
        cluster.run(500)
        batches = [PickleCodec().decode_batch(cluster.chosen[slot]) for slot in (1, 2)]
        assert [batch.reign for batch in batches] == [None, None]
        assert len(self.times(cluster)) == 1
        cluster.check_equal()
