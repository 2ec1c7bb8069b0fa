"""Peers that are reached by names: one name server that is silent holds up nobody else."""

import socket
from contextlib import contextmanager, suppress

import pytest
import zmq

from paxosd.bus import binding, bus
from paxosd.bus.binding import BindError
from paxosd.bus.peers import PeerEndpoints
from paxosd.core.messages import Accepted
from paxosd.core.requests import WriteRequest
from paxosd.core.run_id import make_run_id
from paxosd.net import resolver, routes
from paxosd.net.resolver import LOOKUPS, NO_HOST, Resolver
from paxosd.wire import ACCEPTED_TOPIC, encode_client
from tests.bus.harness import (
    MEETING_VOTE,
    World,
    heartbeat,
    meet,
    next_clients,
    take_peers,
    until,
)
from tests.net.name_server import NameServer

NAMES = {"n1": "one.example", "n2": "two.example", "n3": "three.example"}


def named(world, *names):
    """Where these peers are reached, by their names."""

    def at(name, kind):
        return world.where[name][kind].replace("127.0.0.1", NAMES[name])

    return {name: PeerEndpoints(at(name, "peer"), at(name, "events")) for name in names}


@contextmanager
def city(*names, **addresses):
    """Buses that know each other by names alone, and the name server that they ask."""
    server = NameServer(**{host.replace(".", "_"): ["127.0.0.1"] for host in NAMES.values()})
    server.addresses.update({host.replace("_", "."): where for host, where in addresses.items()})
    with World(names) as world, server:
        for name in names:
            begin(world, server, name)
        yield world, server


def begin(world, server, name, **options):
    made = world.start(name, resolver=Resolver(server.lookups), **options)
    made.set_peers(named(world, *(other for other in world.nodes if other != name)), {})
    return made


def heard(world, speaker, listener):
    """Wait until the one was heard by the other, by DEALER and by PUB."""
    one, two = world.buses[speaker], world.buses[listener]
    kinds = set()

    def step():
        one.send(listener, heartbeat())
        one.publish_accepted(MEETING_VOTE)
        for each in (one, two):
            each.poll(10)
            each.receive_subscriptions()
            each.disconnected()
        take_peers(one)
        kinds.update(type(m) for sender, _, m in take_peers(two) if sender == speaker)

    until(lambda: len(kinds) == 2, f"{listener} hears {speaker}", step)


