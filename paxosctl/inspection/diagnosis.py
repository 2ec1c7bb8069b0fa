"""All incidents of a cluster in a window: from the lines of logs, and from what happened."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from paxosctl.inspection.ballot_story import Leadership
from paxosctl.inspection.events import NOTES, ms, note_event, note_fields, note_words
from paxosctl.inspection.faults_seen import SeenFault, faults_of
from paxosctl.inspection.incidents import MACHINE_BUSY, Incident, overlap_us
from paxosctl.inspection.late_receivers import late_receiver
from paxosctl.inspection.link_incidents import Trouble, link_incidents
from paxosctl.inspection.lives import Life, lives_of
from paxosctl.inspection.message_delays import Way, ways_of
from paxosctl.inspection.node_incidents import (
    clock_jumps,
    ends,
    failures,
    slow_disks,
    stands,
    starved,
    wipes,
)
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.slow_causes import SEVERAL_PARTS
from paxosd.recorder.event import Event

LEADERLESS_US_MIN = 300_000
DENSE_WRITES = 5
"""So many answers, in a stretch before a pause that is as long, show that the pause is none of the
clients'."""
REASON_LATE_US = 1_000_000
"""What ended a leader's time may be seen so much later than the last answer: incidents are found in
stretches of half a second."""
REIGN_US = 30_000_000
SLOWING = ("no leader", "still", "cut off", "one-way", "cut link", "disk", "lossy link",
           "slow link", "busy", MACHINE_BUSY)  # fmt: skip
"""What can make a request slow, the plainest first."""
_OF_FAULT = {
    "crash": "died", "torn-write": "died", "pause": "still", "disk-slow": "disk",
    "disk-full": "disk failed", "home-full": "disk failed", "fsync-error": "disk failed",
    "clock-skew": "clock", "delay": "slow link", "reorder": "slow link", "drop": "lossy link",
    "isolate": "cut off",
}  # fmt: skip
"""Kind of fault rule → what it makes."""


@dataclass(slots=True)
class Diagnosis:
    """``incidents``: in the order of time; ``lives`` and ``ways``: from which they follow."""

    incidents: list[Incident]
    lives: list[Life] = field(default_factory=list)
    ways: list[Way] = field(default_factory=list)

    def at(self, event: Event) -> int:
        """When an event was, on the axis."""
        for life in self.lives:
            if life.holds(event):
                return life.at(event)
        return event.wall_us

    def why_replaced(self, old: str, led: Event) -> list[Incident]:
        """Why another node took the lead with ``led`` after ``old``: the plainest reason first."""
        led_us = self.at(led)
        answered = [
            at_us for life in self.lives for event in life.writes
            for at_us in (life.at(event),) if led_us - REIGN_US <= at_us < led_us
        ]  # fmt: skip
        return leader_reasons(
            self.incidents, old, max(answered, default=led_us - 2_000_000), led_us
        )

    def slowed(
        self, request: Event, label: str, late: tuple[Event, Event] | None = None
    ) -> Incident | None:
        """What made an answered request slow whose cause has this label, if that is an incident
        that was there for most of the time that it took. ``late``: the sending and the arrival of
        the message that was waited for, which may be late by its receiver and not by the link."""
        receiver = late_receiver(*late, self.lives, self.ways) if late is not None else None
        named = label if receiver is None else receiver.label
        until_us = self.at(request)
        span = until_us - request.round, until_us
        fitting = [
            each for each in self.incidents
            if each.what in SLOWING and overlap_us(span, [(each.since_us, each.until_us)]) * 2
            >= request.round and (_fits(each, named) if receiver is None or "link" not in each.what
                                  else each.is_noted and _fits(each, label))
        ]  # fmt: skip
        chosen = min(fitting, key=lambda each: SLOWING.index(each.what), default=None)
        if chosen is not None or receiver is not None:
            return chosen or receiver
        if label.endswith("'s disk"):
            return self._starved((label.removesuffix("'s disk"),), span)
        if label.startswith("the link to"):
            return self._starved((label.rsplit(maxsplit=1)[-1], request.node), span)
        if label.endswith(SEVERAL_PARTS):
            return self._starved((label.removesuffix(SEVERAL_PARTS), request.node), span)
        return None

    def _starved(self, nodes: Sequence[str], span: tuple[int, int]) -> Incident | None:
        """A message that was long on its way, or a sync, waited perhaps for a thread that had no
        processor."""
        for node in nodes:
            waited_us = 0
            for life in self.lives:
                if life.node == node:
                    waited_us += sum(
                        each.y for each in life.processor
                        if span[0] < life.at(each) and life.at(each) - each.slot < span[1]
                    )  # fmt: skip
            if waited_us * 4 >= span[1] - span[0]:
                return Incident("busy", node, "", *span, f"{node} waited {ms(waited_us)} for a "
                                "processor about then")  # fmt: skip
        return None

    def during(self, since_us: int, until_us: int) -> list[Incident]:
        """Those that were there at some time between the two."""
        return [each for each in self.incidents if each.overlaps(since_us, until_us)]


