"""Events are recorded by one thread and taken by another; what is read is what was recorded."""

import random
import threading

import pytest

from paxosd.core.messages import (
    Accept,
    Accepted,
    AcceptedValue,
    Heartbeat,
    Promise,
    Sample,
    Votes,
)
from paxosd.core.types import Ballot
from paxosd.recorder.block import Losses, blocks_of, events_of
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import (
    ADOPTED,
    APPLIED,
    NOTE,
    PARTIAL_BIT,
    PUBLISHED,
    RECEIVED,
    SENT,
    SUM,
)
from paxosd.recorder.messages import record_message
from paxosd.recorder.recorder import CHUNK_EVENTS, CHUNKS_WAITING_MAX, Recorder
from paxosd.wire import PEER_KINDS
from tests.wire.examples import PEER_MESSAGES


def make():
    recorder = Recorder("c1", "n1", 3, 77)
    recorder.set_time(1000.0)
    return recorder


def taken(recorder, *, mono_us=5_000_000, wall_us=1_700_000_005_000_000):
    recorder.settle()
    data = b"".join(recorder.take_blocks(mono_us, wall_us))
    losses = Losses()
    events = [e for head, rows in blocks_of(data, losses) for e in events_of(head, rows)]
    assert losses == Losses()
    return events


def test_an_event_is_read_as_it_was_recorded():
    recorder = make()
    recorder.set_time(1000.25)
    recorder.record(APPLIED, slot=7, ballot=Ballot(3_000_000_012, "n2"), x=1 << 63, y=5)
    (event,) = taken(recorder)
    assert event.id == "n1/3:1"
    assert (event.kind, event.slot, event.round, event.voter) == (APPLIED, 7, 3_000_000_012, "n2")
    assert (event.x, event.y, event.peer, event.text) == (1 << 63, 5, "", "")
    assert event.mono_us == 1_000_250
    assert event.wall_us == 1_700_000_001_000_250


def test_what_was_taken_is_not_taken_again_and_numbers_go_on():
    recorder = make()
    for slot in range(5):
        recorder.record(APPLIED, slot=slot)
    assert [e.seq for e in taken(recorder)] == [1, 2, 3, 4, 5]
    assert taken(recorder) == []
    recorder.record(APPLIED, slot=9)
    assert [(e.seq, e.slot) for e in taken(recorder)] == [(6, 9)]


def test_a_full_chunk_is_followed_by_another():
    recorder = make()
    for slot in range(2 * CHUNK_EVENTS + 3):
        recorder.set_time(1000.0 + slot)
        recorder.record(APPLIED, slot=slot)
    events = taken(recorder)
    assert [e.slot for e in events] == list(range(2 * CHUNK_EVENTS + 3))
    assert [e.mono_us for e in events] == [1_000_000 + 1000 * s for s in range(len(events))]


def test_nobody_takes_and_the_oldest_are_dropped_and_counted():
    recorder = make()
    for slot in range((CHUNKS_WAITING_MAX + 3) * CHUNK_EVENTS):
        recorder.record(APPLIED, slot=slot)
    recorder.settle()
    events = taken(recorder)
    assert recorder.lost == 3 * CHUNK_EVENTS
    assert events[0].seq == recorder.lost + 1, "the gap shows"
    assert len(events) == CHUNKS_WAITING_MAX * CHUNK_EVENTS


def test_notes_keep_their_texts_whenever_they_are_taken():
    recorder = make()
    recorder.note("one")
    recorder.record(APPLIED)
    recorder.note("two")
    assert [e.text for e in taken(recorder) if e.kind == NOTE] == ["one", "two"]
    recorder.note("three")
    assert [e.text for e in taken(recorder)] == ["three"]


def test_lines_of_the_log_that_came_first_have_the_time_at_which_they_were_taken():
    recorder = Recorder("c1", "n1", 3, 77)
    recorder.note_soon("one")
    recorder.take_notes(5_000_000_000.0)
    recorder.settle()
    recorder.record(APPLIED)
    assert [(e.kind, e.mono_us) for e in taken(recorder)] == [
        (NOTE, 5_000_000_000_000),
        (APPLIED, 5_000_000_000_000),
    ]


def test_nobody_takes_what_is_not_settled_and_nothing_of_it_is_missing_then():
    recorder = make()
    for slot in range(5):
        recorder.record(APPLIED, slot=slot)
    assert list(recorder.take_blocks(0, 0)) == []
    assert [e.slot for e in taken(recorder)] == list(range(5))


def test_a_text_whose_note_is_just_being_recorded_is_left_for_the_next_block():
    recorder = make()
    recorder.note("one")
    recorder._chunk.texts.append("two")  # the loop is between the text and its note
    assert [e.text for e in taken(recorder)] == ["one"]
    recorder.record(NOTE, x=1)
    assert [e.text for e in taken(recorder)] == ["two"]


