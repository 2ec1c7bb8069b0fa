"""One order of all nodes that no message contradicts, and what the messages say of the clocks."""

import random
from itertools import pairwise

import pytest

from paxosctl.inspection import recordings
from paxosctl.inspection.clock_offsets import UNKNOWN_SLACK_US, estimate
from paxosctl.inspection.events import ACCEPTED
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosd.core.messages import Accept
from paxosd.core.types import Ballot
from paxosd.recorder.event import PUBLISHED, RECEIVED, SENT, START, Event
from tests.ctl.inspection.made import beat, begin, choose, elect, healthy, trio

AHEAD = [{}, {"n2": 1300}, {"n2": -40_000, "n3": 7_000_000}, {"n1": 3_600_000_000, "n3": -5}]


def read(path):
    window = Window()
    with opened([str(path)]) as recordings:
        measure_clocks(recordings, window)
        return list(recordings.events(window)), recordings.offsets


def check_causal(events):
    """Each node in its own order, and nothing received before it was sent; how many were."""
    last, sent, pairs = {}, set(), 0
    recorded = {event.node for event in events}
    for event in events:
        assert event.seq > last.get((event.node, event.boot_count), 0)
        last[event.node, event.boot_count] = event.seq
        said = event.kind, event.voter, event.round, event.slot, event.x, event.y
        if event.kind >= START:
            continue
        if event.code in (SENT, PUBLISHED):
            sent.add((event.node, event.peer, *said))
        elif event.code == RECEIVED and event.peer in recorded:
            to = {(event.peer, event.node, *said), (event.peer, "", *said)}
            assert to & sent, event
            pairs += 1
    return pairs


@pytest.mark.parametrize("ahead", AHEAD)
def test_nothing_arrives_before_it_was_sent_whatever_the_clocks_say(tmp_path, ahead):
    healthy(tmp_path, slots=20, **ahead)
    events, _ = read(tmp_path)
    assert check_causal(events) > 100


@pytest.mark.parametrize("ahead", AHEAD)
def test_the_clocks_are_estimated_within_their_error(tmp_path, ahead):
    healthy(tmp_path, slots=60, **ahead)
    events, offsets = read(tmp_path)
    base = ahead.get(offsets.reference, 0)
    for node in ("n1", "n2", "n3"):
        true_us = ahead.get(node, 0) - base
        assert abs(offsets.of[node].ahead_us - true_us) <= offsets.of[node].error_us
        assert offsets.of[node].error_us <= 2_000
    times = [event.wall_us for event in events]
    assert max(a - b for a, b in pairwise(times)) < 5_000, "corrected"


def test_clocks_farther_apart_than_a_sample_is_long_are_compared(tmp_path, monkeypatch):
    """At the same time of both clocks one node recorded quite other messages."""
    monkeypatch.setattr(recordings, "SAMPLE_EVENTS", 40)
    monkeypatch.setattr(recordings, "LAST_US", 1_000_000)
    healthy(tmp_path, slots=400, n3=3_000_000)
    _, offsets = read(tmp_path)
    ahead = {name: offsets.of[name].ahead_us for name in ("n1", "n2", "n3")}
    assert abs(ahead["n3"] - ahead["n1"] - 3_000_000) <= 2_000


def test_the_sentences_name_direction_and_error(tmp_path):
    healthy(tmp_path, slots=60, n2=1300)
    _, offsets = read(tmp_path)
    assert offsets.sentences(["n1", "n2"]) == ["n2 is 1.3 ms ahead of n1 (± 0.2 ms)"]


def votes(sender, receiver, took_us, ahead_us):
    """(published, received) of votes, each so long under way; the receiver's clock is ahead."""
    published, received = [], []
    for stream_seq, each_us in enumerate(took_us):
        at_us = stream_seq * 100_000
        said = {"kind": ACCEPTED, "voter": "n1", "slot": 1, "round": 1, "x": 1, "y": stream_seq}
        common = {"boot_count": 1, "seq": stream_seq, "mono_us": 0, **said}
        published.append(Event(node=sender, wall_us=at_us, peer="", code=PUBLISHED, **common))
        received.append(Event(node=receiver, wall_us=at_us + each_us + ahead_us, peer=sender,
                              code=RECEIVED, **common))  # fmt: skip
    return published, received


