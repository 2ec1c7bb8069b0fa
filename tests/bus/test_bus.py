"""The bus between peers that keep the rules: delivery, runs, subscribers, clients, faults."""

import os

import zmq

from paxosd.bus import reception
from paxosd.bus.pollers import CLIENTS, PEERS, SUBSCRIPTIONS, WAKEUP
from paxosd.core.messages import (
    Accept,
    Accepted,
    Heartbeat,
    Hello,
    PreVote,
)
from paxosd.core.requests import ReadRequest, RefusalAnswer, WriteAnswer, WriteRequest
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.faults.plan import FaultPlan
from paxosd.storage.peer_runs import PeerRuns
from paxosd.wire import decode_answer, encode_client, encode_peer
from tests.bus.harness import (
    Clock,
    World,
    heartbeat,
    meet,
    next_clients,
    next_notices,
    next_peers,
    take_peers,
    until,
)

B = Ballot(1, "n1")


class TestPeers:
    def test_messages_arrive_whole_in_order_with_sender_and_incarnation(self):
        with World() as world:
            one, two = world.start("n1", run_id=7), world.start("n2")
            meet(world, "n1", "n2")
            sent = [Accept(B, slot, b"x" * slot, slot - 1) for slot in range(1, 300)]
            for message in sent:
                assert one.send("n2", message)
            got = [m for m in next_peers(two, len(sent)) if isinstance(m[2], Accept)]
            assert got == [("n1", 7, message) for message in sent]
            assert "n1" in two.inbox.peer_runs.heard_ms

    def test_a_large_frame_passes(self):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            value = os.urandom(4 << 20)
            assert one.send("n2", Accept(B, 1, value, 0))
            assert next_peers(two)[-1] == ("n1", 1, Accept(B, 1, value, 0))

    def test_no_more_is_taken_in_at_once_than_a_turn_can_bear(self, monkeypatch):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            monkeypatch.setattr(reception, "PEER_BYTES_AT_ONCE", 2 << 10)
            sent = [Accept(B, slot, bytes(1000), 0) for slot in range(1, 200)]
            for message in sent:
                assert one.send("n2", message)
            got, most = [], 0
            while len(got) < len(sent):
                until(lambda: two.poll(1000), "messages", two.disconnected)
                now = [each.body for each in two.receive_peers(1000)]
                got += [message for message in now if isinstance(message, Accept)]
                most = max(most, len([m for m in now if isinstance(m, Accept)]))
            assert got == sent
            assert most <= 3

    def test_nothing_is_queued_for_a_peer_that_is_not_there(self):
        """Stale messages would be sent on its return: IMMEDIATE forbids it."""
        with World() as world:
            one = world.start("n1")
            assert not one.send("n2", heartbeat(1))
            assert one.counters["unsent.n2"] == 1
            assert world.logs["n1"].of("bus.send_failed")[0]["to"] == "n2"
            assert "n2" not in one.inbox.peer_runs.heard_ms
            two = world.start("n2")
            until(lambda: one.send("n2", heartbeat(2)), "a connection")
            assert next_peers(two) == [("n1", 1, heartbeat(2))]

    def test_a_full_queue_refuses_instead_of_waiting(self):
        with World() as world:
            one = world.start("n1")
            world.start("n2")
            meet(world, "n1", "n2")
            message = Accept(B, 1, b"x" * 100_000, 0)
            taken = 0
            while one.send("n2", message):  # nobody reads
                taken += 1
                assert taken < 100_000
            assert one.counters["unsent.n2"] >= 1

    def test_an_oversized_frame_is_not_even_sent(self):
        """The peer would close the connection over it, each time anew."""
        with World(message_bytes_max=65_536) as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            assert not one.send("n2", Accept(B, 1, b"x" * (2 << 20), 0))
            assert one.send("n2", heartbeat(5))
            assert next_peers(two) == [("n1", 1, heartbeat(5))]

    def test_a_restarted_peer_is_heard_and_its_earlier_life_is_not(self):
        with World() as world:
            one = world.start("n1", run_id=make_run_id(3, 9))
            two = world.start("n2", run_id=make_run_id(5, 1))
            meet(world, "n1", "n2")
            one = world.restart("n1", run_id=make_run_id(4, 2))
            meet(world, "n1", "n2")
            replay = world.raw(zmq.DEALER, world.where["n2"]["peer"])
            replay.send(encode_peer(PRE_VOTE, "dev", "n1", make_run_id(3, 9)))
            until(
                lambda: two.counters["refused.stale_run"],
                "the refusal",
                lambda: (two.poll(10), two.receive_peers(100)),
            )
            line = world.logs["n2"].of("bus.stale_run")[0]
            assert (line["sender_boot_count"], line["highest_boot_count"]) == (3, 4)
            assert "wiped or rolled back, or this is a replay" in line["detail"]
            assert one.send("n2", heartbeat(8))
            assert next_peers(two) == [("n1", make_run_id(4, 2), heartbeat(8))]

    def test_a_limit_leaves_the_rest_for_the_next_call(self):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            for number in range(50):
                one.send("n2", heartbeat(number))
            got = []
            while len(got) < 50:
                until(lambda: two.poll(5000) & PEERS, "messages", two.disconnected)
                part = [m for m in two.receive_peers(7) if isinstance(m[2], Heartbeat)]
                assert len(part) <= 7
                got += part
            assert [m[2].commit for m in got] == list(range(50))


