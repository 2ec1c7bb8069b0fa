"""Connections whose frames are refused again and again are read seldom, and no others."""

import random
import socket
from contextlib import contextmanager

import pytest
import zmq

from paxosd.bus import pacing as pacing_module
from paxosd.bus.pacing import ALLOWANCES, FORGET_MS, PAUSE_MS, PAUSE_MS_MAX, TOPIC_BYTES, Pacing
from paxosd.bus.reception import REFUSED_AT_ONCE
from paxosd.bus.sockets import CLIENT_RECEIVE_MAX, PEER_RECEIVE_MAX
from paxosd.core.requests import WriteRequest
from paxosd.wire import encode_client, encode_peer
from tests.bus.harness import Clock, World, heartbeat, next_clients, next_notices, until
from tests.bus.keyed import KeyedWorld, await_count

CLIENT = ALLOWANCES["client"]


class Frame:
    """As one that came by this descriptor."""

    def __init__(self, descriptor, key=""):
        self._descriptor = descriptor
        self._key = key

    def get(self, what):
        return self._descriptor if what == 2 else self._key


class Site:
    """A listening socket, connections to it, and the pacing of them; time stands still."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        number = self.listener.getsockname()[1]
        self.pacing = Pacing(dict.fromkeys(ALLOWANCES, number))
        self.now_ms = 1000
        self._made = [self.listener]

    def close(self):
        for each in self._made:
            each.close()

    def connect(self, instead_of=None):
        """(theirs, ours). ``instead_of``: one that ends, and whose descriptor ours gets."""
        theirs = socket.create_connection(self.listener.getsockname())
        descriptor = -1 if instead_of is None else instead_of.fileno()
        if instead_of is not None:
            instead_of.close()
        ours, _ = self.listener.accept()
        assert descriptor in (-1, ours.fileno())
        ours.settimeout(10)
        theirs.settimeout(10)
        self._made += theirs, ours
        return theirs, ours

    def refuse(self, ours, count=1, port="client", key=""):
        """How long the connection was paused by any of so many refusals."""
        frame = Frame(ours.fileno(), key)
        return sum(self.pacing.refused(frame, port, self.now_ms) for _ in range(count))

    def after(self, ms):
        self.now_ms += ms
        self.pacing.tick(self.now_ms)


def is_heard(theirs, ours):
    """Whether what one sends reaches the other at once; if not, it is on its way."""
    theirs.sendall(b"x")
    ours.setblocking(False)
    try:
        return b"x" in ours.recv(100)
    except BlockingIOError:
        return False
    finally:
        ours.settimeout(10)


@pytest.fixture
def site():
    made = Site()
    yield made
    made.close()


class TestOneConnection:
    def test_it_is_paused_when_its_allowance_is_used_up_and_loses_nothing(self, site):
        theirs, ours = site.connect()
        assert site.refuse(ours, CLIENT.first) == 0
        assert is_heard(theirs, ours)
        assert site.refuse(ours) == PAUSE_MS
        assert not is_heard(theirs, ours)
        site.after(PAUSE_MS - 1)
        assert not is_heard(theirs, ours)
        site.after(1)
        got = b""
        while len(got) < 2:
            got += ours.recv(100)
        assert got == b"xx", "what it had sent meanwhile"

    def test_pauses_grow_up_to_a_bound(self, site):
        _, ours = site.connect()
        found = [site.refuse(ours, CLIENT.first + 1)]
        for _ in range(5):
            site.after(PAUSE_MS_MAX)
            found.append(site.refuse(ours, CLIENT.after + 1))
        assert found == [250, 500, 1000, 2000, 2000, 2000]

    def test_while_it_is_paused_what_it_had_sent_before_counts_no_more(self, site):
        _, ours = site.connect()
        assert site.refuse(ours, CLIENT.first + 500) == PAUSE_MS

    def test_refused_now_and_then_it_is_never_paused(self, site):
        _, ours = site.connect()
        for _ in range(2000):
            site.after(1000 // CLIENT.per_s)
            assert site.refuse(ours) == 0

    def test_after_a_quiet_time_it_starts_anew(self, site):
        theirs, ours = site.connect()
        site.refuse(ours, CLIENT.first + 1)
        site.after(PAUSE_MS)
        site.after(FORGET_MS)
        assert len(site.pacing) == 0
        assert site.refuse(ours, CLIENT.first) == 0
        assert is_heard(theirs, ours)

    def test_where_the_system_forbids_it_all_goes_on(self, site, monkeypatch):
        def forbidden(_):
            raise PermissionError

        monkeypatch.setattr(pacing_module, "_take_nothing", forbidden)
        theirs, ours = site.connect()
        assert site.refuse(ours, 3 * CLIENT.first) == 0
        assert is_heard(theirs, ours)


class TestOthers:
    def test_another_connection_is_not_paused_whatever_key_it_has(self, site):
        _, bad = site.connect()
        theirs, good = site.connect()
        site.refuse(bad, CLIENT.first + 1, key="app")
        assert is_heard(theirs, good)

    def test_what_a_connection_that_ended_had_sent_is_not_laid_to_the_next(self, site):
        """The descriptor is the same, and frames of the former one wait in libzmq's queue."""
        _, former = site.connect()
        site.refuse(former, CLIENT.first - 1)
        theirs, ours = site.connect(instead_of=former)
        assert site.refuse(ours, CLIENT_RECEIVE_MAX) == 0
        assert is_heard(theirs, ours)

    @pytest.mark.parametrize(
        ("port", "queue"), [("client", CLIENT_RECEIVE_MAX), ("peer", PEER_RECEIVE_MAX)]
    )
    def test_no_allowance_is_less_than_such_a_queue(self, port, queue):
        assert queue < ALLOWANCES[port].after <= ALLOWANCES[port].first

    def test_the_end_of_a_pause_touches_no_other_one(self, site):
        _, former = site.connect()
        site.refuse(former, CLIENT.first + 1)
        site.after(PAUSE_MS - 1)
        theirs, ours = site.connect(instead_of=former)
        assert site.refuse(ours, CLIENT.first + 1) == PAUSE_MS
        site.after(1)
        assert not is_heard(theirs, ours)

    def test_nor_does_a_pause_that_comes_just_as_the_connection_ends(self, site, monkeypatch):
        """libzmq has a thread of its own: between the look and the deed another connection may get
        the descriptor."""
        _, former = site.connect()
        made = []

        def late(connection):
            made.append(site.connect(instead_of=former))
            take_nothing(connection)

        take_nothing = pacing_module._take_nothing
        monkeypatch.setattr(pacing_module, "_take_nothing", late)
        site.refuse(former, CLIENT.first + 1)
        assert is_heard(*made[0])

    def test_a_new_connection_of_a_paced_key_begins_with_less_once_it_is_refused(self, site):
        _, bad = site.connect()
        site.refuse(bad, CLIENT.first + 1, key="app")
        _, again = site.connect()
        assert site.refuse(again, CLIENT.after, key="app") == 0
        assert site.refuse(again, key="app") == PAUSE_MS
        _, other = site.connect()
        assert site.refuse(other, CLIENT.first, key="ben") == 0
        _, keyless = site.connect()
        assert site.refuse(keyless, CLIENT.first) == 0

    def test_one_that_is_none_to_this_port_is_left_alone(self, site):
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            theirs = socket.create_connection(elsewhere.getsockname())
            ours, _ = elsewhere.accept()
            assert site.refuse(ours, 2 * CLIENT.first) == 0
            assert is_heard(theirs, ours)
            theirs.close()
            ours.close()

    def test_it_remembers_so_many_and_no_more(self, site, monkeypatch):
        monkeypatch.setattr(pacing_module, "CONNECTIONS_MAX", 3)
        made = [site.connect() for _ in range(5)]
        for _, ours in made:
            site.refuse(ours, CLIENT.first + 1)
        assert len(site.pacing) == 3
        assert is_heard(*made[0]), "who is forgotten is not paused any more"
        assert not is_heard(*made[4])