def _fits(incident: Incident, label: str) -> bool:
    """Whether it can be behind a cause of this label (``slow_causes.py``)."""
    if incident.what in ("no leader", MACHINE_BUSY):
        return True
    names = {incident.node, incident.peer} - {""}
    named = {word.removesuffix("'s").rstrip(":") for word in label.split()}
    if incident.what == "disk":
        return bool(names & named) and "link" not in label
    return bool(names & named) or label in ("not known", "a change of leader")


def diagnose(recordings: Recordings, window: Window, found: Leadership) -> Diagnosis:
    """Read what there is, and look for everything that can be seen."""
    lives = lives_of(recordings, window)
    _add_notes(lives, found.events)
    ways = ways_of(lives)
    incidents = [*ends(lives), *failures(lives), *wipes(lives), *clock_jumps(lives)]
    still, absent = stands(lives)
    busy = starved(lives)
    trouble = Trouble(absent={node: list(spans) for node, spans in absent.items()})
    for each in incidents:
        if each.what in ("died", "ended", "wiped", "disk failed"):
            trouble.absent.setdefault(each.node, []).append(
                (each.since_us - 250_000, each.until_us)
            )
    for each in busy:
        span = each.since_us, each.until_us
        if each.what == MACHINE_BUSY:
            trouble.all_busy.append(span)
        else:
            trouble.busy.setdefault(each.node, []).append(span)
    incidents += [*still, *busy, *slow_disks(lives, {
        life.node: absent.get(life.node, []) + trouble.busy.get(life.node, []) + trouble.all_busy
        for life in lives
    })]  # fmt: skip
    incidents += link_incidents(ways, trouble)
    incidents = _joined(incidents)
    incidents += _noted(lives, found)
    incidents += _leaderless(lives, found, incidents)
    return Diagnosis(sorted(incidents, key=lambda each: (each.since_us, each.until_us)), lives,
                     ways)  # fmt: skip


def _add_notes(lives: Sequence[Life], events: Sequence[Event]) -> None:
    """Lines of the log belong to the life in which they were written."""
    for event in events:
        if event.kind not in NOTES:
            continue
        for life in lives:
            if (event.node == life.node and event.boot_count == life.first.boot_count
                    and life.first.mono_us - 5_000_000 <= event.mono_us
                    and event.mono_us <= life.last.mono_us + 5_000_000):  # fmt: skip
                life.notes.append(event)
                break


def _joined(incidents: list[Incident]) -> list[Incident]:
    """The same, again within two seconds, is one."""
    found: list[Incident] = []
    for each in sorted(incidents, key=lambda one: one.since_us):
        before = next((one for one in reversed(found) if (one.what, one.node, one.peer)
                       == (each.what, each.node, each.peer)), None)  # fmt: skip
        if before is None or each.since_us > before.until_us + 2_000_000 or each.what in (
            "died", "ended", "still", "clock",
        ):  # fmt: skip
            found.append(each)
            continue
        found[found.index(before)] = Incident(
            before.what, before.node, before.peer, before.since_us,
            max(before.until_us, each.until_us), before.words,
            (*before.evidence, *each.evidence), before.is_noted,
        )  # fmt: skip
    return found


def _noted(lives: Sequence[Life], found: Leadership) -> list[Incident]:
    """Fault rules, as the nodes logged them, and changes of the membership."""
    shift = {id(event): life.at(event) - event.wall_us for life in lives for event in life.notes}
    incidents: list[Incident] = []
    end_us = max((life.last_us for life in lives), default=0)
    seen: set[tuple[str, str, str, int]] = set()
    for fault in faults_of(found.events):
        what, node, peer = _of_fault(fault)
        if not what or (fault.hit is None and what not in ("cut off", "one-way", "cut link")):
            continue
        begun = fault.hit or fault.begun
        since_us = begun.wall_us + shift.get(id(begun), 0)
        key = what, node, peer, since_us // 2_000_000
        if key in seen:
            continue
        seen.add(key)
        incidents.append(Incident(what, node, peer, since_us, min(fault.until_us, end_us),
                                  fault.sentence(), (begun,), True))  # fmt: skip
    for event in found.events:
        if note_event(event) == "member.changed" and event.node == _first(lives, event):
            at_us = event.wall_us + shift.get(id(event), 0)
            incidents.append(Incident("members", "", "", at_us, at_us,
                                      f"the membership changed: {note_words(event)}", (event,))
                                  )  # fmt: skip
    return incidents


