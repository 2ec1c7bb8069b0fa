"""What operators and disks do to a node that looks like no error to it: drawn, done, survived."""

import random

import pytest

from paxosd.core.admission import Admission
from paxosd.core.types import Ballot
from paxosd.sim.campaign.draw import draw_faults
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.witnesses import DURABLE_MS, KNOWN_MS, Witnesses
from paxosd.sim.nemesis.changes import draw_relics
from paxosd.sim.nemesis.kinds import KINDS
from paxosd.sim.nemesis.misuse import MISUSE_KINDS, draw_misuse, is_rolled_back
from paxosd.sim.nemesis.nemesis import draw_schedule
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.sim.nemesis.tails import draw_tails, harms
from paxosd.sim.world.trace import Trace
from paxosd.sim.world.world import World
from tests.bench.mutation_runs import PROFILES
from tests.sim.simple import make_client, make_cluster, run_for, write
from tests.sim.test_pitfalls import Scene

NAMES = ["n1", "n2", "n3"]
B = (1, "n1")


class TestDrawing:
    def test_what_a_seed_drew_before_is_not_moved(self):
        for seed in range(40):
            drawn = draw_faults(World(seed), NAMES, RunOptions()).directives
            before = draw_schedule(World(seed).derive("nemesis"), NAMES, 60_000)
            tails = draw_tails(
                World(seed).derive("nemesis/tails"), NAMES, 60_000, None,
                Schedule([each for each in drawn if each.verb in ("clock_set", "settings")]
                         + list(before)),
            )  # fmt: skip
            assert not [each for each in [*before, *tails] if each not in drawn]

    def test_all_passes_together_harm_a_minority(self):
        verbs = set()
        for seed in range(300):
            drawn = draw_faults(World(seed), NAMES, RunOptions())
            assert len({each.node for each in drawn if harms(each)}) <= 1, seed
            verbs |= {each.verb for each in drawn}
        assert verbs >= {"rollback", "remember", "configure", "double"}

    def test_every_subset_of_the_others_is_down(self):
        down = set()
        for seed in range(60):
            found = draw_misuse(random.Random(seed), NAMES, 60_000, {"roll-back"}, Schedule())
            for back in filter(is_rolled_back, found):
                others = [name for name in NAMES if name != back.node]
                down.add(tuple(
                    any(e.verb == "crash" and e.node == n
                        and back.at_ms - 1501 <= e.at_ms <= back.at_ms for e in found)
                    for n in others
                ))  # fmt: skip
        assert len(down) == 4

    def test_not_in_runs_of_before(self):
        assert MISUSE_KINDS.items() <= KINDS.items()
        for seed in range(60):
            drawn = draw_faults(World(seed), NAMES, RunOptions(level=0))
            assert not {each.verb for each in drawn} & {"configure", "double"}

    def test_old_machines_in_most_runs(self):
        drawn = [draw_relics(random.Random(seed), 60_000) for seed in range(60)]
        assert sum(bool(each) for each in drawn) > 40


class TestWitnesses:
    def make(self):
        self.now_ms = 1000.0
        return Witnesses(lambda: self.now_ms)

    def test_who_heard_a_vote_long_enough_ago_knows(self):
        witnesses = self.make()
        witnesses.cast("n1", 5, B)
        self.now_ms = 1100.0
        witnesses.heard("n2", "n1", 5, B)
        assert not witnesses.know("n1", 900.0, NAMES)
        self.now_ms = 1100.0 + KNOWN_MS
        assert witnesses.know("n1", 900.0, NAMES)
        assert not witnesses.know("n1", 1000.0, NAMES), "that vote is in the copy"
        assert not witnesses.know("n1", 900.0, ["n3"])

    @pytest.mark.parametrize(
        ("after_ms", "paused", "knows"),
        [(DURABLE_MS - 1, False, False), (DURABLE_MS + 1, False, True),
         (DURABLE_MS + 1, True, False)],
    )  # fmt: skip
    def test_who_died_soon_after_may_have_forgotten(self, after_ms, paused, knows):
        witnesses = self.make()
        witnesses.cast("n1", 5, B)
        witnesses.heard("n2", "n1", 5, B)
        self.now_ms += after_ms
        witnesses.died("n2", paused=paused)
        self.now_ms += KNOWN_MS
        assert witnesses.know("n1", 900.0, NAMES) is knows


