"""What waits in sockets for somebody who does not read is bounded in bytes (docs/MEMORY.md)."""

import os
import socket
import threading
import time

import pytest
import zmq

from paxosd.bus import client_answers, connections, peer_sender, port_watch, reception
from paxosd.bus.peer_link import VOTE_BYTES_MAX
from paxosd.bus.send_tracker import MARK_BYTES, SendTracker
from paxosd.bus.sockets import CLIENT_RECEIVE_MAX, PEER_RECEIVE_MAX
from paxosd.core.commands import Change, KeyValue
from paxosd.core.messages import Accept
from paxosd.core.requests import (
    HistoryAnswer,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    WriteAnswer,
)
from paxosd.core.types import Ballot
from paxosd.faults.plan import FaultPlan
from paxosd.host.byte_limits import CLIENT_BYTES_MAX, PEER_BYTES_MAX
from paxosd.wire import decode_answer, decode_peer, encode_client
from tests.bus.harness import World, heartbeat, next_clients, until

MB = 1_000_000
B = Ballot(1, "n1")
SOCKET_BYTES = 12 * MB
"""What the kernel may take besides, at both ends."""


def accept(size=MB, slot=1):
    return Accept(B, slot, b"x" * size, 0)


def large_read(number, size=MB):
    return ReadAnswer(number, 1, 1, 0, [KeyValue(b"k", b"x" * size, 1, 1, 1)])


class Peer:
    """Stands for n2, and reads only when :meth:`read` is called."""

    def __init__(self, world):
        self.socket = world.context.socket(zmq.ROUTER)
        world.sockets.append(self.socket)
        self.socket.setsockopt(zmq.RCVHWM, 1)
        self.socket.setsockopt(zmq.RCVTIMEO, 10_000)
        self.socket.bind(world.where["n2"]["peer"])

    def read(self):
        return decode_peer(self.socket.recv_multipart()[1], "dev").body


def bulk_bytes(bus, peer):
    """What the bus holds for a peer of what is large."""
    return bus._sockets.links[peer].unsent.held_bytes


def bulk_descriptor(bus):
    """The descriptor of the connection for what is large; -1: there was none yet."""
    return bus._sockets.links["n2"]._connected.get(True, -1)


def client_of(world, bus, **options):
    """A client that has asked something: (socket, its name to the bus)."""
    options = {"RCVTIMEO": 10_000} | options
    dealer = world.raw(zmq.DEALER, bus.endpoints["client"], **options)
    dealer.send(encode_client(ReadRequest(1, 0, [[1, b"k"]]), "dev"))
    [(client, _)] = next_clients(bus)
    return dealer, client


