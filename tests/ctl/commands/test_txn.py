"""txn and incr, several keys in one get, and writes with a fence or the value before: as verbs and
as calls of a client."""

import json
import re

import pytest

from paxosctl.cli.transaction_text import TextError, parse_transaction
from paxosctl.client import Client, Compare, FencedOffError, Operation, RefusedError, TxnResult
from paxosctl.client.guarded import CasPrevResult, DeleteResult
from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import KeyValue
from paxosd.core.requests import RangePage


@pytest.fixture(autouse=True)
def level(daemon):
    daemon.machine.settings = ClusterSettings(version=1, level=LEVEL_COORDINATION)


@pytest.fixture
def client(daemon):
    with Client([daemon.endpoint]) as connected:
        yield connected


READABLE = rb"""
# a comment
if value state = idle            # another one
if none jobs/
if every version jobs/ > 3
put state "\x00 \"busy\"\n"
add runs 2
begin
  if some create lock/ = 7
  get state
else
  scan "" limit 3 reverse keys-only
end
else
delete state
delete-prefix jobs/
"""
IN_JSON = json.dumps(
    {
        "if": [["value", "state", "=", "idle"], ["none", "jobs/"],
               ["every", "version", "jobs/", ">", 3]],
        "then": [
            ["put", "state", {"b64": "ACAiYnVzeSIK"}],
            ["add", "runs", "2"],
            {"if": [["some", "create", "lock/", "=", "7"]], "then": [["get", "state"]],
             "else": [["scan", "", "limit", 3, "reverse", "keys-only"]]},
        ],
        "else": [["delete", "state"], ["delete-prefix", "jobs/"]],
    }
).encode()  # fmt: skip
BUILT = (
    [
        Compare.value(b"state", "=", b"idle"),
        Compare.absent(b"jobs/", prefix=True),
        Compare.number("version", b"jobs/", ">", 3, prefix=True),
    ],
    [
        Operation.put(b"state", b'\0 "busy"\n'),
        Operation.add(b"runs", 2),
        Operation.txn(
            [Compare.number("create", b"lock/", "=", 7, prefix=True, some=True)],
            [Operation.get(b"state")],
            [Operation.scan(b"", limit=3, reverse=True, keys_only=True)],
        ),
    ],
    [Operation.delete(b"state"), Operation.delete_prefix(b"jobs/")],
)


@pytest.mark.parametrize("text", [READABLE, IN_JSON], ids=["readable", "json"])
def test_both_forms_say_the_same(text):
    assert parse_transaction(text) == BUILT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"put k", "line 1: 'put' with 1 arguments"),
        (b"\nfly k", "line 2: 'fly'"),
        (b"get k\nif exists k", "line 2: conditions come before"),
        (b'put k "v', "line 1: quotes"),
        (b'put k "\\q"', "line 1: no escape is"),
        (b"if value k ~ v", "there is no operator '~'"),
        (b"if size k = 3", "nothing of a key is called 'size'"),
        (b"if version k = x", "'x' is no number"),
        (b"begin\nget k", "has no end"),
        (b'{"when": []}', "a transaction is"),
        (b"{", "it is no JSON"),
        (b'{"then": ["get k"]}', "a list of its words"),
        (b'{"if": [["absent", "k"]], "if": [], "then": [["put", "k", "v"]]}', "comes twice"),
        (b'{"then": [' * 2000 + b"]}" * 2000, "at most 3 deep"),
        (b"begin\n" * 2000 + b"end\n" * 2000, "at most 3 deep"),
    ],
)
def test_what_is_none_is_refused_with_its_line(text, words):
    with pytest.raises(TextError, match=re.escape(words)):
        parse_transaction(text)


def test_a_transaction_from_standard_input_and_from_a_file(ctl, tmp_path):
    ctl("put", "state", "idle")
    code, out, err = ctl("txn", "-o", "json", stdin=READABLE)
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "succeeded": True,
        "revision": 2,
        "results": [
            1,
            2,
            {
                "succeeded": False,
                "revision": 2,
                "results": [
                    {
                        "rows": [
                            {"key": "state", "value": "", "create_revision": 1,
                             "modify_revision": 2, "version": 2},
                            {"key": "runs", "value": "", "create_revision": 2,
                             "modify_revision": 2, "version": 1},
                        ],
                        "more": None,
                    }
                ],
            },
        ],
    }  # fmt: skip
    file = tmp_path / "again"
    file.write_bytes(READABLE)
    code, out, err = ctl("txn", str(file))
    assert code == 1
    assert out == "" or out.startswith("else, revision 3")
    assert "the conditions did not hold" in err
    assert ctl("get", "state")[0] == 1


