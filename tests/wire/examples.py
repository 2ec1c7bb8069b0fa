"""One example of every message that travels, for the test vectors in ``vectors/``.

The values are small and easy to recognise, and no two fields of a message have the same value
where that can be avoided, so that a client in another language that swaps two fields sees it.
"""

from typing import NamedTuple

import msgpack

from paxosd.core import commands as c
from paxosd.core import events as e
from paxosd.core import messages as m
from paxosd.core import requests as r
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import Member, Membership
from paxosd.core.rights import Principal, RightsTable, admin_of
from paxosd.core.types import Ballot
from paxosd.wire import encode_batch, encode_client, encode_entry, encode_old, encode_peer
from paxosd.wire.events import (
    KIND_NUMBERED_CHANGE,
    TOPIC_KV,
    TOPIC_LEARNED,
    TOPIC_MEMBERS,
    TOPIC_PROGRESS,
    EventEncoder,
)

CLUSTER = "dev"
SENDER = "n2"
RUN_ID = 1025
GENESIS, EPOCH, LOG_MARK = 99, 4, 17
NODE, BOOT_COUNT = "n1", 3
BALLOT = Ballot(5, "n1")
LOWER = Ballot(4, "n3")
DIGEST = bytes(range(16))
SAMPLE = m.Sample(1, 2, 4096, 123_456_789)


class Example(NamedTuple):
    """One message: its name in the vectors, the message, what to know about it, its frame, and the
    topic of the PUB message that carries it ("": none)."""

    name: str
    message: object
    note: str
    frame: bytes
    topic: bytes = b""


def snake(name: str) -> str:
    """``ReadIndexReply`` → ``read_index_reply``."""
    return "".join(f"_{a.lower()}" if a.isupper() else a for a in name).lstrip("_")


# ---- between daemons

PEER_MESSAGES = (
    m.PreVote(BALLOT, 41),
    m.PreVoteReply(BALLOT, True, LOWER, 40),
    m.Prepare(BALLOT, 42),
    m.Promise(BALLOT, 42, 0, 41, (m.AcceptedValue(43, LOWER, b"value"),)),
    m.Accept(BALLOT, 44, b"value", 41),
    m.Nack(LOWER, BALLOT),
    m.Accepted(BALLOT, ((44, 46), (48, 48)), 7),
    m.VotesRequest(44),
    m.Votes(((BALLOT, 44, 46), (LOWER, 43, 43)), 8, 42),
    m.Heartbeat(BALLOT, "n1", 42, 8, 3, 48, True, 1_700_000_000_000, (SAMPLE,), True),
    m.HeartbeatAck(BALLOT, 3, 42, 850, False),
    m.CatchUp(10, 20),
    m.Decisions(10, ((LOWER, b"first"), (BALLOT, b"second")), 42, (SAMPLE,)),
    m.ReadIndex(6, True),
    m.ReadIndexReply(6, 42),
    m.TransferLeadership(BALLOT, 48),
    m.SnapshotOffer(4096, 70_000, DIGEST),
    m.SnapshotRequest(4096, 65_536, DIGEST),
    m.SnapshotChunk(4096, 65_536, DIGEST, b"piece"),
    m.Hello(77, 12, 34, 1, "tcp://192.0.2.2:7411", "tcp://192.0.2.2:7412"),
    m.Welcome(1024, 77, 12, 34, False, 1),
    m.Removed(4, 40),
    m.Rejoin(78),
    m.Founding(b'{"a":1}'),
    m.Genesis(b'{"b":2}'),
    m.NodeLimits(b'{"c":3}'),
)


def peer_examples() -> list[Example]:
    """Every kind in the present form, and in the form of version 1 where that has the kind."""
    examples = []
    for message in PEER_MESSAGES:
        topic = b"accepted/" + SENDER.encode() if type(message) is m.Accepted else b""
        name = snake(type(message).__name__)
        frame = encode_peer(message, CLUSTER, SENDER, RUN_ID, GENESIS, EPOCH, LOG_MARK)
        examples.append(Example(name, message, "", frame, topic))
    for message in PEER_MESSAGES:
        frame = encode_old(message, CLUSTER, SENDER, RUN_ID)
        if frame:
            topic = b"accepted/" + SENDER.encode() if type(message) is m.Accepted else b""
            name = f"{snake(type(message).__name__)}_version_1"
            note = "as programs before the founding records write it; fields that it lacks have "
            note += "their defaults"
            examples.append(Example(name, message, note, frame, topic))
    return examples