class TestPeers:
    def test_one_that_does_not_read_holds_so_many_bytes_and_no_more(self):
        with World() as world:
            bus = world.start("n1")
            Peer(world)
            message = accept()
            until(lambda: bus.send("n2", message), "a connection")
            taken = sum(bus.send("n2", message) for _ in range(100))
            assert bulk_bytes(bus, "n2") <= PEER_BYTES_MAX
            assert taken * MB <= PEER_BYTES_MAX + SOCKET_BYTES
            assert bus.counters["unsent.peer_full"] == 100 - taken

    def test_one_larger_message_goes_if_nothing_waits(self, monkeypatch):
        monkeypatch.setattr(peer_sender, "PEER_BYTES_MAX", 1000)
        with World() as world:
            bus = world.start("n1")
            peer = Peer(world)
            until(lambda: bus.send("n2", accept()), "a connection")
            assert peer.read() == accept()
            until(lambda: bulk_bytes(bus, "n2") < MARK_BYTES, "that it left")
            assert bus.send("n2", accept())

    def test_heartbeats_go_another_way_than_what_waits(self):
        with World() as world:
            bus = world.start("n1")
            peer = Peer(world)
            until(lambda: bus.send("n2", heartbeat(1)), "a connection")
            until(lambda: bus.send("n2", accept()), "a connection")
            until(lambda: not bus.send("n2", accept()), "that it is full")
            held = bulk_bytes(bus, "n2")
            for _ in range(100):
                assert bus.send("n2", heartbeat(2))
            assert bulk_bytes(bus, "n2") <= held
            until(lambda: peer.read() == heartbeat(2), "the heartbeat")

    def test_what_waits_is_dropped_when_its_own_connection_breaks(self):
        with World() as world:
            bus = world.start("n1")
            Peer(world)
            small, large = accept(MB // 2), accept(2 * MB)
            until(lambda: bus.send("n2", heartbeat(1)), "a connection")
            until(lambda: bus.send("n2", small), "a connection")
            until(lambda: not bus.send("n2", small), "that it is full")
            held = bulk_bytes(bus, "n2")
            until(lambda: (bus._sockets.read_quiet_monitors(0), bulk_descriptor(bus))[1] >= 0)
            with socket.socket(fileno=os.dup(bulk_descriptor(bus))) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            until(lambda: bus._sockets.bulk_ended("n2"), "its end")
            # Of what it held only the message that was leaving is done by itself.
            until(lambda: bus.send("n2", large), "a new connection with room")
            assert bulk_bytes(bus, "n2") < held

    def test_what_waits_is_dropped_when_the_other_connection_breaks(self):
        with World() as world:
            bus = world.start("n1")
            peer = Peer(world)
            until(lambda: bus.send("n2", heartbeat(1)), "a connection")
            until(lambda: bus.send("n2", accept()), "a connection")
            for _ in range(30):
                bus.send("n2", accept())
            assert bulk_bytes(bus, "n2") > MARK_BYTES
            bus._sockets.reset_bulk("n2")
            assert bulk_bytes(bus, "n2") == 0
            read = []
            fresh = accept(slot=2)
            until(lambda: bus.send("n2", fresh), "a new connection")
            until(lambda: read.append(peer.read()) or fresh in read, "what was sent last")

    def test_a_turn_takes_in_so_much_and_leaves_the_rest_in_the_socket(self, monkeypatch):
        monkeypatch.setattr(reception, "PEER_BYTES_AT_ONCE", 2 * MB)
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            until(lambda: one.send("n2", accept()), "a connection")
            for _ in range(9):
                assert one.send("n2", accept())
            counts = []

            def step():
                if two.poll(10):
                    before = two.counters["refused.stale_run"] + two.counters["received.peer"]
                    two.receive_peers(1000)
                    after = two.counters["refused.stale_run"] + two.counters["received.peer"]
                    counts.append(after - before)

            until(lambda: sum(counts) == 10, "all of them", step)
            assert max(counts) <= 2

    def test_every_socket_takes_few_messages_ahead(self):
        with World() as world:
            sockets = world.start("n1")._sockets
            assert sockets.peer.getsockopt(zmq.RCVHWM) == PEER_RECEIVE_MAX
            assert sockets.client.getsockopt(zmq.RCVHWM) == CLIENT_RECEIVE_MAX
            assert sockets.links["n2"].votes.getsockopt(zmq.MAXMSGSIZE) == VOTE_BYTES_MAX


class TestClients:
    def test_one_that_does_not_read_is_told_and_holds_no_more(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            lazy, client = client_of(world, bus, RCVHWM=1)
            taken = sum(bus.answer(client, large_read(number)) for number in range(100))
            assert 0 < taken < 100
            assert bus.answers.trackers.held_bytes <= CLIENT_BYTES_MAX
            assert taken * MB <= CLIENT_BYTES_MAX + SOCKET_BYTES
            assert bus.counters["unsent.client_slow"] == 100 - taken
            assert world.logs["n1"].of("bus.client_slow")
            answers = [decode_answer(lazy.recv()) for _ in range(100)]
            refused = [each for each in answers if type(each) is RefusalAnswer]
            assert len(refused) == 100 - taken
            assert {each.code for each in refused} == {"busy"}
            until(lambda: bus.answers.trackers.held_bytes < MARK_BYTES, "that all of it left")
            assert bus.answer(client, large_read(101))

    @pytest.mark.parametrize("why", ["a directive", "a fault"])
    def test_a_process_that_is_to_crash_waits_for_its_last_answer(self, why, monkeypatch):
        monkeypatch.setattr(client_answers, "ANSWERS_LEAVE_S", 60)
        monkeypatch.setattr(client_answers, "ANSWER_WRITE_S", 0)
        plan = FaultPlan(node="n1", nodes=("n1",))
        with World(("n1",)) as world:
            bus = world.start("n1", faults=plan)
            dealer, client = client_of(world, bus, RCVHWM=1)
            for _ in range(SOCKET_BYTES // MB + 2):
                assert bus.answer(client, large_read(1))
            if why == "a directive":
                bus.answers.expect_end()
            else:
                plan.add_args({"name": "x", "kind": "crash", "on": "n1"}, 0)
            assert bus.answer(client, WriteAnswer(2, 1, [5]))
            assert bus.answers.trackers.of(client).open_bytes == 0, "it is a mark, however small"
            ids = []

            def read():
                while 2 not in ids:
                    ids.append(decode_answer(dealer.recv()).request_id)

            reader = threading.Thread(target=read)
            reader.start()
            bus.answers.flush()
            assert not bus.answers.trackers.held_bytes
            reader.join()

    def test_a_client_that_does_not_read_delays_the_end_for_a_moment_only(self, monkeypatch):
        monkeypatch.setattr(client_answers, "ANSWERS_LEAVE_S", 0.05)
        with World(("n1",)) as world:
            bus = world.start("n1")
            _, client = client_of(world, bus, RCVHWM=1)
            for _ in range(SOCKET_BYTES // MB + 2):
                assert bus.answer(client, large_read(1))
            bus.answers.flush()
            assert bus.answers.trackers.held_bytes

    def test_even_small_answers_end_some_time(self, monkeypatch):
        monkeypatch.setattr(client_answers, "CLIENT_BYTES_MAX", 2 * MARK_BYTES)
        monkeypatch.setattr(client_answers, "REFUSE_BYTES_MAX", 3 * MARK_BYTES)
        with World(("n1",)) as world:
            bus = world.start("n1")
            _, client = client_of(world, bus, RCVHWM=1)
            answers = (WriteAnswer(1, 1, [5] * 5000), large_read(1, 20_000))
            for _ in range(1000):
                for answer in answers:
                    bus.answer(client, answer)
            assert bus.answers.trackers.of(client).held_bytes <= 4 * MARK_BYTES

    def test_all_together_hold_no_more_than_this(self, monkeypatch):
        monkeypatch.setattr(client_answers, "ANSWER_BYTES_MAX", 20 * MB)
        with World(("n1",)) as world:
            bus = world.start("n1")
            clients = [client_of(world, bus, RCVHWM=1)[1] for _ in range(4)]
            for number in range(40):
                for client in clients:
                    bus.answer(client, large_read(number))
            assert bus.answers.trackers.held_bytes <= 20 * MB
            good, client = client_of(world, bus)
            assert bus.answer(client, WriteAnswer(1, 1, [])), "what is small is for everybody"
            assert good.poll(5000)

    def test_a_page_of_history_is_refused_likewise(self, monkeypatch):
        monkeypatch.setattr(client_answers, "CLIENT_BYTES_MAX", MB)
        with World(("n1",)) as world:
            bus = world.start("n1")
            lazy, client = client_of(world, bus, RCVHWM=1)
            page = HistoryAnswer(7, [Change(1, 1, b"k", b"x" * MB)], 2, 2)
            assert sum(bus.answer(client, page) for _ in range(30)) < 30
            answers = [decode_answer(lazy.recv()) for _ in range(30)]
            assert RefusalAnswer in {type(each) for each in answers}

    def test_clients_that_are_gone_are_forgotten(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            dealer, client = client_of(world, bus)
            assert bus.answer(client, WriteAnswer(1, 1, []))
            dealer.close(0)
            until(lambda: not bus.answer(client, WriteAnswer(1, 1, [])), "its end")
            assert bus.answers.trackers._trackers == {}


class TestSubscribers:
    def subscriber(self, world, bus):
        sub = world.raw(zmq.SUB, bus.endpoints["events"], RCVHWM=1, RCVTIMEO=10_000)
        sub.setsockopt(zmq.SUBSCRIBE, b"kv/")
        until(
            lambda: (bus.poll(10), bus.receive_subscriptions())[1],
            "the subscription",
        )
        return sub

    def fill(self, bus, size):
        while bus.event_bytes_waiting < size:
            bus.publish(b"kv/k", b"x" * MB)

    def read_all(self, sub, bus):
        """That the last was read may be known here only after it was."""
        until(
            lambda: not bus.event_bytes_waiting,
            "all to be read",
            lambda: sub.poll(10) and sub.recv_multipart(),
        )

    def test_what_waits_for_them_is_known(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            bus.publish(b"kv/k", b"x" * MB)
            until(lambda: not bus.event_bytes_waiting, "that nobody holds it")
            sub = self.subscriber(world, bus)
            self.fill(bus, 5 * MB)
            self.read_all(sub, bus)

    def test_one_that_does_not_read_is_ended_and_comes_again(self, monkeypatch):
        monkeypatch.setattr(port_watch, "EVENT_BYTES_MAX", 4 * MB)
        monkeypatch.setattr(connections, "STUCK_MS", 50)
        with World(("n1",)) as world:
            bus = world.start("n1")
            bus.ports.limit({"peer": 10, "client": 10, "events": 10})
            sub = self.subscriber(world, bus)
            self.fill(bus, SOCKET_BYTES + 4 * MB)
            until(
                lambda: not bus.event_bytes_waiting,
                "its end",
                lambda: (bus.ports.end_stuck(bus.event_bytes_waiting), bus.poll(10)),
            )
            [line] = world.logs["n1"].of("bus.subscribers_slow")
            assert line["ended"] == 1
            until(
                lambda: (bus.poll(10), [n for n in bus.receive_subscriptions() if n[0]])[1],
                "another subscription",
                lambda: sub.poll(0) and sub.recv_multipart(),
            )
            until(
                lambda: sub.poll(10) and sub.recv_multipart()[1] == b"new",
                "a new event",
                lambda: bus.publish(b"kv/k", b"new"),
            )

    def test_one_that_reads_is_not_ended(self, monkeypatch):
        monkeypatch.setattr(port_watch, "EVENT_BYTES_MAX", 4 * MB)
        monkeypatch.setattr(connections, "STUCK_MS", 50)
        with World(("n1",)) as world:
            bus = world.start("n1")
            bus.ports.limit({"peer": 10, "client": 10, "events": 10})
            sub = self.subscriber(world, bus)
            self.fill(bus, 3 * MB)
            bus.ports.end_stuck(bus.event_bytes_waiting)
            self.read_all(sub, bus)
            deadline = time.monotonic() + 0.1
            until(
                lambda: time.monotonic() > deadline,
                step=lambda: bus.ports.end_stuck(bus.event_bytes_waiting),
            )
            assert not world.logs["n1"].of("bus.subscribers_slow")


class TestSendTracker:
    @pytest.mark.parametrize("size", [100, 5000, MARK_BYTES, MB])
    def test_nothing_is_held_once_all_was_read(self, size):
        with zmq.Context() as context:
            one, two = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
            one.copy_threshold = 0
            one.bind("inproc://unsent")
            two.connect("inproc://unsent")
            unsent = SendTracker()
            count = 3 + 10 * MARK_BYTES // (size + 100)
            count = min(count, 900)
            for _ in range(count):
                unsent.send(one, b"x" * size)
            assert unsent.held_bytes >= count * size
            for _ in range(count):
                two.recv()
            until(lambda: unsent.idle, "that it left")
            assert unsent.held_bytes < MARK_BYTES
            for each in (one, two):
                each.close(0)
