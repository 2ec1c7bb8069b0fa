"""Strangers on every port of a working cluster: counted, logged seldom, harmless.

What each kind of bad frame does to one bus is in tests/bus; here the point is that whole daemons
go on serving meanwhile, and that neither their logs nor their memory grow with the noise.
"""

import os
import random
import socket
import threading
import time

import pytest
import zmq

from paxosd.core.messages import Accept, Heartbeat, Prepare, PreVote
from paxosd.core.requests import GET, LINEARIZABLE, ReadAnswer, ReadRequest, WriteRequest
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.wire import encode_client, encode_old, encode_peer
from tests.processes.load import Load
from tests.processes.processes import SETTINGS, Daemons, wait_for

PORTS = ("peer", "client", "events")
MESSAGE_BYTES_MAX = SETTINGS["limits"]["message_bytes_max"]
LIMITS = {"peer": 2 * MESSAGE_BYTES_MAX + (1 << 20), "client": MESSAGE_BYTES_MAX, "events": 65_600}
HIGH = Ballot(1_000_000, "n9")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Daemons(tmp_path_factory.mktemp("garbage")) as started:
        started.start()
        started.wait_leader()
        yield started


@pytest.fixture
def daemons(cluster):
    """The cluster; what a test did to it must leave it whole."""
    yield cluster
    with cluster.client(timeout_s=30.0) as client:
        revision = client.put(b"after", b"garbage")
        assert client.get(b"after").modify_revision == revision
    for name in cluster.names:
        assert cluster.processes[name].poll() is None
        assert cluster.status(name, 5.0)["incarnation"] == cluster.starts[name]
        assert not cluster.events(name, "node.failed")


def counters(daemons, name):
    return daemons.status(name, 10.0)["counters"]


def refused(daemons, name, reason=""):
    """How many frames a node has refused, for this reason or in all."""
    found = counters(daemons, name)
    if reason:
        return found.get(f"refused.{reason}", 0)
    return sum(count for key, count in found.items() if key.startswith("refused."))


def wait_refused(daemons, name, count, reason=""):
    """Wait until it has refused ``count`` frames in all since it started."""
    return wait_for(
        lambda: refused(daemons, name, reason) >= count, what=f"{count} refusals at {name}"
    )


def tcp(daemons, name, port):
    return socket.create_connection(("127.0.0.1", daemons.ports[name][port]), timeout=10)


def of_version(version, frame):
    """The frame with another number in the envelope's first place."""
    return frame[:1] + bytes([version]) + frame[2:]


class Flood(threading.Thread):
    """Sends frames as fast as the other side takes them, until stopped."""

    def __init__(self, daemons, name, port, frames):
        super().__init__(daemon=True)
        self.sent = 0
        self._where = daemons, name, port
        self._frames = frames
        self._over = threading.Event()

    def run(self):
        daemons, name, port = self._where
        with daemons.raw(name, port, SNDHWM=100) as raw:
            while not self._over.is_set():
                if raw.socket.poll(50, zmq.POLLOUT):
                    raw.socket.send(self._frames[self.sent % len(self._frames)])
                    self.sent += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join(30)


