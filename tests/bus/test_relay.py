"""The connection to the leader's client socket, on real sockets."""

import zmq

from paxosd.bus.pollers import CLIENTS
from paxosd.core.requests import ForwardRequest, WriteAnswer, WriteRequest
from paxosd.wire import encode_client
from tests.bus.harness import World, until

ENTRY = b"\x94\x00\x01\x00\x91\x92\x01\xa1k"


def requests(bus):
    return [each[:2] for each in bus.receive_clients(100)] if bus.poll(20) & CLIENTS else []


def handed_over(bus, message):
    until(lambda: (bus.poll(5), bus.relay.send(message))[1], "a connection")


def received(bus):
    return until(lambda: (bus.poll(5), bus.relay.receive(100))[1], "an answer")


def test_there_and_back():
    with World() as world:
        one, two = world.start("n1"), world.start("n2")
        one.relay.aim(world.where["n2"]["client"])
        handed_over(one, WriteRequest(7, ENTRY))
        [(client, request)] = until(lambda: requests(two), "the request")
        assert request == WriteRequest(7, ENTRY)
        assert two.answer(client, WriteAnswer(7, 3, [1]))
        assert received(one) == [WriteAnswer(7, 3, [1])]


def test_the_loop_wakes_for_an_answer_and_for_the_end_of_the_connection():
    with World() as world:
        one, _ = world.start("n1"), world.start("n2")
        one.relay.aim(world.where["n2"]["client"])
        handed_over(one, WriteRequest(7, ENTRY))
        assert not one.relay.take_lost(), "it was made, not lost"
        world.buses.pop("n2").close()
        until(lambda: (one.poll(5000), one.relay.take_lost())[1], "the end of the connection")
        assert not one.relay.take_lost(), "reported once"
        one.relay.aim(world.where["n2"]["client"])
        assert not one.relay.send(WriteRequest(8, ENTRY)), "nothing is kept for later"


def test_another_aim_ends_the_connection_before():
    with World(("n1", "n2", "n3")) as world:
        one, _, three = (world.start(name) for name in ("n1", "n2", "n3"))
        one.relay.aim(world.where["n2"]["client"])
        handed_over(one, WriteRequest(7, ENTRY))
        one.relay.aim(world.where["n3"]["client"])
        handed_over(one, WriteRequest(8, ENTRY))
        [(_, request)] = until(lambda: requests(three), "the request")
        assert request.request_id == 8
        one.relay.aim("")
        assert not one.relay.send(WriteRequest(9, ENTRY))
        assert one.relay.receive(10) == []


def test_an_endpoint_that_is_none_gives_no_connection():
    with World() as world:
        one = world.start("n1")
        one.relay.aim("nonsense")
        assert not one.relay.send(WriteRequest(7, ENTRY))
        assert not one.relay.take_lost()
        one.poll(0)


def test_what_a_client_asks_to_pass_on_is_read():
    with World() as world:
        one = world.start("n1")
        client = world.raw(zmq.DEALER, world.where["n1"]["client"])
        client.send(encode_client(ForwardRequest(5, ENTRY), "dev"))
        [(_, request)] = until(lambda: requests(one), "the request")
        assert request == ForwardRequest(5, ENTRY)
