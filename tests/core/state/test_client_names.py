"""The names of clients: in the session, in what is summed up, and kept beyond the session's end."""

import random

import pytest

from paxosd.core.client_name import NAME_BYTES_MAX, client_name_fault, fitting_name
from paxosd.core.cluster_settings import LEVEL_CLIENT_NAMES
from paxosd.core.commands import CLOSE, OPEN, OPENED_BY_MIN, Status
from paxosd.core.state import former_names
from paxosd.core.state.former_names import FormerNames
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import Restore, SnapshotWalk, former_of
from paxosd.core.state.snapshot_head import SnapshotError
from tests.core.state.parts import copy_history, fingerprint
from tests.core.state.test_named_open import at_level

MINE = OPENED_BY_MIN + 5
MALFORMED = (Status.MALFORMED, 0, None)
TOO_LONG = ["x" * (NAME_BYTES_MAX + 1), "é" * (NAME_BYTES_MAX // 2 + 1)]
CONTROLS = ["a\nb", "a\x1b[31mb", "\x7f", "a\u202eb", "a\u2028b"]
BAD = ["", *TOO_LONG, *CONTROLS, b"bytes", 7, None, ["a"]]


def named(level=LEVEL_CLIENT_NAMES, **limits):
    return at_level(level, **limits)


def opened(log, name, number=1):
    [(status, _, session)] = log.entry(0, number, [OPEN, name])
    assert status == Status.OK
    return session


def copied(machine):
    """The machine of a snapshot, taken and restored at once."""
    walk = SnapshotWalk(machine, {})
    restore = Restore(walk.head)
    while rows := walk.sessions():
        restore.sessions(rows)
    while names := walk.names():
        restore.names(names)
    copy_history(walk, restore)
    while not walk.done:
        restore.rows(walk.rows(100, 1 << 20))
    return restore.finish()


def test_the_session_has_it_and_so_has_its_copy():
    log = named()
    assert opened(log, "backup anna@web1 17") == 1
    assert log.machine.sessions.table[1].name == "backup anna@web1 17"
    assert copied(log.machine).sessions.table[1].name == "backup anna@web1 17"


def test_the_first_name_of_a_repeated_open_stays():
    log = named()
    assert opened(log, "one", MINE) == opened(log, "two", MINE) == 1
    assert log.entry(0, MINE, [OPEN]) == [(Status.OK, 0, 1)]
    assert log.machine.sessions.table[1].name == "one"


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_opens_nothing_on_any_node(name):
    log = named()
    assert log.entry(0, 1, [OPEN, name]) == [MALFORMED]
    assert not log.machine.sessions.table


def test_below_the_level_it_is_malformed_as_for_earlier_programs():
    log = named(LEVEL_CLIENT_NAMES - 1)
    assert log.entry(0, 1, [OPEN, "a name"]) == [MALFORMED]


def test_it_is_summed_up_and_without_names_the_bytes_are_those_of_before():
    logs = [named() for _ in range(3)]
    for log, name in zip(logs, ("anna", "anna", "ben"), strict=True):
        opened(log, name)
    sums = [fingerprint(log.machine.sessions) for log in logs]
    assert sums[0] == sums[1] != sums[2]
    plain = named()
    plain.open()
    assert fingerprint(plain.machine.sessions) + b"1 4 anna " == sums[0]


def test_the_sum_does_not_depend_on_which_characters_python_knows():
    """U+1FAE9 came with Unicode 16: ``repr`` shows it or escapes it, by the version of Python."""
    log = named()
    opened(log, "\U0001fae9")
    assert fingerprint(log.machine.sessions).endswith(b"1 4 \xf0\x9f\xab\xa9 ")


def test_it_outlives_the_session_until_the_log_is_given_back():
    log = named(sessions_max=2, session_ttl_ms=50_000, session_idle_evict_ms=1000)
    closed, expired = opened(log, "closed"), opened(log, "expired")
    log.put(closed, 1)
    log.entry(closed, 2, [CLOSE])
    log.now_ms += 2000
    evicted = opened(log, "evicted")
    log.now_ms += 2000
    opened(log, "stays")
    assert log.machine.sessions.former.all() == [(closed, 4, "closed"), (expired, 6, "expired")]
    log.now_ms += 60_000
    opened(log, "last")
    kept = [(each.session, each.name) for each in log.machine.sessions.former.all()[2:]]
    assert kept == [(evicted, "evicted"), (evicted + 1, "stays")]
    log.machine.release(6)
    assert [each.name for each in log.machine.sessions.former.all()] == [
        "expired", "evicted", "stays",
    ]  # fmt: skip
    log.machine.release(8)
    assert not log.machine.sessions.former


def test_a_snapshot_takes_the_former_ones_along_and_they_are_in_no_sum():
    log = named()
    for number in range(5):
        log.entry(opened(log, f"client {number}"), 1, [CLOSE])
    log.open()
    again = copied(log.machine)
    assert again.sessions.former.all() == log.machine.sessions.former.all()
    assert len(again.sessions.former) == 5
    before = fingerprint(log.machine.sessions)
    log.machine.sessions.former.release(100)
    assert fingerprint(log.machine.sessions) == before == fingerprint(again.sessions)


def test_those_that_expired_in_a_mass_and_are_not_taken_apart_yet_too():
    log = named(session_ttl_ms=1000)
    for number in range(250):
        opened(log, f"client {number}")
    log.now_ms += 10_000
    opened(log, "the one that is left")
    sessions = log.machine.sessions
    assert sum(map(len, sessions.expired)) > 50
    names = {each.name for each in copied(log.machine).sessions.former.all()}
    assert names == {f"client {number}" for number in range(250)}
    sessions.advance(1000)
    assert {each.name for each in sessions.former.all()} == names


def test_a_machine_that_takes_another_over_has_its_names():
    log = named()
    log.entry(opened(log, "anna"), 1, [CLOSE])
    machine = Machine()
    machine.adopt(copied(log.machine))
    assert [each.name for each in machine.sessions.former.all()] == ["anna"]


def test_so_many_are_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(former_names, "FORMER_MAX", 3)
    names = FormerNames()
    for number in range(5):
        names.add(number, number, "" if number == 2 else f"n{number}")
    assert [each.name for each in names.all()] == ["n1", "n3", "n4"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0, 1, "a"), "never opened"),
        ((9, 1, "a"), "never opened"),
        ((1, 0, "a"), "impossible slot"),
        ((1, 1 << 40, "a"), "impossible slot"),
        ((1, 1, ""), "1 to 200 bytes"),
        ((1, 1, "a\nb"), "control"),
        ((1, 1), "number of fields"),
        ("abc", "number of fields"),
    ],
)
def test_a_bad_one_in_a_snapshot_is_refused(row, words):
    log = named()
    opened(log, "anna")
    walk = SnapshotWalk(log.machine, {})
    restore = Restore(walk.head)
    with pytest.raises(SnapshotError, match=words):
        restore.names([former_of(row)])


def test_a_session_with_a_bad_name_is_refused():
    log = named()
    opened(log, "anna")
    walk = SnapshotWalk(log.machine, {})
    [row] = walk.sessions()
    with pytest.raises(SnapshotError, match="control"):
        Restore(walk.head).sessions([row._replace(name="an\na")])


def test_any_text_is_made_to_fit():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(500):
        text = "".join(chr(rng.choice((rng.randrange(0x300), rng.randrange(0x110000))))
                       for _ in range(rng.randrange(150)))  # fmt: skip
        name = fitting_name(text)
        assert not name or not client_name_fault(name), ascii(text)
    assert fitting_name("prog\n anna@web1 5") == "prog? anna@web1 5"
