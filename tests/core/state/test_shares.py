"""No key takes all sessions, and no principal all leases: what others need stays free."""

import random

import pytest

from paxosd.core.cluster_settings import LEVEL_KEYS, LEVEL_SHARES
from paxosd.core.commands import GRANT, OPEN, Status
from paxosd.core.disposal import Disposal
from paxosd.core.state.leases import Leases
from paxosd.core.state.sessions import SessionLimits
from paxosd.core.state.shares import has_share_left
from tests.core.state.parts import fingerprint, new_sessions
from tests.core.state.test_leases import LeaseLog
from tests.core.state.test_named_open import at_level
from tests.core.state.test_sessions import FULL, Eager

EVE, BEN, CLEO = b"e" * 32, b"b" * 32, b"c" * 32


def open_by(log, key, number=1):
    return log.entry(0, number, [OPEN, "", key])[0]


class TestSessions:
    def test_one_key_alone_has_half_and_pushes_out_nobody(self):
        log = at_level(LEVEL_SHARES, sessions_max=20, session_idle_evict_ms=1000)
        assert open_by(log, BEN)[0] == Status.OK
        found = [open_by(log, EVE) for _ in range(30)]
        assert [each[0] for each in found] == [Status.OK] * 10 + [Status.SESSIONS_FULL] * 20
        log.now_ms += 5000  # idle all of them, and Ben's is the one that was not used for longest
        assert all(open_by(log, EVE)[0] == Status.OK for _ in range(10))
        assert open_by(log, EVE) == FULL, "its own are not idle any more"
        assert log.put(1, 1) == 1, "Ben's is still there"
        assert open_by(log, CLEO)[0] == Status.OK

    def test_the_session_that_goes_is_the_one_not_used_for_longest_of_the_same_key(self):
        log = at_level(LEVEL_SHARES, sessions_max=4, session_idle_evict_ms=1000)
        first, second = open_by(log, EVE)[2], open_by(log, EVE)[2]
        log.now_ms += 2000
        log.put(first, 1)
        third = open_by(log, EVE)[2]
        assert list(log.machine.sessions.table) == [first, third]
        assert second not in log.machine.sessions.table

    def test_below_the_level_all_is_as_earlier_programs_have_it(self):
        log = at_level(LEVEL_KEYS, sessions_max=4, session_idle_evict_ms=1000)
        assert [open_by(log, EVE)[0] for _ in range(5)] == [Status.OK] * 4 + [FULL[0]]

    def test_sessions_without_a_key_share_the_whole(self):
        log = at_level(LEVEL_SHARES, sessions_max=4, session_idle_evict_ms=1000)
        assert [open_by(log, b"")[0] for _ in range(5)] == [Status.OK] * 4 + [FULL[0]]

    def test_an_open_that_is_repeated_gives_the_session_that_there_is(self):
        log = at_level(LEVEL_SHARES, sessions_max=2)
        number = 1 << 40
        assert open_by(log, EVE, number) == open_by(log, EVE, number) == (Status.OK, 0, 1)

    def test_who_has_none_finds_the_table_full_only_of_sessions_in_use(self):
        log = at_level(LEVEL_SHARES, sessions_max=3, session_idle_evict_ms=1000)
        for key in (EVE, BEN, b""):
            assert open_by(log, key)[0] == Status.OK
        assert open_by(log, CLEO) == FULL
        log.now_ms += 2000
        assert open_by(log, CLEO)[0] == Status.OK

    @pytest.mark.parametrize("seed", range(20))
    def test_neither_a_restart_nor_what_is_not_taken_apart_yet_changes_an_answer(
        self, seed, monkeypatch
    ):
        print(f"seed={seed}")
        monkeypatch.setattr("paxosd.core.state.sessions.PIECE_SESSIONS", 2)
        rng = random.Random(seed)
        limits = SessionLimits(sessions_max=24, session_ttl_ms=60, session_idle_evict_ms=20)
        lazy, eager, now_ms, full = new_sessions(limits), Eager(limits, Disposal()), 0, 0
        for _ in range(400):
            now_ms += rng.choice((0, 0, 1, 3, 10, 30, 70))
            lazy.expire(now_ms)
            eager.expire(now_ms)
            if rng.random() < 0.1:
                lazy = restored(lazy, limits)
            for _ in range(rng.randint(1, 9)):
                if rng.random() < 0.4 and lazy.table:
                    number = rng.choice(list(lazy.table))
                    for sessions in (lazy, eager):
                        sessions.use(number, 0, now_ms)
                    continue
                key = rng.choice((EVE, EVE, EVE, BEN, CLEO, b""))
                found = [each.open(now_ms, key=key, shared=True) for each in (lazy, eager)]
                assert found[0] == found[1]
                full += found[0] == FULL
            assert fingerprint(lazy) == fingerprint(eager)
        assert full > 20


def restored(sessions, limits):
    """As a node has it that begins with a snapshot."""
    again = new_sessions(limits)
    again.next_id = sessions.next_id
    for number, session in sessions.table.items():
        again.put(number, session)
    return again


class TestLeases:
    def grant(self, leases, owner):
        return leases.grant(0, 1000, 0, 1, "", 8, owner, shared=True)[0]

    def test_one_owner_alone_has_half(self):
        leases = Leases()
        found = [self.grant(leases, "eve") for _ in range(6)]
        assert found == [Status.OK] * 4 + [Status.LEASES_FULL] * 2
        assert self.grant(leases, "ben") == Status.OK
        leases.take(next(iter(leases.table)))
        assert self.grant(leases, "ben") == Status.OK
        assert self.grant(leases, "eve") == Status.LEASES_FULL

    def test_those_without_an_owner_share_the_whole(self):
        leases = Leases()
        assert [self.grant(leases, "") for _ in range(8)] == [Status.OK] * 8

    def test_below_the_level_all_is_as_earlier_programs_have_it(self, monkeypatch):
        asked = []
        monkeypatch.setattr(
            Leases, "grant", lambda *_, shared: asked.append(shared) or (Status.OK, 0, 1)
        )
        for level in (LEVEL_KEYS, LEVEL_SHARES):
            LeaseLog(level).do([GRANT, 5000, 0])
        assert asked == [False, True]


def test_the_rule():
    assert has_share_left(0, 10, 10), "whether there is any is asked elsewhere"
    assert has_share_left(4, 5, 10)
    assert not has_share_left(5, 5, 10)
    assert not has_share_left(1, 12, 10), "the bound was lowered"
