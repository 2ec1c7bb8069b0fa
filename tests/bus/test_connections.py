"""How many connections a listening socket takes, with real sockets."""

import contextlib
import socket
import threading

import pytest
import zmq

from paxosd.bus import connections
from paxosd.bus.connections import ConnectionGuard
from tests.bus.harness import until


class World:
    """A ROUTER that listens, with a guard."""

    def __init__(self, most):
        self.context = zmq.Context()
        self.dealers = []
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 0)
        self.router.bind("tcp://127.0.0.1:*")
        self.endpoint = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        listening = {"client": (self.router, self.endpoint)}
        self.guard = ConnectionGuard(self.context, listening, {"client": most})

    @property
    def status(self):
        return self.guard.status["client"]

    def dealer(self):
        """A client that has been heard."""
        dealer = self.context.socket(zmq.DEALER)
        self.dealers.append(dealer)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(self.endpoint)
        return dealer

    def hear(self, dealer, word):
        """Have it say a word until that comes: what went into a connection that was ended is
        lost."""
        until(
            lambda: self.router.poll(100) and self.router.recv_multipart()[1] == word,
            "a message",
            step=lambda: dealer.poll(0, zmq.POLLOUT) and dealer.send(word, zmq.NOBLOCK),
        )

    def raw(self):
        made = socket.create_connection(("127.0.0.1", int(self.endpoint.rpartition(":")[2])))
        made.settimeout(10)
        return made

    def close(self):
        self.guard.close()
        self.context.destroy(0)


@pytest.fixture
def world():
    made = World(3)
    yield made
    made.close()


def closed(connection):
    """Wait until the other side has closed it."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(1024):
            pass
    return True


def test_one_too_many_is_ended_and_the_others_live(world):
    dealers = [world.dealer() for _ in range(3)]
    for dealer in dealers:
        world.hear(dealer, b"first")
    with world.raw() as late:
        assert closed(late)
    until(lambda: world.status.refused == 1, "the refusal is counted")
    for dealer in dealers:
        world.hear(dealer, b"second")
    dealers[0].close()
    until(lambda: world.status.open == 2, "its place is free")
    world.hear(world.dealer(), b"third")


def test_silent_ones_make_room_for_who_speaks(world):
    with contextlib.ExitStack() as opened:
        silent = [opened.enter_context(world.raw()) for _ in range(3)]
        until(lambda: world.status.open == 3, "all are counted")
        world.hear(world.dealer(), b"here I am")  # it comes again until one has been silent enough
        assert closed(silent[0])
        assert world.status.silent >= 1


def test_the_sockets_may_be_closed_without_it():
    world = World(3)
    world.router.close(0)
    world.guard._thread.join(timeout=30)
    assert not world.guard._thread.is_alive()
    world.context.destroy(0)


def test_all_that_were_accepted_are_ended_also_those_that_are_yet_to_be_reported(monkeypatch):
    """The guard is busy with the first report while the others come: a revoked subscriber among
    them must not stay."""
    world, gate = World(10), threading.Event()
    address_of = connections._address_of

    def held(descriptor):
        assert gate.wait(30)
        return address_of(descriptor)

    monkeypatch.setattr(connections, "_address_of", held)
    try:
        with contextlib.ExitStack() as opened:
            raws = [opened.enter_context(world.raw()) for _ in range(4)]
            for raw in raws:
                assert raw.recv(1), "libzmq has accepted it, and reported that"
            world.guard.end_all("client")
            gate.set()
            for raw in raws:
                assert closed(raw)
        until(lambda: world.status.open == 0, "all are gone")
    finally:
        gate.set()
        world.close()
