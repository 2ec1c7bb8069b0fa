"""Where a bus listens, and what an operator reads where it cannot."""

import socket
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path

import pytest
import zmq

from paxosd.bus.binding import BindError
from paxosd.core.requests import WriteRequest
from paxosd.wire import encode_client
from tests.bus.harness import (
    World,
    free_ports,
    meet,
    next_clients,
    until,
)


def link_local():
    """A link-local address of this machine, with its interface; "": it has none."""
    with suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            digits, *_, interface = line.split()
            address = IPv6Address(bytes.fromhex(digits))
            if address.is_link_local:
                return f"{address}%{interface}"
    return ""


class TestBinding:
    @pytest.mark.parametrize("what", ["peer", "events", "client"])
    def test_a_port_in_use_is_named_and_nothing_stays_open(self, what):
        with World(("n1",)) as world:
            port = int(world.where["n1"][what].rsplit(":", 1)[1])
            with (
                socket.create_server(("127.0.0.1", port)),
                pytest.raises(BindError, match=f"cannot bind the {what} socket .*{port}.* in use"),
            ):
                world.start("n1")

            def start_again():
                # ZeroMQ closes in the background, so that it may take a moment.
                with suppress(BindError):
                    return world.start("n1")

            until(start_again, "a start: what was bound before the failure is free again")

    def test_a_foreign_address_is_named(self):
        with World(("n1",)) as world:
            world.where["n1"]["client"] = f"tcp://192.0.2.1:{free_ports(1)[0]}"
            with pytest.raises(BindError, match="no such address"):
                world.start("n1")

    @pytest.mark.parametrize("host", ["*", "0.0.0.0", "[::]"])
    def test_where_other_machines_reach_it_a_node_without_keys_does_not_listen(self, host):
        with World(("n1",), loopback_only=True) as world:
            for what in ("events", "peer"):
                world.where["n1"][what] = f"tcp://localhost:{free_ports(1)[0]}"
            world.where["n1"]["client"] = f"tcp://{host}:{free_ports(1)[0]}"
            with pytest.raises(BindError, match=r"client socket .* reached from other .*insecure"):
                world.start("n1")

    def test_an_interface_that_there_is_not_is_named(self):
        with World(("n1",)) as world:
            world.where["n1"]["client"] = f"tcp://[fe80::1%nope0]:{free_ports(1)[0]}"
            with pytest.raises(BindError, match=r'no interface "nope0"; it has .*lo'):
                world.start("n1")

    def test_nodes_on_link_local_addresses_meet(self):
        host = link_local()
        if not host:
            pytest.skip("no interface of this machine has a link-local address")
        with World() as world:
            for kinds in world.where.values():
                for kind, endpoint in kinds.items():
                    kinds[kind] = endpoint.replace("127.0.0.1", f"[{host}]")
            for name in world.nodes:
                world.start(name)
            meet(world, *world.nodes)

    def test_ipv6(self):
        with World(("n1",)) as world:
            world.where["n1"]["client"] = "tcp://[::1]:*"
            try:
                bus = world.start("n1")
            except BindError:
                pytest.skip("this machine has no IPv6")
            client = world.raw(zmq.DEALER, bus.endpoints["client"], IPV6=1)
            client.send(encode_client(WriteRequest(1, b""), "dev"))
            assert next_clients(bus)[0][1] == WriteRequest(1, b"")

    def test_a_wildcard_port_tells_the_real_one(self):
        with World(("n1",)) as world:
            world.where["n1"]["client"] = "tcp://127.0.0.1:*"
            bus = world.start("n1")
            assert int(bus.endpoints["client"].rsplit(":", 1)[1]) > 0
            bound = {line["socket"] for line in world.logs["n1"].of("bus.bound")}
            assert bound == {"peer", "events", "client"}
