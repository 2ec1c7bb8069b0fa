"""How stories and timelines look to people."""

from itertools import pairwise

import pytest

from paxosctl.cli.tables import cell_width
from paxosctl.inspection.ballot_story import ballot_story, leadership
from paxosctl.inspection.clock_offsets import Offset, Offsets
from paxosctl.inspection.diagnosis import diagnose
from paxosctl.inspection.explanation import explain_slow
from paxosctl.inspection.folding import Folding, folded
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosctl.inspection.request_story import key_story
from paxosctl.inspection.request_times import request_times
from paxosctl.inspection.slot_story import slot_stories, slot_story
from paxosctl.inspection.story_views import ballot_view, key_view, slot_view
from paxosctl.inspection.timeline_view import TimelineText
from paxosd.core.commands import PUT
from paxosd.core.messages import Accept, Prepare
from paxosd.recorder.event import UNSENT
from paxosd.recorder.messages import record_message
from tests.ctl.inspection.made import beat, begin, choose, elect, trio
from tests.ctl.inspection.test_stories import make_log, read, value_of, write

RULE = {"fault": "molasses", "kind": "disk-slow", "on": "n2", "ms": 40}


def texts(path, width):
    with opened([str(path)]) as recordings:
        measure_clocks(recordings, Window())
        text = TimelineText(width, False, 2)
        return [each for line in folded(recordings.events()) for each in text.lines(line)]