class TestDone:
    @pytest.mark.parametrize("kind", MISUSE_KINDS)
    def test_it_strikes_and_is_survived(self, kind):
        options = RunOptions(faults=frozenset([kind]), duration_ms=15_000, operations=200)
        reports = [run_seed(seed, options) for seed in range(4)]
        assert all(report.ok for report in reports), [report.violation for report in reports]
        assert sum(report.faults.get(kind, 0) for report in reports) >= 3

    @pytest.mark.parametrize("members", [["n1"], ["n1", "n2"], ["n1", "n2", "n3", "n4"]])
    def test_nobody_acts_before_the_first_file_is_corrected(self, members):
        cluster = make_cluster()
        cluster.crash("n1", power=False)
        cluster.processes["n1"].configure(members)
        cluster.start("n1")
        run_for(cluster, 10_000)
        assert not cluster.leader()
        assert all(process.node.role == "newcomer" for process in cluster.up())
        cluster.crash("n1", power=False)
        cluster.processes["n1"].configure(None)
        cluster.start("n1")
        assert cluster.elect()

    def test_a_founded_member_goes_on_whatever_its_file_says(self):
        scene = Scene()
        scene.do("configure", "n2", members=["n2"])
        assert scene.process("n2").misconfigured
        scene.wait(lambda: scene.process("n2").node.role in ("leader", "follower"))
        scene.wait(lambda: scene.cluster.agreed_leader() != "")
        scene.do("crash", scene.others("n2")[0])
        scene.wait(lambda: scene.cluster.agreed_leader() != "")
        scene.write()
        scene.settle()
        assert not scene.process("n2").misconfigured

    def test_the_original_votes_on_while_a_second_process_runs(self):
        scene = Scene()
        name, other = scene.others(scene.leader)
        scene.do("double", name, for_ms=30_000)
        run_for(scene.cluster, 1000)
        scene.do("crash", other)
        scene.write()
        run_for(scene.cluster, 8000)
        scene.write()
        scene.settle()

    def test_what_nobody_surely_knows_is_not_taken_back(self):
        options = RunOptions(duration_ms=6000, operations=100, faults=frozenset())
        schedule = Schedule([
            Directive(4000, "remember", "n2"),
            Directive(5000, "rollback", "n2", {"witnessed": True}),
        ])  # fmt: skip
        report = run_seed(1, options, schedule=schedule)
        assert report.ok
        assert "roll-back" not in report.faults

    def past_reigns(self, seed):
        """How often the node that a cluster began with leads in a membership of the past."""
        profile, trace = PROFILES["first-image"], Trace("all")
        schedule = profile.schedule(random.Random(seed))
        report = run_seed(seed, profile.options, schedule=schedule, trace=trace)
        assert report.faults["roll-back"] == 1
        (back_ms,) = [each.at_ms for each in schedule if is_rolled_back(each)]
        return sum(
            each["event"] == "leader.elected" and each["node"] == each["leader"] == "n1"
            and each["at"] > back_ms and Ballot.of_text(each["ballot"]).epoch == 0
            for each in trace.events()
        )  # fmt: skip

    def test_who_once_was_the_only_voter_leads_no_more_in_that_past(self, monkeypatch):
        assert not [seed for seed in (3, 4) if self.past_reigns(seed)]
        monkeypatch.setattr(Admission, "hear_epoch", lambda self, epoch: None)
        assert any(self.past_reigns(seed) for seed in (3, 4)), "this would catch it"

    def test_a_cluster_of_one_is_founded_once(self):
        cluster = make_cluster(count=1)
        client, _ = make_client(cluster, timeout_ms=20_000)
        cluster.elect()
        assert write(cluster, client).acknowledged
        cluster.crash("n1")
        cluster.processes["n1"].disks.wipe()
        cluster.start("n1")
        run_for(cluster, 10_000)
        assert cluster.processes["n1"].node.role == "newcomer"
