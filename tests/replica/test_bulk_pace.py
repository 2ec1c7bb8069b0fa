"""Pages of scans and of history beside writes: small pieces, one at a time, after all else, and
the clients take turns. Counted in rows and turns, not timed."""

import pytest

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import CLUSTER, OPEN, PUT, Batch, Entry, Reign
from paxosd.core.effects import ReadReady
from paxosd.core.requests import (
    COUNT,
    GET,
    LINEARIZABLE,
    NEWEST,
    RANGE,
    STALE,
    HistoryAnswer,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
)
from paxosd.core.state.machine import Machine
from paxosd.core.state.queries import PAGE_BYTES_MAX, PAGE_ROWS_MAX, may_be_large
from paxosd.core.work import CLIENT_UNITS
from paxosd.replica.bulk_pace import CALM_MS, PIECE_PART, REST_MS, BulkPace, TurnQueue
from paxosd.replica.log_server import serve_history
from paxosd.replica.service import SETTLED_AGE_MS_MAX, Service
from paxosd.wire import EntryLimits
from tests.replica.rights_site import IN, KEYS, Site

ROWS = 8_000
LEVEL = ClusterSettings(level=LEVEL_COORDINATION)
SCAN = [RANGE, b"", b"", 0, False, False]
PIECE_ROWS = PAGE_ROWS_MAX // PIECE_PART


class Node:
    leader, leading, difference = "n1", True, None

    def __init__(self):
        self.age, self.asked = 0, []

    def read(self, token):
        self.asked.append(token)

    def age_ms(self, now_ms=None):
        return self.age


class Desk:
    """A service, its turns, and what each client was answered."""

    def __init__(self):
        self.machine, self.node, self.answers = Machine(), Node(), []
        self.slot(Entry(0, 1, 0, [[CLUSTER, 0, 0, LEVEL.to_command()]]))
        self.slot(Entry(0, 1, 0, [[OPEN]]))
        self.pace, self.applied = BulkPace(), self.machine.applied
        self.now_ms, self.number = 1000.0, 0
        for first in range(0, ROWS, 1000):
            self.write(*range(first, first + 1000))
        self.service = Service(
            self.node,
            self.machine,
            self,
            limits=EntryLimits(),
            read_bytes_max=1 << 22,
            history=lambda request: serve_history(
                request, self.machine, lambda slot: None, part=self.pace.part
            ),
            admin=None,
            pace=self.pace,
        )

    def slot(self, entry):
        self.machine.apply(self.machine.applied + 1, Batch(1, [entry], Reign(1, "n1", 0)))

    def write(self, *numbers, size=1):
        puts = [[PUT, b"%05d" % number, bytes(size)] for number in numbers]
        self.slot(Entry(1, self.number + 1, self.number, puts))
        self.number += len(puts)

    def answer(self, client, message):
        self.answers.append((client, message))
        return True

    def ask(self, client, query, mode=STALE):
        self.service.receive(client, ReadRequest(1, mode, [query]))

    def turn(self, ms=0.0):
        """Another turn, so much later; what was answered in it."""
        self.now_ms += ms
        self.machine.work.units = 0
        self.pace.now_ms = self.now_ms
        if self.machine.applied != self.applied:
            self.applied, self.pace.written_ms = self.machine.applied, self.now_ms
        begun = len(self.answers)
        self.service.answer_waiting()
        return self.answers[begun:]

    def busy_turn(self):
        """As :meth:`turn`, where requests have taken all its time."""
        begun = len(self.answers)
        self.machine.work.units = 2 * CLIENT_UNITS
        self.service.answer_waiting()
        return self.answers[begun:]

    @property
    def due_in_ms(self):
        return self.service.next_due_ms(self.now_ms) - self.now_ms


@pytest.fixture
def desk():
    desk = Desk()
    desk.turn()
    desk.turn(CALM_MS)
    return desk


def rows_of(answers):
    return [len(message.results[0].rows) for _, message in answers]


