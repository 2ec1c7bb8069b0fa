"""The wire format, in one place to import from.

    fields.py   envelope, limits, checks of single fields      WireError, LimitError
    peer.py     frames between daemons                         encode_peer, decode_peer
    client.py   frames between clients and daemons             encode_client, decode_request, …
    entry.py    the bytes inside a write request and a slot    encode_entry, decode_batch, …
    events.py   what watchers get on PUB (imported directly)
    status.py   the status of a node (imported directly)

For any bytes, decoding ends in a typed message or in WireError. docs/PROTOCOL.md describes all of
it for clients in other languages; tests/wire/vectors/ has an example of each message.
"""

from paxosd.wire.client import decode_answer, decode_request, encode_client
from paxosd.wire.entry import (
    EntryLimits,
    decode_batch,
    decode_entry,
    encode_batch,
    encode_entry,
)
from paxosd.wire.fields import (
    NAME_CHARS_MAX,
    VERSION,
    LimitError,
    WireError,
    pack,
    unpack,
)
from paxosd.wire.peer import (
    ACCEPTED_TOPIC,
    PEER_KIND_NAMES,
    PEER_KINDS,
    decode_peer,
    encode_old,
    encode_peer,
)

__all__ = [
    "ACCEPTED_TOPIC",
    "NAME_CHARS_MAX",
    "PEER_KINDS",
    "PEER_KIND_NAMES",
    "VERSION",
    "EntryLimits",
    "LimitError",
    "WireError",
    "decode_answer",
    "decode_batch",
    "decode_entry",
    "decode_peer",
    "decode_request",
    "encode_batch",
    "encode_client",
    "encode_entry",
    "encode_old",
    "encode_peer",
    "pack",
    "unpack",
]
