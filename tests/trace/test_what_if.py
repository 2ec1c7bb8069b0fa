"""Recorded nodes that go on in the simulator from a point of their run."""

import json

import pytest

from paxosctl.cli.main import run
from paxosctl.tracing.trace_files import find_traces
from paxosctl.tracing.what_if import ask_what_if
from paxosd.core.acceptor import Acceptor
from paxosd.core.quorum import Quorums
from paxosd.sim.what_if.question import Fault, Question, QuestionError, parse_question
from paxosd.sim.what_if.run import WhatIf
from tests.trace.recorded import SHORT, record

SLOT = 25


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The traces of a run without faults."""
    directory = tmp_path_factory.mktemp("calm")
    record(directory, 5, faults=frozenset(), **SHORT)
    return directory


def ask(directory, text, seed=1, duration_ms=3000):
    return ask_what_if(find_traces([directory]), text, seed, duration_ms)


class TestQuestion:
    @pytest.mark.parametrize(
        ("text", "question"),
        [
            ("crash n2 at slot 812", Question((Fault("crash", ("n2",)),), 812, 0, "")),
            ("cut n1  n3 at slot 4 of n1", Question((Fault("cut", ("n1", "n3")),), 4, 0, "n1")),
            ("lose 30% from turn 7 of n2", Question((Fault("lose", share=0.3),), 0, 7, "n2")),
            (
                "pause n1 for 5s, isolate n2 at the end",
                Question((Fault("pause", ("n1",), 5000), Fault("isolate", ("n2",))), 0, 0, ""),
            ),
        ],
    )
    def test_what_it_means(self, text, question):
        assert parse_question(text) == question

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("kill n1 at slot 3", "is no fault"),
            ("crash n1", "a question is such as"),
            ("crash n1 at turn 3", "of which node"),
            ("crash n1 at slot 0", "numbered from 1"),
            ("crash n1 for ever at slot 1", "is not a duration"),
            ("crash n1 for 0s at slot 1", "above 0"),
            ("cut n1 n1 at slot 1", "two nodes are needed"),
            ("lose 101% at slot 1", "100% is all of them"),
            ("", "a question is such as"),
        ],
    )
    def test_what_is_none(self, text, words):
        with pytest.raises(QuestionError, match=words):
            parse_question(text)


class TestAnswer:
    def test_the_leader_crashes(self, calm):
        before = ask(calm, "at the end".join(["lose 0% ", ""]))
        leader = before.leader_before
        report = ask(calm, f"crash {leader} at slot {SLOT}")
        assert report.violation == ""
        assert f"slot {SLOT} applied" in report.point
        assert report.leader_before == leader
        assert report.leader not in ("", leader)
        assert report.leaders[-1][1] == report.leader
        assert report.acknowledged > 10
        assert report.nodes[leader]["state"] == "down"

    def test_it_starts_again_on_its_own_disk(self, calm):
        report = ask(calm, f"crash n1 for 1s at slot {SLOT}")
        assert report.violation == ""
        assert report.nodes["n1"]["applied"] >= SLOT + report.acknowledged / 2

    def test_without_a_majority_nothing_is_acknowledged(self, calm):
        report = ask(calm, f"crash n1, crash n2 at slot {SLOT}")
        assert report.violation == ""
        assert (report.acknowledged, report.chosen) == (0, 0)

    def test_the_same_seed_gives_the_same_answer(self, calm):
        text = f"lose 30% from slot {SLOT}"
        assert ask(calm, text) == ask(calm, text)
        assert ask(calm, text) != ask(calm, text, seed=2)

    def test_a_mutated_program_is_found_out(self, calm, monkeypatch):
        """From the point on: promises that are not written down, and a quorum of one."""
        inflict, receive_prepare = WhatIf._inflict, Acceptor.receive_prepare

        def mutate(self):
            monkeypatch.setattr(
                Acceptor, "receive_prepare",
                lambda self, *given: receive_prepare(self, *given[:-1], []),
            )  # fmt: skip
            monkeypatch.setattr(Quorums, "phase2_met", lambda self, mask: mask.bit_count() >= 1)
            inflict(self)

        monkeypatch.setattr(WhatIf, "_inflict", mutate)
        report = ask(calm, f"lose 50% from slot {SLOT}")
        assert report.violation.startswith(("quorum", "one-value", "promise"))

    def test_a_node_that_crashes_twice_starts_once(self, calm):
        report = ask(calm, f"crash n1 for 1s, crash n1 for 2s at slot {SLOT}")
        assert report.violation == ""
        assert report.nodes["n1"]["state"] != "down"

    def test_on_the_command_line(self, calm, capsys):
        question = f"crash n1 at slot {SLOT}"
        command = ["trace", "replay", str(calm), "--what-if", question, "--for", "3s"]
        assert run([*command, "--seed", "7", "-o", "json"]) == 0
        answer = json.loads(capsys.readouterr().out)["what_if"]
        assert answer["question"] == question
        assert "--seed 7" in answer["again"]
        assert run(["trace", "replay", str(calm), "--what-if", "crash n9 at slot 3"]) == 2
        assert "n9 has no trace among these; there are n1, n2, n3" in capsys.readouterr().err
        assert run(["trace", "replay", str(calm), "--what-if", ""]) == 2
        assert run(["trace", "replay", str(calm), "--what-if", question, "--show"]) == 2
        assert run(["trace", "replay", str(calm), "--seed", "1"]) == 2
        assert run(["trace", "replay", str(calm), "--what-if", "crash n1 at slot 99999"]) == 2
        assert "the traces end before that" in capsys.readouterr().err
