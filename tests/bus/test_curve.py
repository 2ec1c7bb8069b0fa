"""Keys on real sockets: who is let in, who may speak in whose name, and what is said about it."""

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from paxosd.bus.bus import Bus
from paxosd.bus.zap import Door, DoorError
from paxosd.core.messages import Accepted
from paxosd.core.requests import WriteAnswer, WriteRequest
from paxosd.core.types import Ballot
from paxosd.net.key_files import key_text
from paxosd.wire import ACCEPTED_TOPIC, decode_answer, encode_client, encode_peer
from tests.bus.harness import heartbeat, meet, next_notices, take_peers, until
from tests.bus.keyed import KeyedWorld, await_count, new_key, step

VOTE = Accepted(Ballot(1, "n2"), ((1, 1),), 1)


@pytest.fixture
def world():
    with KeyedWorld() as made:
        yield made


def knock(world, one, counter, kind, endpoint, *keys):
    """Come again and again with new sockets, until that is counted: either end may find out first
    that the other one is of another kind, and only one of them then knows the reason."""

    def once():
        other = world.dial(kind, endpoint, *keys)
        if kind == zmq.SUB:
            other.subscribe(b"")
        else:
            other.send(encode_peer(heartbeat(), "dev", "n2", 1, 0, 0, 0))
        for _ in range(10):
            step(one)
        other.close()

    until(lambda: one.counters[counter], f"{counter} in {dict(one.counters)}", once)


def words(world, name, event="bus.refused"):
    return [line["detail"] for line in world.logs[name].of(event)]


class TestWhoHasAKey:
    def test_peers_hear_each_other_and_a_client_is_known_by_its_key(self, world):
        one, _ = world.start("n1"), world.start("n2")
        meet(world, "n1", "n2", losing=True)
        client = world.dial(
            zmq.DEALER, world.where["n1"]["client"], world.alice, world.pairs["n1"][0]
        )
        client.send(encode_client(WriteRequest(1, b"entry"), "dev"))
        got = []
        until(lambda: got, "the request", lambda: (one.poll(5), got.extend(one.receive_clients(9))))
        assert [(message, key) for _, message, key in got] == [
            (WriteRequest(1, b"entry"), world.alice[0])
        ]
        one.answer(got[0][0], WriteAnswer(1, 1, []))
        assert client.poll(5000)
        assert decode_answer(client.recv()) == WriteAnswer(1, 1, [])
        assert not [name for name in one.counters if name.startswith("refused.")]

    def test_the_largest_message_passes_encrypted(self):
        with KeyedWorld(message_bytes_max=1 << 16) as world:
            one = world.start("n1")
            client = world.dial(
                zmq.DEALER, world.where["n1"]["client"], world.app, world.pairs["n1"][0]
            )
            empty = len(encode_client(WriteRequest(1, b"x" * 256), "dev")) - 256
            frame = encode_client(WriteRequest(1, b"x" * ((1 << 16) - 1 - empty)), "dev")
            assert len(frame) == (1 << 16) - 1
            client.send(frame)
            got = []
            until(lambda: got, "it", lambda: (one.poll(5), got.extend(one.receive_clients(9))))


