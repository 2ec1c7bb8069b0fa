"""Strangers on every port: whatever they send, the good neighbours notice nothing."""

import os
import random
import socket
from contextlib import contextmanager

import pytest
import zmq

from paxosd.core.messages import Accepted
from paxosd.core.requests import WriteRequest
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.wire import encode_client, encode_old, encode_peer
from tests.bus.harness import World, heartbeat, meet, next_clients, next_peers, take_peers, until

B = Ballot(1, "n1")
PORTS = ("peer", "client", "events")
SMALL = 65_536


@contextmanager
def town(**config):
    """n1 and n2 who know each other; yields (world, n1, n2)."""
    with World(**config) as world:
        one, two = world.start("n1"), world.start("n2")
        meet(world, "n1", "n2")
        yield world, one, two


def drain(bus):
    bus.poll(10)
    bus.receive_peers(1000)
    bus.receive_clients(1000)
    bus.receive_subscriptions()


def check_service(world, one, two, number=7777):
    """n2 still takes a heartbeat and a vote of n1, a client's request, a subscription."""
    until(lambda: one.send("n2", heartbeat(number)), "a send")
    vote = Accepted(B, ((number, number),), number)
    one.publish_accepted(vote)
    got = []
    until(
        lambda: ("n1", 1, heartbeat(number)) in got and ("n1", 1, vote) in got,
        "n1's messages",
        lambda: (two.poll(10), got.extend(take_peers(two))),
    )
    client = world.raw(zmq.DEALER, two.endpoints["client"])
    client.send(encode_client(WriteRequest(number, b""), "dev"))
    until(
        lambda: any(m == WriteRequest(number, b"") for _, m, _ in two.receive_clients(1000)),
        "the request",
        lambda: two.poll(10),
    )
    topic = b"kv/%d" % number
    world.raw(zmq.SUB, two.endpoints["events"], SUBSCRIBE=topic)
    until(lambda: (True, topic) in two.receive_subscriptions(), "the notice", lambda: two.poll(10))


class TestGarbage:
    @pytest.mark.parametrize("port", ["peer", "client"])
    def test_random_and_mangled_frames_are_counted_and_dropped(self, port):
        rng = random.Random(20251124)
        good = (
            encode_peer(heartbeat(1), "dev", "n1", 1)
            if port == "peer"
            else encode_client(WriteRequest(1, b""), "dev")
        )
        frames = [rng.randbytes(rng.randrange(200)) for _ in range(200)]
        frames += [good[: rng.randrange(len(good))] for _ in range(50)]
        frames += [b"\xdd\xff\xff\xff\xff", b"\x91" * 50_000, b"", b"\xc1"]
        with town() as (world, one, two):
            intruder = world.raw(zmq.DEALER, two.endpoints[port])
            for frame in frames:
                intruder.send(frame)

            def refused():
                return sum(n for key, n in two.counters.items() if key.startswith("refused."))

            until(lambda: refused() == len(frames), "every refusal", lambda: drain(two))
            lines = world.logs["n2"].of("bus.refused")
            assert 1 <= len(lines) <= 5  # one per reason, not one per frame
            assert {line["source"] for line in lines} == {"127.0.0.1"}
            assert all(line["count"] == 1 and line["detail"] for line in lines)
            check_service(world, one, two)

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            (encode_peer(heartbeat(), "other", "n1", 1), "cluster"),
            (encode_peer(heartbeat(), "dev", "n9", 1), "unknown_sender"),
            (encode_peer(heartbeat(), "dev", "n2", 1), "own_name"),
            (encode_old(heartbeat(), "other", "n1", 1), "cluster"),
            (encode_old(heartbeat(), "dev", "n9", 1), "unknown_sender"),
            (encode_old(heartbeat(), "dev", "n2", 1), "own_name"),
            (encode_client(WriteRequest(1, b""), "dev"), "envelope"),
        ],
        ids=[
            "cluster",
            "stranger",
            "own-name",
            "old-cluster",
            "old-stranger",
            "old-own-name",
            "client-frame",
        ],
    )
    def test_frames_of_the_wrong_origin(self, frame, reason):
        with town() as (world, one, two):
            world.raw(zmq.DEALER, two.endpoints["peer"]).send(frame)
            until(lambda: two.counters[f"refused.{reason}"], reason, lambda: drain(two))
            assert world.logs["n2"].of("bus.refused")[0]["reason"] == reason
            check_service(world, one, two)

    @pytest.mark.parametrize("port", ["peer", "client"])
    def test_more_frames_than_one(self, port):
        with town() as (world, one, two):
            intruder = world.raw(zmq.DEALER, two.endpoints[port])
            good = encode_peer(heartbeat(5), "dev", "n1", 1)
            intruder.send_multipart([good] * 500)
            intruder.send_multipart([b"", good])  # what a REQ socket would send
            until(lambda: two.counters["refused.frames"] == 2, "both", lambda: drain(two))
            check_service(world, one, two)

    @pytest.mark.parametrize(
        ("parts", "reason"),
        [
            ([b"accepted/n1"], "frames"),
            ([b"accepted/n1", b"x", b"y"], "frames"),
            ([b"accepted/n1", b"garbage"], "not_msgpack"),
            ([b"accepted/n1", encode_peer(heartbeat(), "dev", "n1", 1)], "topic"),
            ([b"accepted/n3", encode_peer(Accepted(B, (), 1), "dev", "n1", 1)], "topic"),
            ([b"accepted/n2", encode_peer(Accepted(B, (), 1), "dev", "n2", 1)], "own_name"),
        ],
        ids=str,
    )
    def test_a_publisher_that_sends_something_else_than_its_votes(self, parts, reason):
        with World() as world:
            two = world.start("n2")
            rogue = world.context.socket(zmq.PUB)
            world.sockets.append(rogue)
            rogue.bind(world.where["n1"]["events"])
            until(
                lambda: two.counters[f"refused.{reason}"],
                reason,
                lambda: (rogue.send_multipart(parts), drain(two)),
            )
            assert "n1" not in two.inbox.peer_runs.heard_ms