def _first(lives: Sequence[Life], event: Event) -> str:
    """The node whose lines of that name are shown."""
    return min((life.node for life in lives for note in life.notes
                if note_event(note) == note_event(event)), default=event.node)  # fmt: skip


def _of_fault(fault: SeenFault) -> tuple[str, str, str]:
    fields = note_fields((fault.hit or fault.begun).text)
    if fault.is_request:
        return "died", fault.node, ""
    if fault.kind in ("partition", "flap"):
        one_way = bool(fields.get("oneway"))
        return ("one-way" if one_way else "cut link",
                str(fields.get("from", "*")), str(fields.get("to", "*")))  # fmt: skip
    what = _OF_FAULT.get(fault.kind, "")
    if "link" in what:
        return what, str(fields.get("from", "*")), str(fields.get("to", "*"))
    on = str(fields.get("on", ""))
    return what, on if what == "cut off" and on else fault.node, ""


# -- no leader


def _leaderless(
    lives: Sequence[Life], found: Leadership, incidents: Sequence[Incident]
) -> list[Incident]:
    """Times without an answered write before another leader was there, and why."""
    at = {id(event): life.at(event) for life in lives for event in life.notes}
    answered = sorted(life.at(event) for life in lives for event in life.writes)
    said: list[Incident] = []
    old, began = "", None
    unseen_until_us = 0
    for ballot in found.ballots():
        led = found.led(ballot)
        if led is None:
            continue
        led_us = at.get(id(led), led.wall_us)
        if began is not None and not any(life.node == old and life.holds(began) for life in lives):
            unseen_until_us = led_us  # what it answered is recorded nowhere else
        before, old, began = old, ballot.node, led
        earlier = [each for each in answered if unseen_until_us <= each < led_us]
        if not before or not earlier or led_us - earlier[-1] < LEADERLESS_US_MIN:
            continue
        reasons = leader_reasons(incidents, before, earlier[-1], led_us)
        since_us = _waited_since_us(earlier, reasons, led_us)
        if led_us - since_us < LEADERLESS_US_MIN:
            continue
        why = f", because {reasons[0].sentence()}" if reasons else "; why is not known"
        said.append(Incident("no leader", "", "", since_us, led_us,
                             f"no write was answered until {ballot.node} led"
                             f" {ms(led_us - since_us)} later{why}",
                             (led, *(reasons[0].evidence if reasons else ()))))  # fmt: skip
    return said


def _waited_since_us(answered: Sequence[int], reasons: Sequence[Incident], led_us: int) -> int:
    """From when on writes waited for another leader. Where they had come one after the other, from
    the last answer on, if what ended the old leader's time began about then; else nobody may have
    asked for anything before its end."""
    last_us = answered[-1]
    dense = bisect_left(answered, last_us - (led_us - last_us))
    ended_us = reasons[0].since_us if reasons else 0
    if len(answered) - dense >= DENSE_WRITES and ended_us <= last_us + REASON_LATE_US:
        return last_us
    return max(last_us, ended_us) if reasons else led_us


_ENDS_REIGN = ("died", "wiped", "ended", "disk failed", "still", "cut off", "one-way", "cut link",
               "lossy link", "slow link", "disk", "busy", MACHINE_BUSY)  # fmt: skip
"""What can end a leader's time, the plainest reason first."""


def leader_reasons(
    incidents: Sequence[Incident], old: str, since_us: int, led_us: int
) -> list[Incident]:
    """Why ``old``, which led at ``since_us``, was replaced by ``led_us``: the plainest first."""
    found = [
        each for each in incidents
        if each.what in _ENDS_REIGN and each.overlaps(since_us - 700_000, led_us)
        and (each.concerns(old) or each.what == MACHINE_BUSY) and each.since_us < led_us
    ]  # fmt: skip
    return sorted(found, key=lambda each: (_ENDS_REIGN.index(each.what), each.since_us))