class TestWhoHasNone:
    @pytest.mark.parametrize("port", ["peer", "client", "events"])
    def test_is_not_let_in(self, world, port):
        one = world.start("n1")
        kind = zmq.SUB if port == "events" else zmq.DEALER
        knock(world, one, "refused.no_key", kind, world.where["n1"][port])
        assert "has no key, and this node wants one: --key-file" in words(world, "n1")[0]
        assert one.counters["received.peer"] == one.counters["received.client"] == 0
        assert one.receive_subscriptions() == []

    @pytest.mark.parametrize(
        ("port", "who"),
        [("peer", "eve"), ("client", "eve"), ("events", "eve"), ("peer", "alice"), ("peer", "app"),
         ("events", "app")],
    )  # fmt: skip
    def test_a_key_that_is_unknown_or_for_another_port(self, world, port, who):
        one = world.start("n1")
        pair = getattr(world, who)
        kind = zmq.SUB if port == "events" else zmq.DEALER
        other = world.dial(kind, world.where["n1"][port], pair, world.pairs["n1"][0])
        if kind == zmq.DEALER:
            other.send(encode_peer(heartbeat(), "dev", "n2", 1, 0, 0, 0))
        await_count(one, "refused.key")
        (said,) = words(world, "n1")
        assert key_text(pair[0]) in said
        assert (
            "revoked, or never added" if who == "eve" else f"not connect to the {port} port"
        ) in said
        assert ("each watch tries" in said) == (port == "events" and who == "app")
        assert one.counters["received.peer"] == one.counters["received.client"] == 0

    def test_who_expects_another_key_of_this_node(self, world):
        one = world.start("n1")
        at = world.where["n1"]["client"]
        knock(world, one, "refused.other_key", zmq.DEALER, at, world.alice, world.eve[0])
        assert "expects another key than this node has" in words(world, "n1")[0]

    def test_who_uses_a_key_where_none_is_taken(self, world):
        one = world.start("n1", keyed=False)
        at, server = world.where["n1"]["client"], world.pairs["n1"][0]
        knock(world, one, "refused.needless_key", zmq.DEALER, at, world.alice, server)
        assert "uses a key, and this node takes none" in words(world, "n1")[0]


class TestInAnothersName:
    def test_a_message_by_the_key_of_another_node(self, world):
        one = world.start("n1")
        liar = world.dial(
            zmq.DEALER, world.where["n1"]["peer"], world.pairs["n2"], world.pairs["n1"][0]
        )
        liar.send(encode_peer(heartbeat(), "dev", "n1", 1, 0, 0, 0))
        await_count(one, "refused.impersonation")
        assert "a message of n1 came by the key of another node" in words(world, "n1")[0]
        assert one.counters["received.peer"] == 0

    def test_a_message_by_a_key_that_was_revoked_since(self, world):
        one = world.start("n1")
        former = world.dial(
            zmq.DEALER, world.where["n1"]["peer"], world.pairs["n2"], world.pairs["n1"][0]
        )
        former.send(encode_peer(heartbeat(), "dev", "n2", 1, 0, 0, 0))
        until(lambda: step(one) or one.counters["refused.stale_run"], "its first message")
        world.rings["n1"].change(peers={"n1": (world.pairs["n1"][0],)})
        former.send(encode_peer(heartbeat(), "dev", "n2", 1, 0, 0, 0))
        await_count(one, "refused.revoked_key")

    def test_a_vote_that_another_node_publishes(self):
        with KeyedWorld(("n1", "n2", "n3")) as world:
            one, two = world.start("n1"), world.start("n2")
            meet(world, "n1", "n2", losing=True)
            until(lambda: two.receive_subscriptions() or two.poll(5) or True, "")
            vote = encode_peer(VOTE, "dev", "n3", 1, 0, 0, 0)

            def publish():
                two.publish(ACCEPTED_TOPIC + b"n3", vote)
                step(one, two)

            until(lambda: one.counters["refused.impersonation"], "its refusal", publish)
            assert "n2, by its key, published a vote of n3" in words(world, "n1")[0]

    def test_a_vote_by_a_key_that_was_revoked_since(self, world, monkeypatch):
        one, two = world.start("n1"), world.start("n2")
        meet(world, "n1", "n2", losing=True)
        vote = encode_peer(VOTE, "dev", "n2", 1, 0, 0, 0)

        def publish():
            two.publish(ACCEPTED_TOPIC + b"n2", vote)
            step(two)

        def votes():
            publish()
            one.poll(5)
            return [each for each in one.receive_peers(1000) if each.body == VOTE]

        until(votes, "a vote", lambda: (one.receive_clients(9), one.disconnected()))
        # With the next vote, before this node looks after its connections.
        monkeypatch.setattr(Bus, "_mind_keys", lambda *_: None)
        world.rings["n1"].change(peers={"n1": (world.pairs["n1"][0],)})
        heard = []
        until(
            lambda: one.counters["refused.revoked_key"] or heard,
            "what became of the vote",
            lambda: heard.extend(votes()),
        )
        assert not heard
        assert "who voted, was revoked" in words(world, "n1")[-1]


