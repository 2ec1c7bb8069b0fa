"""What an event follows from, by the rules of Paxos, on its own node.

    prevote replies ─► promised ─► prepare ~~► promised ─► promise ~~► leader elected
    leader elected ─► voted ─► accept ~~► voted ─► synced ─► accepted ~~► applied ─► write

``~~►`` are messages: those are the arrows. "Happened before" (Lamport, "Time, Clocks, and the
Ordering of Events", 1978) would say that an event may follow from all before it on its node; here
are only those that a rule of the protocol names, so that a picture can show why, and not only when.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from paxosctl.inspection.events import (
    ACCEPT,
    ACCEPTED,
    DECISIONS,
    MESSAGES,
    NOTES,
    VOTES,
    ballot_of,
    note_event,
    note_fields,
)
from paxosd.core.types import Ballot
from paxosd.recorder.event import (
    ADOPTED,
    APPLIED,
    INSTALLED,
    PROMISED,
    PUBLISHED,
    READ,
    RECEIVED,
    START,
    SYNCED,
    UNSENT,
    VOTED,
    WRITE,
    Event,
)

RUN_MAX = 1_000
"""Slots of one vote or decision that are looked at: a longer run has its ends."""
_PREVOTE, _PREVOTE_REPLY = MESSAGES["prevote"], MESSAGES["prevote_reply"]
_PREPARE, _PROMISE, _NACK = MESSAGES["prepare"], MESSAGES["promise"], MESSAGES["nack"]
_ANSWERS: Mapping[int, tuple[int, ...]] = {
    _PREVOTE_REPLY: (_PREVOTE,),
    _NACK: (_PREPARE, ACCEPT, MESSAGES["heartbeat"]),
    VOTES: (MESSAGES["votes_request"],),
    DECISIONS: (MESSAGES["catchup"],),
    MESSAGES["heartbeat_ack"]: (MESSAGES["heartbeat"],),
    MESSAGES["read_index_reply"]: (MESSAGES["read_index"],),
    MESSAGES["snapshot_request"]: (MESSAGES["snapshot_offer"],),
    MESSAGES["snapshot_chunk"]: (MESSAGES["snapshot_request"],),
    MESSAGES["welcome"]: (MESSAGES["hello"],),
}
"""A message that answers one of these from the node to which it goes: the last that came."""


@dataclass(slots=True)
class _Node:
    """What is remembered of one node, until it starts again."""

    boot_count: int = 0
    came: dict[tuple[int, str], int] = field(default_factory=dict)
    """(kind, from) → the last such message."""
    came_of_kind: dict[int, int] = field(default_factory=dict)
    granted: dict[Ballot, list[int]] = field(default_factory=lambda: defaultdict(list))
    promises: dict[Ballot, list[int]] = field(default_factory=lambda: defaultdict(list))
    promised: dict[Ballot, int] = field(default_factory=dict)
    elected: dict[Ballot, int] = field(default_factory=dict)
    accept_in: dict[tuple[Ballot, int], int] = field(default_factory=dict)
    voted: dict[tuple[Ballot, int], int] = field(default_factory=dict)
    votes_in: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Slot → votes and decisions for it that this node knows of."""
    applied: dict[int, int] = field(default_factory=dict)
    synced: int = -1
    not_durable: list[tuple[int, int]] = field(default_factory=list)
    """(place, time on the node's clock) of votes and promises that no group commit has covered."""


def causes_of(events: Sequence[Event]) -> list[tuple[int, ...]]:
    """For each event the places of those on its own node that it follows from."""
    nodes: dict[str, _Node] = defaultdict(_Node)
    found = []
    for place, event in enumerate(events):
        node = nodes[event.node]
        if event.boot_count > node.boot_count:
            node = nodes[event.node] = _Node(event.boot_count)
        find = _RULES.get(event.kind, _of_answer)
        causes = () if event.code == RECEIVED and event.kind < START else find(node, event)
        found.append(tuple(dict.fromkeys(each for each in causes if 0 <= each < place)))
        _remember(node, event, place)
    return found


def _remember(node: _Node, event: Event, place: int) -> None:
    kind, ballot = event.kind, ballot_of(event)
    if kind < START and event.code == RECEIVED:
        node.came[kind, event.peer] = node.came_of_kind[kind] = place
        if kind == _PREVOTE_REPLY and event.x:
            node.granted[ballot].append(place)
        elif kind == _PROMISE:
            node.promises[ballot].append(place)
        elif kind == ACCEPT:
            node.accept_in[ballot, event.slot] = place
        elif kind in (ACCEPTED, VOTES, DECISIONS):
            for slot in _slots(event):
                node.votes_in[slot].append(place)
    elif kind == ACCEPTED and event.code == PUBLISHED:
        for slot in _slots(event):
            node.votes_in[slot].append(place)
    elif kind == PROMISED:
        node.promised[ballot] = place
        node.not_durable.append((place, event.mono_us))
    elif kind == VOTED:
        node.voted[ballot, event.slot] = place
        node.not_durable.append((place, event.mono_us))
    elif kind == SYNCED:
        node.synced = place
        del node.not_durable[: len(_of_synced(node, event))]
    elif kind == APPLIED:
        node.applied[event.slot] = place
    elif kind in NOTES:
        _remember_note(node, event, place)


