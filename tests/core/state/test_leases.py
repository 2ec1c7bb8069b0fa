"""Leases: granted, renewed and ended by log time, and the keys that go with them."""

import random

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import (
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    GRANT,
    KEEPALIVE,
    LEASE_EXPIRED,
    OPEN,
    PUT,
    REVOKE,
    Batch,
    Change,
    Entry,
    Reign,
    Status,
)
from paxosd.core.lease_bounds import FIRST_ID, KEYS_MAX
from paxosd.core.state import leases as leases_module
from paxosd.core.state.lease_walk import LeaseWalk, lease_pieces
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import Restore, SnapshotWalk, lease_of
from paxosd.core.state.snapshot_head import SnapshotError
from tests.core.state.parts import changes, copy_history

MALFORMED = (Status.MALFORMED, 0, None)
UNKNOWN = (Status.LEASE_UNKNOWN, 0, None)
FULL = (Status.LEASES_FULL, 0, None)
FIRST = FIRST_ID
END_MS = 200
"""A lease ends within this time after its TTL, in log time: the allowance and its bucket."""


class LeaseLog:
    """A machine, its log, and one session; log time as a leader of one reign stamps it."""

    def __init__(self, level=LEVEL_COORDINATION, name="", **settings):
        self.machine = Machine()
        self.machine.settings = ClusterSettings(1, level)._replace(**settings)
        self.batches = {}
        self.seq = 0
        self.now_ms = 0
        self.apply()
        opened = [OPEN, name] if name else [OPEN]
        self.session = self.apply(Entry(0, 1, 0, [opened]))[0][0][2]

    def apply(self, *entries):
        batch = Batch(0, list(entries), Reign(1, "n1", self.now_ms))
        slot = self.machine.applied + 1
        self.batches[slot] = batch
        return self.machine.apply(slot, batch)

    def do(self, *commands, after_ms=0):
        """The results of these commands in one slot, so much later; or the only one's."""
        self.now_ms += after_ms
        first = self.seq + 1
        self.seq += len(commands)
        results = self.apply(Entry(self.session, first, self.seq - len(commands), list(commands)))
        return results[0] if len(commands) > 1 else results[0][0]

    def wait(self, ms):
        """Let log time pass, in one slot."""
        self.now_ms += ms
        self.apply()

    def grant(self, ttl_ms=5000, wanted=0):
        status, _, id_ = self.do([GRANT, ttl_ms, wanted])
        assert status == Status.OK
        return id_

    def keys(self):
        return sorted(self.machine.store.data.keys())

    def changes(self):
        """Those of the last slot."""
        slot = self.machine.applied
        return changes(self.machine, slot, self.batches[slot])


