"""Pages of history: complete, bounded, and split inside a revision only for who asks so."""

import random

import pytest

from paxosd.core.commands import DELETE, DELETE_RANGE, OPEN, PUT, Batch, Entry, each_change
from paxosd.core.effects import COMPACTED, INVALID
from paxosd.core.messages import Decisions
from paxosd.core.requests import (
    PREVIOUS,
    SPLIT,
    HistoryAnswer,
    HistoryRequest,
    RefusalAnswer,
)
from paxosd.core.state.history import History
from paxosd.core.state.machine import Machine, MachineLimits
from paxosd.core.types import Ballot
from paxosd.replica.log_server import PAGE_SLOTS_MAX, SCAN_BYTES_MAX, serve_history, serve_log


class Log:
    """A machine and the log that it applied."""

    def __init__(self, limits=None):
        self.machine = Machine(limits) if limits else Machine()
        self.machine.collect_changes = True
        self.batches = []
        self.seq = 1
        self.reads = 0
        self.append(Entry(0, 1, 0, [[OPEN]]))

    def append(self, *entries):
        batch = Batch(1, list(entries))
        self.batches.append(batch)
        self.machine.apply(len(self.batches), batch)

    def noop(self, count=1):
        for _ in range(count):
            self.batches.append(None)
            self.machine.apply(len(self.batches), None)

    def do(self, *commands):
        self.append(Entry(1, self.seq, self.seq - 1, list(commands)))
        self.seq += len(commands)

    def read(self, slot):
        self.reads += 1
        return self.batches[slot - 1]

    def ask(self, from_revision=1, limit_bytes=0, start=b"", end=b"", **options):
        request = HistoryRequest(9, start, end, from_revision, limit_bytes)
        answer = serve_history(request, self.machine, self.read, **options)
        assert answer.request_id == 9
        return answer

    def all_pages(self, from_revision=1, limit_bytes=0, start=b"", end=b""):
        """Every change, and the pages that it took."""
        changes, pages = [], 0
        while True:
            answer = self.ask(from_revision, limit_bytes, start, end)
            assert isinstance(answer, HistoryAnswer), answer
            pages += 1
            changes += answer.changes
            if answer.next_revision > answer.revision:
                return changes, pages
            assert answer.next_revision > from_revision, "no progress"
            from_revision = answer.next_revision


