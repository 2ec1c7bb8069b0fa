"""Group commits: which the loop carries out itself, and which the sync thread has."""

import threading
from types import SimpleNamespace

import pytest

from paxosd.daemon.commits import BYTES_MAX, CALM_IN_A_ROW, SLOW_US, USUAL_US_MAX, Commits
from paxosd.daemon.worker import Syncer
from paxosd.storage.disk import StorageError


class Job:
    """A group commit that takes so long; ``where``: the thread that ran it."""

    def __init__(self, duration_us=100, size=100, file="wal", error=None):
        self.duration_us = duration_us
        self.offset, self.end = 512, 512 + size
        self.file = file
        self.error = error
        self.where = None

    def run(self):
        self.where = threading.current_thread()
        if self.error is not None:
            raise self.error


@pytest.fixture
def disk():
    """Commits on a sync thread, and whether the disk has faults."""
    state = SimpleNamespace(faulty=False)
    with Syncer() as thread:
        state.thread = thread
        state.commits = Commits(thread, lambda: state.faulty)
        yield state


def commit(disk, may_block=True, **job):
    """Carry one out; whether it was within the turn."""
    made = Job(**job)
    at_once = disk.commits.start(made, may_block=may_block)
    done = disk.commits.finished()
    while not done:
        done = disk.commits.finished()
    assert done == [made]
    assert at_once == (made.where is threading.current_thread())
    return at_once


def make_fast(disk):
    for _ in range(CALM_IN_A_ROW):
        assert not commit(disk)


def test_the_loop_begins_after_many_fast_ones(disk):
    make_fast(disk)
    assert commit(disk)


def test_now_and_then_one_of_a_few_milliseconds_changes_nothing(disk):
    """On a machine whose cores are all busy one in ten takes twice as long as the disk needs."""
    make_fast(disk)
    for number in range(200):
        assert commit(disk, duration_us=SLOW_US // 2 if number % 10 == 0 else USUAL_US_MAX // 2)


def test_a_disk_that_is_always_a_little_slow_is_left_to_the_thread(disk):
    """The loop has something better to do than to wait for it."""
    make_fast(disk)
    in_the_turn = sum(commit(disk, duration_us=USUAL_US_MAX * 2) for _ in range(200))
    assert 0 < in_the_turn < 20
    for _ in range(CALM_IN_A_ROW):
        commit(disk)
    assert commit(disk)


def test_the_average_forgets_a_stall_with_the_row(disk):
    """However long it was: what counts afterwards is how long the next ones take."""
    make_fast(disk)
    commit(disk, duration_us=3_000_000)
    assert not any(commit(disk, duration_us=100) for _ in range(CALM_IN_A_ROW))
    assert commit(disk)


def test_one_slow_one_sends_them_to_the_thread_for_long(disk):
    """A disk that stalls holds the loop up once."""
    make_fast(disk)
    assert commit(disk, duration_us=3_000_000)
    make_fast(disk)
    assert commit(disk)


def test_a_slow_one_in_the_thread_counts_too(disk):
    make_fast(disk)
    assert not commit(disk, duration_us=SLOW_US + 1, size=BYTES_MAX + 1)
    assert not commit(disk)


@pytest.mark.parametrize(
    "job", [{"size": BYTES_MAX + 1}, {"file": None}, {"may_block": False}], ids=str
)
def test_what_the_thread_has_anyway(disk, job):
    make_fast(disk)
    assert not commit(disk, **job)
    assert commit(disk)


def test_a_disk_with_faults_is_left_to_the_thread(disk):
    make_fast(disk)
    disk.faulty = True
    assert not commit(disk)
    disk.faulty = False
    assert commit(disk)


def test_a_failure_in_the_loop_reaches_it(disk):
    make_fast(disk)
    with pytest.raises(StorageError, match="no space"):
        disk.commits.start(Job(error=StorageError("no space")), may_block=True)
