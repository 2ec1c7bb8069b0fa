"""The commands of leases: admitted from feature level 4 on, and their answers."""

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import GRANT, KEEPALIVE, PUT, REVOKE, Entry
from paxosd.core.lease_bounds import FIRST_ID, IDS_PER_KEEPALIVE_MAX, TTL_MS_MAX
from paxosd.core.requests import (
    LeaseInfo,
    LeasePage,
    LeaseRow,
    ReadAnswer,
    ReadRequest,
    WriteAnswer,
)
from paxosd.wire import (
    decode_answer,
    decode_entry,
    decode_request,
    encode_client,
    encode_entry,
)
from paxosd.wire.entry import EntryLimits
from paxosd.wire.fields import LimitError, WireError

LEASES = EntryLimits.of(ClusterSettings(version=1, level=LEVEL_COORDINATION))
BEFORE = EntryLimits.of(ClusterSettings(version=1, level=LEVEL_COORDINATION - 1))
GOOD = (
    [GRANT, 1000, 0], [GRANT, TTL_MS_MAX, FIRST_ID - 1], [REVOKE, 1], [REVOKE, FIRST_ID],
    [KEEPALIVE, [1]], [KEEPALIVE, [FIRST_ID] * IDS_PER_KEEPALIVE_MAX], [PUT, b"k", b"v", 7],
)  # fmt: skip


def admitted(command, limits=LEASES, session=7):
    return decode_entry(encode_entry(Entry(session, 1, 0, [command])), limits).commands[0]


@pytest.mark.parametrize("command", GOOD, ids=lambda command: repr(command)[:40])
def test_those_that_are_well_formed_are_admitted_at_the_level(command):
    assert admitted(command) == command
    with pytest.raises(LimitError, match="leases are there from feature level 4 on"):
        admitted(command, BEFORE)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ([GRANT, 999, 0], "the TTL of a lease is 1000 to 31536000000 ms, not 999"),
        ([GRANT, "1s", 0], "the TTL of a lease"), ([GRANT, TTL_MS_MAX + 1, 0], "the TTL"),
        ([GRANT, 5000, FIRST_ID], "by an id from 1 to 4294967295"), ([GRANT, 5000, None], "an id"),
        ([GRANT, 5000], "grant takes 2 arguments, not 1"), ([REVOKE], "revoke takes 1 arguments"),
        ([REVOKE, 0], "the id of a lease is a number from 1"), ([REVOKE, b"x"], "the id of a"),
        ([KEEPALIVE, []], "a list of 1 to 1000 ids"), ([KEEPALIVE, 7], "a list of 1 to 1000"),
        ([KEEPALIVE, [1] * 1001], "a list of 1 to 1000"), ([KEEPALIVE, [1, -1]], "the id of a"),
        ([PUT, b"k", b"v", 0], "the id of a lease"), ([PUT, b"", b"v", 1], "the key is empty"),
        ([PUT, b"k", b"v", 1, 1], "put takes 2 arguments, not 4"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(command, words):
    with pytest.raises(LimitError, match=words):
        admitted(command)


def test_they_belong_into_a_session():
    with pytest.raises(LimitError, match="grant belongs into a session that was opened"):
        admitted([GRANT, 5000, 0], session=0)


RENEWED = (0, 0, (5000, 0, 7000))


@pytest.mark.parametrize("result", [RENEWED, (0, 0, (5000,)), (0, 0, (1, 2)), (5, 0, (9, RENEWED))])
def test_an_answer_has_a_number_for_each_lease(result):
    answer = WriteAnswer(3, 9, [result])
    assert decode_answer(encode_client(answer, "c"), "c") == answer


@pytest.mark.parametrize("detail", [(), (1, -1), (1,) * 1001, (b"x",), (1, 2, b"x"), ("x", 1)])
def test_other_answers_are_refused(detail):
    with pytest.raises(WireError):
        decode_answer(encode_client(WriteAnswer(3, 9, [(0, 0, detail)]), "c"), "c")


INFO = LeaseInfo(5, 5000, 12, 3, "anna", [b"a", b"\x00"], "app1")


@pytest.mark.parametrize(
    "query",
    [
        [4, 0, True],
        [4, FIRST_ID, False],
        [5, 0, 0],
        [5, FIRST_ID, 100],
        [4, 7, True, True],
        [5, 0, 0, True],
    ],
)
def test_queries_go_there_and_back(query):
    request = ReadRequest(3, 0, [query, [1, b"k"]])
    assert decode_request(encode_client(request, "c"), "c") == request


@pytest.mark.parametrize(
    "query",
    [
        [4, 1],
        [4, 1, 1],
        [4, -1, True],
        [5, 0, False],
        [5, 0, -1],
        [4, b"1", True],
        [6, 1, 1],
        [4, 1, True, False],
        [5, 0, 0, 1],
        [5, 0, 0, True, True],
        [4, 1, True, b"x"],
    ],
)
def test_other_queries_are_refused(query):
    with pytest.raises(WireError):
        decode_request(encode_client(ReadRequest(3, 0, [query]), "c"), "c")


def test_what_is_no_query_is_refused_in_few_words():
    with pytest.raises(WireError) as refused:
        decode_request(encode_client(ReadRequest(3, 0, [[7, bytes(500)]]), "c"), "c")
    assert len(str(refused.value)) < 300


def test_answers_to_queries_go_there_and_back():
    page = LeasePage([INFO, INFO._replace(keys=[])], 5, 70)
    answer = ReadAnswer(3, 9, 4, 0, [INFO, None, page])
    assert decode_answer(encode_client(answer, "c"), "c") == answer


def test_a_node_of_before_does_not_say_who_owns_a_lease():
    row = LeaseRow(*INFO[:6])
    answer = ReadAnswer(3, 9, 4, 0, [row, LeasePage([row], 0, 1)])
    known = INFO._replace(owner=None)
    decoded = decode_answer(encode_client(answer, "c"), "c")
    assert decoded == answer._replace(results=[known, LeasePage([known], 0, 1)])


@pytest.mark.parametrize("row", [INFO._replace(owner=3), (*INFO, "x")])
def test_other_leases_are_refused(row):
    with pytest.raises(WireError):
        decode_answer(encode_client(ReadAnswer(3, 9, 4, 0, [row]), "c"), "c")
