"""Histories: recording, stamps, and the file."""

import json
import random
import threading

import pytest

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    GET,
    KINDS,
    PUT,
    RANGE,
    TXN,
    History,
    HistoryError,
    Operation,
    dump_lines,
    parse_lines,
)
from paxosd.check.history_words import describe


def same(one, other):
    return all(getattr(one, name) == getattr(other, name) for name in Operation.__slots__)


def test_an_operation_is_open_until_it_ends():
    history = History()
    operation = history.invoke("c1", PUT, b"k", value=b"v")
    assert (operation.returned, operation.outcome) == (-1, "unknown")
    history.ok(operation, revision=7, slot=5)
    assert operation.acknowledged
    assert (operation.revision, operation.slot) == (7, 5)
    assert operation.returned > operation.invoked


def test_stamps_grow_in_the_order_of_the_calls_even_if_the_clock_stands_still():
    now = [100]
    history = History(lambda: now[0])
    first = history.invoke("c1", PUT, b"k", value=b"1")
    history.ok(first)
    second = history.invoke("c2", GET, b"k")
    now[0] = 50  # a clock that goes backward changes nothing
    history.ok(second, b"1")
    now[0] = 1000
    third = history.invoke("c1", GET, b"k")
    assert first.invoked == 100
    assert first.invoked < first.returned < second.invoked < second.returned < third.invoked
    assert third.invoked == 1000


def test_an_unknown_operation_can_be_settled_later():
    history = History()
    committed = history.invoke("c1", PUT, b"k", value=b"1")
    fenced = history.invoke("c1", PUT, b"k", value=b"2")
    history.unknown(committed)
    history.unknown(fenced)
    asked = history.invoke("c1", GET, b"k")
    history.ok(committed, revision=3)
    history.failed(fenced)
    assert committed.outcome == "ok"
    assert committed.returned > asked.invoked
    assert fenced.outcome == "failed"
    assert history.counts() == {"ok": 1, "failed": 1, "unknown": 1}


def test_a_page_that_ended_early_covers_less():
    history = History()
    operation = history.invoke("c1", RANGE, b"a", end=b"z")
    assert operation.covers(b"m")
    history.ok(operation, ((b"a", b"1"),), end=b"b", revision=4, modified=(2,))
    assert operation.covers(b"a")
    assert not operation.covers(b"b")


def test_a_range_without_end_covers_all_that_follows():
    operation = Operation("c", RANGE, b"b")
    assert not operation.covers(b"a")
    assert operation.covers(b"\xff\xff")


def random_operation(rng):
    some = [None, b"", b"text", b"\xff\x00", "käse\u2028\n".encode(), b'{"b64"}']
    kind = rng.choice(KINDS)
    invoked = rng.randrange(1000)
    results = {
        PUT: None,
        GET: rng.choice(some),
        DELETE: rng.random() < 0.5,
        CAS: rng.random() < 0.5,
        DELETE_RANGE: rng.randrange(3),
        RANGE: tuple((b"%d" % n, rng.choice(some[1:])) for n in range(rng.randrange(3))),
        TXN: (rng.randrange(2), (1, None, (rng.choice(some[1:]), 4, 5, 2), (0, ()))),
    }
    return Operation(
        f"c{rng.randrange(3)}",
        kind,
        rng.choice(some[1:]),
        end=rng.choice(some[1:]),
        value=rng.choice(some),
        expect=rng.choice(some),
        expect_revision=rng.choice([-1, 0, 7]),
        command=(15, (), ((1, rng.choice(some[1:]), b"v"),), ()) if kind == TXN else None,
        invoked=invoked,
        returned=rng.choice([-1, invoked + 5]),
        outcome=rng.choice(["ok", "failed", "unknown"]),
        result=results[kind],
        revision=rng.choice([-1, 0, 9]),
        slot=rng.choice([-1, 0, 9]),
        modified=rng.choice([(), (0,), (1, 2)]),
    )


