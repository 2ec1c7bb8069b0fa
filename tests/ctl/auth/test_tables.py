"""Changes of the rights table, each by itself."""

import pytest

from paxosctl.auth import tables
from paxosctl.auth.tables import ChangeError
from paxosd.core.rights import NO_RIGHTS, Principal, admin_of


def key(number):
    return bytes([number]) * 32


FIRST = tables.first_table(NO_RIGHTS, "root", key(1), {"n1": (key(11),), "n2": (key(12),)})


@pytest.fixture
def table():
    return tables.new(FIRST, Principal("app1", "client", (b"/app/",), (b"/app/jobs/",), (key(2),)))


def test_the_first_table_requires_rights_and_has_the_admin_and_the_nodes():
    assert (FIRST.version, FIRST.required) == (1, True)
    assert [(each.name, each.role) for each in FIRST.principals] == [
        ("n1", "peer"), ("n2", "peer"), ("root", "admin")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((FIRST, "root", key(1), {"n1": (key(11),)}), "has a rights table already, of version 1"),
        ((NO_RIGHTS, "root", key(1), {"n1": ()}), "no key is known of n1"),
        ((NO_RIGHTS, "n1", key(1), {"n1": (key(11),)}), "n1 is the name of a node"),
        ((NO_RIGHTS, "root", key(1), {"n1": (key(1),)}), "have the same key"),
    ],
)
def test_what_cannot_be_a_first_table(given, words):
    with pytest.raises(ChangeError, match=words):
        tables.first_table(*given)


def test_a_name_and_a_key_are_there_once(table):
    with pytest.raises(ChangeError, match="a principal app1 already"):
        tables.new(table, Principal("app1", "client", keys=(key(3),)))
    with pytest.raises(ChangeError, match="the same key"):
        tables.new(table, Principal("app2", "client", keys=(key(2),)))


def test_a_principal_that_is_revoked_is_gone_and_its_keys_are_nobodys(table):
    after = tables.revoke(table, "app1")
    assert after.named("app1") is None
    assert after.revoked == {key(2)}
    assert after.version == table.version + 1
    with pytest.raises(ChangeError, match="is revoked"):
        tables.new(after, Principal("app2", "client", keys=(key(2),)))


def test_one_of_its_keys_can_be_revoked(table):
    both = tables.rotate(table, "app1", key(3))
    after = tables.revoke(both, "app1", key(2))
    assert after.named("app1").keys == (key(3),)
    with pytest.raises(ChangeError, match="no such key"):
        tables.revoke(after, "app1", key(9))


def test_the_last_admin_stays(table):
    for attempt in (
        lambda: tables.revoke(table, "root"),
        lambda: tables.revoke(table, "root", key(1)),
        lambda: tables.change(table, Principal("root", "client", keys=(key(1),))),
    ):
        with pytest.raises(ChangeError, match="the last admin with a key"):
            attempt()
    more = tables.new(table, admin_of("other", (key(4),)))
    assert tables.revoke(more, "root").named("root") is None


def test_rotation_puts_a_key_beside_the_old_one_and_then_takes_that_away(table):
    both = tables.rotate(table, "app1", key(3))
    assert both.named("app1").keys == (key(3), key(2))
    after = tables.finish(both, "app1")
    assert after.named("app1").keys == (key(3),)
    assert after.revoked == {key(2)}
    assert tables.finish(after, "app1") is after
    assert tables.rotate(after, "app1", key(3)) is after
    for number in (4, 5, 6):
        after = tables.rotate(after, "app1", key(number))
    with pytest.raises(ChangeError, match="--finish"):
        tables.rotate(after, "app1", key(7))


def test_a_node_stays_a_node(table):
    with pytest.raises(ChangeError, match="a node's key"):
        tables.change(table, Principal("n1", "client", keys=(key(11),)))
    with pytest.raises(ChangeError, match="there is no principal nobody"):
        tables.change(table, Principal("nobody", "client"))


def test_rights_can_be_lifted_and_required_again(table):
    off = tables.require(table, on=False)
    assert not off.required
    on = tables.require(off, on=True, unconfirmed_ms_max=5000)
    assert (on.required, on.unconfirmed_ms_max) == (True, 5000)
    assert tables.require(on, on=True) is on
    with pytest.raises(ChangeError, match="unconfirmed_ms_max"):
        tables.require(on, on=True, unconfirmed_ms_max=1)
    with pytest.raises(ChangeError, match="needs an admin"):
        tables.require(NO_RIGHTS, on=True)


def test_the_words_for_a_change_name_everything_that_changes(table):
    assert tables.differences(FIRST, table) == ["app1 is new: client"]
    after = tables.finish(tables.rotate(table, "app1", key(3)), "app1")
    after = tables.change(after, after.named("app1")._replace(read=(b"/other/",)))
    after = tables.require(after, on=False, unconfirmed_ms_max=5000)
    assert tables.differences(table, after) == [
        "app1: read changed",
        "app1: keys changed",
        "rights are not required any more",
        "a node that is cut off serves for 5000 ms",
        "1 key is revoked",
    ]
    assert tables.differences(table, tables.revoke(table, "app1"))[0].startswith("app1 is gone")
    assert tables.differences(table, table) == []
