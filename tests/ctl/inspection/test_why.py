"""Where time goes and who is to blame, on recordings whose truth is known."""

import pytest

from paxosctl.inspection.ballot_story import leadership
from paxosctl.inspection.diagnosis import Diagnosis
from paxosctl.inspection.explanation import explain_ballot, explain_slot, explain_slow
from paxosctl.inspection.read_times import slowest_reads
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosctl.inspection.request_story import request_story
from paxosctl.inspection.request_times import STAGES, request_times
from paxosctl.inspection.slot_story import slot_stories, slot_story
from paxosctl.inspection.slow_reads import explain_read
from paxosctl.inspection.slowness import verdicts
from paxosctl.inspection.story_views import read_steps
from paxosd.core.messages import Heartbeat, HeartbeatAck, ReadIndex, ReadIndexReply
from paxosd.core.types import Ballot
from paxosd.recorder.event import READ, START
from tests.ctl.inspection.made import Made, begin, choose, elect, trio


def measured(path, make):
    with opened([str(path)]) as recordings:
        window = Window()
        measure_clocks(recordings, window)
        return make(recordings, window, leadership(recordings))


def times_of(path):
    return measured(path, request_times)


def write(nodes, path):
    for node in nodes.values():
        node.write(path)


def cluster(path, slots=40, ahead=None, **how):
    nodes = trio(**(ahead or {}))
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = 200_000
    for slot in range(1, slots + 1):
        at_us = choose(nodes, ballot, slot, at_us, seq=slot, **how) + 150_000
    write(nodes, path)
    return nodes


def labels(path):
    def make(recordings, window, found):
        slowest = request_times(recordings, window, found).slowest
        stories = slot_stories(recordings, {r.write.slot for r in slowest}, window, found)
        return [explain_slow(each, stories[each.write.slot], found) for each in slowest]

    return measured(path, make)


def test_the_stages_add_up_to_what_the_client_waited_for(tmp_path):
    cluster(tmp_path, ahead={"n2": 70_000, "n1": -5}, queued_us=400)
    times = times_of(tmp_path)
    assert times.requests == 40
    for request in times.slowest:
        assert sum(request.stages.values()) == request.write.round
        assert set(request.stages) == set(STAGES)
        assert abs(request.stages["queue"] - 400) <= 1


@pytest.mark.parametrize(("slow", "cause", "stage"), [
    ({"n1": 30_000, "n2": 30_500}, "n1's disk", "persist"),
    ({"n2": 40_000, "n3": 45_000}, "n2's disk", "quorum"),
    ({"n2": 50_000, "n3": 41_000}, "n3's disk", "quorum"),
])  # fmt: skip
def test_the_disk_that_was_waited_for(tmp_path, slow, cause, stage):
    cluster(tmp_path, sync_us=slow)
    times = times_of(tmp_path)
    assert {each.longest for each in times.slowest} == {stage}
    found = labels(tmp_path)
    assert {label for label, _ in found} == {cause}
    assert all(sentence.evidence for _, sentence in found)


def test_a_slow_disk_that_nobody_waits_for_is_named_as_such(tmp_path):
    cluster(tmp_path, sync_us={"n1": 900, "n2": 1000, "n3": 48_000})
    said = verdicts(times_of(tmp_path))
    disk = next(each for each in said if each.startswith("n3's disk"))
    assert "fsync p99 48.0 ms, 53 times n1's" in disk
    assert "few requests waited for it" in disk


def test_disks_that_are_alike_are_not_blamed(tmp_path):
    cluster(tmp_path, sync_us={"n1": 5000, "n2": 6000, "n3": 5500})
    assert not [each for each in verdicts(times_of(tmp_path)) if "disk: fsync" in each]


def test_what_waits_to_be_proposed_is_the_queue(tmp_path):
    cluster(tmp_path, queued_us=90_000)
    assert {label for label, _ in labels(tmp_path)} == {"n1's queue"}
    assert verdicts(times_of(tmp_path))[0].startswith("99% of the time is queue")


