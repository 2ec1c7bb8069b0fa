"""What a replica records has the time at which it happened, not that at which its turn began."""

import pytest

from paxosd.core.effects import AcceptRecord, Applied, ReadReady, Ready, WriteReply
from paxosd.core.membership import UNKNOWN
from paxosd.core.messages import Accept, Envelope, Heartbeat, Promise, SnapshotChunk
from paxosd.core.types import Ballot
from paxosd.recorder.block import Losses, blocks_of, events_of
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import APPLIED, NOTE, READ, VOTED
from paxosd.recorder.recorder import Recorder
from paxosd.replica.recording import HELD_BYTES_MAX, PUT_OFF_MAX, SETTLE_MS, Recording
from paxosd.replica.tokens import ReadToken
from paxosd.wire import PEER_KINDS

BALLOT = Ballot(1, "n2")


def heartbeat(sender):
    return Envelope(sender, 1, Heartbeat(Ballot(1, "n2"), "n2", 0, 0, 0, 0))


def rows_of(recorder):
    recorder.settle()
    data = b"".join(recorder.take_blocks(0, 0))
    return [e for head, rows in blocks_of(data, Losses()) for e in events_of(head, rows)]


def recorded_us(recorder):
    return [row.mono_us for row in rows_of(recorder)]


class Job:
    """A group commit of so many bytes."""

    group, offset, duration_us, records = 1, 0, 5, 1

    def __init__(self, size):
        self.end = size


class FakeNode:
    membership = UNKNOWN


class FakeMachine:
    def chain_at(self, slot):
        return slot * 10


def test_a_message_that_came_within_a_turn_was_not_heard_before_it_was_sent():
    recorder = Recorder("c1", "n1", 1, 7)
    clock = iter([1015.5, 1030.25])
    recording = Recording(recorder, None, None, lambda: next(clock))
    for began_ms in (1000.0, 1020.0):
        recording.begin_turn(began_ms)
        recording.heard(heartbeat("n2"))
        recording.heard(heartbeat("n3"))  # the clock is read once a turn
        recording.end_turn()
    assert recorded_us(recorder) == [1_015_500, 1_015_500, 1_030_250, 1_030_250]


def test_in_a_simulated_turn_no_time_passes():
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, None, None)
    recording.begin_turn(1000.0)
    recording.heard(heartbeat("n2"))
    recording.end_turn()
    assert recorded_us(recorder) == [1_000_000]


def test_what_is_put_off_has_its_time_and_its_order_and_lines_of_the_log_stand_behind_it():
    recorder = Recorder("c1", "n1", 1, 7)
    clock = iter([1001.0, 1002.0, 1003.0])
    recording = Recording(
        recorder, FakeNode(), FakeMachine(), lambda: next(clock), next_group=iter([8]).__next__
    )
    recording.begin_turn(1000.0)
    recording.heard(heartbeat("n2"))
    recorder.note_soon("n2 leads")
    ready = Ready(persist=[AcceptRecord(4, BALLOT, b"value")],
                  sends=[("n2", Accept(BALLOT, 4, b"value", 3))],
                  applied=[Applied(3, BALLOT, b"before", None)])  # fmt: skip
    recording.done(ready)
    assert recorder.put_off == 3
    recording.end_turn()
    assert [(row.mono_us, row.kind, row.slot, row.x, row.y) for row in rows_of(recorder)] == [
        (1_001_000, PEER_KINDS[Heartbeat], 0, 0, 0),
        (1_002_000, VOTED, 4, 8, digest_of(b"value")),
        (1_002_000, PEER_KINDS[Accept], 4, 3, digest_of(b"value")),
        (1_002_000, APPLIED, 3, 30, digest_of(b"before")),
        (1_003_000, NOTE, 0, 0, 0),
    ]


class TestSettling:
    """What is put off takes no more memory, and waits no longer, than is said."""

    def make(self):
        recorder = Recorder("c1", "n1", 1, 7)
        recording = Recording(recorder, FakeNode(), FakeMachine())
        recording.begin_turn(1000.0)
        recording.end_turn()
        return recorder, recording

    def turn(self, recording, now_ms, *envelopes):
        recording.begin_turn(now_ms)
        for envelope in envelopes:
            recording.heard(envelope)
        recording.end_turn()

    def test_after_a_while(self):
        recorder, recording = self.make()
        self.turn(recording, 1001.0, heartbeat("n2"))
        assert recorder.put_off == 0  # long after the last time: there was none
        self.turn(recording, 1002.0, heartbeat("n2"))
        self.turn(recording, 1000.9 + SETTLE_MS)
        assert recorder.put_off == 1
        self.turn(recording, 1001.0 + SETTLE_MS)
        assert recorder.put_off == 0

    def test_when_there_is_much(self):
        recorder, recording = self.make()
        self.turn(recording, 1001.0, heartbeat("n2"))
        self.turn(recording, 1002.0, *[heartbeat("n2")] * (PUT_OFF_MAX - 1))
        assert recorder.put_off == PUT_OFF_MAX - 1
        self.turn(recording, 1003.0, heartbeat("n2"))
        assert recorder.put_off == 0

    def test_when_it_is_large(self):
        recorder, recording = self.make()
        self.turn(recording, 1001.0, heartbeat("n2"))
        self.turn(recording, 1002.0, Envelope("n2", 1, SnapshotChunk(9, 0, b"digest", bytes(10))))
        assert recorder.put_off == 0
        recording.begin_turn(1003.0)
        recording.synced(Job(HELD_BYTES_MAX - 1), 1003.0)
        recording.end_turn()
        assert recorder.put_off == 1
        recording.begin_turn(1004.0)
        recording.synced(Job(1), 1004.0)
        recording.end_turn()
        assert recorder.put_off == 0

    @pytest.mark.parametrize(
        ("ready", "waits"),
        [
            (Ready(sends=[("n2", Accept(BALLOT, 4, b"value", 3))]), 1),
            (Ready(sends=[("n2", Promise(BALLOT, 1, 0, 9, ((5, BALLOT, bytes(99)),)))]), 0),
            (Ready(applied=[Applied(3, BALLOT, bytes(9), None)]), 1),
            (Ready(applied=[Applied(3, BALLOT, bytes(HELD_BYTES_MAX), None)]), 0),
            (Ready(replies=[(None, WriteReply(3, [(0, 1, bytes(999))]))]), 0),
        ],
    )
    def test_what_a_turn_does(self, ready, waits):
        """Answers are not kept at all."""
        recorder, recording = self.make()
        self.turn(recording, 1001.0, heartbeat("n2"))
        recording.begin_turn(1002.0)
        recording.done(ready)
        recording.end_turn()
        assert recorder.put_off == waits


def test_a_read_has_the_request_id_of_its_client():
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, FakeNode(), FakeMachine())
    recording.begin_turn(1030.0)
    recording.answered(ReadToken(b"c", 4711, [], 0, 1000.0), ReadReady(12))
    (event,) = rows_of(recorder)
    assert (event.kind, event.slot, event.round, event.x, event.y) == (READ, 12, 30_000, 0, 4711)


def test_equal_and_different_values_one_after_the_other():
    recorder = Recorder("c1", "n1", 1, 7)
    values = [b"", b"a" * 5000, b"a" * 5000, b"b" * 5000, bytes(b"b" * 5000), b"b" * 4999]
    for value in values:
        assert recorder.digest_of(value) == digest_of(value)
