"""What campaigns found once, each by its name; the seeds are those that found it, at the feature
level of then."""

import pytest

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis.schedule import Directive, Schedule
from paxosd.storage.wal_recovery import repair
from tests.sim.simple import make_client, make_cluster, run_for

pytestmark = pytest.mark.drawn(5)


def kill_at_a_new_name_then_cut_the_power(seed):
    """The only node is killed between the renaming of a segment and the sync of its directory,
    goes on in that segment after a restart, and then the power fails."""
    cluster = make_cluster(seed, 1, segment_bytes=4096)
    client, history = make_client(cluster, operations=400, duration_ms=4000.0, mix={"put": 1},
                                  timeout_ms=20_000)  # fmt: skip
    process = cluster.processes["n1"]
    cluster.elect()
    client.start()
    on_disk = process.disks.log.before

    def strike(operation, name):
        on_disk(operation, name)
        if operation == "rename" and name == "wal-00000002.log":
            process.crash_point.arm(1, power=False)

    process.disks.log.before = strike
    assert cluster.run_until(lambda: not process.up, 10_000)
    cluster.start()
    seen = len(history)
    assert cluster.run_until(lambda: len(history) > seen + 8, 10_000)
    cluster.crash("n1", power=True)
    cluster.start()
    assert process.up
    run_for(cluster, 2000)


class TestUnsyncedNameOfASegment:
    """A restart after a kill relied on a segment's name that was never synced: a power cut took
    the name, and with it every promise and vote written since. Crash points found it."""

    @pytest.mark.parametrize("seed", range(12))
    def test_nothing_is_lost(self, seed):
        kill_at_a_new_name_then_cut_the_power(seed)

    def test_this_would_catch_it(self, monkeypatch):
        def repair_without_names(disk, found):
            class NoNames:
                def sync_dir(self):
                    pass

            repair(NoNames(), found)

        monkeypatch.setattr("paxosd.storage.wal_open.repair", repair_without_names)
        caught = 0
        for seed in range(12):
            try:
                kill_at_a_new_name_then_cut_the_power(seed)
            except Exception:  # noqa: BLE001 - a Violation or a corrupt log, by lot
                caught += 1
        assert caught


class TestLateHeal:
    def test_a_fault_that_ends_with_the_safety_phase(self):
        """A write begun at the very end of a crash needs the time of an election."""
        report = run_seed(1325, RunOptions(level=0, stale_readers=0))
        assert report.ok, report.violation


class TestSessionsThatAJumpingClockEnds:
    """Storm seeds 12347, 13362 and 17367 of the mutation campaign's baseline: log time follows
    the leader's clock, which jumped by more than a session lives. What was under way then is of
    unknown outcome, truly; the next write succeeds."""

    @pytest.mark.parametrize("seed", range(8))
    def test_after_the_heal_a_new_write_succeeds(self, seed):
        jumps = [Directive(5000 + 1000 * i, "clock_jump", "", {"ms": 8_000_000}) for i in range(3)]
        drops = {"name": "d", "kind": "drop", "for_ms": 3000, "probability": 0.2}
        schedule = Schedule([*jumps, Directive(5000, "fault_add", "", drops)])
        options = RunOptions(
            level=0,
            stale_readers=0,
            duration_ms=8000,
            operations=200,
            clients=6,
            faults=frozenset(),
        )
        report = run_seed(seed, options, schedule=schedule)
        assert report.ok, report.violation


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (6, "one that lags knows its only peer under a directory that votes no more"),
        (3, "a lagging peer knows an older life of a newcomer, which has lost nothing"),
        (12, "the only node that has the log has departed, and its heir lags"),
        (13, "a voter was named by a directory that it gave up in the meantime"),
    ],
)
def test_members_that_lag_behind_changes_find_their_way(seed, what):
    """Found when the membership first changed in the simulator: each ended with nobody leading."""
    report = run_seed(seed, RunOptions(level=0, stale_readers=0, members=True))
    assert report.ok, f"{what}: {report.violation}"


@pytest.mark.parametrize("seed", [437, 806])
def test_a_crash_right_after_a_log_was_set_aside(seed):
    """Storm seeds of the campaign: the next start finds an empty log, which is as it should be; a
    checker took it for a promise forgotten."""
    options = RunOptions(
        level=0, stale_readers=0, duration_ms=12_000, clients=6, operations=200, keys=3
    )
    report = run_seed(seed, options)
    assert report.ok, report.violation


