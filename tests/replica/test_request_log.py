"""Debug log of requests: each answer is logged once, with its request and how long it took."""

from paxosd.core.requests import AdminRequest, RefusalAnswer, WriteAnswer, WriteRequest
from paxosd.replica.request_log import STARTED_MAX, RequestLog
from paxosd.sim.world.trace import Trace
from tests.sim.simple import make_client, make_cluster, write


class Bus:
    def __init__(self):
        self.answers = []

    def answer(self, client, message):
        self.answers.append((client, message))
        return client != b"gone"


class Lines(list):
    def debug(self, event, **fields):
        self.append((event, fields))


def make():
    lines, bus = Lines(), Bus()
    return RequestLog(bus, lines), bus, lines


def test_a_write_and_its_answer():
    log, bus, lines = make()
    log.begin_turn(10.0)
    log.received(b"c", WriteRequest(7, b""))
    log.begin_turn(12.5)
    answer = WriteAnswer(7, 3, [1, 2])
    assert log.answer(b"c", answer) is True
    assert bus.answers == [(b"c", answer)]
    fields = {"request_id": 7, "what": "write", "dur_ms": 2.5, "sent": True}
    assert lines == [("client.request", fields | {"slot": 3, "results": 2})]


def test_a_refusal_says_why():
    log, _, lines = make()
    log.received(b"c", AdminRequest(1, "status", {}))
    log.answer(b"c", RefusalAnswer(1, "busy", "the queue is full", "", "", 0))
    event, fields = lines[0]
    assert event == "client.refused"
    assert (fields["code"], fields["reason"], fields["what"]) == (
        "busy",
        "the queue is full",
        "admin",
    )


def test_two_clients_may_use_one_number():
    log, _, lines = make()
    log.received(b"a", WriteRequest(1, b""))
    log.begin_turn(5.0)
    log.received(b"b", WriteRequest(1, b""))
    log.answer(b"a", WriteAnswer(1, 1, []))
    log.answer(b"gone", WriteAnswer(1, 1, []))
    assert [(f["dur_ms"], f["sent"]) for _, f in lines] == [(5.0, True), (0.0, False)]


def test_memory_is_bounded_where_answers_never_come():
    log, _, _ = make()
    for number in range(STARTED_MAX + 10):
        log.received(b"c", WriteRequest(number, b""))
    assert len(log._started) == STARTED_MAX


def test_a_request_that_is_alone_took_as_long_as_it_took():
    """Its answer leaves in a turn that takes in no other request."""
    trace = Trace("all")
    cluster = make_cluster(trace=trace)
    client, _ = make_client(cluster)
    assert write(cluster, client).returned >= 0
    answered = [each for each in trace.events() if each["event"] == "client.request"]
    writes = [each for each in answered if each["what"] == "write" and each.get("slot")]
    assert writes
    assert all(each["dur_ms"] > 0 for each in writes), "at least one message and one sync"
