"""No turn of the loop does much, whatever a client asks: work is counted (``core/work.py``), and
a run in which a turn does too much is a violation."""

import math

import pytest

from paxosd import events, replica, service
from paxosd.core import kv, machine
from paxosd.core.commands import DELETE_RANGE, OPEN, PUT, Entry
from paxosd.core.requests import RANGE, STALE, ReadAnswer, ReadRequest, WriteAnswer, WriteRequest
from paxosd.core.work import TURN_UNITS_MAX
from paxosd.sim.invariants import Violation
from paxosd.sim.watch_truth import WatchTruth
from paxosd.sim.watchers import SimWatcher, WatchPlan
from paxosd.wire import encode_entry
from tests.sim.simple import make_cluster, run_for

KEYS = 30_000
PER_ENTRY = 1000


class Greedy:
    """A client that asks one node for much, and hears what it answers."""

    def __init__(self, cluster, node):
        self.cluster, self.node = cluster, node
        self.answers = {}
        self.number = self.seq = self.session = 0
        cluster.network.add_client(b"greedy", self)
        cluster.network.connect(b"greedy", node)
        run_for(cluster, 500)
        (result,) = self.write([OPEN], session=0)
        self.session = result[2]

    def connected(self, node):
        pass

    def disconnected(self, node, reason):
        pass

    def arrive_answer(self, node, message):
        self.answers[message.request_id] = message

    def ask(self, make):
        self.number += 1
        assert self.cluster.network.request(b"greedy", self.node, make(self.number))
        return self.number

    def wait(self, number):
        assert self.cluster.run_until(lambda: number in self.answers, 60_000)
        return self.answers.pop(number)

    def write(self, *commands, session=None):
        if session is None:
            session, self.seq = self.session, self.seq + len(commands)
        first = max(1, self.seq - len(commands) + 1)
        blob = encode_entry(Entry(session, first, first - 1, list(commands)))
        self.cluster.invariants.proposed.add(blob)
        answer = self.wait(self.ask(lambda number: WriteRequest(number, blob)))
        assert type(answer) is WriteAnswer, answer
        return answer.results

    def scan(self):
        query = [RANGE, b"", b"", 0, False, False]
        return self.ask(lambda number: ReadRequest(number, STALE, [query]))


def scene():
    """Much is written, snapshots are taken, all of it is read ten times at once and removed in
    one revision, under watch. Returns the invariants and what the watcher got."""
    cluster = make_cluster(7, snapshots={"slots_max": 12, "margin_slots": 0})
    truth = cluster.invariants.watch = WatchTruth()
    client = Greedy(cluster, cluster.elect())
    for first in range(0, KEYS, PER_ENTRY):
        client.write(*([PUT, b"%05d" % n, b""] for n in range(first, first + PER_ENTRY)))
    watcher = SimWatcher(cluster, truth, "w1", WatchPlan(key=b"", prefix=True, from_revision=None))
    watcher.start()
    run_for(cluster, 500)
    for number in [client.scan() for _ in range(10)]:
        answer = client.wait(number)
        assert type(answer) is ReadAnswer
        assert answer.results[0].more is not None
    ((_, _, count),) = client.write([DELETE_RANGE, b"", b""])
    assert count == KEYS
    number = client.scan()
    assert client.wait(number).results[0].rows == []
    client.write([PUT, b"00001", b"again"])
    assert cluster.run_until(lambda: watcher.caught_up, 60_000)
    assert {len(process.machine.store) for process in cluster.up()} == {1}
    run_for(cluster, 3000)
    assert {len(process.machine.store.data) for process in cluster.up()} == {1}
    return cluster.invariants, watcher


def test_a_removal_of_everything_is_done_in_small_turns_and_watched_to_its_end():
    invariants, watcher = scene()
    assert watcher.delivered >= KEYS + 1
    assert watcher.compacted == 0
    assert PER_ENTRY < invariants.turn_units_max < TURN_UNITS_MAX // 3


def at_once(original):
    return lambda self, *_: original(self, 1 << 30)


MUTATIONS = {
    "removal": lambda p: p.setattr(kv.Store, "advance_removal", at_once(kv.Store.advance_removal)),
    "fan-out": lambda p: p.setattr(
        events.EventPublisher, "pump", at_once(events.EventPublisher.pump)
    ),
    "pages": lambda p: [p.setattr(each, "PAGE_ROWS_MAX", 1 << 30) for each in (kv, machine)],
    "requests": lambda p: [
        p.setattr(each, "CLIENT_UNITS", math.inf) for each in (replica, service)
    ],
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_this_would_catch_it(name, monkeypatch):
    MUTATIONS[name](monkeypatch)
    with pytest.raises(Violation, match="units of work"):
        scene()