class TestLife:
    def test_it_ends_after_its_ttl_and_not_before(self):
        log = LeaseLog()
        lease = log.grant(5000)
        log.do([PUT, b"k", b"v", lease])
        log.wait(5000)
        assert log.keys() == [b"k"]
        log.wait(END_MS)
        assert log.keys() == []
        assert log.do([KEEPALIVE, [lease]]) == (Status.OK, 0, (0,))

    def test_the_drift_of_an_oscillator_is_allowed_for(self):
        """A leader whose clock is 500 ppm fast must not end a lease of a day 43 s early."""
        log = LeaseLog()
        day_ms = 86_400_000
        log.grant(day_ms)
        log.wait(day_ms + 43_200)
        assert len(log.machine.leases) == 1
        log.wait(END_MS)
        assert len(log.machine.leases) == 0

    def test_keepalives_keep_it_alive(self):
        log = LeaseLog()
        lease = log.grant(5000)
        for _ in range(5):
            assert log.do([KEEPALIVE, [lease]], after_ms=4900) == (Status.OK, 0, (5000,))
        log.wait(5000 + END_MS)
        assert log.do([KEEPALIVE, [lease]]) == (Status.OK, 0, (0,))

    def test_one_command_renews_many_and_says_for_each(self):
        log = LeaseLog()
        one, two = log.grant(5000), log.grant(7000)
        assert log.do([KEEPALIVE, [two, 77, one, one]])[2] == (7000, 0, 5000, 5000)

    def test_log_time_decides_and_no_wall_clock(self):
        log = LeaseLog()
        log.grant(5000)
        log.machine.apply(log.machine.applied + 1, Batch(1 << 42, [], Reign(1, "n1", 10)))
        assert len(log.machine.leases) == 1

    def test_it_outlives_the_time_without_a_leader(self):
        log = LeaseLog()
        log.grant(5000)
        log.wait(4000)
        log.machine.apply(log.machine.applied + 1, Batch(0, [], Reign(9, "n2", 900_000)))
        assert len(log.machine.leases) == 1

    def test_it_ends_before_the_commands_of_its_slot(self):
        log = LeaseLog()
        lease = log.grant(5000)
        log.do([PUT, b"k", b"v", lease])
        late = log.do([CAS_VALUE, b"k", None, b"next"], [KEEPALIVE, [lease]], after_ms=6000)
        assert late == [log.machine.revision, (Status.OK, 0, (0,))]
        assert [(c.key, c.value) for c in log.changes()] == [(b"k", None), (b"k", b"next")]

    def test_a_revoked_one_is_gone_at_once_with_its_keys_in_one_revision(self):
        log = LeaseLog()
        lease = log.grant()
        log.do([PUT, b"b", b"1", lease], [PUT, b"a", b"2", lease], [PUT, b"c", b"3"])
        before = log.machine.revision
        assert log.do([REVOKE, lease]) == (Status.OK, before + 1, 2)
        assert log.keys() == [b"c"]
        slot = log.machine.applied
        assert log.changes() == [
            Change(before + 1, slot, b"a", None), Change(before + 1, slot, b"b", None),
        ]  # fmt: skip
        assert log.do([REVOKE, lease]) == UNKNOWN
        assert log.do([PUT, b"d", b"", lease]) == UNKNOWN

    def test_a_revoke_without_keys_moves_no_revision(self):
        log = LeaseLog()
        assert log.do([REVOKE, log.grant()]) == (Status.OK, 0, 0)
        assert log.changes() == []

    def test_ids_are_not_used_again_but_those_that_people_choose(self):
        log = LeaseLog()
        assert [log.grant(), log.grant()] == [FIRST, FIRST + 1]
        log.do([REVOKE, FIRST + 1])
        assert log.grant() == FIRST + 2
        assert log.grant(wanted=7) == 7
        assert log.do([GRANT, 5000, 7]) == (Status.CAS_MISS, 0, 7)
        log.do([REVOKE, 7])
        assert log.grant(wanted=7) == 7

    def test_as_many_as_the_settings_allow(self):
        log = LeaseLog(leases_max=2)
        log.grant()
        log.grant()
        assert log.do([GRANT, 5000, 0]) == FULL
        log.do([REVOKE, FIRST])
        assert log.grant() == FIRST + 2

    def test_who_has_it(self):
        log = LeaseLog(name="worker 7")
        lease = log.machine.leases.table[log.grant()]
        assert (lease.session, lease.name) == (log.session, "worker 7")


