"""Links that lose packets: when they count as lossy, and what takes both connections then."""

import os
import socket

import pytest

from paxosd.bus import lossy_links
from paxosd.bus.lossy_links import CALM_MS, LossyLinks, segments_sent_again
from paxosd.core.messages import Accept, Accepted
from paxosd.core.types import Ballot
from paxosd.net.borrowed import borrowed
from tests.bus.harness import Clock, World, heartbeat, next_peers, take_peers, until

VOTE = Accepted(Ballot(3, "n1"), ((7, 7),), 9)
THIN = 16


def accept(slot, size=10):
    return Accept(Ballot(3, "n1"), slot, bytes(size), 0)


@pytest.fixture
def sent_again(monkeypatch):
    """Descriptor → how many segments it sent again, as the kernel says."""
    counts = {}
    monkeypatch.setattr(lossy_links, "segments_sent_again", lambda each: counts.get(each, 0))
    return counts


class TestWhichLinks:
    def test_one_that_sends_segments_again(self, sent_again):
        links = LossyLinks()
        of = {"n2": {5, 6}, "n3": {7}}
        links.look(of, 0)
        sent_again |= {5: 1, 7: 1}
        assert links.look(of, 250) == []
        sent_again |= {5: 2, 6: 1}
        assert links.look(of, 500) == ["n2"]
        assert "n2" in links
        assert "n3" not in links

    def test_what_was_sent_again_before_does_not_count(self, sent_again):
        links = LossyLinks()
        sent_again[5] = 100
        links.look({"n2": {5}}, 0)
        assert links.look({"n2": {5}}, 250) == []
        assert not links

    def test_until_it_has_been_calm(self, sent_again):
        links = LossyLinks()
        links.look({"n2": {5}}, 0)
        sent_again[5] = 2
        links.look({"n2": {5}}, 250)
        sent_again[5] = 4
        assert links.look({"n2": {5}}, 500) == []
        links.look({"n2": {5}}, 499 + CALM_MS)
        assert "n2" in links
        links.look({"n2": {5}}, 500 + CALM_MS)
        assert not links

    def test_no_longer_than_it_is_a_peer(self, sent_again):
        links = LossyLinks()
        links.look({"n2": {5}}, 0)
        sent_again[5] = 2
        links.look({"n2": {5}}, 250)
        links.look({}, 500)
        assert not links

    def test_an_accept_is_repeated_if_its_slot_was_seen(self, sent_again):
        links = LossyLinks()
        links.look({"n2": {5}}, 0)
        sent_again[5] = 2
        links.look({"n2": {5}}, 250)
        assert [links.is_repeated("n2", accept(slot)) for slot in (8, 9, 8, 10, 10)] == [
            False, False, True, False, True,
        ]  # fmt: skip

    def test_the_kernel_is_asked_for_nothing_but_tcp(self, tmp_path):
        with (tmp_path / "file").open("w") as file:
            assert segments_sent_again(file.fileno()) == 0
        assert segments_sent_again(-1) == 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert segments_sent_again(listener.fileno()) == 0
            assert os.fstat(listener.fileno())


class TestSending:
    @pytest.fixture
    def two(self, sent_again):
        """A lossy link from n1 to n2: both buses, and n1's clock."""
        clock = Clock()
        with World() as world:
            one, two = world.start("n1", now_ms=clock), world.start("n2")
            until(
                lambda: len(one._sockets.descriptors["n2"]) == 2,
                "both connections",
                lambda: sweep(one, clock),
            )
            until(lambda: one.send("n2", heartbeat()), "the swift one")
            until(lambda: one._sender._send_bulk("n2", one._sender._encode(accept(1))), "the other")
            assert len(next_peers(two, 2)) == 2
            for descriptor in one._sockets.descriptors["n2"]:
                sent_again[descriptor] = 2
            yield one, two, clock

    def test_nothing_is_doubled_before_a_loss(self, two):
        one, other_bus, _ = two
        one.send("n2", heartbeat(2))
        one.send("n2", heartbeat(3))
        assert commits(other_bus, 2) == [2, 3]

    def test_what_is_small_takes_both(self, two):
        one, other_bus, clock = two
        sweep(one, clock)
        one.send("n2", heartbeat(2))
        assert commits(other_bus, 2) == [2, 2]

    def test_votes_leave_here_besides(self, two):
        one, other_bus, clock = two
        sweep(one, clock)
        one.publish_accepted(VOTE)
        got = []
        until(lambda: len(got) >= 1, "the vote", lambda: got.extend(drain_peer_socket(other_bus)))
        assert got == [VOTE]

    def test_an_accept_only_when_it_is_sent_again(self, two):
        one, other_bus, clock = two
        sweep(one, clock)
        one.send("n2", accept(2))
        one.send("n2", accept(3))
        one.send("n2", accept(3))
        assert sorted(message.slot for *_, message in next_peers(other_bus, 4)) == [2, 3, 3, 3]

    def test_a_large_one_takes_one_way(self, two):
        one, _, clock = two
        sweep(one, clock)
        one.send("n2", accept(2))
        before = one.counters["sent.peer"]
        one.send("n2", accept(2, size=100_000))
        assert one.counters["sent.peer"] == before + 1

    def test_it_is_logged(self, two, sent_again):
        one, _, clock = two
        sweep(one, clock)
        assert one._log.of("bus.lossy") == [{"to": "n2"}]


class TestOptions:
    def test_each_connection_of_a_node_repeats_soon(self):
        """Of both ends: what listens and what connects."""
        with World() as world:
            one, two = world.start("n1"), world.start("n2")
            ports = {int(at.rpartition(":")[2]) for own in world.where.values()
                     for at in own.values()}  # fmt: skip
            until(
                lambda: len(thin := thin_by_end(ports)) >= 12 and all(thin),
                "all connections, with the option",
                lambda: [(bus.poll(10), bus.disconnected(), bus._sockets.read_quiet_monitors(0))
                         for bus in (one, two)],
            )  # fmt: skip


def thin_by_end(ports):
    """For each end of a connection to one of these ports in this process: whether it has the
    option."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            with borrowed(int(number)) as each:
                if {each.getsockname()[1], each.getpeername()[1]} & ports:
                    found.append(bool(each.getsockopt(socket.IPPROTO_TCP, THIN)))
        except (OSError, IndexError, TypeError):
            continue
    return found


def sweep(bus, clock):
    clock.ms += 1000
    bus.poll(10)
    bus.disconnected()
    bus.receive_peers(100)


def commits(bus, count):
    return [message.commit for *_, message in next_peers(bus, count)]


def drain_peer_socket(bus):
    """What came on the peers' socket, and not by subscription."""
    bus.poll(10)
    bus._pollers.readable &= ~16  # VOTES
    return [m for *_, m in take_peers(bus) if isinstance(m, Accepted)]
