"""The publisher of changes, and the form of what it publishes."""

import msgpack
import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core.commands import Change, RangeRemoved
from paxosd.core.events import ChangeEvent, LearnedEvent, NumberedChangeEvent, Place, ProgressEvent
from paxosd.core.state.key_index import KeyRun
from paxosd.core.types import Ballot
from paxosd.replica import watch_publisher as events
from paxosd.replica.watch_publisher import EventPublisher
from paxosd.wire import WireError
from paxosd.wire.events import EventEncoder, decode_event


class Source:
    def __init__(self, revision=10):
        self.revision = revision
        self.collect_changes = False
        self.recent_changes = []

    def write(self, *keys, value=b"v", slot=5):
        """One revision that changes all of them."""
        self.revision += 1
        if self.collect_changes:
            if len(keys) == 1:
                self.recent_changes.append(Change(self.revision, slot, keys[0], value))
            else:
                run = KeyRun([[key] for key in sorted(keys)])
                self.recent_changes.append(RangeRemoved(self.revision, slot, run))


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append((event, fields))


class Bench:
    def __init__(self, **options):
        self.sent = []
        self.source = Source()
        self.log = Log()
        self.publisher = EventPublisher(
            lambda topic, payload: self.sent.append(decode_event(topic, payload)[1]),
            self.source,
            cluster="c1",
            node="n1",
            boot_count=3,
            log=self.log,
            **{"subscriptions_max": 10} | options,
        )

    def subscribe(self, topic, now_ms=0):
        self.publisher.on_subscription(True, topic, now_ms)

    def unsubscribe(self, topic, now_ms=0):
        self.publisher.on_subscription(False, topic, now_ms)

    def watch(self, prefix, now_ms=0):
        self.subscribe(b"kv/" + prefix, now_ms)
        self.subscribe(b"progress/" + prefix, now_ms)
        self.sent.clear()

    def write(self, *keys):
        for key in keys:
            self.source.write(key)
        self.publisher.flush()
        return self.take()

    def take(self):
        sent, self.sent = self.sent, []
        return sent


def places(events):
    return [tuple(map(tuple, event.places)) for event in events]


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


ENCODER = EventEncoder("c1", "n1", 3)
FRAMES = [
    ENCODER.change(7, 5, b"key", b"value", [(0, 6, 0, 1), (3, 2, 1, 4)]),
    ENCODER.change(7, 5, b"key", None, []),
    (b"kv/key", msgpack.packb([1, "c1", 64, "n1", 3, 7, 5, b"key", b"v", [[0, 9], [3, 1]]])),
    ENCODER.progress(b"ke", 7, 2, 6, -1),
    ENCODER.learned(5, Ballot(2, "n2"), b"batch"),
]
NUMBERS = st.integers(min_value=0, max_value=(1 << 63) - 2)


