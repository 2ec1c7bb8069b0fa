"""Answers that need the disk: one job at a time, in order, bounded in number and in bytes."""

import pytest

from paxosd.core.effects import BUSY, INVALID
from paxosd.core.requests import AdminAnswer, RefusalAnswer
from paxosd.replica.deferred_answers import (
    ANSWER_BYTES_MIN,
    BYTES_PER_S,
    WAITING_MAX,
    Deferred,
    DeferredAnswers,
)


class Helper:
    """Does a job when the test says so."""

    def __init__(self):
        self.started = []
        self.done = []

    def start(self, job):
        assert not self.started, "one at a time"
        self.started.append(job)

    def finished(self):
        done, self.done = self.done, []
        return done

    def work(self):
        job = self.started.pop()
        job.run()
        self.done.append(job)


class Node:
    def __init__(self):
        self.helper = Helper()
        self.sent = []
        self.deferred = DeferredAnswers(self.helper, self.answer)

    def answer(self, client, message):
        self.sent.append((client, message))
        return True

    def ask(self, number, work=dict):
        self.deferred.take(b"c%d" % number, Deferred(number, "file_read", work))


def test_they_are_answered_in_order_once_the_work_is_done():
    node = Node()
    for number in range(3):
        node.ask(number, lambda number=number: {"number": number})
    for number in range(3):
        node.deferred.turn(number * 1000.0)
        node.deferred.turn(number * 1000.0 + 500.0)
        assert [m.request_id for _, m in node.sent] == list(range(number)), "not before it is"
        node.helper.work()
    node.deferred.turn(9000.0)
    assert node.sent == [(b"c%d" % n, AdminAnswer(n, {"number": n})) for n in range(3)]
    assert node.deferred.idle
    assert not node.helper.started


def test_an_error_is_a_refusal_in_words():
    node = Node()

    def fail(error):
        raise error

    node.ask(1, lambda: fail(LookupError("recorder/x is gone")))
    node.ask(2, lambda: fail(OSError(5, "Input/output error")))
    for turn in range(6):
        node.deferred.turn(turn * 1000.0)
        if node.helper.started:
            node.helper.work()
    messages = [message for _, message in node.sent]
    assert all(type(m) is RefusalAnswer and m.code == INVALID for m in messages)
    assert messages[0].message == "file_read: recorder/x is gone"
    assert messages[1].message == "file_read: it cannot be read: Input/output error"


def test_a_bug_in_the_work_is_not_hidden():
    node = Node()
    node.ask(1, lambda: 1 // 0)
    node.deferred.turn(0.0)
    with pytest.raises(ZeroDivisionError):
        node.helper.work()


def test_too_many_are_refused_as_busy():
    node = Node()
    for number in range(WAITING_MAX + 3):
        node.ask(number)
    refused = [message for _, message in node.sent]
    assert [m.request_id for m in refused] == [WAITING_MAX, WAITING_MAX + 1, WAITING_MAX + 2]
    assert {m.code for m in refused} == {BUSY}


@pytest.mark.parametrize(
    ("body", "counts"),
    [({"data": bytes(256 << 10)}, 256 << 10), ({"data": b""}, ANSWER_BYTES_MIN),
     ({"files": []}, ANSWER_BYTES_MIN)],
)  # fmt: skip
def test_what_leaves_in_a_second_is_bounded(body, counts):
    node = Node()
    for number in range(4):
        node.ask(number, lambda: body)
    node.deferred.turn(100.0)
    node.helper.work()
    node.deferred.turn(100.0)
    assert len(node.sent) == 1
    assert not node.helper.started, "the next one waits for its time"
    due_ms = node.deferred.next_due_ms(100.0)
    assert due_ms == pytest.approx(100.0 + counts * 1000 / BYTES_PER_S)
    node.deferred.turn(due_ms - 0.1)
    assert not node.helper.started
    node.deferred.turn(due_ms)
    assert node.helper.started
    assert node.deferred.next_due_ms(due_ms) == float("inf"), "the end of the job wakes the loop"
