"""What is drawn, before it is drawn: events, arrows, their fates, causes, who led, what is cut."""

import json
from itertools import pairwise

import pytest

from paxosctl.diagram.arrows import ARRIVED, DOWN_FATE, LATER, LOST, OPEN, UNSENT_FATE
from paxosctl.diagram.diagram import diagram_of
from paxosctl.diagram.gathering import Wanted
from paxosctl.diagram.page_data import page_data
from paxosctl.inspection.events import ACCEPT, ACCEPTED, MESSAGES, NAMES, note_event
from paxosctl.inspection.recordings import Window, measure_clocks, opened
from paxosd.core.messages import Accept
from paxosd.core.types import Ballot
from paxosd.recorder.event import (
    APPLIED,
    PROMISED,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    UNSENT,
    VOTED,
    WRITE,
)
from paxosd.recorder.messages import record_message
from tests.ctl.inspection.made import Made, beat, begin, choose, elect, healthy, trio


def draw(path, window=None, **wanted):
    with opened([str(path)]) as recordings:
        window = window or Window()
        measure_clocks(recordings, window)
        return diagram_of(recordings, window, Wanted(**wanted))


def write(nodes, path):
    for node in nodes.values():
        node.write(path)


def keep_recording(nodes, ballot, until_us):
    """Heartbeats, so that it is known that all are there, and a slot to compare clocks by."""
    choose(nodes, ballot, 100, 250_000)
    for at_us in range(300_000, until_us, 100_000):
        beat(nodes, ballot, at_us)


def fates(diagram, kind=None):
    found = {}
    for arrow in diagram.arrows:
        event = diagram.events[arrow.source]
        if kind is None or event.kind == kind:
            found.setdefault(arrow.fate, []).append((event.node, arrow.receiver))
    return found


def past(diagram, place):
    """All that an event follows from, over arrows and rules."""
    sources = {}
    for arrow in diagram.arrows:
        if arrow.target is not None:
            sources.setdefault(arrow.target, []).append(arrow.source)
    reached, waiting = set(), [place]
    while waiting:
        here = waiting.pop()
        for cause in (*diagram.causes[here], *sources.get(here, ())):
            assert cause < here, "what is later is no cause"
            if cause not in reached:
                reached.add(cause)
                waiting.append(cause)
    return [diagram.events[each] for each in sorted(reached)]


def find(diagram, kind, **fields):
    return [
        place for place, event in enumerate(diagram.events)
        if event.kind == kind and all(getattr(event, k) == v for k, v in fields.items())
    ]  # fmt: skip


