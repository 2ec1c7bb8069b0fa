"""The rights table: what a document may say, what it covers, and who names whom in a command."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paxosd.core import commands as c
from paxosd.core.rights import (
    DOCUMENT_BYTES_MAX,
    KEYS_MAX,
    NO_RIGHTS,
    PREFIXES_MAX,
    PRINCIPALS_MAX,
    Principal,
    RightsError,
    RightsTable,
    admin_of,
    covers,
    parse_prefix,
    prefix_text,
)

ROOT, APP, NODE, OLD = (bytes([each]) * 32 for each in (1, 2, 3, 4))
TABLE = RightsTable(
    1,
    True,
    (
        Principal("app1", "client", (b"/app/", b"hex:", b"\xff"), (b"/app/jobs/",), (APP,)),
        Principal("n1", "peer", keys=(NODE,)),
        admin_of("root", (ROOT,)),
    ),
    frozenset({OLD}),
)


def changed(**changes):
    return json.dumps(TABLE.document() | changes).encode()


def with_principal(name="x", **fields):
    principals = TABLE.document()["principals"]
    return changed(principals=principals | {name: {"role": "client", "keys": []} | fields})


def test_a_table_survives_its_document_and_its_snapshot():
    assert NO_RIGHTS.follow(TABLE.to_command()) == TABLE
    assert RightsTable.from_json(TABLE.to_json()) == TABLE
    assert TABLE.follow(TABLE.to_command()).version == 2
    assert RightsTable.from_json(NO_RIGHTS.to_json()) is NO_RIGHTS
    assert NO_RIGHTS.digest == b""
    assert TABLE.digest != TABLE.follow(TABLE.to_command()).digest


def test_a_key_leads_to_its_principal_alone():
    assert {key: who.name for key, who in TABLE.by_key.items()} == {
        APP: "app1", NODE: "n1", ROOT: "root"
    }  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"required": true}',
        changed(version=3),
        changed(more=1),
        changed(required=1),
        changed(unconfirmed_ms_max=0),
        changed(unconfirmed_ms_max=True),
        changed(principals={}),
        changed(principals=[]),
        changed(revoked={}),
        changed(revoked=["00"]),
        changed(revoked=[APP.hex()]),
        with_principal("../x"),
        with_principal("x" * 65),
        with_principal(role="king"),
        with_principal(role=["client"]),
        with_principal(keys=["zz" * 32]),
        with_principal(keys=[" " * 64]),
        with_principal(keys=["00 " * 21 + "0"]),
        with_principal(keys=[APP.hex()]),
        with_principal(keys=[bytes([each + 20] * 32).hex() for each in range(KEYS_MAX + 1)]),
        with_principal(read="/app/"),
        with_principal(read=[1]),
        with_principal(read=["hex:0"]),
        with_principal(read=["hex:"]),  # a slip: it would stand for all keys
        with_principal(read=["\ud800"]),
        with_principal(write=["/x/"] * (PREFIXES_MAX + 1)),
        with_principal(role="admin", read=["/x/"]),
        with_principal(role="peer", write=[""]),
        with_principal(more=1),
        with_principal(read=["x" * 65_000] * 9),
        changed(principals={f"p{n}": {"role": "client", "keys": []} for n in range(1001)}),
    ],
)
def test_a_wrong_document_is_refused_in_words(document):
    with pytest.raises(RightsError, match=r"\w+ "):
        NO_RIGHTS.follow(document)
    assert PRINCIPALS_MAX == 1000


def test_a_document_that_grows_when_it_is_written_down_is_bounded_as_well():
    """A letter of two bytes becomes six in the table that snapshots have: it must be read again."""
    prefixes = ["é" * 30_000] * 5
    principals = {"x": {"role": "client", "keys": [], "read": prefixes}}
    document = TABLE.document() | {"principals": TABLE.document()["principals"] | principals}
    short = json.dumps(document, ensure_ascii=False).encode()
    assert len(short) < DOCUMENT_BYTES_MAX < len(json.dumps(document))
    with pytest.raises(RightsError, match=f"at most {DOCUMENT_BYTES_MAX} bytes"):
        NO_RIGHTS.follow(short)
    principals["x"]["read"] = prefixes[:2]
    table = NO_RIGHTS.follow(json.dumps(document, ensure_ascii=False).encode())
    assert RightsTable.from_json(table.to_json()) == table


def test_a_required_table_needs_an_admin_with_a_key():
    principals = {"root": {"role": "admin", "keys": []}}
    with pytest.raises(RightsError, match="admin with a key"):
        NO_RIGHTS.follow(changed(principals=principals, revoked=[]))
    assert NO_RIGHTS.follow(changed(principals=principals, required=False)).version == 1


@given(st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=9), st.binary(max_size=9))
def test_a_prefix_covers_a_range_only_if_it_covers_every_key_in_it(prefix, start, end, key):
    if covers((prefix,), start, end) and start <= key and (not end or key < end):
        assert key.startswith(prefix)


@given(st.binary(max_size=8), st.binary(max_size=3))
def test_a_prefix_covers_its_own_keys_and_ranges(prefix, rest):
    assert covers((b"\x00", prefix), prefix, c.prefix_end(prefix))
    assert covers((prefix,), prefix + rest, prefix + rest + b"\0")
    assert not covers((), prefix, b"")
    assert covers((prefix,), prefix, b"") == (not prefix.strip(b"\xff"))


@given(st.binary(max_size=12) | st.binary(max_size=4).map(lambda rest: b"hex:" + rest))
def test_a_prefix_survives_its_text(prefix):
    assert parse_prefix(prefix_text(prefix)) == prefix


def entry(*commands):
    return c.Entry(0, 1, 0, [list(each) for each in commands])


@pytest.mark.parametrize(
    ("given", "named", "vouched"),
    [
        ([c.OPEN], [c.OPEN, "", APP], [c.OPEN]),
        ([c.OPEN, "me"], [c.OPEN, "me", APP], [c.OPEN, "me"]),
        ([c.OPEN, "", OLD], [c.OPEN, "", APP], [c.OPEN]),
        ([c.OPEN, "me", OLD], [c.OPEN, "me", APP], [c.OPEN, "me"]),
        ([c.FENCE, 1, 2, OLD], [c.FENCE, 1, 2, APP], [c.FENCE, 1, 2]),
        ([c.MEMBERS, 1, b"d"], [c.MEMBERS, 1, b"d", APP], [c.MEMBERS, 1, b"d"]),
        ([c.CLUSTER, 1, 2, b"d", OLD], [c.CLUSTER, 1, 2, b"d", APP], [c.CLUSTER, 1, 2, b"d"]),
        ([c.RIGHTS, 1, b"d", OLD], [c.RIGHTS, 1, b"d", APP], [c.RIGHTS, 1, b"d", b""]),
        ([c.CHECKSUM], [c.CHECKSUM], [c.CHECKSUM]),
        ([c.MEMBERS], [c.MEMBERS], [c.MEMBERS]),
        ([c.PUT, b"k", b"v"], [c.PUT, b"k", b"v"], [c.PUT, b"k", b"v"]),
        ([], [], []),
    ],
)
def test_the_node_names_who_asks_whatever_the_client_wrote(given, named, vouched):
    assert c.with_requester(entry(given), APP) == entry(named)
    assert c.with_requester(entry(given), b"") == entry(vouched)
    assert c.with_requester(entry(named), b"") == entry(vouched)
