"""Threads that share one client: each gets its own answers, they go out together, and none waits
for ever, whoever closes, is interrupted or goes on driving."""

import threading
import time
from collections import Counter

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import ClosedError, NotSubmittedError, OutcomeUnknownError
from tests.ctl.client.test_owner import in_thread
from tests.ctl.fake_daemon import FakeDaemon

THREADS = 100
JOIN_S = 60


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


@pytest.fixture
def client(daemon):
    with Client([daemon.endpoint], timeout_s=30) as made:
        made.put(b"k", b"v")
        yield made


class Crowd:
    """Threads that begin together; ``ended`` has what came of each: a result or an exception."""

    def __init__(self, count, act):
        self.ended = {}
        self._start = threading.Barrier(count + 1)
        self._threads = [
            threading.Thread(target=self._run, args=(act, number)) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()
        self._start.wait()

    def _run(self, act, number):
        self._start.wait()
        try:
            self.ended[number] = act(number)
        except Exception as error:  # noqa: BLE001 -- handed to the test
            self.ended[number] = error

    def join(self):
        for thread in self._threads:
            thread.join(JOIN_S)
            assert not thread.is_alive(), "a thread waits for ever"
        return self.ended


def wait_until(condition):
    until = time.monotonic() + JOIN_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


class TestCalls:
    def test_each_thread_gets_its_own_answers(self, client):
        def act(number):
            revisions = []
            for turn in range(10):
                key = b"%d/%d" % (number, turn)
                revisions.append(client.put(key, key))
                assert client.get(key).value == key
            return revisions

        ended = Crowd(THREADS, act).join()
        revisions = Counter(each for found in ended.values() for each in found)
        assert set(revisions.values()) == {1}
        assert len(revisions) == THREADS * 10
        assert all(found == sorted(found) for found in ended.values())

    def test_calls_of_many_threads_share_frames(self, client, daemon):
        daemon.silent = True  # nothing is answered until all have come
        crowd = Crowd(THREADS, lambda number: client.put(b"%d" % number, b"v"))
        wait_until(lambda: len(client._seat._sleepers) == THREADS - 1)
        daemon.silent = False
        assert all(type(each) is int for each in crowd.join().values())
        sizes = Counter(len(entry.commands) for entry in daemon.writes)
        assert max(sizes) > 10, sizes

    def test_each_thread_has_its_own_deadline(self, client, daemon):
        daemon.silent = True

        def act(number):
            began = time.monotonic()
            with pytest.raises(NotSubmittedError):
                client.get(b"k", timeout_s=0.2 if number else 1.0)
            return time.monotonic() - began

        took = Crowd(5, act).join()
        assert min(took.values()) >= 0.199
        assert took[0] >= 0.999
        assert min(took.values()) < 0.999, "the shorter ones waited for the longer one"

    def test_a_thread_that_waits_long_drives_for_the_others(self, client):
        """And hands the seat over when its own call has ended."""
        watcher = client.watch(b"news")
        crowd = Crowd(2, lambda number: next(watcher) if number else None)
        for _ in range(100):
            client.get(b"k")
        client.put(b"news", b"1")
        ended = crowd.join()
        assert ended[1].value == b"1"

    def test_no_time_to_wait_is_an_error(self, client):
        for timeout_s in (0, -1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="timeout_s is above 0"):
                client.get(b"k", timeout_s=timeout_s)


class TestWatches:
    def test_threads_that_watch_beside_threads_that_write(self, client):
        watchers = [
            client.watch(b"%d/" % number, prefix=True, from_revision=1) for number in range(5)
        ]

        def act(number):
            if number < 5:
                return [next(watchers[number]).value for _ in range(20)]
            for turn in range(20):
                client.put(b"%d/%d" % (number - 5, turn), b"%d" % turn)
            return None

        ended = Crowd(10, act).join()
        wanted = [b"%d" % turn for turn in range(20)]
        assert [ended[number] for number in range(5)] == [wanted] * 5

    def test_a_change_wakes_its_thread_while_another_drives(self, client, daemon):
        """No call of this client ends meanwhile, and the driver gets nothing."""
        other_key, watch = client.watch(b"a"), client.watch(b"k")
        driver = Crowd(1, lambda _: other_key.poll(60_000))
        wait_until(lambda: other_key.live)
        sleeper = Crowd(1, lambda _: watch.poll(20_000))
        wait_until(lambda: client._seat.is_shared and watch.live)
        began = time.monotonic()
        with Client([daemon.endpoint], timeout_s=30) as writer:
            writer.put(b"k", b"w")
            assert sleeper.join()[0].key == b"k"
            assert time.monotonic() - began < 10
            writer.put(b"a", b"w")
        assert driver.join()[0].key == b"a"

    def test_each_change_goes_to_one_of_the_threads_that_take(self, client):
        watcher = client.watch(b"w", prefix=True, from_revision=1)
        crowd = Crowd(4, lambda number: [next(watcher).value for _ in range(10)])
        for number in range(40):
            client.put(b"w", b"%d" % number)
        ended = crowd.join()
        assert sorted(int(each) for found in ended.values() for each in found) == list(range(40))

    def test_closing_a_watch_ends_the_iteration_of_another_thread(self, client):
        watcher = client.watch(b"k")
        crowd = Crowd(1, lambda number: (watcher.poll(10 * JOIN_S * 1000), list(watcher)))
        wait_until(lambda: watcher.live)
        watcher.close()
        assert crowd.join() == {0: (None, [])}
        client.get(b"k")

    def test_what_its_user_has_to_do_is_done_in_his_thread(self, daemon):
        names = []
        with (
            FakeDaemon("n2", follows=daemon) as second,
            Client([second.endpoint, daemon.endpoint]) as client,
        ):
            watcher = client.watch(
                b"k", on_trouble=lambda _: names.append(threading.current_thread().name)
            )
            crowd = Crowd(1, lambda number: next(watcher))
            wait_until(lambda: watcher.live)
            second.stop()
            wait_until(lambda: client.get(b"k", timeout_s=20) or names)
            client.put(b"k", b"w")
            assert crowd.join()[0].value == b"w"
        assert names
        assert threading.current_thread().name not in names


class TestClose:
    def test_calls_that_are_under_way_end_truly(self, client, daemon):
        daemon.deaf_writes = True
        session, before = client.session, len(daemon.writes)
        crowd = Crowd(THREADS, lambda number: client.put(b"%d" % number, b"v"))
        wait_until(lambda: len(daemon.writes) > before)
        client.close()
        ended = crowd.join().values()
        assert {type(each) for each in ended} <= {ClosedError, OutcomeUnknownError, RuntimeError}
        unknown = [each for each in ended if isinstance(each, OutcomeUnknownError)]
        assert {each.session for each in unknown} == {session}
        with Client([daemon.endpoint], timeout_s=30) as other:
            daemon.deaf_writes = False
            for each in unknown:
                assert other.outcome(each.session, each.seq).state == "fenced"

    def test_many_threads_close_at_a_time(self, client):
        crowd = Crowd(20, lambda number: client.close())
        assert set(crowd.join().values()) == {None}
        with pytest.raises(RuntimeError, match="the client is closed"):
            client.get(b"k")

    def test_a_watch_ends_with_its_client(self, client):
        watcher = client.watch(b"k")
        crowd = Crowd(1, lambda number: list(watcher))
        wait_until(lambda: watcher.live)
        client.close()
        assert crowd.join() == {0: []}

    @pytest.mark.parametrize("number", range(10))
    def test_calls_that_begin_while_it_is_closed_end(self, daemon, number):
        client = Client([daemon.endpoint], timeout_s=30)

        def act(place):
            while True:
                client.put(b"k", b"%d" % place)

        crowd = Crowd(10, act)
        wait_until(lambda: len(daemon.writes) > number)
        client.close()
        kinds = {type(each) for each in crowd.join().values()}
        assert kinds <= {ClosedError, OutcomeUnknownError, RuntimeError}


class TestInterrupted:
    def test_whoever_drives_and_is_interrupted_hands_over(self, client, daemon, monkeypatch):
        """An exception anywhere in the driver's turn is its own; the others go on."""
        daemon.silent = True
        poll = client._transport.poll
        crowd = Crowd(1, lambda number: client.get(b"k"))
        wait_until(lambda: client._driving)
        others = Crowd(5, lambda number: client.get(b"k"))
        wait_until(lambda: len(client._seat._sleepers) == 5)

        def interrupted(timeout_ms):
            monkeypatch.setattr(client._transport, "poll", poll)
            raise LookupError

        monkeypatch.setattr(client._transport, "poll", interrupted)
        assert type(crowd.join()[0]) is LookupError
        daemon.silent = False
        assert {each.value for each in others.join().values()} == {b"v"}


class TestCancel:
    def test_what_was_not_sent(self, client):
        pipe = client.pipeline()
        first, second = pipe.put(b"a", b"1"), pipe.put(b"b", b"1")
        second.cancel()
        assert type(first.result()) is int
        assert second.error().code == "cancelled"
        assert client.get(b"b") is None

    def test_what_was_sent(self, client, daemon):
        daemon.deaf_writes = True
        future = client.pipeline().put(b"a", b"1")
        crowd = Crowd(1, lambda number: future.error())
        wait_until(lambda: any(entry.commands[0][1:2] == [b"a"] for entry in daemon.writes))
        future.cancel()
        error = crowd.join()[0]
        assert isinstance(error, OutcomeUnknownError)
        daemon.deaf_writes = False
        assert client.outcome(error.session, error.seq).state == "fenced"
        assert client.put(b"a", b"2")

    def test_what_has_ended(self, client):
        future = client.pipeline().put(b"a", b"1")
        revision = future.result()
        future.cancel()
        client.get(b"a")
        assert future.result() == revision


def test_nothing_is_copied_or_pickled(client):
    import copy
    import pickle

    pipe = client.pipeline()
    for each in (client, pipe, pipe.put(b"k", b"v"), client.watch(b"k")):
        for act in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                act(each)
    assert in_thread(lambda: client.get(b"k")) is None
