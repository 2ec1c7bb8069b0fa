"""Watchers in the simulator: what they get is compared with the chosen log."""

from dataclasses import replace

import pytest

from paxosd.core.commands import Change
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster import watchers
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watch_truth import WatchJudge, WatchTruth
from paxosd.sim.cluster.watchers import SimWatcher, WatchPlan
from paxosd.sim.nemesis import shape
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.sim.world.event_links import EventLinks, EventTrouble
from paxosd.sim.world.world import World
from paxosd.wire.events import EventEncoder
from tests.bench.mutation_tables import MUTATIONS
from tests.sim.simple import make_client, make_cluster, run_for

CHANGES = [
    Change(1, 2, b"a", b"1"),
    Change(2, 2, b"b", b"2"),
    Change(3, 4, b"a", None),
    Change(3, 4, b"b", None),
    Change(4, 5, b"b", b"3"),
]


@pytest.fixture
def truth():
    found = WatchTruth()
    for slot in range(1, 6):
        found.extend(slot, [change for change in CHANGES if change.slot == slot])
    return found


def judge_of(truth, start=b"", end=b"", from_revision=1):
    return WatchJudge(truth, "w1", start, end, from_revision)


class TestTruth:
    def test_it_gives_the_state_at_each_revision(self, truth):
        states = [truth.rows(b"", b"", revision) for revision in range(5)]
        assert states == [
            [],
            [(b"a", b"1", 1)],
            [(b"a", b"1", 1), (b"b", b"2", 2)],
            [],
            [(b"b", b"3", 4)],
        ]
        assert truth.rows(b"b", b"", 2) == [(b"b", b"2", 2)]

    def test_a_revision_left_out_is_no_truth(self, truth):
        with pytest.raises(Violation, match="comes 6"):
            truth.extend(6, [Change(6, 6, b"a", b"")])


class TestJudge:
    def test_every_change_once_and_in_order(self, truth):
        judge = judge_of(truth)
        judge.deliver(CHANGES)
        judge.check(4)
        assert judge.delivered == 5

    def test_only_those_of_the_range_are_due(self, truth):
        judge = judge_of(truth, b"b")
        judge.check(1)
        judge.deliver([CHANGES[1], CHANGES[3], CHANGES[4]])
        judge.check(4)

    def test_from_a_revision_on(self, truth):
        judge_of(truth, from_revision=3).deliver(CHANGES[2:])

    @pytest.mark.parametrize(
        "delivered",
        [
            CHANGES[1:],
            CHANGES[:2] + CHANGES[1:],
            CHANGES[:3] + CHANGES[4:],
            [CHANGES[0]._replace(value=b"x")],
            [*CHANGES, Change(5, 6, b"a", b"")],
        ],
        ids=["skipped", "twice", "one of a revision skipped", "another value", "invented"],
    )
    def test_anything_else_is_a_violation(self, truth, delivered):
        with pytest.raises(Violation, match="w1 gets"):
            judge_of(truth).deliver(delivered)

    def test_a_watch_that_believes_itself_complete_and_is_not(self, truth):
        judge = judge_of(truth)
        judge.deliver(CHANGES[:3])
        judge.check(2)
        with pytest.raises(Violation, match="skipped revision 3"):
            judge.check(3)

    @pytest.mark.parametrize("complete_to", [1, 5])
    def test_a_watch_that_goes_back_or_knows_the_future(self, truth, complete_to):
        judge = judge_of(truth, b"c")
        judge.check(2)
        with pytest.raises(Violation, match="complete up to"):
            judge.check(complete_to)

    def test_a_watch_that_begins_in_the_future(self, truth):
        with pytest.raises(Violation, match="begins after 5"):
            judge_of(truth, from_revision=6)


class Node:
    """A process that writes down what comes."""

    def __init__(self):
        self.up = True
        self.wishes = []
        self.requests = []

    def arrive_subscription(self, subscribe, topic):
        self.wishes.append((subscribe, topic))

    def arrive_request(self, client, message):
        self.requests.append((client, message))


class Ear:
    """A watcher that writes down what comes."""

    def __init__(self):
        self.revisions = []
        self.answers = []
        self.reasons = []

    def arrive_event(self, link, cluster, event):
        self.revisions.append(event.revision)

    def arrive_answer(self, link, message):
        self.answers.append(message)

    def disconnected(self, link, reason):
        self.reasons.append(reason)