# ---- between clients and daemons

KEY = bytes(range(100, 132))
RIGHTS = RightsTable(
    2, True, (admin_of("root", (KEY,)), Principal("app1", "client", (b"/app/",), (b"/app/jobs/",)))
).to_command()

PUT_ENTRY = c.Entry(7, 21, 20, [[c.PUT, b"key", b"value"]])
KEY_VALUE = c.KeyValue(b"key", b"value", 3, 9, 2)

CLIENT_MESSAGES = (
    ("write", r.WriteRequest(1, encode_entry(PUT_ENTRY)), "the entry is one of entries.json"),
    (
        "forward",
        r.ForwardRequest(2, encode_entry(PUT_ENTRY)),
        "a write for a node that offered to pass it on: a refusal not_leader with detail 1",
    ),
    (
        "vouched",
        r.VouchedRequest(3, encode_entry(PUT_ENTRY), KEY),
        "what a node passes on to the leader, of a client with this public key; from nodes only",
    ),
    (
        "read",
        r.ReadRequest(
            3,
            r.LINEARIZABLE,
            [[r.GET, b"key"], [r.RANGE, b"a", b"b", 100, False, True]],
        ),
        "mode 0 is linearizable, 1 is stale; queries are [1, key] and "
        "[2, start, end, limit, reverse, keys_only]",
    ),
    ("stale_read", r.ReadRequest(4, r.STALE, [[r.GET, b"key"]]), ""),
    (
        "read_newest",
        r.ReadRequest(5, r.LINEARIZABLE, [[r.NEWEST, b"lock/", b"lock0", 17, 1]]),
        "[6, start, end, created_below, limit]",
    ),
    (
        "history",
        r.HistoryRequest(5, b"a", b"b", 8, r.SPLIT + 65_536),
        "limit_bytes: 65536, and 2^40 added: a page may end within a revision",
    ),
    ("admin", r.AdminRequest(6, "checksum", {"slot": 4096}), ""),
    ("admin_without_arguments", r.AdminRequest(7, "status", {}), ""),
    (
        "write_answer",
        r.WriteAnswer(1, 44, [9]),
        "one result for each command; a number is the revision that the command made",
    ),
    (
        "write_answer_of_other_results",
        r.WriteAnswer(
            8,
            45,
            [
                (c.Status.OK, 9, 7),
                (c.Status.NOT_FOUND, 9, None),
                (c.Status.CAS_MISS, 3, None),
                (c.Status.COMMITTED, 9, (44, 9)),
                (c.Status.COMMITTED, 9, (44, (c.Status.CAS_MISS, 3, None))),
            ],
        ),
        "a result that is no number is [status, revision, detail]; that of a fence on a command "
        "that was applied has [slot, result] as its detail",
    ),
    (
        "write_answer_of_transactions",
        r.WriteAnswer(
            9,
            46,
            [
                (c.Status.OK, 10, (1, (1, 7, (1, (2,))))),
                (c.Status.OK, 10, (0, (None, (b"v", 3, 9, 2), (((b"a/1", b"", 4, 5, 1),), None)))),
                (c.Status.OK, 10, (1, None)),
                (c.Status.TXN_REFUSED, 10, 1),
                (c.Status.COMMITTED, 10, (46, (c.Status.OK, 10, (1, (1,))))),
            ],
        ),
        "[0, revision, [succeeded, results]]; see docs/TRANSACTIONS.md",
    ),
    (
        "read_answer",
        r.ReadAnswer(3, 44, 9, 0, [KEY_VALUE, None, r.RangePage([KEY_VALUE], b"next")]),
        "one result for each query: a key, nil where there is no such key, a page of a range",
    ),
    (
        "stale_read_answer",
        r.ReadAnswer(4, 44, 9, -1, [r.RangePage([], None)]),
        "age_ms -1: the node has never known its age; a page without more",
    ),
    (
        "history_answer",
        r.HistoryAnswer(
            5, [c.Change(8, 43, b"key", b"value"), c.Change(9, 44, b"gone", None)], 10, 9
        ),
        "a value nil is a removal",
    ),
    (
        "admin_answer",
        r.AdminAnswer(6, {"slot": 4096, "checksum": "00ff", "pending": False}),
        "",
    ),
    (
        "refusal",
        r.RefusalAnswer(1, "not_leader", "another node leads", "n1", "tcp://192.0.2.1:7410", 1),
        "detail 1: this node passes a forward on",
    ),
    (
        "refusal_compacted",
        r.RefusalAnswer(5, "compacted", "compacted at 8", "", "", 8),
        "detail: the first revision whose changes are still there",
    ),
)


