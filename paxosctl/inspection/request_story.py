"""What became of one request, and of the changes of one key.

A linearizable read is no command of a session: its name is 0/REQUEST_ID.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from paxosctl.inspection.ballot_story import Leadership
from paxosctl.inspection.blame import blame
from paxosctl.inspection.chosen_values import read_chosen
from paxosctl.inspection.events import OUTCOME_NAMES, ms, request_name, seqs_of
from paxosctl.inspection.read_times import ReadTime, find_reads
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.replayed_log import Replay, replay
from paxosctl.inspection.slot_story import SlotStory, slot_stories
from paxosctl.inspection.timeline_view import iso_time
from paxosctl.inspection.wal_entries import (
    LoggedCommand,
    LoggedValue,
    client_words,
    commands_of,
    logged_values,
)
from paxosd.core.commands import LEASE_EXPIRED, REVOKE
from paxosd.recorder.block import Row
from paxosd.recorder.event import APPLIED, WRITE, Event


@dataclass(slots=True)
class RequestStory:
    """``answers``: of all nodes, refusals too; ``commands``: what the logs have of it; ``slots``:
    the stories of those in which it stands; ``no_logs``: whether no log was given."""

    session: int
    seq: int
    answers: list[Event] = field(default_factory=list)
    commands: list[LoggedCommand] = field(default_factory=list)
    slots: list[SlotStory] = field(default_factory=list)
    no_logs: bool = False
    client: str | None = None
    why_nameless: str = ""
    reads: list[ReadTime] = field(default_factory=list)
    """Of a read: how each node that was asked came to its answer."""

    def author(self) -> str:
        """Who asked for it, and when it was proposed, as the log has it; "" if it does not."""
        if not self.commands:
            return ""
        when = iso_time(self.commands[0].stamp_ms * 1000)[:23]
        nobody = f"a client that is not known, because {self.why_nameless}"
        who = client_words(self.client) if self.client else nobody
        return f"asked for by {who}; proposed at {when}Z by the clock of its leader"

    @property
    def is_known(self) -> bool:
        """Whether anything is recorded of it."""
        return bool(self.answers or self.commands)

    def sentence(self) -> str:
        """What became of it."""
        if self.reads:
            return "; ".join(_read_words(each.answer) for each in self.reads)
        name = f"request {self.session}/{self.seq}"
        good = [event for event in self.answers if not event.code]
        if good:
            first = good[0]
            return (f"{name}: written in slot {first.slot}, answered by {first.node} "
                    f"{ms(first.round)} after it came")  # fmt: skip
        applied = [story for story in self.slots if story.applied]
        if applied:
            return (f"{name}: written in slot {applied[0].slot}, and no answer to it is recorded: "
                    "its leader lost its place, or died, before it could give one")  # fmt: skip
        if self.commands:
            return (f"{name}: proposed in slot {self.commands[0].slot}, of which no node recorded "
                    "that it was applied: ask `paxosctl outcome` what became of it")  # fmt: skip
        if self.answers:
            last = self.answers[-1]
            why = OUTCOME_NAMES.get(last.code, "another reason")
            return f"{name}: refused by {last.node} ({why}), and no node recorded it as written"
        if not self.session:
            return (f"{name}: nothing is recorded of it: no node among the sources answered or "
                    "refused a read of that number")  # fmt: skip
        where = "" if not self.no_logs else "; no write-ahead log was among the sources"
        return f"{name}: nothing is recorded of it{where}"


def _read_words(answer: Event) -> str:
    how = f"answered by {answer.node} as of slot {answer.slot}"
    if answer.code:
        how = f"refused by {answer.node} ({OUTCOME_NAMES.get(answer.code, 'another reason')})"
    return f"{request_name(answer)}: {how} {ms(answer.round)} after it came"


def request_story(
    recordings: Recordings, session: int, seq: int, window: Window, found: Leadership
) -> RequestStory:
    """Read what there is of one request."""
    story = RequestStory(session, seq, no_logs=not recordings.sources.wals)
    if not session:
        story.reads = find_reads(recordings, window, seq, found)
        story.answers = [each.answer for each in story.reads]
        if story.reads:
            return story

    def keep(row: Row) -> bool:
        return row[1] == WRITE and row[7] == session

    for event in recordings.events(window, keep):
        if event.kind == WRITE:
            first, last = seqs_of(event)
            if first <= seq <= last:
                story.answers.append(event)
    logged = commands_of(_values(recordings))
    story.commands = [each for each in logged if each.session == session and each.seq == seq]
    names = session_names(recordings)
    story.client, story.why_nameless = names.client(session), names.why_nameless(session)
    slots = {event.slot for event in story.answers if not event.code}
    slots |= {each.slot for each in story.commands}
    stories = slot_stories(recordings, slots, window, found)
    story.slots = [stories[slot] for slot in sorted(slots)]
    for each in story.slots:
        each.commands = [one for one in logged if one.slot == each.slot] or None
    return story


@dataclass(slots=True)
class KeyStory:
    """``changes``: the commands that concern the key, and the ends of its leases, as far back as
    the logs go; ``answers``: by (session, seq); ``first_slot``: where the logs begin, 0: there is
    none."""

    key: bytes
    changes: list[LoggedCommand] = field(default_factory=list)
    answers: dict[tuple[int, int], Event] = field(default_factory=dict)
    applied: dict[int, Event] = field(default_factory=dict)
    first_slot: int = 0
    last_slot: int = 0
    nodes: tuple[str, ...] = ()
    names: Replay = field(default_factory=Replay)
    revisions: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """Slot, session and seq of each change that took effect → its revision."""

    def revision(self, change: LoggedCommand) -> int | None:
        """At which revision it changed the key; 0: it did not; None: not known."""
        if not self.names.first <= change.slot <= self.names.last or not self.names.last:
            return None
        return self.revisions.get((change.slot, change.session, change.seq), 0)


def key_story(recordings: Recordings, key: bytes, window: Window) -> KeyStory:
    """Find the changes of a key in the logs, and what is recorded of each."""
    story = KeyStory(key)
    seen: dict[str, bool] = {}

    def noting() -> Iterator[LoggedValue]:
        for each in _values(recordings):
            seen[each.node] = True
            story.first_slot = min(story.first_slot or each.slot, each.slot)
            story.last_slot = max(story.last_slot, each.slot)
            yield each

    found = [each for each in commands_of(noting(), key) if each.concerns(key)]
    story.nodes = tuple(sorted(seen))
    if seen:
        found = _add_effects(story, recordings, found)
    slots = {each.slot for each in found}
    if slots:
        _add_events(story, recordings, slots, window)
    bound = window.until_us // 1000
    story.changes = [
        each for each in found if window.since_us // 1000 <= each.stamp_ms <= bound
    ]  # fmt: skip
    return story


def _add_effects(
    story: KeyStory, recordings: Recordings, found: list[LoggedCommand]
) -> list[LoggedCommand]:
    """Apply the log again, for only the state says what took effect. The commands, and the ends of
    leases, which name no key."""
    unsaid: list[str] = []  # the same was passed over, and said, when the commands were read
    blamed = blame(recordings.sources.wals, story.key, unsaid)
    story.names = blamed.replayed
    known = {(each.slot, each.session, each.seq) for each in found}
    ends = []
    for each in blamed.changes:
        command = each.command
        name = command.slot, command.session, command.seq
        if each.change.revision:
            story.revisions[name] = each.change.revision
        if command.command[0] in (LEASE_EXPIRED, REVOKE) and name not in known:
            ends.append(command)
    return sorted([*found, *ends], key=lambda each: each.slot)


def _add_events(story: KeyStory, recordings: Recordings, slots: set[int], window: Window) -> None:
    def keep(row: Row) -> bool:
        return row[1] in (WRITE, APPLIED) and row[5] in slots

    for event in recordings.events(window, keep):
        if event.kind == APPLIED:
            story.applied.setdefault(event.slot, event)
        elif event.kind == WRITE and not event.code:
            first, last = seqs_of(event)
            for seq in range(first, last + 1):
                story.answers.setdefault((event.x, seq), event)


def key_slots(recordings: Recordings, key: bytes) -> set[int]:
    """The slots that may change a key, as far as the logs have them."""
    found = commands_of(_values(recordings), key)
    return {each.slot for each in found if each.concerns(key)}


def session_names(recordings: Recordings) -> Replay:
    """Whose sessions they are, as far as logs and snapshots say so."""
    wals = recordings.sources.wals
    unsaid: list[str] = []  # the same was passed over, and said, when the commands were read
    return replay(read_chosen(wals, unsaid), wals, unsaid, with_rows=False)


def _values(recordings: Recordings) -> Iterator[LoggedValue]:
    for wal in recordings.sources.wals:
        yield from logged_values(wal, recordings.sources.passed_over)