def test_where_nothing_is_written_a_turn_does_several_pages_and_the_next_comes_at_once(desk):
    for client in (b"a", b"b", b"c", b"d"):
        desk.ask(client, SCAN)
    assert desk.due_in_ms == 0
    assert rows_of(desk.turn()) == [PAGE_ROWS_MAX] * 3
    assert desk.due_in_ms == 0
    assert rows_of(desk.turn()) == [PAGE_ROWS_MAX]
    assert desk.due_in_ms == float("inf")


def test_beside_writes_a_turn_does_one_piece_and_then_none_for_a_while(desk):
    desk.write(1)
    for client in (b"a", b"b"):
        desk.ask(client, SCAN)
    assert rows_of(desk.turn()) == [PIECE_ROWS]
    assert desk.turn(REST_MS / 2) == []
    assert desk.due_in_ms == REST_MS / 2
    assert rows_of(desk.turn(REST_MS / 2)) == [PIECE_ROWS]
    assert desk.due_in_ms == float("inf")


def test_small_answers_are_many_to_a_piece(desk):
    """A herd that looks at a few keys each, as waiters for a lock do, is not made to wait."""
    desk.write(1)
    for number in range(80):
        desk.ask(b"%d" % number, [RANGE, b"00001", b"00003", 0, False, False])
    assert rows_of(desk.turn()) == [2] * 80


