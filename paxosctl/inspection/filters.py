"""Which events are wanted, and from when until when."""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from paxosctl.inspection.events import MESSAGES, NAMES, NOTES, RUNS, has_ballot, note_fields
from paxosctl.inspection.events import concerns_slot as concerns
from paxosctl.inspection.recorded_files import END_US
from paxosctl.inspection.recordings import Window
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.host.log_levels import LEVELS
from paxosd.recorder.block import Keep, Row
from paxosd.recorder.event import Event

_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9](?:\.[0-9]{1,6})?))?")


class TimeError(ValueError):
    """A text that is no time; the message is for people."""


def parse_time_us(text: str, near_us: int) -> int:
    """``2026-11-29T12:00:00``, or ``12:00:05.25`` of the day of ``near_us``; in UTC if the text has
    no zone. Raises TimeError."""
    match = _CLOCK_TIME.fullmatch(text)
    try:
        if match is not None:
            day = datetime.fromtimestamp(near_us / 1_000_000, UTC).replace(
                hour=0, minute=0, second=0, microsecond=0
            )
            moment = day + timedelta(
                hours=int(match[1]), minutes=int(match[2]), seconds=float(match[3] or 0)
            )
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise TimeError(
            f'"{text}" is no time, such as 12:00:05.25 or 2026-11-29T12:00:05 (UTC)'
        ) from error


def window_of(
    since: str | None, until: str | None, last_ms: int | None, first_us: int, last_us: int
) -> Window:
    """The window that options ask for. ``last_ms``: of what is recorded, not until now, for a
    recording may be old. Raises TimeError."""
    begin = parse_time_us(since, last_us) if since is not None else 0
    end = parse_time_us(until, last_us) if until is not None else END_US
    if last_ms is not None:
        begin = max(begin, min(last_us, end) - last_ms * 1000)
    if begin > end:
        raise TimeError("the window is empty: it begins after its end")
    return Window(begin, end)


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty or None: everything. ``slots``: ranges in order that do not overlap (``merged``), both
    ends included. ``level``: the lowest of the log lines."""

    kinds: Collection[str] = ()
    nodes: Collection[str] = ()
    slots: Sequence[tuple[int, int]] | None = None
    ballot: Ballot = NULL_BALLOT
    level: str = "debug"

    @property
    def is_open(self) -> bool:
        """Whether it takes every event."""
        return not self.kinds and not self.nodes and self.slots is None and not self.ballot.round

    def keep(self) -> Keep | None:
        """Which rows are worth unpacking, at a small cost each; None: all."""
        numbers = {number for number, name in NAMES.items() if name in self.kinds}
        slots = self.slots
        if slots is None and not self.kinds:
            return None

        def wanted(row: Row) -> bool:
            kind = row[1]
            if self.kinds and kind not in numbers:
                return False
            if slots is None:
                return True
            last = max(row[5], row[7]) if kind in RUNS else row[5]
            place = bisect_right(slots, (last, END_US)) - 1
            return place >= 0 and slots[place][1] >= row[5]

        return wanted

    def takes(self, event: Event) -> bool:
        """Whether this event is wanted."""
        if self.nodes and event.node not in self.nodes:
            return False
        if event.kind in NOTES:
            if self.slots is not None or self.ballot.round:
                return self._named_in(event)
            return (not self.kinds or _is_note_of(event, self.kinds)) and self._is_loud(event)
        if self.kinds and NAMES.get(event.kind) not in self.kinds:
            return False
        if self.ballot.round and not (
            has_ballot(event.kind)
            and (event.round, event.voter) == (self.ballot.round, self.ballot.node)
        ):
            return False
        return self.slots is None or self._in_slots(event)

    def _in_slots(self, event: Event) -> bool:
        """Whether it is about one of the slots; these may be many, those of a key."""
        assert self.slots is not None
        last = max(event.slot, event.x) if event.kind in RUNS else event.slot
        place = bisect_right(self.slots, (last, END_US)) - 1
        return place >= 0 and concerns(event, *self.slots[place])

    def _is_loud(self, event: Event) -> bool:
        level = str(note_fields(event.text).get("level", "info"))
        return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(self.level)

    def _named_in(self, event: Event) -> bool:
        """Whether a line of the log names the ballot or a slot that is asked for."""
        if self.kinds and not _is_note_of(event, self.kinds):
            return False
        fields = note_fields(event.text)
        if self.ballot.round and fields.get("ballot") != self.ballot.shown():
            return False
        slot = fields.get("slot")
        return self.slots is None or (
            isinstance(slot, int) and any(first <= slot <= last for first, last in self.slots)
        )


def _is_note_of(event: Event, kinds: Collection[str]) -> bool:
    """``note`` stands for all lines, ``leader.elected`` for those of that name."""
    return "note" in kinds or str(note_fields(event.text).get("event", "")) in kinds


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same slots as ranges in order that do not overlap."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def is_kind(text: str) -> bool:
    """Whether ``--kind`` takes it: a kind of event, or the name of a log event."""
    return (
        text in MESSAGES or text in NAMES.values() or bool(re.fullmatch(r"[a-z]+\.[a-z_]+", text))
    )