def garbage(rng):
    return b"\xc1" + rng.randbytes(20)


@contextmanager
def node(kind=World, **options):
    """One node with a clock in the hands of the test."""
    clock = Clock()
    with kind(("n1",)) as world:
        yield world, world.start("n1", now_ms=clock, **options), clock


class TestSockets:
    @pytest.mark.parametrize("port", ["client", "peer"])
    def test_a_flood_is_paced_logged_and_goes_on_later(self, port):
        rng = random.Random(5)
        with node() as (world, bus, clock):
            bad = world.raw(zmq.DEALER, bus.endpoints[port])
            for _ in range(ALLOWANCES[port].first + 1):
                bad.send(garbage(rng))
            await_count(bus, f"paced.{port}")
            before = bus.counters["refused.not_msgpack"]
            good = world.raw(zmq.DEALER, bus.endpoints["client"])
            good.send(encode_client(WriteRequest(7, b""), "dev"))
            bad.send(garbage(rng))
            assert next_clients(bus)[0][1] == WriteRequest(7, b"")
            assert bus.counters["refused.not_msgpack"] == before
            [line] = world.logs["n1"].of("bus.paced")
            assert (line["reason"], line["source"], line["pause_ms"]) == (port, "127.0.0.1", 250)
            clock.ms += 2 * PAUSE_MS
            await_count(bus, "refused.not_msgpack", least=before + 1)

    def test_a_request_among_refused_frames_is_served_after_the_pause(self):
        rng = random.Random(6)
        with node() as (world, bus, clock):
            client = world.raw(zmq.DEALER, bus.endpoints["client"])
            for _ in range(CLIENT.first + 1):
                client.send(garbage(rng))
            await_count(bus, "paced.client")
            client.send(encode_client(WriteRequest(7, b""), "dev"))
            clock.ms += 2 * PAUSE_MS
            bus.receive_peers(1)  # its sweep ends the pause
            assert next_clients(bus)[0][1] == WriteRequest(7, b"")

    def test_requests_among_refused_frames_all_come(self):
        with node() as (world, bus, _):
            client = world.raw(zmq.DEALER, bus.endpoints["client"])
            for number in range(4):
                client.send(b"\xc1")
                client.send(encode_client(WriteRequest(number, b""), "dev"))
            assert [message.request_id for _, message in next_clients(bus, 4)] == [0, 1, 2, 3]

    @pytest.mark.parametrize("port", ["client", "peer"])
    def test_one_look_refuses_so_many_and_no_more(self, port):
        rng, most, total = random.Random(8), 0, 3 * REFUSED_AT_ONCE
        with node() as (world, bus, _):
            bad = world.raw(zmq.DEALER, bus.endpoints[port])
            for _ in range(total):
                bad.send(garbage(rng))
            while (before := bus.counters["refused.not_msgpack"]) < total:
                bus.poll(1000)
                if port == "client":
                    bus.receive_clients(1000)
                else:
                    bus.receive_peers(1000)
                most = max(most, bus.counters["refused.not_msgpack"] - before)
        assert 0 < most <= REFUSED_AT_ONCE

    def test_a_peer_whose_messages_the_inbox_refuses_is_paced(self):
        with node() as (world, bus, _):
            liar = world.raw(zmq.DEALER, bus.endpoints["peer"])
            for _ in range(ALLOWANCES["peer"].first + 1):
                liar.send(encode_peer(heartbeat(), "dev", "nobody", 1))
            await_count(bus, "paced.peer")
            assert bus.counters["refused.unknown_sender"] > ALLOWANCES["peer"].first