class TestNames:
    def test_peers_meet(self):
        with city("n1", "n2") as (world, _):
            meet(world, "n1", "n2")
            lines = world.logs["n1"].of("name.resolved")
            assert lines == [{"host": "two.example", "addresses": ["127.0.0.1"]}]
            assert world.buses["n1"].names() == {
                "two.example": {"addresses": ["127.0.0.1"], "error": ""}
            }

    def test_one_that_hangs_holds_up_no_other_and_is_found_in_the_end(self):
        with NameServer() as server, World(("n1", "n2", "n3")) as world:
            server.addresses.update({host: ["127.0.0.1"] for host in NAMES.values()})
            server.hang("three.example")
            for name in world.nodes:
                begin(world, server, name)
            meet(world, "n1", "n2")
            assert not world.buses["n1"].send("n3", heartbeat())
            server.answer("three.example")
            meet(world, "n1", "n2", "n3")

    def test_one_that_hangs_later_is_kept_where_it_was(self, monkeypatch):
        monkeypatch.setattr(resolver, "LOOKUP_MS_MAX", 100)
        monkeypatch.setattr(routes, "CHECK_MS", 100)
        with city("n1", "n2", "n3") as (world, server):
            meet(world, "n1", "n2", "n3")
            server.hang("three.example")
            log = world.logs["n1"]
            until(
                lambda: log.of("name.failed"),
                "the failure is logged",
                lambda: meet(world, "n1", "n2", "n3"),
            )
            [line] = log.of("name.failed")
            assert line["host"] == "three.example"
            assert line["kept"] == ["127.0.0.1"]
            meet(world, "n1", "n2", "n3")

    def test_one_that_does_not_exist_is_said_once(self, monkeypatch):
        monkeypatch.setattr(resolver, "RETRY_MS_MAX", 1)
        monkeypatch.setattr(resolver, "RETRY_MS", 1)
        with city("n1", "n2", three_example=[]) as (world, server):
            world.buses["n1"].set_peers(
                named(world, "n2")
                | {"n3": PeerEndpoints("tcp://three.example:1", "tcp://three.example:2")},
                {},
            )
            until(
                lambda: server.asked.count("three.example") > 5,
                "several lookups",
                lambda: meet(world, "n1", "n2"),
            )
            [line] = world.logs["n1"].of("name.failed")
            assert line == {"host": "three.example", "reason": NO_HOST, "kept": []}
            assert world.buses["n1"].names()["three.example"]["error"] == NO_HOST

    def test_each_address_of_a_name_is_tried(self):
        # As with "localhost" where a daemon listens on IPv4 alone: the first one refuses.
        with city("n1", "n2", two_example=["::1", "127.0.0.9", "127.0.0.1"]) as (world, _):
            heard(world, "n1", "n2")  # by the dealer of n1
            heard(world, "n2", "n1")  # by the subscription of n1

    def test_an_address_that_changes_after_the_connection_broke(self):
        with city("n1", "n2") as (world, server):
            meet(world, "n1", "n2")
            world.buses.pop("n2").close()
            for kind, endpoint in world.where["n2"].items():
                world.where["n2"][kind] = endpoint.replace("127.0.0.1", "127.0.0.2")
            server.addresses["two.example"] = ["127.0.0.2"]
            world.start("n2", run_id=make_run_id(2, 0))
            heard(world, "n1", "n2")
            heard(world, "n2", "n1")
            [line] = world.logs["n1"].of("name.changed")
            assert line["host"] == "two.example"
            assert line["addresses"] == ["127.0.0.2"]
            assert line["before"] == ["127.0.0.1"]

    def test_an_address_that_changes_under_a_connection_that_stands(self, monkeypatch):
        monkeypatch.setattr(routes, "CHECK_MS", 100)
        with city("n1", "n2") as (world, server):
            meet(world, "n1", "n2")
            old = world.buses.pop("n2")
            try:
                for kind, endpoint in world.where["n2"].items():
                    world.where["n2"][kind] = endpoint.replace("127.0.0.1", "127.0.0.2")
                world.start("n2", run_id=make_run_id(2, 0))
                server.addresses["two.example"] = ["127.0.0.2"]
                heard(world, "n1", "n2")
                heard(world, "n2", "n1")
                # The one at the old address is connected to by nobody any more.
                notices = []

                def read_old():
                    heard(world, "n1", "n2")
                    old.poll(10)
                    take_peers(old)
                    notices.extend(old.receive_subscriptions())

                until(
                    lambda: notices[-1:] == [(False, ACCEPTED_TOPIC)],
                    "the end of what it was subscribed to",
                    read_old,
                )
                one = world.buses["n1"]
                sent = one.counters["sent.peer"]
                until(
                    lambda: one.counters["sent.peer"] > sent + 50,
                    "many messages",
                    lambda: heard(world, "n1", "n2"),
                )
                old.poll(100)
                others = [m for _, _, m in take_peers(old) if not isinstance(m, Accepted)]
                assert others == [], "only votes come, for it has subscribed to them"
                assert old.receive_subscriptions() == []
            finally:
                old.close()

    def test_while_all_connections_stand_nobody_asks_again_and_again(self, monkeypatch):
        monkeypatch.setattr(resolver, "RETRY_MS", 1)
        monkeypatch.setattr(resolver, "RETRY_MS_MAX", 1)
        monkeypatch.setattr(bus, "NAMES_MS", 1)
        with city("n1", "n2", two_example=["127.0.0.1", "127.0.0.9"]) as (world, server):
            meet(world, "n1", "n2")
            sockets, looks = world.buses["n1"]._sockets, []
            mind = sockets.mind_routes
            monkeypatch.setattr(sockets, "mind_routes", lambda ms: (looks.append(ms), mind(ms))[1])

            def step():
                for each in world.buses.values():
                    each.poll(1)
                    take_peers(each)
                    each.disconnected()

            until(lambda: len(looks) > 20, "the connections are known to stand", step)
            asked = len(server.asked)
            until(lambda: len(looks) > 100, "many looks at them", step)
            assert len(server.asked) == asked

    def test_names_that_are_needed_no_more_are_forgotten(self):
        with city("n1", "n2", "n3") as (world, _):
            meet(world, "n1", "n2", "n3")
            one = world.buses["n1"]
            one.set_peers(named(world, "n2"), {})
            until(
                lambda: list(one.names()) == ["two.example"],
                "the name is forgotten",
                lambda: (one.poll(10), take_peers(one)),
            )

    def test_an_end_waits_for_no_name_server(self):
        with NameServer() as server, World(("n1", "n2")) as world:
            server.hang("two.example")
            begin(world, server, "n1")
            world.buses.pop("n1").close()
            assert server.lookups.under_way == 1, "and it is silent still"

    def test_addresses_alone_ask_nobody(self):
        with NameServer() as server, World() as world:
            for name in world.nodes:
                world.start(name, resolver=Resolver(server.lookups))
            meet(world, "n1", "n2")
            assert server.asked == []
            assert not world.buses["n1"].names()


