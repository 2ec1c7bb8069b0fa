"""The data quota: which writes it refuses is a function of the log, however far a node is with
what is not visible, and whether it came from the log or from a snapshot."""

import random

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    GRANT,
    OPEN,
    PUT,
    Batch,
    Entry,
    Reign,
    Status,
)
from paxosd.core.state.kv import MALFORMED_RESULT, REMOVED_AT_ONCE_MAX
from paxosd.core.state.machine import Machine
from paxosd.core.state.quota import KEY_BYTES, QUOTA_RESULT
from paxosd.core.state.snapshot import Restore, SnapshotWalk
from paxosd.core.state.walk import Walk
from tests.core.state.parts import copy_history, page_of

LEVEL_4 = ClusterSettings(level=LEVEL_COORDINATION)


class Replica:
    """A machine at the latest level with a session and, if it is not 0, a quota."""

    def __init__(self, quota_bytes=0):
        self.machine, self.seq = Machine(), 0
        self.settle(quota_bytes)
        ((result,),) = self.apply(Entry(0, 1, 0, [[OPEN]]))
        self.session = result[2]

    @classmethod
    def restored(cls, other):
        """From a snapshot of ``other``."""
        made = cls.__new__(cls)
        walk = SnapshotWalk(other.machine, {})
        restore = Restore(walk.head)
        while rows := walk.sessions():
            restore.sessions(rows)
        copy_history(walk, restore)
        while not walk.done:
            restore.rows(walk.rows(7, 1 << 20))
        walk.close()
        made.machine, made.seq, made.session = restore.finish(), other.seq, other.session
        return made

    def apply(self, *entries):
        slot = self.machine.applied + 1
        return self.machine.apply(slot, Batch(0, list(entries), Reign(1, "n1", slot)), b"value")

    def settle(self, quota_bytes):
        before = self.machine.settings
        document = LEVEL_4._replace(quota_bytes=quota_bytes).to_command()
        ((result,),) = self.apply(Entry(0, 1, 0, [[CLUSTER, before.version, 0, document]]))
        assert result[0] == Status.OK

    def do(self, *commands):
        entry = Entry(self.session, self.seq + 1, self.seq, list(commands))
        self.seq += len(commands)
        return self.apply(entry)[0]

    @property
    def counted(self):
        """What its visible rows count."""
        page = page_of(self.machine.store, b"", b"", bytes_max=1 << 40)
        return sum(len(row.key) + len(row.value) + KEY_BYTES for row in page.rows)


def size(key_bytes, value_bytes):
    return key_bytes + value_bytes + KEY_BYTES


class TestWrites:
    def test_what_has_no_room_is_refused_and_changes_nothing(self):
        replica = Replica(size(1, 100))
        assert replica.do([PUT, b"a", bytes(100)]) == [1]
        assert replica.do([PUT, b"a", bytes(101)], [PUT, b"b", b""]) == [QUOTA_RESULT] * 2
        assert replica.machine.revision == 1
        assert replica.machine.store.get(b"a").value == bytes(100)
        assert replica.machine.store.get(b"b") is None

    def test_cas_is_a_write_like_any_other(self):
        replica = Replica(size(1, 10))
        big = bytes(11)
        assert replica.do([CAS_VALUE, b"a", None, big]) == [QUOTA_RESULT]
        assert replica.do([CAS_REVISION, b"a", 0, bytes(10)]) == [1]
        assert replica.do([CAS_REVISION, b"a", 1, big]) == [QUOTA_RESULT]
        assert replica.do([CAS_REVISION, b"a", 9, big]) == [(Status.CAS_MISS, 1, None)]

    def test_a_put_with_a_lease_is_refused_as_well_and_attaches_nothing(self):
        replica = Replica(size(1, 10))
        ((granted,),) = [replica.do([GRANT, 60_000, 7])]
        assert granted[0] == Status.OK
        assert replica.do([PUT, b"a", bytes(11), 7]) == [QUOTA_RESULT]
        assert replica.do([PUT, b"a", bytes(10), 7]) == [1]
        assert list(replica.machine.leases.table[7].keys) == [b"a"]

    def test_deletes_make_room_within_the_same_slot(self):
        replica = Replica(size(1, 10))
        results = replica.do(
            [PUT, b"a", bytes(10)], [PUT, b"b", b""], [DELETE, b"a"], [PUT, b"b", b""]
        )
        assert results == [1, QUOTA_RESULT, 2, 3]

    def test_one_that_was_lowered_lets_the_store_shrink_only(self):
        replica = Replica()
        replica.do([PUT, b"a", bytes(100)], [PUT, b"b", bytes(100)])
        replica.settle(KEY_BYTES)
        assert replica.do([PUT, b"a", bytes(101)]) == [QUOTA_RESULT]
        assert replica.do([PUT, b"a", bytes(100)], [PUT, b"a", bytes(99)]) == [3, 4]
        assert replica.do([DELETE, b"b"], [DELETE, b"a"], [PUT, b"c", b""]) == [5, 6, QUOTA_RESULT]
        replica.settle(0)
        assert replica.do([PUT, b"c", bytes(1000)]) == [7]

    def test_it_is_in_force_from_the_next_slot_on(self):
        replica = Replica()
        document = LEVEL_4._replace(quota_bytes=1).to_command()
        version = replica.machine.settings.version
        results = replica.apply(
            Entry(0, 1, 0, [[CLUSTER, version, 0, document]]),
            Entry(replica.session, 1, 0, [[PUT, b"a", b""]]),
        )
        assert results[1] == [1]
        replica.seq = 1
        assert replica.do([PUT, b"b", b""]) == [QUOTA_RESULT]