def client_examples() -> list[Example]:
    """Requests and answers."""
    return [
        Example(name, message, note, encode_client(message, CLUSTER))
        for name, message, note in CLIENT_MESSAGES
    ]


# ---- published events

ENCODER = EventEncoder(CLUSTER, NODE, BOOT_COUNT)
PLACES = (e.Place(0, 8, 0, 1), e.Place(2, 6, 1, 3))
_NUMBERED = [1, CLUSTER, KIND_NUMBERED_CHANGE, NODE, BOOT_COUNT, 9, 44, b"key", b"value", [[2, 5]]]


def event_examples() -> list[Example]:
    """What is published on PUB, besides the votes (see the peer frames)."""

    def example(name: str, message: object, note: str, sent: tuple[bytes, bytes]) -> Example:
        return Example(name, message, note, sent[1], sent[0])

    return [
        example(
            "change",
            e.ChangeEvent(NODE, BOOT_COUNT, 9, 44, b"key", b"value", PLACES),
            "one change of a key, on the topic kv/KEY",
            ENCODER.change(9, 44, b"key", b"value", [*map(tuple, PLACES)]),
        ),
        example(
            "removal",
            e.ChangeEvent(NODE, BOOT_COUNT, 10, 45, b"key", None, PLACES[:1]),
            "a value nil: the key was removed",
            ENCODER.change(10, 45, b"key", None, [tuple(PLACES[0])]),
        ),
        example(
            "progress",
            e.ProgressEvent(NODE, BOOT_COUNT, b"ke", 9, 2, 6, 120),
            "the prefix stands in the topic, not in the payload",
            ENCODER.progress(b"ke", 9, 2, 6, 120),
        ),
        example(
            "learned",
            e.LearnedEvent(44, BALLOT, b"value"),
            "a chosen value, for auditors",
            ENCODER.learned(44, BALLOT, b"value"),
        ),
        example(
            "members",
            e.MembersEvent(4),
            "another membership is in force",
            ENCODER.members(4),
        ),
        example(
            "numbered_change",
            e.NumberedChangeEvent(NODE, BOOT_COUNT, 9, 44, b"key", b"value", ((2, 5),)),
            "as nodes of version 0.1 publish a change: it is read, and written no more",
            (TOPIC_KV + b"key", msgpack.packb(_NUMBERED)),
        ),
    ]


EVENT_TOPICS = (TOPIC_KV, TOPIC_PROGRESS, TOPIC_LEARNED, TOPIC_MEMBERS)


# ---- the log

MEMBERSHIP = Membership(
    {"n1": Member("tcp://h1:7411", "tcp://h1:7410", "tcp://h1:7412")}
).to_command()
SETTINGS = ClusterSettings(level=1).to_command()

TRANSACTION = [
    c.TXN,
    [[1, 1, b"key", b"old"], [2, 4, b"a/", 0, b"a0", 1]],
    [[c.PUT, b"key", b"new"], [66, b"count", 1], [c.TXN, [], [[c.DELETE_RANGE, b"a/", b"a0"]], []]],
    [[64, b"key"], [65, b"a/", b"a0", 10, False, True]],
]

