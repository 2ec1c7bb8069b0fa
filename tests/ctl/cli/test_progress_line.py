"""The line on the terminal while something long goes on, and who does not see it."""

import click
import pytest

from paxosctl.cli import progress_line
from paxosctl.cli.app import Settings
from paxosctl.cli.progress_line import is_wanted, progress, work_progress


class Line:
    """Stands for the line on the terminal."""

    shown = ()
    now_s = 0.0
    ended = 0

    def passed_s(self):
        return Line.now_s

    def show(self, words):
        Line.shown = (*Line.shown, words)

    def end(self):
        Line.ended += 1


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setattr(progress_line, "_Line", Line)
    monkeypatch.setattr(progress_line, "can_draw", lambda: True)
    Line.shown, Line.now_s, Line.ended = (), 0.0, 0
    return Line


def test_what_is_short_shows_nothing(line):
    with work_progress() as step:
        line.now_s = progress_line.QUIET_S - 0.1
        step("verifying", 1, 2)
    assert (line.shown, line.ended) == ((), 1)


def test_each_kind_of_work_has_its_own_time(line):
    with work_progress() as step:
        step("fetching", 0, 4 << 20)
        line.now_s = 30.0
        step("fetching", 1 << 20, 4 << 20)
        step("verifying", 0, 4 << 20)
        line.now_s = 40.0
        step("verifying", 2 << 20, 4 << 20)
        step("the node takes a snapshot", 0, 0)
    assert line.shown == (
        "fetching: 1.0 MiB of 4.0 MiB, 25 %, 90 s left",
        "verifying: 0 B of 4.0 MiB",
        "verifying: 2.0 MiB of 4.0 MiB, 50 %, 10 s left",
        "the node takes a snapshot",
    )


def test_a_rate_of_commands(line):
    with progress("importing", lambda: 0.25) as step:
        line.now_s = 30.0
        step(60)
    assert line.shown == ("importing: 60 in 30 s, 2 a second, 25%, 90 s left",)


@pytest.mark.parametrize(
    ("settings", "terminal", "wanted"),
    [
        (Settings(), True, True),
        (Settings(), False, False),
        (Settings(output="plain"), True, True),
        (Settings(output="json"), True, False),
        (Settings(quiet=True), True, False),
    ],
)
def test_only_a_person_who_waits_sees_it(line, monkeypatch, settings, terminal, wanted):
    monkeypatch.setattr(progress_line, "can_draw", lambda: terminal)
    line.now_s = 60.0
    with click.Context(click.Command("export"), obj=settings):
        assert is_wanted() == wanted
        with work_progress() as step, progress("exporting") as more:
            step("verifying", 1, 2)
            more(1)
    assert bool(line.shown) == wanted