class TestNoise:
    def test_on_every_port_during_load(self, daemons):
        """Random bytes, truncated frames, nesting bombs, claims of 2^32 items."""
        leader = daemons.wait_leader()
        rng = random.Random(20251124)
        good = encode_peer(Heartbeat(HIGH, "n1", 1, 1, 1, 1), "test", "n1", 1)
        frames = [rng.randbytes(rng.randrange(300)) for _ in range(200)]
        frames += [good[: rng.randrange(len(good))] for _ in range(50)]
        frames += [b"\xdd\xff\xff\xff\xff", b"\x91" * 20_000, b"", b"\xc1", b"\xc7\x00\xff"]
        before = {name: daemons.status(name)["rss_bytes"] for name in daemons.names}
        refused_before = refused(daemons, leader)
        lines_before = len(daemons.events(leader, "bus.refused"))
        with (
            Load(daemons) as load,
            Flood(daemons, leader, "peer", frames) as peer,
            Flood(daemons, leader, "client", frames) as client,
        ):
            began = time.monotonic()
            load.wait_more(1500, timeout_s=120)
            wait_for(lambda: peer.sent > 2000 and client.sent > 2000, what="the floods")
            took_s = time.monotonic() - began
        load.check()
        wait_refused(daemons, leader, refused_before + 4000)
        # Per source, reason and interval of 10 s one line; there are few reasons.
        lines = len(daemons.events(leader, "bus.refused")) - lines_before
        assert 1 <= lines <= 10 * (2 + took_s / 10)
        for name in daemons.names:
            assert daemons.status(name, 5.0)["rss_bytes"] < before[name] + (64 << 20)

    def test_messages_of_many_frames(self, daemons):
        for name in daemons.names:
            before = refused(daemons, name, "frames")
            for port in ("peer", "client"):
                with daemons.raw(name, port, LINGER=5000) as raw:
                    raw.socket.send_multipart([b"x"] * 2000)
                    raw.socket.send_multipart([b"", encode_client(ReadRequest(1, 0, []), "")])
                    wait_refused(daemons, name, before + 2, "frames")
                before = refused(daemons, name, "frames")

    def test_a_subscriber_that_says_something_else(self, daemons):
        name = daemons.names[0]
        before = refused(daemons, name, "subscription")
        with daemons.raw(name, "events", kind=zmq.XSUB) as raw:
            raw.socket.send(b"\x05hello")
            wait_refused(daemons, name, before + 1, "subscription")

    def test_subscriptions_without_end(self, daemons):
        """More topics than limits.subscriptions_max: no state is kept for the rest."""
        name = daemons.names[0]
        before = daemons.status(name)["rss_bytes"]
        with daemons.raw(name, "events", kind=zmq.SUB, SNDHWM=0) as raw:
            for number in range(20_000):
                raw.socket.setsockopt(zmq.SUBSCRIBE, b"kv/%d" % number)
            daemons.wait_event(name, "bus.subscriptions_full")
            with daemons.client(timeout_s=30.0) as client:
                client.put(b"1", b"still")
        assert daemons.status(name, 10.0)["rss_bytes"] < before + (64 << 20)


class TestGoneAfterAFlood:
    @pytest.mark.parametrize("port", ["peer", "client"])
    def test_a_node_that_reads_late_survives_who_sent_much_and_left(self, daemons, port):
        """libzmq aborts the process if it has a heartbeat to send on such a connection."""
        name = daemons.wait_leader()
        daemons.admin(name, "fault_add", name="late", kind="pause", on=name, ms=2500)
        with daemons.raw(name, port, SNDHWM=100) as raw:
            sent = 0
            while raw.socket.poll(500, zmq.POLLOUT):  # until the queues and buffers are full
                raw.socket.send(b"x" * 300)
                sent += 1
        print(f"{sent} frames")
        wait_for(lambda: daemons.status(name), what="the end of the pause")
        daemons.heal()
        daemons.wait_leader()


class TestOversize:
    @pytest.mark.parametrize("port", PORTS)
    def test_a_byte_above_the_limit_closes_that_connection(self, daemons, port):
        name = daemons.names[0]
        kind = zmq.XSUB if port == "events" else zmq.DEALER
        before = daemons.status(name)["rss_bytes"]
        with daemons.raw(name, port, kind=kind) as raw:
            watch = raw.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            too_long = b"\x05" + b"x" * LIMITS[port]  # limit + 1
            for _ in range(10):

                def is_cut():
                    raw.socket.send(too_long)  # again and again: an XSUB drops while it connects
                    return watch.poll(100)

                wait_for(is_cut, what="the end of the connection")
                while watch.poll(0):
                    watch.recv_multipart()
            raw.socket.disable_monitor()
            watch.close(0)
        assert daemons.status(name, 5.0)["rss_bytes"] < before + (64 << 20)

    def test_requests_at_and_above_the_limits_of_an_entry_are_refused_in_words(self, daemons):
        with daemons.client(timeout_s=20.0) as client:
            value_max = SETTINGS["limits"]["value_bytes_max"]
            client.put(b"k" * 4096, b"v" * value_max)
            for key, value, words in [
                (b"k" * 4097, b"", "limits.key_bytes_max"),
                (b"k", b"v" * (value_max + 1), "limits.value_bytes_max"),
            ]:
                error = client.pipeline().put(key, value).error()
                assert error.code == "invalid"
                assert words in str(error)


