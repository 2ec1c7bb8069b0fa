"""Virtual time, the trace and the clocks."""

import json

import pytest

from paxosd.sim.world.clock import SimClock
from paxosd.sim.world.trace import Trace, TraceLog
from paxosd.sim.world.world import StalledError, World


class TestWorld:
    def test_things_happen_in_order_of_time_and_then_of_asking(self):
        world, seen = World(1), []
        for delay_ms, name in ((5, "c"), (1, "a"), (5, "d"), (1, "b")):
            world.at(delay_ms, seen.append, name)
        world.run_until(4)
        assert (seen, world.now_ms) == (["a", "b"], 4)
        world.run_until(5)
        assert seen == ["a", "b", "c", "d"]
        assert world.events == 4

    def test_what_is_asked_for_the_past_happens_now(self):
        world, seen = World(1), []
        world.run_until(10)
        world.at(-5, lambda: seen.append(world.now_ms))
        world.at_time(3, lambda: seen.append(world.now_ms))
        world.run_until(10)
        assert seen == [10, 10]

    def test_run_while_ends_when_the_condition_does(self):
        world, seen = World(1), []
        for delay_ms in range(1, 10):
            world.at(delay_ms, seen.append, delay_ms)
        assert world.run_while(lambda: len(seen) < 3, 100)
        assert (seen, world.now_ms) == ([1, 2, 3], 3)
        assert not world.run_while(lambda: len(seen) < 99, 2)
        assert world.now_ms == 5
        assert not world.run_while(lambda: True, 100), "nothing is left to happen"
        assert world.now_ms == 105

    def test_streams_of_randomness_are_independent(self):
        one, other = World(7), World(7)
        assert one.derive("a").random() == other.derive("a").random()
        assert one.derive("a").random() != one.derive("b").random()
        assert one.derive("a").random() != World(8).derive("a").random()
        one.rng.random()
        assert one.derive("a").random() == other.derive("a").random()

    def test_time_that_stands_still_is_noticed(self):
        world = World(1)

        def again():
            world.at(0, again)

        again()
        with pytest.raises(StalledError, match="events at 0"):
            world.run_until(1)


class TestTrace:
    def test_lines_are_canonical(self):
        world, trace = World(1), Trace("all")
        trace.clock = world
        world.run_until(1.23456)
        trace.add("n1", "x", {"b": b"\xff", "a": (1, 2), "s": {"q", "p"}, "o": object()})
        assert trace.lines() == [
            '{"a":[1,2],"at":1.235,"b":"\\\\xff","event":"x","node":"n1","o":"<object>",'
            '"s":["p","q"]}'
        ]

    def test_the_digest_is_of_all_lines(self):
        one, other = Trace("all"), Trace("all")
        for trace in (one, other):
            trace.add("n1", "x", {"a": 1})
        assert one.digest() == other.digest()
        other.add("n1", "x", {})
        assert one.digest() != other.digest()

    def test_a_tail_keeps_the_last(self):
        trace = Trace("tail", tail_lines=3)
        log = TraceLog(trace, "n2")
        for number in range(10):
            log.info("count", number=number)
        assert [event["number"] for event in trace.events()] == [7, 8, 9]
        assert trace.count == 10
        assert json.loads(trace.lines()[0])["node"] == "n2"

    def test_fields_hide_nothing(self):
        trace = Trace("all")
        trace.add("n1", "x", {"node": "n9", "event": "y"})
        assert trace.events()[0]["node"] == "n1"
        assert trace.events()[0]["event"] == "x"


class TestClock:
    def test_drift_makes_no_jump_but_adds_up(self):
        world = World(1)
        clock = SimClock(world, base_ms=5000.0)
        start_ms = clock.wall_ms()
        world.run_until(1000)
        clock.drift(100_000)
        assert clock.monotonic_ms() == 6000.0
        assert clock.wall_ms() == start_ms + 1000
        world.run_until(2000)
        assert clock.monotonic_ms() == pytest.approx(7100.0)
        assert clock.wall_ms() == pytest.approx(start_ms + 2100, abs=1)
        assert clock.until_ms(7210.0) == pytest.approx(100.0)
        clock.drift(0)
        world.run_until(3000)
        assert clock.monotonic_ms() == pytest.approx(8100.0)
        assert clock.wall_ms() == pytest.approx(start_ms + 3100, abs=1)

    def test_skew_moves_the_wall_clock_alone(self):
        world = World(1)
        clock = SimClock(world)
        before = clock.wall_ms(), clock.monotonic_ms()
        clock.skew_ms -= 10_000
        assert (clock.wall_ms(), clock.monotonic_ms()) == (before[0] - 10_000, before[1])
