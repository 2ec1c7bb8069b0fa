"""A violation's story: how things stood, which events it has, the way to see it again."""

import shlex

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.story import Story, chronicle, replay_command, select, standing
from paxosd.sim.campaign.story_words import happened, instructed
from paxosd.sim.nemesis.schedule import VERBS, Directive, Schedule


def rule(at_ms, node="", **args):
    return Directive(at_ms, "fault_add", node, {"name": "r1", "kind": "partition", **args})


class TestStanding:
    def test_who_is_down_and_which_faults_are_in_force(self):
        schedule = Schedule(
            [
                Directive(1000, "crash", "n1", {"power": True}),
                Directive(2000, "pause", "n2"),
                rule(3000, **{"from": "n2", "to": "n3", "oneway": True}),
                Directive(9000, "crash", "n3"),
            ]
        )
        lines = standing(schedule, 8000.0)
        assert lines[:2] == ["n1 is down", "n2 is paused"]
        assert "partition n2 → n3" in lines[2]
        assert len(lines) == 3

    def test_what_ended_is_left_out(self):
        schedule = Schedule(
            [
                Directive(1000, "crash", "n1"),
                Directive(2000, "restart", "n1"),
                rule(3000, for_ms=500),
                rule(3100, "n2", name="r2"),
                Directive(3200, "fault_rm", "n2", {"name": "r2"}),
                Directive(4000, "client_cut", "n2"),
                Directive(4500, "client_heal", "n2"),
            ]
        )
        assert standing(schedule, 5000.0) == []

    def test_healing_ends_everything(self):
        schedule = Schedule([Directive(1, "crash", ""), rule(2), Directive(3, "heal", "")])
        assert standing(schedule, 10.0) == []


EVENTS = [
    {"at": 1.0, "node": "n1", "event": "leader.elected", "leader": "n1", "ballot": "1.n1"},
    {"at": 2.0, "node": "n1", "event": "accept.sent", "slot": 4, "ballot": "1.n1"},
    {"at": 3.0, "node": "n1", "event": "accept.sent", "slot": 5, "ballot": "1.n1"},
    {"at": 4.0, "node": "n2", "event": "accepted.published", "slots": [[3, 5]]},
    {"at": 5.0, "node": "n2", "event": "fsync", "dur_ms": 2},
    {"at": 6.0, "node": "n2", "event": "chosen", "slot": 6},
]


def prepare(at_ms, number):
    ballot = f"{number}.n1"
    return {"at": at_ms, "node": "n1", "event": "prepare.sent", "to": "n2", "ballot": ballot}


class TestSelection:
    def test_only_the_slot_in_question_and_what_moves_all(self):
        kept = select(EVENTS, "one-value: n2 has another value for slot 5 than others")
        assert [each["at"] for each in kept] == [1.0, 3.0, 4.0]

    def test_without_a_slot_every_slot(self):
        kept = select(EVENTS, "liveness: an operation did not end")
        assert [each["at"] for each in kept] == [1.0, 2.0, 3.0, 4.0, 6.0]

    def test_talk_appears_once_and_gives_way_to_what_was_done(self):
        events = [
            {"at": 1.0, "node": "n2", "event": "chosen", "slot": 5, "ballot": "1.n1"},
            *(prepare(2.0 + n, n) for n in range(9)),
            *(prepare(20.0 + n, 8) for n in range(5)),
        ]
        lines, kept = chronicle(events, "one-value: slot 5", lines_max=3)
        assert len(lines) == 3
        assert "learns that slot 5 is chosen" in lines[0]
        assert lines[-1].endswith("asks n2 to promise ballot 8.n1  (6 times)")
        assert kept == 1 + 1 + 6


class TestWords:
    def test_every_verb_has_words(self):
        for verb in sorted(VERBS):
            text = instructed(Directive(1500, verb, "n1", {"name": "x", "kind": "drop"}))
            assert text.startswith("at 1.500 s ")
            assert f": {verb}" not in text, "the fallback was used"

    def test_a_fault_is_named_with_its_scope(self):
        text = instructed(rule(1000, kind="drop", **{"from": "n1", "to": ["n2", "n3"]},
                               probability=0.25, message_kinds=["promise"],
                               for_ms=2000))  # fmt: skip
        assert text == (
            "at 1.000 s every node gets the fault drop n1 → n2,n3 of promise "
            "with probability 0.25 for 2.000 s"
        )

    def test_unknown_events_appear_as_they_are(self):
        assert happened({"at": 1, "node": "n1", "event": "x.y", "a": 1}) == "x.y a=1"


class TestReplay:
    def test_defaults_are_left_out(self):
        assert replay_command(7, RunOptions()) == "paxosctl sim run --seed 7"

    def test_everything_else_is_named(self):
        options = RunOptions(nodes=5, duration_ms=1500, faults=frozenset({"drop", "crash"}),
                             clients=2, operations=10, keys=1)  # fmt: skip
        words = shlex.split(replay_command(7, options))
        assert words[words.index("--nodes") + 1] == "5"
        assert words[words.index("--faults") + 1] == "crash,drop"
        assert words[words.index("--duration") + 1] == "1500ms"
        assert words[words.index("--clients") + 1] == "2"

    def test_no_faults_is_not_all_faults(self):
        assert replay_command(3, RunOptions(members=True)).endswith("--seed 3 --members")
        assert replay_command(3, RunOptions(watchers=0)).endswith("--seed 3 --watchers 0")
        assert replay_command(3, RunOptions(level=0)).endswith("--seed 3 --level 0")
        assert "--faults none" in replay_command(1, RunOptions(faults=frozenset()))


def test_the_whole_story_reads_from_top_to_bottom():
    story = Story(
        seed=7,
        violation="stale-read: key k1",
        replay="paxosctl sim run --seed 7",
        directives=["at 1.000 s n1 is killed, as by kill -9"],
        standing=["n1 is down"],
        events=["   1.200 s  n2   leads"],
        left_out=5,
        directives_before=9,
    )
    text = story.text
    places = [text.index(each) for each in (
        "seed 7 breaks it: stale-read", "Every one of these is needed, of the 9",
        "1. at 1.000 s n1 is killed", "n1 is down", "5 events that matter less",
        "leads", "The checker saw", "paxosctl sim run --seed 7")]  # fmt: skip
    assert places == sorted(places)