COMMANDS = (
    ("put", 7, [c.PUT, b"key", b"value"], "[1, key, value]"),
    ("delete", 7, [c.DELETE, b"key"], "[2, key]"),
    ("delete_range", 7, [c.DELETE_RANGE, b"a", b"b"], "[3, start, end]"),
    ("cas_value", 7, [c.CAS_VALUE, b"key", b"old", b"new"], "[4, key, expected, value]"),
    ("cas_value_absent", 7, [c.CAS_VALUE, b"key", None, b"new"], "nil: the key must not exist"),
    ("cas_revision", 7, [c.CAS_REVISION, b"key", 9, b"new"], "[5, key, revision, value]"),
    ("fence", 0, [c.FENCE, 7, 21], "[6, session, seq], in session 0"),
    ("open", 0, [c.OPEN], "[7], in session 0"),
    ("open_with_a_name", 0, [c.OPEN, "backup anna@web1 4711"], "[7, name]: feature level 3"),
    ("close", 7, [c.CLOSE], "[8], in the session that is to end"),
    ("checksum", 0, [c.CHECKSUM], "[9], in session 0"),
    ("members", 0, [c.MEMBERS, 4, MEMBERSHIP], "[10, epoch, document], in session 0"),
    ("cluster", 0, [c.CLUSTER, 2, 4, SETTINGS], "[11, version, epoch, document], in session 0"),
    ("grant", 7, [c.GRANT, 10_000, 0], "[12, ttl_ms, wanted]: feature level 4"),
    ("keepalive", 7, [c.KEEPALIVE, [1 << 32, 5]], "[13, [lease, …]]: feature level 4"),
    ("revoke", 7, [c.REVOKE, 1 << 32], "[14, lease]: feature level 4"),
    (
        "put_with_a_lease",
        7,
        [c.PUT, b"key", b"value", 5],
        "[1, key, value, lease]: feature level 4",
    ),
    ("txn", 7, TRANSACTION, "[15, compares, then, otherwise]: feature level 4"),
)
KEYED = (
    ("open_with_a_key", [c.OPEN, "", KEY], '[7, name or "", key]: feature level 5'),
    ("fence_with_a_key", [c.FENCE, 7, 21, KEY], "[6, session, seq, key]: feature level 5"),
    (
        "members_with_a_key",
        [c.MEMBERS, 4, MEMBERSHIP, KEY],
        "[10, epoch, document, key]: feature level 5",
    ),
    (
        "cluster_with_a_key",
        [c.CLUSTER, 2, 4, SETTINGS, KEY],
        "[11, version, epoch, document, key]: feature level 5",
    ),
    (
        "rights",
        [c.RIGHTS, 2, RIGHTS, KEY],
        "[16, version, document, key], in session 0: feature level 5; key: of who asked, empty: a "
        "node vouches for it",
    ),
)
"""With the public key of who asked, which the node puts there that takes the request in."""
BATCH_ENTRIES = [PUT_ENTRY, c.Entry(0, 1, 0, [[c.OPEN]])]


def entry_examples() -> list[Example]:
    """Entries with each command, and batches in both forms."""
    examples = [
        Example(name, entry, note, encode_entry(entry))
        for name, session, command, note in COMMANDS
        for entry in [c.Entry(session, 21 if session else 1, 20 if session else 0, [command])]
    ]
    examples += [
        Example(name, entry, note, encode_entry(entry))
        for name, command, note in KEYED
        for entry in [c.Entry(0, 1, 0, [command])]
    ]
    two = c.Entry(7, 22, 21, [[c.PUT, b"a", b"1"], [c.DELETE, b"b"]])
    examples.append(
        Example("two_commands", two, "their sequence numbers are 22 and 23", encode_entry(two))
    )
    raw = [encode_entry(entry) for entry in BATCH_ENTRIES]
    stamp_ms = 1_700_000_000_000
    reign = c.Reign(5, "n1", 12_345)
    examples.append(
        Example(
            "batch",
            c.Batch(stamp_ms, BATCH_ENTRIES, reign),
            "the value of a slot: [stamp_ms, [entry, …], round, node, elapsed_ms]",
            encode_batch(stamp_ms, raw, reign),
        )
    )
    examples.append(
        Example(
            "batch_level_0",
            c.Batch(stamp_ms, BATCH_ENTRIES),
            "the value of a slot before feature level 1: [stamp_ms, [entry, …]]",
            encode_batch(stamp_ms, raw),
        )
    )
    return examples
