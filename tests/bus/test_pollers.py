"""Waiting: what is reported, what goes on being reported, and that nobody is asked for nothing."""

import os
import time

import pytest
import zmq

from paxosd.bus.pollers import CLIENTS, PEERS, SUBSCRIPTIONS, WAKEUP
from paxosd.core.requests import AdminRequest, RefusalAnswer
from paxosd.wire import encode_client
from tests.bus.harness import World, heartbeat, until


@pytest.fixture
def world():
    with World(("n1", "n2")) as made:
        yield made


def request(number):
    return encode_client(AdminRequest(number, "status", {}), "dev")


def client_of(world, name="n1"):
    dealer = world.raw(zmq.DEALER, world.where[name]["client"])
    dealer.send(request(0))
    return dealer


def refusal(number):
    return RefusalAnswer(number, "invalid", "", "", "", 0)


class TestLeftUnread:
    def test_by_a_limit(self, world):
        bus = world.start("n1")
        dealer = client_of(world)
        for number in range(1, 5):
            dealer.send(request(number))
        got = []
        while len(got) < 5:
            assert bus.poll(5000) & CLIENTS
            got += bus.receive_clients(1)
        assert [message.request_id for _, message, _ in got] == list(range(5))

    def test_by_nobody_who_asked(self, world):
        """A turn may take in other things first."""
        bus = world.start("n1")
        client_of(world)
        for _ in range(3):
            assert bus.poll(5000) & CLIENTS
        assert len(bus.receive_clients(10)) == 1
        assert not bus.poll(0) & CLIENTS


class TestSignalThatASendTook:
    def test_a_request_that_came_while_answers_were_sent(self, world):
        """To send on a socket takes in what its descriptor announced: without another question a
        request would lie there until something else comes."""
        bus = world.start("n1")
        dealer = client_of(world)
        assert bus.poll(5000) & CLIENTS
        ((client, _, _),) = bus.receive_clients(10)
        for number in range(1, 200):
            dealer.send(request(number))
            assert bus.answer(client, refusal(number))
            assert dealer.poll(5000)
            dealer.recv_multipart()
            # The request is there now, or soon; whatever the answer took away.
            assert bus.answer(client, refusal(number))
            until(lambda: bus.poll(5000) & CLIENTS, "the request")
            assert bus.receive_clients(10)

    def test_a_subscription_that_a_publication_took_in(self, world):
        bus = world.start("n1")
        for number in range(10):
            topic = f"kv/{number}".encode()
            sub = world.raw(zmq.SUB, world.where["n1"]["events"])
            sub.setsockopt(zmq.SUBSCRIBE, topic)
            until(
                lambda sub=sub: sub.poll(1),
                "an event, for which the subscription must have been taken in",
                lambda topic=topic: bus.publish(topic, b"value"),
            )
            for _ in range(5):  # whatever its descriptor announced is taken in by now
                bus.publish(topic, b"value")
                assert sub.poll(5000)
                while sub.poll(2):
                    sub.recv_multipart()
            assert bus.poll(2000) & SUBSCRIPTIONS
            assert (True, topic) in bus.receive_subscriptions()


class TestWaiting:
    def test_a_message_ends_it(self, world):
        one, two = world.start("n1"), world.start("n2")
        until(lambda: two.send("n1", heartbeat()), "a connection", lambda: two.poll(10))
        until(lambda: one.poll(10_000) & PEERS, "the message", one.receive_subscriptions)
        assert one.receive_peers(10)

    def test_nothing_comes(self, world):
        bus = world.start("n1")
        until(lambda: not bus.poll(10), "silence", bus.disconnected)
        began_s = time.monotonic()
        assert bus.poll(60, lazy_votes=True) == 0
        assert bus.poll(60) == 0
        assert time.monotonic() - began_s >= 0.1

    def test_a_descriptor_that_fires_for_nothing_does_not_end_it(self, world):
        """An answer that the client takes lets its connection report to this socket: no message."""
        bus = world.start("n1")
        dealer = client_of(world)
        assert bus.poll(5000) & CLIENTS
        ((client, _, _),) = bus.receive_clients(10)
        for number in range(5000):
            bus.answer(client, refusal(number))
            if number % 50 == 49:
                while dealer.poll(0):
                    dealer.recv_multipart()
        assert not bus.poll(20) & CLIENTS

    def test_asks_no_socket_that_did_not_fire(self, world, monkeypatch):
        one, two = world.start("n1"), world.start("n2")
        until(lambda: two.send("n1", heartbeat()), "a connection", lambda: two.poll(10))
        until(lambda: one.poll(100) & PEERS, "the message")
        one.receive_peers(10)
        until(lambda: one.send("n2", heartbeat()), "the other connection", lambda: one.poll(10))
        one.disconnected()
        until(
            lambda: not one.poll(10),
            "silence",
            lambda: (one.disconnected(), one.receive_peers(9), one.receive_subscriptions()),
        )
        asked = []
        monkeypatch.setattr(one._pollers, "_ask", lambda socket, flag: asked.append(flag))
        one.poll(30)
        assert asked == []

    def test_a_wake_up_is_reported_until_it_is_read(self, world):
        bus = world.start("n1")
        fd = os.eventfd(0, os.EFD_NONBLOCK)
        try:
            bus.register_wakeup(fd)
            os.eventfd_write(fd, 1)
            assert bus.poll(5000) & WAKEUP
            assert bus.poll(5000, lazy_votes=True) & WAKEUP
            os.eventfd_read(fd)
            assert not bus.poll(0) & WAKEUP
        finally:
            os.close(fd)