class TestSubscriptions:
    def test_all_of_many_come_in_the_end(self):
        first = ALLOWANCES["events"].first
        with node() as (world, bus, clock):
            watcher = world.raw(zmq.SUB, bus.endpoints["events"], SNDHWM=0)
            topics = {b"kv/%d" % number for number in range(first + 700)}
            for topic in topics:
                watcher.subscribe(topic)
            got = {topic for _, topic in next_notices(bus, first + 1)}
            assert bus.counters["paced.events"] == 1
            until(
                lambda: got == topics,
                "all of them",
                lambda: (
                    setattr(clock, "ms", clock.ms + PAUSE_MS),
                    bus.receive_peers(1),
                    bus.poll(10),
                    got.update(topic for _, topic in bus.receive_subscriptions()),
                ),
            )

    def test_long_ones_count_more(self):
        with node() as (world, bus, _):
            watcher = world.raw(zmq.SUB, bus.endpoints["events"])
            count = ALLOWANCES["events"].first // 21 + 1
            for number in range(count):
                watcher.subscribe(b"%05d" % number + bytes(20 * TOPIC_BYTES))
            next_notices(bus, count)
            assert bus.counters["paced.events"] == 1

    def test_who_gives_too_many_bytes_of_them_is_ended(self, monkeypatch):
        monkeypatch.setattr(pacing_module, "TOPIC_BYTES_MAX", 10_000)
        with node() as (world, bus, _):
            other = world.raw(zmq.SUB, bus.endpoints["events"], SUBSCRIBE=b"kv/other")
            next_notices(bus)
            watcher = world.raw(zmq.SUB, bus.endpoints["events"])
            ended = watcher.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            for number in range(11):
                watcher.subscribe(b"%d" % number + bytes(1000))
            until(
                lambda: ended.poll(0), "its end", lambda: (bus.poll(5), bus.receive_subscriptions())
            )
            watcher.disable_monitor()
            ended.close(0)
            bus.publish(b"kv/other", b"still there")
            assert other.poll(10_000)