class TestMixed:
    """Nodes with keys and nodes without: neither hears the other, and both say why."""

    def test_with_a_key_towards_one_without(self, world):
        one, two = world.start("n1"), world.start("n2", keyed=False)

        def said():  # until either end has seen the mismatch first, which is chance, it is a guess
            known = one.link_problems().get("n2", ""), two.link_problems().get("n1", "")
            right = "takes no keys (it runs without [security])" in known[0]
            return right and "wants a key, and this node has none" in known[1]

        until(said, "the words", lambda: step(one, two))
        await_count(one, "refused.no_key", two)
        await_count(two, "refused.needless_key", one)
        assert not one.send("n2", heartbeat())

    def test_a_key_that_the_other_does_not_know(self, world):
        world.rings["n2"].change(peers={"n2": (world.pairs["n2"][0],)})
        one, two = world.start("n1"), world.start("n2")
        lost, disconnected = [], one.disconnected
        one.disconnected = lambda: lost.extend(disconnected())
        until(lambda: one.link_problems() and two.link_problems(), "words", lambda: step(one, two))
        assert not lost, "no connection stood, so none broke"
        assert "does not know this node's key" in one.link_problems()["n2"]
        assert "no key of it is known" in two.link_problems()["n1"]
        world.rings["n2"].change(peers=world.rings["n1"].peers)
        meet(world, "n1", "n2", losing=True)
        until(lambda: not (one.link_problems() or two.link_problems()), "", lambda: step(one, two))

    def test_a_node_that_proves_itself_by_another_key(self, world):
        one, two = world.start("n1"), world.start("n2", pair=world.eve)
        until(one.link_problems, "words", lambda: step(one, two))
        assert "proved itself by another key" in one.link_problems()["n2"]


class TestASwitchInSteps:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"keyed": False}, {"rollout": "ready"}),
            ({"rollout": "ready"}, {"rollout": "ready"}),
            ({"rollout": "ready"}, {"rollout": "listening"}),
            ({"rollout": "listening"}, {"rollout": "done"}),
        ],
    )
    def test_neighbouring_steps_hear_each_other(self, world, before, after):
        world.start("n1", **before)
        world.start("n2", **after)
        meet(world, "n1", "n2", losing=True)

    def test_a_node_that_comes_back_one_step_further(self, world):
        world.start("n1", rollout="ready")
        world.start("n2", rollout="ready")
        meet(world, "n1", "n2", losing=True)
        world.stop("n2")
        world.start("n2", rollout="listening")
        meet(world, "n1", "n2", losing=True)
        world.stop("n1")
        world.start("n1", rollout="listening")
        meet(world, "n1", "n2", losing=True)


class TestANewKey:
    def test_of_a_peer_beside_the_old_one_and_then_alone(self, world):
        fresh = new_key()
        world.start("n1")
        world.start("n2")
        meet(world, "n1", "n2", losing=True)
        both = {"n1": (world.pairs["n1"][0],), "n2": (fresh[0], world.pairs["n2"][0])}
        for ring in world.rings.values():
            ring.change(peers=both)
        meet(world, "n1", "n2", losing=True)
        world.stop("n2")
        world.start("n2")  # with the old one still: the newest is tried first
        meet(world, "n1", "n2", losing=True)
        world.stop("n2")
        world.start("n2", pair=fresh)
        meet(world, "n1", "n2", losing=True)
        for ring in world.rings.values():
            ring.change(peers=both | {"n2": (fresh[0],)})
        meet(world, "n1", "n2", losing=True)
        assert not [n for b in world.buses.values() for n in b.counters if "revoked" in n]

    def test_a_connection_to_a_key_that_is_the_nodes_no_more_ends(self, world):
        one, two = world.start("n1"), world.start("n2")
        meet(world, "n1", "n2", losing=True)
        assert one.send("n2", heartbeat())
        world.rings["n1"].change(peers=world.rings["n1"].peers | {"n2": (new_key()[0],)})
        until(lambda: not one.send("n2", heartbeat()), "its end", lambda: step(one, two))
        until(one.link_problems, "the words", lambda: step(one, two))