def test_a_history_survives_its_file(tmp_path):
    rng = random.Random(1)
    operations = sorted((random_operation(rng) for _ in range(500)), key=lambda op: op.invoked)
    history = History.of(operations)
    history.save(tmp_path / "history.jsonl")
    loaded = History.load(tmp_path / "history.jsonl")
    assert len(loaded) == 500
    assert all(same(a, b) for a, b in zip(history, loaded, strict=True))
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(lines) == 501
    assert all(json.loads(line) for line in lines)


def test_saved_text_is_readable():
    operation = Operation("c1", PUT, b"key", value=b"\xff", outcome="ok", revision=3)
    line = list(dump_lines([operation]))[1]
    assert '"key": "key"' in line
    assert '"value": {"b64": "/w=="}' in line
    assert "expect" not in line


@pytest.mark.parametrize(
    "lines",
    [
        ["{}"],
        ["[]"],
        ['{"paxosd_history": 2}'],
        ['{"paxosd_history": 1}', "{"],
        ['{"paxosd_history": 1}', "[]"],
        ['{"paxosd_history": 1}', '{"process": "c", "kind": "put"}'],
        ['{"paxosd_history": 1}', '{"process": "c", "kind": "x", "key": "k", "outcome": "ok"}'],
        ['{"paxosd_history": 1}', '{"process": "c", "kind": "put", "key": "k", "outcome": "?"}'],
        [
            '{"paxosd_history": 1}',
            '{"process": "c", "kind": "put", "key": {"b64": "!"}, "outcome": "ok"}',
        ],
        [
            '{"paxosd_history": 1}',
            '{"process": "c", "kind": "put", "key": "k", "outcome": "ok", "more": 1}',
        ],
    ],
)
def test_a_bad_file_is_refused_with_its_line(lines):
    with pytest.raises(HistoryError, match=r"line|format"):
        list(parse_lines(lines))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "h").write_bytes(b'{"paxosd_history": 1}\n\xff\xfe\n')
    with pytest.raises(HistoryError):
        History.load(tmp_path / "h")


def test_threads_share_a_history():
    history = History()

    def client(name):
        for n in range(200):
            history.ok(history.invoke(name, PUT, b"k", value=b"%d" % n))

    threads = [threading.Thread(target=client, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stamps = [op.invoked for op in history] + [op.returned for op in history]
    assert len(set(stamps)) == len(stamps) == 1600
    assert [op.number for op in history] == list(range(800))


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (Operation("c", PUT, b"k", value=b"v"), "c: put k = v: unknown"),
        (
            Operation("c", PUT, b"k", value=b"v", outcome="ok", revision=2),
            "c: put k = v: done at revision 2",
        ),
        (Operation("c", GET, b"k", outcome="ok"), "c: get k: nothing"),
        (Operation("c", GET, b"k", outcome="ok", result=b""), "c: get k: "),
        (
            Operation("c", CAS, b"k", expect=b"1", value=b"2", outcome="ok", result=False),
            "c: cas k: 1 → 2: missed",
        ),
        (
            Operation("c", CAS, b"k", expect_revision=0, value=b"2", outcome="ok", result=True),
            "c: cas k: revision 0 → 2: set",
        ),
        (Operation("c", DELETE, b"k", outcome="ok", result=True), "c: delete k: removed"),
        (Operation("c", DELETE, b"k", outcome="ok", result=False), "c: delete k: no such key"),
        (
            Operation("c", RANGE, b"a", end=b"c", outcome="ok", result=((b"a", b"1"),)),
            "c: range a … c: {a = 1}",
        ),
        (
            Operation("c", DELETE_RANGE, b"a", outcome="ok", result=2),
            "c: delete a … end: 2 removed",
        ),
        (Operation("c", PUT, b"k" * 50, value=b"\xff", outcome="failed"), None),
    ],
)
def test_operations_in_words(operation, words):
    if words is None:
        assert len(describe(operation)) < 80
        assert r"\xff" in describe(operation)
    else:
        assert describe(operation) == words