class TestArrows:
    def test_every_message_of_a_healthy_run_arrives_and_none_goes_back(self, tmp_path):
        healthy(tmp_path, slots=5, n2=7_000_000)
        diagram = draw(tmp_path)
        assert set(fates(diagram)) == {ARRIVED}
        assert len(diagram.arrows) == 4 * 2 + 5 * (2 + 6), "an election, then accepts and votes"
        for arrow in diagram.arrows:
            assert diagram.columns[arrow.source] < diagram.columns[arrow.target]
            assert diagram.events[arrow.source].node != diagram.events[arrow.target].node
        lanes = {}
        for event, column in zip(diagram.events, diagram.columns, strict=True):
            lanes.setdefault(event.node, []).append(column)
        assert all(a <= b for columns in lanes.values() for a, b in pairwise(columns))

    def test_a_message_that_never_came_while_the_receiver_recorded_is_lost(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000, lost=("n3",))
        keep_recording(nodes, ballot, 2_000_000)
        write(nodes, tmp_path)
        found = fates(draw(tmp_path))
        assert sorted(found[LOST]) == [("n1", "n3"), ("n1", "n3"), ("n2", "n3")]

    def test_without_a_recording_of_the_receiver_nothing_is_lost(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000, lost=("n3",))
        write(nodes, tmp_path)
        assert LOST not in fates(draw(tmp_path)), "its recording ends too early to say so"

    def test_where_the_clock_of_the_receiver_is_not_known_nothing_is_lost(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = Ballot(1, "n1")
        for at_us in range(100_000, 3_000_000, 100_000):
            beat(nodes, ballot, at_us)
        nodes["n1"].at(1_000_000).sent("n3", Accept(ballot, 9, b"v", 8))
        write({"n1": nodes["n1"], "n3": nodes["n3"]}, tmp_path)
        assert set(fates(draw(tmp_path), ACCEPT)) == {OPEN}

    def test_of_a_node_that_is_cut_off_all_along_the_clock_is_known_from_before(self, tmp_path):
        nodes = trio(n3=900_000)
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 2_000_000)
        for at_us in range(2_500_000, 14_000_000, 500_000):
            beat(nodes, ballot, at_us)
        for slot in range(2, 6):
            choose(nodes, ballot, slot, 10_000_000 + slot * 10_000, lost=("n3",))
        write(nodes, tmp_path)
        begin_us = draw(tmp_path).events[0].wall_us
        diagram = draw(tmp_path, Window(begin_us + 9_000_000))
        assert fates(diagram, ACCEPT)[LOST] == [("n1", "n3")] * 4

    def test_a_node_that_was_down_loses_nothing(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 150_000)
        for at_us in range(200_000, 3_000_000, 100_000):
            beat({n: nodes[n] for n in (("n1", "n2", "n3") if at_us < 1_000_000 else ("n1", "n2"))},
                 ballot, at_us)  # fmt: skip
        nodes["n1"].at(2_000_000).sent("n3", Accept(ballot, 9, b"v", 8))
        write(nodes, tmp_path)
        again = Made("n3", boot=2, mono_us=3_000_000)
        again.at(4_000_000).record(START, x=again.run)
        again.note("node.recovered")
        again.write(tmp_path, 2)
        diagram = draw(tmp_path)
        assert fates(diagram, ACCEPT)[DOWN_FATE] == [("n1", "n3")]
        assert LOST not in fates(diagram)
        starts = [gap for gap in diagram.gaps if gap[0] is None]
        (gap,) = [gap for gap in diagram.gaps if gap[0] is not None]
        assert len(starts) == 3
        assert [diagram.events[place].boot_count for place in gap] == [1, 2]

    def test_what_arrives_after_the_window_is_not_lost(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000)
        keep_recording(nodes, ballot, 2_000_000)
        write(nodes, tmp_path)
        whole = draw(tmp_path)
        sending = next(whole.events[place] for place in find(whole, ACCEPT, code=SENT))
        diagram = draw(tmp_path, Window(0, sending.wall_us + 50))
        assert set(fates(diagram, ACCEPT)) == {LATER}

    @pytest.mark.parametrize(("sent", "came"), [
        ([0, 10], [20, 30]), ([0, 10], [20]), ([0], [10, 20]), ([0, 20], [10, 30]),
    ])  # fmt: skip
    def test_repeats_that_say_the_same(self, tmp_path, sent, came):
        nodes = trio()
        begin(nodes)
        message = Accept(Ballot(1, "n1"), 5, b"v", 4)
        for at_ms in sent:
            nodes["n1"].at(100_000 + at_ms * 1000).sent("n2", message)
        for at_ms in came:
            nodes["n2"].at(100_000 + at_ms * 1000).received("n1", message)
        write(nodes, tmp_path)
        diagram = draw(tmp_path)
        sendings, arrivals = find(diagram, ACCEPT, code=SENT), find(diagram, ACCEPT, code=RECEIVED)
        pairs = [(sendings.index(a.source), arrivals.index(a.target))
                 for a in diagram.arrows if a.target is not None]  # fmt: skip
        expected = {
            (2, 2): [(0, 0), (1, 1)], (2, 1): [(1, 0)], (1, 2): [(0, 0), (0, 1)],
        }[len(sent), len(came)]  # fmt: skip
        assert sorted(pairs) == expected
        assert sum(a.is_repeat for a in diagram.arrows) == (len(came) > len(sent))
        assert sum(a.fate == OPEN for a in diagram.arrows) == max(0, len(sent) - len(came))

    def test_what_its_connection_did_not_take_is_not_lost(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        message = Accept(ballot, 50, b"v", 49)
        nodes["n1"].at(200_000).sent("n3", message)
        record_message(nodes["n1"].recorder, "n3", UNSENT, message)
        nodes["n1"].at(210_000).sent("n3", message)
        keep_recording(nodes, ballot, 2_000_000)
        write(nodes, tmp_path)
        diagram = draw(tmp_path)
        (refused,) = [arrow for arrow in diagram.arrows if arrow.fate == UNSENT_FATE]
        (lost,) = [arrow for arrow in diagram.arrows if arrow.fate == LOST]
        assert refused.source < lost.source
        assert diagram.events[refused.source].slot == 50

    def test_of_a_sending_that_may_be_what_came_again_nothing_is_said(self, tmp_path):
        """The clocks put the second arrival a little before the second sending."""
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        message = Accept(ballot, 50, b"v", 49)
        nodes["n1"].at(200_000).sent("n3", message)
        nodes["n3"].at(201_000).received("n1", message)
        nodes["n3"].at(209_900).received("n1", message)
        nodes["n1"].at(210_000).sent("n3", message)
        keep_recording(nodes, ballot, 2_000_000)
        write(nodes, tmp_path)
        diagram = draw(tmp_path)
        own = [a for a in diagram.arrows if diagram.events[a.source].slot == 50]
        assert [(a.fate, a.is_repeat) for a in own] == [
            (ARRIVED, False), (ARRIVED, True), (OPEN, False)]  # fmt: skip
        assert own[0].target < own[1].target

    def test_a_fault_is_named_where_its_rule_fits(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        nodes["n3"].at(150_000).note("fault.added", "warning", fault="cut", kind="partition",
                                     **{"from": "n1", "to": "n3", "oneway": True})  # fmt: skip
        choose(nodes, ballot, 1, 200_000, lost=("n3",))
        keep_recording(nodes, ballot, 2_000_000)
        write(nodes, tmp_path)
        diagram = draw(tmp_path)
        lost = {(diagram.events[a.source].node, a.receiver): a.fault
                for a in diagram.arrows if a.fate == LOST}  # fmt: skip
        assert lost == {("n1", "n3"): "cut", ("n2", "n3"): ""}
        assert diagram.faults == ["cut on n3: partition from n1 to n3"]


class TestCauses:
    def test_an_answer_follows_from_accepts_votes_and_the_promises_of_its_leader(self, tmp_path):
        healthy(tmp_path)
        diagram = draw(tmp_path)
        answered = find(diagram, WRITE, slot=2)[0]
        causes = past(diagram, answered)
        kinds = {NAMES[event.kind] for event in causes}
        assert {"applied", "accepted", "synced", "voted", "accept", "promise", "promised",
                "prepare", "prevote", "note"} <= kinds  # fmt: skip
        slots = {event.slot for event in causes if event.kind in (VOTED, ACCEPT, APPLIED)}
        assert slots == {2}, "of no other slot"
        promised = {event.node for event in causes if event.kind == PROMISED}
        assert promised == {"n1", "n2", "n3"}

    def test_nothing_of_before_a_restart_is_a_cause(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000)
        write(nodes, tmp_path)
        again = Made("n2", boot=2, mono_us=2_000_000)
        again.at(1_000_000).record(START, x=again.run)
        again.at(1_100_000).sync(1, 200).record(APPLIED, slot=1, ballot=ballot)
        again.write(tmp_path, 2)
        diagram = draw(tmp_path)
        place = find(diagram, APPLIED, boot_count=2)[0]
        assert diagram.causes[place] == ()

    def test_a_group_commit_covers_what_came_before_it_began(self, tmp_path):
        nodes = trio()
        node, ballot = nodes["n2"], Ballot(1, "n1")
        node.at(0).record(START, x=node.run)
        for slot, at_us in ((1, 1000), (2, 1300)):
            node.at(at_us).record(VOTED, slot=slot, ballot=ballot, y=7)
        node.at(1500).sync(1, 500).at(2000).sync(2, 500)
        node.write(tmp_path)
        diagram = draw(tmp_path)
        covered = [[diagram.events[each].slot for each in diagram.causes[place]]
                   for place in find(diagram, SYNCED)]  # fmt: skip
        assert covered == [[1], [2]]

    def test_a_vote_is_published_because_it_is_durable(self, tmp_path):
        healthy(tmp_path, slots=1)
        diagram = draw(tmp_path)
        place = next(p for p in find(diagram, ACCEPTED, node="n2") if diagram.events[p].code == 3)
        assert {diagram.events[each].kind for each in diagram.causes[place]} == {VOTED, SYNCED}


class TestReigns:
    def test_who_led_from_the_log_and_without_it_from_its_accepts(self, tmp_path):
        nodes = trio()
        begin(nodes)
        first = elect(nodes, "n1", 100_000)
        choose(nodes, first, 1, 200_000)
        nodes["n1"].at(300_000).note("leader.stepped_down", "warning", ballot=first.shown())
        second = elect(nodes, "n2", 400_000, round_=2, from_slot=2)
        choose(nodes, second, 2, 500_000)
        write(nodes, tmp_path)
        diagram = draw(tmp_path)
        assert [(r.node, r.ballot, r.last is None) for r in diagram.reigns] == [
            ("n1", first, False), ("n2", second, True)]  # fmt: skip
        without = draw(tmp_path, kinds=("accept", "voted"))
        assert [(r.node, r.ballot) for r in without.reigns] == [("n1", first), ("n2", second)]

    def test_a_reign_ends_with_its_run(self, tmp_path):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        choose(nodes, ballot, 1, 200_000)
        write(nodes, tmp_path)
        again = Made("n1", boot=2, mono_us=1_000_000)
        line = json.loads(again.at(900_000).line("node.starting", "info", 1))
        (tmp_path / "n1.log").write_text(json.dumps(line | {"boot_count": None}) + "\n")
        again.at(1_000_000).record(START, x=again.run)
        again.write(tmp_path, 2)
        diagram = draw(tmp_path)
        (reign,) = diagram.reigns
        assert diagram.events[reign.last].boot_count == 1


class TestWhatIsLeftOut:
    def test_the_last_events_or_the_first_and_it_says_so(self, tmp_path):
        healthy(tmp_path, slots=20)
        whole = draw(tmp_path)
        assert not whole.is_cut
        assert all("only the" not in words for words in whole.left_out)
        last = draw(tmp_path, events_max=50)
        first = draw(tmp_path, events_max=50, from_start=True)
        assert last.is_cut
        assert first.is_cut
        assert [e.id for e in last.events] == [e.id for e in whole.events[-50:]]
        assert [e.id for e in first.events] == [e.id for e in whole.events[:50]]
        assert "only the last 50 events are drawn: what came before" in last.left_out[0]
        assert "--slots" in last.left_out[0]
        assert "what came after" in first.left_out[0]

    def test_the_end_of_a_large_recording_is_found_in_steps(self, tmp_path, monkeypatch):
        nodes = trio()
        begin(nodes)
        ballot = elect(nodes, "n1", 100_000)
        for slot in range(1, 40):
            choose(nodes, ballot, slot, 1_000_000 * slot)
            for node in nodes.values():
                node.write(tmp_path)
        monkeypatch.setattr("paxosctl.diagram.gathering.SMALL_BYTES", 0)
        whole = draw(tmp_path)
        assert find(whole, START)
        last = draw(tmp_path, events_max=100)
        assert [e.id for e in last.events] == [e.id for e in whole.events[-100:]]

    def test_slots_come_with_what_explains_them_and_no_other_slot(self, tmp_path):
        nodes = trio()
        begin(nodes)
        first = elect(nodes, "n1", 100_000)
        choose(nodes, first, 1, 200_000)
        choose(nodes, first, 2, 300_000, lost=("n2", "n3"))
        second = elect(nodes, "n2", 400_000, round_=2, from_slot=2)
        choose(nodes, second, 2, 500_000)
        choose(nodes, second, 3, 600_000)
        write(nodes, tmp_path)
        diagram = draw(tmp_path, slots=((2, 2),))
        slots = {e.slot for e in diagram.events if e.kind in (ACCEPT, ACCEPTED, VOTED, APPLIED)}
        assert slots == {2}
        assert any(e.kind == MESSAGES["prepare"] and e.round == 2 for e in diagram.events)
        assert not any(e.kind == MESSAGES["prepare"] and e.round == 1 for e in diagram.events)
        assert any(note_event(e) == "leader.elected" for e in diagram.events)
        votes = len([p for p in find(diagram, ACCEPTED) if diagram.events[p].code == 3])
        assert len(find(diagram, SYNCED)) == votes, "of the syncs those of its votes"


def test_the_data_of_the_page_has_all_of_it(tmp_path):
    healthy(tmp_path)
    diagram = draw(tmp_path)
    data = json.loads(json.dumps(page_data(diagram, "a title")))
    events, arrows = data["events"], data["arrows"]
    count = len(diagram.events)
    assert {len(column) for column in events.values()} == {count}
    assert {len(column) for column in arrows.values()} == {len(diagram.arrows)}
    for place, event in enumerate(diagram.events):
        assert data["nodes"][events["n"][place]] == event.node
        assert data["kinds"][events["k"][place]] == NAMES[event.kind]
        assert events["i"][place].startswith(f"{event.node}/1:")
        assert events["t"][place] >= 0
    assert events["c"] == sorted(events["c"]), "the page counts on it"
    pairs = list(zip(data["causes"][::2], data["causes"][1::2], strict=True))
    assert pairs == [(i, c) for i, causes in enumerate(diagram.causes) for c in causes]
    assert data["ballots"] == ["1.n1"]
    assert data["reigns"][0][3] == 0