PRE_VOTE = PreVote(B, 1)
VOTE = Accepted(B, ((7, 8),), 7)


class TestVotes:
    def test_reach_every_subscriber_and_gaps_show_in_the_sequence(self):
        with World(("n1", "n2", "n3")) as world:
            one, two, three = (world.start(name) for name in world.nodes)
            meet(world, "n1", "n2", "n3")
            votes = [Accepted(B, ((slot, slot + 1),), slot) for slot in range(10, 20)]
            for vote in votes:
                one.publish_accepted(vote)
            for bus in (two, three):
                got = []
                until(
                    lambda g=got: len(g) == len(votes),
                    "all votes",
                    lambda b=bus, g=got: (
                        b.poll(10),
                        g.extend(m[2] for m in b.receive_peers(100) if m[2] in votes),
                    ),
                )
                assert got == votes

    def test_a_late_learner_gets_what_comes_after_its_subscription(self):
        with World() as world:
            one = world.start("n1")
            one.publish_accepted(Accepted(B, ((1, 1),), 1))
            two = world.start("n2")
            assert next_notices(one) == [(True, b"accepted/")]
            one.publish_accepted(Accepted(B, ((2, 2),), 2))
            # stream_seq 2 is its first: the learner sees that 1 is missing.
            assert next_peers(two) == [("n1", 1, Accepted(B, ((2, 2),), 2))]


