"""No kind of request is forgotten by the rights: what the wire lets in is known to the permissions,
and to the matrix of who may do what."""

from itertools import product

import pytest

from paxosd.core import commands as c
from paxosd.core import requests as r
from paxosd.core.admin_verbs import COMMAND_PERMISSIONS
from paxosd.core.commands import Entry
from paxosd.core.effects import FORBIDDEN
from paxosd.core.rights import Principal
from paxosd.core.state import rights_check
from paxosd.wire import WireError, client, encode_entry, entry
from tests.replica import test_rights_matrix as matrix
from tests.replica.rights_site import KEYS, OUT, Site

OPS_MAX = 80
ARGUMENTS = (b"k", 1, [1])
PUT_OUT = encode_entry(Entry(1, 1, 0, [[c.PUT, OUT, b"x"]]))
MESSAGES = {
    r.WriteRequest: r.WriteRequest(1, PUT_OUT),
    r.ForwardRequest: r.ForwardRequest(1, PUT_OUT),
    r.VouchedRequest: r.VouchedRequest(1, PUT_OUT, KEYS["admin"]),
    r.ReadRequest: r.ReadRequest(1, r.STALE, [[r.GET, OUT]]),
    r.HistoryRequest: r.HistoryRequest(1, OUT, OUT + b"\0", 1, 0),
    r.AdminRequest: r.AdminRequest(1, "status", {}),
}


def is_taken(check, value):
    try:
        check(value)
    except WireError:
        return False
    return True


def ops_taken(check, arguments_max):
    """The numbers that something begins with which the wire takes."""
    return {
        op
        for op in range(OPS_MAX)
        for count in range(arguments_max + 1)
        for arguments in product(ARGUMENTS, repeat=count)
        if is_taken(check, (op, *arguments))
    }


@pytest.mark.parametrize("who", ["none", "stranger", "revoked"])
def test_each_kind_of_request_wants_a_known_key(who):
    assert MESSAGES.keys() == {build for build, _ in client._REQUESTS.values()}
    for message in MESSAGES.values():
        answer = Site(True).ask(who, message)
        assert (type(answer), answer.code) == (r.RefusalAnswer, FORBIDDEN), message


def test_each_command_of_a_session_has_its_rights():
    taken = {c.TXN} | entry._FORMS.keys() | entry._LEASE_FORMS.keys() | entry._KEYED_FORMS.keys()
    in_matrix = {make(b"k")[0] for make, _ in matrix.COMMANDS.values()}
    in_matrix |= {make(1)[0] for make in matrix.LEASES.values()} | {c.GRANT, c.CLOSE}
    assert taken - entry._SESSIONLESS == set(rights_check._CHECKS) == in_matrix


def test_each_command_of_session_0_has_its_rights():
    assert set(entry._SESSIONLESS) == set(COMMAND_PERMISSIONS)


def test_each_query_has_its_rights():
    taken = {*ops_taken(client._query, 4), r.RANGE, r.LEASE}  # these two take true and false
    in_matrix = {make(b"k")[0] for make in matrix.QUERIES.values()} | {r.LEASE, r.LEASES}
    assert taken == in_matrix


def test_a_query_that_the_rights_do_not_know_is_refused():
    """Its arguments may mean anything, even where they look like a range that may be read."""
    site = Site(True)
    for op in set(range(OPS_MAX)) - {r.GET, r.RANGE, r.COUNT, r.NEWEST, r.LEASE, r.LEASES}:
        refusal = site.permissions.read_refusal(KEYS["client"], [[op, b"/app/a", b"/app/b"]])
        assert refusal is not None, op


def test_a_command_that_the_rights_do_not_know_is_denied():
    holder = Principal("x", "client", (b"/app/",), (b"/app/",))
    for op in set(range(OPS_MAX)) - set(rights_check._CHECKS):
        assert not rights_check.may_do(holder, [op, b"/app/a", b"/app/b"]), op
