"""Nodes with unequal limits: what the simulated network does to frames, and runs with it."""

import random

import pytest

from paxosd.core.messages import Accept, Envelope, Heartbeat
from paxosd.core.requests import WriteRequest
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.sim.campaign.draw import draw_run
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis.limits import draw_limits
from paxosd.sim.world.frame_limits import (
    AGAIN_AFTER_MS,
    FRAME_EXTRA_BYTES,
    LARGE,
    SMALL,
    Sizes,
    draw_sizes,
)
from paxosd.sim.world.world import World
from paxosd.wire import encode_client, encode_peer
from tests.sim.world.test_network import network_of

BALLOT = Ballot(1, "n1")
LIMIT = SMALL[0]
FRAME = 2 * LIMIT + FRAME_EXTRA_BYTES
SHORT = RunOptions(duration_ms=8000, operations=150, unequal_limits=True)


def accept(frame_bytes, slot=1):
    """An Accept whose frame has this size."""
    bare = encode_peer(Accept(BALLOT, slot, bytes(frame_bytes // 2 + 1), 0), "sim", "n1", 1)
    value = bytes(frame_bytes - len(bare) + frame_bytes // 2 + 1)
    body = Accept(BALLOT, slot, value, 0)
    assert len(encode_peer(body, "sim", "n1", 1)) == frame_bytes
    return Envelope("n1", 1, body)


def beat():
    return Envelope("n1", 1, Heartbeat(NULL_BALLOT, "", 0, 0, 0, 0))


@pytest.fixture(params=[False, True], ids=["objects", "wire"])
def scene(request):
    world, network, ears, client = network_of(wire=request.param)
    network.frames.message_bytes_max["n2"] = LIMIT
    return world, network, ears, client


class TestFrames:
    def test_one_of_exactly_the_limit_comes_through(self, scene):
        world, network, ears, _ = scene
        network.send(accept(FRAME), "n2")
        world.run_until(100)
        assert len(ears["n2"].heard) == 1
        assert ears["n1"].lost == []

    def test_a_larger_one_ends_the_connection_and_what_follows_on_it_is_lost(self, scene):
        world, network, ears, _ = scene
        network.send(accept(FRAME + 1), "n2")
        network.send(accept(100, slot=2), "n2")
        network.send(beat(), "n2")
        world.run_until(50)
        assert [type(each.body) for each in ears["n2"].heard] == [Heartbeat], "another connection"
        assert ears["n1"].lost == []
        assert ears["n2"].lost == []
        assert network.counters["too-large"] == 1
        world.run_until(AGAIN_AFTER_MS[1] + 50)
        network.send(accept(100, slot=3), "n2")
        world.run_until(world.now_ms + 50)
        assert ears["n2"].heard[-1].body.slot == 3

    def test_who_has_no_limit_takes_all(self, scene):
        world, network, ears, _ = scene
        network.send(accept(FRAME + 1)._replace(sender="n2"), "n1")
        world.run_until(100)
        assert len(ears["n1"].heard) == 1

    def test_a_clients_request_above_the_limit_ends_its_connection(self, scene):
        world, network, ears, client = scene
        network.connect(b"c", "n2")
        world.run_until(20)
        bare = len(encode_client(WriteRequest(1, bytes(LIMIT)), "sim")) - LIMIT
        for number, size in enumerate((LIMIT - bare, LIMIT - bare + 1)):
            assert network.request(b"c", "n2", WriteRequest(1, bytes(size)))
            world.run_until(world.now_ms + 20)
            assert len(ears["n2"].requests) == 1
            assert (("connection lost", "n2") in client.news) == bool(number)


class TestDrawing:
    @pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 7])
    def test_a_majority_can_always_take_what_one_node_takes(self, nodes):
        names = [f"n{number}" for number in range(1, nodes + 1)]
        for seed in range(50):
            drawn = draw_limits(random.Random(seed), names, 60_000)
            small = {each.node for each in drawn}
            assert len(small) == (nodes - 1) // 2, seed
            assert all(each.args["message_bytes_max"] in (*SMALL, LARGE) for each in drawn)

    def test_it_changes_at_restarts_in_some_runs(self):
        drawn = [draw_limits(random.Random(seed), ["a", "b", "c"], 60_000) for seed in range(50)]
        assert any(len(each) > 1 for each in drawn)
        assert any(each[0].at_ms == 0 for each in drawn)
        assert any(each[0].at_ms > 0 for each in drawn)

    def test_values_come_near_every_limit_from_both_sides(self):
        sizes = Sizes(0.5, (LIMIT,))
        rng = random.Random(1)
        lengths = [len(sizes.pad(b"c1-%d" % number, rng)) for number in range(1000)]
        large = [each for each in lengths if each > 100]
        assert 300 < len(large) < 700
        assert min(large) < LIMIT < max(large)
        assert max(draw_sizes(rng).around) < LARGE

    def test_some_seeds_have_it_and_members_that_change_never(self):
        def has_it(seed, **options):
            drawn = draw_run(World(seed), RunOptions(**options))
            return any(each.verb == "limits" for each in drawn.schedule)

        with_it = [seed for seed in range(40) if has_it(seed)]
        assert 0 < len(with_it) < 20
        assert not any(has_it(seed, members=True) for seed in with_it)
        assert not any(has_it(seed, level=0) for seed in with_it)


class TestRuns:
    @pytest.mark.parametrize("seed", [1, 3, 6])
    def test_all_goes_on_and_the_same_seed_gives_the_same_run(self, seed):
        report = run_seed(seed, SHORT)
        assert report.ok, report.violation
        assert report.faults["limits"] >= 1
        assert run_seed(seed, SHORT).digest == report.digest
