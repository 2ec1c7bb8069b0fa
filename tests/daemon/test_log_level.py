"""The level of the log, changed for a while."""

import io
import json

import pytest

from paxosd.daemon.log_level import FOR_MS_MAX, LogLevel
from paxosd.daemon.logs import Logs


class Clock:
    ms = 0.0


@pytest.fixture
def made():
    """(level, logs, what was traced, clock, the lines so far)."""
    stream, clock, traced = io.StringIO(), Clock(), []
    logs = Logs(node="n1", stream=stream, strict=True)
    level = LogLevel(logs, traced.append, lambda: clock.ms)

    def lines():
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return level, logs, traced, clock, lines


def test_it_goes_back_by_itself(made):
    level, logs, traced, clock, lines = made
    assert level.change("debug", 1000) == {
        **{"level": "debug", "configured": "info"},
        **{"left_ms": 1000},
    }
    clock.ms = 999.0
    level.tick()
    assert logs.debug
    clock.ms = 1000.0
    level.tick()
    assert level.status() == {"level": "info", "configured": "info", "left_ms": 0}
    assert traced == [True, False]
    assert [(line["from"], line["to"], line["for_ms"]) for line in lines()] == [
        ("info", "debug", 1000),
        ("debug", "info", 0),
    ]


def test_the_last_word_counts(made):
    level, logs, _, clock, _ = made
    level.change("debug", 1000)
    level.change("error", 5000)
    clock.ms = 1000.0
    level.tick()
    assert logs.level == "error"
    level.change("info", 60_000)
    assert level.status()["left_ms"] == 0
    clock.ms = 5000.0
    level.tick()
    assert logs.level == "info"


def test_that_it_was_made_quiet_is_said(made):
    level, logs, _, clock, lines = made
    level.change("error", 10)
    logs.logger.warning("node.slow_loop")
    clock.ms = 10.0
    level.tick()
    assert [line["event"] for line in lines()] == ["log.level"] * 2


@pytest.mark.parametrize(
    ("name", "for_ms"), [("loud", 1), ("debug", 0), ("debug", -1), ("debug", FOR_MS_MAX + 1)]
)
def test_what_cannot_be_changes_nothing(made, name, for_ms):
    level, logs, _, _, lines = made
    with pytest.raises(ValueError, match=r"level|for_ms"):
        level.change(name, for_ms)
    assert logs.level == "info"
    assert not lines()


def test_to_ask_changes_nothing(made):
    level, _, _, _, lines = made
    level.change("debug", 1000)
    assert level.change("", 0)["left_ms"] == 1000
    assert len(lines()) == 1
