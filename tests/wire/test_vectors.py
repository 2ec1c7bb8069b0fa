"""The test vectors in ``vectors/*.json``: the wire format for those who write a client in another
language, and a guard for those who write this one.

Each vector has the message by the names of its fields, the msgpack array of the frame in order,
and the frame in hex. All three are checked against each other and against the code. After a change
that is meant, record them again and read the difference::

    pytest tests/wire/test_vectors.py --record -n 0
"""

import json
from pathlib import Path

import msgpack
import pytest

from paxosd.core.commands import TXN, Batch, Entry
from paxosd.core.events import Event
from paxosd.core.messages import PeerMessage
from paxosd.core.requests import ClientMessage, ServerMessage
from paxosd.wire import (
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
)
from paxosd.wire.entry import _FORMS, _KEYED_FORMS, _LEASE_FORMS, EntryLimits
from paxosd.wire.events import EventEncoder, decode_event
from paxosd.wire.fields import WireError
from tests.wire import examples

FOLDER = Path(__file__).parent / "vectors"

CONVENTIONS = {
    "frame": "The bytes of the ZeroMQ frame in hexadecimal digits: one msgpack value.",
    "array": "That msgpack value, in order. Encode it and you have the frame.",
    "fields": "The message by the names of its fields, as docs/PROTOCOL.md describes them.",
    "bytes": 'msgpack bin values are {"ascii": "key"} where they can be read, and else '
    '{"hex": "00ff"}. JSON strings are msgpack str values, null is nil.',
    "numbers": 'Integers of msgpack, each in its shortest form: 0 to 2^63-1, and -1 for "never".',
    "topic": "The first frame of a PUB message; the frame of the vector is the second one.",
}

ABOUT = {
    "peer_frames": "Frames between daemons. Array: [2, cluster, kind, sender, run_id, genesis, "
    "epoch, log_mark, …fields]; before feature level 1: [1, cluster, kind, sender, run_id, "
    "…fields]. On DEALER to ROUTER sockets; `accepted` on PUB.",
    "client_frames": "Frames between a client (DEALER) and a daemon (ROUTER). Array: "
    "[1, cluster, kind, request_id, …fields]. Kinds 32 to 47 are requests, 48 to 63 answers.",
    "events": "What a daemon publishes (PUB) for watchers: two frames, topic and payload. Array: "
    "[1, cluster, kind, …fields].",
    "entries": "The bytes inside a write request (an entry) and inside a slot of the log (a "
    "batch). Entry: [session, first_seq, acked, [command, …]]. The value of a slot that does "
    "nothing (NOOP) has no bytes at all.",
}

SOURCES = {
    "peer_frames": examples.peer_examples,
    "client_frames": examples.client_examples,
    "events": examples.event_examples,
    "entries": examples.entry_examples,
}


def readable(value):
    """A message or a msgpack value as JSON has it."""
    if hasattr(value, "_fields"):
        return {name: readable(getattr(value, name)) for name in value._fields}
    if isinstance(value, bytes):
        is_plain = all(32 <= byte < 127 for byte in value)
        return {"ascii": value.decode()} if is_plain else {"hex": value.hex()}
    if isinstance(value, list | tuple):
        return [readable(item) for item in value]
    if isinstance(value, dict):
        return {name: readable(item) for name, item in value.items()}
    return int(value) if type(value) not in (bool, str, type(None)) else value


def packable(value):
    """The msgpack value of what :func:`readable` made of one."""
    if isinstance(value, list):
        return [packable(item) for item in value]
    if isinstance(value, dict):
        if list(value) == ["ascii"]:
            return value["ascii"].encode()
        if list(value) == ["hex"]:
            return bytes.fromhex(value["hex"])
        return {name: packable(item) for name, item in value.items()}
    return value


def topic_of(vector):
    return packable(vector.get("topic", {"hex": ""}))


class PeerFrames:
    @staticmethod
    def decode(frame, _topic):
        envelope = decode_peer(frame, examples.CLUSTER)
        head = envelope._asdict()
        return head.pop("body"), {"cluster": examples.CLUSTER, **head}

    @staticmethod
    def encode(message, envelope, _topic):
        cluster, sender, run_id = (envelope[name] for name in ("cluster", "sender", "run_id"))
        if envelope["version"] == 1:
            return encode_old(message, cluster, sender, run_id)
        header = (envelope[name] for name in ("genesis", "epoch", "log_mark"))
        return encode_peer(message, cluster, sender, run_id, *header)


