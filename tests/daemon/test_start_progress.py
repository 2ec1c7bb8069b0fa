"""What the service manager hears of a start, and of what a node is after it."""

from dataclasses import replace

import pytest

from paxosd.core.status import NodeStatus
from paxosd.daemon.notify import Notifier, NotifyReceiver
from paxosd.daemon.standing_words import MENTION_AFTER_MS, StandingWords
from paxosd.daemon.start_progress import EXTEND_MS, REPORT_MS, StartProgress
from paxosd.host.progress import how_far
from paxosd.host.stop_signals import SIGNALS, StopRequested
from paxosd.replica.recovery import recover
from paxosd.storage.wal import WalOptions
from tests.snapshot.lives import OPTIONS, Life, Lines
from tests.storage.memdisk import SMALL, MemDisk


class Clock:
    ms = 0.0


@pytest.fixture
def start(tmp_path):
    """(progress, manager, clock)."""
    manager = NotifyReceiver(tmp_path / "notify")
    notifier, clock = Notifier(str(manager.path)), Clock()
    yield StartProgress(notifier, lambda: clock.ms), manager, clock
    notifier.close()
    manager.close()


class TestStartProgress:
    def test_each_report_brings_more_time_and_says_how_far_it_is(self, start):
        progress, manager, clock = start
        progress("reading the log", 0, 40)
        clock.ms = 30_000.0
        progress("reading the log", 10, 40)
        more = {"EXTEND_TIMEOUT_USEC": str(EXTEND_MS * 1000)}
        assert manager.receive() == [
            more | {"STATUS": "starting: reading the log"},
            more | {"STATUS": "starting: reading the log, 25 %, 90 s left"},
        ]

    def test_however_many_steps_there_are_reports_are_few(self, start):
        progress, manager, clock = start
        for step in range(500):
            clock.ms = step * REPORT_MS / 100
            progress("applying the log", step, 1000)
        assert sum("EXTEND_TIMEOUT_USEC" in notice for notice in manager.receive()) == 5

    def test_another_phase_is_named_at_once_and_has_its_own_time(self, start):
        progress, manager, clock = start
        progress("reading the log", 1, 1)
        clock.ms = 100.0
        progress("applying the log", 0, 9)
        clock.ms = 10_100.0
        progress("applying the log", 3, 9)
        words = [notice["STATUS"] for notice in manager.receive() if "STATUS" in notice]
        assert words == [
            "starting: reading the log, 100 %, 0 s left",
            "starting: applying the log",
            "starting: applying the log, 33 %, 20 s left",
        ]

    def test_work_that_stands_still_gets_no_more_time(self, start):
        progress, manager, clock = start
        progress("reading the log", 1, 4)
        manager.receive()
        clock.ms = 3_600_000.0
        assert manager.receive() == [], "only a step of the work reports"

    def test_a_stop_takes_hold(self, start, monkeypatch):
        monkeypatch.setattr(SIGNALS, "noted", [15])
        with pytest.raises(StopRequested):
            start[0]("reading the log", 1, 4)


def test_every_phase_of_a_recovery_reports():
    """A long start of any kind gets its time: reading the log, the snapshot, applying the log."""
    heard, disk = [], MemDisk()
    life = Life(disk, options=replace(OPTIONS, slots_max=150))
    life.write(402)
    life.finish()
    recover(
        MemDisk(), disk, cluster="c", node="n1", log=Lines(), now_ms=lambda: 0.0,
        wal_options=WalOptions(segment_bytes=SMALL, prepare_ahead=False),
        progress=lambda *step: heard.append(step),
    )  # fmt: skip
    assert list(dict.fromkeys(what for what, _, _ in heard)) == [
        "reading the log", "reading the snapshot", "applying the log",
    ]  # fmt: skip
    assert all(0 < done <= total for _, done, total in heard)


@pytest.mark.parametrize(
    ("done", "total", "words"),
    [(0, 9, ""), (1, 0, ""), (9, 4, ""), (1, 4, "25 %, 30 s left"), (4, 4, "100 %, 0 s left")],
)
def test_how_far(done, total, words):
    assert how_far(done, total, 10_000.0) == words


class FakeNode:
    role, leader = "newcomer", ""

    def __init__(self):
        self.waits = NodeStatus(unconfirmed_by=("n2", "n3"), unconfirmed_ms=0)

    def status(self):
        return self.waits


class TestStandingWords:
    def test_who_is_waited_for_since_when(self):
        """A line that does not change: ``paxosd dev`` prints each one, the journal keeps it."""
        node, wall_s = FakeNode(), [1_000_000_000.0]
        words = StandingWords(node, lambda: wall_s[0])
        assert words() == "newcomer; leader unknown"
        said = set()
        for waited_ms in range(MENTION_AFTER_MS, 100_000, 997):
            node.waits = NodeStatus(unconfirmed_by=("n2", "n3"), unconfirmed_ms=waited_ms)
            wall_s[0] = 1_000_000_000.0 + waited_ms / 1000
            said.add(words())
        waiting = "waits for n2 and n3 since 2001-09-09 01:46:40 UTC"
        assert said == {f"newcomer; leader unknown; {waiting}"}

    def test_that_it_waits_no_more(self):
        node, wall_s = FakeNode(), [10.0]
        words = StandingWords(node, lambda: wall_s[0])
        node.waits = NodeStatus(unconfirmed_by=("n2",), unconfirmed_ms=9000)
        assert "since 1970-01-01 00:00:01 UTC" in words()
        node.role, node.leader = "follower", "n2"
        assert words() == "follower; leader n2"
        node.role, wall_s[0] = "returning", 100.0
        assert "waits for n2 since 1970-01-01 00:01:31 UTC" in words()

    def test_a_node_without_a_vote_that_waits_for_nobody(self):
        node = FakeNode()
        node.role, node.waits = "memory-lost", NodeStatus(unconfirmed_ms=9000)
        assert StandingWords(node, lambda: 9.0)().endswith(
            "; does not vote since 1970-01-01 00:00:00 UTC"
        )
