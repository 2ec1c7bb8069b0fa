"""The session table: once only, in any order, bounded, and expired by log time alone."""

import random

import pytest

from paxosd.core.commands import CLOSE, FENCE, OPEN, PUT, Batch, Entry, Status
from paxosd.core.disposal import Disposal
from paxosd.core.state.checksum import RUNS_MAX
from paxosd.core.state.machine import Machine, MachineLimits
from paxosd.core.state.session_walk import SessionWalk, fingerprint_pieces
from paxosd.core.state.sessions import PIECE_SESSIONS, Session, SessionLimits, Sessions
from tests.core.state.parts import fingerprint, new_sessions

FENCED = (Status.FENCED, 0, None)
FORGOTTEN = (Status.FORGOTTEN, 0, None)
UNKNOWN = (Status.SESSION_UNKNOWN, 0, None)
WINDOW = (Status.WINDOW, 0, None)
FULL = (Status.SESSIONS_FULL, 0, None)


class Log:
    """A machine fed entry by entry, one slot each."""

    def __init__(self, **limits):
        self.machine = Machine(MachineLimits(sessions=SessionLimits(**limits)))
        self.now_ms = 1000

    def entry(self, session, first_seq, *commands, acked=0):
        batch = Batch(self.now_ms, [Entry(session, first_seq, acked, list(commands))])
        return self.machine.apply(self.machine.applied + 1, batch)[0]

    def open(self):
        return self.entry(0, 1, [OPEN])[0]

    def put(self, session, seq, key=b"k", acked=0):
        return self.entry(session, seq, [PUT, key, b"%d" % seq], acked=acked)[0]

    def fence(self, session, seq):
        return self.entry(0, 1, [FENCE, session, seq])[0]


class TestExactlyOnce:
    def test_ids_count_from_1(self):
        log = Log()
        assert [log.open(), log.open()] == [(Status.OK, 0, 1), (Status.OK, 0, 2)]

    def test_a_repeated_entry_gets_its_first_results(self):
        log = Log()
        log.open()
        puts = [[PUT, b"a", b"1"], [PUT, b"b", b"2"]]
        assert log.entry(1, 1, *puts) == [1, 2]
        assert log.entry(1, 1, *puts) == [1, 2]
        assert log.machine.revision == 2

    def test_a_lower_seq_that_comes_late_is_applied_once(self):
        log = Log()
        log.open()
        assert log.put(1, 5) == 1
        assert log.put(1, 2) == 2
        assert log.put(1, 2) == 2
        assert log.put(1, 5) == 1
        assert log.put(1, 3) == 3
        assert log.machine.store.get(b"k").value == b"3"

    def test_an_entry_half_of_which_was_applied(self):
        log = Log()
        log.open()
        assert log.entry(1, 2, [PUT, b"b", b""], [PUT, b"c", b""]) == [1, 2]
        four = [[PUT, key, b""] for key in (b"a", b"b", b"c", b"d")]
        assert log.entry(1, 1, *four) == [3, 1, 2, 4]

    def test_acknowledged_replies_are_forgotten_and_freed(self):
        log = Log()
        log.open()
        for seq in range(1, 101):
            log.put(1, seq, acked=max(0, seq - 10))
        session = log.machine.sessions.table[1]
        assert len(session.chunks) == 10
        assert log.put(1, 90) == FORGOTTEN
        assert log.put(1, 91) == 91
        assert log.machine.revision == 100

    def test_the_acked_mark_never_goes_back(self):
        log = Log()
        log.open()
        log.put(1, 1)
        log.put(1, 2, acked=1)
        log.put(1, 3, acked=0)
        assert log.put(1, 1) == FORGOTTEN

    def test_a_seq_acknowledged_before_it_came_is_never_applied(self):
        log = Log()
        log.open()
        assert log.entry(1, 9, acked=8) == []
        assert log.put(1, 8) == FORGOTTEN
        assert log.put(1, 9) == 1

    def test_the_window_bounds_what_is_kept_and_the_seq_may_come_again(self):
        log = Log(session_window_max=4)
        log.open()
        puts = [[PUT, b"k", b""]] * 6
        assert log.entry(1, 1, *puts) == [1, 2, 3, 4, WINDOW, WINDOW]
        assert log.put(1, 5, acked=1) == 5
        assert log.put(1, 6, acked=1) == WINDOW
        assert log.entry(1, 7, *puts[:4], acked=6) == [6, 7, 8, 9]

    def test_an_empty_entry_keeps_nothing(self):
        log = Log()
        log.open()
        for _ in range(5):
            assert log.entry(1, 1) == []
        assert log.machine.sessions.table[1].chunks == []
        assert log.put(1, 1) == 1

    def test_without_a_session_nothing_is_applied(self):
        log = Log()
        assert log.put(7, 1) == UNKNOWN
        assert log.put(0, 1) == UNKNOWN
        assert log.machine.revision == 0


