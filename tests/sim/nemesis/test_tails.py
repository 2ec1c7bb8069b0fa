"""The end of a stopped node's log is lost: drawn, done, found."""

import random

import pytest

from paxosd.sim.campaign.draw import draw_faults
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis.kinds import KINDS
from paxosd.sim.nemesis.nemesis import draw_schedule
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.sim.nemesis.tails import draw_tails
from paxosd.sim.world.disk import TAIL_KINDS
from paxosd.sim.world.world import World
from paxosd.storage.wal import Wal
from paxosd.storage.wal_mark import NAME, read_note
from tests.bench.mutation import applied
from tests.bench.mutation_campaign import mutant_run
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutations_protocol import LEADS_IN_WHAT_IS_CHOSEN
from tests.sim.simple import make_client, make_cluster, run_for, write

NAMES = ["n1", "n2", "n3"]


@pytest.fixture
def cluster():
    cluster = make_cluster(segment_bytes=4096)
    cluster.elect()
    cluster.client, _ = make_client(cluster, timeout_ms=20_000)
    for _ in range(20):
        write(cluster, cluster.client)
    return cluster


class TestDrawing:
    def test_what_a_seed_drew_before_is_not_moved(self):
        for seed in range(60):
            world = World(seed)
            drawn = draw_faults(world, NAMES, RunOptions())
            before = draw_schedule(World(seed).derive("nemesis"), NAMES, 60_000)
            rest = [each for each in before if each not in drawn.directives]
            assert rest == []
            assert not [each for each in before if each.verb == "tail"]

    def test_of_a_minority_alone_whatever_else_is_lost(self):
        struck = set()
        for seed in range(300):
            drawn = draw_faults(World(seed), NAMES, RunOptions())
            lost = {
                each.node
                for each in drawn
                if each.verb in ("wipe", "tail") or each.args.get("kind") == "bit-rot"
            }
            assert len(lost) <= 1, seed
            struck |= {each.args["how"] for each in drawn if each.verb == "tail"}
        assert struck == {"cut", "zero", "flip"}

    def test_every_subset_of_the_others_is_down(self):
        down = set()
        for seed in range(60):
            found = draw_tails(random.Random(seed), NAMES, 60_000, TAIL_KINDS, Schedule())
            for at in [each.at_ms for each in found if each.verb == "tail"]:
                (name,) = {each.node for each in found if each.verb == "tail" and each.at_ms == at}
                others = [n for n in NAMES if n != name]
                down.add(tuple(
                    any(e.verb == "crash" and e.node == n and at - 1500 <= e.at_ms <= at
                        for e in found) for n in others
                ))  # fmt: skip
        assert len(down) == 4

    def test_not_where_members_change_and_not_alone(self):
        assert all(
            each.verb != "tail"
            for seed in range(60)
            for each in draw_faults(World(seed), NAMES, RunOptions(members=True))
        )
        assert not len(draw_tails(random.Random(1), ["n1"], 60_000, TAIL_KINDS, Schedule()))
        assert TAIL_KINDS.items() <= KINDS.items()


class TestFound:
    @pytest.mark.parametrize("how", ["cut", "zero", "flip"])
    @pytest.mark.parametrize("lot", range(0, 240, 17))
    def test_whatever_is_harmed_is_set_aside_and_votes_again(self, cluster, how, lot):
        process = cluster.processes["n2"]
        cluster.crash("n2", power=False)
        process.disks.harm_tail(how, lot)
        cluster.start("n2")
        if not process.tally.counts.get(f"tail-{how}"):
            assert how == "zero"  # of the zeros that a group ends in
            return
        assert process.node.forgetful
        assert cluster.run_until(lambda: not process.node.forgetful, 20_000)
        assert write(cluster, cluster.client, 20_000).acknowledged

    def test_a_power_cut_leaves_a_window_which_is_let_alone(self, cluster):
        """The notes of the last moment are gone with it: what is harmed lies before them."""
        process = cluster.processes["n2"]
        run_for(cluster, 2500)
        for _ in range(3):
            write(cluster, cluster.client)
        noted = read_note(process.disks.log).group
        cluster.crash("n2", power=False)
        mark = process.disks.log.open(NAME)
        mark.data = bytearray(mark.durable)
        mark.unsynced.clear()
        assert read_note(process.disks.log).group < noted
        process.disks.harm_tail("zero", 4 * 300 + 1)
        cluster.start("n2")
        assert process.node.forgetful

    def test_without_its_witness_a_zeroed_tail_passes_for_a_torn_write(self, cluster):
        """The window, for what it is: the node goes on as if nothing had been."""
        process = cluster.processes["n2"]
        before = process.node.applied
        cluster.crash("n2", power=False)
        process.disks.harm_tail("zero", 4 * 900 + 1, witness=False)
        cluster.start("n2")
        assert not process.node.forgetful
        assert process.node.applied < before

    def test_a_sound_log_is_never_taken_for_damaged(self, monkeypatch):
        """The invariant that would tell: a note of what is not durable yet."""
        real = Wal.begin_sync

        def early(self, flush=False):
            job = real(self, flush)
            if job is not None:
                self._mark.note(job.group, job.header, job.end)
                self._mark.sync()
            return job

        monkeypatch.setattr(Wal, "begin_sync", early)
        options = RunOptions(faults=frozenset({"crash"}), duration_ms=12_000, operations=150)
        found = (run_seed(seed, options).violation for seed in range(1, 25))
        assert any("takes its sound log for corrupt" in each for each in found)


def test_the_verb_does_it_to_a_node_that_is_up():
    harm = Directive(3000, "tail", "n2", {"how": "flip", "lot": 9})
    options = RunOptions(duration_ms=8000, operations=100, faults=frozenset())
    report = run_seed(1, options, schedule=Schedule([harm, Directive(3500, "restart", "n2")]))
    assert report.ok, report.violation
    assert report.faults["tail-flip"] == 1


class TestTheWedge:
    """A leader whose promises told of too few slots, as the liveness phase sees it."""

    SEEDS = (1, 20)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_found(self, seed):
        report = mutant_run(seed, "overtaken-leader-stays", "lost-tail")
        assert report.violation.startswith("liveness: ")

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_is_mended(self, seed):
        report = PROFILES["lost-tail"].run(seed)
        assert report.ok, report.violation

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_watchdog_alone_ends_it(self, seed):
        with applied(*LEADS_IN_WHAT_IS_CHOSEN):
            report = PROFILES["lost-tail"].run(seed)
        assert report.ok, report.violation
