"""The timed part of ``fault run`` on a machine without time: every fault's end is reported, and
what there was no time for is, too."""

from types import SimpleNamespace

import pytest

from paxosctl.faultrun import timeline
from paxosctl.faultrun.plan import load_script

PLAN = """
duration = "600ms"
[[fault]]
at = "100ms"
kind = "drop"
for = "200ms"
[[fault]]
at = "400ms"
kind = "delay"
ms = 5
"""


class Clock:
    """Time passes while somebody sleeps, a millisecond at least, and while nodes are asked."""

    def __init__(self):
        self.now_s = 50.0

    def monotonic(self):
        return self.now_s

    def sleep(self, duration_s):
        self.now_s += max(0.001, duration_s)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the plan where each look at the nodes takes so long; what was said."""

    def go(survey_s):
        clock, said = Clock(), []

        def survey(_client):
            clock.sleep(survey_s)
            return []

        monkeypatch.setattr(timeline, "time", clock)
        monkeypatch.setattr(timeline, "survey", survey)
        monkeypatch.setattr(timeline, "add_everywhere", lambda *_: {})
        monkeypatch.setattr(timeline, "ask_all", lambda *_: {})
        (tmp_path / "plan.toml").write_text(PLAN)
        made = timeline.Timeline(
            SimpleNamespace(timeout_s=1.0),
            load_script(tmp_path / "plan.toml", None, None),
            lambda _at_s, words: said.append(words),
        )
        made.run(lambda: None)
        made.heal()
        return said, made.happened

    return go


def test_each_fault_begins_and_is_over(run):
    said, happened = run(0.0)
    assert [words.split(" ")[0] for words in said] == ["drop:", "drop:", "delay:", "delay:"]
    assert [words for words in said if "over" in words] == [
        "drop: over, 0 hits", "delay: over, 0 hits",
    ]  # fmt: skip
    assert [each.note for each in happened] == ["", ""]


def test_on_a_machine_without_time_what_was_not_done_is_said(run):
    """The look at the nodes before the first fault takes longer than the plan."""
    said, happened = run(0.7)
    assert "drop: over, 0 hits" in said, "the end of the plan ended it"
    assert "delay: not done: the time of the plan was over" in said
    assert [(each.name, each.note != "") for each in happened] == [("drop", False), ("delay", True)]
