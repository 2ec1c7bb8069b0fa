"""A disk that is waited for within the turn: what waited for it leaves in the same turn, and
nothing leaves before it."""

import pytest

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from tests.sim.simple import make_client, make_cluster, run_for

SEEDS = range(3)


def noting(monkeypatch, owner, name, notes, what):
    """Have each call of a method noted as it happens."""
    real = getattr(owner, name)

    def noted(*arguments):
        notes.append(what)
        return real(*arguments)

    monkeypatch.setattr(owner, name, noted)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_vote_leaves_in_the_turn_of_the_accept(monkeypatch, share):
    cluster = make_cluster(7, 3, at_once_share=share)
    client, _ = make_client(cluster, operations=60, duration_ms=3000.0, mix={"put": 1})
    cluster.elect()
    follower = next(each for each in cluster.processes.values() if not each.node.leading)
    notes = []
    noting(monkeypatch, follower, "_take_turn", notes, "turn")
    noting(monkeypatch, follower.replica.commits, "append", notes, "append")
    noting(monkeypatch, follower.bus, "publish_accepted", notes, "vote")
    client.start()
    run_for(cluster, 3000)
    assert "vote" in notes
    in_one_turn = "append vote" in " ".join(notes)
    assert in_one_turn == (share == 1.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_runs_are_good_whatever_is_carried_out_at_once(seed):
    report = run_seed(seed, RunOptions(duration_ms=8000, operations=200, at_once=True))
    assert report.ok, report.violation


def test_this_would_catch_a_vote_before_its_record(monkeypatch):
    """The node is said to be synced although the job has not run."""

    def start(self, job, *, may_block):
        job.run = lambda: None  # nothing reaches the disk
        job.done = True
        self._done.append(job)
        return True

    monkeypatch.setattr("paxosd.sim.world.committer.SimCommitter.start", start)
    options = RunOptions(duration_ms=8000, operations=200, faults=frozenset({"crash"}))
    assert any(not run_seed(seed, options).ok for seed in range(1, 8))
