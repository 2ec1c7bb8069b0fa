"""The stories of slots, ballots, requests and keys, on recordings made by hand."""

import pytest

from paxosctl.inspection.ballot_story import ballot_story, leadership
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosctl.inspection.request_story import key_story, request_story
from paxosctl.inspection.slot_steps import voter_of
from paxosctl.inspection.slot_story import slot_story
from paxosd.core.commands import DELETE_RANGE, PUT, Entry
from paxosd.core.messages import Accepted, Decisions
from paxosd.core.types import Ballot
from paxosd.recorder.event import APPLIED, MEMBER, VOTED
from paxosd.storage.wal_format import ACCEPT, HEADER_BYTES, GroupBuilder, SegmentHeader
from paxosd.wire.entry import encode_batch, encode_entry
from tests.ctl.inspection.made import begin, choose, elect, healthy, trio


def read(path, make, window=None):
    with opened([str(path)]) as recordings:
        window = window or Window()
        measure_clocks(recordings, window)
        return make(recordings, window)


def slot_of(path, slot):
    return read(path, lambda r, w: slot_story(r, slot, w, leadership(r)))


def write(nodes, path):
    for node in nodes.values():
        node.write(path)


class TestSlot:
    def test_by_whose_votes_as_the_leader_saw_it(self, tmp_path):
        nodes = trio(n2=300_000)
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000, sync_us={"n1": 3000, "n2": 40_000, "n3": 900})
        write(nodes, tmp_path)
        story = slot_of(tmp_path, 1)
        assert [voter_of(vote) for vote in story.chosen_by] == ["n3", "n1"]
        assert story.ballot == ballot
        assert story.value_bytes == 5
        assert "by the votes of n3 and n1 (2 of 3 needed), 3.2 ms after" in story.sentence()
        durable = {s.event.node: s.took_us for s in story.steps if "durable" in s.what}
        assert durable == {"n1": 3000, "n2": 40_000, "n3": 900}
        came = [s.took_us for s in story.steps if s.what == "accept received from n1"]
        assert all(abs(took - 200) < 150 for took in came), "by corrected clocks"

    @pytest.mark.parametrize(("group", "took_us"), [(5, 3000), (6, 700), (0, 700)])
    def test_the_group_commit_that_a_vote_names_is_its_own(self, tmp_path, group, took_us):
        """0: of a version that did not say; then it is the last one before."""
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        voter = nodes["n2"].at(200_000)
        voter.record(VOTED, slot=1, ballot=ballot, x=group, y=5 << 32)
        voter.at(204_000).sync(5, 3000).sync(6, 700)
        voter.at(205_000).published(Accepted(ballot, ((1, 1),), 1))
        write(nodes, tmp_path)
        story = slot_of(tmp_path, 1)
        assert story.synced["n2"].x == took_us
        (step,) = [each for each in story.steps if "durable" in each.what]
        assert step.what == f"vote durable (fsync of group {group or 6})"

    def test_without_the_leaders_recording_whoever_learned_it_says_so(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000)
        for name in ("n2", "n3"):
            nodes[name].write(tmp_path)
        story = slot_of(tmp_path, 1)
        assert not story.why_not
        assert {vote.node for vote in story.chosen_by} == {"n2"}
        assert story.proposed is None
        assert "after it was proposed" not in story.sentence()

    def test_votes_of_a_learner_do_not_count(self, tmp_path):
        nodes = trio()
        begin(nodes)
        for node in nodes.values():
            for name in nodes:
                node.record(MEMBER, peer=name, code=int(name != "n3"), slot=1,
                            y=2 | 2 << 32)  # fmt: skip
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000, sync_us={"n2": 9000, "n3": 100})
        write(nodes, tmp_path)
        story = slot_of(tmp_path, 1)
        assert story.quorum.recorded
        assert {voter_of(vote) for vote in story.chosen_by} == {"n1", "n2"}

    def test_what_is_missing_is_said(self, tmp_path):
        nodes = trio()
        begin(nodes)
        nodes["n3"].at(200_000).received("n1", Decisions(4, ((Ballot(1, "n1"), b"x"),), 4))
        nodes["n3"].record(APPLIED, slot=4, ballot=Ballot(1, "n1"), y=1 << 32)
        write(nodes, tmp_path)
        story = slot_of(tmp_path, 4)
        assert not story.chosen_by
        assert "not known, because n3 learned it from n1" in story.sentence()
        assert not slot_of(tmp_path, 5).is_known

    def test_a_slot_that_no_quorum_voted_for(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000, lost=("n2", "n3"))
        write(nodes, tmp_path)
        assert "it may be open" in slot_of(tmp_path, 1).sentence()


