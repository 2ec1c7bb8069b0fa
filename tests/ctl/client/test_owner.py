"""A client belongs to the process that made it, whose threads share it; a forked child that uses it
is refused before a socket is touched, and ends like any other."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest

from paxosctl.client.client import Client
from paxosctl.load.generator import Generator, Target
from paxosctl.load.load import Load
from tests.ctl.fake_daemon import FakeDaemon

CHILD_S = 20.0
"""So long a child may take; it waits for nothing."""


@pytest.fixture
def daemon():
    with FakeDaemon() as fake:
        yield fake


@pytest.fixture
def client(daemon):
    with Client([daemon.endpoint], timeout_s=10) as made:
        made.put(b"k", b"v")
        yield made


class Held:
    """What a client hands out, and what may be given elsewhere."""

    def __init__(self, client, endpoint):
        self.client = client
        self.endpoint = endpoint
        self.pipe = client.pipeline()
        self.future = self.pipe.put(b"p", b"1")
        self.future.result()
        self.watcher = client.watch(b"k", from_revision=1)
        assert self.watcher.poll(10_000) is not None
        self.scan = client.scan(b"")


@pytest.mark.parametrize(
    "use",
    [
        lambda held: held.client.put(b"k", b"w"),
        lambda held: held.client.pipeline(),
        lambda held: held.client.submit([1, b"k", b"w"]),
        lambda held: held.client.scan(b""),
        lambda held: held.client.watch(b"k"),
        lambda held: held.pipe.put(b"k", b"w"),
        lambda held: held.pipe.flush(),
        lambda held: held.pipe.results(),
        lambda held: held.pending.result(),
        lambda held: next(held.scan),
    ],
)
def test_a_closed_client_says_that_it_is(client, daemon, use):
    held = Held(client, daemon.endpoint)
    held.pending = held.pipe.put(b"q", b"2")
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        use(held)
    client.close()


def test_what_has_ended_is_known_after_the_client_was_closed(client, daemon):
    held = Held(client, daemon.endpoint)
    ended = held.pipe.put(b"q", b"2")
    held.pipe.flush()
    revision = ended.result()
    client.close()
    assert ended.result() == revision


FORGETFUL = """
import gc, sys, threading
from paxosctl.client.client import Client

for _ in range(5):
    client = Client([sys.argv[1]], timeout_s=10)
    client.put(b"k", b"v")
    watcher = client.watch(b"k", from_revision=1)
    assert watcher.poll(10_000) is not None
    del client, watcher
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
print("all")
"""

CALLS = {
    "put": lambda held: held.client.put(b"k", b"w"),
    "delete": lambda held: held.client.delete(b"k"),
    "delete_prefix": lambda held: held.client.delete_prefix(b"k"),
    "cas_value": lambda held: held.client.cas_value(b"k", None, b"w"),
    "cas_revision": lambda held: held.client.cas_revision(b"k", 0, b"w"),
    "get": lambda held: held.client.get(b"k"),
    "get_stale": lambda held: held.client.get_stale(b"k"),
    "scan": lambda held: list(held.client.scan(b"k")),
    "scan begun by the owner": lambda held: next(held.scan),
    "status": lambda held: held.client.status(),
    "status of one": lambda held: held.client.status(held.endpoint),
    "health": lambda held: held.client.health(),
    "outcome": lambda held: held.client.outcome(1, 1),
    "turn": lambda held: held.client.turn(),
    "pipeline": lambda held: held.client.pipeline(),
    "queue": lambda held: held.pipe.put(b"p", b"2"),
    "flush": lambda held: held.pipe.flush(),
    "results": lambda held: held.pipe.results(),
    "future": lambda held: held.future.result(),
    "error": lambda held: held.future.error(),
    "watch": lambda held: held.client.watch(b"k"),
    "poll": lambda held: held.watcher.poll(0),
    "next": lambda held: next(held.watcher),
    "resume_revision": lambda held: held.watcher.resume_revision,
    "session": lambda held: held.client.session,
    "endpoints": lambda held: held.client.endpoints,
    "cluster": lambda held: held.client.cluster,
    "troubles": lambda held: held.client.troubles(),
}
CLOSES = {
    "close": lambda held: held.client.close(),
    "exit": lambda held: held.client.__exit__(None, None, None),
    "close of a watch": lambda held: held.watcher.close(),
}


def in_thread(act):
    """What came of it in another thread: the exception, or None."""
    ended = []

    def run():
        try:
            act()
        except BaseException as error:  # noqa: BLE001 -- handed to the test
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run, name="another")
    thread.start()
    thread.join()
    return ended[0]


def in_child(act):
    """The exit code of a forked child that does this; a signal's number below 0."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            act()
            code = 0
        except BaseException:  # noqa: BLE001 -- the child ends here
            traceback.print_exc()
        finally:
            os._exit(code)
    until = time.monotonic() + CHILD_S
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hung"


