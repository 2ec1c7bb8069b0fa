"""What an event is called, and what it says, for people and for programs.

An event is a :class:`paxosd.recorder.event.Event`. Lines of JSON logs have that form, too, with the
kind LINE: their number counts the lines of a process, and their name has a ``#``: ``n1/3#17``.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from paxosd.core.types import Ballot
from paxosd.recorder.event import (
    ADOPTED,
    APPLIED,
    CODE_NAMES,
    COUNT_BIT,
    INSTALLED,
    KIND_NAMES,
    MEMBER,
    NOTE,
    OUTCOMES,
    PARTIAL_BIT,
    PROCESSOR,
    PROMISED,
    READ,
    START,
    SUM,
    SYNCED,
    VOTED,
    WRITE,
    Event,
)
from paxosd.wire import PEER_KIND_NAMES, PEER_KINDS

LINE = 256
"""The kind of a line of a JSON log. No recorded event has it: theirs have 8 bits."""
MESSAGES: Mapping[str, int] = MappingProxyType(
    {PEER_KIND_NAMES[kind]: number for kind, number in PEER_KINDS.items()}
)
"""Name of a message → its number."""
NAMES: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in MESSAGES.items()} | KIND_NAMES | {LINE: "note"}
)
KINDS = tuple(dict.fromkeys(NAMES.values()))
"""What ``--kind`` takes."""
NOTES = (NOTE, LINE)
ACCEPT, ACCEPTED, VOTES = MESSAGES["accept"], MESSAGES["accepted"], MESSAGES["votes"]
DECISIONS = MESSAGES["decisions"]
RUNS = frozenset((ACCEPTED, VOTES, DECISIONS))
"""Kinds that are about the slots from ``slot`` to ``x``."""
_NO_BALLOT = frozenset((WRITE, READ, SYNCED, NOTE, LINE, MEMBER, SUM, INSTALLED,
                        PROCESSOR))  # fmt: skip
_SLOTTED = frozenset((ACCEPT, VOTED, APPLIED, ADOPTED, WRITE))
OUTCOME_NAMES: Mapping[int, str] = MappingProxyType(
    {number: name for name, number in OUTCOMES.items()} | {0: "ok"}
)
_COUNT_MASK = (1 << PARTIAL_BIT) - 1
SEQ_MASK = (1 << COUNT_BIT) - 1


def event_id(event: Event) -> str:
    """Its name: ``n1/3:4711``, or ``n1/3#17`` for a line of a log."""
    if event.kind == LINE:
        return f"{event.node}/{event.boot_count or '?'}#{event.seq}"
    return event.id


def ballot_of(event: Event) -> Ballot:
    """The ballot of an event whose kind has one."""
    return Ballot(event.round, event.voter)


def has_ballot(kind: int) -> bool:
    """Whether ``round`` and ``voter`` are a ballot in events of this kind."""
    return kind not in _NO_BALLOT


def concerns_slot(event: Event, first: int, last: int) -> bool:
    """Whether it is about one of these slots."""
    if event.kind in RUNS:
        return event.slot <= last and max(event.slot, event.x) >= first
    return event.kind in _SLOTTED and first <= event.slot <= last


def seqs_of(event: Event) -> tuple[int, int]:
    """The numbers of the first and the last command of a WRITE."""
    first = event.y & SEQ_MASK
    return first, first + max(1, event.y >> COUNT_BIT) - 1


@lru_cache(maxsize=4096)
def note_fields(text: str) -> Mapping[str, Any]:
    """The fields of a line; {} if it is damaged."""
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def note_event(event: Event) -> str:
    """The name of the log event in a note; "" for any other event."""
    return str(note_fields(event.text).get("event", "")) if event.kind in NOTES else ""


_NOTE_HEAD = frozenset(("ts", "level", "event", "node", "boot_count", "seq", "mono_ns"))


def note_words(event: Event) -> str:
    """``leader.elected leader=n2 ballot=2.n2``."""
    fields = note_fields(event.text)
    if not fields:
        return event.text
    rest = [f"{name}={_word(value)}" for name, value in fields.items() if name not in _NOTE_HEAD]
    level = str(fields.get("level", ""))
    loud = f"{level}: " if level not in ("info", "debug", "") else ""
    return " ".join([f"{loud}{fields.get('event', '?')}", *rest])


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value if value and " " not in value else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value) or "-"
    return "{…}" if isinstance(value, dict) and value else json.dumps(value, ensure_ascii=False)


def slots_words(first: int, last: int) -> str:
    """``slot 7``, or ``slots 7..9``."""
    return f"slot {first}" if last <= first else f"slots {first}..{last}"


def headline(event: Event) -> str:
    """What happened, without to and from whom: ``accept sent``, ``voted``."""
    name = NAMES.get(event.kind, f"kind {event.kind}")
    if event.code in CODE_NAMES and event.kind in MESSAGES.values():
        return f"{name} {CODE_NAMES[event.code]}"
    return name


def detail(event: Event) -> str:
    """What else an event says, in a few words."""
    kind = event.kind
    if kind in NOTES:
        return note_words(event)
    return _DETAILS.get(kind, _plain)(event)


def _plain(event: Event) -> str:
    ballot = ballot_of(event)
    parts = [ballot.shown()] if ballot.round else []
    if event.slot:
        parts.append(f"slot {event.slot}")
    return " ".join(parts)


def _with_ballot(words: str, event: Event) -> str:
    return f"{ballot_of(event).shown()} {words}".strip()


