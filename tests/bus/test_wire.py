"""The codec: what goes in comes out; whatever else comes in ends in WireError."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core.commands import OPEN, PUT, Entry, Reign
from paxosd.core.messages import Accept, Accepted, Heartbeat, PeerMessage, Votes
from paxosd.core.requests import (
    AdminRequest,
    ClientMessage,
    ReadRequest,
    ServerMessage,
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.types import Ballot
from paxosd.wire import (
    PEER_KIND_NAMES,
    EntryLimits,
    LimitError,
    WireError,
    decode_answer,
    decode_batch,
    decode_entry,
    decode_peer,
    decode_request,
    encode_batch,
    encode_client,
    encode_entry,
    encode_peer,
    unpack,
)
from tests.bus import messages as some

B = Ballot(3, "n1")
ACCEPT = Accept(B, 7, b"value", 6)


def same(left, right) -> bool:
    """Equal in types too, down to the last field: a list is no tuple, a tuple no Ballot."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def decoders():
    return [
        lambda data: decode_peer(data, "dev"),
        lambda data: decode_request(data, "dev"),
        decode_answer,
        decode_entry,
        decode_batch,
    ]


def refuse_or_decode(data: bytes) -> None:
    """Any exception but WireError fails the test."""
    for decode in decoders():
        try:
            decode(data)
        except WireError as error:
            refused = error
        else:
            continue
        assert refused.reason
        assert 0 < len(str(refused)) < 300


class TestRoundTrip:
    @given(some.peer_messages, some.some_names, some.numbers)
    def test_messages_between_daemons(self, message, sender, incarnation):
        frame = encode_peer(message, "dev", sender, incarnation)
        assert same(decode_peer(frame, "dev"), (sender, incarnation, message))

    @given(some.requests, st.sampled_from(["", "dev"]))
    def test_requests(self, message, cluster):
        assert same(decode_request(encode_client(message, cluster), "dev"), message)

    @given(some.answers)
    def test_answers(self, message):
        assert same(decode_answer(encode_client(message, "dev")), message)
        assert same(decode_answer(encode_client(message, "dev"), "dev"), message)

    @given(st.lists(some.entries, max_size=4), some.numbers, st.none() | some.reigns)
    def test_entries_and_batches(self, entries, stamp_ms, reign):
        encoded = [encode_entry(entry) for entry in entries]
        assert same([decode_entry(data) for data in encoded], entries)
        batch = decode_batch(encode_batch(stamp_ms, encoded, reign))
        assert (batch.stamp_ms, batch.reign) == (stamp_ms, reign)
        assert same(batch.entries, entries)

    def test_a_batch_of_level_0_has_the_bytes_that_it_always_had(self):
        assert encode_batch(5, [b"x"]) == bytes.fromhex("92 05 91 c4 01 78")

    @pytest.mark.parametrize(
        "fields",
        [(1, []), (1, [], 2), (1, [], 2, "n1"), (1, [], 2, "n1", 3, 4), (1, [], "2", "n1", 3),
         (1, [], 2, b"n1", 3), (1, [], 2, "n1", -3), (1, [], -2, "n1", 3), (1, [], 2, "n1", True),
         (1, [], 2, "n" * 500, 3), (1, [], 2, "n1", 1 << 63)],
    )  # fmt: skip
    def test_a_reign_is_whole_or_not_there(self, fields):
        if len(fields) == 2:
            assert decode_batch(msgpack.packb(fields)).reign is None
            return
        with pytest.raises(WireError):
            decode_batch(msgpack.packb(fields))

    def test_every_message_class_has_a_frame(self):
        assert set(PEER_KIND_NAMES) == set(PeerMessage.__args__)
        assert len(set(PEER_KIND_NAMES.values())) == len(PEER_KIND_NAMES)
        for union in (ClientMessage, ServerMessage):
            for message in union.__args__:
                # One made of wrong fields is enough: encoding looks at the class alone.
                fields = [0] * len(message._fields)
                assert encode_client(message(*fields), "dev")


