"""Histories in the forms of Elle, Knossos and Porcupine."""

import json

import pytest

from paxosd.check.export import NEVER_NS, export
from paxosd.check.history import CAS, DELETE, GET, PUT, RANGE, TXN, History
from paxosd.core import commands
from paxosd.core.transactions import ADD, EQUAL, GET_KEY, VALUE


@pytest.fixture
def history():
    made = History()
    first = made.invoke("a", PUT, b"k", value=b'v"1')
    read = made.invoke("b", GET, b"k")
    made.ok(first, revision=1)
    made.ok(read, None, revision=0, modified=(0,))
    made.ok(made.invoke("b", GET, b"k"), b'v"1', revision=1, modified=(1,))
    made.ok(made.invoke("a", CAS, b"k", expect=b"x", value=b"y"), False, modified=(1,))
    made.ok(made.invoke("a", RANGE, b"k", end=b"l"), ((b"k", b'v"1'),), revision=1, modified=(1,))
    made.failed(made.invoke("b", DELETE, b"\xff"))
    made.invoke("b", PUT, b"k", value=b"z")
    return made


def test_elle(history):
    assert list(export(history.operations, "elle")) == [
        '{:type :invoke, :f :txn, :value [[:w "k" "v\\"1"]], :process 0, :time 1000, :index 0}',
        '{:type :invoke, :f :txn, :value [[:r "k" nil]], :process 1, :time 2000, :index 1}',
        '{:type :ok, :f :txn, :value [[:w "k" "v\\"1"]], :process 0, :time 3000, :index 2}',
        '{:type :ok, :f :txn, :value [[:r "k" nil]], :process 1, :time 4000, :index 3}',
        '{:type :invoke, :f :txn, :value [[:r "k" nil]], :process 1, :time 5000, :index 4}',
        '{:type :ok, :f :txn, :value [[:r "k" "v\\"1"]], :process 1, :time 6000, :index 5}',
        '{:type :invoke, :f :txn, :value [[:w "k" "y"]], :process 0, :time 7000, :index 6}',
        '{:type :fail, :f :txn, :value [[:w "k" "y"]], :process 0, :time 8000, :index 7}',
        '{:type :invoke, :f :txn, :value [[:r "k" nil]], :process 0, :time 9000, :index 8}',
        '{:type :ok, :f :txn, :value [[:r "k" "v\\"1"]], :process 0, :time 10000, :index 9}',
        "{:type :invoke, :f :txn, :value [], :process 1, :time 11000, :index 10}",
        "{:type :fail, :f :txn, :value [], :process 1, :time 12000, :index 11}",
        '{:type :invoke, :f :txn, :value [[:w "k" "z"]], :process 1, :time 13000, :index 12}',
        f'{{:type :info, :f :txn, :value [[:w "k" "z"]], :process 1, '
        f":time {NEVER_NS // 1000 * 1000}, :index 13}}",
    ]


def test_knossos(history):
    lines = list(export(history.operations, "knossos"))
    assert lines[0] == (
        '{:type :invoke, :f :write, :value ["k" :none], :process 2, :time 0, :index 0}'
    )
    assert lines[1] == lines[0].replace(":invoke", ":ok").replace(":index 0", ":index 1")
    assert lines[4] == (
        '{:type :invoke, :f :write, :value ["k" "v\\"1"], :process 0, :time 1000, :index 4}'
    )
    assert ':type :fail, :f :cas, :value ["k" ["x" "y"]]' in lines[11]
    assert len(lines) == 16, "without the range"


def test_knossos_is_given_no_read_of_nil_for_one_that_found_no_key():
    """It would let such a read pass wherever it stands."""
    made = History()
    made.ok(made.invoke("a", GET, b"k"), None, modified=(0,))
    made.ok(made.invoke("a", CAS, b"k", expect=None, value=b"1"), True, revision=1)
    made.ok(made.invoke("a", DELETE, b"k"), True, revision=2)
    answered = [
        line.split(":f ")[1].split(", :process")[0]
        for line in export(made.operations, "knossos")
        if ":type :ok" in line
    ]
    assert answered == [
        ':write, :value ["k" :none]',
        ':read, :value ["k" :none]',
        ':cas, :value ["k" [:none "1"]]',
        ':write, :value ["k" :none]',
    ]


