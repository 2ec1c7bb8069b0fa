"""The form of what a daemon publishes for watchers."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core.events import ChangeEvent, NumberedChangeEvent, Place, ProgressEvent
from paxosd.core.types import Ballot
from paxosd.wire import WireError
from paxosd.wire.events import EventEncoder, decode_event

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
