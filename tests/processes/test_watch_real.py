"""Watchers on real daemons: no change is left out, whatever happens to the node they watch."""

import signal
import threading

import pytest

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from tests.processes.processes import Daemons, wait_for

ALSO_KEYED = True


@pytest.fixture
def daemons(tmp_path):
    with Daemons(tmp_path) as cluster:
        cluster.start()
        cluster.wait_leader()
        yield cluster


class Watching(threading.Thread):
    """A watcher in a thread of its own, on the endpoints in this order."""

    def __init__(self, endpoints, key, **how):
        super().__init__(daemon=True)
        self.changes = []
        self.troubles = []
        self.live = threading.Event()
        self.error = None
        self._endpoints = endpoints
        self._key = key
        self._how = how
        self._over = threading.Event()

    def run(self):
        try:
            with Client(self._endpoints, timeout_s=30.0) as client:
                watcher = client.watch(self._key, on_trouble=self.troubles.append, **self._how)
                while not self._over.is_set():
                    change = watcher.poll(20)
                    if change is not None:
                        self.changes.append(change)
                    elif watcher.live:
                        self.live.set()
        except BaseException as error:  # noqa: BLE001 - raised by __exit__
            self.error = error

    def wait_for_revision(self, revision, timeout_s=60.0):
        wait_for(
            lambda: self.error or (self.changes and self.changes[-1].revision >= revision),
            timeout_s,
            f"revision {revision}",
        )
        if self.error:
            raise self.error

    def __enter__(self):
        self.start()
        assert self.live.wait(60)
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        self.join(30)
        if kind is None and self.error:
            raise self.error


def write(daemons, numbers, key=b"w/%d", size=0):
    """Pipelined writes in order of number; their revisions by number."""
    with daemons.client(timeout_s=60.0) as client:
        revisions = {}
        for number in numbers:
            revisions[number] = client.put(key % (number % 7), b"%d" % number + b"." * size)
    return revisions


def numbers_of(changes):
    return [int(change.value.rstrip(b".")) for change in changes]


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("watched", ["leader", "follower"])
def test_every_change_across_the_end_of_the_watched_node(daemons, sig, watched):
    leader = daemons.wait_leader()
    node = leader if watched == "leader" else daemons.followers(leader)[0]
    order = [node, *daemons.followers(node)]
    with Watching([daemons.endpoint(name) for name in order], b"w/", prefix=True) as watching:
        write(daemons, range(100))
        stop = threading.Event()
        seen = []

        def keep_writing():
            number = 100
            with daemons.client(timeout_s=60.0) as client:
                while not stop.is_set():
                    seen.append((client.put(b"w/%d" % (number % 7), b"%d" % number), number))
                    number += 1

        writer = threading.Thread(target=keep_writing, daemon=True)
        writer.start()
        wait_for(lambda: len(seen) > 50, what="writes before")
        daemons.kill(node, sig=sig)
        at_kill = len(seen)
        wait_for(lambda: len(seen) > at_kill + 50, 60, "writes without it")
        daemons.start(node)
        daemons.wait_up(node)
        wait_for(lambda: len(seen) > at_kill + 200, 60, "writes with it")
        stop.set()
        writer.join(60)
        watching.wait_for_revision(seen[-1][0])
        assert numbers_of(watching.changes) == list(range(100 + len(seen)))
        revisions = [change.revision for change in watching.changes]
        assert revisions == sorted(set(revisions))
        assert watching.troubles


def test_from_an_old_revision_and_on(daemons):
    revisions = write(daemons, range(300))
    with Watching(daemons.endpoints, b"w/", prefix=True, from_revision=revisions[100]) as watching:
        last = write(daemons, range(300, 350))[349]
        watching.wait_for_revision(last)
        assert numbers_of(watching.changes) == list(range(100, 350))


def test_one_key_and_its_end(daemons):
    with Watching(daemons.endpoints, b"one") as watching, daemons.client(timeout_s=30.0) as client:
        client.put(b"one", b"1")
        client.put(b"one more", b"x")
        client.delete(b"one")
        last = client.put(b"one", b"2")
        watching.wait_for_revision(last)
        assert [change.value for change in watching.changes] == [b"1", None, b"2"]


def test_a_watcher_frozen_while_much_happens(daemons):
    """It wakes up with its queue overrun, notices, and pulls what it missed."""
    order = daemons.endpoints
    with Client(order, timeout_s=30.0) as client:
        watcher = client.watch(b"w/", prefix=True)
        wait_for(lambda: watcher.poll(20) is None and watcher.live, what="a live watch")
        last = 0
        for start in range(0, 3000, 100):  # nobody polls the watcher meanwhile
            with daemons.client(timeout_s=60.0) as writer, writer.pipeline() as pipe:
                futures = [pipe.put(b"w/%d" % n, b"%d" % n) for n in range(start, start + 100)]
            last = max(future.result() for future in futures)
        got = []

        def all_there():
            change = watcher.poll(100)
            if change is not None:
                got.append(change)
            return got and got[-1].revision >= last

        try:
            while not all_there():
                assert len(got) <= 3000
        except ClientError as error:
            pytest.fail(f"{error} after {len(got)} changes")
        assert sorted(numbers_of(got)) == list(range(3000))
        assert [c.revision for c in got] == sorted({c.revision for c in got})
