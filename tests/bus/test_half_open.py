"""Connections that are dead though nobody closed them, and other mechanisms than ours."""

import ast
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
import zmq

import paxosctl
import paxosd
from paxosctl.client.transport import Transport
from paxosd.bus import bus, connections, link_doubts, socket_set
from paxosd.bus.binding import BindError
from paxosd.core.messages import Accepted, Heartbeat, Hello, Welcome
from paxosd.core.requests import AdminAnswer, AdminRequest, WriteAnswer, WriteRequest
from paxosd.core.types import Ballot
from paxosd.net import silence
from paxosd.wire import encode_client, encode_peer
from tests.bus.black_hole import BlackHole
from tests.bus.full_queue import flood
from tests.bus.harness import World, heartbeat, meet, next_clients, take_peers, until
from tests.bus.test_intruders import PORTS, check_service, drain, town

B = Ballot(1, "n1")


@pytest.fixture
def impatient(monkeypatch):
    """Dead connections are noticed in a fraction of a second instead of three."""
    monkeypatch.setattr(link_doubts, "SILENCE_MS", 400)
    monkeypatch.setattr(silence, "ASK_MS", 100)
    monkeypatch.setattr(silence, "SILENCE_MS", 400)
    monkeypatch.setattr(bus, "SWEEP_MS", 50)
    monkeypatch.setattr(socket_set, "HANDSHAKE_IVL_MS", 400)


def talk(bus, heard, seq):
    """What a node sends that hears nobody: heartbeats and votes to all, and a Hello to each peer
    that does not answer; ``heard``: the peers from which a Welcome has come."""
    others = list(bus._sockets.peers)
    for other in others:
        bus.send(other, Heartbeat(B, "n1", 0, seq, 0, 0))
    bus.publish_accepted(Accepted(B, ((seq, seq),), seq))
    for name in others:
        if name not in heard:
            bus.send(name, Hello())
    bus.poll(5)
    bus.receive_subscriptions()
    for sender, run_id, message in take_peers(bus):
        if isinstance(message, Hello):
            bus.send(sender, Welcome(run_id))
        elif isinstance(message, Welcome):
            heard.add(sender)
    bus.disconnected()


class TestOptions:
    def test_every_socket_has_bounds_and_a_finite_linger_and_notices_a_dead_end(self):
        with town() as (_, one, _two):
            sockets = [each for each in one._sockets.all if each.type != zmq.PAIR]
            assert len(sockets) >= 5
            for each in sockets:
                assert 0 < each.getsockopt(zmq.MAXMSGSIZE) <= one._sockets._config.peer_bytes_max
                check_finds_dead_end(each)
                assert 0 <= each.getsockopt(zmq.LINGER) <= 1000
                assert each.getsockopt(zmq.SNDHWM) > 0
                assert each.getsockopt(zmq.RCVHWM) > 0
                if each.type in (zmq.DEALER, zmq.SUB):
                    low, high = zmq.RECONNECT_IVL, zmq.RECONNECT_IVL_MAX
                    assert 0 < each.getsockopt(low) < each.getsockopt(high) <= 5000

    def test_so_has_every_socket_of_a_client(self):
        transport = Transport()
        try:
            for kind in (zmq.DEALER, zmq.SUB):
                check_finds_dead_end(transport.socket(kind))
        finally:
            transport.close()

    def test_nobody_of_ours_turns_heartbeats_on(self):
        for package in (paxosd, paxosctl):
            for path in Path(package.__file__).parent.rglob("*.py"):
                assert "zmq.HEARTBEAT" not in path.read_text(), path


def check_finds_dead_end(each):
    assert each.getsockopt(zmq.HEARTBEAT_IVL) == 0, "it would abort: bus_sockets.py"
    assert each.getsockopt(zmq.HEARTBEAT_TTL) == 0
    assert each.getsockopt(zmq.TCP_KEEPALIVE) == 1
    assert 0 < each.getsockopt(zmq.TCP_KEEPALIVE_IDLE) <= 5
    assert 0 < each.getsockopt(zmq.TCP_MAXRT) <= 15_000


