"""A watch of a client that may not listen: it asks the node again and again, and misses nothing."""

import pytest

from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import Ask, Connect, Deliver, Fail, Pull, WatchOptions
from paxosd.core.commands import Change
from paxosd.core.requests import COUNT, STALE, HistoryAnswer, ReadAnswer, RefusalAnswer

OPTIONS = WatchOptions(poll_min_ms=50, poll_max_ms=500, poll_age_ms=1000, history_grace_ms=1000)


class Stage:
    """A watch that polls, and a node's history by hand."""

    def __init__(self, from_revision=1, revision=0):
        self.now_ms = 1000
        self.revision = revision
        self.changes = []
        self.delivered = []
        self.pulls = 0
        self.ages = 0
        self.age_ms = 5
        self.left = []
        self.watch = WatchState(b"a", prefix=True, from_revision=from_revision, options=OPTIONS)
        self.perform(self.watch.start(self.now_ms))
        self.perform(self.watch.on_no_events(self.watch.attempt, self.now_ms))

    def write(self, key, value=b"v"):
        self.revision += 1
        self.changes.append(Change(self.revision, self.revision, key, value))

    def perform(self, effects):
        for effect in effects:
            if isinstance(effect, Pull):
                self.pulls += 1
                self.perform(self.watch.on_answer(1, self.page(effect.request), self.now_ms))
            elif isinstance(effect, Ask):
                self.ages += 1
                assert effect.request.mode == STALE
                assert effect.request.queries == [[COUNT, b"a", b"a\0"]]
                answer = ReadAnswer(effect.request.request_id, 1, self.revision, self.age_ms, [0])
                self.perform(self.watch.on_age(1, answer, self.now_ms))
            elif isinstance(effect, Deliver):
                self.delivered += effect.changes
            elif isinstance(effect, Connect):
                self.left.append(effect.reason)
            else:
                assert isinstance(effect, Fail)

    def page(self, request):
        found = [
            each
            for each in self.changes
            if each.revision >= request.from_revision
            and each.key >= request.start
            and each.key < request.end
        ]
        at = max(request.from_revision, self.revision + 1)
        return HistoryAnswer(request.request_id, found, at, self.revision)

    def run(self, ms):
        until_ms = self.now_ms + ms
        while (due_ms := self.watch.next_due_ms()) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.perform(self.watch.on_tick(self.now_ms))
        self.now_ms = until_ms


def test_changes_come_in_order_each_once():
    stage = Stage()
    for number in range(5):
        stage.write(b"a%d" % number)
        stage.write(b"b")
        stage.run(600)
    assert [each.key for each in stage.delivered] == [b"a0", b"a1", b"a2", b"a3", b"a4"]
    assert stage.watch.complete_to == stage.revision
    assert stage.watch.live


def test_a_change_comes_after_half_a_second_at_the_latest():
    stage = Stage()
    stage.run(10_000)
    stage.write(b"a")
    stage.run(OPTIONS.poll_max_ms)
    assert len(stage.delivered) == 1


def test_it_asks_more_often_while_changes_come():
    stage = Stage()
    stage.run(10_000)
    idle = stage.pulls
    for _ in range(100):
        stage.write(b"a")
        stage.run(100)
    assert idle <= 10_000 / OPTIONS.poll_max_ms + 5
    assert stage.pulls - idle >= 100
    assert len(stage.delivered) == 100


def test_from_now_on_begins_at_the_revision_of_the_node():
    stage = Stage(from_revision=None, revision=7)
    assert stage.watch.resume_revision == 8
    stage.write(b"a")
    stage.run(500)
    assert [each.revision for each in stage.delivered] == [8]


def test_a_node_whose_state_is_old_is_left():
    stage = Stage()
    stage.age_ms = 60_000
    stage.run(OPTIONS.stale_grace_ms + 2 * OPTIONS.poll_age_ms)
    assert stage.left[1] == "the state of node  is 60 s old"
    assert not stage.watch.polls


def test_a_node_that_does_not_answer_is_left():
    stage = Stage()
    stage.page = lambda request: HistoryAnswer(request.request_id + 9, [], 1, 0)
    stage.run(OPTIONS.pull_timeout_ms + OPTIONS.poll_max_ms)
    assert stage.left[1] == "no answer to a request for missed changes"


def test_a_node_is_not_left_because_nobody_asked_it():
    """The user of a watch did something else for a minute."""
    stage = Stage()
    stage.run(2000)
    stage.now_ms += 60_000
    stage.write(b"a")
    stage.run(1000)
    assert stage.left == [""]
    assert len(stage.delivered) == 1


def test_a_node_that_does_not_say_how_old_it_is_is_left():
    stage = Stage()
    stage.watch.on_age = lambda *_: []
    stage.run(OPTIONS.poll_age_ms + OPTIONS.silence_ms + OPTIONS.poll_max_ms)
    assert stage.left[1] == "no answer for 3 s"


def test_a_history_that_has_not_come_so_far_ends_it():
    stage = Stage(from_revision=100)
    stage.run(3000)
    assert stage.watch.failed.code == "history"


@pytest.mark.parametrize("kind", ["history", "age"])
def test_a_right_that_was_lost_ends_it(kind):
    stage = Stage()
    refused = RefusalAnswer(0, "forbidden", "app1 (client) may not read", "", "", 0)
    watch = stage.watch
    if kind == "age":
        watch.on_age(1, refused._replace(request_id=watch._age_id), stage.now_ms)
    else:
        stage.page = lambda request: refused._replace(request_id=request.request_id)
        stage.run(500)
    assert watch.failed.code == "forbidden"
    assert watch.failed.message == refused.message


def test_a_node_that_cannot_confirm_rights_is_left():
    stage = Stage()
    stage.page = lambda request: RefusalAnswer(
        request.request_id, "unconfirmed_rights", "cut off", "", "", 0
    )
    stage.run(500)
    assert stage.left[1] == "missed changes were refused: cut off"
