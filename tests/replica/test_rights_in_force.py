"""A node judges by the table that it has applied last, and by no earlier one: also in the turn in
which it applies it, and for what was asked before."""

from dataclasses import replace

import pytest

from paxosd.core.commands import PUT, RIGHTS, Entry
from paxosd.core.effects import BUSY, FORBIDDEN
from paxosd.core.requests import (
    COUNT,
    GET,
    LINEARIZABLE,
    RANGE,
    STALE,
    AdminRequest,
    HistoryRequest,
    ReadRequest,
    RefusalAnswer,
    VouchedRequest,
    WriteRequest,
)
from paxosd.core.work import CLIENT_UNITS
from paxosd.wire import encode_entry
from tests.replica.rights_site import IN, KEYS, OUT, Site, table_of

PUT_IN = encode_entry(Entry(2, 9, 0, [[PUT, IN, b"x"]]))
ASKED = {
    "stale read": ReadRequest(1, STALE, [[GET, IN]]),
    "linearizable read": ReadRequest(1, LINEARIZABLE, [[GET, IN]]),
    "history": HistoryRequest(1, IN, IN + b"\0", 1, 0),
    "status": AdminRequest(1, "status", {}),
}


def table_without(name, *, revoked=True):
    table = table_of(True)
    gone = frozenset(table.named(name).keys) if revoked else frozenset()
    left = tuple(each for each in table.principals if each.name != name)
    return replace(table, principals=left, revoked=table.revoked | gone)


def apply(site, table):
    """The log has this table now, as a message of a peer brings it within a turn."""
    version = site.machine.rights.version
    site.apply(Entry(0, 1, 0, [[RIGHTS, version, table.to_command(), b""]]))
    assert site.machine.rights.version == version + 1


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("revoked", [True, False])
def test_who_is_revoked_is_shown_nothing_in_that_very_turn(asked, revoked):
    site = Site(required=True)
    assert not isinstance(site.ask("client", asked), RefusalAnswer)
    apply(site, table_without("client", revoked=revoked))
    assert site.ask("client", asked).code == FORBIDDEN


def test_a_prefix_that_is_gone_is_so_in_that_very_turn():
    site = Site(required=True)
    table = table_of(True)
    blind = [each._replace(read=()) if each.name == "client" else each for each in table.principals]
    apply(site, replace(table, principals=tuple(blind)))
    for name in ("stale read", "linearizable read", "history"):
        assert site.ask("client", ASKED[name]).code == FORBIDDEN, name


@pytest.mark.parametrize("name", ["stale read", "linearizable read", "history"])
def test_what_was_asked_before_is_judged_again_when_it_is_answered(name):
    """It waits for a turn with time; meanwhile the key is revoked."""
    site = Site(required=True)
    site.machine.work.units = CLIENT_UNITS
    site.answers.clear()
    site.service.receive(b"c", ASKED[name], KEYS["client"])
    assert not site.answers
    apply(site, table_without("client"))
    site.machine.work.units = 0
    site.service.answer_waiting()
    (answer,) = site.answers
    assert (answer.code, site.service.waiting_bytes) == (FORBIDDEN, 0)


def test_who_may_read_a_prefix_now_may_read_its_past():
    """So says docs/RIGHTS.md. And who may not any more may not read it either."""
    site = Site(required=True)
    past = HistoryRequest(1, OUT, OUT + b"\0", 1, 0)
    earlier = ReadRequest(1, STALE, [[GET, OUT, 3]])
    assert [site.ask("client", each).code for each in (past, earlier)] == [FORBIDDEN] * 2
    table = table_of(True)
    more = [each._replace(read=(OUT,)) if each.name == "client" else each
            for each in table.principals]  # fmt: skip
    apply(site, replace(table, principals=tuple(more)))
    for each in (past, earlier):
        assert not isinstance(site.ask("client", each), RefusalAnswer)
    assert site.ask("client", ASKED["history"]).code == FORBIDDEN


def test_who_vouches_is_judged_by_that_table_too():
    site = Site(required=True)
    asked = VouchedRequest(1, PUT_IN, KEYS["client"])
    apply(site, table_without("peer"))
    assert site.ask("peer", asked).code == FORBIDDEN


def test_a_client_that_was_revoked_is_not_one_that_is_yet_to_be_known():
    """Its request would be sent again and again otherwise."""
    site = Site(required=True)
    asked = VouchedRequest(1, PUT_IN, KEYS["client"])
    apply(site, table_without("client"))
    assert site.ask("peer", asked).code == FORBIDDEN
    apply(site, table_without("client", revoked=False))
    assert site.ask("peer", asked).code == BUSY, "it may be new"


def test_a_write_by_a_revoked_key_is_not_even_proposed():
    site = Site(required=True)
    asked = WriteRequest(1, encode_entry(Entry(site.sessions["client"], 9, 0, [[PUT, IN, b"x"]])))
    apply(site, table_without("client"))
    before = site.state()
    assert site.ask("client", asked).code == FORBIDDEN
    assert site.state() == before


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ([GET, OUT], '"/other/x"'),
        ([RANGE, OUT, OUT + b"\0", 1, False], '"/other/x"'),
        ([RANGE, b"/other/", b"/other0", 1, False], 'what begins with "/other/"'),
        ([RANGE, b"", b"", 1, False], "every key"),
        ([COUNT, b"/a", b"/c"], 'from "/a" to "/c"'),
        ([COUNT, b"/a", b""], 'from "/a" on'),
    ],
)
def test_a_refused_read_names_what_was_asked_for(query, words):
    refused = Site(required=True).ask("client", ReadRequest(1, LINEARIZABLE, [query]))
    assert refused.message.startswith(f"client (client) may not read {words} here: ")
