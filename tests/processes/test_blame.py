"""Who changed a key, of real daemons: the name is there though its session has ended, and though
the part of the log in which it was given is gone."""

import signal

import pytest

from paxosctl.client.client import Client
from paxosctl.inspection.blame import blame
from paxosd.core.cluster_settings import LEVEL_LATEST
from tests.processes.processes import Daemons, wait_for

LARGE = b"x" * 60_000


def has_latest_level(daemons):
    return {(daemons.status(name) or {}).get("level") for name in daemons.names} == {LEVEL_LATEST}


def kept_snapshots(daemons):
    """The slots of all snapshots on all nodes; [0] while one does not answer."""
    found = []
    for name in daemons.names:
        snapshot = (daemons.status(name) or {}).get("snapshot")
        found += [snapshot["slot"], *snapshot["older_slots"]] if snapshot else [0]
    return found


def segments(home):
    return sorted(path.name for path in (home / "wal").glob("wal-*.log"))


@pytest.mark.timeout(180)
def test_a_name_outlives_its_session_and_the_log_that_gave_it(tmp_path):
    # The log goes far enough behind the older snapshot to have the write still.
    often = {"slots_max": 40, "margin_slots": 150}
    with Daemons(tmp_path, snapshots=often, wal={"segment_bytes": 2 << 20}) as daemons:
        daemons.start()
        daemons.wait_leader()
        wait_for(lambda: has_latest_level(daemons), what="the latest feature level")
        endpoints = daemons.endpoints
        homes = [tmp_path / name for name in daemons.names]
        begun = {home: segments(home)[0] for home in homes}
        with Client(endpoints, timeout_s=30.0, name="bulk loader") as bulk:
            with Client(endpoints, timeout_s=30.0, name="early bird") as early:
                early.put(b"k", b"first")
                number = 0
                while any(segments(home)[0] == name for home, name in begun.items()):
                    bulk.put(b"large/%d" % (number % 3), LARGE)
                    number += 1
                    assert number < 1000, "the log is never given back"
                written = early.put(b"k", b"second")
            ended = daemons.status("n1")["applied"]
            number = 0
            # No snapshot has the session: what is known of it was kept when it ended.
            while min(kept_snapshots(daemons)) <= ended + 3:
                bulk.put(b"small", b"%d" % number)
                number += 1
                assert number < 2000, "no snapshot is taken"
        assert daemons.kill(sig=signal.SIGTERM) == [0, 0, 0]
    problems = []
    for wals in ([home / "wal" for home in homes], [homes[2] / "wal"]):
        found = blame(wals, b"k", problems)
        assert found.first > 2, "the OPEN is still in the log"
        last = found.changes[-1]
        assert (last.change.value, last.client) == (b"second", "early bird")
        assert last.change.revision in (0, written)
        assert last.leader in daemons.names
        small = blame(wals, b"small", problems)
        assert {each.client for each in small.changes} == {"bulk loader"}
    assert not problems
