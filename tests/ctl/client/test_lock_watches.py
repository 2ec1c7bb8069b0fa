"""One watch for all waiters of a queue: nobody misses a removal, whenever it joined."""

from types import SimpleNamespace

import pytest

from paxosctl.client import lock_watches
from paxosctl.client.lock_watches import LockWatches
from paxosd.core.client.lock import Await, LockPlan, LockProtocol


class Session:
    """A watch that brings what the test gives it."""

    def __init__(self, key, prefix, since):
        self.of = (key, prefix, since)
        self.items = []
        self.troubles = set()
        self.failed = None
        self.resume_revision = None
        self.closed = False

    def turn(self):
        return 7

    def take(self):
        return self.items.pop(0) if self.items else None

    def close(self):
        self.closed = True

    def bring(self, key, revision):
        self.items.append(SimpleNamespace(key=key, value=None, revision=revision))


class Bench:
    def __init__(self):
        self.sessions = []
        self.watches = LockWatches(self.begin)

    def begin(self, key, prefix, since):
        self.sessions.append(Session(key, prefix, since))
        return self.sessions[-1]

    def join(self, lock, since, *keys):
        self.watches.join(lock, Await(b"l/", frozenset(keys), since))

    def news(self):
        self.watches.turn()
        found = []
        while (each := self.watches.take()) is not None:
            found.append(each)
        return found


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def locks():
    return [LockProtocol(LockPlan(name=b"l")) for _ in range(3)]


def test_a_waiter_alone_watches_its_key_alone(bench, locks):
    bench.join(locks[0], 5, b"l/1")
    (session,) = bench.sessions
    assert session.of == (b"l/1", False, 5)
    session.bring(b"l/1", 6)
    assert bench.news() == [(locks[0], b"l/1")]
    bench.watches.leave(locks[0])
    assert session.closed
    assert bench.watches.turn() == 1 << 62


def test_many_share_one_and_each_hears_of_its_own(bench, locks):
    for number, lock in enumerate(locks):
        bench.join(lock, 5 + number, b"l/%d" % number)
    alone, shared = bench.sessions
    assert alone.closed
    assert shared.of == (b"l/", True, 5)  # from where the first one began
    shared.bring(b"l/1", 9)
    shared.bring(b"l/x", 10)
    assert bench.news() == [(locks[1], b"l/1")]


def test_what_the_first_watch_has_seen_is_not_watched_again(bench, locks):
    bench.join(locks[0], 5, b"l/0")
    bench.sessions[0].resume_revision = 8
    bench.join(locks[1], 9, b"l/1")
    assert bench.sessions[1].of == (b"l/", True, 8)


def test_who_joins_late_hears_of_a_removal_that_was_brought_before(bench, locks):
    bench.join(locks[0], 5, b"l/0")
    bench.join(locks[1], 5, b"l/1")
    bench.sessions[-1].bring(b"l/2", 9)
    assert bench.news() == []
    bench.join(locks[2], 8, b"l/2")
    assert bench.news() == [(locks[2], b"l/2")]


def test_who_began_before_the_watch_looks_again(bench, locks):
    bench.join(locks[0], 5, b"l/0")
    bench.join(locks[1], 6, b"l/1")
    bench.join(locks[2], 4, b"l/2")
    assert bench.news() == [(locks[2], None)]


def test_removals_are_bounded(bench, locks, monkeypatch):
    monkeypatch.setattr(lock_watches, "REMOVED_MAX", 2)
    bench.join(locks[0], 5, b"l/0")
    bench.join(locks[1], 5, b"l/1")
    for revision in range(6, 10):
        bench.sessions[-1].bring(b"l/r%d" % revision, revision)
    assert bench.news() == []
    bench.join(locks[2], 7, b"l/r7")  # it is not known any more whether that went
    assert bench.news() == [(locks[2], None)]


def test_a_watch_that_fails_makes_all_look_again(bench, locks):
    bench.join(locks[0], 5, b"l/0")
    bench.join(locks[1], 5, b"l/1")
    bench.sessions[-1].failed = "compacted"
    assert bench.news() == [(locks[0], None), (locks[1], None)]
    bench.join(locks[0], 50, b"l/0")
    assert bench.sessions[-1].of[1:] == (True, 50)
    assert bench.news() == []
