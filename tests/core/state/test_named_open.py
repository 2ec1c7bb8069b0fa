"""An OPEN that names a number of the client's own may be repeated: one session, however often."""

import pytest

from paxosd.core.cluster_settings import LEVEL_NAMED_OPEN, ClusterSettings
from paxosd.core.commands import CLOSE, OPEN, OPENED_BY_MIN, Batch, Entry, Reign, Status
from paxosd.core.state.snapshot import Restore, SnapshotWalk, session_of
from paxosd.core.state.snapshot_head import SnapshotError
from tests.core.state.parts import fingerprint
from tests.core.state.test_sessions import FULL, UNKNOWN, Log

MINE, YOURS = OPENED_BY_MIN + 5, OPENED_BY_MIN + 900


class StopwatchLog(Log):
    """With the log time of level 1."""

    def entry(self, session, first_seq, *commands, acked=0):
        entries = [Entry(session, first_seq, acked, list(commands))]
        batch = Batch(0, entries, Reign(1, "n1", self.now_ms))
        return self.machine.apply(self.machine.applied + 1, batch)[0]


def at_level(level=LEVEL_NAMED_OPEN, **limits):
    log = StopwatchLog(**limits)
    log.machine.settings = ClusterSettings(version=1, level=level)._replace(**limits)
    return log


def opened(log, number):
    [(status, _, session)] = log.entry(0, number, [OPEN])
    assert status == Status.OK
    return session


def test_the_same_number_gives_the_same_session():
    log = at_level()
    assert opened(log, MINE) == opened(log, MINE) == 1
    assert opened(log, YOURS) == 2
    assert opened(log, MINE) == 1
    assert len(log.machine.sessions) == 2


def test_a_small_one_is_none():
    log = at_level()
    assert [opened(log, 1), opened(log, 1), opened(log, OPENED_BY_MIN - 1)] == [1, 2, 3]


def test_below_the_level_it_opens_anew_as_earlier_programs_do():
    """And nothing of it is part of the state, or nodes of two versions would differ."""
    new, old = at_level(LEVEL_NAMED_OPEN - 1), at_level(LEVEL_NAMED_OPEN - 1)
    assert [opened(new, MINE), opened(new, MINE)] == [1, 2]
    assert [opened(old, 1), opened(old, 1)] == [1, 2]
    assert fingerprint(new.machine.sessions) == fingerprint(old.machine.sessions)
    assert new.machine.chain == old.machine.chain


def test_an_id_is_never_used_again():
    """A late copy of an OPEN and of what followed it: the second must not be applied again."""
    log = at_level()
    session = opened(log, MINE)
    assert log.put(session, 1) == 1
    log.entry(session, 2, [CLOSE])
    assert opened(log, MINE) == session + 1
    assert log.put(session, 1) == UNKNOWN


def test_nor_after_it_expired_or_had_to_go():
    log = at_level(sessions_max=1, session_ttl_ms=5000, session_idle_evict_ms=1000)
    assert opened(log, MINE) == 1
    log.now_ms += 2000
    assert opened(log, YOURS) == 2, "the first was idle"
    assert opened(log, YOURS) == 2
    assert log.entry(0, MINE, [OPEN])[0] == FULL
    log.now_ms += 1000
    assert opened(log, MINE) == 3
    log.now_ms += 6000
    assert opened(log, MINE) == 4, "it had expired"


def test_where_all_places_are_taken_the_holder_of_one_still_finds_it():
    log = at_level(sessions_max=1)
    assert opened(log, MINE) == 1
    assert log.entry(0, YOURS, [OPEN])[0] == FULL
    assert opened(log, MINE) == 1


def test_each_of_one_entry_has_its_own():
    log = at_level()
    first = log.entry(0, MINE, [OPEN], [OPEN])
    assert [result[2] for result in first] == [1, 2]
    assert log.entry(0, MINE, [OPEN], [OPEN]) == first


def test_it_is_part_of_a_snapshot_and_of_the_checksum():
    log, other = at_level(), at_level()
    for number in (MINE, YOURS):
        opened(log, number)
    opened(other, YOURS)
    opened(other, MINE)
    log.put(1, 1)
    other.put(1, 1)
    assert fingerprint(log.machine.sessions) != fingerprint(other.machine.sessions)
    walk = SnapshotWalk(log.machine, {})
    restore = Restore(walk.head)
    while rows := walk.sessions():
        restore.sessions(rows)
    restore.rows(walk.rows(100, 1 << 20))
    again = restore.finish()
    assert fingerprint(again.sessions) == fingerprint(log.machine.sessions)
    log.machine = again
    assert (opened(log, MINE), opened(log, YOURS)) == (1, 2)
    log.entry(1, 2, [CLOSE])
    assert opened(log, MINE) == 3


def test_a_row_of_before_has_none():
    fields = (1, 5, 0, 0, ())
    assert session_of(fields).opened_by == 0
    assert session_of((*fields, MINE)).opened_by == MINE
    assert session_of((*fields, MINE, "a client")).name == "a client"
    assert session_of((*fields, MINE, "", b"key")).key == b"key"
    with pytest.raises(SnapshotError, match="number of fields"):
        session_of((*fields, MINE, "a client", b"key", 1))