def test_without_the_proposal_it_is_not_known(tmp_path):
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = choose(nodes, ballot, 1, 200_000)
    made = nodes["n1"]
    made.blocks()  # lost
    made.at(at_us + 10).record(132, slot=1, ballot=ballot)
    made.record(129, slot=1, ballot=Ballot(700, ""), x=7, y=1 | 1 << 48)
    write(nodes, tmp_path)
    label, sentence = labels(tmp_path)[0]
    assert label == "not known"
    assert not sentence.known
    assert "not known, because" in sentence.text
    assert "not known" in verdicts(times_of(tmp_path))[0]


def test_a_fault_is_named_where_it_can_be_the_reason(tmp_path):
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    rule = {"fault": "molasses", "kind": "disk-slow", "on": "n2", "ms": 40}
    nodes["n2"].at(150_000).note("fault.added", "warning", **rule)
    nodes["n2"].note("fault.hit", "warning", **rule)
    choose(nodes, ballot, 1, 200_000, sync_us={"n2": 40_000, "n3": 60_000})
    nodes["n2"].at(400_000).note("fault.healed", "warning", **rule)
    choose(nodes, ballot, 2, 500_000, sync_us={"n2": 39_000, "n3": 60_000})
    write(nodes, tmp_path)
    (_, first), (_, second) = labels(tmp_path)
    assert "n2 had the fault molasses (disk-slow 40 ms on n2)" in first.text
    assert "molasses" not in second.text
    said = measured(tmp_path, lambda r, w, found: explain_slot(found, slot_story(r, 1, w, found)))
    assert "On the way n2 had the fault molasses" in said.sentences[-1].text


class TestSlot:
    def test_every_claim_has_evidence(self, tmp_path):
        cluster(tmp_path, slots=3, sync_us={"n3": 20_000})
        said = measured(
            tmp_path, lambda r, w, found: explain_slot(found, slot_story(r, 2, w, found))
        )
        assert all(sentence.evidence for sentence in said.sentences if sentence.known)
        text = " ".join(sentence.text for sentence in said.sentences)
        assert "n1 took the lead" in text
        assert "by the promises of n1 and n2: 2 of 3 voters" in text
        assert "The votes of n1 and n2 made it chosen" in text
        assert "The vote of n3 came 20.4 ms after the proposal, and was not needed" in text


class TestLeader:
    def lost(self, tmp_path, **how):
        nodes = trio()
        begin(nodes)
        elect(nodes, "n1", 100_000)
        rest = {name: nodes[name] for name in ("n2", "n3")}
        if how.get("note"):
            nodes["n1"].at(900_000).note(how["note"], "warning", **how.get("fields", {}))
        nodes["n2"].at(950_000).note("leader.lost", "warning", leader="n1")
        second = elect(rest, "n2", 1_000_000, 2, ("n2", "n3"))
        write(nodes, tmp_path)
        if how.get("again"):
            again = Made("n1", boot=2).at(3_000_000)
            again.record(START, x=again.run)
            again.write(tmp_path, number=2)
        return measured(tmp_path, lambda r, w, found: explain_ballot(found, second))

    @pytest.mark.parametrize(("note", "fields", "words"), [
        ("fault.crash", {}, "was asked to crash, and did"),
        ("fault.hit", {"fault": "c", "kind": "crash", "on": "n1"},
         "n1 was killed by the fault c (crash on n1)"),
        ("node.stopping", {"reason": "SIGTERM"}, "was stopped at 08:00:00.900: SIGTERM"),
        ("leader.handing_over", {"to": "n2", "reason": "slow disk"}, "handed over to n2"),
        ("leader.stepped_down", {"reason": "no quorum"}, "stepped down at 08:00:00.900: no quorum"),
    ])  # fmt: skip
    def test_what_the_old_leader_said(self, tmp_path, note, fields, words):
        said = self.lost(tmp_path, note=note, fields=fields)
        assert words in said.sentences[0].text
        assert said.sentences[0].evidence == ("n1/1:10",) or said.sentences[0].evidence

    def test_one_that_died_without_a_word(self, tmp_path):
        said = self.lost(tmp_path, again=True)
        assert "died without a word" in said.sentences[0].text
        assert said.sentences[0].evidence == ("n1/2:1",)

    def test_what_nobody_says_is_not_known(self, tmp_path):
        said = self.lost(tmp_path)
        assert "not known, because" in said.sentences[0].text
        assert not said.sentences[0].known