class TestBatchesOfOldLeaders:
    """An old leader that wakes up may have its batch chosen behind a newer reign's, long after that
    was proposed: what it renews must not count from the newer reign's last batch on."""

    def late(self, log, *commands):
        log.seq += len(commands)
        first = log.seq - len(commands) + 1
        entry = Entry(log.session, first, first - 1, list(commands))
        batch = Batch(0, [entry], Reign(1, "n1", 9000))
        return log.machine.apply(log.machine.applied + 1, batch)[0], entry

    def newer(self, log, elapsed_ms, *entries):
        batch = Batch(0, list(entries), Reign(2, "n2", elapsed_ms))
        return log.machine.apply(log.machine.applied + 1, batch)

    def test_they_renew_nothing_and_the_client_sends_it_again(self):
        log = LeaseLog()
        lease = log.grant(5000)
        self.newer(log, 0)
        results, entry = self.late(log, [PUT, b"k", b"v"], [KEEPALIVE, [lease]])
        assert results == [(Status.WINDOW, 0, None)] * 2
        assert log.machine.leases.table[lease].renewed_ms == 0
        [again] = self.newer(log, 4000, entry)
        assert again == [1, (Status.OK, 0, (5000,))]
        assert log.machine.leases.table[lease].renewed_ms == 4000
        assert self.newer(log, 4001, entry) == [again]

    def test_so_it_is_with_a_grant(self):
        log = LeaseLog()
        self.newer(log, 0)
        results, entry = self.late(log, [GRANT, 5000, 0])
        assert results == [(Status.WINDOW, 0, None)]
        assert self.newer(log, 100, entry)[0] == [(Status.OK, 0, FIRST)]

    def test_all_else_in_them_is_done(self):
        log = LeaseLog()
        lease = log.grant(5000)
        self.newer(log, 0)
        assert self.late(log, [PUT, b"k", b"v", lease])[0] == [1]
        assert self.late(log, [REVOKE, lease])[0] == [(Status.OK, 2, 1)]

    def test_below_the_level_they_are_malformed_as_ever(self):
        log = LeaseLog(LEVEL_COORDINATION - 1)
        self.newer(log, 0)
        assert self.late(log, [GRANT, 5000, 0])[0] == [MALFORMED]


class TestKeys:
    @pytest.mark.parametrize(
        "write",
        [[PUT, b"k", b"w"], [CAS_VALUE, b"k", b"v", b"w"]],
    )
    def test_a_write_without_a_lease_detaches(self, write):
        log = LeaseLog()
        lease = log.grant()
        log.do([PUT, b"k", b"v", lease])
        log.do(write)
        log.wait(9000)
        assert log.keys() == [b"k"]

    @pytest.mark.parametrize("removal", [[DELETE, b"k"], [DELETE_RANGE, b"", b""]])
    def test_a_removal_detaches(self, removal):
        log = LeaseLog()
        lease = log.grant()
        log.do([PUT, b"k", b"v", lease])
        log.do(removal)
        log.do([PUT, b"k", b"again"])
        assert log.do([REVOKE, lease])[2] == 0
        assert log.keys() == [b"k"]

    def test_the_last_lease_counts(self):
        log = LeaseLog()
        one, two = log.grant(5000), log.grant(60_000)
        log.do([PUT, b"k", b"v", one])
        log.do([PUT, b"k", b"w", two])
        log.wait(9000)
        assert log.keys() == [b"k"]
        assert log.machine.leases.lease_of(b"k", log.machine.store.modify_revision(b"k")) == two
        log.do([REVOKE, two])
        assert log.keys() == []

    def test_a_lease_has_room_for_so_many_and_forgets_those_that_left(self):
        log = LeaseLog(session_window_max=10_000)
        lease = log.grant(60_000)
        log.do(*[[PUT, b"%d" % n, b"", lease] for n in range(KEYS_MAX)])
        before = log.machine.revision
        assert log.do([PUT, b"more", b"", lease]) == FULL
        assert log.machine.revision == before
        assert log.do([PUT, b"5", b"again", lease]) == before + 1
        log.do([DELETE, b"7"])
        assert log.do([PUT, b"more", b"", lease]) == before + 3
        assert log.do([REVOKE, lease])[2] == KEYS_MAX

    def test_a_put_that_the_quota_refuses_attaches_nothing(self):
        log = LeaseLog()
        one, two = log.grant(), log.grant()
        log.do([PUT, b"k", b"v", one])
        log.machine.store.quota.limit_bytes = 1
        assert log.do([PUT, b"k", b"v" * 1000, two])[0] == Status.MALFORMED
        assert log.machine.leases.lease_of(b"k", 1) == one
        log.do([REVOKE, one])
        assert log.keys() == []

    def test_keys_go_with_the_reason_and_watchers_see_them(self):
        log = LeaseLog()
        lease = log.grant()
        log.do([PUT, b"b", b"1", lease], [PUT, b"a", b"2", lease])
        log.machine.collect_changes = True
        log.wait(6000)
        [group] = log.machine.recent_changes
        assert (list(group.keys), group.reason) == ([b"a", b"b"], LEASE_EXPIRED)
        assert group.revision == log.machine.revision == 3
        assert [change.key for change in log.changes()] == [b"a", b"b"]

    def test_walks_of_before_still_find_them(self):
        log = LeaseLog()
        lease = log.grant()
        log.do([PUT, b"b", b"1", lease], [PUT, b"a", b"2", lease], [PUT, b"c", b"3"])
        walk = SnapshotWalk(log.machine, {})
        log.wait(6000)
        assert log.keys() == [b"c"]
        assert walk.rows(10, 1 << 20)[::2] == [b"a", b"b", b"c"]
        assert [row.id for row in walk.leases()] == [lease]
        walk.close()


