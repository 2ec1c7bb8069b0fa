"""Peers that come, go and move while the bus runs, and those who may only learn."""

import socket
from contextlib import contextmanager, suppress

import pytest
import zmq

from paxosd.bus import socket_set
from paxosd.bus.binding import BindError
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.pollers import PEERS
from paxosd.core.messages import Accepted, CatchUp, Hello, PreVote, Rejoin, Welcome
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.faults.plan import FaultPlan
from paxosd.wire import encode_peer
from tests.bus.harness import (
    Clock,
    World,
    free_ports,
    heartbeat,
    meet,
    next_peers,
    take_peers,
    until,
)
from tests.bus.test_intruders import drain, town

B = Ballot(1, "n1")
VOTE = Accepted(B, ((3, 3),), 3)


def at(world, *names):
    """Where these peers are reached."""
    return {
        name: PeerEndpoints(world.where[name]["peer"], world.where[name]["events"])
        for name in names
    }


def introduce(world, *names):
    """Let the buses of these nodes have each other, and nobody else, as peers."""
    for name in names:
        others = [other for other in names if other != name]
        world.buses[name].set_peers(at(world, *others), {})


def hear(bus, *wanted):
    """Wait for these messages of peers: whatever else comes is let go by."""
    got = []
    until(
        lambda: all(each in got for each in wanted),
        f"{wanted} (got {got})",
        lambda: (bus.poll(10), got.extend(take_peers(bus))),
    )


def say_until(speak, bus, counter):
    """Speak until ``bus`` has counted it."""
    before = bus.counters[counter]
    until(lambda: bus.counters[counter] > before, counter, lambda: (speak(), drain(bus)))


def started(world, name):
    """Its bus in its second run, as soon as its ports are free."""
    with suppress(BindError):
        return world.start(name, run_id=make_run_id(2, 0))


