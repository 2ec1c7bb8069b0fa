"""docs/LOGS.md is what the source says, and names what each event has."""

from tests.log_events import ON_EVERY_LINE, PAGE, collect, page


def test_the_page_is_what_the_source_says():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.log_events"


def test_every_event_has_a_level():
    without = [event for event, (levels, _, _) in collect().items() if not levels]
    assert not without, "name its level and fields in tests/log_events.py: MORE"


def test_what_people_look_for_is_at_info_or_above():
    levels = {event: found[0] for event, found in collect().items()}
    for event in ("leader.elected", "leader.lost", "leader.stepped_down", "election.started",
                  "leader.handing_over", "member.down", "member.up", "member.changed", "fault.hit",
                  "fault.added", "fault.healed", "node.waiting", "node.confirmed",
                  "node.memory_lost", "slow_request", "storage.slow"):  # fmt: skip
        assert "debug" not in levels[event], event


def test_no_field_of_an_event_takes_the_place_of_one_that_every_line_has():
    """The number of a request once stood where each line has its own number."""
    taken = {
        event: set(ON_EVERY_LINE) & {*everywhere, *some}
        for event, (_, everywhere, some) in collect().items()
    }
    assert not {event: fields for event, fields in taken.items() if fields}
