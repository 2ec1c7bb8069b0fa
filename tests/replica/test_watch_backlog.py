"""What is too much for one turn is published in pieces: removed ranges, many single changes."""

import pytest

from paxosd.core.events import ChangeEvent
from paxosd.replica import watch_publisher as events
from tests.replica.publisher_bench import Bench, places


class TestRemovedRanges:
    """What a large removal took is published in pieces; what came after it waits."""

    @pytest.fixture(autouse=True)
    def pieces(self, monkeypatch):
        monkeypatch.setattr(events, "PIECE_KEYS", 1)

    def removed(self, *watched, count=30):
        bench = Bench()
        for prefix in watched:
            bench.watch(prefix)
        keys = [b"%s%02d" % (b"ab"[n % 2 : n % 2 + 1], n) for n in range(count)]
        bench.source.write(*keys)
        return bench, sorted(keys)

    def drain(self, bench, keys_max=7):
        sent = bench.take()
        while bench.publisher.backlog:
            bench.publisher.pump(keys_max)
            now = bench.take()
            assert len(now) <= keys_max
            sent += now
        return sent

    def test_all_of_it_goes_out_in_order_and_in_bounded_pieces(self):
        bench, keys = self.removed(b"", b"b")
        bench.publisher.flush()
        assert bench.publisher.backlog
        sent = self.drain(bench)
        assert [event.key for event in sent] == keys
        assert {event.revision for event in sent} == {11}
        assert [event.places[0] for event in sent] == [(0, 10, n, 30) for n in range(30)]
        of_b = [event.places[1] for event in sent if event.key.startswith(b"b")]
        assert of_b == [(1, 10, n, 15) for n in range(15)]
        assert places(bench.write(b"b")) == [((0, 11, 0, 1), (1, 11, 0, 1))]

    def test_what_comes_after_it_waits_and_progress_is_said_up_to_before_it(self):
        bench, keys = self.removed(b"")
        bench.source.write(b"a00")
        bench.publisher.flush()
        assert [event.key for event in bench.take()] == keys[:1]
        bench.subscribe(b"progress/")
        (progress,) = bench.take()
        assert (progress.revision, progress.last_revision) == (10, 10)
        bench.publisher.tick(5000)
        assert {event.revision for event in bench.take()} == {10}
        sent = self.drain(bench)
        assert [event.key for event in sent] == [*keys[1:], b"a00"]
        assert sent[-1].places == ((0, 11, 0, 1),)
        bench.publisher.tick(10_000)
        (progress,) = bench.take()
        assert (progress.revision, progress.last_revision, progress.seq) == (12, 12, 31)

    def test_who_subscribes_meanwhile_begins_behind_it(self):
        bench, _keys = self.removed(b"")
        bench.publisher.flush()
        bench.take()
        bench.subscribe(b"kv/a")
        bench.subscribe(b"progress/a")
        (_, progress) = bench.take()
        assert (progress.revision, progress.last_revision) == (11, 11)
        sent = self.drain(bench)
        assert {len(event.places) for event in sent} == {1}, "only those who watched before"
        assert places(bench.write(b"a"))[0][1] == (1, 11, 0, 1)

    def test_keys_that_nobody_watches_cost_nothing(self):
        bench, _keys = self.removed(b"b2", b"a28")
        bench.publisher.work.units = 0
        bench.publisher.flush()
        sent = self.drain(bench)
        assert [event.key for event in sent] == [b"a28", *(b"b%d" % n for n in range(21, 30, 2))]
        assert bench.publisher.work.units <= 2 * len(sent)

    def test_many_streams_are_looked_up_key_by_key(self, monkeypatch):
        monkeypatch.setattr(events, "_SPANS_MAX", 0)
        bench, _keys = self.removed(b"b2", b"a28")
        bench.publisher.flush()
        assert next(event.places for event in self.drain(bench)) == ((3, 10, 0, 1),)

    def test_a_backlog_that_grows_too_large_becomes_a_gap(self, monkeypatch):
        monkeypatch.setattr(events, "BACKLOG_BYTES_MAX", 2000)
        bench, keys = self.removed(b"")
        bench.publisher.flush()
        bench.take()
        for _ in range(20):
            bench.source.write(b"a")
            bench.publisher.flush()
        assert bench.publisher.counters["gaps"] >= 1
        assert bench.publisher._backlog_bytes <= 2000
        sent = [event for event in self.drain(bench) if type(event) is ChangeEvent]
        assert not [event for event in sent if event.key in keys[20:]]
        assert places(bench.write(b"a")) == [((0, 31, 0, 1),)]
        bench.publisher.tick(5000)
        assert bench.take()[-1].revision == 32

    def test_it_ends_with_the_last_watcher(self):
        bench, _keys = self.removed(b"")
        bench.publisher.flush()
        bench.unsubscribe(b"kv/")
        bench.unsubscribe(b"progress/")
        assert not bench.publisher.backlog


class TestManySingleChanges:
    def test_they_go_out_in_pieces_and_until_then_nothing_more_is_to_be_applied(self, monkeypatch):
        monkeypatch.setattr(events, "CHANGES_PER_TURN", 10)
        monkeypatch.setattr(events, "PIECE_KEYS", 4)
        bench = Bench()
        bench.watch(b"")
        keys = [b"%02d" % n for n in range(35)]
        sent = bench.write(*keys)
        assert len(sent) == 4
        lags = []
        while bench.publisher.backlog:
            lags.append(bench.publisher.lags)
            bench.publisher.pump(10)
            now = bench.take()
            assert len(now) <= 10
            sent += now
        assert lags == [True, True, True, False]
        assert [event.key for event in sent] == keys
        assert [event.places[0][1] for event in sent] == list(range(10, 45))
        assert len(bench.write(*keys[:10])) == 10  # few go out at once

    def test_what_waits_behind_a_large_removal_does_not_stop_anything(self, monkeypatch):
        monkeypatch.setattr(events, "CHANGES_PER_TURN", 2)
        monkeypatch.setattr(events, "PIECE_KEYS", 1)
        bench = Bench()
        bench.watch(b"")
        bench.source.write(*[b"%02d" % n for n in range(30)])
        bench.write(b"a", b"b", b"c")
        assert bench.publisher.backlog
        assert not bench.publisher.lags