def test_a_slow_disk_of_the_leader_that_nobody_waited_for(tmp_path):
    """The votes of the others were a quorum, and those had slow disks as well."""
    cluster(tmp_path, slots=3, sync_us={"n1": 90_000, "n2": 40_000, "n3": 41_000})
    assert {label for label, _ in labels(tmp_path)} == {"n3's disk"}


@pytest.mark.parametrize(("disk_us", "label"), [
    (5400, "n2: several parts of its vote"), (21_000, "n2's disk"),
])  # fmt: skip
def test_a_disk_that_was_the_longest_part_and_no_half_of_the_wait(tmp_path, disk_us, label):
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    at_us = 200_000
    for slot in range(1, 21):
        at_us = choose(nodes, ballot, slot, at_us, seq=slot) + 150_000
    choose(nodes, ballot, 21, at_us, seq=21, way_us=5300, sync_us={"n2": disk_us, "n3": 60_000})
    write(nodes, tmp_path)
    found, sentence = labels(tmp_path)[0]
    assert found == label, sentence.text
    if disk_us < 10_000:
        assert "no part of that took half of it: the accept was 5.3 ms on its way" in sentence.text
        assert "and 5.3 ms on its way back: its group commit took 5.4 ms" in sentence.text


# -- reads


def reads(path, leader_us=300, follower_us=200, applied_us=50):
    """The leader n1 and n2 have a read each; the leader's round takes ``leader_us``, the answer to
    n2's question ``follower_us``, and what they still had to apply ``applied_us``."""
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)

    def heartbeat(round_):
        return Heartbeat(ballot, "n1", 0, 0, round_, 0)

    n1, n2 = nodes["n1"], nodes["n2"]
    at_us = 1_000_000
    n1.at(at_us - 100).sent("n2", heartbeat(4)).sent("n3", heartbeat(4))
    n1.at(at_us + 40).sent("n2", heartbeat(4))  # it came at ``at_us``: this one is too early
    n1.at(at_us + 100).sent("n2", heartbeat(5)).sent("n3", heartbeat(5))
    n1.at(at_us + 150).received("n2", HeartbeatAck(ballot, 4, 0))
    n1.at(at_us + 100 + leader_us).received("n3", HeartbeatAck(ballot, 5, 0))
    took_us = 100 + leader_us + applied_us
    n1.at(at_us + took_us).record(READ, slot=3, ballot=Ballot(took_us, ""), y=70)
    n2.at(at_us + 20).sent("n1", ReadIndex(9))
    n2.at(at_us + 20 + follower_us).received("n1", ReadIndexReply(9, 3))
    took_us = 20 + follower_us + applied_us
    n2.at(at_us + took_us).record(READ, slot=3, ballot=Ballot(took_us, ""), y=71)
    write(nodes, path)


def test_what_a_read_waited_for(tmp_path):
    reads(tmp_path)
    first, second = measured(tmp_path, lambda *given: slowest_reads(*given, 10))
    assert (first.stages, first.waited_for) == ({"ask": 100, "confirm": 300, "apply": 50}, "n3")
    assert (second.stages, second.waited_for) == ({"ask": 20, "confirm": 200, "apply": 50}, "n1")


@pytest.mark.parametrize(
    ("how", "label"),
    [
        ({"leader_us": 400_000}, "reads confirmed by n3"),
        ({"follower_us": 400_000}, "reads confirmed by n1"),
        ({"applied_us": 400_000}, "n1 was behind"),
    ],
)
def test_the_cause_of_a_slow_read(tmp_path, how, label):
    reads(tmp_path, **how)
    slowest = measured(tmp_path, lambda *given: slowest_reads(*given, 10))[0]
    assert explain_read(slowest, Diagnosis([]))[0] == label


def test_a_read_is_found_by_the_number_that_its_client_names(tmp_path):
    reads(tmp_path)
    story = measured(tmp_path, lambda r, w, found: request_story(r, 0, 71, w, found))
    assert story.sentence() == "read 0/71: answered by n2 as of slot 3 0.27 ms after it came"
    assert [step.took_us for step in read_steps(story.reads[0])] == [20, 200, 50]
    assert not measured(tmp_path, lambda r, w, found: request_story(r, 0, 72, w, found)).is_known