class TestMutations:
    @given(some.peer_messages | some.requests | some.answers, st.data())
    def test_every_truncation_is_refused(self, message, data):
        if type(message) in PEER_KIND_NAMES:
            frame = encode_peer(message, "dev", "n2", 1)
        else:
            frame = encode_client(message, "dev")
        cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
        for decode in decoders()[:3]:
            with pytest.raises(WireError):
                decode(cut)
            with pytest.raises(WireError):
                decode(frame + b"\x00")

    @given(some.peer_messages, st.data())
    def test_a_changed_byte_ends_in_a_message_or_wire_error(self, message, data):
        frame = bytearray(encode_peer(message, "dev", "n2", 1))
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        refuse_or_decode(bytes(frame))

    @given(some.requests | some.answers, st.data())
    def test_a_changed_byte_in_client_frames(self, message, data):
        frame = bytearray(encode_client(message, "dev"))
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
        refuse_or_decode(bytes(frame))

    @given(some.entries, st.data())
    def test_a_changed_byte_in_entries(self, entry, data):
        raw = bytearray(encode_entry(entry))
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        refuse_or_decode(bytes(raw))
        refuse_or_decode(encode_batch(1, [bytes(raw)]))
        refuse_or_decode(encode_batch(1, [bytes(raw)], Reign(1, "n1", 5)))

    @given(st.binary(max_size=200))
    def test_random_bytes(self, data):
        refuse_or_decode(data)

    @given(some.peer_messages, st.data())
    def test_any_field_of_any_other_type(self, message, data):
        """Swapping one field for something else never gets through as a wrong type."""
        fields = [1, "dev", KIND[type(message)], "n2", 1, *message]
        place = data.draw(st.integers(0, len(fields) - 1))
        fields[place] = data.draw(some.plain_values)
        try:
            sender, incarnation, decoded = decode_peer(msgpack.packb(fields), "dev")
        except WireError:
            return
        # Got through, so it was a valid value: it must encode again to the same.
        assert same(
            decode_peer(encode_peer(decoded, "dev", sender, incarnation), "dev"),
            (sender, incarnation, decoded),
        )
        for original, now in zip(message, decoded, strict=True):
            assert type(original) is type(now)


KIND = {
    kind: msgpack.unpackb(encode_peer(kind(*[0] * len(kind._fields)), "", "", 0))[2]
    for kind in PEER_KIND_NAMES
}


class TestBombs:
    @pytest.mark.parametrize(
        "data",
        [
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff\x05",
            b"\x91" * 100_000,
            b"\x81\xa1a" * 100_000,
            b"\xc1",
            b"",
        ],
        ids=["array32", "map32", "str32", "bin32", "ext32", "nested", "nested-map", "c1", "empty"],
    )
    def test_are_refused_wherever_they_stand(self, data):
        head = msgpack.packb([1, "dev", 35, 9, "status"])[1:]
        for bomb in (data, b"\x96" + head + data, b"\x95\x01\xa3dev\x05" + data):
            for decode in decoders():
                with pytest.raises(WireError):
                    decode(bomb)

    @pytest.mark.parametrize(
        "value",
        [
            msgpack.Timestamp(1),
            msgpack.ExtType(5, b""),
            msgpack.ExtType(5, b"x"),
            {1: 2},
            {b"k": 2},
            {"a": {b"k": 1}},
        ],
        ids=str,
    )
    def test_extensions_and_odd_keys_are_refused(self, value):
        for body in (value, {"x": value}):
            frame = msgpack.packb([1, "dev", 35, 9, "status", body])
            with pytest.raises(WireError):
                decode_request(frame, "dev")

    def test_an_extension_without_data_is_refused_by_the_unpacker_itself(self):
        """It would pass max_ext_len=0, and every field check would have to think of it."""
        with pytest.raises(WireError, match="extension type 5 is not allowed"):
            unpack(msgpack.packb([1, msgpack.ExtType(5, b"")]))

    def test_admin_values_have_a_depth_limit(self):
        body: dict = {}
        for _ in range(8):
            body = {"x": body}
        with pytest.raises(WireError, match="nested deeper than 8"):
            decode_request(encode_client(AdminRequest(1, "status", body), "dev"), "dev")

    def test_a_hostile_range_of_votes_is_refused(self):
        """A receiver walks through the slots of a range: 2^62 of them would hang it."""
        for message in (
            Accepted(B, ((1, 1 << 62),), 1),
            Accepted(B, tuple((1, 60_000) for _ in range(3)), 1),
            Accepted(B, ((5, 4),), 1),
            Accepted(B, ((0, 4),), 1),
            Votes(((B, 1, 1 << 62),), 1, 1),
            Votes(tuple((B, 1, 60_000) for _ in range(3)), 1, 1),
        ):
            with pytest.raises(WireError):
                decode_peer(encode_peer(message, "dev", "n2", 1), "dev")


