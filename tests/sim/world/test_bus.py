"""The bus of a simulated process: whom it hears, whom it reaches, as peers come and go."""

import pytest

from paxosd.core.messages import Accepted, CatchUp, Envelope, Hello, Welcome
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.faults.plan import FaultPlan
from paxosd.sim.world.bus import SimBus
from paxosd.storage.peer_runs import PeerRuns
from tests.bus.harness import MemoryLog

VOTE = Accepted(Ballot(1, "n1"), ((1, 1),), 1)


class Wires:
    """A network that writes down what leaves."""

    def __init__(self):
        self.sent = []

        self.envelopes = []

    def send(self, envelope, to):
        self.sent.append((to, envelope.body))
        self.envelopes.append(envelope)


class Bench:
    def __init__(self, *peers):
        self.wires, self.effects, self.now_ms, self.log = Wires(), [], 0.0, MemoryLog()
        self.plan = FaultPlan()
        self.bus = SimBus(
            "n1", 7, list(peers), self.wires, self.plan, peer_runs=PeerRuns(None, peers),
            now_ms=lambda: self.now_ms, effect=self.effects.append, wake=print, log=self.log,
        )  # fmt: skip

    def hear(self, *messages):
        self.bus.arrived += messages
        return self.bus.receive_peers(100)


@pytest.fixture
def bench():
    return Bench("n2", "n3")


def test_votes_go_to_all_who_are_peers_now(bench):
    bench.bus.set_peers({"n3": None, "n4": None}, {})
    bench.bus.publish_accepted(VOTE)
    assert bench.wires.sent == [("n3", VOTE), ("n4", VOTE)]


def test_an_envelope_says_what_is_so_of_its_node_when_it_leaves(bench):
    header = bench.bus.inbox.header
    for header.genesis, header.epoch, header.log_mark in ((0, 0, 0), (9, 2, 5)):
        bench.bus.send("n2", Hello(77))
        bench.bus.publish_accepted(VOTE)
    first, *_, last = bench.wires.envelopes
    assert first == Envelope("n1", 7, Hello(77), 0, 0, 0)
    assert last == Envelope("n1", 7, VOTE, 9, 2, 5)
    assert [envelope.log_mark for envelope in bench.wires.envelopes] == [0] * 3 + [5] * 3


def test_another_founding_record_is_no_peer_and_is_logged(bench):
    bench.bus.inbox.header.genesis = 9
    strange, good = Envelope("n2", 1, VOTE, 8), Envelope("n2", 1, VOTE, 9)
    assert bench.hear(strange, good) == [good]
    assert [line["source"] for line in bench.log.of("bus.other_genesis")] == ["n2"]
    assert bench.wires.sent == []


def test_nothing_is_sent_to_one_that_is_no_peer(bench):
    bench.bus.set_peers({"n3": None}, {})
    assert not bench.bus.send("n2", VOTE)
    assert (bench.wires.sent, bench.effects) == ([], [])
    assert bench.bus.send("n3", VOTE)
    assert bench.wires.sent == [("n3", VOTE)]


def test_one_that_is_no_peer_is_neither_heard_nor_answered(bench):
    bench.bus.set_peers({"n3": None, "n4": None}, {})
    good = Envelope("n4", 1, VOTE)
    assert bench.hear(Envelope("n2", 1, VOTE), Envelope("n2", 1, Hello(5)), good) == [good]
    assert bench.wires.sent == []


def test_one_that_is_pinned_to_another_directory_may_ask(bench):
    bench.bus.set_peers({"n2": None, "n3": None}, {"n2": 5})
    assert bench.hear(Envelope("n2", 1, VOTE), Envelope("n2", 1, CatchUp(1, 2))) == [
        Envelope("n2", 0, CatchUp(1, 2))
    ]
    assert bench.hear(Envelope("n2", 1, Hello(5)), Envelope("n2", 1, VOTE)) == [
        Envelope("n2", 1, Hello(5)), Envelope("n2", 1, VOTE),
    ]  # fmt: skip


def test_a_hello_in_vain_is_answered_with_what_is_known(bench):
    known = make_run_id(3, 1)
    bench.hear(Envelope("n2", known, Hello(5)))
    assert bench.hear(Envelope("n2", make_run_id(1, 1), Hello(6))) == []
    assert bench.wires.sent == [("n2", Welcome(known, 5))]


def test_what_was_held_back_is_judged_when_it_is_due(bench):
    bench.plan.add_args({"name": "d", "kind": "delay", "ms": 50}, 0)
    assert (
        bench.hear(
            Envelope("n2", 1, VOTE), Envelope("n2", 1, CatchUp(1, 2)), Envelope("n3", 1, VOTE)
        )
        == []
    )
    bench.bus.set_peers({"n2": None}, {"n2": 5})
    bench.now_ms = 50.0
    assert bench.bus.receive_peers(100) == [Envelope("n2", 0, CatchUp(1, 2))]


def test_copies_of_a_message_are_all_of_one_life(bench):
    bench.bus.set_peers({"n2": None}, {"n2": 5})
    bench.plan.add_args({"name": "d", "kind": "duplicate"}, 0)
    assert bench.hear(Envelope("n2", 1, CatchUp(1, 2))) == [Envelope("n2", 0, CatchUp(1, 2))] * 2