class TestClose:
    def test_what_follows_the_close_is_not_applied(self):
        log = Log()
        log.open()
        entry = [[PUT, b"a", b""], [CLOSE], [PUT, b"b", b""], [PUT, b"c", b""]]
        assert log.entry(1, 1, *entry) == [1, (Status.OK, 0, None), UNKNOWN, UNKNOWN]
        assert log.entry(1, 1, *entry) == [UNKNOWN] * 4
        assert log.machine.revision == 1

    def test_close_in_an_entry_that_comes_late(self):
        log = Log()
        log.open()
        log.put(1, 9)
        assert log.entry(1, 1, [CLOSE], [PUT, b"a", b""]) == [(Status.OK, 0, None), UNKNOWN]
        assert log.open() == (Status.OK, 0, 2)  # an id is never used again


class TestFence:
    def test_of_an_applied_seq_tells_slot_and_result(self):
        log = Log()
        log.open()
        log.put(1, 1)
        assert log.fence(1, 1) == (Status.COMMITTED, 0, (2, 1))

    def test_of_an_unapplied_seq_forbids_it_for_ever(self):
        log = Log()
        log.open()
        log.put(1, 1)
        assert log.fence(1, 3) == FENCED
        assert log.entry(1, 2, *[[PUT, b"k", b""]] * 3) == [2, FENCED, 3]
        assert log.put(1, 3) == FENCED
        assert log.fence(1, 3) == FENCED
        assert log.machine.revision == 3

    def test_of_a_seq_above_all_others_does_not_hide_the_lower_ones(self):
        log = Log()
        log.open()
        assert log.fence(1, 5) == FENCED
        assert log.put(1, 4) == 1
        assert log.put(1, 5) == FENCED
        assert log.put(1, 6) == 2

    def test_of_an_unknown_session_a_forgotten_seq_and_one_out_of_reach(self):
        log = Log(session_window_max=10)
        assert log.fence(1, 1) == UNKNOWN
        log.open()
        log.put(1, 3, acked=2)
        assert log.fence(1, 2) == FORGOTTEN
        assert log.fence(1, 13) == WINDOW
        assert log.fence(1, 12) == FENCED
        assert log.fence(1, 0) == (Status.MALFORMED, 0, None)

    def test_fences_are_pruned_with_the_replies(self):
        log = Log()
        log.open()
        log.fence(1, 1)
        log.put(1, 3, acked=2)
        assert len(log.machine.sessions.table[1].chunks) == 1


class TestExpiry:
    def test_by_log_time_and_only_when_unused(self):
        log = Log(session_ttl_ms=100)
        log.open()
        log.open()
        log.now_ms += 100
        assert log.put(1, 1) == 1
        log.now_ms += 1
        assert log.put(2, 1) == UNKNOWN
        log.now_ms += 99
        assert log.put(1, 2) == 2
        log.now_ms += 101
        assert log.put(1, 3) == UNKNOWN

    def test_log_time_does_not_go_back(self):
        log = Log(session_ttl_ms=100)
        log.open()
        log.now_ms -= 500
        log.open()
        assert log.machine.log_time_ms == 1000
        log.now_ms += 600
        assert log.put(2, 1) == 1

    def test_a_full_table_drops_its_longest_unused_session_only_if_idle(self):
        log = Log(sessions_max=2, session_idle_evict_ms=60)
        log.open()
        log.now_ms += 10
        log.open()
        log.now_ms += 49
        assert log.open() == FULL
        log.put(1, 1)  # now session 2 is the longest unused
        log.now_ms += 11
        assert log.open() == (Status.OK, 0, 3)
        assert list(log.machine.sessions.table) == [1, 3]


