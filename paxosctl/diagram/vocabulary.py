"""Which events are drawn, and what each kind is a part of in the protocol."""

from collections.abc import Mapping

from paxosctl.inspection.events import MESSAGES, NAMES, NOTES, note_event
from paxosd.recorder.event import (
    ADOPTED,
    INSTALLED,
    PROMISED,
    START,
    Event,
)

PHASE1, ACCEPT_PART, VOTE, LEARN, CLIENT, DISK, SNAPSHOT, NOTE_PART, OTHER = (
    "phase 1", "accept", "vote", "learn", "client", "disk", "snapshot", "note", "other",
)  # fmt: skip
FAMILIES = (PHASE1, ACCEPT_PART, VOTE, LEARN, CLIENT, DISK, SNAPSHOT, NOTE_PART, OTHER)

_FAMILY_OF: Mapping[str, str] = {
    "prevote": PHASE1, "prevote_reply": PHASE1, "prepare": PHASE1, "promise": PHASE1,
    "nack": PHASE1, "transfer_leadership": PHASE1, "promised": PHASE1, "adopted": PHASE1,
    "accept": ACCEPT_PART, "voted": ACCEPT_PART,
    "accepted": VOTE, "votes": VOTE, "votes_request": VOTE,
    "decisions": LEARN, "catchup": LEARN, "applied": LEARN,
    "write": CLIENT, "read": CLIENT, "read_index": CLIENT, "read_index_reply": CLIENT,
    "synced": DISK,
    "snapshot_offer": SNAPSHOT, "snapshot_request": SNAPSHOT, "snapshot_chunk": SNAPSHOT,
    "installed": SNAPSHOT,
    "note": NOTE_PART, "start": NOTE_PART,
}  # fmt: skip

DRAWN: tuple[str, ...] = (
    "prevote", "prevote_reply", "prepare", "promise", "nack", "transfer_leadership", "accept",
    "accepted", "votes_request", "votes", "catchup", "decisions", "snapshot_offer",
    "snapshot_request", "snapshot_chunk", "rejoin", "founding", "genesis", "removed",
    "promised", "voted", "adopted", "applied", "write", "synced", "installed", "start", "note",
)  # fmt: skip
"""Kinds that are drawn unless others are asked for."""
NOT_DRAWN = "heartbeats, reads, greetings and sums of the state are not drawn; --all draws them"

PHASE1_KINDS = frozenset(
    [MESSAGES[name] for name, family in _FAMILY_OF.items() if family == PHASE1 and name in MESSAGES]
    + [PROMISED, ADOPTED]
)
CONTEXT_KINDS = PHASE1_KINDS | {START, INSTALLED, *NOTES}
"""What is drawn beside the events of chosen slots: who led, and what went wrong."""
CONTEXT_NOTES = ("leader.", "election.", "fault.", "node.", "snapshot.", "member.", "state.",
                 "storage.failed")  # fmt: skip


def family(event: Event) -> str:
    """What part of the protocol it is."""
    return _FAMILY_OF.get(NAMES.get(event.kind, ""), OTHER)


def is_context(event: Event) -> bool:
    """Whether it belongs into a picture of some slots although it names none of them."""
    if event.kind in NOTES:
        return note_event(event).startswith(CONTEXT_NOTES)
    return event.kind in CONTEXT_KINDS