class TestEnvelope:
    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            ([2, "dev", 5, "n2", 1, [3, "n1"], 7, b"", 6], "version"),
            ([True, "dev", 5, "n2", 1, [3, "n1"], 7, b"", 6], "version"),
            ([1, "other", 5, "n2", 1, [3, "n1"], 7, b"", 6], "cluster"),
            ([1, "", 5, "n2", 1, [3, "n1"], 7, b"", 6], "cluster"),
            ([1, b"dev", 5, "n2", 1, [3, "n1"], 7, b"", 6], "envelope"),
            ([1, "dev", 31, "n2", 1], "kind"),
            ([1, "dev", True, "n2", 1, [3, "n1"], 7], "kind"),
            ([1, "dev", 32, "n2", 1, b""], "kind"),
            ([1, "dev", 5, "", 1, [3, "n1"], 7, b"", 6], "envelope"),
            ([1, "dev", 5, "n" * 65, 1, [3, "n1"], 7, b"", 6], "envelope"),
            ([1, "dev", 5, "n2", -1, [3, "n1"], 7, b"", 6], "envelope"),
            ([1, "dev", 5, "n2", True, [3, "n1"], 7, b"", 6], "envelope"),
            ([1, "dev", 5, "n2", 1, [3, "n1"], 7, b""], "arity"),
            ([1, "dev", 5, "n2", 1, [3, "n1"], 7, b"", 6, 6], "arity"),
            ([1, "dev", 5, "n2", 1, [3, "n1"], -7, b"", 6], "field"),
            ([1, "dev", 5, "n2", 1, [3, "n1"], 0, b"", 6], "field"),
            ([1, "dev", 5, "n2", 1, [3, "n1"], 7, "text", 6], "field"),
            ([1, "dev", 5, "n2", 1, [3, b"n1"], 7, b"", 6], "field"),
            ([1, "dev", 5, "n2", 1, [3.0, "n1"], 7, b"", 6], "field"),
            ([1, "dev", 5, "n2", 1, [3, "n1"], 1 << 63, b"", 6], "field"),
            ([1, "dev"], "envelope"),
            (7, "envelope"),
        ],
    )
    def test_is_checked_in_order(self, frame, reason):
        with pytest.raises(WireError) as caught:
            decode_peer(msgpack.packb(frame), "dev")
        assert caught.value.reason == reason

    def test_a_request_to_another_cluster_says_so_and_keeps_its_id(self):
        frame = encode_client(WriteRequest(77, b""), "prod")
        with pytest.raises(WireError, match='sent to cluster "prod"; this is "dev"') as caught:
            decode_request(frame, "dev")
        assert caught.value.request_id == 77

    def test_an_answer_of_another_cluster_is_refused_when_one_is_named(self):
        frame = encode_client(WriteAnswer(1, 2, [3]), "prod")
        with pytest.raises(WireError):
            decode_answer(frame, "dev")
        assert decode_answer(frame) == WriteAnswer(1, 2, [3])

    def test_queries_are_checked(self):
        for queries in ([], [[1]], [[3, b"k"]], [[2, b"", b"", -1, False, False]], [[1, "k"]]):
            frame = encode_client(ReadRequest(1, 0, queries), "dev")
            with pytest.raises(WireError):
                decode_request(frame, "dev")

    def test_long_foreign_text_is_shortened_in_errors(self):
        frame = encode_peer(Heartbeat(B, "", 0, 0, 0, 0), "x" * 200, "n2", 1)
        with pytest.raises(WireError) as caught:
            decode_peer(frame, "dev")
        assert len(str(caught.value)) < 150


