"""Histories in the forms of Elle, Knossos and Porcupine."""

import json

import pytest

from paxosd.check.export import FORMS, NEVER_NS, export, main
from paxosd.check.history import CAS, DELETE, GET, PUT, RANGE, History


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
        '{:type :invoke, :f :txn, :value [[:r "k" "x"] [:w "k" "y"]], :process 0, '
        ":time 7000, :index 6}",
        '{:type :fail, :f :txn, :value [[:r "k" "x"] [:w "k" "y"]], :process 0, '
        ":time 8000, :index 7}",
        "{:type :invoke, :f :txn, :value [], :process 0, :time 9000, :index 8}",
        '{:type :ok, :f :txn, :value [[:r "k" "v\\"1"]], :process 0, :time 10000, :index 9}',
        '{:type :invoke, :f :txn, :value [[:w "b64:/w==" nil]], :process 1, '
        ":time 11000, :index 10}",
        '{:type :fail, :f :txn, :value [[:w "b64:/w==" nil]], :process 1, :time 12000, :index 11}',
        '{:type :invoke, :f :txn, :value [[:w "k" "z"]], :process 1, :time 13000, :index 12}',
        f'{{:type :info, :f :txn, :value [[:w "k" "z"]], :process 1, '
        f":time {NEVER_NS // 1000 * 1000}, :index 13}}",
    ]


def test_knossos(history):
    lines = list(export(history.operations, "knossos"))
    assert lines[0] == (
        '{:type :invoke, :f :write, :value ["k" "v\\"1"], :process 0, :time 1000, :index 0}'
    )
    assert ':type :fail, :f :cas, :value ["k" ["x" "y"]]' in lines[7]
    assert len(lines) == 12, "without the range"


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


def test_from_a_file(history, tmp_path, capsys):
    history.save(tmp_path / "h")
    for form in FORMS:
        assert main([str(tmp_path / "h"), form]) == 0
        assert capsys.readouterr().out.splitlines() == list(export(history.operations, form))
    assert main([str(tmp_path / "h"), "what"]) == 2
