"""A message that came late: by the link, or because its receiver's loop stood."""

import pytest

from paxosctl.inspection.ballot_story import leadership
from paxosctl.inspection.diagnosis import diagnose
from paxosctl.inspection.explanation import explain_slow
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosctl.inspection.request_times import request_times
from paxosctl.inspection.slot_story import slot_stories
from paxosd.core.messages import Accept, Accepted, Heartbeat, HeartbeatAck
from paxosd.core.types import Ballot
from paxosd.recorder.digest import digest_of
from paxosd.recorder.event import APPLIED, COUNT_BIT, PROCESSOR, VOTED, WRITE
from tests.ctl.inspection.made import begin, elect, trio

T_US = 3_000_000
"""When the slot is proposed."""
LATE_US = 100_000
"""When the last vote that is needed is taken up, after that."""
VALUE = b"value"


class Scene:
    """n1 leads and proposes slot 1; the votes of n2 and n3 are needed. What happens is recorded in
    the order of time. ``stands``: nodes that do not look at their processors meanwhile."""

    def __init__(self, *stands):
        self.nodes = trio()
        begin(self.nodes)
        self.ballot = elect(self.nodes, "n1", 100_000)
        self.plan = []
        self.propose()
        for round_ in range(1, 41):
            self.beat(round_, T_US - 2_500_000 + round_ * 60_000)
        for name in self.nodes:
            for at_us in range(T_US - 2_000_000, T_US + 300_000, 100_000):
                if at_us <= T_US or name not in stands:
                    self.processor(name, at_us + 1)
            self.processor(name, T_US + 301_000)

    def at(self, name, at_us, do):
        self.plan.append((at_us, len(self.plan), name, do))

    def beat(self, round_, at_us):
        beat = Heartbeat(self.ballot, "n1", 0, 0, round_, 0)
        for other in ("n2", "n3"):
            self.at("n1", at_us, lambda made, to=other: made.sent(to, beat))
            self.at(other, at_us + 200, lambda made: made.received("n1", beat))
            self.ack(other, round_, at_us + 300, at_us + 500)

    def ack(self, name, round_, sent_us, came_us):
        ack = HeartbeatAck(self.ballot, round_, 0)
        self.at(name, sent_us, lambda made: made.sent("n1", ack))
        self.at("n1", came_us, lambda made: made.received(name, ack))

    def processor(self, name, at_us, waited_us=100):
        self.at(name, at_us, lambda made: made.record(PROCESSOR, slot=100_000, x=5_000,
                                                      y=waited_us))  # fmt: skip

    def propose(self):
        accept = Accept(self.ballot, 1, VALUE, 0)
        self.at("n1", T_US, lambda made: made.record(VOTED, slot=1, ballot=self.ballot,
                                                     y=digest_of(VALUE)))  # fmt: skip
        for name in ("n2", "n3"):
            self.at("n1", T_US, lambda made, to=name: made.sent(to, accept))

    def vote(self, name, heard_us, came_us):
        """``heard_us``: when it takes up the accept; ``came_us``: when its vote is taken up."""
        vote = Accepted(self.ballot, ((1, 1),), 1)
        at_us = T_US + heard_us
        self.at(name, at_us, lambda made: made.received("n1", Accept(self.ballot, 1, VALUE, 0)))
        self.at(name, at_us, lambda made: made.record(VOTED, slot=1, ballot=self.ballot,
                                                      y=digest_of(VALUE)))  # fmt: skip
        self.at(name, at_us + 500, lambda made: made.sync(2, 400).published(vote))
        self.at("n1", T_US + came_us, lambda made: made.received(name, vote))

    def answer(self, at_us, own_at_us, sync_us):
        """``own_at_us``: when n1 hears that its own vote is durable."""
        own = Accepted(self.ballot, ((1, 1),), 1)
        self.at("n1", T_US + at_us, lambda made: made.record(
            APPLIED, slot=1, ballot=self.ballot, x=17, y=digest_of(VALUE)).record(
            WRITE, slot=1, ballot=Ballot(at_us + 100, ""), x=7, y=1 | 1 << COUNT_BIT,
        ))  # fmt: skip
        self.at("n1", T_US + own_at_us, lambda made: made.sync(2, sync_us).published(own))

    def explained(self, path):
        """Label and words of the one request."""
        for at_us, _, name, do in sorted(self.plan, key=lambda each: each[:2]):
            do(self.nodes[name].at(at_us))
        for node in self.nodes.values():
            node.write(path)
        with opened([str(path)]) as recordings:
            window = Window()
            measure_clocks(recordings, window)
            found = leadership(recordings)
            (request,) = request_times(recordings, window, found).slowest
            stories = slot_stories(recordings, {1}, window, found)
            diagnosis = diagnose(recordings, window, found)
            label, sentence = explain_slow(request, stories[1], found, diagnosis)
            return label, sentence.text