class TestSubscribers:
    def test_every_subscription_is_told_and_a_key_prefix_is_a_topic_prefix(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            first = world.raw(zmq.SUB, bus.endpoints["events"], SUBSCRIBE=b"kv/a")
            assert next_notices(bus) == [(True, b"kv/a")]
            second = world.raw(zmq.SUB, bus.endpoints["events"], SUBSCRIBE=b"kv/a")
            assert next_notices(bus) == [(True, b"kv/a")]
            bus.publish(b"kv/b", b"no")
            bus.publish(b"kv/ab", b"yes")
            for each in (first, second):
                assert each.poll(5000)
                assert each.recv_multipart() == [b"kv/ab", b"yes"]
            first.close(0)
            second.close(0)
            assert next_notices(bus) == [(False, b"kv/a")]

    def test_what_is_no_subscription_is_refused(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            odd = world.raw(zmq.XSUB, bus.endpoints["events"])
            odd.send(b"\x05hello")
            odd.send_multipart([b"\x07a", b"b", b"c"])
            odd.send(b"")
            odd.send(b"\x01kv/x")
            assert next_notices(bus) == [(True, b"kv/x")]
            assert bus.counters["refused.subscription"] == 2
            assert bus.counters["refused.frames"] == 1

    def test_a_subscriber_that_does_not_read_holds_up_nobody(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            world.raw(zmq.SUB, bus.endpoints["events"], SUBSCRIBE=b"kv/", RCVHWM=1)
            good = world.raw(zmq.SUB, bus.endpoints["events"], SUBSCRIBE=b"end")
            next_notices(bus, 2)
            payload = b"x" * 20_000
            for _ in range(20_000):
                bus.publish(b"kv/k", payload)
            bus.publish(b"end", b"")
            assert good.poll(5000)


class TestClients:
    def test_request_and_answer(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            client = world.raw(zmq.DEALER, bus.endpoints["client"])
            for number, cluster in enumerate(("dev", "")):
                client.send(encode_client(WriteRequest(number, b"entry"), cluster))
            got = next_clients(bus, 2)
            assert [message for _, message in got] == [
                WriteRequest(0, b"entry"),
                WriteRequest(1, b"entry"),
            ]
            assert bus.answer(got[0][0], WriteAnswer(0, 5, [9]))
            assert client.poll(5000)
            assert decode_answer(client.recv(), "dev") == WriteAnswer(0, 5, [9])

    def test_a_client_that_has_gone_is_counted(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            assert not bus.answer(b"nobody", WriteAnswer(0, 5, [9]))
            assert bus.counters["unsent.client_gone"] == 1

    def test_a_client_that_does_not_read_loses_answers_and_blocks_nothing(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            lazy = world.raw(zmq.DEALER, bus.endpoints["client"], RCVHWM=1)
            lazy.send(encode_client(ReadRequest(1, 0, [[1, b"k"]]), "dev"))
            [(client, _)] = next_clients(bus)
            answer = RefusalAnswer(1, "busy", "x" * 60_000, "", "", 0)
            for _ in range(20_000):
                if not bus.answer(client, answer):
                    break
            assert bus.counters["unsent.client_slow"] == 1
            # A half-sent answer would spoil this one.
            good = world.raw(zmq.DEALER, bus.endpoints["client"])
            good.send(encode_client(WriteRequest(3, b""), "dev"))
            [(client, message)] = next_clients(bus)
            assert bus.answer(client, WriteAnswer(message.request_id, 1, []))
            assert good.poll(5000)
            assert decode_answer(good.recv()).request_id == 3

    def test_the_wrong_cluster_is_told_to_the_client(self):
        with World(("n1",)) as world:
            bus = world.start("n1")
            client = world.raw(zmq.DEALER, bus.endpoints["client"])
            client.send(encode_client(WriteRequest(42, b""), "prod"))
            until(
                lambda: client.poll(0),
                "the refusal",
                lambda: (bus.poll(10), bus.receive_clients(10)),
            )
            refusal = decode_answer(client.recv())
            assert (refusal.request_id, refusal.code) == (42, "invalid")
            assert refusal.message == 'sent to cluster "prod"; this is "dev"'


class TestPolling:
    def test_flags_say_who_has_something(self):
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2")
            until(lambda: two.send("n1", heartbeat()), "the other connection")
            two.disconnected()
            while two.poll(50):
                two.receive_peers(100)
                two.receive_subscriptions()
            assert two.poll(0) == 0
            one.send("n2", heartbeat())
            assert two.poll(5000) == PEERS
            two.receive_peers(10)
            world.raw(zmq.DEALER, two.endpoints["client"]).send(b"x")
            assert two.poll(5000) == CLIENTS
            two.receive_clients(10)
            world.raw(zmq.SUB, two.endpoints["events"], SUBSCRIBE=b"kv/")
            assert two.poll(5000) == SUBSCRIPTIONS
            two.receive_subscriptions()
            reader, writer = os.pipe()
            two.register_wakeup(reader)
            assert two.poll(0) == 0
            os.write(writer, b"!")
            assert two.poll(5000) == WAKEUP
            os.read(reader, 1)
            assert two.poll(0) == 0
            os.close(reader)
            os.close(writer)


class TestFaults:
    def world_with_plan(self, world, clock=None):
        plan = FaultPlan(nodes=world.nodes)
        one = world.start("n1")
        options = {"now_ms": clock} if clock else {}
        two = world.start("n2", faults=plan, **options)
        meet(world, "n1", "n2")
        return one, two, plan

    def test_a_one_way_partition_stops_frames_and_votes_of_one_direction(self):
        with World() as world:
            one, two, plan = self.world_with_plan(world)
            args = {"name": "p", "kind": "partition", "from": "n1", "to": "n2", "oneway": True}
            plan.add_args(args, 0)
            before = two.counters["fault.dropped"]
            one.send("n2", heartbeat(1))
            one.publish_accepted(Accepted(B, ((7, 7),), 7))
            until(
                lambda: two.counters["fault.dropped"] >= before + 2,
                "both dropped",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            two.send("n1", heartbeat(2))
            assert ("n2", 1, heartbeat(2)) in next_peers(one)
            plan.clear(0)
            one.send("n2", heartbeat(3))
            assert next_peers(two)[-1] == ("n1", 1, heartbeat(3))

    def test_a_dropped_message_is_no_sign_of_life(self):
        clock = Clock()
        with World() as world:
            one, two, plan = self.world_with_plan(world, clock)
            plan.add_args({"name": "p", "kind": "drop"}, clock.ms)
            clock.ms += 700
            one.send("n2", heartbeat(1))
            until(
                lambda: two.counters["fault.dropped"],
                "the drop",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            assert clock.ms - two.inbox.peer_runs.heard_ms["n1"] == 700

    def received(self, two, count):
        """The sequence numbers of the heartbeats that arrive, ``count`` of them."""
        got = []
        until(
            lambda: len(got) >= count,
            f"{count} messages",
            lambda: (two.poll(10), got.extend(m.commit for _, _, m in take_peers(two))),
        )
        return got

    def test_a_duplicate_comes_twice_and_its_second_perhaps_later(self):
        clock = Clock()
        with World() as world:
            one, two, plan = self.world_with_plan(world, clock)
            plan.add_args({"name": "d", "kind": "duplicate", "from": "n1"}, clock.ms)
            one.send("n2", heartbeat(1))
            assert self.received(two, 2) == [1, 1]
            plan.clear(clock.ms)
            plan.add_args({"name": "d", "kind": "duplicate", "from": "n1", "ms": 500}, clock.ms)
            for seq in range(20):
                one.send("n2", heartbeat(seq))
            first = self.received(two, 20)
            assert list(dict.fromkeys(first)) == list(range(20))
            assert len(first) < 30, "nearly all of the copies are held back"
            clock.ms += 500
            assert sorted(first + self.received(two, 40 - len(first))) == sorted([*range(20)] * 2)
            assert two.counters["fault.duplicated"] == 21

    def test_reordered_messages_overtake_one_another(self):
        clock = Clock()
        with World() as world:
            one, two, plan = self.world_with_plan(world, clock)
            plan.add_args({"name": "r", "kind": "reorder", "ms": 300, "to": "n2"}, clock.ms)
            for seq in range(30):
                one.send("n2", heartbeat(seq))
            until(
                lambda: two.counters["fault.delayed"] == 30,
                "all held back",
                lambda: (two.poll(10), two.receive_peers(100)),
            )
            clock.ms += 300
            seqs = self.received(two, 30)
            assert sorted(seqs) == list(range(30))
            assert seqs != sorted(seqs)

    def test_a_delayed_message_comes_when_it_is_due_and_in_order(self):
        clock = Clock()
        with World() as world:
            one, two, plan = self.world_with_plan(world, clock)
            args = {"name": "d", "kind": "delay", "ms": 500, "message_kinds": ["heartbeat"]}
            plan.add_args(args, clock.ms)
            for number in (1, 2, 3):
                one.send("n2", heartbeat(number))
            until(
                lambda: two.counters["fault.delayed"] == 3,
                "three delays",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            assert two.inbox.next_due_ms() == clock.ms + 500
            clock.ms += 499
            assert two.receive_peers(10) == []
            clock.ms += 1
            assert two.poll(60_000) & PEERS  # does not wait a minute
            assert [m[2].commit for m in two.receive_peers(10)] == [1, 2, 3]
            assert two.inbox.next_due_ms() is None

    def test_a_hello_may_be_held_back_and_where_it_came_from_is_known(self):
        clock = Clock()
        with World() as world:
            one, two, plan = self.world_with_plan(world, clock)
            two.inbox.peer_runs = PeerRuns(None, ["n1"], silence_ms=1000)
            args = {"name": "d", "kind": "delay", "ms": 500, "message_kinds": ["hello"]}
            plan.add_args(args, clock.ms)
            one.send("n2", Hello(77))
            until(
                lambda: two.counters["fault.delayed"] == 2,
                "the hello, in both forms",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            clock.ms += 500
            assert [m[2] for m in next_peers(two, 2)] == [Hello(77)] * 2
            plan.clear(clock.ms)
            twin = world.raw(zmq.DEALER, world.where["n2"]["peer"])
            copy = encode_peer(Hello(77), "dev", "n1", make_run_id(2, 0))
            twin.send(copy)
            until(
                lambda: two.counters["refused.waits"],
                "the refusal",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            one.send("n2", Hello(77))  # the first repeats what it is asked to
            assert [m[2] for m in next_peers(two, 2)] == [Hello(77)] * 2
            twin.send(copy)
            until(
                lambda: two.counters["refused.doubled"],
                "the refusal",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
            [line] = world.logs["n2"].of("bus.doubled")
            assert (line["source"], line["address"]) == ("n1", "127.0.0.1")
            assert "said Hello from 127.0.0.1 goes on" in line["detail"]

    def test_what_is_held_back_is_bounded(self, monkeypatch):
        monkeypatch.setattr("paxosd.bus.inbox.HELD_MAX", 2)
        with World() as world:
            one, two, plan = self.world_with_plan(world)
            plan.add_args({"name": "d", "kind": "delay", "ms": 600_000}, 0)
            for number in range(5):
                one.send("n2", heartbeat(number))
            until(
                lambda: two.counters["fault.held_overflow"] == 3,
                "three too many",
                lambda: (two.poll(10), two.receive_peers(10)),
            )