class TestBallot:
    def test_who_promised_and_what_came_before_and_after(self, tmp_path):
        nodes = trio()
        begin(nodes)
        elect(nodes, "n1", 100_000)
        nodes["n1"].at(900_000).note("fault.crash", "warning")
        nodes["n2"].at(950_000).note("leader.lost", "warning", leader="n1")
        second = elect({n: nodes[n] for n in ("n2", "n3")}, "n2", 1_000_000, 2, ("n2", "n3"))
        write(nodes, tmp_path)
        found = read(tmp_path, lambda r, w: leadership(r))
        assert [each.shown() for each in found.ballots()] == ["1.n1", "2.n2"]
        story = ballot_story(found, second)
        assert [event.peer or event.node for event in story.promises] == ["n2", "n3"]
        before = [event.text for event in story.before]
        assert "fault.crash" in before[0]
        assert "leader.lost" in before[1]
        first = ballot_story(found, Ballot(1, "n1"))
        assert first.next_ballot == second
        assert ["fault.crash" in event.text for event in first.ended] == [True]

    def test_one_that_never_led(self, tmp_path):
        healthy(tmp_path)
        story = ballot_story(read(tmp_path, lambda r, w: leadership(r)), Ballot(9, "n3"))
        assert not story.is_known


def make_log(data_dir, node, values):
    """A write-ahead log with these votes: (slot, ballot, value)."""
    header = SegmentHeader(1, b"12345678", 1 << 16, "c1", node)
    group = GroupBuilder(header, 1, HEADER_BYTES)
    for slot, ballot, value in values:
        group.add_value(ACCEPT, slot, ballot, value)
    group.finish()
    where = data_dir / node / "wal"
    where.mkdir(parents=True, exist_ok=True)
    body = header.encode() + b"".join(bytes(each) for each in group.buffers)
    (where / header.name).write_bytes(body.ljust(1 << 16, b"\0"))


def value_of(session, seq, *commands):
    return encode_batch(1_800_000_000_200, [encode_entry(Entry(session, seq, 0, list(commands)))])


@pytest.fixture
def logged(tmp_path):
    ballot = Ballot(1, "n1")
    nodes = trio()
    begin(nodes)
    elect(nodes, "n1", 100_000)
    values = [
        (1, ballot, value_of(7, 1, [PUT, b"a", b"one"], [PUT, b"b", b"x"])),
        (2, ballot, value_of(7, 3, [PUT, b"a", b"two"])),
        (3, ballot, value_of(8, 1, [DELETE_RANGE, b"", b""])),
    ]
    for slot, _, value in values:
        session, seq, count = {1: (7, 1, 2), 2: (7, 3, 1), 3: (8, 1, 1)}[slot]
        at_us = 200_000 * slot
        choose(nodes, ballot, slot, at_us, session=session, seq=seq, count=count, value=value)
    write(nodes, tmp_path)
    make_log(tmp_path, "n1", values)
    make_log(tmp_path, "n2", values[:2])
    return tmp_path


class TestRequestAndKey:
    def test_a_request_is_found_by_any_of_its_commands(self, logged):
        story = read(logged, lambda r, w: request_story(r, 7, 2, w, leadership(r)))
        assert "written in slot 1, answered by n1" in story.sentence()
        assert story.commands[0].key == b"b"
        assert [each.slot for each in story.slots] == [1]
        assert not read(logged, lambda r, w: request_story(r, 7, 9, w, leadership(r))).is_known

    def test_one_that_nobody_answered_is_found_in_the_log(self, logged):
        values = [(4, Ballot(1, "n1"), value_of(9, 5, [PUT, b"c", b"y"]))]
        make_log(logged, "n3", values)
        story = read(logged, lambda r, w: request_story(r, 9, 5, w, leadership(r)))
        assert "proposed in slot 4, of which no node recorded that it was applied" in (
            story.sentence()
        )

    def test_the_changes_of_a_key(self, logged):
        story = read(logged, lambda r, w: key_story(r, b"a", w))
        assert [(c.slot, c.op, c.value) for c in story.changes] == [
            (1, "put", b"one"), (2, "put", b"two"), (3, "delete range", None),
        ]  # fmt: skip
        assert story.changes[0].nodes == ("n1", "n2")
        assert story.answers[7, 3].slot == 2
        assert (story.first_slot, story.last_slot) == (1, 3)

    def test_the_value_of_the_highest_ballot_counts(self, logged):
        late = [(2, Ballot(2, "n3"), value_of(7, 3, [PUT, b"other", b"z"]))]
        make_log(logged, "n3", late)
        story = read(logged, lambda r, w: key_story(r, b"a", w))
        assert [c.slot for c in story.changes] == [1, 3]