def test_the_leader_that_its_own_group_commit_held_up(tmp_path):
    scene = Scene("n1")
    scene.vote("n2", 200, LATE_US)
    scene.vote("n3", 210, LATE_US + 10)
    scene.answer(LATE_US + 50, LATE_US + 100, 99_000)
    label, text = scene.explained(tmp_path)
    assert label == "n1's disk", text
    assert "n1 took it up late: its loop recorded nothing for 99" in text
    assert "while a group commit of 99.0 ms was under way" in text


@pytest.mark.parametrize("waited_us", [100, 70_000])
def test_the_leader_that_did_not_run(tmp_path, waited_us):
    scene = Scene("n1")
    scene.vote("n2", 200, LATE_US)
    scene.vote("n3", 210, LATE_US + 10)
    scene.answer(LATE_US + 50, 600, 300)
    scene.processor("n1", T_US + LATE_US + 100, waited_us)
    label, text = scene.explained(tmp_path)
    assert label == "n1 is busy", text
    assert ("for a processor about then" in text) == (waited_us > 1000)


def test_the_follower_that_did_not_run(tmp_path):
    """n2 is down; n3 takes up the accept, and what n1 greeted it with, late. Its look at the
    processors did not come for 180 ms."""
    scene = Scene("n3")
    scene.vote("n3", 180_000, 181_000)
    scene.answer(181_050, 600, 300)
    for at_us in range(40_000, 180_000, 60_000):
        scene.at("n1", T_US + at_us, lambda made: made.sent("n2", Heartbeat(
            scene.ballot, "n1", 0, 0, 99, 0)))  # fmt: skip
    scene.processor("n1", T_US + 100_000)
    label, text = scene.explained(tmp_path)
    assert label == "n3 is busy", text


@pytest.mark.parametrize("sync_us", [300, 99_000])
def test_the_link_if_what_others_sent_was_taken_up_in_time(tmp_path, sync_us):
    """Also where the leader's own group commit took as long, beside the loop. At the end it stood
    for 40 ms: not for most of the time."""
    scene = Scene()
    scene.vote("n3", 210, LATE_US)
    for number, at_us in enumerate((20_000, 40_000, 60_000)):
        scene.ack("n2", 100 + number, T_US + at_us, T_US + at_us + 200)
    scene.ack("n2", 200, T_US + 80_000, T_US + LATE_US)
    scene.vote("n2", 30_000, 31_000)
    scene.answer(LATE_US + 50, LATE_US + 100, sync_us)
    label, text = scene.explained(tmp_path)
    assert label == "the link to n3", text


def test_the_link_if_the_leader_had_nothing_else_to_record(tmp_path):
    """Silence of 99 ms proves nothing by itself: the next look at the processors was not due."""
    scene = Scene("n1")
    scene.vote("n3", 200, LATE_US)
    scene.answer(LATE_US + 50, 600, 300)
    label, text = scene.explained(tmp_path)
    assert label == "the link to n3", text