class TestBlackHole:
    """PITFALLS, ZeroMQ 6 and 11."""

    @pytest.mark.parametrize("port", ["events", "peer"])
    def test_what_is_heard_of_a_peer_comes_back_after_it(self, port, impatient):
        with World() as world:
            one = world.start("n1")
            if port == "events":  # n2's SUB goes through the hole
                with BlackHole(world.where["n1"]["events"]) as hole:
                    world.where["n1"] = world.where["n1"] | {"events": hole.endpoint}
                    self.check(world, hole, world.start("n2"), one)
            else:  # n2's DEALER to n1 does
                with BlackHole(world.where["n1"]["peer"]) as hole:
                    world.where["n1"] = world.where["n1"] | {"peer": hole.endpoint}
                    self.check(world, hole, world.start("n2"), one)

    def check(self, world, hole, two, one):
        meet(world, "n1", "n2")
        heard, seqs = {one: set(), two: set()}, count(1)

        def step():
            seq = next(seqs)
            for each in (one, two):
                talk(each, heard[each], seq)

        until(lambda: "n2" in heard[one] and "n1" in heard[two], "Welcomes", step)
        connections = hole.live
        hole.swallow()

        def step_unheard():
            heard[one].clear()  # n1 does not hear n2 any more, if it is the peers' connection …
            step()

        # … and until n2's end is given up only the protocol shows it that the other end is dead.
        until(lambda: hole.dead > connections, "a new connection", step_unheard)
        hole.heal()
        until(lambda: hole.live, "a connection that works", step)
        meet(world, "n1", "n2")
        for each in list(world.buses.values()):
            each.close()
        world.buses.clear()

    def test_a_peer_that_is_not_heard_either_is_connected_to_anew(self, impatient):
        """Both ways are dead: only this node's own Hello, which is not answered, shows it."""
        with World() as world, BlackHole(world.where["n1"]["peer"]) as hole:
            world.start("n1")
            world.where["n1"] = world.where["n1"] | {"peer": hole.endpoint}
            two = world.start("n2")
            until(lambda: two.send("n1", heartbeat()), "a connection")
            connections = hole.live
            hole.swallow()
            gone = []

            def step():
                two.send("n1", Hello())
                two.poll(5)
                two.receive_peers(100)
                gone.extend(two.disconnected())

            until(lambda: hole.dead > connections, "a new connection", step)
            assert gone[:1] == ["n1"]

    def test_a_stranger_on_a_peers_port_bars_its_way_no_longer_than_it_stays(self, impatient):
        """What it sends fills the queue of a socket that is never read: its end goes unnoticed."""
        with World() as world:
            stranger = world.context.socket(zmq.ROUTER)
            stranger.setsockopt(zmq.LINGER, 0)
            stranger.setsockopt(zmq.ROUTER_MANDATORY, 1)
            stranger.setsockopt(zmq.SNDHWM, 100)
            stranger.bind(world.where["n2"]["peer"])
            one = world.start("n1")
            until(lambda: one.send("n2", Hello()), "a connection")
            flood(stranger, stranger.recv_multipart()[0])
            stranger.close()

            def start():
                with suppress(BindError):
                    return world.start("n2")

            two = until(start, "its port")

            def step():
                one.send("n2", Hello())
                one.poll(5)
                one.receive_peers(100)
                one.disconnected()

            until(lambda: take_peers(two), "a Hello", lambda: (step(), two.poll(5)))

    def test_connections_that_work_are_left_alone(self, impatient):
        with town() as (_, one, two):
            heard, seqs = {one: set(), two: set()}, count(1)
            until_ms = time.monotonic() + 6 * link_doubts.SILENCE_MS / 1000
            while time.monotonic() < until_ms:
                seq = next(seqs)
                for each in (one, two):
                    talk(each, heard[each], seq)
            for each in (one, two):
                assert not [name for name in each.counters if name.startswith("redialled")]

    def test_the_relay_finds_it_out(self, impatient):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            with BlackHole(two.endpoints["client"]) as hole:
                one.relay.aim(hole.endpoint)
                request = WriteRequest(1, b"")
                until(lambda: (one.poll(5), one.relay.send(request))[1], "a connection")
                [(client, _)] = next_clients(two)
                two.answer(client, WriteAnswer(1, 1, [1]))
                answers = until(lambda: (one.poll(5), one.relay.receive(100))[1], "an answer")
                assert answers == [WriteAnswer(1, 1, [1])]
                hole.swallow()
                assert one.relay.send(request)
                until(
                    lambda: (one.poll(5), one.relay.receive(100), one.relay.take_lost())[2],
                    "the end of the connection",
                )

    def test_the_relay_waits_for_a_leader_that_is_there(self, impatient):
        """A write may take its time: the leader answers that it is alive, though."""
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            one.relay.aim(two.endpoints["client"])
            request = WriteRequest(1, b"")
            until(lambda: (one.poll(5), one.relay.send(request))[1], "a connection")
            asked = []

            def step():
                one.poll(5)
                assert one.relay.receive(100) == []
                assert not one.relay.take_lost()
                two.poll(5)
                for client, message, _ in two.receive_clients(100):
                    if isinstance(message, AdminRequest):
                        asked.append(message.verb)
                        two.answer(client, AdminAnswer(message.request_id, {}))

            until(lambda: len(asked) >= 4, "questions", step)
            assert set(asked) == {"alive"}

    def test_a_client_is_heard_again_while_its_old_connection_still_lives_here(self):
        """As our clients and peers choose no routing id, the new connection has one of its own:
        the half-open one, which is given up after seconds only, cannot shut it out."""
        with town() as (world, _, two), BlackHole(two.endpoints["client"]) as hole:
            client = world.raw(  # not of ours, for it sends heartbeats
                zmq.DEALER, hole.endpoint, HEARTBEAT_IVL=100,
                HEARTBEAT_TIMEOUT=300, HANDSHAKE_IVL=400, RECONNECT_IVL=20, RECONNECT_IVL_MAX=100,
            )  # fmt: skip
            client.send(encode_client(WriteRequest(1, b""), "dev"))
            [(old, _)] = next_clients(two)
            hole.swallow()
            until(lambda: hole.dead > 1, "a new connection", lambda: drain(two))
            hole.heal()
            got = []

            def ask():
                with suppress(zmq.Again):
                    client.send(encode_client(WriteRequest(2, b""), "dev"), zmq.NOBLOCK)
                two.poll(10)
                got.extend(two.receive_clients(1000))

            until(lambda: got, "a request on the new connection", ask)
            assert got[0][1] == WriteRequest(2, b"")
            assert got[0][0] != old

    def test_nobody_of_ours_chooses_a_routing_id(self):
        for package in (paxosd, paxosctl):
            for path in Path(package.__file__).parent.rglob("*.py"):
                assert "ROUTING_ID" not in path.read_text(), path
                assert "zmq.IDENTITY" not in path.read_text(), path