class ClientFrames:
    @staticmethod
    def decode(frame, _topic):
        try:
            message = decode_request(frame, examples.CLUSTER)
        except WireError:
            message = decode_answer(frame, examples.CLUSTER)
        return message, {"cluster": examples.CLUSTER}

    @staticmethod
    def encode(message, envelope, _topic):
        return encode_client(message, envelope["cluster"])


class Events:
    @staticmethod
    def decode(frame, topic):
        cluster, event = decode_event(topic, frame)
        return event, {"cluster": cluster}

    @staticmethod
    def encode(message, envelope, topic):
        fields = message._asdict()
        who = fields.pop("node", ""), fields.pop("boot_count", 0)
        encoder = EventEncoder(envelope["cluster"], *who)
        kind = type(message).__name__.removesuffix("Event").lower()
        if kind == "numberedchange":  # nothing writes it any more
            return msgpack.packb([1, envelope["cluster"], 64, *message])
        if kind == "change":
            fields["places"] = [tuple(place) for place in fields["places"]]
        sent_topic, payload = getattr(encoder, kind)(**fields)
        assert sent_topic == topic
        return payload


class Entries:
    @staticmethod
    def decode(frame, _topic):
        try:
            return decode_entry(
                frame, EntryLimits(client_names=True, coordination=True, keys=True)
            ), {}
        except WireError:
            return decode_batch(frame), {}

    @staticmethod
    def encode(message, _envelope, _topic):
        if isinstance(message, Entry):
            return encode_entry(message)
        raw = [encode_entry(entry) for entry in message.entries]
        return encode_batch(message.stamp_ms, raw, message.reign)


FORMATS = {
    "peer_frames": PeerFrames,
    "client_frames": ClientFrames,
    "events": Events,
    "entries": Entries,
}


def vector_of(source, example):
    message, envelope = FORMATS[source].decode(example.frame, example.topic)
    vector = {"name": example.name, "message": type(message).__name__}
    array = msgpack.unpackb(example.frame)
    if source != "entries":
        vector["kind"] = array[2]
    if example.note:
        vector["note"] = example.note
    if example.topic:
        vector["topic"] = readable(example.topic)
    if envelope:
        vector["envelope"] = envelope
    return vector | {
        "fields": readable(message),
        "array": readable(array),
        "frame": example.frame.hex(),
    }


def recorded_of(source):
    """What the file of this source is to have."""
    vectors = [vector_of(source, example) for example in SOURCES[source]()]
    return {"about": ABOUT[source], "conventions": CONVENTIONS, "vectors": vectors}


def read(source):
    return json.loads((FOLDER / f"{source}.json").read_text("utf-8"))


def vectors():
    for source in SOURCES:
        path = FOLDER / f"{source}.json"
        for vector in read(source)["vectors"] if path.exists() else []:
            yield pytest.param(source, vector, id=f"{source}-{vector['name']}")


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_recorded_is_what_the_code_writes(source, request):
    recorded = recorded_of(source)
    path = FOLDER / f"{source}.json"
    if request.config.getoption("record"):
        path.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n", "utf-8")
    assert read(source) == recorded, f"see {__name__}: --record writes {path.name} anew"


@pytest.mark.parametrize(("source", "vector"), list(vectors()))
def test_fields_array_and_frame_of_a_vector_agree(source, vector):
    frame, topic = bytes.fromhex(vector["frame"]), topic_of(vector)
    assert msgpack.packb(packable(vector["array"])) == frame
    message, envelope = FORMATS[source].decode(frame, topic)
    assert type(message).__name__ == vector["message"]
    assert readable(message) == vector["fields"]
    assert envelope == vector.get("envelope", {})
    assert FORMATS[source].encode(message, envelope, topic) == frame


def test_every_kind_of_message_has_a_vector():
    def recorded(source):
        return {vector["message"] for vector in read(source)["vectors"]}

    def names(*unions):
        return {kind.__name__ for union in unions for kind in union.__args__}

    assert recorded("peer_frames") == names(PeerMessage)
    assert recorded("client_frames") == names(ClientMessage, ServerMessage)
    assert recorded("events") == names(Event)
    assert recorded("entries") == {Entry.__name__, Batch.__name__}
    commands = {
        command[0]
        for vector in read("entries")["vectors"]
        if vector["message"] == "Entry"
        for command in vector["array"][3]
    }
    assert commands == {TXN, *_FORMS, *_KEYED_FORMS, *_LEASE_FORMS}


def test_the_names_of_vectors_are_unique():
    for source in SOURCES:
        names = [vector["name"] for vector in read(source)["vectors"]]
        assert len(set(names)) == len(names)