class TestAdmission:
    limits = EntryLimits(key_bytes_max=10, value_bytes_max=20, commands_per_request_max=3)

    def refusal(self, *commands, session=1, first_seq=1) -> str:
        with pytest.raises(LimitError) as caught:
            decode_entry(encode_entry(Entry(session, first_seq, 0, list(commands))), self.limits)
        assert caught.value.reason == "limit"
        return str(caught.value)

    def test_limits_are_named_with_their_setting(self):
        assert self.refusal([PUT, b"k" * 11, b""]) == (
            "key is 11 bytes; the limit is 10 (limits.key_bytes_max)"
        )
        assert self.refusal([PUT, b"k", b"v" * 21]) == (
            "value is 21 bytes; the limit is 20 (limits.value_bytes_max)"
        )
        assert self.refusal(*[[PUT, b"k", b"v"]] * 4) == (
            "4 commands in one request; the limit is 3 (limits.commands_per_request_max)"
        )

    def test_limits_themselves_are_allowed(self):
        command = [PUT, b"k" * 10, b"v" * 20]
        entry = Entry(1, 1, 0, [command] * 3)
        assert decode_entry(encode_entry(entry), self.limits) == entry

    def test_the_command_at_fault_is_named(self):
        assert self.refusal([PUT, b"a", b""], [PUT, b"", b""]) == (
            "command 2 of 2: the key is empty; a key has at least one byte"
        )

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ([99, b"k"], "no command with number 99"),
            ([], "a command is a list"),
            (7, "a command is a list"),
            (["put", b"k", b"v"], "a command is a list"),
            ([True, b"k", b"v"], "a command is a list"),
            ([PUT, b"k"], "put takes 2 arguments, not 1"),
            ([PUT, "k", b"v"], "a key is bytes, not str"),
            ([PUT, b"k", 5], "a value is bytes, not int"),
            ([PUT, b"k", None], "a value is bytes, not NoneType"),
            ([2, b""], "the key is empty"),
            ([3, b"k" * 11, b""], "limits.key_bytes_max"),
            ([3, b"", b"k" * 11], "limits.key_bytes_max"),
            ([3, b"", None], "a key is bytes"),
            ([4, b"k", b"e" * 21, b""], "limits.value_bytes_max"),
            ([4, b"k", 5, b""], "a value is bytes"),
            ([5, b"k", -1, b""], "a number from 0"),
            ([5, b"k", True, b""], "a number from 0"),
            ([OPEN], "open belongs into session 0"),
            ([6, 1, 1], "fence belongs into session 0"),
            ([9], "checksum belongs into session 0"),
        ],
    )
    def test_bad_commands(self, command, words):
        assert words in self.refusal(command)

    def test_session_zero_takes_no_writes(self):
        assert "put belongs into a session" in self.refusal([PUT, b"k", b"v"], session=0)

    def test_empty_and_badly_numbered_entries(self):
        assert "no command" in self.refusal()
        assert "sequence numbers" in self.refusal([PUT, b"k", b""], first_seq=0)
        assert "sequence numbers" in self.refusal([PUT, b"k", b""], first_seq=(1 << 63) - 1)

    def test_the_noop_is_no_batch(self):
        with pytest.raises(WireError):
            decode_batch(b"")