class Links:
    def __init__(self, **trouble):
        self.world = World(1)
        self.cut = set()
        self.links = EventLinks(self.world, self.cut)
        self.links.trouble = EventTrouble(**trouble)
        self.node, self.ear = Node(), Ear()
        self.links.add("n1", self.node)
        self.encoder = EventEncoder("c", "n1", 1)

    def connect(self, name=b"w", topics=(b"kv/a", b"progress/a")):
        self.links.connect(name, "n1", topics, self.ear)
        self.wait()

    def wait(self, duration_ms=10_000):
        self.world.run_until(self.world.now_ms + duration_ms)

    def publish(self, *revisions, key=b"a"):
        for revision in revisions:
            self.links.publish("n1", *self.encoder.change(revision, 1, key, b"", []))

    def take(self):
        wishes, self.node.wishes = self.node.wishes, []
        return wishes


ON = [(True, b"kv/a"), (True, b"progress/a")]
OFF = [(False, b"kv/a"), (False, b"progress/a")]


class TestLinks:
    def test_what_is_subscribed_arrives_in_order(self):
        bench = Links()
        bench.connect()
        assert bench.take() == ON
        bench.publish(*range(50))
        bench.publish(99, key=b"b")
        bench.wait()
        assert bench.ear.revisions == list(range(50))

    def test_an_end_is_noticed_only_when_the_last_one_leaves(self):
        bench = Links()
        bench.connect(b"w1")
        bench.connect(b"w2")
        assert bench.take() == ON + ON
        bench.links.close(b"w1")
        assert bench.take() == []
        bench.links.close(b"w2")
        assert bench.take() == OFF

    def test_what_is_on_its_way_to_a_closed_connection_is_lost(self):
        bench = Links()
        bench.connect()
        bench.publish(1)
        bench.links.close(b"w")
        bench.wait()
        assert bench.ear.revisions == []
        assert not bench.links.answer(b"w", None)

    def test_a_node_that_is_down_refuses(self):
        bench = Links()
        bench.node.up = False
        bench.connect()
        assert bench.ear.reasons == ["connection refused"]

    def test_that_a_node_died_is_noticed(self):
        bench = Links(noticed=1.0)
        bench.connect()
        bench.links.broke("n1")
        bench.wait()
        assert bench.ear.reasons == ["connection lost"]

    def test_or_the_connection_goes_on_with_its_next_life(self):
        bench = Links(noticed=0.0)
        bench.connect()
        bench.publish(1)
        bench.links.broke("n1")
        bench.wait()
        bench.links.started("n1")
        bench.wait()
        assert bench.ear.reasons == []
        assert bench.take() == ON + ON
        bench.publish(2)
        bench.wait()
        assert bench.ear.revisions == [2]

    def test_nothing_comes_through_to_a_node_that_is_cut_off(self):
        bench = Links()
        bench.connect()
        bench.cut.add("n1")
        bench.publish(1)
        bench.links.request(b"w", "question")
        assert bench.links.answer(b"w", "answer")
        bench.wait()
        assert (bench.ear.revisions, bench.node.requests, bench.ear.answers) == ([], [], [])

    def test_questions_and_answers(self):
        bench = Links()
        bench.connect()
        bench.links.request(b"w", "question")
        bench.wait()
        assert bench.node.requests == [(b"w", "question")]
        assert bench.links.answer(b"w", "answer")
        bench.wait()
        assert bench.ear.answers == ["answer"]

    def test_losses_repeats_and_late_ones(self):
        bench = Links(lost=0.2, twice=0.2, late=0.2)
        bench.connect()
        bench.publish(*range(300))
        bench.wait()
        delivered = bench.ear.revisions
        assert set(delivered) < set(range(300))
        assert len(delivered) > len(set(delivered))
        assert delivered != sorted(delivered)
        assert bench.links.counters.keys() == {"watch-drop", "watch-twice", "watch-late"}

    def test_a_connection_that_breaks_and_comes_again_in_silence(self):
        bench = Links(flap=0.1)
        bench.connect()
        for revision in range(100):
            bench.publish(revision)
            bench.wait(5)
        bench.wait()
        assert bench.ear.reasons == []
        wishes = bench.take()
        assert wishes == (ON + OFF) * (len(wishes) // 4) + ON
        assert len(wishes) > 4
        assert 0 < len(bench.ear.revisions) < 100


@pytest.fixture
def met(monkeypatch):
    """All watchers of all runs of a test; snapshots are taken all the time."""
    found = []
    init = SimWatcher.__init__

    def remember(self, *args):
        init(self, *args)
        found.append(self)

    monkeypatch.setattr(SimWatcher, "__init__", remember)
    monkeypatch.setattr(shape, "FEW", shape.MANY)
    monkeypatch.setattr(watchers, "DIES", 0.02)
    return found


OPTIONS = RunOptions(duration_ms=12_000, operations=300, clients=6, watchers=3)


class TestRuns:
    def test_watches_hold_under_all_faults(self, met):
        for seed in range(1, 7):
            print(f"seed={seed}")
            report = run_seed(seed, OPTIONS)
            assert report.ok, report.violation
            assert report.watched > 0
        assert sum(watcher.compacted for watcher in met) > 0
        assert sum(watcher.watches for watcher in met) > len(met) + 10

    @pytest.mark.drawn(2)
    @pytest.mark.parametrize("seed", range(1, 6))
    def test_and_with_members_that_change(self, met, seed):
        report = run_seed(seed, RunOptions(**_fields(OPTIONS) | {"members": True}))
        assert report.ok, report.violation

    def test_a_run_repeats_itself(self):
        reports = [run_seed(3, OPTIONS) for _ in range(2)]
        assert reports[0].digest == reports[1].digest
        assert reports[0].watched == reports[1].watched > 0

    def test_half_of_the_seeds_are_watched_and_the_others_notice_nothing(self):
        # Without readers of earlier revisions, with which a watcher may get nothing in this time.
        drawn = RunOptions(duration_ms=3000, operations=60, revision_readers=0)
        nobody = replace(drawn, watchers=0)
        unwatched = 0
        for seed in range(1, 9):
            report = run_seed(seed, drawn)
            if not report.watched:
                unwatched += 1
                assert report.digest == run_seed(seed, nobody).digest
        assert 0 < unwatched < 8


def _fields(options):
    return {name: getattr(options, name) for name in options.__dataclass_fields__}


def watch_a_node_that_takes_in_a_snapshot(seed):
    """It misses so much that the log of the others does not reach back to it, and while it takes
    a snapshot in it hears of values chosen above. Returns how often it did that while watched."""
    cluster = make_cluster(seed, snapshots=shape.MANY, segment_bytes=4096)
    truth = cluster.invariants.watch_changes()
    cluster.elect()
    client, _ = make_client(cluster, operations=1400, duration_ms=6_000.0, burst_mean=10.0,
                            open_loop=True, mix={"put": 4, "delete_range": 0.3})  # fmt: skip
    plan = WatchPlan(key=b"k", prefix=True, from_revision=None)
    watcher = SimWatcher(cluster, truth, "w1", plan)
    lagging = next(name for name in cluster.names if name != cluster.leader())
    watcher._nodes = [lagging]
    watcher.start()
    client.start()
    director = Director(cluster)
    for _ in range(2):
        run_for(cluster, 500)
        cut = {"name": "cut", "kind": "isolate", "on": [lagging], "for_ms": 1500}
        director.carry_out(Directive(0, "fault_add", "", cut))
        run_for(cluster, 2300)
    client.stop()
    assert cluster.run_until(lambda: client.idle and watcher.caught_up, 30_000)
    return cluster.processes[lagging].replica.events.counters["gaps"]


class TestJump:
    """A node that takes in a snapshot has not the changes that it holds to publish."""

    SEEDS = range(1, 5)

    def test_its_watchers_miss_nothing_unnoticed(self):
        assert sum(map(watch_a_node_that_takes_in_a_snapshot, self.SEEDS)) > 0

    @pytest.mark.parametrize("name", ["watch-jump-order", "watch-jump-unseen"])
    def test_this_would_catch_it(self, name):
        caught = 0
        with MUTATIONS[name].applied():
            for seed in self.SEEDS:
                try:
                    watch_a_node_that_takes_in_a_snapshot(seed)
                except Violation as violation:
                    caught += violation.kind == "watch"
        assert caught