class TestManyAtOnce:
    def test_they_end_over_several_slots_in_order_of_bucket_and_id(self, monkeypatch):
        monkeypatch.setattr(leases_module, "ENDED_PER_SLOT", 4)
        log = LeaseLog()
        for wanted in (30, 10, 20):
            log.grant(9000, wanted)
        for wanted in (3, 2, 1):
            log.grant(5000, wanted)
        log.do([PUT, b"k", b"", 1])
        seen = []
        for _ in range(3):
            log.wait(10_000)
            seen.append(sorted(log.machine.leases.table))
        assert seen == [[10, 20, 30], [], []]

    def test_one_that_waits_for_its_end_can_be_renewed(self, monkeypatch):
        monkeypatch.setattr(leases_module, "ENDED_PER_SLOT", 1)
        log = LeaseLog()
        first, second = log.grant(), log.grant()
        assert log.do([KEEPALIVE, [first, second]], after_ms=9000)[2] == (0, 5000)

    def test_a_copy_that_came_by_a_snapshot_ends_the_same_ones(self, monkeypatch):
        """Whatever the wheel has seen: which leases end depends on the table alone."""
        monkeypatch.setattr(leases_module, "ENDED_PER_SLOT", 7)
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        log = LeaseLog(leases_max=60)
        for step in range(400):
            leases = list(log.machine.leases.table)
            commands = [[GRANT, rng.choice((1000, 1500, 4000)), 0]]
            if leases:
                some = rng.sample(leases, min(len(leases), rng.randrange(1, 20)))
                commands.append([KEEPALIVE, some])
                key = b"%d" % rng.randrange(30)
                commands.append([PUT, key, b"v", rng.choice(leases)])
                commands.append(rng.choice([[PUT, key, b""], [DELETE, key], [REVOKE, some[0]]]))
            rng.shuffle(commands)
            log.do(*commands, after_ms=rng.choice((0, 10, 200, 3000)))
            if step % 20 == 0:
                other = copied(log.machine)
            else:
                other.apply(log.machine.applied, log.batches[log.machine.applied])
            assert other.chain == log.machine.chain
            assert spelled(other) == spelled(log.machine)
        assert log.machine.store.data == other.store.data


def spelled(machine):
    return b"".join(lease_pieces(machine.leases))


def copied(machine, **changes):
    """The machine of a snapshot, taken and restored at once."""
    walk = SnapshotWalk(machine, {})
    restore = Restore(walk.head._replace(**changes))
    while rows := walk.sessions():
        restore.sessions(rows)
    while leases := walk.leases():
        restore.leases(leases)
    copy_history(walk, restore)
    while not walk.done:
        restore.rows(walk.rows(100, 1 << 20))
    return restore.finish()