def test_a_piece_is_a_part_in_bytes_too(desk):
    desk.write(*range(10), size=PAGE_BYTES_MAX // PIECE_PART // 2)
    desk.ask(b"a", SCAN)
    assert rows_of(desk.turn()) == [1]
    desk.ask(b"a", SCAN)
    assert rows_of(desk.turn(CALM_MS)) == [2 * PIECE_PART - 1]


def test_after_the_writes_it_goes_at_full_speed_again(desk):
    desk.write(1)
    desk.ask(b"a", SCAN)
    assert rows_of(desk.turn()) == [PIECE_ROWS]
    desk.ask(b"a", SCAN)
    assert rows_of(desk.turn(CALM_MS - 1)) == [PIECE_ROWS]
    desk.ask(b"a", SCAN)
    assert rows_of(desk.turn(1)) == [PAGE_ROWS_MAX]


def test_pieces_make_the_whole(desk):
    found, start = [], b""
    while start is not None:
        desk.write(1)
        desk.ask(b"a", [RANGE, start, b"", 0, False, True])
        ((_, message),) = desk.turn(REST_MS)
        page = message.results[0]
        found += [row.key for row in page.rows]
        start = page.more
    assert found == [b"%05d" % number for number in range(ROWS)]


@pytest.mark.parametrize(
    "query", [[GET, b"00001"], [COUNT, b"", b""], [RANGE, b"", b"", 1, False, False]]
)
def test_a_small_read_waits_for_no_scan(desk, query):
    desk.write(1)
    desk.ask(b"a", SCAN)
    desk.ask(b"a", query)
    assert len(desk.answers) == 1


@pytest.mark.parametrize("query", [SCAN, [RANGE, b"", b"", 17, False, True], [NEWEST, b"", b"", 9]])
def test_what_may_be_a_page_waits_for_the_end_of_the_turn(query):
    assert may_be_large(query)


def test_clients_take_turns():
    queue = TurnQueue()
    for number in range(3):
        queue.put(b"many", number)
    queue.put(b"few", "one")
    assert list(queue) == [0, 1, 2, "one"]
    assert [queue.take() for _ in range(4)] == [0, "one", 1, 2]
    assert not queue


def test_one_with_many_requests_does_not_hold_up_the_others(desk):
    desk.write(1)
    for _ in range(50):
        desk.ask(b"many", SCAN)
    desk.ask(b"few", SCAN)
    assert b"few" in [client for _ in range(2) for client, _ in desk.turn(REST_MS)]


def test_history_keeps_the_same_pace(desk):
    asked = HistoryRequest(1, b"", b"", 1, 0)
    desk.service.receive(b"w", asked)
    ((_, whole),) = desk.turn()
    desk.write(1)
    desk.service.receive(b"w", asked)
    desk.ask(b"a", SCAN)
    ((_, piece),) = desk.turn(REST_MS)
    assert type(piece) is HistoryAnswer
    assert 0 < len(piece.changes) <= len(whole.changes) // PIECE_PART + 1
    assert piece.next_revision == piece.changes[-1].revision + 1, "the rest is yet to come"
    assert desk.turn() == []
    assert rows_of(desk.turn(REST_MS)) == [PIECE_ROWS]


@pytest.mark.parametrize(
    ("start", "size", "whole"), [(b"", 60_000, 3), (b"x", 60_000, 3), (b"x", 1, 1)]
)
def test_what_is_looked_at_for_history_counts_as_work_wanted_or_not(desk, start, size, whole):
    """Else pages of a few large values, or of none that is wanted, would be many to a turn."""
    first = desk.machine.revision + 1
    for number in range(4000 if size == 1 else 80):
        desk.write(number, size=size)
    for client in range(10):
        desk.service.receive(b"%d" % client, HistoryRequest(1, start, b"", first, 0))
    assert len(desk.turn()) == 1, "beside writes, a piece"
    assert len(desk.turn(CALM_MS)) == whole


@pytest.mark.parametrize("large", [False, True])
def test_a_node_that_others_keep_busy_answers_all_the_same(desk, large):
    query = SCAN if large else [GET, b"00001"]
    desk.machine.work.units = 2 * CLIENT_UNITS
    desk.ask(b"a", query)
    desk.ask(b"b", query)
    assert not desk.answers
    assert [len(desk.busy_turn()) for _ in range(3)] == ([1, 1, 0] if large else [2, 0, 0])


def at(desk, back):
    return [*SCAN, desk.machine.revision - back]


def test_an_earlier_revision_is_read_without_the_leaders_word(desk):
    """It never changes; so it is with every page of a scan but the first."""
    desk.ask(b"a", at(desk, 0), LINEARIZABLE)
    assert not desk.node.asked
    ((_, message),) = desk.turn()
    assert type(message) is ReadAnswer


@pytest.mark.parametrize("age_ms", [-1, SETTLED_AGE_MS_MAX + 1])
def test_not_by_a_node_that_no_quorum_has_confirmed_lately(desk, age_ms):
    """Its revisions may be of a cluster that was recovered without it, and has others."""
    desk.node.age = age_ms
    desk.ask(b"a", at(desk, 0), LINEARIZABLE)
    assert len(desk.node.asked) == 1


def test_nor_by_one_that_was_stopped_since_the_turn_began(desk):
    desk.service._now_ms = lambda: desk.now_ms + SETTLED_AGE_MS_MAX + 1
    desk.node.age_ms = lambda now_ms=None: int((now_ms or desk.now_ms) - desk.now_ms)
    desk.ask(b"a", at(desk, 0), LINEARIZABLE)
    assert len(desk.node.asked) == 1


def test_nor_where_the_level_for_it_is_yet_to_be_applied(desk):
    """Others have it, and the leader's word brings it."""
    desk.machine.settings = LEVEL._replace(level=LEVEL_COORDINATION - 1)
    desk.ask(b"a", at(desk, 0), LINEARIZABLE)
    assert len(desk.node.asked) == 1


def test_what_this_node_has_not_applied_is_asked_for(desk):
    for query in (at(desk, -1), SCAN, [NEWEST, b"", b"", 1, 9]):
        desk.ask(b"a", query, LINEARIZABLE)
    desk.service.receive(b"a", ReadRequest(1, LINEARIZABLE, []))
    assert len(desk.node.asked) == 4
    token = desk.node.asked[1]
    desk.service.reply(token, ReadReady(desk.machine.applied))
    assert len(desk.turn()) == 1


@pytest.mark.parametrize("required", [False, True])
def test_where_rights_are_required_the_leaders_word_is_waited_for(required):
    """Those in force may be newer than those that are known here."""
    site = Site(required)
    asked = []
    site.node.read = asked.append
    queries = [[GET, IN, site.machine.revision]]
    site.service.receive(b"c", ReadRequest(1, LINEARIZABLE, queries), KEYS["client"])
    assert len(asked) == required
    assert len(site.answers) == (not required)
