"""What went wrong, on recordings whose truth is known: each incident, and none where none is."""

import pytest

from paxosctl.inspection.ballot_story import leadership
from paxosctl.inspection.diagnosis import diagnose
from paxosctl.inspection.explanation import explain_ballot
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosd.core.messages import Heartbeat
from paxosd.core.types import Ballot
from paxosd.recorder.event import PROCESSOR, START, WRITE
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.records import RunRecords
from paxosd.sim.nemesis.schedule import Directive, Schedule
from tests.ctl.inspection.made import BASE_US, Made, elect, trio

SECOND = 1_000_000
LASTS_US = 6 * SECOND
B1 = Ballot(1, "n1")


class Traffic:
    """Three nodes that greet each other every 50 ms and sync every 20; what is scheduled is
    recorded in the order of time."""

    def __init__(self, path, **ahead):
        self.path = path
        self.nodes = trio(**ahead)
        self.plan = []
        self.gone = {}
        """Node → (since, until) in which it does nothing."""
        self.delays = {}
        """(from, to) → function of the time: how late in µs, or None: lost."""
        self.syncs = {}
        """Node → function of the time: how long a group commit takes."""
        self.waits = {}
        """Node → function of the time: the share of 100 ms for which it waits for a processor."""
        self.last_us = LASTS_US
        self.alike_from_us = LASTS_US
        """From then on greetings are alike."""

    def at(self, at_us, node, do):
        self.plan.append((at_us, len(self.plan), node, do))

    def is_gone(self, node, at_us):
        since_us, until_us = self.gone.get(node, (1 << 60, 1 << 60))
        return since_us <= at_us < until_us

    def _greet(self, sender, receiver, at_us, number):
        if at_us >= self.alike_from_us:
            number = 0
        message = Heartbeat(B1, "n1", 0, 0, number, 0)
        if self.is_gone(sender, at_us):
            return
        self.at(at_us, sender, lambda node: node.sent(receiver, message))
        late = self.delays.get((sender, receiver), lambda _: 0)(at_us)
        if late is None:
            return
        came_us = at_us + 300 + number % 7 * 50 + late
        if self.is_gone(receiver, came_us):
            came_us = self.gone[receiver][1] + 1000
        if came_us < self.last_us:
            self.at(came_us, receiver, lambda node: node.received(sender, message))

    def _run(self, name, at_us):
        if self.is_gone(name, at_us):
            return
        if at_us % 20_000 == 0:
            took = self.syncs.get(name, lambda _: 1500)(at_us)
            self.at(at_us, name, lambda node: node.sync(at_us // 20_000, took))
        if at_us % 100_000 == 0:
            waited = int(100_000 * self.waits.get(name, lambda _: 0.02)(at_us))
            self.at(at_us, name,
                    lambda node: node.record(PROCESSOR, slot=100_000, x=9_000, y=waited)
            )  # fmt: skip

    def write(self):
        for name, node in self.nodes.items():
            self.at(0, name, lambda made: made.record(START, x=made.run))
            self.nodes[name] = node
        for number, at_us in enumerate(range(0, self.last_us, 10_000)):
            for name in self.nodes:
                self._run(name, at_us)
                if at_us % 50_000 == 0:
                    for other in self.nodes:
                        if other != name:
                            self._greet(name, other, at_us, number * 3 + int(name[1]))
        for at_us, _, name, do in sorted(self.plan, key=lambda each: each[:2]):
            do(self.nodes[name].at(at_us))
        for node in self.nodes.values():
            node.write(self.path)

    def found(self):
        """The incidents as (what, node, peer), once each."""
        self.write()
        return [(each.what, each.node, each.peer) for each in self.incidents()]

    def incidents(self):
        return incidents_in(self.path)


def incidents_in(path):
    with opened([str(path)]) as recordings:
        measure_clocks(recordings, Window())
        return diagnose(recordings, Window(), leadership(recordings)).incidents


def during(since_us, until_us, inside, outside=0):
    return lambda at_us: inside if since_us <= at_us < until_us else outside


@pytest.fixture
def traffic(tmp_path):
    return Traffic(tmp_path, n2=300_000)


FAULT = (2 * SECOND, 4 * SECOND)


def test_greetings_that_are_alike_are_quicker_than_the_first_ones_were(traffic):
    """Each was taken for the one before it, and so for late by the time between two."""
    traffic.alike_from_us = SECOND
    traffic.delays["n1", "n2"] = during(0, SECOND, 12_000)
    assert traffic.found() == []


def test_where_nothing_is_wrong_nothing_is_said(traffic):
    assert traffic.found() == []


@pytest.mark.parametrize("back_us", [3 * SECOND, LASTS_US - 1])
def test_what_cannot_be_read_is_no_trouble_of_the_node_or_its_links(traffic, tmp_path, back_us):
    """Blocks of n2 are missing, to the end or not: it neither stood nor died, and nothing that was
    sent to it was lost."""
    traffic.at(2 * SECOND - 1, "n2", lambda made: made.write(tmp_path))
    traffic.at(back_us, "n2", lambda made: made.blocks())
    assert traffic.found() == []


class TestNodes:
    def test_one_that_died(self, traffic):
        traffic.gone["n3"] = 4 * SECOND, 1 << 60
        assert traffic.found() == [("died", "n3", "")]
        assert "or it has stood still since" in traffic.incidents()[0].words

    def test_one_that_goes_on_has_not_died_where_others_are_read_later(self, traffic):
        """The files of n2 and n3 have grown by seconds since all were opened."""
        traffic.write()
        with opened([str(traffic.path)]) as recordings:
            for name in ("n2", "n3"):
                for late_us in range(0, 2 * SECOND, 20_000):
                    traffic.nodes[name].at(LASTS_US + late_us).sync(late_us, 1500)
                traffic.nodes[name].write(traffic.path)
            measure_clocks(recordings, Window())
            assert diagnose(recordings, Window(), leadership(recordings)).incidents == []

    def test_one_that_was_ended(self, traffic):
        traffic.gone["n3"] = 4 * SECOND, 1 << 60
        traffic.at(4 * SECOND - 10, "n3", lambda node: node.note("node.stopping", reason="SIGTERM"))
        assert traffic.found() == [("ended", "n3", "")]
        assert "was ended (SIGTERM)" in traffic.incidents()[0].words

    def test_one_that_died_by_a_fault_is_noted(self, traffic):
        traffic.gone["n3"] = 4 * SECOND, 1 << 60
        traffic.at(4 * SECOND - 10, "n3", lambda node: node.note("fault.crash", "warning"))
        traffic.write()
        assert {(each.what, each.node, each.is_noted) for each in traffic.incidents()} == {
            ("died", "n3", True)
        }

    @pytest.mark.parametrize(("ran_us", "waited_us", "what"), [
        (4_000, 20_000, "still"), (30_000, 1_500_000, "busy"), (1_900_000, 5_000, "busy"),
    ])  # fmt: skip
    def test_one_that_did_nothing_for_a_while(self, traffic, ran_us, waited_us, what):
        traffic.gone["n2"] = FAULT
        traffic.at(FAULT[1], "n2", lambda node: node.record(PROCESSOR, slot=2 * SECOND, x=ran_us,
                                                            y=waited_us))  # fmt: skip
        found = traffic.found()
        assert [each for each in found if each[0] == what] == [(what, "n2", "")]
        assert {each[1] for each in found} == {"n2"}, "its links are not to blame"

    def test_one_that_is_starved(self, traffic):
        traffic.waits["n3"] = during(*FAULT, 0.6, 0.05)
        traffic.syncs["n3"] = during(*FAULT, 11_000, 1500)
        traffic.delays["n1", "n3"] = traffic.delays["n2", "n3"] = during(*FAULT, 70_000)
        assert traffic.found() == [("busy", "n3", "")]

    def test_all_that_are_starved(self, traffic):
        for name in traffic.nodes:
            traffic.waits[name] = during(*FAULT, 0.6, 0.05)
        assert traffic.found() == [("machine busy", "", "")]

    def test_one_without_its_memory(self, traffic):
        traffic.at(FAULT[0], "n3", lambda node: node.note("node.memory_lost", "error", advice="-"))
        assert ("wiped", "n3", "") in traffic.found()

    def test_a_wall_clock_that_jumps(self, tmp_path):
        node = Made("n1")
        node.at(0).record(START, x=node.run).at(SECOND).sync(1, 500)
        node.write(tmp_path)
        node.ahead_us = -3 * SECOND
        node.at(SECOND + 100_000).sync(2, 500)
        node.write(tmp_path)
        (found,) = incidents_in(tmp_path)
        assert (found.what, found.node) == ("clock", "n1")
        assert "3000 ms back" in found.words


class TestDisks:
    def test_a_slow_one(self, traffic):
        traffic.syncs["n2"] = during(*FAULT, 30_000, 1500)
        assert traffic.found() == [("disk", "n2", "")]
        assert "30.0 ms" in traffic.incidents()[0].words

    def test_all_alike_are_no_trouble(self, traffic):
        for name in traffic.nodes:
            traffic.syncs[name] = during(*FAULT, 30_000, 1500)
        assert traffic.found() == []

    def test_a_slow_one_of_a_machine_that_is_busy(self, traffic):
        for name in traffic.nodes:
            traffic.waits[name] = lambda _: 0.5
        traffic.syncs["n2"] = during(*FAULT, 60_000, 6000)
        assert sorted(traffic.found()) == [("disk", "n2", ""), ("machine busy", "", "")]


class TestLinks:
    def test_a_slow_one(self, traffic):
        traffic.delays["n1", "n2"] = during(*FAULT, 40_000)
        assert traffic.found() == [("slow link", "n1", "n2")]

    def test_one_that_loses_some(self, traffic):
        traffic.delays["n3", "n2"] = lambda at: (
            None if FAULT[0] <= at < FAULT[1] and at // 50_000 % 3 == 0 else 0
        )
        assert traffic.found() == [("lossy link", "n3", "n2")]

    def test_one_on_which_tcp_repeats_what_was_lost(self, traffic):
        traffic.delays["n3", "n2"] = lambda at: (
            210_000 if FAULT[0] <= at < FAULT[1] and at // 50_000 % 4 == 0 else 0
        )
        assert traffic.found() == [("lossy link", "n3", "n2")]

    def test_one_way(self, traffic):
        traffic.delays["n1", "n3"] = during(*FAULT, None)
        assert traffic.found() == [("one-way", "n1", "n3")]

    def test_one_way_until_tcp_gives_up_the_other(self, traffic):
        traffic.delays["n1", "n3"] = lambda at: FAULT[1] - at if FAULT[0] <= at < FAULT[1] else 0
        later = FAULT[0] + 200_000
        traffic.delays["n3", "n1"] = lambda at: FAULT[1] - at if later <= at < FAULT[1] else 0
        assert traffic.found() == [("one-way", "n1", "n3")]
        assert "at first" in traffic.incidents()[0].words

    def test_both_ways(self, traffic):
        traffic.delays["n1", "n3"] = traffic.delays["n3", "n1"] = during(*FAULT, None)
        assert traffic.found() == [("cut link", "n1", "n3")]

    def test_a_node_that_nobody_hears_and_that_hears_nobody(self, traffic):
        for other in ("n1", "n2"):
            traffic.delays["n3", other] = traffic.delays[other, "n3"] = during(*FAULT, None)
        assert traffic.found() == [("cut off", "n3", "")]

    def test_a_node_that_is_cut_off_twice_was_heard_in_between(self, traffic):
        def lost(at_us):
            return None if at_us * 2 // SECOND in (2, 3, 9, 10) else 0

        for other in ("n1", "n2"):
            traffic.delays["n3", other] = traffic.delays[other, "n3"] = lost
        assert traffic.found() == [("cut off", "n3", "")] * 2
        first, second = traffic.incidents()
        assert first.until_us - BASE_US <= 2 * SECOND + 100_000
        assert second.since_us - BASE_US >= 4_400_000

    def test_a_link_that_settles_after_a_cut_is_not_lossy(self, traffic):
        """TCP's timer has doubled as long as nothing passed: a direction may be late for as long
        as that again. What comes later is a matter of its own."""
        settled = FAULT[1] + 1_500_000
        traffic.last_us = FAULT[1] + 3 * SECOND

        def delay(at):
            if FAULT[0] <= at < FAULT[1]:
                return None
            late = FAULT[1] + 500_000 <= at < settled
            return 210_000 if late and at // 50_000 % 3 == 0 else 0

        traffic.delays["n1", "n3"] = traffic.delays["n3", "n1"] = delay
        assert traffic.found() == [("cut link", "n1", "n3")]

    def test_but_loss_much_later_is(self, traffic):
        begun = FAULT[1] + 4 * SECOND
        traffic.last_us = begun + 3 * SECOND

        def delay(at):
            if FAULT[0] <= at < FAULT[1]:
                return None
            return 210_000 if begun <= at and at // 50_000 % 3 == 0 else 0

        traffic.delays["n1", "n3"] = traffic.delays["n3", "n1"] = delay
        assert ("cut link", "n1", "n3") in traffic.found()
        assert "lossy link" in {each.what for each in traffic.incidents()}


class TestLeaders:
    def changed(self, traffic, writes=range(500_000, 3 * SECOND, 100_000)):
        """n1 led, and n2 does from 4 s on; ``writes``: when they are answered."""
        first = {name: Made(name) for name in traffic.nodes}
        ballot = elect(first, "n1", 0)
        for at_us, name, text in (
            (100_000, "n1", {"leader": "n1", "ballot": ballot.shown()}),
            (4 * SECOND, "n2", {"leader": "n2", "ballot": "2.n2"}),
        ):
            traffic.at(at_us, name, lambda node, text=text: node.note("leader.elected", **text))
        for at_us in writes:
            traffic.at(at_us, "n1", lambda node: node.record(WRITE, slot=1, ballot=Ballot(900, ""),
                                                             x=7, y=1 | 1 << 48))  # fmt: skip
        traffic.write()
        with opened([str(traffic.path)]) as recordings:
            measure_clocks(recordings, Window())
            found = leadership(recordings)
            diagnosis = diagnose(recordings, Window(), found)
            return diagnosis, explain_ballot(found, Ballot(2, "n2"), diagnosis)

    def test_one_that_stood_still(self, traffic):
        traffic.gone["n1"] = 3 * SECOND, 5 * SECOND
        diagnosis, said = self.changed(traffic)
        (gap,) = [each for each in diagnosis.incidents if each.what == "no leader"]
        assert "n2 led" in gap.words
        assert "because n1 stood still" in gap.words
        assert ("still", "n1") in [(each.what, each.node) for each in said.causes]
        assert any("n1 stood still" in each.text for each in said.sentences)

    def test_a_pause_of_the_clients_is_nobodys_fault(self, traffic):
        """Two writes, long before: nobody is known to have waited before n1 stood still."""
        traffic.gone["n1"] = 3 * SECOND, 5 * SECOND
        diagnosis, _ = self.changed(traffic, writes=(500_000, 900_000))
        (gap,) = [each for each in diagnosis.incidents if each.what == "no leader"]
        assert 2_900_000 <= gap.since_us - BASE_US <= 3_100_000
        assert gap.until_us - BASE_US == 4 * SECOND

    def test_nor_is_the_end_of_a_load(self, traffic):
        """Many writes, and none in the second and a half before n1 stood still."""
        traffic.gone["n1"] = 3 * SECOND, 5 * SECOND
        diagnosis, _ = self.changed(traffic, writes=range(300_000, 1_500_000, 50_000))
        (gap,) = [each for each in diagnosis.incidents if each.what == "no leader"]
        assert 2_900_000 <= gap.since_us - BASE_US <= 3_100_000

    def test_nor_is_one_before_a_change_without_a_reason(self, traffic):
        diagnosis, _ = self.changed(traffic, writes=(500_000, 900_000))
        assert not [each for each in diagnosis.incidents if each.what == "no leader"]

    @pytest.mark.parametrize("seen_by", ["n3", "n2"])
    def test_what_a_leader_answered_whose_recording_is_lost_is_not_known(self, traffic, seen_by):
        """n3 led from 1.1 s to 2.5 s: its line is there, or another node's that heard of it."""
        traffic.gone["n1"] = 500_000, 5 * SECOND
        led = {"leader": "n3", "ballot": "1.n3"}
        traffic.at(1_100_000, seen_by, lambda node: node.note("leader.elected", **led))
        diagnosis, _ = self.changed(traffic, writes=range(100_000, SECOND, 50_000))
        (*gaps,) = [each for each in diagnosis.incidents if each.what == "no leader"]
        assert ["n2 led" in each.words for each in gaps] == [True] * (seen_by == "n3")

    def test_one_for_which_there_is_no_reason(self, traffic):
        diagnosis, said = self.changed(traffic)
        (gap,) = [each for each in diagnosis.incidents if each.what == "no leader"]
        assert "why is not known" in gap.words
        assert said.causes == []
        assert not said.sentences[0].known


@pytest.mark.parametrize(("directive", "what"), [
    (Directive(6000, "crash", "n2", {"power": False}), {("died", "n2", "")}),
    (Directive(6000, "pause", "n2"), {("still", "n2", "")}),
])  # fmt: skip
def test_a_simulated_cluster(tmp_path, directive, what):
    options = RunOptions(duration_ms=12_000, operations=600, faults=frozenset(), level=0)
    assert run_seed(6, options, schedule=Schedule([directive]), records=RunRecords(tmp_path)).ok
    found = {(each.what, each.node, each.peer) for each in incidents_in(tmp_path)}
    # Its wall clocks are set now and then, as by NTP.
    assert {each for each in found if each[0] not in ("no leader", "clock")} == what
