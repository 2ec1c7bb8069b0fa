"""What a simulated network does to messages."""

import pytest

from paxosd.core.messages import CatchUp, Envelope
from paxosd.core.requests import AdminAnswer, AdminRequest
from paxosd.sim.world.network import Network, NetworkOptions
from paxosd.sim.world.world import World


class Ear:
    """A process and a client that write down what comes."""

    def __init__(self):
        self.up = True
        self.heard, self.requests, self.news, self.lost = [], [], [], []

    def arrive(self, envelope):
        self.heard.append(envelope)

    def arrive_request(self, client, message):
        self.requests.append((client, message))

    def peer_lost(self, name):
        self.lost.append(name)

    def connected(self, node):
        self.news.append(("up", node))

    def disconnected(self, node, reason):
        self.news.append((reason, node))

    def arrive_answer(self, node, message):
        self.news.append((node, message))


def network_of(seed=1, **options):
    world = World(seed)
    network = Network(world, "sim", NetworkOptions(**options))
    ears = {}
    for name in ("n1", "n2"):
        ears[name] = Ear()
        network.add(name, ears[name])
    client = Ear()
    network.add_client(b"c", client)
    return world, network, ears, client


def send_many(world, network, count=1000):
    for number in range(1, count + 1):
        network.send(Envelope("n1", 1, CatchUp(number, number)), "n2")
        world.run_until(world.now_ms + 0.1)
    world.run_until(world.now_ms + 60_000)


def numbers(ear):
    return [each.body.from_slot for each in ear.heard]


class TestMessages:
    def test_a_good_network_keeps_all_and_their_order(self):
        world, network, ears, _ = network_of(delay_ms=(0.1, 50.0))
        send_many(world, network)
        assert numbers(ears["n2"]) == list(range(1, 1001))

    def test_loss(self):
        world, network, ears, _ = network_of(loss=0.2)
        send_many(world, network)
        assert 700 < len(ears["n2"].heard) < 880
        assert network.counters["drop"] == 1000 - len(ears["n2"].heard)

    def test_duplicates(self):
        world, network, ears, _ = network_of(duplicate=0.2)
        send_many(world, network)
        assert 1120 < len(ears["n2"].heard) < 1300
        assert set(numbers(ears["n2"])) == set(range(1, 1001))

    def test_reordering(self):
        world, network, ears, _ = network_of(reorder=0.2, delay_ms=(0.1, 5.0))
        send_many(world, network)
        assert numbers(ears["n2"]) != list(range(1, 1001))
        assert sorted(numbers(ears["n2"])) == list(range(1, 1001))

    def test_replays_come_much_later(self):
        world, network, ears, _ = network_of(replay=0.1)
        for number in range(1, 201):
            network.send(Envelope("n1", 1, CatchUp(number, number)), "n2")
        world.run_until(50)
        assert len(ears["n2"].heard) == 200
        world.run_until(30_000)
        assert len(ears["n2"].heard) == 200 + network.counters["replay"] > 205

    def test_frames_of_an_earlier_life_come_when_a_new_one_begins(self):
        world, network, ears, _ = network_of(replay=1e-9)
        for number in range(1, 11):
            network.send(Envelope("n1", 7, CatchUp(number, number)), "n2")
        world.run_until(1000)
        network.started("n1")
        world.run_until(5000)
        assert len(ears["n2"].heard) == 20
        assert {each.run_id for each in ears["n2"].heard} == {7}

    def test_the_wire_changes_nothing(self):
        world, network, ears, _ = network_of(wire=True)
        network.send(Envelope("n1", 3, CatchUp(5, 9)), "n2")
        world.run_until(10)
        assert ears["n2"].heard == [Envelope("n1", 3, CatchUp(5, 9))]

    def test_changes_and_their_end(self):
        world, network, ears, _ = network_of()
        network.change(loss=1.0, delay_ms=[5, 6])
        network.send(Envelope("n1", 1, CatchUp(1, 1)), "n2")
        world.run_until(100)
        assert ears["n2"].heard == []
        network.heal()
        send_many(world, network, 50)
        assert len(ears["n2"].heard) == 50
        assert network.options.delay_ms == (0.1, 0.6)


REQUEST = AdminRequest(1, "status", {})
ANSWER = AdminAnswer(1, {})


class TestClients:
    @pytest.mark.parametrize("wire", [False, True])
    def test_there_and_back(self, wire):
        world, network, ears, client = network_of(wire=wire)
        network.connect(b"c", "n1")
        world.run_until(10)
        assert client.news == [("up", "n1")]
        assert network.request(b"c", "n1", REQUEST)
        world.run_until(20)
        assert ears["n1"].requests == [(b"c", REQUEST)]
        assert network.answer("n1", b"c", ANSWER)
        world.run_until(30)
        assert client.news[1:] == [("n1", ANSWER)]

    def test_nothing_passes_without_a_connection(self):
        _, network, _, _ = network_of()
        assert not network.request(b"c", "n1", REQUEST)
        assert not network.answer("n1", b"c", ANSWER)

    def test_a_process_that_is_down_refuses_until_it_is_up(self):
        world, network, ears, client = network_of()
        ears["n1"].up = False
        network.connect(b"c", "n1")
        world.run_until(1000)
        assert {news for news, _ in client.news} == {"connection refused"}
        ears["n1"].up = True
        world.run_until(2000)
        assert client.news[-1] == ("up", "n1")

    def test_a_node_that_is_cut_off_is_silent(self):
        world, network, ears, client = network_of()
        network.connect(b"c", "n1")
        world.run_until(10)
        network.cut.add("n1")
        assert network.request(b"c", "n1", REQUEST), "nobody can tell"
        world.run_until(1000)
        assert ears["n1"].requests == []
        assert client.news == [("up", "n1")]

    def test_a_kill_is_noticed_at_once_a_power_cut_is_not(self):
        for silently, limit_ms in ((False, 30), (True, 3100)):
            world, network, ears, client = network_of()
            network.connect(b"c", "n1")
            world.run_until(10)
            ears["n1"].up = False
            network.broke("n1", silently=silently)
            world.run_until(10 + limit_ms)
            assert client.news[1] == ("connection lost", "n1")
            assert ears["n2"].lost == ([] if silently else ["n1"])

    def test_after_a_restart_the_old_connection_is_gone(self):
        world, network, _, client = network_of()
        network.connect(b"c", "n1")
        world.run_until(10)
        network.broke("n1", silently=True)
        network.started("n1")
        assert client.news[1] == ("connection lost", "n1")
        world.run_until(9000)
        assert [news for news, _ in client.news] == ["up", "connection lost", "up"]

    def test_a_client_that_is_gone_hears_nothing(self):
        world, network, ears, client = network_of()
        network.connect(b"c", "n1")
        world.run_until(10)
        network.answer("n1", b"c", ANSWER)
        network.forget_client(b"c")
        ears["n1"].up = False
        network.broke("n1", silently=False)
        world.run_until(5000)
        assert client.news == [("up", "n1")]

    @pytest.mark.parametrize("gone", ["client", "process"])
    def test_nobody_hears_of_a_connection_of_which_an_end_is_gone(self, gone):
        """Found by the campaign with changing members, seed 990119: a node that had died while its
        connection for what it passes on was being made took a turn."""
        world, network, _, client = network_of(delay_ms=(5.0, 6.0))
        network.connect(b"c", "n1")
        if gone == "client":
            network.forget_client(b"c")
        else:
            network.broke("n1", silently=False)
            network.cut.add("n1")
        world.run_until(100)
        assert ("up", "n1") not in client.news
