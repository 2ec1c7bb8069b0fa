"""The publisher of changes."""

import pytest

from paxosd.core.events import ChangeEvent, LearnedEvent, Place, ProgressEvent
from paxosd.core.types import Ballot
from paxosd.replica import watch_publisher as events
from tests.replica.publisher_bench import Bench, places


class TestChanges:
    def test_nothing_is_collected_or_sent_while_nobody_subscribes(self):
        b = Bench()
        assert b.write(b"a") == []
        assert b.source.collect_changes is False
        assert b.publisher.next_due_ms() is None

    def test_a_change_is_sent_once_and_names_the_one_before_it_in_every_matching_stream(self):
        b = Bench()
        for prefix in (b"ab", b"", b"abc", b"x"):
            b.watch(prefix)
        assert places(b.write(b"abc", b"ab", b"q", b"x", b"abc")) == [
            ((0, 10, 0, 1), (2, 10, 0, 1), (3, 10, 0, 1)),
            ((0, 11, 0, 1), (2, 11, 0, 1)),
            ((0, 12, 0, 1),),
            ((0, 13, 0, 1), (1, 10, 0, 1)),
            ((0, 14, 0, 1), (2, 12, 0, 1), (3, 11, 0, 1)),
        ]

    def test_changes_of_one_revision_say_which_of_how_many_they_are(self):
        b = Bench()
        b.watch(b"a")
        b.watch(b"")
        b.watch(b"ab")
        b.source.write(b"a")
        b.source.write(b"a", b"ab", b"abc", b"b", value=None)
        b.source.write(b"ab")
        b.publisher.flush()
        assert places(b.take()) == [
            ((0, 10, 0, 1), (1, 10, 0, 1)),
            ((0, 11, 0, 4), (1, 11, 0, 3)),
            ((0, 11, 1, 4), (1, 11, 1, 3), (2, 10, 0, 2)),
            ((0, 11, 2, 4), (1, 11, 2, 3), (2, 10, 1, 2)),
            ((0, 11, 3, 4),),
            ((0, 12, 0, 1), (1, 12, 0, 1), (2, 12, 0, 1)),
        ]

    def test_a_change_that_nobody_watches_is_not_sent(self):
        b = Bench()
        b.watch(b"x")
        assert b.write(b"a", b"") == []

    def test_a_removal_is_sent_without_a_value(self):
        b = Bench()
        b.watch(b"a")
        b.source.write(b"a", value=None)
        b.publisher.flush()
        assert b.take() == [ChangeEvent("n1", 3, 11, 5, b"a", None, (Place(1, 10, 0, 1),))]

    def test_a_new_stream_starts_at_the_machines_revision_not_at_the_last_flush(self):
        b = Bench()
        b.source.write(b"a")  # applied while nothing was collected, and not flushed
        b.subscribe(b"progress/a")
        (progress,) = b.take()
        assert (progress.revision, progress.last_revision, progress.seq) == (11, 11, 0)

    def test_what_waits_is_published_before_a_new_subscriber_hears_of_progress(self):
        b = Bench()
        b.watch(b"a")
        b.source.write(b"a")
        b.subscribe(b"progress/a")
        change, progress = b.take()
        assert (change.revision, progress.revision, progress.seq) == (11, 11, 1)

    def test_a_forgotten_stream_never_uses_a_number_again(self):
        b = Bench()
        b.watch(b"a")
        b.write(b"a", b"a", b"a")
        b.unsubscribe(b"kv/a")
        assert b.publisher.streams == 1
        b.unsubscribe(b"progress/a")
        assert b.publisher.streams == 0
        assert b.source.collect_changes is False
        b.subscribe(b"progress/a")
        (progress,) = b.take()
        assert progress.seq > 3  # with 3 a watcher of version 0.1 would miss nothing
        ((place,),) = places(b.write(b"a"))
        assert place == (1, 13, 0, 1)

    @pytest.mark.parametrize("topic", [b"", b"k", b"kv", b"kv/", b"prog", b"progress/"])
    def test_a_bare_subscriber_to_less_than_a_topic_watches_every_key(self, topic):
        b = Bench()
        b.subscribe(topic)
        b.sent.clear()
        assert places(b.write(b"any")) == [((0, 10, 0, 1),)]
        b.unsubscribe(topic)
        assert b.publisher.streams == 0

    @pytest.mark.parametrize("topic", [b"accepted/", b"accepted/n1", b"nonsense", b"\xff\x00"])
    def test_topics_of_others_are_none_of_its_business(self, topic):
        b = Bench()
        b.subscribe(topic)
        b.unsubscribe(topic)
        assert b.publisher.streams == 0
        assert b.take() == []