class TestLargeRemoval:
    def fill(self, count):
        replica = Replica()
        replica.do(*[[PUT, b"k%05d" % n, bytes(50)] for n in range(count)])
        replica.settle(replica.counted)
        assert replica.do([PUT, b"x", b""]) == [QUOTA_RESULT]
        return replica

    def test_what_it_hides_does_not_count_although_it_is_still_there(self):
        replica = self.fill(1000)
        replica.do([DELETE_RANGE, b"k", b"l"])
        store = replica.machine.store
        assert store.hidden_keys > REMOVED_AT_ONCE_MAX
        assert replica.do([PUT, b"x", bytes(50)])[0] > 1000
        assert store.hidden_keys > 900  # it took out what it needed, not all

    @pytest.mark.parametrize("op", [True, 1.0])
    def test_what_is_equal_to_a_put_is_one_however_far_the_removal_is(self, op):
        """Admission lets no such command through; all nodes do the same with it nevertheless."""
        replica = self.fill(100)
        replica.do([DELETE_RANGE, b"k", b"l"])
        other = Replica.restored(replica)
        assert replica.machine.store.hidden_keys
        assert not other.machine.store.hidden_keys
        assert replica.do([op, b"x", b""]) == other.do([op, b"x", b""]) == [102]

    def test_what_begins_with_no_op_at_all_is_no_put(self):
        replica = self.fill(10)
        replica.machine.collect_changes = True
        assert replica.do([None, b"x", b""]) == [MALFORMED_RESULT]

    def test_also_while_a_snapshot_holds_the_removal_up(self, monkeypatch):
        monkeypatch.setattr("paxosd.core.state.walk.KEPT_KEYS_MAX", 0)
        replica = self.fill(100)
        walk = Walk(replica.machine.store)
        replica.do([DELETE_RANGE, b"k", b"l"])
        for n in range(100):
            assert type(replica.do([PUT, b"y%05d" % n, bytes(50)])[0]) is int
        assert replica.do([PUT, b"z", b""]) == [QUOTA_RESULT]
        keys = []
        while not walk.done:
            keys += walk.take(10, 1 << 20)[::2]
        assert sorted(keys) == [b"k%05d" % n for n in range(100)]
        walk.close()


@pytest.mark.parametrize("seed", range(40))
def test_nodes_that_differ_in_all_that_is_not_decided_refuse_alike(seed):
    """One takes removed entries out at once, one as late as it can, one goes on from snapshots."""
    chance = random.Random(seed)
    quick, slow, third = Replica(), Replica(), Replica()
    quota = 0
    refused = 0
    for step in range(120):
        if step % 30 == 10:
            quota = chance.choice([0, 2_000, 6_000, 12_000])
            for each in (quick, slow, third):
                each.settle(quota)
        commands = [drawn(chance) for _ in range(chance.randrange(1, 6))]
        before = quick.counted
        results = quick.do(*commands)
        assert slow.do(*commands) == results
        assert third.do(*commands) == results
        assert quick.machine.chain == slow.machine.chain == third.machine.chain
        after = quick.counted
        assert not quota or after <= max(quota, before)
        refused += results.count(QUOTA_RESULT)
        quick.machine.store.advance_removal(1 << 20)
        assert quick.machine.store.quota.held_bytes == after
        if chance.random() < 0.1:
            third = Replica.restored(slow)
    assert refused, f"seed {seed} refused nothing"


def drawn(chance):
    key = b"%02d" % chance.randrange(40)
    kind = chance.random()
    if kind < 0.1:
        return [DELETE, key]
    if kind < 0.15:
        return [DELETE_RANGE, key, b"%02d" % chance.randrange(60)]
    value = bytes(chance.randrange(400))
    return [PUT, key, value] if kind < 0.8 else [CAS_REVISION, key, 0, value]


def test_below_its_level_no_document_has_it():
    settings = ClusterSettings(1, LEVEL_COORDINATION - 1)
    assert b"quota" not in settings.to_command()
    machine = Machine()
    text = settings.to_command()[:-1] + b',"quota_bytes":1}'
    ((result,),) = machine.apply(1, Batch(0, [Entry(0, 1, 0, [[CLUSTER, 0, 0, text]])]))
    assert result[0] == Status.MALFORMED