def test_what_cannot_be_done_is_said(ctl, tmp_path):
    assert ctl("txn", str(tmp_path / "none"))[0] == 74
    assert "line 1" in ctl("txn", stdin=b"put k")[2]
    code, _, err = ctl("txn", stdin=b"begin\n" * 4 + b"end\n" * 4)
    assert (code, "at most 3 deep" in err) == (2, True)
    ctl("put", "k", "text")
    code, _, err = ctl("incr", "k")
    assert (code, "no decimal number" in err) == (77, True)


def test_below_the_level_it_is_refused_in_words(ctl, daemon):
    daemon.machine.settings = ClusterSettings(version=1, level=LEVEL_COORDINATION - 1)
    code, _, err = ctl("incr", "n")
    assert (code, "feature level 4" in err) == (77, True)


def test_incr(ctl):
    assert ctl("incr", "n") == (0, "1\n", "")
    assert ctl("incr", "n", "--by", "-5", "-o", "json") == (0, '{"value": -4}\n', "")
    ctl("put", "n", "--", "-0")
    assert ctl("incr", "n", "--by", "0") == (0, "0\n", "")
    assert ctl("get", "n") == (0, "0\n", "")


def test_several_keys(ctl, client):
    ctl("put", "a", "1")
    ctl("put", "b", "2")
    assert ctl("get", "b", "a", "-o", "plain") == (0, "b\t2\na\t1\n", "")
    code, _out, err = ctl("get", "a", "no", "b")
    assert (code, "no such key: no" in err) == (1, True)
    assert ctl("get", "a", "b", "--prefix")[0] == 2
    assert client.get_many([b"b", b"no"]) == {b"b": KeyValue(b"b", b"2", 2, 2, 1), b"no": None}
    assert client.get_many([]) == {}


def test_a_write_with_a_fence_that_does_not_hold_changes_nothing(ctl, client):
    token = client.put(b"lock/1", b"me")
    fence = f"lock:{token}"
    assert ctl("put", "k", "1", "--fence", fence) == (0, "revision 2\n", "")
    assert ctl("cas", "k", "2", "--expect-value", "1", "--fence", fence)[0] == 0
    assert ctl("cas", "k", "3", "--expect-value", "1", "--fence", fence)[0] == 1
    client.delete(b"lock/1")
    client.put(b"lock/2", b"another")
    for command in (
        ("put", "k", "9"),
        ("delete", "k"),
        ("cas", "k", "9", "--expect-value", "2"),
        ("cas", "k", "9", "--expect-revision", "3"),
    ):
        code, out, err = ctl(*command, "--fence", fence)
        assert (code, out) == (76, ""), command
        assert 'the lock "lock" is not held with token 1 any more' in err
    with pytest.raises(FencedOffError):
        client.cas_value(b"k", b"2", b"9", fence=(b"lock", token))
    assert client.get(b"k") == KeyValue(b"k", b"2", 2, 3, 2)
    assert client.delete(b"k", fence=(b"lock", 5)) == 6
    assert ctl("put", "k", "1", "--fence", "lock")[0] == 2


def test_the_value_before(ctl, client):
    assert ctl("put", "k", "1", "--prev") == (0, "revision 1; no such key before\n", "")
    _code, out, _ = ctl("put", "k", "2", "--prev", "-o", "json")
    assert json.loads(out)["prev"] == {
        "key": "k", "value": "1", "create_revision": 1, "modify_revision": 1, "version": 1,
    }  # fmt: skip
    missed = client.guarded_cas(b"k", Compare.value(b"k", "=", b"1"), b"3", prev=True)
    assert missed == CasPrevResult(False, 2, KeyValue(b"k", b"2", 1, 2, 2))
    assert client.guarded_delete(b"k", prev=True) == DeleteResult(3, missed.prev)
    assert client.guarded_delete(b"k", prev=True) == DeleteResult(None, None)


def test_results_are_typed(client):
    client.put(b"a", b"1")
    result = client.txn(
        [Compare.exists(b"a")],
        [
            Operation.get(b"a"),
            Operation.get(b"b"),
            Operation.scan(b"", limit=1),
            Operation.txn([Compare.absent(b"a")], [], [Operation.delete(b"a")]),
        ],
    )
    row = KeyValue(b"a", b"1", 1, 1, 1)
    assert result == TxnResult(
        True, 2, [row, None, RangePage([row], None), TxnResult(False, 2, [1])]
    )


def test_a_transaction_that_meets_a_limit_is_refused(client):
    client.put(b"n", b"x")
    with pytest.raises(RefusedError, match="no decimal number") as caught:
        client.incr(b"n")
    assert caught.value.code == "txn_refused"
    with pytest.raises(ValueError, match="at most"):
        client.txn(then=[Operation.get(b"k")] * 2000)
