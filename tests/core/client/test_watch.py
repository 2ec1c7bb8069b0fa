"""The watch protocol as a whole: whatever the PUB stream loses, the watcher ends with exactly
the full sequence of changes."""

import pytest

from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import WatchOptions
from paxosd.core.events import ProgressEvent
from paxosd.replica import watch_publisher as events
from tests.core.client.watch_world import World, check


@pytest.fixture(autouse=True)
def removed_ranges_go_out_key_by_key(monkeypatch):
    monkeypatch.setattr(events, "PIECE_KEYS", 1)


class TestWholeProtocol:
    @pytest.mark.parametrize("seed", range(20))
    @pytest.mark.parametrize(("key", "prefix"), [(b"", True), (b"a", True), (b"ab", False)])
    def test_losses_flaps_and_restarts_end_with_the_exact_sequence(self, seed, key, prefix):
        watch = WatchState(key, prefix=prefix, from_revision=1)
        world = World(seed, watch)
        newest = world.run(300)
        check(world, 0, newest)
        assert watch.pulls > 0

    @pytest.mark.parametrize("seed", range(20))
    def test_a_tiny_buffer_and_tiny_pages_lose_nothing_either(self, seed):
        options = WatchOptions(buffer_messages_max=2, page_bytes=100)
        watch = WatchState(b"a", prefix=True, from_revision=1, options=options)
        world = World(seed, watch, loss=0.4)
        check(world, 0, world.run(300))

    @pytest.mark.parametrize("seed", range(10))
    def test_a_watcher_that_does_not_know_the_changes_pulls_them_all(self, seed):
        """As one of version 0.1 that meets a newer node: it has the progress messages alone."""
        watch = WatchState(b"a", prefix=True, from_revision=1)
        world = World(seed, watch, understood=ProgressEvent)
        check(world, 0, world.run(300))

    @pytest.mark.parametrize("seed", range(10))
    def test_without_losses_the_stream_alone_suffices(self, seed):
        watch = WatchState(b"a", prefix=True, from_revision=1)
        world = World(seed, watch, nodes=1, loss=0.0)
        world.carry_out(watch.start(world.now_ms))
        for _ in range(300):
            world.step(faults=False)
        assert watch.gaps <= 1  # the first contact, if something was written before it
        assert world.reasons == [""]

    @pytest.mark.parametrize("seed", range(10))
    def test_a_watch_from_now_begins_at_its_first_contact(self, seed):
        watch = WatchState(b"", prefix=True)
        world = World(seed, watch)
        for _ in range(20):
            world.write()
        world.carry_out(watch.start(world.now_ms))
        while watch.complete_to < 0:
            world.step()
        after = world.first_complete_to
        for _ in range(100):
            world.step()
        world.loss = 0.0
        _, newest = world.expected(0, b"", b"")
        for _ in range(2000):
            if watch.complete_to >= newest:
                break
            world.step(writes=False, faults=False)
        check(world, after, newest)