def used_in_thread(act):
    """As :func:`in_thread`, and it went well."""
    error = in_thread(act)
    assert error is None, error


class TestThreads:
    @pytest.mark.parametrize("name", [*CALLS, *CLOSES])
    def test_every_call_is_made_from_another_thread(self, client, daemon, name):
        held = Held(client, daemon.endpoint)
        if name == "next":
            client.put(b"k", b"v")
        used_in_thread(lambda: (CALLS | CLOSES)[name](held))
        if name in {"close", "exit"}:
            with pytest.raises(RuntimeError, match="the client is closed"):
                client.get(b"k")
        else:
            client.get(b"k")  # the one that made it goes on with it

    def test_a_thread_that_ended_leaves_its_client_to_others(self, daemon):
        made = []
        used_in_thread(lambda: made.append(Client([daemon.endpoint])))
        for _ in range(5):
            used_in_thread(lambda: made[0].put(b"k", b"v"))
        made[0].close()

    def test_sockets_are_used_by_the_thread_that_drives_alone(self, client):
        transport = client._transport
        used_in_thread(lambda: client.get(b"k"))
        with pytest.raises(RuntimeError, match="belong to the thread"):
            transport.poll(0)
        client.get(b"k")
        transport.poll(0)

    def test_a_client_that_nobody_closed_is_collected_in_any_thread(self, daemon):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORGETFUL, daemon.endpoint],
            capture_output=True,
            text=True,
            timeout=CHILD_S,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "all\n", "")

    def test_a_load_belongs_to_its_maker_too(self, daemon):
        load = Load(count=1, outstanding=1, connections=1, size=1, keys=1)
        run = Generator(Target.of(daemon.endpoint), load, 10_000)
        assert isinstance(in_thread(run.open), RuntimeError)
        run.open()
        assert run.run(0, lambda _: None).failed == {}


class TestFork:
    @pytest.mark.parametrize("name", CALLS)
    def test_every_call_in_a_child_is_refused_at_once(self, client, daemon, name):
        held = Held(client, daemon.endpoint)

        def act():
            with pytest.raises(RuntimeError, match="forked from it"):
                CALLS[name](held)

        assert in_child(act) == 0
        assert client.get(b"k").value == b"v"

    @pytest.mark.parametrize("name", CLOSES)
    def test_a_child_has_nothing_to_close(self, client, daemon, name):
        held = Held(client, daemon.endpoint)
        session = client.session
        assert in_child(lambda: CLOSES[name](held)) == 0
        client.put(b"k", b"w")
        assert client.session == session  # the parent's session was not ended
        assert held.watcher.poll(10_000) is not None

    def test_collection_in_a_child_neither_hangs_nor_warns_of_the_parent(self, daemon):
        held = [Client([daemon.endpoint], timeout_s=10)]
        held[0].put(b"k", b"v")

        def act():
            held.clear()
            gc.collect()

        assert in_child(act) == 0
        held[0].put(b"k", b"w")
        held[0].close()

    def test_a_child_that_ends_within_the_block_ends(self, daemon):
        def act():
            with contextlib.suppress(SystemExit), client:
                raise SystemExit

        with Client([daemon.endpoint], timeout_s=10) as client:
            client.put(b"k", b"v")
            assert in_child(act) == 0
            client.put(b"k", b"w")

    def test_a_child_makes_a_client_of_its_own(self, client, daemon):
        def act():
            with Client([daemon.endpoint], timeout_s=10) as own:
                own.put(b"child", b"1")

        assert in_child(act) == 0
        assert client.get(b"child").value == b"1"
