"""Ctrl-C between any two lines of a call: closing the client returns all the same."""

import contextlib
import faulthandler
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq

import paxosctl.client
from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.client.own_sockets import OwnSockets
from tests.ctl.fake_daemon import FakeDaemon, closed_port

HANG_S = 60.0
"""Whoever waits so long waits for ever: the process ends with all its stacks."""
LOOKS = 6
PLACES = (str(Path(paxosctl.client.__file__).parent), str(Path(zmq.__file__).parent))
"""Where it is interrupted: what makes sockets, and the Python half of ZeroMQ."""

UNCLOSED = pytest.mark.filterwarnings(
    "ignore:Unclosed socket:ResourceWarning",
    "ignore:Exception ignored in. <function Socket.__del__:pytest.PytestUnraisableExceptionWarning",
)
"""What the traceback alone has known is closed when it goes, and ZeroMQ says so."""


@pytest.fixture(autouse=True)
def watchdog():
    faulthandler.dump_traceback_later(HANG_S, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


class InterruptAt:
    """Raises KeyboardInterrupt at the n-th different line that is run in PLACES."""

    def __init__(self, number):
        self.number = number
        self.lines = {}

    def __call__(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(PLACES):
            return None
        if event == "line":
            line = frame.f_code.co_filename, frame.f_lineno
            self.lines.setdefault(line, len(self.lines))
            if len(self.lines) == self.number:
                self.number = 0
                raise KeyboardInterrupt
        return self

    def __enter__(self):
        sys.settrace(self)

    def __exit__(self, *_):
        sys.settrace(None)


def call(endpoint, number, timeout_s=10):
    """One client, one interrupted call; closed while the exception is handled, as a ``with`` block
    does. Returns whether it was interrupted."""
    client = Client([endpoint], timeout_s=timeout_s)
    at = InterruptAt(number)
    try:
        with at:
            client.status()
    except KeyboardInterrupt:
        client.close()
        return True
    except ClientError:
        pass
    client.close()
    return False


def io_threads():
    """ZeroMQ's threads that work on connections."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has ended
            if (task / "comm").read_text().startswith("ZMQbg/IO"):
                found.add(task)
    return found


def new_io_thread(before):
    """The thread that came since; it gives itself its name a moment after it began."""
    while not (new := io_threads() - before):
        time.sleep(0.005)
    (thread,) = new
    return thread


def switches(thread):
    """How often a thread has waited for something so far."""
    status = (thread / "status").read_text()
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


def every_line():
    """How many lines of a call were interrupted, each in a call of its own."""
    with FakeDaemon() as daemon:
        number = 1
        while call(daemon.endpoint, number):
            number += 1
    return number


@UNCLOSED
def test_a_call():
    # In a thread of its own: an exception that tracing raises at the first line of a handler leaves
    # the handled one (3.11) for good, as the context of all that the thread raises later.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(every_line).result() > 100
    gc.collect()


@UNCLOSED
def test_a_socket_that_only_the_traceback_knows(monkeypatch):
    sockets = OwnSockets(100)

    def add_and_stop(context, made):
        assert not made.closed
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(zmq.Context, "_add_socket", add_and_stop)
        try:
            sockets.make(zmq.DEALER)
        except KeyboardInterrupt:
            sockets.close()
    gc.collect()


def test_a_socket_that_left_its_context_and_was_not_closed():
    sockets = OwnSockets(100)
    made = sockets.make(zmq.DEALER)
    sockets._context._rm_socket(made)  # as Socket.close does, before it closes
    sockets.close()
    assert made.closed


@UNCLOSED
@pytest.mark.parametrize("first", range(1, 8))
def test_a_call_to_nobody(first):
    """ZeroMQ reports each refused connection meanwhile."""
    endpoint = closed_port()
    number = first
    while call(endpoint, number, timeout_s=0.02):
        number += 7
    assert number > 100
    gc.collect()


def test_a_monitor_that_is_full():
    """As that of a client which is idle for long: ZeroMQ's thread waits for it, with a lock."""
    before = io_threads()
    sockets = OwnSockets(100)
    dealer = sockets.make(zmq.DEALER)
    dealer.setsockopt(zmq.RECONNECT_IVL, 1)
    monitor = sockets.monitor(dealer, zmq.EVENT_ALL)
    dealer.connect(closed_port())
    thread = new_io_thread(before)
    try:
        assert monitor.poll(10_000), "nothing was reported"
        looks = [-1] * LOOKS
        while len(set(looks)) > 1:  # until it does nothing any more
            time.sleep(0.05)
            looks = [*looks[1:], switches(thread)]
        assert monitor.poll(0)
    finally:
        sockets.close()


def test_all_is_closed_and_the_context_ended():
    sockets = OwnSockets(100)
    dealer = sockets.make(zmq.DEALER)
    monitor = sockets.monitor(dealer, zmq.EVENT_CONNECTED)
    sockets.close()
    assert dealer.closed
    assert monitor.closed
    assert sockets._context.closed
