"""A daemon whose disk holds another value than was decided: noticed, named, rebuilt."""

import pytest

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.commands import OPEN, Entry
from paxosd.core.effects import CommitRecord, DecisionRecord
from paxosd.storage.disk import RealDisk
from paxosd.storage.wal_open import open_wal
from paxosd.wire import encode_batch, encode_entry
from tests.processes.growing import Growing
from tests.processes.processes import wait_for


def spoil_log(path, name):
    """One slot's newest record holds another batch, under sums that are right. Returns the slot."""
    wal, recovered = open_wal(RealDisk(path), cluster_id="test", node_id=name, create=False)
    slot = recovered.commit - 3
    ballot, _ = wal.read(slot)
    value = encode_batch(1, [encode_entry(Entry(0, 1, 0, [[OPEN]]))])
    wal.append([DecisionRecord(slot, ballot, value), CommitRecord(recovered.commit)])
    wal.sync()
    wal.close()
    return slot


@pytest.mark.timeout(120)
def test_a_changed_record_is_noticed_named_and_made_good(tmp_path):
    with Growing(tmp_path, more=0) as daemons:
        leader = daemons.start_founders()
        wait_for(
            lambda: all(
                (daemons.status(n) or {}).get("level") == LEVEL_LATEST for n in daemons.founders
            ),
            what="the feature level",
        )
        with daemons.client(timeout_s=30.0) as client:
            for number in range(20):
                client.put(b"k%d" % number, b"v")
        odd = daemons.followers(leader)[0]
        daemons.kill(odd)
        spoiled = spoil_log(tmp_path / odd / "wal", odd)
        daemons.start(odd)
        told = daemons.wait_event(odd, "state.diverged")
        assert told["level"] == "error"
        assert told["slot"] >= spoiled
        assert f"member rejoin {odd}" in told["advice"]
        others = [name for name in daemons.founders if name != odd]
        assert told["members"] == others
        wait_for(lambda: daemons.status(odd)["role"] == "diverged", what="its role")
        for name in others:
            daemons.wait_event(name, "state.differs", member=odd)
            # Each node knows the first of the slots that it has compared so far.
            assert daemons.status(name)["state_odd"][odd]["slot"] >= spoiled
        assert "restart it first" in daemons.ctl("rejoin", odd, code=1)
        with daemons.client(timeout_s=30.0) as client:
            client.put(b"after", b"all")
        daemons.kill(odd)
        assert list((tmp_path / odd / "wal").glob("lost-*")) == []
        daemons.start(odd)
        wait_for(lambda: daemons.roles()[odd] == "memory-lost", 30, "that it begins anew")
        assert list((tmp_path / odd / "wal").glob("lost-1-wal-*.log"))
        daemons.ctl("rejoin", odd)
        wait_for(lambda: daemons.roles()[odd] in ("voter", "leader"), 30, "its vote")
        daemons.check_equal()
        wait_for(
            lambda: not any(daemons.status(name)["state_odd"] for name in daemons.founders),
            what="that nobody differs",
        )