class TestOtherMechanisms:
    @pytest.mark.parametrize("port", PORTS)
    @pytest.mark.parametrize("mechanism", ["plain", "curve"])
    def test_reach_no_handler(self, port, mechanism):
        """PITFALLS, ZeroMQ 4."""
        options = {"PLAIN_USERNAME": b"n1", "PLAIN_PASSWORD": b"secret"}
        if mechanism == "curve":
            public, secret = zmq.curve_keypair()
            options = {
                "CURVE_SERVERKEY": public, "CURVE_PUBLICKEY": public, "CURVE_SECRETKEY": secret,
            }  # fmt: skip
        with town() as (world, one, two):
            counted = dict(two.counters)
            kind = zmq.SUB if port == "events" else zmq.DEALER
            if kind == zmq.SUB:
                options["SUBSCRIBE"] = b"kv/stranger"
            strangers = [world.raw(kind, two.endpoints[port], **options) for _ in range(3)]
            if kind == zmq.DEALER:
                frame = encode_client(WriteRequest(1, b"x"), "dev")
                if port == "peer":
                    frame = encode_peer(Accepted(B, ((1, 1),), 1), "dev", "n1", 99)
                for each in strangers:
                    each.send(frame, zmq.NOBLOCK)
            check_service(world, one, two)
            notices = two.receive_subscriptions()
            assert (True, b"kv/stranger") not in notices
            assert not two.receive_clients(1000)
            refused = {k: n for k, n in two.counters.items() if k.startswith("refused.")}
            assert refused == {k: n for k, n in counted.items() if k.startswith("refused.")}


class TestThreads:
    def test_modules_with_threads_of_their_own_have_no_sockets(self):
        """PITFALLS, ZeroMQ 14: what runs in another thread cannot reach a socket."""
        threaded = []
        home = Path(paxosd.__file__).parent
        for path in sorted(home.rglob("*.py")):
            tree = ast.parse(path.read_text())
            calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
            if not {"threading.Thread", "Thread"} & calls:
                continue
            threaded.append(str(path.relative_to(home)))
            imported = set()
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    imported |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(node.module)
            named = {name for name in imported if name.split(".")[-1].startswith(("zmq", "bus"))}
            if path.name != "connections.py":
                assert not named, f"{path.name} runs threads and knows sockets: {named}"
        known = [
            "bus/connections.py", "daemon/http_server.py", "daemon/log_sink.py",
            "daemon/recorder_writer.py",
            "daemon/trace_writer.py", "daemon/worker.py", "net/probe.py",
            "net/resolver.py", "storage/wal_mark.py", "storage/wal_segments.py",
        ]  # fmt: skip
        assert threaded == known

    def test_the_thread_that_counts_connections_has_sockets_of_its_own_alone(self):
        """What listens belongs to the loop: it is reached when the guard is made and closed."""
        tree = ast.parse(Path(connections.__file__).read_text())
        (guard,) = [n for n in tree.body if getattr(n, "name", "") == "ConnectionGuard"]
        reaching = {
            method.name
            for method in guard.body
            if isinstance(method, ast.FunctionDef) and "_listening" in ast.unparse(method)
        }
        assert reaching == {"__init__", "close"}