class TestPages:
    @pytest.mark.parametrize("seed", range(15))
    @pytest.mark.parametrize("limit_bytes", [1, 100, 1000, 0])
    def test_pages_of_any_size_add_up_to_exactly_the_changes(self, seed, limit_bytes):
        rng = random.Random(seed)
        log = Log()
        for _ in range(60):
            keys = [bytes(rng.choices(b"abc", k=rng.randint(1, 3))) for _ in range(3)]
            log.do(
                [PUT, keys[0], b"v" * rng.randint(0, 50)],
                [DELETE, keys[1]],
                rng.choice([[DELETE_RANGE, keys[2][:1], b"c"], [PUT, keys[2], b""]]),
            )
            if rng.random() < 0.2:
                log.noop()
        everything = list(each_change(log.machine.recent_changes))
        assert len(everything) > 60
        assert log.all_pages(1, limit_bytes)[0] == everything
        start, end, at = b"ab", b"b", log.machine.revision // 2
        assert log.all_pages(at, limit_bytes, start, end)[0] == [
            c for c in everything if start <= c.key < end and c.revision >= at
        ]

    def test_a_revision_is_never_split_even_if_it_exceeds_the_page(self):
        log = Log()
        log.do(*([PUT, b"k%03d" % i, b""] for i in range(50)))
        log.do([PUT, b"x", b""], [DELETE_RANGE, b"k", b"l"], [PUT, b"y", b""])
        answer = log.ask(52, limit_bytes=100)
        assert len(answer.changes) == 50
        assert {c.revision for c in answer.changes} == {52}
        assert answer.next_revision == 53

    @pytest.mark.parametrize("limit_bytes", [1, 100, 0])
    def test_a_removal_is_split_for_who_asks_so_and_its_pages_are_all_of_it(self, limit_bytes):
        log = Log()
        log.do(*([PUT, b"k%03d" % i, b""] for i in range(200)))
        log.do([PUT, b"x", b""], [DELETE_RANGE, b"k", b"l"], [PUT, b"k1", b""])
        removed, start, pages = [], b"k", 0
        while True:
            answer = log.ask(202, limit_bytes | SPLIT, start, b"l", answer_bytes_max=3000)
            pages += 1
            removed += [c for c in answer.changes if c.revision == 202]
            if answer.next_revision > 202:
                break
            assert answer.changes[-1].revision == answer.next_revision
            assert len(answer.changes) == max(1, (limit_bytes or 3000) // 36)
            start = answer.changes[-1].key + b"\0"
        assert [c.key for c in removed] == [b"k%03d" % i for i in range(200)]
        assert pages == {1: 200, 100: 100, 0: 3}[limit_bytes]

    def test_a_split_page_looks_at_a_bounded_number_of_keys(self):
        log = Log()
        for i in range(10):
            log.do(*([PUT, b"k%04d" % (1000 * i + j), b""] for j in range(1000)))
        log.do([DELETE_RANGE, b"", b""])
        answer = log.ask(log.machine.revision, SPLIT)
        assert 0 < len(answer.changes) * 256 <= SCAN_BYTES_MAX
        assert answer.next_revision == log.machine.revision

    def test_a_revision_larger_than_a_frame_is_refused_naming_the_next(self):
        log = Log()
        log.do(*([PUT, b"k%03d" % i, b""] for i in range(50)))
        log.do([DELETE_RANGE, b"k", b"l"], [PUT, b"y", b""])
        before = log.ask(50, limit_bytes=500, answer_bytes_max=1000)
        assert before.next_revision == 51
        refusal = log.ask(51, limit_bytes=500, answer_bytes_max=1000)
        assert (refusal.code, refusal.detail) == (COMPACTED, 52)
        assert [c.key for c in log.ask(52, answer_bytes_max=1000).changes] == [b"y"]

    def test_revision_0_is_taken_as_1(self):
        log = Log()
        log.do([PUT, b"a", b""])
        assert log.ask(0) == log.ask(1)
        assert log.ask(0).next_revision == 2

    def test_above_the_newest_revision_the_page_is_empty_and_does_not_go_on(self):
        log = Log()
        log.do([PUT, b"a", b""])
        assert log.ask(2) == HistoryAnswer(9, [], 2, 1)
        assert log.ask(700) == HistoryAnswer(9, [], 700, 1)

    def test_an_empty_store_has_an_empty_history(self):
        assert Log().ask(1) == HistoryAnswer(9, [], 1, 0)

    def test_an_empty_range_is_refused(self):
        assert Log().ask(start=b"b", end=b"b").code == INVALID


class TestBounds:
    def test_one_call_reads_a_bounded_number_of_slots(self):
        log = Log()
        log.do([PUT, b"a", b"1"])
        log.noop(2 * PAGE_SLOTS_MAX)
        log.do([PUT, b"a", b"2"])
        answer = log.ask(1)
        assert log.reads == PAGE_SLOTS_MAX
        assert len(answer.changes) == 1
        assert answer.next_revision == 2
        assert len(log.all_pages()[0]) == 2

    def test_one_call_looks_at_a_bounded_number_of_changes_of_others(self):
        log = Log()
        value = bytes(SCAN_BYTES_MAX // 10)
        for _ in range(25):
            log.do([PUT, b"other", value])
        log.do([PUT, b"mine", b""])
        changes, pages = log.all_pages(1, 0, b"mine", b"mine\0")
        assert [c.key for c in changes] == [b"mine"]
        assert pages == 3

    def test_the_asked_limit_is_cut_to_one_mebibyte(self):
        log = Log()
        for _ in range(8):
            log.do([PUT, b"a", bytes(300_000)])
        assert len(log.ask(1, limit_bytes=1 << 39).changes) == 3


class TestCompacted:
    def test_history_below_the_floor_is_refused_naming_what_is_left(self):
        log = Log(MachineLimits(history_exceptions_max=1))
        for _ in range(4):
            log.do([DELETE, b"none"], [PUT, b"a", b""])
        floor = log.machine.history_floor_revision
        assert floor > 1
        refusal = log.ask(1)
        assert isinstance(refusal, RefusalAnswer)
        assert (refusal.code, refusal.detail) == (COMPACTED, floor)
        assert f"revision {floor}" in refusal.message
        assert log.ask(floor).changes[0].revision == floor

    def test_without_kept_history_it_says_since_when_there_are_previous_values(self):
        log = Log()
        log.do([PUT, b"a", b"1"], [PUT, b"a", b"2"])
        answer = log.ask(1, limit_bytes=SPLIT | PREVIOUS)
        assert (answer.code, answer.detail) == (COMPACTED, 3)
        assert "from feature level 4 on" in answer.message

    def test_a_slot_that_the_log_has_lost_is_refused_naming_the_revision_after_it(self):
        log = Log()
        for _ in range(5):
            log.do([PUT, b"a", b""], [PUT, b"b", b""])

        def read(slot):
            if slot <= 3:
                raise KeyError(slot)
            return log.batches[slot - 1]

        refusal = serve_history(HistoryRequest(9, b"", b"", 1, 0), log.machine, read)
        assert (refusal.code, refusal.detail) == (COMPACTED, 3)  # slot 2 made 1 and 2


class TestBetweenPages:
    """What happens to a node between two pages of one pull never leaves a gap between them."""

    @pytest.fixture
    def begun(self):
        """A log of which a first page was asked, and where the next one begins."""
        log = Log()
        for number in range(20):
            log.do([PUT, b"k%d" % number, bytes(20)])
        page = log.ask(1, limit_bytes=300)
        assert 1 < page.next_revision < 15
        return log, page.next_revision

    def test_a_snapshot_that_is_taken_in_ends_the_pull(self, begun):
        log, next_revision = begun
        ahead = Log()
        for number in range(40):
            ahead.do([PUT, b"k%d" % number, b""])
        slot, revision = ahead.machine.applied, ahead.machine.revision
        ahead.machine.history = History(100, ahead.machine.disposal, slot, revision)
        log.machine.adopt(ahead.machine)
        refusal = log.ask(next_revision)
        assert (refusal.code, refusal.detail) == (COMPACTED, 41)

    def test_a_snapshot_that_is_durable_and_not_yet_taken_in_ends_it_too(self, begun):
        """The log begins above it already, the machine is still the old one."""
        log, next_revision = begun

        def read(slot):
            raise KeyError(slot)

        request = HistoryRequest(9, b"", b"", next_revision, 0)
        refusal = serve_history(request, log.machine, read)
        assert (refusal.code, refusal.detail) == (COMPACTED, next_revision + 1)

    def test_compaction_ends_it_unless_the_next_page_is_still_there(self, begun):
        log, next_revision = begun
        first = log.machine.slot_of_revision(next_revision)
        log.machine.history.release(first)
        assert log.ask(next_revision).changes[0].revision == next_revision
        log.machine.history.release(first + 1)
        refusal = log.ask(next_revision)
        assert (refusal.code, refusal.detail) == (COMPACTED, next_revision + 1)


class TestServeLog:
    BALLOT = Ballot(1, "n1")

    def read(self, slot):
        if slot > 8:
            raise KeyError(slot)
        return self.BALLOT, bytes(100)

    def test_the_asked_slots_up_to_the_commit_index(self):
        assert serve_log(2, 4, self.read, 1 << 20, 7) == Decisions(
            2, ((self.BALLOT, bytes(100)),) * 3, 7
        )
        assert len(serve_log(2, 40, self.read, 1 << 20, 7).values) == 6

    def test_as_many_as_fit_but_at_least_one(self):
        assert len(serve_log(1, 8, self.read, 500, 8).values) == 2
        assert len(serve_log(1, 8, self.read, 1, 8).values) == 1

    def test_it_ends_before_a_slot_that_is_not_there(self):
        assert len(serve_log(7, 12, self.read, 1 << 20, 20).values) == 2
        assert serve_log(9, 12, self.read, 1 << 20, 20) is None
        assert serve_log(5, 4, self.read, 1 << 20, 20) is None
