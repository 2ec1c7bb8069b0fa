"""paxosctl auth rotate --finish: not while the old key is seen to be in use."""

import json

import pytest

from paxosctl.auth.finishing import finish_objection
from paxosctl.cli.survey import NodeView
from paxosctl.client.errors import NotSubmittedError
from paxosd.core.rights import Principal, admin_of
from paxosd.core.status import NodeStatus, SecurityStatus
from paxosd.net.key_files import key_text, make_key
from tests.ctl.auth.test_verbs import auth, begun, json_of, keyed, let_in

__all__ = ["auth", "begun", "keyed"]  # fixtures
OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
NODE = Principal("n2", "peer", keys=(NEW, OLD))


def view(name="n2", key=None, error=None):
    status = None if error else NodeStatus(node=name, security=key and SecurityStatus(key=key))
    return NodeView(name, f"tcp://{name}:1", status, error)


SILENT = view(error=NotSubmittedError("timeout", "n2 does not answer"))


@pytest.mark.parametrize(
    ("who", "views", "own_key", "words"),
    [
        (NODE, [view(key=key_text(NEW))], OTHER, ""),
        (NODE, [view(key=key_text(OLD))], OTHER, "still proves itself by an older key"),
        (NODE, [view("n1", key=key_text(OTHER)), view(key=key_text(OLD))], OTHER, "still proves"),
        (NODE, [SILENT], OTHER, "nobody knows whether it has its new key yet"),
        (NODE, [], OTHER, ""),  # no member
        (NODE, [view()], OTHER, ""),  # of a version without keys
        (NODE._replace(keys=(NEW,)), [view(key=key_text(OLD))], OTHER, ""),  # nothing goes
        (admin_of("alice", (NEW, OLD)), [], OLD, "asked with an old key of alice"),
        (admin_of("alice", (NEW, OLD)), [], NEW, ""),
        (admin_of("alice", (NEW, OLD)), [], OTHER, ""),
    ],
)
def test_what_speaks_against_it(who, views, own_key, words):
    found = finish_objection(who, views, own_key)
    assert words in found
    assert bool(words) == bool(found)


def test_who_asks_with_its_old_key_is_not_shut_out(begun, keyed, tmp_path):
    json_of(begun("rotate", "root", "-o", "new.key"))
    key = let_in(keyed, str(tmp_path / "new.key"))
    code, _, err = begun("rotate", "root", "--finish")
    assert code == 1
    assert "nothing was done" in err
    assert "--force" in err
    assert len(keyed.machine.rights.named("root").keys) == 2
    json_of(begun("rotate", "root", "--finish", key="new"))
    assert keyed.machine.rights.named("root").keys == (key.public_key,)


def test_a_node_that_still_has_its_old_key_is_not_cut_off_but_by_force(begun, keyed):
    fresh, former = make_key("n1", "peer", "test"), keyed.key.public_key
    keyed.security_key = key_text(former)
    json_of(begun("rotate", "n1", "--public-key", key_text(fresh.public_key)))
    shown = json_of(begun("show", "n1"))
    assert shown["keys"] == [key_text(fresh.public_key), key_text(former)], "the newest first"
    code, _, err = begun("rotate", "n1", "--finish")
    assert code == 1
    assert "n1 still proves itself by an older key" in json.loads(err)["message"]
    assert len(keyed.machine.rights.named("n1").keys) == 2
    keyed.security_key = key_text(fresh.public_key)
    json_of(begun("rotate", "n1", "--finish"))
    assert json_of(begun("show", "n1"))["keys"] == [key_text(fresh.public_key)]
    assert json_of(begun("list"))["revoked"] == [key_text(former)]


def test_force_goes_with_it(begun, keyed):
    fresh = make_key("n1", "peer", "test")
    keyed.security_key = key_text(keyed.key.public_key)
    json_of(begun("rotate", "n1", "--public-key", key_text(fresh.public_key)))
    json_of(begun("rotate", "n1", "--finish", "--force"))
    assert keyed.machine.rights.named("n1").keys == (fresh.public_key,)
    assert begun("rotate", "n1", "--finish", "-o", "x.key")[0] == 2


def test_list_and_show_are_right_at_each_moment(begun, keyed, tmp_path):
    def seen(name):
        row = next((e for e in json_of(begun("list"))["principals"] if e["name"] == name), None)
        if row is not None:
            assert json_of(begun("show", name)) == row
        return row and row["keys"]

    assert seen("app1") is None
    json_of(begun("new", "app1", "--write", "/app/"))
    old = key_text(let_in(keyed, "app1").public_key)
    assert seen("app1") == [old]
    json_of(begun("rotate", "app1", "-o", "new.key"))
    new = key_text(let_in(keyed, str(tmp_path / "new.key")).public_key)
    assert seen("app1") == [new, old]
    for key in ("app1", "new"):  # it sees itself, by either
        shown = json_of(begun("show", "app1", key=key))
        assert shown["keys"] == [new, old]
    json_of(begun("rotate", "app1", "--finish"))
    assert seen("app1") == [new]
    assert json_of(begun("list"))["revoked"] == [old]
    assert json_of(begun("rotate", "app1", "--finish"))["changed"] == [], "done already"
    json_of(begun("revoke", "app1"))
    assert seen("app1") is None
    assert json_of(begun("list"))["revoked"] == sorted([old, new])