class TestProgress:
    def test_every_subscriber_gets_one_at_once(self):
        b = Bench()
        b.subscribe(b"progress/a", 100)
        b.subscribe(b"progress/a", 101)
        assert b.take() == [ProgressEvent("n1", 3, b"a", 10, 0, 10, 0)] * 2

    def test_after_a_change_within_200_ms_and_then_every_second(self):
        b = Bench()
        b.watch(b"a", 0)
        b.publisher.tick(0)
        b.write(b"a")
        assert b.publisher.next_due_ms() <= 200
        times = []
        for now_ms in range(1, 3001):
            b.publisher.tick(now_ms, age_ms=lambda: 7)
            times += [now_ms for _ in b.take()]
        assert times[0] <= 200
        assert times[1] - times[0] == 1000
        assert times[2] - times[1] == 1000

    def test_a_busy_stream_has_one_every_200_ms(self):
        b = Bench()
        b.watch(b"a", 0)
        times = []
        for now_ms in range(0, 2000, 10):
            b.write(b"a")
            b.publisher.tick(now_ms)
            times += [now_ms for event in b.take() if isinstance(event, ProgressEvent)]
        assert len(times) == 10

    def test_it_carries_the_last_number_and_where_the_stream_stands(self):
        b = Bench()
        b.watch(b"a", 0)
        b.write(b"a", b"x", b"a", b"x")
        b.publisher.tick(1000, age_ms=lambda: 42)
        assert b.take() == [ProgressEvent("n1", 3, b"a", 14, 2, 13, 42)]

    def test_changes_of_others_make_no_stream_busy(self):
        b = Bench()
        b.watch(b"a", 0)
        b.write(b"x")
        b.publisher.tick(999)
        assert b.take() == []
        b.publisher.tick(1000)
        assert b.take()[0].revision == 11


class TestBounds:
    def test_a_watcher_too_many_gets_nothing_and_is_told_of_once(self):
        b = Bench(subscriptions_max=2)
        for prefix in (b"a", b"b", b"c", b"d"):
            b.subscribe(b"kv/" + prefix)
        assert b.publisher.streams == 2
        assert b.publisher.counters["refused"] == 2
        assert [event for event, _ in b.log.lines] == ["bus.subscriptions_full"]
        b.sent.clear()
        assert b.write(b"c") == []

    def test_a_place_that_comes_free_can_be_taken(self):
        b = Bench(subscriptions_max=1)
        b.subscribe(b"kv/a")
        b.subscribe(b"kv/b")
        b.unsubscribe(b"kv/b")  # one that never was
        b.unsubscribe(b"kv/a")
        b.watch(b"b")
        assert b.publisher.streams == 1
        assert places(b.write(b"b")) == [((1, 10, 0, 1),)]

    def test_a_prefix_longer_than_any_key_is_refused(self):
        b = Bench(prefix_bytes_max=lambda: 4)
        b.subscribe(b"kv/12345")
        assert b.publisher.streams == 0

    def test_how_long_a_prefix_may_be_follows_the_settings(self):
        limit = 4
        b = Bench(prefix_bytes_max=lambda: limit)
        b.subscribe(b"kv/12345")
        limit = 5
        b.watch(b"12345")
        assert b.publisher.streams == 1


class TestLearned:
    @pytest.mark.parametrize("topic", [b"learned/", b"lear", b""])
    def test_chosen_values_are_published_only_while_somebody_wants_them(self, topic):
        b = Bench()
        b.publisher.publish_learned(1, Ballot(1, "n1"), b"value")
        assert b.take() == []
        b.subscribe(topic)
        b.sent.clear()
        assert b.publisher.wants_learned
        b.publisher.publish_learned(2, Ballot(1, "n1"), b"value")
        assert b.take() == [LearnedEvent(2, Ballot(1, "n1"), b"value")]
        b.unsubscribe(topic)
        assert not b.publisher.wants_learned