def test_neither_slow_messages_nor_a_few_that_seem_to_come_early_move_the_clocks():
    """A turn that began before a message was sent dates it back; most wait for a busy node."""
    there = [-15_000] * 3 + [300] * 40 + [20_000] * 57
    back = [300] * 90 + [40_000] * 10
    n1_out, n2_in = votes("n1", "n2", there, 1300)
    n2_out, n1_in = votes("n2", "n1", back, -1300)
    offsets = estimate([n1_out + n1_in, n2_out + n2_in])
    (offset,) = [each for node, each in offsets.of.items() if node != offsets.reference]
    assert abs(abs(offset.ahead_us) - 1300) <= 100
    assert offset.error_us <= 400


def test_no_messages_no_offset(tmp_path):
    nodes = trio()
    begin(nodes)
    for node in nodes.values():
        node.write(tmp_path)
    events, offsets = read(tmp_path)
    assert len(events) == 3
    assert offsets.slack_us("n1", "n2") == UNKNOWN_SLACK_US
    assert "not known" in offsets.sentences(["n1", "n2"])[0]


def test_a_message_whose_sending_is_not_recorded_is_not_waited_for(tmp_path):
    """The leader's file is gone but for its end."""
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = choose(nodes, ballot, 1, 200_000)
    nodes["n1"].blocks()  # and nobody wrote them
    for slot in range(2, 30):
        at_us = choose(nodes, ballot, slot, at_us + 5_000)
    for node in nodes.values():
        node.write(tmp_path)
    events, _ = read(tmp_path)
    times = [event.wall_us for event in events]
    assert len(events) > 300
    assert max(a - b for a, b in pairwise(times)) < 30_000


def test_where_the_clocks_are_not_known_the_messages_alone_decide(tmp_path):
    nodes = trio(n2=-1_000_000, n3=900_000)
    begin(nodes)
    for at in range(20):
        beat(nodes, Ballot(1, "n1"), 100_000 + at * 100_000, at)
        beat(nodes, Ballot(1, "n3"), 150_000 + at * 100_000, at)
    for node in nodes.values():
        node.write(tmp_path)
    events, offsets = read(tmp_path)
    assert len(offsets.of) < 3
    assert check_causal(events) == 80


def test_what_came_in_a_turn_that_took_long_is_after_its_sending(tmp_path):
    """The turn's time is when it began, 15 ms before."""
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = choose(nodes, ballot, 1, 150_000)
    for slot in range(2, 9):
        accept = Accept(ballot, slot, b"value", slot - 1)
        nodes["n2"].at(at_us + slot * 50_000 - 15_000).received("n1", accept)
        nodes["n1"].at(at_us + slot * 50_000).sent("n2", accept)
    for node in nodes.values():
        node.write(tmp_path)
    assert check_causal(read(tmp_path)[0]) > 20


def test_a_repeated_message_is_after_its_first_sending(tmp_path):
    nodes = trio(n2=-50_000)
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = choose(nodes, ballot, 1, 150_000)
    for at in range(10):
        beat(nodes, ballot, at_us + at * 100_000)
        choose(nodes, ballot, 2 + at, at_us + 50_000 + at * 100_000)
    for node in nodes.values():
        node.write(tmp_path)
    assert check_causal(read(tmp_path)[0]) > 30


def test_drawn_clocks(tmp_path):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for number in range(8):
        where = tmp_path / str(number)
        ahead = {name: rng.randrange(-10_000_000, 10_000_000) for name in ("n1", "n2", "n3")}
        healthy(where, slots=rng.randrange(1, 40), **ahead)
        check_causal(read(where)[0])