class TestCopies:
    def log(self):
        log = LeaseLog(name="anna")
        for n in range(5):
            lease = log.grant(5000 + n)
            log.do([PUT, b"key %d" % n, b"", lease], [KEEPALIVE, [lease]], after_ms=10)
        return log

    def test_a_snapshot_has_them(self):
        log = self.log()
        other = copied(log.machine)
        assert spelled(other) == spelled(log.machine)
        assert other.leases.next_id == log.machine.leases.next_id == FIRST + 5
        for _ in range(2):
            log.wait(3000)
            other.apply(log.machine.applied, log.batches[log.machine.applied])
            assert other.chain == log.machine.chain
        assert log.keys() == []

    def test_in_a_restored_cluster_log_time_passes_and_they_end(self):
        """Its ballots are below those of the old cluster."""
        log = self.log()
        log.machine.apply(log.machine.applied + 1, Batch(0, [], Reign(500, "n1", 0)))
        walk = SnapshotWalk(log.machine, {})
        moved = walk.head.moved(0)
        walk.close()
        other = copied(log.machine, **moved._asdict())
        for elapsed_ms in (0, 9000):
            other.apply(other.applied + 1, Batch(0, [], Reign(1, "n1", elapsed_ms)))
        assert len(other.leases) == 0

    def test_adopted_with_the_rest(self):
        log = self.log()
        machine = Machine()
        machine.adopt(copied(log.machine))
        assert spelled(machine) == spelled(log.machine)

    def test_a_walk_shows_them_as_they_were(self):
        log = self.log()
        before = spelled(log.machine)
        rest = lease_pieces(log.machine.leases)
        ids = list(log.machine.leases.table)
        log.do([KEEPALIVE, ids[:2]], [REVOKE, ids[2]], [PUT, b"new", b"", ids[3]], after_ms=500)
        log.do([GRANT, 5000, 3], [PUT, b"key 1", b"", ids[0]])
        assert b"".join(rest) == before != spelled(log.machine)

    def test_a_walk_goes_on_where_others_change_what_it_has_seen(self):
        log = self.log()
        walk = LeaseWalk(log.machine.leases)
        rows = walk.take(2, 100)
        log.do([KEEPALIVE, list(log.machine.leases.table)], after_ms=100)
        rows += walk.take(100, 100)
        assert walk.done
        assert [row.renewed_ms for row in rows] == [10, 20, 30, 40, 50]

    def test_equal_sums_only_for_equal_leases(self):
        one, two = self.log(), self.log()
        assert sum_of(one.machine) == sum_of(two.machine)
        two.do([KEEPALIVE, [FIRST]], after_ms=1)
        one.do([KEEPALIVE, [FIRST + 1]], after_ms=1)
        assert sum_of(one.machine) != sum_of(two.machine)

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"id": FIRST + 5}, "never granted"), ({"id": 0}, "never granted"),
            ({"id": "1"}, "number is none"), ({"ttl_ms": 5}, "impossible time"),
            ({"renewed_ms": 1 << 40}, "impossible time"), ({"session": -1}, "impossible session"),
            ({"name": "a\nb"}, "control"), ({"keys": ((b"k", 1 << 40),)}, "impossible revision"),
            ({"keys": ((5, 1),)}, "no key"), ({"keys": ((b"k",),)}, "no key"),
            ({"keys": ()}, ""), ({"id": FIRST + 1}, "twice"),
            ({"keys": ((b"key 1", 2),)}, "twice"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_is_refused(self, changed, words):
        walk = SnapshotWalk(self.log().machine, {})
        restore = Restore(walk.head)
        first, *others = walk.leases()
        rows = [first._replace(**changed), *others]
        if not words:
            restore.leases(rows)
            return
        with pytest.raises(SnapshotError, match=words):
            restore.leases(rows)

    def test_too_few_and_too_many_are_refused(self):
        machine = self.log().machine
        with pytest.raises(SnapshotError, match="1 leases are missing"):
            copied(machine, leases=6)
        with pytest.raises(SnapshotError, match="more than 4 leases"):
            copied(machine, leases=4)
        for leases in (-1, None, 1 << 60):
            with pytest.raises(SnapshotError, match="leases is not a number"):
                copied(machine, leases=leases)
        for fields in ((), (1, 2), [1, 2, 3, 4, 5, 6]):
            with pytest.raises(SnapshotError, match="wrong number of fields"):
                lease_of(fields)


def sum_of(machine):
    machine.sum_up()
    while not machine.advance_checksum(100):
        pass
    return machine.checksums[machine.applied]