def has_ipv6():
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def asks(world, endpoint, number):
    """Send a client's request to the endpoint, and see it come in."""
    client = world.raw(zmq.DEALER, endpoint, IPV6=int("[" in endpoint))
    client.send(encode_client(WriteRequest(number, b""), "dev"))
    assert next_clients(world.buses["n1"])[0][1] == WriteRequest(number, b"")


class TestBinding:
    def where(self, world, host):
        world.where["n1"]["client"] = f"tcp://{host}:*"
        port = world.start("n1").endpoints["client"].rpartition(":")[2]
        assert int(port) > 0
        return port

    @ipv6
    @pytest.mark.parametrize("host", ["*", "[::]"])
    def test_every_address_of_both_families(self, host):
        with World(("n1",)) as world:
            port = self.where(world, host)
            asks(world, f"tcp://127.0.0.1:{port}", 1)
            asks(world, f"tcp://[::1]:{port}", 2)

    @ipv6
    def test_a_name_each_of_its_addresses(self, monkeypatch):
        server = NameServer(one_example=["::1", "192.0.2.1", "127.0.0.1"])  # one is not ours
        monkeypatch.setattr(LOOKUPS, "look_up", server.look_up)
        with World(("n1",)) as world:
            port = self.where(world, "one.example")
            asks(world, f"tcp://127.0.0.1:{port}", 1)
            asks(world, f"tcp://[::1]:{port}", 2)

    @pytest.mark.parametrize(
        ("addresses", "words"),
        [
            (["192.0.2.1"], "this machine has no such address"),
            ([], f"the name one.example cannot be resolved: {NO_HOST}; repair that, or set node."),
            (None, "the name one.example cannot be resolved: the name server does not answer"),
        ],
    )
    def test_a_name_that_cannot_be_bound(self, monkeypatch, addresses, words):
        monkeypatch.setattr(binding, "BIND_NAME_S", 0.05 if addresses is None else 30.0)
        with NameServer(one_example=addresses or []) as server, World(("n1",)) as world:
            monkeypatch.setattr(LOOKUPS, "look_up", server.look_up)
            if addresses is None:
                server.hang("one.example")
            world.where["n1"]["client"] = "tcp://one.example:*"
            with pytest.raises(BindError, match=words):
                world.start("n1")

    @ipv6
    def test_peers_on_ipv6(self):
        with World() as world:
            for kinds in world.where.values():
                for kind, endpoint in kinds.items():
                    kinds[kind] = endpoint.replace("127.0.0.1", "[::1]")
            for name in world.nodes:
                world.start(name)
            meet(world, "n1", "n2")

    @ipv6
    def test_a_source_reads_as_an_address_of_its_own_family(self):
        with World(("n1",)) as world:
            port = self.where(world, "*")
            world.raw(zmq.DEALER, f"tcp://127.0.0.1:{port}").send(b"nonsense")
            log, one = world.logs["n1"], world.buses["n1"]
            until(
                lambda: log.of("bus.refused"),
                "the refusal",
                lambda: (one.poll(10), one.receive_clients(10), one.receive_peers(10)),
            )
            assert log.of("bus.refused")[0]["source"] == "127.0.0.1"
