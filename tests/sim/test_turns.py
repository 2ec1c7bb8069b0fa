"""No turn of the loop does much, whatever a client asks: work is counted (``core/work.py``), and
a run in which a turn does too much is a violation."""

import math

import pytest

from paxosd.core.commands import DELETE_RANGE, OPEN, PUT, Entry
from paxosd.core.requests import (
    LINEARIZABLE,
    RANGE,
    STALE,
    ReadAnswer,
    ReadRequest,
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.state import kv, queries
from paxosd.core.work import TURN_UNITS_MAX
from paxosd.replica import background, replica, service
from paxosd.replica import watch_publisher as events
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watchers import SimWatcher, WatchPlan
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.wire import encode_entry
from tests.sim.simple import make_cluster, run_for

KEYS = 30_000
PER_ENTRY = 1000
BATCH = 2000


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

    def write_at_once(self, *commands):
        """In as many entries as it takes, none of which waits for another."""
        numbers = []
        for first in range(0, len(commands), PER_ENTRY):
            part = list(commands[first : first + PER_ENTRY])
            blob = encode_entry(Entry(self.session, self.seq + 1, 0, part))
            self.seq += len(part)
            self.cluster.invariants.proposed.add(blob)
            numbers.append(self.ask(lambda number, blob=blob: WriteRequest(number, blob)))
        for number in numbers:
            assert type(self.wait(number)) is WriteAnswer

    def scan(self):
        query = [RANGE, b"", b"", 0, False, False]
        return self.ask(lambda number: ReadRequest(number, STALE, [query]))


def scene():
    """Much is written, snapshots are taken, all of it is read 30 times at once and removed in
    one revision, under watch. Returns the invariants and what the watcher got."""
    cluster = make_cluster(7, snapshots={"slots_max": 12, "margin_slots": 0})
    truth = cluster.invariants.watch_changes()
    client = Greedy(cluster, cluster.elect())
    for first in range(0, KEYS, PER_ENTRY):
        client.write(*([PUT, b"%05d" % n, b""] for n in range(first, first + PER_ENTRY)))
    watcher = SimWatcher(cluster, truth, "w1", WatchPlan(key=b"", prefix=True, from_revision=None))
    watcher.start()
    run_for(cluster, 500)
    for number in [client.scan() for _ in range(30)]:
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
    assert PER_ENTRY < invariants.turn_units_max < TURN_UNITS_MAX // 2


def catching_up(apply_commands_max=1000):
    """A node that was cut off gets all that was written meanwhile, and is read from at once.
    Returns the invariants."""
    node = {"apply_commands_max": apply_commands_max}
    cluster = make_cluster(7, node=node)
    leader = cluster.elect()
    late = next(name for name in cluster.names if name != leader)
    director = Director(cluster)
    others = [name for name in cluster.names if name != late]
    cut = {"kind": "partition", "name": "cut", "from": [late], "to": others}
    director.carry_out(Directive(0, "fault_add", late, cut))
    client = Greedy(cluster, leader)
    for first in range(0, KEYS, PER_ENTRY):
        client.write(*([PUT, b"%05d" % n, b""] for n in range(first, first + PER_ENTRY)))
    process = cluster.processes[late]
    assert process.machine.revision < KEYS // 2
    director.heal()
    cluster.network.connect(b"greedy", late)
    run_for(cluster, 20)
    client.node = late
    query = [RANGE, b"", b"", 1, True, False]
    number = client.ask(lambda number: ReadRequest(number, LINEARIZABLE, [query]))
    before = process.machine.revision
    answer = client.wait(number)
    assert before < answer.revision == KEYS, "it was read from while it caught up"
    assert answer.results[0].rows[0].key == b"%05d" % (KEYS - 1)
    return cluster.invariants


def test_what_a_node_missed_is_applied_in_small_turns_and_reads_wait_for_it():
    assert PER_ENTRY < catching_up().turn_units_max < TURN_UNITS_MAX // 2


def test_a_node_that_applies_all_it_has_in_one_turn_is_noticed():
    with pytest.raises(Violation, match="units of work"):
        catching_up(apply_commands_max=1 << 30)


def most_waiting_for_watchers():
    """8000 keys are written at once, under watch: the most that waited to be published."""
    waiting = [0]
    cluster = make_cluster(7)
    truth = cluster.invariants.watch_changes()
    client = Greedy(cluster, cluster.elect())
    watcher = SimWatcher(cluster, truth, "w1", WatchPlan(key=b"", prefix=True, from_revision=None))
    watcher.start()
    run_for(cluster, 500)
    with pytest.MonkeyPatch.context() as patch:
        pump = events.EventPublisher.pump

        def look(self, keys_max=20):  # slow, as on a small machine
            waiting.append(len(self.backlog))
            pump(self, keys_max)

        patch.setattr(events.EventPublisher, "pump", look)
        client.write_at_once(*([PUT, b"%05d" % n, b""] for n in range(8 * PER_ENTRY)))
        assert cluster.run_until(lambda: watcher.caught_up, 60_000)
    assert watcher.delivered == 8 * PER_ENTRY
    return max(waiting)


def test_no_more_is_applied_than_watchers_are_sent(monkeypatch):
    most = BATCH + events.CHANGES_PER_TURN
    assert events.CHANGES_PER_TURN < most_waiting_for_watchers() <= most
    monkeypatch.setattr(events.EventPublisher, "lags", False)
    assert most_waiting_for_watchers() > most


def background_of_busy_turns(monkeypatch):
    """A checksum and a snapshot are made while 20,000 keys are overwritten. Returns, for each turn
    that had done its share, the keys that it visited for them."""
    cluster = make_cluster(7, snapshots={"slots_max": 6, "margin_slots": 0})
    client = Greedy(cluster, cluster.elect())
    process = cluster.processes[client.node]
    busy, checksums = [], 0
    with monkeypatch.context() as patch:
        turn = background.BackgroundWork.turn

        def look(self, now_ms, wall_ms, **turned):
            before = self._machine.work.units
            turn(self, now_ms, wall_ms, **turned)
            if self is process.replica._background and before >= PER_ENTRY:
                busy.append(self._machine.work.units - before)

        patch.setattr(background.BackgroundWork, "turn", look)
        for _ in range(2):
            client.write_at_once(*([PUT, b"%05d" % n, b""] for n in range(10 * PER_ENTRY)))
            process.machine.checksum_runs.start(process.machine.applied, process.machine._rest)
            checksums += 1
        assert cluster.run_until(lambda: not process.machine.checksum_runs.running, 60_000)
        assert cluster.run_until(lambda: process.replica.snapshot_status(0).slot > 0, 60_000)
    assert len(process.machine.checksum_runs.finished) >= checksums
    return busy


def test_a_turn_that_has_done_its_share_does_little_beside_it(monkeypatch):
    busy = background_of_busy_turns(monkeypatch)
    assert 0 < max(busy) <= 600
    monkeypatch.setattr(background, "KEYS_BUSY", background.KEYS_PER_TURN)
    assert max(background_of_busy_turns(monkeypatch)) > 600


def at_once(original):
    return lambda self, *_: original(self, 1 << 30)


MUTATIONS = {
    "removal": lambda p: p.setattr(kv.Store, "advance_removal", at_once(kv.Store.advance_removal)),
    "fan-out": lambda p: p.setattr(
        events.EventPublisher, "pump", at_once(events.EventPublisher.pump)
    ),
    "pages": lambda p: [
        p.setattr(queries, each, 1 << 30) for each in ("PAGE_ROWS_MAX", "PAGE_BYTES_MAX")
    ],
    "requests": lambda p: [
        p.setattr(each, "CLIENT_UNITS", math.inf) for each in (replica, service)
    ],
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_this_would_catch_it(name, monkeypatch):
    MUTATIONS[name](monkeypatch)
    with pytest.raises(Violation, match="units of work"):
        scene()