def test_a_fingerprint_in_pieces_is_the_words_of_the_whole_table_as_it_was():
    """Nodes of other versions compare it: not a byte of it may change."""
    sessions = new_sessions(SessionLimits(sessions_max=1000))
    for number in range(250):
        sessions.open(number)
        sessions.use(number + 1, 0, number).keep(1, number + 7, [5, (1, 2, None)])
    rows = [(n, s.last_ms, s.acked, s.max_seq, s.chunks) for n, s in sessions.table.items()]
    want = repr((sessions.next_id, rows)).encode()
    assert fingerprint(sessions) == want
    pieces = fingerprint_pieces(sessions)
    got = next(pieces)
    for number in range(250):
        sessions.use(number + 1, 1, 300 + number).keep(3, 900, [9])
    sessions.close(7)
    later = list(pieces)
    assert got + b"".join(later) == want
    assert len(later) > 2


class TestWalk:
    def table(self, count=250):
        sessions = new_sessions(SessionLimits(sessions_max=1000))
        for number in range(count):
            sessions.open(number, opened_by=7 * number)
            sessions.use(number + 1, 0, number).keep(1, number + 7, [5, 6])
        return sessions

    def rows(self, sessions):
        return [
            (n, s.last_ms, s.acked, s.max_seq, s.chunks[:], s.opened_by, s.name, s.key)
            for n, s in sessions.table.items()
        ]

    def test_it_gives_all_as_they_were_whatever_happens_meanwhile(self):
        sessions = self.table()
        before = self.rows(sessions)
        one, got = SessionWalk(sessions), []
        two, later, between = None, [], []
        step = 0
        while not one.done:
            got += one.take(10, 1000)
            step += 1
            for number in range(step, 250, 9):  # visited or not
                session = sessions.use(number, session_of(sessions, number).max_seq, 1000 + step)
                if session is not None:
                    session.keep(session.max_seq + 1, 900 + step, [step])
            sessions.fence(950 + step, 251 - step, session_of(sessions, 251 - step).max_seq + 3)
            sessions.close(125 + step)
            sessions.use(sessions.open(2000 + step, 1 << 40 | step)[2], 0, 2000 + step)
            if step == 5:
                between = self.rows(sessions)
                two = SessionWalk(sessions)
        while not two.done:
            later += two.take(1000, 20)
        assert got == before
        assert later == between
        assert not sessions.walks

    def test_one_that_is_given_up_costs_nothing_any_more(self):
        sessions = self.table()
        walk = SessionWalk(sessions)
        walk.take(3, 100)
        walk.close()
        walk.close()
        assert not sessions.walks
        assert len(walk) == 250

    def test_what_a_piece_holds_is_bounded_in_replies_too(self):
        sessions = self.table()
        assert len(SessionWalk(sessions).take(100, 7)) == 3  # 1 + 2 each

    def test_sums_that_are_not_begun_leave_no_walk_behind(self):
        machine = Machine()
        for _ in range(2 * RUNS_MAX):
            machine.checksum_runs.start(0, machine._rest)
        assert len(machine.sessions.walks) == RUNS_MAX


def session_of(sessions, number):
    return sessions.table.get(number) or Session(0)


def test_many_that_expire_at_once_are_freed_little_by_little():
    disposal = Disposal()
    sessions = new_sessions(SessionLimits(session_ttl_ms=1000), disposal)
    for number in range(1, 501):
        sessions.open(5)
        sessions.use(number, 0, 5).keep(1, 9, [(0, 1, None)])
    sessions.expire(2000)
    assert not sessions.table
    left = 500 - PIECE_SESSIONS
    while left:
        assert sum(map(len, sessions.expired)) == left
        sessions.advance(50)
        left -= 50
    assert not sessions.expired
    assert len(disposal.rest) == 500 - PIECE_SESSIONS