class TestTimeline:
    @pytest.mark.parametrize("width", [*range(60, 140, 7), 80])
    def test_no_line_is_wider_than_the_terminal(self, tmp_path, width):
        nodes = trio()
        begin(nodes)
        for length in range(60):
            fields = {f"f{n}": "y" * (n % 7) for n in range(length % 20)}
            said = {"x" * (1 + length % 30): 1, **fields}
            nodes["n1"].at(1000 * length).note("fault.added", "warning", **said)
        write(nodes, tmp_path)
        lines = texts(tmp_path, width)
        assert len(lines) > 60
        assert [each for each in lines if cell_width(each) > width] == []

    def test_what_is_counted_of_a_node_comes_with_its_end(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        beat(nodes, ballot, 200_000)
        nodes["n3"].at(300_000).note("node.stopped", exit_code=0)
        nodes["n1"].at(400_000).note("node.stopped", exit_code=0)
        write(nodes, tmp_path)
        kinds = [(each.split()[1], each.split()[2]) for each in texts(tmp_path, None)]
        assert kinds.index(("n3", "…")) < kinds.index(("n1", "node.stopped"))


class TestFolding:
    """What comes a part at a time, as ``log tail -f`` has it."""

    def shown(self, tmp_path, *, background, note=False):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        for at_us in range(200_000, 4_200_000, 50_000):
            beat(nodes, ballot, at_us)
        if note:
            nodes["n1"].at(4_300_000).note("node.stopped", exit_code=0)
        write(nodes, tmp_path)
        with opened([str(tmp_path)]) as recordings:
            measure_clocks(recordings, Window())
            events = list(recordings.events())
        folding = Folding(background=background)
        lines = []
        for at in range(0, len(events), 40):
            lines += [*folding.lines(events[at : at + 40]), *folding.pause()]
        return lines, [each for each in lines if each.what == "…"]

    def test_what_is_counted_goes_on_over_the_parts(self, tmp_path):
        _, counted = self.shown(tmp_path, background=True)
        for name in ("n1", "n2", "n3"):
            times = [each.time_us for each in counted if each.node == name]
            assert len(times) >= 3
            assert all(after - before >= 900_000 for before, after in pairwise(times))

    def test_an_idle_cluster_has_no_lines_without_it(self, tmp_path):
        lines, counted = self.shown(tmp_path, background=False, note=True)
        assert counted == []
        assert lines[-1].words.startswith("node.stopped"), "and what happens comes at once"


class TestClocks:
    def test_none_is_ahead_by_nothing(self):
        offsets = Offsets("n1", {"n1": Offset(0, 0), "n2": Offset(-30, 400)})
        assert offsets.sentences(["n1", "n2"]) == ["n2 is level with n1 (± 0.4 ms)"]


class TestWhatCouldNotBeSent:
    def test_it_is_not_said_to_have_been_sent(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000, lost=("n3",))
        first = nodes["n1"]
        again = Accept(ballot, 1, b"value", 0)
        for message in (again, Prepare(ballot, 1)):
            first.at(210_000).sent("n3", message)
            record_message(first.recorder, "n3", UNSENT, message)
        first.at(220_000).sent("n3", again)
        write(nodes, tmp_path)
        words = "could not be handed to the connection to n3"
        story = read(tmp_path, lambda r, w: slot_story(r, 1, w, leadership(r)))
        shown = [row[2] for row in slot_view(story).rows if "n3" in row[2]]
        assert shown == ["accept sent to n3", f"accept {words}", "accept sent again to n3"]
        assert len(slot_view(story).data["steps"]) == len(slot_view(story).rows) + 1
        story = read(tmp_path, lambda r, w: ballot_story(leadership(r), ballot))
        rows = ballot_view(story).rows
        shown = [row[2] for row in rows if "n3" in row[2] and "prepare" in row[2]]
        assert [each.partition(":")[0] for each in shown] == [
            "prepare sent to n3", f"prepare {words}",
        ]  # fmt: skip


def test_what_all_nodes_say_alike_is_said_once(tmp_path):
    nodes = trio()
    begin(nodes)
    for node in nodes.values():
        node.at(50_000).note("fault.added", "warning", **RULE)
    ballot = elect(nodes, "n1", 100_000)
    choose(nodes, ballot, 1, 200_000)
    write(nodes, tmp_path)
    line = "n1, n2, n3: warning: fault.added fault=molasses kind=disk-slow on=n2 ms=40"
    story = read(tmp_path, lambda r, w: slot_story(r, 1, w, leadership(r)))
    assert f"near it: {line}" in slot_view(story).notes
    story = read(tmp_path, lambda r, w: ballot_story(leadership(r), ballot))
    assert f"before it: {line}" in ballot_view(story).notes
    assert len(ballot_view(story).data["before"]) == 3


def test_a_fault_is_named_once_though_it_was_seen_as_well(tmp_path):
    nodes = trio()
    begin(nodes)
    ballot = elect(nodes, "n1", 100_000)
    for slot in range(1, 60):
        if slot == 20:
            nodes["n2"].at(200_000 * slot - 1000).note("fault.added", "warning", **RULE)
            nodes["n2"].note("fault.hit", "warning", **RULE)
        took = 40_000 if slot >= 20 else 500
        choose(nodes, ballot, slot, 200_000 * slot, sync_us={"n2": took, "n3": took + 60_000})
    write(nodes, tmp_path)

    def explained(recordings, window):
        found = leadership(recordings)
        diagnosis = diagnose(recordings, window, found)
        request = request_times(recordings, window, found).slowest[0]
        slot = request.write.slot
        story = slot_stories(recordings, [slot], window, found)[slot]
        return explain_slow(request, story, found, diagnosis)[1].text

    assert read(tmp_path, explained).count("molasses") == 1


@pytest.mark.parametrize(("first", "said"), [(1, False), (5, True)])
def test_older_changes_are_spoken_of_only_where_the_log_begins_later(tmp_path, first, said):
    ballot = elect(nodes := trio(), "n1", 100_000)
    write(nodes, tmp_path)
    make_log(tmp_path, "n1", [(first, ballot, value_of(7, 1, [PUT, b"a", b"one"]))])
    story = read(tmp_path, lambda r, w: key_story(r, b"a", w))
    assert ("older changes" in key_view(story).notes[-1]) is said
