"""The codec: what goes in comes out; whatever else comes in ends in WireError."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core.commands import OPEN, PUT, Entry, Reign
from paxosd.core.membership import TEXT_CHARS_MAX
from paxosd.core.messages import (
    Accept,
    Accepted,
    Decisions,
    Envelope,
    Founding,
    Genesis,
    Heartbeat,
    Hello,
    NodeLimits,
    PeerMessage,
    ReadIndex,
    Votes,
    Welcome,
)
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
    encode_old,
    encode_peer,
    unpack,
)
from tests.wire import messages as some

B = Ballot(3, "n1")
ACCEPT = Accept(B, 7, b"value", 6)

OLD_FIELDS = {Decisions: 3, Heartbeat: 6, Hello: 1, ReadIndex: 1, Welcome: 2}
"""How many fields a frame of version 1 has, where that is not all of them."""
NEW_KINDS = {Founding, Genesis, NodeLimits}
"""Of what there are no frames of version 1."""


def as_old(message):
    """What arrives of a message that travels in a frame of version 1."""
    return type(message)(*message[: OLD_FIELDS.get(type(message))])


def frames(message):
    """It, in each version of the wire that has it."""
    old = [] if type(message) in NEW_KINDS else [encode_old(message, "dev", "n2", 1)]
    return [encode_peer(message, "dev", "n2", 1, 9, 2, 5), *old]


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
    @given(some.peer_messages, some.some_names, st.tuples(*[some.numbers] * 4))
    def test_messages_between_daemons(self, message, sender, numbers):
        run_id, genesis, epoch, log_mark = numbers
        frame = encode_peer(message, "dev", sender, run_id, genesis, epoch, log_mark)
        envelope = Envelope(sender, run_id, message, genesis, epoch, log_mark, 2)
        assert same(decode_peer(frame, "dev"), envelope)

    @given(some.peer_messages, some.some_names, some.numbers)
    def test_messages_to_daemons_of_version_1(self, message, sender, run_id):
        """Later fields come as their defaults, kinds that came later do not travel at all."""
        frame = encode_old(message, "dev", sender, run_id)
        if type(message) in NEW_KINDS:
            assert frame == b""
            return
        envelope = Envelope(sender, run_id, as_old(message), 0, 0, 0, 1)
        assert same(decode_peer(frame, "dev"), envelope)

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


class TestForms:
    """As they are written down, so that both ends cannot change alike: others speak them too."""

    HELLO = Hello(77, 12, 34, 1, "tcp://h:1", "tcp://h:3")
    WELCOME = Welcome(77, 12, 34, 56, False, 1)

    @pytest.mark.parametrize(
        ("message", "old", "new"),
        [
            (HELLO, [20, "n2", 3, 77], [77, 12, 34, 1, "tcp://h:1", "tcp://h:3"]),
            (WELCOME, [21, "n2", 3, 77, 12], [77, 12, 34, 56, False, 1]),
            (ACCEPT, [5, "n2", 3, [3, "n1"], 7, b"value", 6], [[3, "n1"], 7, b"value", 6]),
            (Founding(b"{}"), None, [b"{}"]),
            (Genesis(b"{}"), None, [b"{}"]),
            (NodeLimits(b"{}"), None, [b"{}"]),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_of_both_versions(self, message, old, new):
        frame = encode_peer(message, "dev", "n2", 3, 9, 2, 5)
        kind = frame and msgpack.unpackb(frame)[2]
        assert msgpack.unpackb(frame) == [2, "dev", kind, "n2", 3, 9, 2, 5, *new]
        frame = encode_old(message, "dev", "n2", 3)
        assert (msgpack.unpackb(frame) if frame else None) == (old and [1, "dev", *old])

    def test_an_endpoint_may_be_as_long_as_that_of_a_member(self):
        for text in ("x" * TEXT_CHARS_MAX, "\U0001f600" * TEXT_CHARS_MAX):
            message = self.HELLO._replace(peer=text, events=text)
            assert decode_peer(encode_peer(message, "dev", "n2", 3), "dev").body == message
        for text in ("x" * (TEXT_CHARS_MAX + 1), "a\nb"):
            for message in (self.HELLO._replace(peer=text), self.HELLO._replace(events=text)):
                with pytest.raises(WireError, match="hello: expected an endpoint") as caught:
                    decode_peer(encode_peer(message, "dev", "n2", 3), "dev")
                assert caught.value.reason == "field"


class TestMutations:
    @given(some.peer_messages | some.requests | some.answers, st.data())
    def test_every_truncation_is_refused(self, message, data):
        if type(message) in PEER_KIND_NAMES:
            frame = data.draw(st.sampled_from(frames(message)))
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
        frame = bytearray(data.draw(st.sampled_from(frames(message))))
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
        fields = msgpack.unpackb(data.draw(st.sampled_from(frames(message))))
        place = data.draw(st.integers(0, len(fields) - 1))
        fields[place] = data.draw(some.plain_values)
        try:
            decoded = decode_peer(msgpack.packb(fields), "dev")
        except WireError:
            return
        # Got through, so it was a valid value: it must encode again to the same.
        sender, run_id, body, genesis, epoch, log_mark, version = decoded
        assert version == fields[0]
        if version == 1:
            frame = encode_old(body, "dev", sender, run_id)
        else:
            frame = encode_peer(body, "dev", sender, run_id, genesis, epoch, log_mark)
        assert same(decode_peer(frame, "dev"), decoded)
        for original, now in zip(message, decoded.body, strict=True):
            assert type(original) is type(now)


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
            for frame in frames(message):
                with pytest.raises(WireError):
                    decode_peer(frame, "dev")


class TestEnvelope:
    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            ([0, "dev", 5, "n2", 1, [3, "n1"], 7, b"", 6], "version"),
            ([3, "dev", 5, "n2", 1, [3, "n1"], 7, b"", 6], "version"),
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
    @pytest.mark.parametrize("version", [1, 2])
    def test_is_checked_in_order(self, frame, reason, version):
        if version == 2 and isinstance(frame, list):
            version = 2 if type(frame[0]) is int and frame[0] == 1 else frame[0]
            frame = [version, *frame[1:5], *([9, 2, 5] if len(frame) >= 5 else []), *frame[5:]]
        with pytest.raises(WireError) as caught:
            decode_peer(msgpack.packb(frame), "dev")
        assert caught.value.reason == reason

    @pytest.mark.parametrize("place", [5, 6, 7], ids=["genesis", "epoch", "log_mark"])
    @pytest.mark.parametrize("value", [-1, 1 << 63, True, None, 1.0, "1", b"1", []], ids=repr)
    def test_what_a_sender_says_of_itself_are_numbers(self, place, value):
        frame = [2, "dev", 5, "n2", 1, 9, 2, 5, [3, "n1"], 7, b"", 6]
        assert decode_peer(msgpack.packb(frame), "dev")[3:] == (9, 2, 5, 2)
        frame[place] = value
        with pytest.raises(WireError) as caught:
            decode_peer(msgpack.packb(frame), "dev")
        assert caught.value.reason == "envelope"

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            ([2, "dev", 14, "n2", 1], "envelope"),
            ([2, "dev", 14, "n2", 1, 9, 2], "envelope"),
            ([2, "dev", 14, "n2", 1, 9, 2, 5], "arity"),
            ([2, "dev", 14, "n2", 1, 7], "envelope"),
            ([1, "dev", 14, "n2", 1, 9, 2, 5, 7], "arity"),
            ([1, "dev", 20, "n2", 1, 77, 1, 2, 3, "", ""], "arity"),
            ([2, "dev", 20, "n2", 1, 9, 2, 5, 77], "arity"),
            ([1, "dev", 21, "n2", 1, 77, 1, 2, 3, True, 1], "arity"),
            ([2, "dev", 21, "n2", 1, 9, 2, 5, 77, 1], "arity"),
            ([1, "dev", 24, "n2", 1, b"{}"], "kind"),
            ([1, "dev", 25, "n2", 1, b"{}"], "kind"),
        ],
    )
    def test_no_version_takes_the_form_of_the_other(self, frame, reason):
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
        beat = Heartbeat(B, "", 0, 0, 0, 0)
        for encode in (encode_peer, encode_old):
            with pytest.raises(WireError) as caught:
                decode_peer(encode(beat, "x" * 200, "n2", 1), "dev")
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