class Eager(Sessions):
    """Takes everything apart at once."""

    def expire(self, now_ms):
        while self.table and now_ms - self.oldest.last_ms > self.limits.session_ttl_ms:
            self._drop_oldest()

    @property
    def oldest(self):
        return next(iter(self.table.values()))


class TestExpiryInAMass:
    """Whatever is not taken apart yet, all is as if it were."""

    @pytest.fixture(autouse=True)
    def small_pieces(self, monkeypatch):
        monkeypatch.setattr("paxosd.core.state.sessions.PIECE_SESSIONS", 2)

    def step(self, rng, sessions, now_ms):
        """One thing that a batch may do; its answer."""
        number = rng.randrange(1, max(2, sessions.next_id))
        what = rng.choice(("open", "open", "named", "use", "use", "fence", "close"))
        if what == "open":
            return [sessions.open(now_ms) for _ in range(rng.randint(1, 12))]
        if what == "named":
            return [sessions.open(now_ms, rng.randint(1, 6)) for _ in range(rng.randint(1, 4))]
        if what == "fence":
            return sessions.fence(now_ms, number, rng.randint(1, 5))
        session = sessions.use(number, rng.randint(0, 3), now_ms)
        if session is None:
            return None
        if what == "close":
            return sessions.close(number)
        seq = session.max_seq + 1
        session.keep(seq, now_ms, [(0, seq, None)])
        return seq

    @pytest.mark.parametrize("seed", range(60))
    def test_answers_and_state_are_those_of_one_that_does_all_at_once(self, seed):
        print(f"seed={seed}")
        limits = SessionLimits(sessions_max=30, session_ttl_ms=40, session_idle_evict_ms=25)
        lazy, eager = new_sessions(limits), Eager(limits, Disposal())
        rng = random.Random(seed)
        now_ms, waited = 0, 0
        for turn in range(200):
            now_ms += rng.choice((0, 0, 1, 5, 20, 60))
            if rng.random() < 0.05:
                limits = limits._replace(session_ttl_ms=rng.choice((10, 40, 80)))
                lazy.limit(limits)
                eager.limit(limits)
            for sessions in (lazy, eager):
                sessions.expire(now_ms)
            waited += bool(lazy.expired)
            for part in range(rng.randint(1, 4)):
                found = [
                    self.step(random.Random(f"{seed}/{turn}/{part}"), sessions, now_ms)
                    for sessions in (lazy, eager)
                ]
                assert found[0] == found[1]
            assert fingerprint(lazy) == fingerprint(eager)
            assert len(lazy) == len(eager)
            if rng.random() < 0.3:
                lazy.advance(rng.randint(1, 3))
        assert waited > 5
        lazy.advance(1000)
        assert lazy._opened_by == eager._opened_by

    @pytest.mark.parametrize("stay", [0, 1, 10, 50, 90, 99, 100])
    def test_those_that_are_fewer_are_moved(self, stay):
        sessions = new_sessions(SessionLimits(session_ttl_ms=1000))
        for number in range(100):
            sessions.open(5 if number < 100 - stay else 1500)
        sessions.expire(2000)
        assert list(sessions.table) == list(range(101 - stay, 101))
        assert sum(map(len, sessions.expired)) == max(0, 100 - stay - 2)
        assert len(sessions.give_up()) == stay + max(0, 100 - stay - 2)

    def test_a_walk_under_way_still_sees_them(self):
        disposal = Disposal()
        sessions = new_sessions(SessionLimits(session_ttl_ms=1000), disposal)
        for number in range(1, 21):
            sessions.open(5)
            sessions.use(number, 0, 5).keep(1, 9, [(0, 1, None)])
        walk = SessionWalk(sessions)
        sessions.expire(2000)
        sessions.advance(100)
        disposal.advance(1000)
        rows = walk.take(100, 1000)
        assert [row.session for row in rows] == list(range(1, 21))
        assert all(row.replies == [(1, 9, [(0, 1, None)])] for row in rows)