@contextmanager
def ear():
    """A listening socket that takes one connection and nothing else: (endpoint, taken())."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        taken = []

        def take():
            taken.append(listener.accept()[0])
            taken[-1].settimeout(10)
            return taken[-1]

        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", take
        for connection in taken:
            connection.close()


def read_to_the_end(connection):
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass


class TestComing:
    def test_one_that_is_added_is_heard_and_hears(self):
        with World(("n1", "n2", "n3")) as world:
            one, two, three = (world.start(name) for name in world.nodes)
            introduce(world, "n1", "n2")
            meet(world, "n1", "n2")
            say_until(lambda: three.send("n1", heartbeat(5)), one, "refused.unknown_sender")
            assert "n3" not in one.inbox.peer_runs.heard_ms
            introduce(world, "n1", "n2", "n3")
            meet(world, "n1", "n2", "n3")  # frames and votes, all ways
            for bus in (one, two):
                assert bus.send("n3", heartbeat(7))
            hear(three, ("n1", 1, heartbeat(7)), ("n2", 1, heartbeat(7)))

    def test_its_broken_connection_is_told_too(self):
        with World() as world:
            one = world.start("n1")
            one.set_peers({}, {})
            world.start("n2")
            introduce(world, "n1", "n2")
            meet(world, "n1", "n2")
            world.buses.pop("n2").close()
            lost = []
            until(lambda: lost, "the hint", lambda: (one.poll(10), lost.extend(one.disconnected())))
            assert lost == ["n2"]

    def test_the_same_again_touches_nothing(self):
        with town() as (world, one, two):
            sockets = list(one._sockets.all)
            one.set_peers(at(world, "n2"), {})
            one.set_peers(at(world, "n2"), {"n2": -1})
            assert one._sockets.all == sockets
            assert one.send("n2", heartbeat(5))
            hear(two, ("n1", 1, heartbeat(5)))

    @pytest.mark.parametrize("which", ["peer", "events"])
    def test_an_endpoint_that_is_none_is_told_and_stops_nobody(self, which):
        with town() as (world, one, _two):
            bad = PeerEndpoints(**({"peer": "tcp://127.0.0.1:1", "events": "tcp://127.0.0.1:1"}
                                   | {which: "nonsense"}))  # fmt: skip
            one.set_peers({"n0": bad} | at(world, "n2"), {})
            [line] = world.logs["n1"].of("bus.bad_endpoint")
            assert line["endpoint"] == "nonsense"
            assert line["reason"]
            assert not one.send("n0", heartbeat(1))
            meet(world, "n1", "n2")
            one.set_peers(at(world, "n2"), {})
            meet(world, "n1", "n2")


class TestGoing:
    def test_one_that_was_removed_is_not_heard_any_more(self):
        with World(("n1", "n2", "n3")) as world:
            one, two, three = (world.start(name) for name in world.nodes)
            meet(world, "n1", "n2", "n3")
            one.set_peers(at(world, "n2"), {})
            say_until(lambda: three.send("n1", heartbeat(5)), one, "refused.unknown_sender")
            assert "n3" not in one.inbox.peer_runs.heard_ms
            assert one.counters["refused.stale_run"] == 0
            meet(world, "n1", "n2")
            assert two.send("n3", heartbeat(6))
            hear(three, ("n2", 1, heartbeat(6)))

    def test_its_votes_do_not_even_come(self):
        """Its stream is left: nothing of it is taken, not even to be refused."""
        with World(("n1", "n2", "n3")) as world:
            one, two, three = (world.start(name) for name in world.nodes)
            meet(world, "n1", "n2", "n3")
            notices = []

            def gone():
                drain(one)
                drain(two)
                three.poll(10)
                notices.extend(three.receive_subscriptions())
                return (False, b"accepted/") in notices

            one.set_peers(at(world, "n2"), {})
            two.set_peers(at(world, "n1"), {})
            until(gone, "the end of the last subscription")

    def test_its_sockets_are_closed(self, monkeypatch):
        # The ears say nothing: the connections end with the handshake that they owe.
        monkeypatch.setattr(socket_set, "HANDSHAKE_IVL_MS", 100)
        with World(("n1",)) as world, ear() as peer, ear() as events:
            one = world.start("n1")
            sockets, watched = list(one._sockets.all), dict(one._pollers.descriptors)
            for _ in range(3):
                one.set_peers({"n9": PeerEndpoints(peer[0], events[0])}, {})
                connections = peer[1](), peer[1](), events[1]()
                assert len(one._sockets.all) == len(sockets) + 6
                dealer = one._sockets.links["n9"].dealer
                one.set_peers({}, {})
                assert dealer.closed
                assert one._sockets.all == sockets
                assert one._pollers.descriptors == watched
                for connection in connections:
                    read_to_the_end(connection)
            one.poll(0)
            assert one.disconnected() == []

    def test_a_last_message_leaves(self):
        with town() as (_world, one, two):
            until(lambda: one.send("n2", heartbeat(5)), "a send")
            one.set_peers({}, {})
            hear(two, ("n1", 1, heartbeat(5)))

    def test_what_is_sent_to_it_is_counted_and_nothing_else(self):
        with town() as (world, one, _two):
            one.set_peers({}, {})
            before = one.counters["unsent.n2"]
            assert not one.send("n2", heartbeat(1))
            assert not any(one.send(name, heartbeat(1)) for name in ("n2", "n9"))
            assert one.counters["unsent.n2"] == before + 2
            assert one.counters["unsent.n9"] == 1
            reasons = {(f["to"], f["reason"]) for f in world.logs["n1"].of("bus.send_failed")}
            assert {("n2", "it is no peer"), ("n9", "it is no peer")} <= reasons

    def test_what_was_held_back_of_it_is_not_handed_on(self):
        with World() as world:
            clock, plan = Clock(), FaultPlan()
            one = world.start("n1")
            two = world.start("n2", faults=plan, now_ms=clock)
            meet(world, "n1", "n2")
            plan.add_args({"name": "d", "kind": "delay", "ms": 500}, clock())
            say_until(lambda: one.send("n2", heartbeat(5)), two, "fault.delayed")
            two.set_peers({}, {})
            clock.ms += 500
            assert two.poll(60_000) & PEERS
            assert two.receive_peers(10) == []
            assert two.counters["refused.unknown_sender"] >= 1

    def test_and_back_again(self):
        with town() as (world, one, _two):
            for _ in range(3):
                one.set_peers({}, {})
                one.set_peers(at(world, "n2"), {})
                meet(world, "n1", "n2")


class TestMoving:
    def test_it_is_reached_where_it_is_now(self):
        with town() as (world, one, _two):
            ports = iter(free_ports(3))
            world.where["n2"] = {
                kind: f"tcp://127.0.0.1:{next(ports)}" for kind in ("peer", "events", "client")
            }
            world.restart("n2", run_id=make_run_id(2, 0))
            one.set_peers(at(world, "n2"), {})
            meet(world, "n1", "n2")
            assert len(one._sockets.links) == 1

    def test_two_that_change_places(self):
        with World(("n1", "n2", "n3")) as world:
            one = world.start("n1")
            for name in ("n2", "n3"):
                world.start(name)
            meet(world, "n1", "n2", "n3")
            where = world.where
            where["n2"], where["n3"] = where["n3"], where["n2"]
            world.buses.pop("n3").close()
            world.restart("n2", run_id=make_run_id(2, 0))
            until(lambda: started(world, "n3"), "a start")
            one.set_peers(at(world, "n2", "n3"), {})
            meet(world, "n1", "n2", "n3")


class TestPins:
    """Who is heard as what is for ``tests/storage/test_peer_runs.py``; here, that the bus goes by
    it."""

    def frames(self, world, two):
        """A way to say things to n2 as n1."""
        raw = world.raw(zmq.DEALER, world.where["n2"]["peer"])
        return lambda run_id, message: raw.send(encode_peer(message, "dev", "n1", run_id))

    def test_a_forgetful_peer_may_ask_and_nothing_else(self):
        with town() as (world, _one, two):
            two.set_peers(at(world, "n1"), {"n1": 77})
            say = self.frames(world, two)
            say(1, PreVote(VOTE.ballot, 5))
            say(1, VOTE)
            say(1, CatchUp(1, 2))
            say(1, Rejoin(77))
            assert next_peers(two, 2) == [("n1", 0, CatchUp(1, 2)), ("n1", 0, Rejoin(77))]
            assert two.counters["refused.stale_run"] == 2
            say(1, Hello(77))
            say(1, VOTE)
            assert next_peers(two, 2) == [("n1", 1, Hello(77)), ("n1", 1, VOTE)]
            assert two.counters["refused.stale_run"] == 2

    def test_one_that_only_learns_is_not_heard_of(self):
        with World() as world:
            two = world.start("n2")
            two.set_peers(at(world, "n1"), {"n1": 77})
            self.frames(world, two)(1, CatchUp(1, 2))
            assert next_peers(two) == [("n1", 0, CatchUp(1, 2))]
            assert "n1" not in two.inbox.peer_runs.heard_ms

    def test_who_says_hello_out_of_another_directory_is_told(self):
        with World() as world:
            one = world.start("n1", run_id=make_run_id(9, 1))
            two = world.start("n2")
            meet(world, "n1", "n2")
            until(lambda: one.send("n2", Hello(66)), "a send")
            hear(two, ("n1", make_run_id(9, 1), Hello(66)))
            two.set_peers(at(world, "n1"), {"n1": 77})
            self.frames(world, two)(make_run_id(10, 0), Hello(66))
            drained = []
            until(
                lambda: drained,
                "the answer",
                lambda: (
                    drain(two),
                    one.poll(10),
                    drained.extend(m for m in take_peers(one) if type(m[2]) is Welcome),
                ),
            )
            # Two, if what one said first came only after the other had got its pins.
            assert set(drained) == {("n2", 1, Welcome(make_run_id(9, 1), 66))}
            assert world.logs["n2"].of("bus.stale_run")

    def test_one_that_thinks_it_is_known_is_asked_to_say_hello(self):
        with town() as (world, one, two):
            two.set_peers(at(world, "n1"), {"n1": 77})
            until(lambda: one.send("n2", heartbeat(5)), "a send")
            asked = []
            until(
                lambda: ("n2", 1, Welcome(0)) in asked,
                "the question",
                lambda: (drain(two), one.poll(10), asked.extend(take_peers(one))),
            )

    def test_a_message_held_back_is_judged_when_it_is_due(self):
        with World() as world:
            clock, plan = Clock(), FaultPlan()
            world.start("n1")
            two = world.start("n2", faults=plan, now_ms=clock)
            meet(world, "n1", "n2")
            plan.add_args({"name": "d", "kind": "delay", "ms": 500}, clock())
            say = self.frames(world, two)
            say(1, VOTE)
            say(1, CatchUp(1, 2))
            until(lambda: two.counters["fault.delayed"] == 2, "both", lambda: drain(two))
            two.set_peers(at(world, "n1"), {"n1": 77})
            clock.ms += 500
            assert two.poll(60_000) & PEERS
            assert take_peers(two) == [("n1", 0, CatchUp(1, 2))]

    def test_copies_of_a_message_are_all_of_one_life(self):
        with World() as world:
            plan = FaultPlan()
            two = world.start("n2", faults=plan)
            two.set_peers(at(world, "n1"), {"n1": 77})
            plan.add_args({"name": "d", "kind": "duplicate"}, 0)
            self.frames(world, two)(1, CatchUp(1, 2))
            assert next_peers(two, 2) == [("n1", 0, CatchUp(1, 2))] * 2