def test_more_nodes_than_places():
    recorder = make()
    for number in range(300):
        recorder.record(APPLIED, peer=f"node-{number}")
    peers = [e.peer for e in taken(recorder)]
    assert peers[:255] == [f"node-{n}" for n in range(255)]
    assert peers[255:] == [""] * 45


def test_a_clock_that_stands_still_for_an_hour_and_a_long_idle_time():
    recorder = make()
    recorder.record(APPLIED)
    recorder.set_time(1000.0 + 3_000_000.0)
    recorder.record(APPLIED)
    recorder.set_time(500.0)  # it never goes back; if it did, times stand still
    recorder.record(APPLIED)
    assert [e.mono_us for e in taken(recorder)] == [1_000_000, 3_001_000_000, 3_001_000_000]


def test_the_loop_records_while_another_thread_takes():
    recorder = make()
    count, blocks, done = 40_000, [], threading.Event()

    def take():
        while not done.is_set():
            blocks.extend(recorder.take_blocks(0, 0, level=0))

    taker = threading.Thread(target=take)
    taker.start()
    for slot in range(count):
        recorder.record(APPLIED, slot=slot)
        if slot % 100 == 0:
            recorder.note(str(slot))
        if slot % 30 == 0:
            recorder.settle()
    recorder.settle()
    done.set()
    taker.join()
    blocks.extend(recorder.take_blocks(0, 0))
    losses = Losses()
    events = [e for h, rows in blocks_of(b"".join(blocks), losses) for e in events_of(h, rows)]
    assert losses == Losses()
    assert recorder.lost == 0
    assert [e.slot for e in events if e.kind == APPLIED] == list(range(count))
    assert [e.text for e in events if e.kind == NOTE] == [str(s) for s in range(0, count, 100)]


B = Ballot(4, "n2")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Accept(B, 9, b"value", 8), [(9, 4, "n2", 8, digest_of(b"value"))]),
        (Accepted(B, ((1, 3), (7, 7)), 12), [(1, 4, "n2", 3, 12), (7, 4, "n2", 7, 12)]),
        (Votes(((B, 2, 5),), 12, 1), [(2, 4, "n2", 5, 12)]),
    ],
)
def test_messages(message, expected):
    recorder = make()
    record_message(recorder, "n3", RECEIVED, message)
    events = taken(recorder)
    assert {e.kind for e in events} == {PEER_KINDS[type(message)]}
    assert {(e.peer, e.code) for e in events} == {("n3", RECEIVED)}
    assert [(e.slot, e.round, e.voter, e.x, e.y) for e in events] == expected


def test_a_promise_has_what_it_reports():
    recorder = make()
    message = Promise(B, 5, 0, 4, (AcceptedValue(6, Ballot(1, "n1"), b"x"),))
    record_message(recorder, "n2", SENT, message)
    promise, adopted = taken(recorder)
    assert (promise.slot, promise.round, promise.x, promise.y) == (5, 4, 4, 1)
    assert (adopted.kind, adopted.slot, adopted.round, adopted.voter) == (ADOPTED, 6, 1, "n1")
    assert adopted.y == digest_of(b"x")


def test_every_kind_of_message_can_be_recorded():
    recorder = make()
    for message in PEER_MESSAGES:
        record_message(recorder, "n2", PUBLISHED, message)
    kinds = {e.kind for e in taken(recorder)} - {ADOPTED, SUM}
    assert kinds == {PEER_KINDS[type(m)] for m in PEER_MESSAGES} == set(PEER_KINDS.values())


def test_digests_see_the_length_and_both_ends():
    rng = random.Random(5)
    value = rng.randbytes(10_000)
    assert digest_of(value) == digest_of(bytes(value))
    others = [value[:-1], value + b"\0", b"\0" + value[1:], value[:-1] + b"\0", b""]
    assert len({digest_of(each) for each in [value, *others]}) == 6


def test_a_promise_that_goes_on_says_so_and_a_heartbeat_brings_its_sums():
    recorder = make()
    ballot = Ballot(7, "n2")
    record_message(recorder, "n2", SENT, Promise(ballot, 1, 5, 0, ()))
    record_message(recorder, "n2", SENT, Promise(ballot, 6, 0, 0, ()))
    sums = (Sample(2, 1, 64, 99), Sample(1, 2, 128, 98))
    record_message(recorder, "n3", SENT, Heartbeat(ballot, "n2", 128, 1, 1, 0, True, 0, sums, True))
    part, end, _, *summed = taken(recorder)
    assert (part.y >> PARTIAL_BIT, end.y >> PARTIAL_BIT) == (1, 0)
    assert [(e.kind, e.peer, e.slot, e.x, e.y) for e in summed] == [
        (SUM, "n3", 64, 99, 2 << 8 | 1),
        (SUM, "n3", 128, 98, 1 << 8 | 2),
    ]
