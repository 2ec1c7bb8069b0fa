"""A workload: the same draws from the same seed, and answers recorded as the checkers need them."""

import random

from paxosd.check.exactly_once import FinalRow
from paxosd.check.history import History
from paxosd.check.judge import judge
from paxosd.check.verdict import VIOLATION
from paxosd.check.workload import BALANCED, WorkloadClient
from paxosd.core.commands import CAS_REVISION, CAS_VALUE, KeyValue, Status
from paxosd.core.requests import RangePage, ReadAnswer

KEYS = (b"k0", b"k1", b"k2")


def make(seed=1, mix=BALANCED, **how):
    history = History()
    return WorkloadClient("c1", history, random.Random(seed), keys=KEYS, mix=mix, **how), history


def read(client, request, found, revision=9):
    operation = client.begin(request)
    client.record_read(operation, ReadAnswer(1, revision, revision, 0, [found]))
    return operation


class TestDraw:
    def test_the_same_seed_draws_the_same(self):
        one, other = (make()[0] for _ in range(2))
        assert [one.draw() for _ in range(50)] == [other.draw() for _ in range(50)]

    def test_no_value_is_written_twice(self):
        client, _ = make()
        values = [request.value for _ in range(300) if (request := client.draw()).value]
        values += [client.draw_put().value for _ in range(5)]
        assert len(values) == len(set(values)) > 100

    def test_a_range_ends_at_a_key_or_at_the_end_of_all_keys(self):
        client, _ = make(mix={"range": 1, "delete_range": 1}, keys_end=b"l")
        drawn = [client.draw() for _ in range(100)]
        assert {request.end for request in drawn} == {b"k1", b"k2", b"l"}
        assert all(request.key < request.end for request in drawn)

    def test_a_value_is_padded_but_not_that_of_a_probe(self):
        client, _ = make(mix={"put": 1}, pad=lambda value: value.ljust(20, b"."))
        assert len(client.draw().value) == 20
        assert len(client.draw_put().value) < 20

    def test_a_cas_expects_what_was_seen_last(self):
        client, _ = make(mix={"cas": 1, "cas_revision": 1})
        for key in KEYS:
            read(client, client.get(key), KeyValue(key, b"seen " + key, 3, 5, 1))
        drawn = [client.draw() for _ in range(20)]
        assert {request.body[0] for request in drawn} == {CAS_VALUE, CAS_REVISION}
        for request in drawn:
            by_value = request.body[0] == CAS_VALUE
            assert request.body[2] == (b"seen " + request.key if by_value else 5)
            assert (request.expect is not None) is by_value
            assert request.expect_revision == (-1 if by_value else 5)


class TestRecord:
    def draw(self, client, kind):
        return next(request for _ in range(1000) if (request := client.draw()).kind == kind)

    def record(self, kind, result, slot=-1):
        client, _ = make()
        operation = client.begin(self.draw(client, kind))
        client.record_result(operation, result, slot)
        return operation

    def test_writes_that_took_effect(self):
        put = self.record("put", 7, 5)
        assert (put.outcome, put.result, put.revision, put.slot) == ("ok", None, 7, 5)
        assert (self.record("cas", 7).result, self.record("delete", 7).result) == (True, True)
        gone = self.record("delete_range", (Status.OK, 7, 3))
        assert (gone.result, gone.revision) == (3, 7)

    def test_writes_that_found_nothing_to_do(self):
        gone = self.record("delete", (Status.NOT_FOUND, 7, None))
        assert (gone.outcome, gone.result, gone.revision) == ("ok", False, 7)
        missed = self.record("cas", (Status.CAS_MISS, 7, None))
        assert (missed.result, missed.revision, missed.modified) == (False, -1, (7,))
        assert self.record("delete_range", (Status.NOT_FOUND, 7, None)).result == 0

    def test_reads(self):
        client, _ = make()
        row = KeyValue(b"k0", b"v", 3, 5, 1)
        found = read(client, client.get(b"k0"), row)
        assert (found.result, found.revision, found.modified) == (b"v", 9, (5,))
        assert (read(client, client.get(b"k0"), None).modified) == (0,)
        wanted = self.draw(client, "range")
        page = read(client, wanted, RangePage([row], b"k1"))
        assert (page.result, page.modified, page.end) == (((b"k0", b"v"),), (5,), b"k1")


class TestJudge:
    def test_one_judgement_of_all_checkers(self):
        client, history = make()
        request = client.draw_put()
        client.record_result(client.begin(request), 1)
        good = judge(history, {request.key: FinalRow(request.value, 1, 1, 1)}, alone=True, ages=[])
        assert good.ok
        assert [line.split(":")[0] for line in good.lines()] == [
            "linearizable", "exactly once", "ages",
        ]  # fmt: skip
        lost = judge(history, {request.key: None})
        assert lost.verdict.status == VIOLATION
        assert lost.verdict is lost.exactly_once
        assert lost.linearizable.ok
        assert lost.ages is None

    def test_without_a_final_state_nothing_is_said_about_exactly_once(self):
        judgement = judge(History(), None)
        assert (judgement.exactly_once, judgement.ok) == (None, True)
