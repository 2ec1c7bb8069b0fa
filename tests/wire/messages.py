"""Hypothesis strategies for every message that travels."""

from hypothesis import strategies as st

from paxosd.core import commands as c
from paxosd.core import messages as m
from paxosd.core import requests as r
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.membership import TEXT_CHARS_MAX, Member, Membership
from paxosd.core.types import Ballot

numbers = st.integers(0, (1 << 63) - 1)
names = st.text(max_size=64)
some_names = st.text(min_size=1, max_size=64)
values = st.binary(max_size=60)
ballots = st.builds(Ballot, numbers, names)
reigns = st.builds(c.Reign, numbers, some_names, numbers)
slots = st.integers(1, 1 << 62)
digests = st.binary(min_size=16, max_size=16)
endpoints = st.text(max_size=TEXT_CHARS_MAX).filter(str.isprintable) | st.builds(
    "tcp://{}:{}".format, st.text("az.-", max_size=253), st.integers(1, 65_535)
)


def few(strategy):
    return st.lists(strategy, max_size=4).map(tuple)


spans = st.builds(lambda first, count: (first, first + count), slots, st.integers(0, 9000))
runs = st.builds(lambda ballot, span: (ballot, *span), ballots, spans)

peer_messages = st.one_of(
    st.builds(m.PreVote, ballots, numbers),
    st.builds(m.PreVoteReply, ballots, st.booleans(), ballots, numbers),
    st.builds(m.Prepare, ballots, numbers),
    st.builds(
        m.Promise,
        ballots,
        numbers,
        numbers,
        numbers,
        few(st.builds(m.AcceptedValue, numbers, ballots, values)),
    ),
    st.builds(m.Accept, ballots, slots, values, numbers),
    st.builds(m.Nack, ballots, ballots),
    st.builds(m.Accepted, ballots, few(spans), numbers),
    st.builds(m.VotesRequest, numbers),
    st.builds(m.Votes, few(runs), numbers, numbers),
    st.builds(
        m.Heartbeat,
        ballots,
        names,
        numbers,
        numbers,
        numbers,
        numbers,
        st.booleans(),
        numbers,
        few(st.builds(m.Sample, numbers, numbers, numbers, numbers)),
        st.booleans(),
    ),
    st.builds(m.HeartbeatAck, ballots, numbers, numbers, numbers, st.booleans()),
    st.builds(m.CatchUp, numbers, numbers),
    st.builds(
        m.Decisions,
        numbers,
        few(st.tuples(ballots, values)),
        numbers,
        st.lists(st.builds(m.Sample, *[numbers] * 4), max_size=1).map(tuple),
    ),
    st.builds(m.ReadIndex, numbers, st.booleans()),
    st.builds(m.ReadIndexReply, numbers, numbers),
    st.builds(m.TransferLeadership, ballots, numbers),
    st.builds(m.SnapshotOffer, numbers, numbers, digests),
    st.builds(m.SnapshotRequest, numbers, numbers, digests),
    st.builds(m.SnapshotChunk, numbers, numbers, digests, values),
    st.builds(m.Hello, numbers, numbers, numbers, numbers, endpoints, endpoints),
    st.builds(m.Welcome, numbers, numbers, numbers, numbers, st.booleans(), numbers),
    st.builds(m.Removed, numbers, numbers),
    st.builds(m.Rejoin, numbers),
    st.builds(m.Founding, values),
    st.builds(m.Genesis, values),
    st.builds(m.NodeLimits, values),
)

_leaves = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=9)
plain_values = st.recursive(
    _leaves | st.binary(max_size=9) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
bodies = st.dictionaries(st.text(max_size=9), plain_values, max_size=4).filter(
    lambda body: _depth(body) <= 8
)


def _depth(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, inner), default=0)
    return 0


queries = st.one_of(
    st.builds(lambda key: [r.GET, key], values),
    st.builds(
        lambda *rest: [r.RANGE, *rest], values, values, numbers, st.booleans(), st.booleans()
    ),
    st.builds(lambda *rest: [r.NEWEST, *rest, 1], values, values, numbers),
)
requests = st.one_of(
    st.builds(r.WriteRequest, numbers, values),
    st.builds(
        r.ReadRequest, numbers, st.sampled_from([0, 1]), st.lists(queries, min_size=1, max_size=4)
    ),
    st.builds(r.HistoryRequest, numbers, values, values, numbers, numbers),
    st.builds(r.AdminRequest, numbers, some_names, bodies),
)

_simple = numbers | st.tuples(st.integers(0, 255), numbers, st.none() | numbers)
results = _simple | st.tuples(st.just(5), numbers, st.tuples(numbers, _simple))
key_values = st.builds(c.KeyValue, values, values, numbers, numbers, numbers)
pages = st.builds(r.RangePage, st.lists(key_values, max_size=3), st.none() | values)
changes = st.builds(c.Change, numbers, numbers, values, st.none() | values)
answers = st.one_of(
    st.builds(r.WriteAnswer, numbers, numbers, st.lists(results, max_size=4)),
    st.builds(
        r.ReadAnswer,
        numbers,
        numbers,
        numbers,
        st.integers(-1, 1 << 40),
        st.lists(st.none() | key_values | pages, max_size=3),
    ),
    st.builds(r.HistoryAnswer, numbers, st.lists(changes, max_size=3), numbers, numbers),
    st.builds(r.AdminAnswer, numbers, bodies),
    st.builds(
        r.RefusalAnswer, numbers, some_names, st.text(max_size=90), names, st.text(), numbers
    ),
)

MEMBERSHIP = Membership({"n1": Member("tcp://h:1", "tcp://h:2", "tcp://h:3")}).to_command()
SETTINGS = ClusterSettings(level=1).to_command()
keys = st.binary(min_size=1, max_size=40)
session_commands = st.one_of(
    st.builds(lambda k, v: [c.PUT, k, v], keys, values),
    st.builds(lambda k: [c.DELETE, k], keys),
    st.builds(lambda a, b: [c.DELETE_RANGE, a, b], values, values),
    st.builds(lambda k, e, v: [c.CAS_VALUE, k, e, v], keys, st.none() | values, values),
    st.builds(lambda k, n, v: [c.CAS_REVISION, k, n, v], keys, numbers, values),
    st.just([c.CLOSE]),
)
sessionless_commands = st.one_of(
    st.builds(lambda s, q: [c.FENCE, s, q], numbers, numbers),
    st.just([c.OPEN]),
    st.just([c.CHECKSUM]),
    st.builds(lambda epoch: [c.MEMBERS, epoch, MEMBERSHIP], numbers),
    st.builds(lambda version, epoch: [c.CLUSTER, version, epoch, SETTINGS], numbers, numbers),
)


def _entries(sessions, commands):
    seqs = st.integers(1, 1 << 60)
    return st.builds(c.Entry, sessions, seqs, seqs, st.lists(commands, min_size=1, max_size=4))


entries = _entries(st.integers(1, 1 << 60), session_commands) | _entries(
    st.just(0), sessionless_commands
)