class TestARightThatIsLost:
    def test_ends_a_subscription(self, world):
        one = world.start("n1")
        reader = world.dial(
            zmq.SUB, world.where["n1"]["events"], world.alice, world.pairs["n1"][0], SUBSCRIBE=b""
        )
        assert next_notices(one) == [(True, b"")]
        one.publish(b"kv/a", b"1")
        assert reader.poll(5000)
        reader.recv_multipart()
        world.rings["n1"].change(readers=set())
        ended = []
        until(
            lambda: (False, b"") in ended,
            "the end of the subscription",
            lambda: (one.poll(5), one.receive_peers(9), ended.extend(one.receive_subscriptions())),
        )
        await_count(one, "refused.key")
        one.publish(b"kv/a", b"2")
        assert not reader.poll(100)

    def test_others_come_back(self, world):
        bob = new_key()
        world.rings["n1"].change(readers={world.alice[0], bob[0]})
        one = world.start("n1")
        at, server = world.where["n1"]["events"], world.pairs["n1"][0]
        world.dial(zmq.SUB, at, bob, server, SUBSCRIBE=b"kv/b")
        alice = world.dial(zmq.SUB, at, world.alice, server, SUBSCRIBE=b"kv/a")
        next_notices(one, 2)
        world.rings["n1"].change(readers={world.alice[0]})
        notices = []
        until(
            lambda: (True, b"kv/a") in notices and (False, b"kv/b") in notices,
            "alice again, and bob no more",
            lambda: (
                one.poll(5),
                alice.poll(0),  # a SUB says again what it wants once it is used
                one.receive_peers(9),
                notices.extend(one.receive_subscriptions()),
            ),
        )
        await_count(one, "refused.key")
        assert (True, b"kv/b") not in one.receive_subscriptions()


class TestTheDoor:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_nobody_is_let_in_without_it_and_the_node_ends(self, world):
        one = world.start("n1")
        one.guard.check()
        door = one.guard.door
        world.rings["n1"].admits = None  # what its thread ends with
        client = world.dial(
            zmq.DEALER, world.where["n1"]["client"], world.alice, world.pairs["n1"][0]
        )
        client.send(encode_client(WriteRequest(1, b"entry"), "dev"))
        until(lambda: not door.is_alive, "the end of the thread")
        with pytest.raises(DoorError, match="nobody is let in"):
            one.guard.check()
        del world.rings["n1"].admits
        assert take_peers(one) == []
        assert one.receive_clients(9) == []

    def test_nobody_is_let_in_once_it_is_closed(self, world):
        """libzmq lets in everybody then, unless it is kept from that (ZAP_ENFORCE_DOMAIN)."""
        one = world.start("n1")
        one.guard.door.close()
        client = world.dial(
            zmq.DEALER, world.where["n1"]["client"], world.eve, world.pairs["n1"][0]
        )
        monitor = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        world.sockets.insert(0, monitor)
        client.send(encode_client(WriteRequest(1, b"entry"), "dev"))
        assert monitor.poll(10_000)
        assert recv_monitor_message(monitor)["event"] == zmq.EVENT_DISCONNECTED
        assert one.receive_clients(9) == []

    def test_a_key_is_in_no_text(self, world):
        world.start("n1")
        keys = world.buses["n1"]._keys
        secret = world.pairs["n1"][1]
        assert key_text(secret) not in repr(keys)
        assert repr(secret) not in repr(keys)

    def test_who_loses_the_right_while_it_is_asked_for_does_not_stay(self):
        """The loop looks for former subscribers between the ring's answer and its note."""

        class Losing:
            version = 0

            def admits(self, *_):
                self.version += 1
                return self.version == 1

        context = zmq.Context()
        door = Door(context, Losing())
        try:
            assert not door.let_in("events", b"k" * 32)
        finally:
            door.close()
            context.term()