class TestOversize:
    @pytest.mark.parametrize("port", PORTS)
    def test_one_byte_too_many_closes_that_connection_only(self, port):
        with town(message_bytes_max=SMALL) as (world, one, two):
            limit = {"peer": 2 * SMALL + (1 << 20), "client": SMALL, "events": 65_536 + 64}[port]
            kind = zmq.XSUB if port == "events" else zmq.DEALER
            intruder = world.raw(kind, two.endpoints[port])
            watch = intruder.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            world.sockets.append(watch)
            # At the limit it is read, and refused for what it is.
            intruder.send(b"\x05" + b"x" * (limit - 1))
            until(
                lambda: sum(n for k, n in two.counters.items() if k.startswith("refused.")),
                "the refusal of a frame at the limit",
                lambda: drain(two),
            )
            assert not watch.poll(0)
            before = dict(two.counters)
            intruder.send(b"\x05" + b"x" * limit)
            until(lambda: watch.poll(0), "the disconnect", lambda: drain(two))
            assert two.counters == before
            intruder.disable_monitor()
            check_service(world, one, two)


class TestRawTcp:
    @pytest.mark.parametrize("port", PORTS)
    def test_idle_and_babbling_connections_disturb_nobody(self, port):
        with town() as (world, one, two):
            idle = [world.tcp(two.endpoints[port]) for _ in range(20)]
            for index, babbler in enumerate(world.tcp(two.endpoints[port]) for _ in range(20)):
                try:
                    babbler.sendall(b"GET / HTTP/1.0\r\n\r\n" if index % 2 else os.urandom(5000))
                except OSError:
                    continue  # it was closed in our face, which is fine
            check_service(world, one, two)
            # An unfinished handshake is ended by the daemon, not kept for ever.
            idle[0].settimeout(10)
            until(lambda: closed(idle[0]), "the end of an idle connection")

    def test_a_handshake_that_stops_half_way(self):
        with town() as (world, one, two):
            for port in PORTS:
                half = world.tcp(two.endpoints[port])
                half.sendall(b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03")
            check_service(world, one, two)


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(4096) == b""
    except ConnectionError:
        return True


class TestRoutingIds:
    def test_are_no_identity(self):
        """Taking a peer's or client's routing id gives nothing and takes nothing."""
        with town() as (world, one, two):
            for name in (b"n1", b"n2"):
                thief = world.raw(zmq.DEALER, two.endpoints["peer"], ROUTING_ID=name)
                thief.send(b"not a message")
            client = world.raw(zmq.DEALER, two.endpoints["client"], ROUTING_ID=b"me")
            client.send(encode_client(WriteRequest(1, b""), "dev"))
            [(identity, _)] = next_clients(two)
            assert identity == b"me"
            second = world.raw(zmq.DEALER, two.endpoints["client"], ROUTING_ID=b"me")
            second.send(encode_client(WriteRequest(2, b""), "dev"))
            check_service(world, one, two)

    def test_a_peer_port_takes_no_client_and_the_other_way_round(self):
        with town() as (world, one, two):
            lost = world.raw(zmq.DEALER, two.endpoints["client"])
            lost.send(encode_old(heartbeat(), "dev", "n1", 1))
            until(lambda: two.counters["refused.kind"], "the refusal", lambda: drain(two))
            lost.send(encode_peer(heartbeat(), "dev", "n1", 1))
            until(lambda: two.counters["refused.version"], "the refusal", lambda: drain(two))
            check_service(world, one, two)


class TestReconnect:
    def test_a_subscriber_and_a_peer_come_back_after_a_restart(self):
        with town() as (world, _, two):
            again = world.restart("n1", run_id=make_run_id(2, 0))
            meet(world, "n1", "n2")  # frames and votes, both ways
            assert again.send("n2", heartbeat(5))
            assert ("n1", make_run_id(2, 0), heartbeat(5)) in next_peers(two)