class TestForm:
    @given(NUMBERS, NUMBERS, st.binary(max_size=40), st.none() | st.binary(max_size=40), NUMBERS)
    def test_a_change_comes_back_as_it_was(self, revision, slot, key, value, ordinal):
        place = Place(0, revision // 2, ordinal, ordinal + 1)
        frames = ENCODER.change(revision + 1, slot, key, value, [place])
        event = ChangeEvent("n1", 3, revision + 1, slot, key, value, (place,))
        assert decode_event(*frames) == ("c1", event)

    def test_a_change_of_a_node_of_version_0_1_is_understood(self):
        fields = [1, "c1", 64, "n1", 3, 7, 5, b"key", b"v", [[0, 9], [3, 1]]]
        event = NumberedChangeEvent("n1", 3, 7, 5, b"key", b"v", ((0, 9), (3, 1)))
        assert decode_event(b"kv/key", msgpack.packb(fields)) == ("c1", event)
        assert event.seq_of(b"key") == 1
        assert event.seq_of(b"ke") is None

    @given(st.binary(max_size=40), NUMBERS, NUMBERS, st.integers(-1, 1 << 40))
    def test_progress_comes_back_as_it_was(self, prefix, revision, seq, age_ms):
        frames = ENCODER.progress(prefix, revision, seq, revision // 2, age_ms)
        event = ProgressEvent("n1", 3, prefix, revision, seq, revision // 2, age_ms)
        assert decode_event(*frames) == ("c1", event)

    @pytest.mark.parametrize("frames", FRAMES)
    def test_every_truncation_and_trailing_byte_is_refused(self, frames):
        topic, payload = frames
        for end in range(len(payload)):
            with pytest.raises(WireError):
                decode_event(topic, payload[:end])
        with pytest.raises(WireError):
            decode_event(topic, payload + b"\x00")

    @pytest.mark.parametrize("frames", FRAMES)
    def test_a_changed_byte_gives_an_event_or_a_wire_error(self, frames):
        topic, payload = frames
        for place in range(len(payload)):
            for byte in range(256):
                mutant = payload[:place] + bytes([byte]) + payload[place + 1 :]
                try:
                    decode_event(topic, mutant)
                except WireError:
                    continue

    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_garbage_gives_a_wire_error(self, topic, payload):
        with pytest.raises(WireError):
            decode_event(topic, payload)

    @pytest.mark.parametrize(
        ("topic", "fields"),
        [
            (b"kv/other", [1, "c1", 64, "n1", 3, 7, 5, b"key", b"v", []]),
            (b"kv/key", [1, "c1", 64, "n1", 3, 7, 5, b"key", b"v", [[4, 1]]]),
            (b"kv/key", [1, "c1", 64, "n1", 3, 7, 5, b"key", b"v", [[2, 1], [2, 1]]]),
            (b"kv/key", [1, "c1", 64, "n1", True, 7, 5, b"key", b"v", []]),
            (b"kv/key", [1, "c1", 64, "n1", 3, -7, 5, b"key", b"v", []]),
            (b"kv/key", [1, "c1", 64, "n1", 3, 7, 5, "key", b"v", []]),
            (b"kv/key", [2, "c1", 64, "n1", 3, 7, 5, b"key", b"v", []]),
            (b"kv/key", [1, "", 64, "n1", 3, 7, 5, b"key", b"v", []]),
            (b"kv/key", [1, "c1", 68, "n1", 3, 7, 5, b"key", b"v", []]),
            (b"kv/other", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", []]),
            (b"kv/key", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", [[4, 1, 0, 1]]]),
            (b"kv/key", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", [[2, 1, 0, 1], [2, 1, 0, 1]]]),
            (b"kv/key", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", [[2, 1]]]),
            (b"kv/key", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", [[2, 7, 0, 1]]]),
            (b"kv/key", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", [[2, 6, 1, 1]]]),
            (b"kv/key", [1, "c1", 67, "n1", 3, 7, 5, b"key", b"v", [[2, -1, 0, 1]]]),
            (b"kv/a", [1, "c1", 65, "n1", 3, 7, 5, 7, 0]),
            (b"progress/a", [1, "c1", 65, "n1", 3, 7, 5, 8, 0]),
            (b"progress/a", [1, "c1", 65, "n1", 3, 7, 5, 7, -2]),
            (b"learned/x", [1, "c1", 66, 5, [1, "n1"], b"v"]),
            (b"learned/", [1, "c1", 66, 5, [1, "n1", 2], b"v"]),
        ],
    )
    def test_what_this_version_would_not_write_is_refused(self, topic, fields):
        with pytest.raises(WireError):
            decode_event(topic, msgpack.packb(fields))


class TestWhatIsAssumedOfZeroMQ:
    """The watch protocol rests on these; a change of libzmq would show here."""

    @pytest.fixture
    def xpub(self):
        with zmq.Context() as context:
            socket = context.socket(zmq.XPUB)
            socket.setsockopt(zmq.XPUB_VERBOSE, 1)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, 5000)
            yield socket
            socket.close()

    @staticmethod
    def connect(xpub, port, *topics):
        sub = xpub.context.socket(zmq.SUB)
        sub.setsockopt(zmq.LINGER, 0)
        sub.setsockopt(zmq.RCVTIMEO, 5000)
        for topic in topics:
            sub.subscribe(topic)
        sub.connect(f"tcp://127.0.0.1:{port}")
        return sub

    def test_changes_are_on_when_the_notice_of_progress_is_read_and_order_is_kept(self, xpub):
        port = xpub.bind_to_random_port("tcp://127.0.0.1")
        sub = self.connect(xpub, port, b"kv/a", b"progress/a")
        assert [xpub.recv(), xpub.recv()] == [b"\x01kv/a", b"\x01progress/a"]
        for topic in (b"progress/a", b"kv/ab", b"kv/b", b"progress/a"):
            xpub.send_multipart([topic, b""])
        assert [sub.recv_multipart()[0] for _ in range(3)] == [
            b"progress/a",
            b"kv/ab",
            b"progress/a",
        ]
        sub.close()

    def test_each_subscription_is_told_and_only_the_last_unsubscription(self, xpub):
        port = xpub.bind_to_random_port("tcp://127.0.0.1")
        first = self.connect(xpub, port, b"kv/a")
        assert xpub.recv() == b"\x01kv/a"
        second = self.connect(xpub, port, b"kv/a")
        assert xpub.recv() == b"\x01kv/a"
        first.close()
        third = self.connect(xpub, port, b"kv/z")
        assert xpub.recv() == b"\x01kv/z"  # nothing of the first one's end before it
        second.close()
        assert xpub.recv() == b"\x00kv/a"
        third.close()


class TestJump:
    """Changes that were made and never collected: nobody has to be told of that for the
    publisher to see it."""

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
