"""A change of the rights that leaves too few voters with a key is the last one that there is: it is
not proposed."""

from dataclasses import replace

import pytest

from paxosd.core.commands import RIGHTS, Entry, Status
from paxosd.core.effects import INVALID
from paxosd.core.membership import Member, Membership
from paxosd.core.requests import WriteAnswer, WriteRequest
from paxosd.core.rights import Principal
from paxosd.wire import encode_entry
from tests.replica.rights_site import KEYS, Site, table_of

NAMES = ("n1", "n2", "n3")
NODE_KEYS = {name: bytes([number]) * 32 for number, name in enumerate(NAMES, 101)}


def site_of(trusted=(), **sizes):
    site = Site(required=True)
    members = {name: Member("tcp://h:1", "tcp://h:2", "tcp://h:3") for name in NAMES}
    members["l1"] = Member("tcp://h:1", "tcp://h:2", "tcp://h:3", voter=False)
    site.node.membership = Membership(members, epoch=1, slot=1, **sizes)
    site.permissions._held_by._peers = {name: NODE_KEYS[name] for name in trusted}
    return site


def ask(site, *names, revoked=()):
    """The answer to an admin's table, in which these nodes have their keys."""
    table = table_of(True)
    nodes = [Principal(name, "peer", keys=(NODE_KEYS[name],)) for name in names]
    others = tuple(sorted((*table.principals, *nodes), key=lambda each: each.name))
    gone = table.revoked | {NODE_KEYS[name] for name in revoked}
    document = replace(table, principals=others, revoked=gone).to_command()
    command = [RIGHTS, site.machine.rights.version, document, b""]
    return site.ask("admin", WriteRequest(1, encode_entry(Entry(0, 1, 0, [command]))))


def done(answer):
    return isinstance(answer, WriteAnswer) and answer.results[0][0] == Status.OK


def test_one_of_three_may_lose_its_key_and_not_the_second():
    site = site_of()
    assert done(ask(site, *NAMES))
    assert done(ask(site, "n1", "n3", revoked=["n2"]))
    before = site.state()
    answer = ask(site, "n1", revoked=["n2", "n3"])
    assert answer.code == INVALID
    assert "n3 would have no key any more" in answer.message
    assert "1 of 3 voters" in answer.message
    assert "auth rotate n3 --public-key KEY" in answer.message
    assert site.state() == before
    assert done(ask(site, "n1", "n3")), "a table that takes it back"


def test_a_key_of_the_trust_file_counts_unless_it_is_revoked():
    site = site_of(trusted=NAMES)
    assert done(ask(site, *NAMES))
    assert done(ask(site)), "the trust file still has them"
    assert done(ask(site, "n2", "n3"))
    assert ask(site, revoked=["n2", "n3"]).code == INVALID


def test_the_larger_quorum_counts():
    site = site_of(phase1=3, phase2=1)
    assert done(ask(site, *NAMES))
    assert ask(site, "n1", "n3").code == INVALID


def test_where_nodes_have_no_keys_nothing_is_lost():
    site = site_of()
    assert done(ask(site))
    assert done(ask(site, "n1")), "one after the other, as a cluster is switched over"
    assert ask(site).code == INVALID


@pytest.mark.parametrize("name", ["peer", "client"])
def test_nobody_else_is_asked_about_it(name):
    site = site_of()
    document = table_of(True).to_command()
    command = [RIGHTS, site.machine.rights.version, document, KEYS["admin"]]
    answer = site.ask(name, WriteRequest(1, encode_entry(Entry(0, 1, 0, [command]))))
    assert answer.code == "forbidden"