class TestJump:
    """Changes that were made and never collected: the publisher sees the gap, also without a
    call of ``jumped``."""

    def test_watchers_see_that_they_missed_something(self):
        """After a snapshot was taken in the progress message that comes at once names a revision
        that they do not have, and so does the next change."""
        bench = Bench()
        bench.watch(b"a")
        bench.write(b"a1")
        bench.source.revision += 100  # nobody will ever publish these
        bench.publisher.jumped()
        assert bench.publisher.next_due_ms() <= 1
        bench.publisher.tick(1)
        (progress,) = bench.take()
        assert isinstance(progress, ProgressEvent)
        assert progress.last_revision == progress.revision == bench.source.revision == 111
        assert progress.seq > 1  # for a watcher of version 0.1
        assert places(bench.write(b"a2")) == [((1, 111, 0, 1),)]
        assert bench.publisher.counters["gaps"] == 1

    def test_a_jump_that_nobody_speaks_of_is_seen(self):
        bench = Bench()
        bench.watch(b"a")
        bench.write(b"a1")
        bench.source.revision += 100
        assert places(bench.write(b"a2")) == [((1, 111, 0, 1),)]

    def test_a_jump_that_is_spoken_of_too_late_is_seen(self):
        bench = Bench()
        bench.watch(b"a")
        bench.source.write(b"a1")
        bench.source.revision += 100
        bench.source.write(b"a2")
        bench.source.write(b"a2", b"a3")
        bench.publisher.jumped()
        assert places(bench.take()) == [
            ((1, 10, 0, 1),),
            ((1, 111, 0, 1),),
            ((1, 112, 0, 2),),
            ((1, 112, 1, 2),),
        ]

    def test_a_jump_right_before_a_revision_of_many_keys_is_seen(self):
        bench = Bench()
        bench.watch(b"a")
        bench.source.revision += 100
        bench.source.write(b"a2", b"a3")
        bench.publisher.flush()
        assert places(bench.take()) == [((1, 110, 0, 2),), ((1, 110, 1, 2),)]

    def test_a_jump_without_a_change_says_nothing(self):
        bench = Bench()
        bench.watch(b"a")
        bench.write(b"a1")
        bench.publisher.jumped()
        assert bench.publisher.counters["gaps"] == 0
        assert places(bench.write(b"a2")) == [((1, 11, 0, 1),)]

    def test_changes_that_somebody_else_took_away_are_missed(self):
        bench = Bench()
        bench.watch(b"a")
        bench.source.write(b"a1")
        bench.source.recent_changes = []
        assert places(bench.write(b"a2")) == [((1, 11, 0, 1),)]
        bench.source.write(b"a3")
        bench.source.write(b"a4")
        del bench.source.recent_changes[1:]
        bench.publisher.tick(1)
        *_, progress = bench.take()
        assert (progress.revision, progress.last_revision) == (14, 14)

    def test_changes_collected_late_are_missed(self):
        """Of a machine that was not asked to collect for a while."""
        bench = Bench()
        bench.watch(b"a")
        bench.source.collect_changes = False
        bench.source.write(b"a1")
        bench.source.collect_changes = True
        assert places(bench.write(b"a2")) == [((1, 11, 0, 1),)]

    def test_while_nobody_watches_nothing_is_missed(self):
        bench = Bench()
        bench.source.write(b"a1")
        bench.publisher.flush()
        bench.watch(b"a")
        bench.unsubscribe(b"kv/a")
        bench.unsubscribe(b"progress/a")
        bench.source.write(b"a1")
        bench.watch(b"a")
        assert bench.publisher.counters["gaps"] == 0
        assert places(bench.write(b"a2")) == [((1, 12, 0, 1),)]


class TestSlowSubscribers:
    """docs/MEMORY.md: what waits for them is bounded in bytes, and the rest is the history's."""

    def test_changes_are_withheld_while_too_much_waits_and_the_streams_say_so(self):
        waiting = [events.EVENT_BYTES_MAX]
        bench = Bench(waiting_bytes=lambda: waiting[0])
        bench.watch(b"a")
        assert [type(each) for each in bench.write(b"a1")] == [ChangeEvent]
        waiting[0] += 1
        assert bench.write(b"a2", b"a3") == []
        assert bench.publisher.counters["withheld"] == 2
        bench.publisher.tick(0)
        (progress,) = bench.take()
        assert isinstance(progress, ProgressEvent)
        assert progress.last_revision == bench.source.revision, "watchers see what they lack"
        waiting[0] = 0
        (change,) = bench.write(b"a4")
        assert change.place_of(b"a").previous == progress.last_revision

    def test_so_are_learned_values(self):
        waiting = [events.EVENT_BYTES_MAX + 1]
        bench = Bench(waiting_bytes=lambda: waiting[0])
        bench.subscribe(b"learned/")
        bench.sent.clear()
        bench.publisher.publish_learned(1, Ballot(1, "n1"), b"v")
        assert bench.sent == []
