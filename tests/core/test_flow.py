"""What is on its way to a peer: the window, its pace, and when something counts as lost."""

from paxosd.core.flow import (
    CHUNK_MIN_BYTES,
    CHUNK_START_BYTES,
    SMALL_BYTES,
    WINDOW_MAX_BYTES,
    WINDOW_MIN_BYTES,
    WINDOW_START_BYTES,
    Flow,
)

KB = 1 << 10
MB = 1 << 20


def carry(flow, rate_bytes_per_ms, *, ms=60_000.0, size=32 * KB, rtt_ms=1.0):
    """Keep the link full with pieces for so long; returns the most that was on its way."""
    now_ms = free_ms = 0.0
    slot, most, under_way = 0, 0, []
    while now_ms < ms:
        while flow.fits(size):
            slot += 1
            flow.sent(slot, size, now_ms)
            free_ms = max(free_ms, now_ms) + size / rate_bytes_per_ms
            under_way.append((free_ms + rtt_ms, slot))
            most = max(most, flow.in_flight)
        due_ms, done = under_way.pop(0)
        now_ms = max(now_ms, due_ms)
        flow.arrived(done, now_ms)
    return most


class TestWindow:
    def test_a_single_message_of_any_size_goes(self):
        flow = Flow()
        assert flow.fits(100 * MB)
        flow.sent(1, 100 * MB, 0.0)
        assert not flow.fits(SMALL_BYTES)
        assert flow.fits(SMALL_BYTES - 1), "what is small costs nothing"

    def test_it_is_bounded(self):
        flow = Flow()
        assert carry(flow, 1000 * KB, ms=5000.0) <= WINDOW_MAX_BYTES
        assert flow.window == WINDOW_MAX_BYTES

    def test_on_a_slow_link_about_a_moments_worth_is_on_its_way(self):
        for rate in (1000.0, 3000.0):  # 1 and 3 MB/s
            flow = Flow()
            carry(flow, rate)
            assert 0.5 <= flow.window / (rate * 200.0) <= 3.0

    def test_it_never_shrinks_to_nothing(self):
        flow = Flow()
        carry(flow, 10.0)
        assert WINDOW_MIN_BYTES <= flow.window <= 2 * WINDOW_MIN_BYTES

    def test_a_link_that_grows_slow_gets_less(self):
        flow = Flow()
        carry(flow, 1000 * KB, ms=2000.0)
        before = flow.window
        flow.arrived_up_to(1 << 40, 2000.0)
        for number in range(40):
            flow.sent(number, MB, 3000.0 + 1000 * number)
            flow.arrived(number, 3000.0 + 1000 * number + 900)
            if number > 3:
                break
        assert flow.window < before

    def test_a_far_peer_is_no_slow_one(self):
        flow = Flow()
        carry(flow, 10_000.0, rtt_ms=300.0, ms=20_000.0)
        assert flow.window > 4 * WINDOW_START_BYTES


class TestCatchingUp:
    def test_before_anything_is_known_it_begins_small(self):
        assert Flow().room == CHUNK_START_BYTES

    def test_it_has_half_a_window_whatever_is_proposed(self):
        flow = Flow()
        carry(flow, 1000 * KB, ms=1000.0)
        assert not flow.fits(MB)
        assert flow.room == flow.window // 2
        flow.served(1000, 1010, flow.room, 1000.0)
        assert flow.room == 0
        flow.arrived_up_to(1010, 1001.0)
        assert flow.room >= CHUNK_MIN_BYTES

    def test_what_is_on_its_way_is_known_by_each_of_its_slots(self):
        flow = Flow()
        flow.served(5, 9, MB, 0.0)
        assert [slot for slot in range(12) if flow.carries(slot)] == [5, 6, 7, 8, 9]
        flow.arrived_up_to(9, 1.0)
        assert not flow.carries(5)

    def test_what_is_small_may_go_again(self):
        flow = Flow()
        flow.served(5, 9, SMALL_BYTES - 1, 0.0)
        assert not flow.carries(5)

    def test_pieces_of_a_snapshot(self):
        flow = Flow()
        flow.sent_chunk(0, 32 * KB, 0.0)
        assert flow.carries_chunk(0)
        flow.chunks_arrived(0, 1.0)
        assert flow.carries_chunk(0), "it is asked for once more"
        flow.chunks_arrived(32 * KB, 2.0)
        assert not flow.carries_chunk(0)
        assert flow.in_flight == 0


class TestOverdue:
    def test_one_that_is_lost_is_given_up_some_time(self):
        flow = Flow()
        flow.sent(1, MB, 0.0)
        flow.expire(1000.0, 250.0)
        assert flow.carries(1), "at 100 kB/s it takes 10 s"
        flow.expire(60_000.0, 250.0)
        assert not flow.carries(1)
        assert flow.in_flight == 0

    def test_the_patience_goes_by_what_the_link_carried(self):
        flow = Flow()
        carry(flow, 100 * KB, ms=1000.0)
        flow.arrived_up_to(1 << 40, 1000.0)
        flow.sent(1, MB, 1000.0)
        flow.expire(1500.0, 250.0)
        assert not flow.carries(1), "on a fast link it would be there"

    def test_it_doubles(self):
        flow = Flow()
        waits = []
        for _ in range(3):
            flow.sent(1, 64 * KB, 0.0)
            now_ms = 0.0
            while flow.carries(1):
                now_ms += 50.0
                flow.expire(now_ms, 250.0)
            waits.append(now_ms)
        assert waits[1] >= 1.9 * waits[0]
        assert waits[2] >= 1.9 * waits[1]

    def test_one_that_comes_late_after_all_counts(self):
        flow = Flow()
        flow.sent(1, 64 * KB, 0.0)
        flow.expire(60_000.0, 250.0)
        flow.arrived(1, 60_000.0)
        assert flow.in_flight == 0
        assert flow.rate_bytes_per_s

    def test_what_was_not_handed_over_is_not_waited_for(self):
        flow = Flow()
        flow.sent(1, MB, 0.0)
        flow.unsent(1)
        assert flow.in_flight == 0
        assert not flow.carries(1)

    def test_a_new_connection_begins_anew(self):
        flow = Flow()
        flow.sent(1, MB, 0.0)
        flow.skipped = True
        flow.reset()
        assert (flow.in_flight, flow.skipped, flow.window) == (0, False, WINDOW_START_BYTES)
