"""What a replica records has the time at which it happened, not that at which its turn began."""

import pytest

from paxosd.core.effects import AcceptRecord, Applied, ReadReady, Ready, WriteReply
from paxosd.core.membership import UNKNOWN
from paxosd.core.messages import Accept, Accepted, Envelope, Heartbeat, Promise, Votes
from paxosd.core.state.chain import Trail
from paxosd.core.types import Ballot
from paxosd.recorder.block import Losses, blocks_of, events_of
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import APPLIED, NOTE, READ, RECEIVED, SENT, VOTED
from paxosd.recorder.messages import record_message
from paxosd.recorder.recorder import Recorder
from paxosd.replica.recording import Recording
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


class FakeNode:
    membership = UNKNOWN


class FakeMachine:
    applied = 10_000

    @property
    def trail(self):
        return self

    def run(self, slots, count):
        first = self.applied - slots
        return [slot * 10 for slot in range(first, first + count)]


class FakeLog:
    next_group = 8


def test_a_message_that_came_within_a_turn_was_not_heard_before_it_was_sent():
    recorder = Recorder("c1", "n1", 1, 7)
    clock = iter([1015.5, 1030.25])
    recording = Recording(recorder, None, None, lambda: next(clock))
    for began_ms in (1000.0, 1020.0):
        recording.begin_turn(began_ms)
        recording.heard([heartbeat("n2"), heartbeat("n3")])  # the clock is read once
        recording.end_turn()
    assert recorded_us(recorder) == [1_015_500, 1_015_500, 1_030_250, 1_030_250]


def test_in_a_simulated_turn_no_time_passes():
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, None, None)
    recording.begin_turn(1000.0)
    recording.heard([heartbeat("n2")])
    recording.end_turn()
    assert recorded_us(recorder) == [1_000_000]


def test_what_is_put_off_has_its_time_and_its_order_and_lines_of_the_log_stand_behind_it():
    recorder = Recorder("c1", "n1", 1, 7)
    clock = iter([1001.0, 1002.0, 1003.0])
    recording = Recording(recorder, FakeNode(), FakeMachine(), lambda: next(clock), wal=FakeLog())
    recording.begin_turn(1000.0)
    recording.heard([heartbeat("n2")])
    recorder.note_soon("n2 leads")
    ready = Ready(persist=[AcceptRecord(4, BALLOT, b"value")],
                  sends=[("n2", Accept(BALLOT, 4, b"value", 3))],
                  applied=[Applied(3, BALLOT, b"before", None)])  # fmt: skip
    recording.done(ready)
    assert len(recorder.moments) == 3
    recording.end_turn()
    assert [(row.mono_us, row.kind, row.slot, row.x, row.y) for row in rows_of(recorder)] == [
        (1_001_000, PEER_KINDS[Heartbeat], 0, 0, 0),
        (1_002_000, VOTED, 4, 8, digest_of(b"value")),
        (1_002_000, PEER_KINDS[Accept], 4, 3, digest_of(b"value")),
        (1_002_000, APPLIED, 3, 30, digest_of(b"before")),
        (1_003_000, NOTE, 0, 0, 0),
    ]


@pytest.mark.parametrize(
    "ready",
    [
        Ready(sends=[("n2", Promise(BALLOT, 1, 0, 9, ((5, BALLOT, bytes(99)),)))]),
        Ready(applied=[Applied(3, BALLOT, bytes(9), None)]),
        Ready(replies=[(None, WriteReply(3, [(0, 1, bytes(999))]))]),
    ],
)
def test_nothing_is_held_beyond_a_turn(ready):
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, FakeNode(), FakeMachine())
    for now_ms in (1000.0, 1001.0):
        recording.begin_turn(now_ms)
        recording.heard([heartbeat("n2")])
        recording.done(ready)
        recording.end_turn()
        assert not recorder.moments


def test_a_turn_of_many_slots_has_them_in_their_order():
    """More events than are packed at once, and than a chunk has room for."""
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, FakeNode(), FakeMachine())
    for first in (0, 5000):
        recording.begin_turn(1000.0 + first)
        recording.heard([Envelope("n2", 1, Accepted(BALLOT, ((n, n),), n)) for n in range(1700)])
        recording.done(Ready(applied=[Applied(first + n, BALLOT, b"", None) for n in range(1700)]))
        recording.end_turn()
    events = rows_of(recorder)
    assert [e.slot for e in events if e.kind == APPLIED] == [*range(1700), *range(5000, 6700)]
    assert [e.slot for e in events if e.kind != APPLIED] == [*range(1700)] * 2
    assert {(e.slot >= 5000, e.mono_us) for e in events if e.kind == APPLIED} == {
        (False, 1_000_000),
        (True, 6_000_000),
    }
    assert [e.seq for e in events] == list(range(1, 6801))


@pytest.mark.parametrize("message", [
    Accept(BALLOT, 4, b"value", 3),
    Accepted(BALLOT, ((4, 6), (8, 8)), 9),
    Votes(((BALLOT, 1, 2), (BALLOT, 3, 5)), 7, 2),
    Heartbeat(BALLOT, "n2", 5, 6, 7, 8),
])  # fmt: skip
def test_a_message_is_recorded_alike_by_both_sides_and_by_itself(message):
    """What is written out for speed says the same as the general way."""
    recorder = Recorder("c1", "n1", 1, 7)
    recording = Recording(recorder, FakeNode(), FakeMachine())
    recording.begin_turn(1000.0)
    recording.heard([Envelope("n2", 1, message)])
    recording.done(Ready(sends=[("n2", message)]))
    recording.end_turn()
    for code in (RECEIVED, SENT):
        record_message(recorder, "n2", code, message)
    found = [row._replace(seq=0) for row in rows_of(recorder)]
    assert found[: len(found) // 2] == found[len(found) // 2 :]


def test_chains_of_many_slots():
    trail = Trail()
    for chain in range(100, 105):
        trail.append(chain)
    assert list(trail.run(2, 3)) == [102, 103, 104]
    assert list(trail.run(4, 2)) == [100, 101]
    assert list(trail.run(6, 4)) == [0, 0, 100, 101]
    assert list(trail.run(0, 2)) == [104, 0]


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