@pytest.mark.parametrize(
    ("form", "words"), [("elle", '[[:w "k" "2"]]'), ("knossos", ':write, :value ["k" "2"]')]
)
def test_a_cas_of_a_revision_is_not_left_out(form, words):
    """Who reads what it wrote would have read what nobody wrote."""
    made = History()
    made.ok(made.invoke("a", CAS, b"k", value=b"2", expect_revision=7), True, revision=8)
    made.ok(made.invoke("a", CAS, b"k", value=b"3", expect_revision=7), False, modified=(8,))
    lines = list(export(made.operations, form))[-4:]
    assert words in lines[0]
    assert words in lines[1]
    assert [line.split(",")[0] for line in lines] == [
        "{:type :invoke", "{:type :ok", "{:type :invoke", "{:type :fail",
    ]  # fmt: skip


def test_porcupine(history):
    rows = [json.loads(line) for line in export(history.operations, "porcupine")]
    assert rows[0] == {
        "client": 0,
        "input": {"op": "put", "key": "k", "end": "", "value": 'v"1', "expect": None,
                  "expect_revision": -1},
        "call": 1000,
        "output": {"result": None, "revision": 1},
        "return": 3000,
    }  # fmt: skip
    assert (rows[-1]["return"], rows[-1]["output"]) == (NEVER_NS, None)
    assert [row["input"]["op"] for row in rows] == ["put", "get", "get", "cas", "range", "put"]


@pytest.fixture
def shared():
    """Keys a and b are shared by transactions, z is not."""
    made = History()
    compare, put = [VALUE, EQUAL, b"a", None], [commands.PUT, b"a", b"1"]
    nested = [commands.TXN, [[VALUE, EQUAL, b"b", b"x"]], [], [[ADD, b"b", 2]]]
    look = [[GET_KEY, b"a"], [GET_KEY, b"b"]]
    command = [commands.TXN, [compare], [*look, put, nested], [[commands.DELETE, b"b"]]]
    done = made.invoke("t", TXN, b"", command=command)
    made.ok(done, (1, (None, None, 1, (0, (2,)))), revision=1)
    missed = made.invoke("t", TXN, b"", command=command)
    made.ok(missed, (0, (1,)), revision=2)
    made.invoke("t", TXN, b"", command=command)
    for key in (b"a", b"z"):
        made.ok(made.invoke("t", PUT, key, value=b"v"), revision=3)
    made.expects("lease 7", [commands.REVOKE, 7], 100)
    return made


def test_transactions_for_elle(shared):
    lines = [line.split(", :time")[0] for line in export(shared.operations, "elle")]
    values = [line.split(":value ")[1] for line in lines]
    unknown = '[[:r "a" nil] [:r "b" nil]], :process 0'
    assert values == [
        '[[:r "a" nil] [:r "a" nil]], :process 0',
        '[[:r "a" nil] [:r "a" nil]], :process 0',
        "[], :process 0",
        "[], :process 0",
        unknown,
        '[[:w "a" "v"]], :process 1',
        '[[:w "a" "v"]], :process 1',
        '[[:w "z" "v"]], :process 1',
        '[[:w "z" "v"]], :process 1',
        "[], :process 2",
        unknown,
        "[], :process 2",
    ], "a = 1 may be written twice; b may be removed from the begin on, and a sum of it is unknown"
    assert ":type :info" in lines[-2], "it may yet be done, and its client is another process since"


def test_knossos_gets_no_key_that_transactions_share(shared):
    lines = list(export(shared.operations, "knossos"))
    assert [line.split(":value ")[1].split(", :process")[0] for line in lines] == [
        '["z" :none]', '["z" :none]', '["z" "v"]', '["z" "v"]',
    ]  # fmt: skip


def test_transactions_for_porcupine(shared):
    rows = [json.loads(line) for line in export(shared.operations, "porcupine")]
    assert rows[0]["input"] == {
        "op": "txn",
        "command": [15, [[1, 1, "a", None]],
                    [[64, "a"], [64, "b"], [1, "a", "1"],
                     [15, [[1, 1, "b", "x"]], [], [[66, "b", 2]]]],
                    [[2, "b"]]],
    }  # fmt: skip
    assert rows[0]["output"] == {"result": [1, [None, None, 1, [0, [2]]]], "revision": 1}
    assert (rows[2]["output"], rows[2]["return"]) == (None, NEVER_NS)
    assert rows[-1]["input"] == {"op": "txn", "command": [14, 7]}
    assert [row["client"] for row in rows] == [0, 0, 0, 1, 1, 2]