def _remember_note(node: _Node, event: Event, place: int) -> None:
    fields = note_fields(event.text)
    if note_event(event) == "leader.elected" and fields.get("leader") == event.node:
        node.elected[_named_ballot(event)] = place


def _named_ballot(event: Event) -> Ballot:
    try:
        return Ballot.of_text(str(note_fields(event.text).get("ballot", "")))
    except ValueError:
        return Ballot(0, "")


def _slots(event: Event) -> range:
    last = max(event.slot, event.x)
    return range(event.slot, min(last, event.slot + RUN_MAX - 1) + 1)


def _of_promised(node: _Node, event: Event) -> Sequence[int]:
    ballot = ballot_of(event)
    if ballot.node == event.node:
        return node.granted.get(ballot, ())
    return (node.came.get((_PREPARE, ballot.node), -1),)


def _of_promise_or_prepare(node: _Node, event: Event) -> Sequence[int]:
    """It is sent once the promise is durable."""
    promised = node.promised.get(ballot_of(event), -1)
    durable = node.synced if node.synced > promised >= 0 else -1
    asked = node.came.get((_PREPARE, event.peer), -1) if event.kind == _PROMISE else -1
    return promised, durable, asked


def _of_voted(node: _Node, event: Event) -> Sequence[int]:
    """A leader proposes by its own vote, because of the promises that made it one."""
    ballot = ballot_of(event)
    if ballot.node != event.node:
        return (node.accept_in.get((ballot, event.slot), -1),)
    return (node.elected[ballot],) if ballot in node.elected else node.promises.get(ballot, ())


def _of_accept(node: _Node, event: Event) -> Sequence[int]:
    proposed = node.voted.get((ballot_of(event), event.slot), -1)
    return (proposed,) if proposed >= 0 else _of_voted(node, event)


def _of_accepted(node: _Node, event: Event) -> Sequence[int]:
    """A vote is published once it is durable."""
    ballot = ballot_of(event)
    votes = [node.voted.get((ballot, slot), -1) for slot in _slots(event)]
    durable = node.synced if node.synced > max(votes) >= 0 else -1
    return *votes, durable


def _of_votes(node: _Node, event: Event) -> Sequence[int]:
    return *_of_answer(node, event), *_of_accepted(node, event)


def _of_synced(node: _Node, event: Event) -> Sequence[int]:
    """The votes and promises that waited when the disk began with it."""
    begun_us = event.mono_us - event.x
    return [place for place, at_us in node.not_durable if at_us <= begun_us]


def _of_applied(node: _Node, event: Event) -> Sequence[int]:
    return node.votes_in.get(event.slot, ())


def _of_write(node: _Node, event: Event) -> Sequence[int]:
    return (node.applied.get(event.slot, -1),)


def _of_read(node: _Node, event: Event) -> Sequence[int]:
    answered = node.came_of_kind.get(MESSAGES["read_index_reply"], -1)
    return answered, node.applied.get(event.slot, -1)


def _of_adopted(node: _Node, event: Event) -> Sequence[int]:
    return (node.came.get((_PROMISE, event.peer), -1),) if event.code == RECEIVED else ()


def _of_installed(node: _Node, event: Event) -> Sequence[int]:
    return (node.came_of_kind.get(MESSAGES["snapshot_chunk"], -1),)


def _of_note(node: _Node, event: Event) -> Sequence[int]:
    name = note_event(event)
    if name == "leader.elected":
        ballot = _named_ballot(event)
        if ballot.node == event.node:
            return (*node.promises.get(ballot, ()), node.promised.get(ballot, -1))
        return (node.came.get((MESSAGES["heartbeat"], ballot.node), -1),)
    if name == "election.started":
        return node.granted.get(_named_ballot(event), ())
    if name == "leader.stepped_down":
        return (node.came_of_kind.get(_NACK, -1),)
    if name == "slow_request":
        slot = note_fields(event.text).get("slot")
        return (node.applied.get(slot, -1),) if isinstance(slot, int) else ()
    return ()


def _of_answer(node: _Node, event: Event) -> Sequence[int]:
    if event.kind >= START or event.code == UNSENT:
        return ()
    asked = [node.came.get((kind, event.peer), -1) for kind in _ANSWERS.get(event.kind, ())]
    return [max(asked)] if asked else ()


_RULES: Mapping[int, Callable[[_Node, Event], Sequence[int]]] = {
    PROMISED: _of_promised,
    _PREPARE: _of_promise_or_prepare,
    _PROMISE: _of_promise_or_prepare,
    VOTED: _of_voted,
    ACCEPT: _of_accept,
    ACCEPTED: _of_accepted,
    VOTES: _of_votes,
    SYNCED: _of_synced,
    APPLIED: _of_applied,
    WRITE: _of_write,
    READ: _of_read,
    ADOPTED: _of_adopted,
    INSTALLED: _of_installed,
    **dict.fromkeys(NOTES, _of_note),
}
