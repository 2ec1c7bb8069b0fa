"""Connections that are dead though nobody closed them, and other mechanisms than ours."""

import ast
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

import paxosctl
import paxosd
from paxosd import bus_sockets, connections
from paxosd.core.messages import Accepted
from paxosd.core.requests import WriteRequest
from paxosd.core.types import Ballot
from paxosd.wire import encode_client, encode_peer
from tests.bus.black_hole import BlackHole
from tests.bus.harness import World, meet, next_clients, until
from tests.bus.test_intruders import PORTS, check_service, drain, town

B = Ballot(1, "n1")


@pytest.fixture
def impatient(monkeypatch):
    """Dead connections are noticed in a fraction of a second instead of three."""
    monkeypatch.setattr(bus_sockets, "HEARTBEAT_IVL_MS", 100)
    monkeypatch.setattr(bus_sockets, "HEARTBEAT_TIMEOUT_MS", 400)
    monkeypatch.setattr(bus_sockets, "HANDSHAKE_IVL_MS", 400)


class TestOptions:
    def test_every_socket_has_bounds_and_a_finite_linger_and_notices_a_dead_end(self):
        with town() as (_, one, _two):
            sockets = [each for each in one._sockets._all if each.type != zmq.PAIR]
            assert len(sockets) >= 5
            for each in sockets:
                assert 0 < each.getsockopt(zmq.MAXMSGSIZE) <= one._sockets._config.peer_bytes_max
                if each.type in (zmq.ROUTER, zmq.XPUB):
                    assert each.getsockopt(zmq.HEARTBEAT_IVL) == 0, "it would abort: bus_sockets.py"
                    assert each.getsockopt(zmq.TCP_KEEPALIVE) == 1
                    assert 0 < each.getsockopt(zmq.TCP_KEEPALIVE_IDLE) <= 5
                    assert 0 < each.getsockopt(zmq.TCP_MAXRT) <= 15_000
                else:
                    assert each.getsockopt(zmq.HEARTBEAT_IVL) > 0
                    assert each.getsockopt(zmq.HEARTBEAT_TIMEOUT) > 0
                    assert each.getsockopt(zmq.HEARTBEAT_TTL) > 0
                assert 0 <= each.getsockopt(zmq.LINGER) <= 1000
                assert each.getsockopt(zmq.SNDHWM) > 0
                assert each.getsockopt(zmq.RCVHWM) > 0
                if each.type in (zmq.DEALER, zmq.SUB):
                    low, high = zmq.RECONNECT_IVL, zmq.RECONNECT_IVL_MAX
                    assert 0 < each.getsockopt(low) < each.getsockopt(high) <= 5000


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
        connections = hole.live
        hole.swallow()
        # Until n2's end is given up nothing tells it that it is dead.
        until(lambda: hole.dead > connections, "a new connection", lambda: (drain(one), drain(two)))
        hole.heal()
        until(lambda: hole.live, "a connection that works", lambda: (drain(one), drain(two)))
        meet(world, "n1", "n2")
        for bus in list(world.buses.values()):
            bus.close()
        world.buses.clear()

    def test_a_client_is_heard_again_while_its_old_connection_still_lives_here(self):
        """As our clients and peers choose no routing id, the new connection has one of its own:
        the half-open one, which is given up after seconds only, cannot shut it out."""
        with town() as (world, _, two), BlackHole(two.endpoints["client"]) as hole:
            client = world.raw(
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
            for path in Path(package.__file__).parent.glob("*.py"):
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
        for path in sorted(Path(paxosd.__file__).parent.glob("*.py")):
            tree = ast.parse(path.read_text())
            calls = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
            if not {"threading.Thread", "Thread"} & calls:
                continue
            threaded.append(path.name)
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
            "connections.py", "log_sink.py", "probe.py", "resolver.py", "syncer.py",
            "wal_mark.py", "wal_sync.py",
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
