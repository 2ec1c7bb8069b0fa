"""The steps of a slot in words, each with the time since what it follows from.

    proposed ─► accept sent ─► received ─► in the log ─► durable ─► published ─► learned
                                                          chosen ─► applied ─► answered

On one node a step took what its own clock says, between two what the corrected ones say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from paxosctl.inspection.events import (
    ACCEPT,
    ACCEPTED,
    DECISIONS,
    VOTES,
    ballot_of,
    ms,
    request_name,
)
from paxosd.core.types import Ballot
from paxosd.recorder.event import (
    ADOPTED,
    APPLIED,
    PUBLISHED,
    RECEIVED,
    SENT,
    UNSENT,
    VOTED,
    WRITE,
    Event,
)

Words = tuple[str, Event | None]
"""What happened, and the event that it follows from."""


@dataclass(frozen=True, slots=True)
class Step:
    """``what`` happened at ``event``; ``took_us`` since what it follows from, None: not known."""

    event: Event
    what: str
    took_us: int | None = None


def voter_of(vote: Event) -> str:
    """Whose vote an event of the kinds accepted and votes is."""
    return vote.node if vote.code == PUBLISHED else vote.peer


def steps_of(
    own: list[Event],
    chosen_at: Event | None,
    synced: Mapping[str, Event],
    applied: Mapping[str, Event],
) -> list[Step]:
    """The steps, in the order of the events. ``synced``: the sync that made a node's vote durable;
    ``applied``: when each node applied the slot."""
    return _Steps(chosen_at, synced, applied).run(own)


class _Steps:
    def __init__(
        self,
        chosen_at: Event | None,
        synced: Mapping[str, Event],
        applied: Mapping[str, Event],
    ) -> None:
        self._chosen_at = chosen_at
        self._synced = synced
        self._applied = applied
        self._steps: list[Step] = []
        self._voted: dict[tuple[str, Ballot], Event] = {}
        self._sent: dict[tuple[str, str, Ballot], Event] = {}
        self._published: dict[tuple[str, Ballot], Event] = {}
        self._durable: set[str] = set()
        self._words: dict[int, Callable[[Event], Words]] = {
            VOTED: self._vote,
            ACCEPT: self._accept,
            ACCEPTED: self._accepted,
            VOTES: self._accepted,
            DECISIONS: self._decision,
            APPLIED: self._apply,
            ADOPTED: self._adopt,
            WRITE: self._answer,
        }

    def run(self, own: list[Event]) -> list[Step]:
        for event in own:
            what, since = self._words[event.kind](event)
            if event is self._chosen_at:
                what += ": chosen"
            took = event.wall_us - since.wall_us if since is not None else None
            self._steps.append(Step(event, what, took))
        return self._steps

    def _vote(self, event: Event) -> Words:
        ballot = ballot_of(event)
        self._voted.setdefault((event.node, ballot), event)
        verb = "proposed at" if event.node == ballot.node else "votes for"
        return f"{verb} {ballot.shown()}", None

    def _accept(self, event: Event) -> Words:
        ballot = ballot_of(event)
        if event.code == RECEIVED:
            since = self._sent.get((event.peer, event.node, ballot))
            return f"accept received from {event.peer}", since
        if event.code == UNSENT:
            return f"accept could not be handed to the connection to {event.peer}", None
        link = event.node, event.peer, ballot
        again = " again" if link in self._sent else ""
        self._sent.setdefault(link, event)
        return f"accept sent{again} to {event.peer}", None

    def _accepted(self, event: Event) -> Words:
        ballot = ballot_of(event)
        if event.code == RECEIVED:
            since = self._published.get((event.peer, ballot))
            return f"vote of {event.peer} learned", since
        if event.code == SENT:
            return f"vote sent again to {event.peer}", None
        self._published.setdefault((event.node, ballot), event)
        sync = self._synced.get(event.node)
        if sync is not None and event.node not in self._durable:
            self._durable.add(event.node)
            self._steps.append(Step(sync, f"vote durable (fsync of group {sync.slot})", sync.x))
        return "vote published", self._voted.get((event.node, ballot))

    def _decision(self, event: Event) -> Words:
        verb = "received from" if event.code == RECEIVED else "sent to"
        return f"decision {verb} {event.peer}", None

    def _apply(self, event: Event) -> Words:
        chosen = self._chosen_at
        return "applied", chosen if chosen is not None and chosen.node == event.node else None

    def _adopt(self, event: Event) -> Words:
        verb = "reported by" if event.code == RECEIVED else "reported to"
        return f"vote for {ballot_of(event).shown()} {verb} {event.peer} in a promise", None

    def _answer(self, event: Event) -> Words:
        words = f"{request_name(event)} answered, {ms(event.round)} after it came"
        return words, self._applied.get(event.node)