def test_once_all_gave_too_many_who_gave_most_is_ended(monkeypatch):
    monkeypatch.setattr(pacing_module, "TOPIC_BYTES_OF_ALL_MAX", 10_000)
    site = Site()
    small, (theirs, most), last = site.connect(), site.connect(), site.connect()
    for (_, ours), size in ((small, 3000), ((theirs, most), 6000), (last, 2000)):
        assert site.pacing.refused(Frame(ours.fileno()), "events", 1, 1, size) == 0
    assert theirs.recv(1) == b"", "it was ended"
    assert is_heard(*small)
    assert is_heard(*last)
    assert len(site.pacing) == 2
    site.close()


def test_of_connections_that_ended_the_bytes_do_not_count(monkeypatch):
    monkeypatch.setattr(pacing_module, "TOPIC_BYTES_OF_ALL_MAX", 10_000)
    site = Site()
    _, former = site.connect()
    assert site.pacing.refused(Frame(former.fileno()), "events", 1, 1, 4000) == 0
    former.close()
    theirs, ours = site.connect()
    assert site.pacing.refused(Frame(ours.fileno()), "events", 1, 1, 7000) == 0
    assert is_heard(theirs, ours)
    site.close()


def test_a_key_that_connects_anew_is_paced_sooner():
    rng = random.Random(7)
    with node(KeyedWorld) as (world, bus, _):
        server = world.pairs["n1"][0]

        def dial():
            return world.dial(zmq.DEALER, bus.endpoints["client"], world.app, server)

        first = dial()
        for _ in range(CLIENT.first + 1):
            first.send(garbage(rng))
        await_count(bus, "paced.client")
        again, good = dial(), dial()
        for _ in range(CLIENT.after + 1):
            again.send(garbage(rng))
        await_count(bus, "paced.client", least=2)
        good.send(encode_client(WriteRequest(7, b""), "dev"))
        assert next_clients(bus)[0][1] == WriteRequest(7, b"")