def _value(event: Event) -> str:
    return f"{event.y >> 32} B" if event.y else "no-op"


def ms(us: float) -> str:
    """Microseconds as milliseconds, with as many digits as say something."""
    value = us / 1000
    return f"{value:.0f} ms" if abs(value) >= 100 else f"{value:.1f} ms" if abs(value) >= 1 else (
        f"{value:.2f} ms"
    )  # fmt: skip


def _write(event: Event) -> str:
    ending = OUTCOME_NAMES.get(event.code, "refused")
    where = f"slot {event.slot} " if event.slot else ""
    return f"{where}{request_name(event)} {ending} after {ms(event.round)}"


def request_name(event: Event) -> str:
    """``request 7/12`` or ``request 7/12..15`` of a WRITE; ``read 0/12`` of a READ."""
    if event.kind == READ:
        return f"read 0/{event.y}" if event.y else "a read"
    if not event.x:
        return "request outside of sessions"
    first, last = seqs_of(event)
    return f"request {event.x}/{first}" if first == last else f"request {event.x}/{first}..{last}"


_DETAILS: Mapping[int, Callable[[Event], str]] = {
    MESSAGES["prevote"]: lambda e: _with_ballot(f"commit {e.slot}", e),
    MESSAGES["prevote_reply"]: lambda e: _with_ballot("granted" if e.x else "not granted", e),
    MESSAGES["prepare"]: lambda e: _with_ballot(f"from slot {e.slot}", e),
    MESSAGES["promise"]: lambda e: _with_ballot(
        f"from slot {e.slot}, {e.y & _COUNT_MASK} accepted, commit {e.x}", e
    ),
    ACCEPT: lambda e: _with_ballot(f"slot {e.slot} {_value(e)}", e),
    MESSAGES["nack"]: lambda e: _with_ballot(f"for round {e.x} is promised", e),
    ACCEPTED: lambda e: _with_ballot(slots_words(e.slot, e.x), e),
    VOTES: lambda e: _with_ballot(slots_words(e.slot, e.x), e),
    MESSAGES["heartbeat"]: lambda e: _with_ballot(f"commit {e.slot}", e) if e.round else "",
    MESSAGES["heartbeat_ack"]: lambda e: _with_ballot(f"commit {e.slot}", e),
    MESSAGES["catchup"]: lambda e: slots_words(e.slot, e.x),
    DECISIONS: lambda e: slots_words(e.slot, e.x),
    MESSAGES["read_index"]: lambda e: "",
    MESSAGES["read_index_reply"]: lambda e: f"slot {e.slot}",
    START: lambda e: f"promised {ballot_of(e).shown()}, applied {e.slot}",
    INSTALLED: lambda e: f"snapshot up to slot {e.slot}",
    MEMBER: lambda e: (
        f"{e.peer} {'votes' if e.code else 'learns'}, epoch {e.round} from slot {e.slot}"
    ),
    SUM: lambda e: f"of the state after slot {e.slot}",
    PROCESSOR: lambda e: f"in {ms(e.slot)} it ran {ms(e.x)} and waited {ms(e.y)}",
    WRITE: _write,
    READ: lambda e: (
        f"{f'0/{e.y} ' if e.y else ''}applied {e.slot} {OUTCOME_NAMES.get(e.code, 'refused')} "
        f"after {ms(e.round)}"
    ),
    SYNCED: lambda e: f"group {e.slot}, {e.y} records, {e.round} B in {ms(e.x)}",
    APPLIED: lambda e: _with_ballot(f"slot {e.slot} {_value(e)}", e),
    ADOPTED: lambda e: _with_ballot(f"slot {e.slot} {_value(e)}", e),
    PROMISED: lambda e: _with_ballot("", e),
    VOTED: lambda e: _with_ballot(f"slot {e.slot} {_value(e)}", e),
}


def event_data(event: Event) -> dict[str, Any]:
    """An event for programs: ``wall_us`` is corrected if it was given so."""
    data: dict[str, Any] = {
        "id": event_id(event),
        "node": event.node,
        "time_us": event.wall_us,
        "kind": NAMES.get(event.kind, str(event.kind)),
        "what": CODE_NAMES.get(event.code) if event.kind in MESSAGES.values() else None,
        "peer": event.peer or None,
        "ballot": None,
        "slot": event.slot or None,
        "last_slot": event.x if event.kind in RUNS else None,
        "detail": detail(event),
        "fields": {},
    }
    if has_ballot(event.kind) and event.round:
        data["ballot"] = ballot_of(event).shown()
    if event.kind in NOTES:
        data["fields"] = dict(note_fields(event.text))
        data["slot"] = None
    if event.kind == WRITE:
        first, last = seqs_of(event)
        data["fields"] = {"session": event.x, "first_seq": first, "last_seq": last,
                          "took_us": event.round,
                          "ending": OUTCOME_NAMES.get(event.code, "refused")}  # fmt: skip
    if event.kind == READ:
        data["fields"] = {"session": 0, "first_seq": event.y, "last_seq": event.y,
                          "took_us": event.round,
                          "ending": OUTCOME_NAMES.get(event.code, "refused")}  # fmt: skip
    if event.kind == PROCESSOR:
        data["slot"] = None
        data["fields"] = {"since_us": event.slot, "ran_us": event.x, "waited_us": event.y}
    if event.kind == SYNCED:
        data["slot"] = None
        data["fields"] = {"group": event.slot, "bytes": event.round, "took_us": event.x,
                          "records": event.y}  # fmt: skip
    return data
