"""Snapshots of real daemons: taken under load, sent to nodes that were away, after any death."""

import random

import pytest

from paxosctl.client import Compare, Operation
from paxosctl.client.errors import RefusedError
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.requests import GET, LINEARIZABLE, STALE
from tests.bench.fill import fill
from tests.processes.load import Load
from tests.processes.processes import Daemons, wait_for
from tests.processes.test_cluster_settings import ctl
from tests.processes.test_watch_real import Watching

SEED = 20251125
OFTEN = {"slots_max": 40, "margin_slots": 10}


def slot_of(daemons, name):
    status = daemons.status(name)
    return status["snapshot"]["slot"] if status else 0


def wait_snapshots(daemons, name, count):
    """Until the node has taken so many more than now, which the caller's load brings about."""
    start = daemons.status(name)["snapshot"]["taken"]
    wait_for(
        lambda: (
            (daemons.status(name) or {"snapshot": {"taken": 0}})["snapshot"]["taken"]
            >= start + count
        ),
        60.0,
        f"{count} more snapshots of {name}",
    )


@pytest.mark.timeout(300)
def test_killed_under_load_while_snapshots_are_taken_and_sent(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    with Daemons(tmp_path, snapshots=OFTEN | {"margin_slots": 0}) as daemons:
        daemons.start()
        daemons.wait_leader()
        with Load(daemons, seed=SEED, pause_s=0.005) as load:
            load.wait_more(50)
            for number in range(12):
                victim = rng.choice(daemons.names)
                assert daemons.kill(victim) == [-9]
                load.wait_more(rng.choice([20, 150]))
                daemons.start(victim)
                daemons.wait_up(victim)
                print(f"round {number}: {victim}, {load.acked} acknowledged")
            load.wait_more(20)
        load.check()
        daemons.check_equal()
        counts = {
            event: sum(len(daemons.events(name, event)) for name in daemons.names)
            for event in ("snapshot.finished", "snapshot.installed", "snapshot.sent")
        }
        print(counts)
        assert counts["snapshot.finished"] > 10
        assert not any(daemons.events(name, "snapshot.bad") for name in daemons.names)


@pytest.mark.timeout(120)
def test_a_node_that_was_away_for_three_snapshots_comes_back_by_one(tmp_path):
    with Daemons(tmp_path, snapshots=OFTEN) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        earlier = Earlier(daemons)
        away, other = daemons.followers(leader)
        with Load(daemons, seed=SEED, pause_s=0.001) as load:
            load.wait_more(20)
            daemons.kill(away)
            wait_snapshots(daemons, other, 3)
            wait_snapshots(daemons, leader, 1)
            daemons.start(away)
            line = daemons.wait_event(away, "snapshot.installed")
            load.wait_more(50)
        load.check()
        daemons.check_equal()
        assert line["slot"] > 0
        donor = line["from"]
        daemons.wait_event(donor, "snapshot.sent", to=away, slot=line["slot"])
        earlier.check(away)
        # And it lives on from what it was given.
        daemons.kill(away)
        daemons.start(away)
        daemons.wait_up(away)
        daemons.check_equal()
        earlier.check(away)


class Earlier:
    """A key that two transactions change, and one with a lease that ends: what a node knows of
    both once it has its state from a snapshot, and once it has started again."""

    def __init__(self, daemons):
        self._daemons = daemons
        wait_for(
            lambda: (
                {(daemons.status(n) or {}).get("level") for n in daemons.names} == {LEVEL_LATEST}
            ),
            what="the latest feature level",
        )
        with daemons.client() as client:
            change = [Compare.absent(b"earlier")], [Operation.put(b"earlier", b"1")]
            otherwise = [Operation.put(b"earlier", b"2")]
            first = client.txn(*change, otherwise)
            second = client.txn(*change, otherwise)
            client.put(b"leased", b"1", lease=client.grant(1))
        assert (first.succeeded, second.succeeded) == (True, False)
        self._revision = first.revision

    def check(self, name):
        """By reads that the node answers from its own state, and by linearizable ones."""
        queries = [[GET, b"earlier", self._revision], [GET, b"earlier"]]
        with self._daemons.client(name) as client:
            for mode in (STALE, LINEARIZABLE):
                rows = client.read(queries, mode=mode).results
                assert [row.value for row in rows] == [b"1", b"2"]
            # No write is needed for its end: the leader notices it.
            gone = [[GET, b"leased"]]
            wait_for(
                lambda: client.read(gone, mode=STALE).results == [None], what="the lease's end"
            )


SLOW = {"slots_max": 1_000_000, "margin_slots": 0, "send_bytes_per_s": 200_000}


def far_behind(daemons):
    """A running cluster in which n-away is down, and the others have a snapshot of 1 MB and no
    log before it: (away, the others)."""
    daemons.start()
    leader = daemons.wait_leader()
    away, other = daemons.followers(leader)
    daemons.wait_equal()
    daemons.kill(away)
    fill(daemons.endpoint(leader), 3000, 300)
    with daemons.client(leader, other) as client:
        for number in (1, 2):
            client.put(b"between", b"%d" % number)
            for name in (leader, other):
                wait_for(lambda name=name: take(daemons, name), 30.0, f"a snapshot of {name}")
        client.put(b"after", b"1")  # the release rides on this
    return away, (leader, other)


def take(daemons, name):
    """Ask for a snapshot; true once there is one of all that is applied."""
    daemons.admin(name, "snapshot_take")
    status = daemons.status(name)
    newest = status["snapshot"]
    return newest is not None and newest["slot"] == status["applied"] and not newest["running"]


def wait_fetching(daemons, name):
    wait_for(
        lambda: (daemons.status(name) or {"snapshot": {"fetching": ""}})["snapshot"]["fetching"],
        30.0,
        f"{name} fetching",
    )


@pytest.mark.timeout(180)
def test_the_donor_dies_half_way(tmp_path):
    """PITFALLS Paxos 12."""
    with Daemons(tmp_path, size=3, snapshots=SLOW) as daemons:
        away, others = far_behind(daemons)
        daemons.start(away)
        wait_fetching(daemons, away)
        donors = [name for name in others if daemons.admin(name, "status")]
        daemons.kill(donors[0])
        daemons.start(donors[0])
        line = daemons.wait_event(away, "snapshot.installed", timeout_s=90.0)
        assert line["from"] in others
        daemons.check_equal()


@pytest.mark.timeout(180)
def test_the_laggard_is_killed_half_way(tmp_path):
    with Daemons(tmp_path, snapshots=SLOW) as daemons:
        away, _ = far_behind(daemons)
        for _ in range(2):
            daemons.start(away)
            wait_fetching(daemons, away)
            daemons.kill(away)
        daemons.start(away)
        daemons.wait_event(away, "snapshot.installed", timeout_s=90.0)
        daemons.check_equal()
        assert not list((tmp_path / away / "wal").glob("*.part"))


@pytest.mark.timeout(180)
def keep_no_history(daemons):
    """Else a snapshot brings the changes along that its node has never published."""
    wait_for(lambda: daemons.status("n1")["settings"]["level"] == LEVEL_LATEST, 30.0, "the level")
    assert ctl(daemons, "set", "history_revisions=0")[0] == 0


def test_a_watcher_on_a_node_that_jumps_is_told_what_is_compacted(tmp_path):
    """The changes that the node never published must not be left out in silence."""
    with Daemons(tmp_path, snapshots=SLOW | {"send_bytes_per_s": 1 << 30}) as daemons:
        daemons.start()
        leader = daemons.wait_leader()
        away, other = daemons.followers(leader)
        keep_no_history(daemons)
        with daemons.client(leader, other) as client:
            client.put(b"w/0", b"before")
            daemons.wait_equal()
            watching = Watching([daemons.endpoint(away)], b"w/", prefix=True)
            watching.start()
            assert watching.live.wait(30)
            daemons.fault("island", "partition", away, "*")
            for number in (1, 2):
                client.put(b"w/%d" % number, b"missed")
                for name in (leader, other):
                    wait_for(lambda name=name: take(daemons, name), 30.0, f"snapshot of {name}")
            client.put(b"x", b"1")
            daemons.heal()
            daemons.wait_event(away, "snapshot.installed")
            client.put(b"w/3", b"after")
        wait_for(lambda: watching.error, 30.0, "an error of the watcher")
        assert isinstance(watching.error, RefusedError)
        assert watching.error.code == "compacted"
        assert watching.error.detail > 1
        assert [change.value for change in watching.changes] == []