class TestRawTcp:
    @pytest.mark.parametrize("port", PORTS)
    def test_idle_and_babbling_connections(self, daemons, port):
        name = daemons.wait_leader()
        connections = [tcp(daemons, name, port) for _ in range(60)]
        try:
            for index, connection in enumerate(connections[:40]):
                try:
                    connection.sendall(
                        [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(20_000)][index % 2]
                    )
                except OSError:
                    continue  # closed in our face, which is fine
            with daemons.client(timeout_s=30.0) as client:
                for number in range(50):
                    client.put(b"tcp", b"%d" % number)
            # The daemon ends a handshake that never comes.
            wait_for(lambda: is_closed(connections[-1]), what="the end of an idle connection")
        finally:
            for connection in connections:
                connection.close()


class TestWrongOrigin:
    @pytest.mark.parametrize(
        ("port", "frame", "reason"),
        [
            ("peer", encode_peer(Prepare(HIGH, 1), "prod", "n1", 9), "cluster"),
            ("peer", encode_peer(Prepare(HIGH, 1), "test", "n9", 9), "unknown_sender"),
            ("peer", of_version(7, encode_peer(Prepare(HIGH, 1), "test", "n1", 9)), "version"),
            ("client", of_version(7, encode_client(WriteRequest(1, b""), "test")), "version"),
            ("peer", encode_client(WriteRequest(1, b""), "test"), "envelope"),
            ("client", encode_client(WriteRequest(1, b""), "prod"), "cluster"),
            ("client", encode_old(Prepare(HIGH, 1), "test", "n1", 9), "kind"),
            ("client", encode_peer(Prepare(HIGH, 1), "test", "n1", 9), "version"),
        ],
        ids=[
            "cluster",
            "stranger",
            "version",
            "client-version",
            "client-frame",
            "client-cluster",
            "old-peer-frame",
            "peer-frame",
        ],
    )
    def test_is_refused_and_changes_nothing(self, daemons, port, frame, reason):
        leader = daemons.wait_leader()
        for name in daemons.names:
            before = refused(daemons, name, reason)
            with daemons.raw(name, port) as raw:
                raw.socket.send(frame)
                wait_refused(daemons, name, before + 1, reason)
            daemons.wait_event(name, "bus.refused", reason=reason)
            assert daemons.status(name)["promised"][0] < HIGH.round
        assert daemons.wait_leader() == leader


class TestReplay:
    def test_frames_of_an_old_incarnation_change_nothing(self, daemons):
        """PITFALLS, ZeroMQ 13: n1's frames of an earlier run, with a ballot above all."""
        leader = daemons.wait_leader()
        old = daemons.followers(leader)[0]
        others = [name for name in daemons.names if name != old]
        now = daemons.status(old)["incarnation"]
        daemons.kill(old)
        daemons.start(old)
        daemons.wait_up(old)
        daemons.wait_leader()
        with daemons.client(timeout_s=30.0) as client:
            client.put(b"replay", b"before")
        for name in others:
            wait_for(
                lambda name=name: 0 <= daemons.status(name)["peers"][old]["heard_ms_ago"] < 1000,
                what=f"{name} to hear the new life of {old}",
            )
            promised = daemons.status(name)["promised"]
            before = refused(daemons, name, "stale_run")
            with daemons.raw(name, "peer") as raw:
                for message in (
                    Prepare(HIGH, 1),
                    Accept(HIGH, 1, b"", 0),
                    PreVote(HIGH, 1 << 40),
                ):
                    raw.socket.send(encode_peer(message, "test", old, make_run_id(now, 7)))
                wait_refused(daemons, name, before + 3, "stale_run")
            assert daemons.status(name)["promised"] == promised
            peer_runs = {"sender_boot_count": now, "highest_boot_count": now + 1}
            # A line has the latest of what was refused meanwhile, and others are refused, too: a
            # message may come before its sender's Hello, on the other connection.
            with daemons.raw(name, "peer") as raw:
                frame = encode_peer(Prepare(HIGH, 1), "test", old, make_run_id(now, 7))

                def is_logged(name=name, raw=raw, frame=frame, peer_runs=peer_runs):
                    raw.socket.send(frame)
                    events = daemons.events(name, "bus.stale_run")
                    return any(peer_runs.items() <= event.items() for event in events)

                wait_for(is_logged, what=f"the refusal in the log of {name}")
        with daemons.raw(leader) as raw:
            answer = raw.ask(ReadRequest(0, LINEARIZABLE, [[GET, b"replay"]]))
            assert isinstance(answer, ReadAnswer)


def is_closed(connection):
    try:
        connection.settimeout(1)
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