def test_a_peer_that_has_gone_is_not_taken_for_alive():
    """Found by the campaign with changing members, seed 294: what had come too early was heard
    again in each turn, so that a learner asked nobody but the node that had said it."""
    options = RunOptions(
        level=0, stale_readers=0, duration_ms=9000, clients=6, operations=150, keys=3, members=True
    )
    report = run_seed(294, options)
    assert report.ok, report.violation


def test_a_node_that_is_a_member_again_is_not_sent_away_by_one_that_lags():
    """Found by the campaign with changing members, seed 7976: one that had not heard of its return
    told it that it had gone, and it ended, a voter."""
    options = RunOptions(
        level=0, stale_readers=0, duration_ms=9000, clients=6, operations=150, keys=3, members=True
    )
    report = run_seed(7976, options)
    assert report.ok, report.violation


def test_a_leader_far_behind_asks_soon_again_after_an_outage():
    """Found by fresh seeds, 755855559: it took the time of the outage for that of an answer, asked
    at that interval only, and was elected 21 times before it had caught up."""
    report = run_seed(755855559, RunOptions(at_once=False))
    assert report.ok, report.violation


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (990021, "a directory that was emptied led in a past in which its name was the only voter"),
        (
            991080,
            "after the heal a write did not succeed; later: nobody knew the founding's number",
        ),
        (990027, "one that was let back in waited for a founding that was long over"),
        (5200017, "old machines founded a second cluster, and the only voter gave way to it"),
        (990178, "two nodes of the past pointed at each other, and a client asked nobody else"),
        (990232, "an emptied member that was let back in invented a founding number as leader"),
        (990524, "a member that was away was refused under a number that a leader had drawn since"),
        (990245, "so it was under one drawn by a member that had the record, but not on its disk"),
        (990119, "space for the log whose sync had failed was used, and shorter after a power cut"),
        (914868875, "the simulator was not told of a slot applied as the last subscriber went"),
        (990569, "an emptied node that lost its vote took another identity at every turn"),
        (990299, "a snapshot taken while the wall clock showed 1969 counted as damaged"),
        (991828, "a machine was emptied while the change that made it a member was on its way"),
        (991424, "one that died as it noted its removal was expected to start again"),
        (
            606864210,
            "four of five nodes were of the past, and a watch came to the fifth after them",
        ),
        (5200025, "a careful operator emptied a voter that a stale leader did not know to be one"),
        (825276711, "a voter was emptied after all other founders: they founded anew together"),
    ],
)
def test_a_past_does_not_act_in_the_present(seed, what):
    """Fresh seeds of a trial, with changing members; then old machines joined in."""
    report = run_seed(seed, RunOptions(members=True, at_once=False))
    assert report.ok, f"{what}: {report.violation}"


def test_a_later_epoch_that_only_a_dead_leader_knew_of():
    """Found by fresh seeds: a leader counted the votes for a change of the membership, its envelope
    said that there is another epoch, and it lost its power. After its start it had to ask the other
    voter again, which would not act any more."""
    report = run_seed(644857189, RunOptions(members=True))
    assert report.ok, report.violation


def test_a_decision_in_the_log_is_no_promise():
    """Found by fresh seeds: after a start, decisions that were not committed yet counted as votes
    and as promises of their ballots, until a commit record took both away at a later start."""
    report = run_seed(816028363, RunOptions(members=True))
    assert report.ok, report.violation


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (990027, "one whose directory lost nothing at first kept that identity when it did"),
        (990261, "a power cut took the witness by which the end of a log was found to be lost"),
        (990269, "the same, while the log was set aside"),
        (990676, "nobody let one back in that found out late that another directory votes"),
        (
            991264,
            "a voter lost its memory where another could not take what the third had accepted",
        ),
        (991417, "the damage of a member was not known yet to the copy that was made of it"),
    ],
)
def test_members_that_stay(seed, what):
    """Fresh seeds of the campaign without changes of the membership."""
    report = run_seed(seed, RunOptions(at_once=False))
    assert report.ok, f"{what}: {report.violation}"
