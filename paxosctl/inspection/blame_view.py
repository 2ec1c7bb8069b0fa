"""Who changed a key, as a table, for programs, and how far back it goes."""

from typing import Any

from paxosctl.cli.render import View, as_cell
from paxosctl.inspection.blame import Blame, BlamedChange
from paxosctl.inspection.story_views import ballot_name
from paxosctl.inspection.timeline_view import iso_time
from paxosctl.inspection.wal_entries import client_words, value_words
from paxosd.host.wording import counted
from paxosd.net.key_files import key_text

UNKNOWN = "not known"
_PROVEN = (
    "the principal is who has the key that the session was opened with; a client's name is what it "
    "said itself",
)


def blame_view(found: Blame, changes: list[BlamedChange]) -> View:
    """These changes of it."""
    rows = [_row(found, each) for each in changes]
    keys = ("key",) if found.prefix else ()
    proven = any(each.key for each in changes)
    columns = ("time", "revision", "slot", "ballot", "leader", "op", *keys, "value", "request",
               "client", "principal")  # fmt: skip
    return View(
        data=_data(found, changes),
        plain="".join("\t".join(row) + "\n" for row in rows).encode("utf-8", "backslashreplace"),
        columns=columns if proven else columns[:-1],
        rows=rows if proven else [row[:-1] for row in rows],
        notes=["", *_reach(found), *_nameless(changes), *_PROVEN * proven],
        optional=("ballot", "leader", "request"),
    )  # fmt: skip


def short_time(time_ms: int) -> str:
    """``2026-11-29 11:58:44.340``, in UTC."""
    return iso_time(time_ms * 1000)[:23].replace("T", " ")


def _row(found: Blame, each: BlamedChange) -> tuple[str, ...]:
    change, command = each.change, each.command
    keys = (as_cell(change.key),) if found.prefix else ()
    return (
        short_time(command.stamp_ms),
        str(change.revision) if change.revision else UNKNOWN,
        str(change.slot),
        command.ballot.shown(),
        each.leader,
        each.op,
        *keys,
        value_words(change.value),
        f"{command.session}/{command.seq}",
        client_words(each.client) if each.client else UNKNOWN,
        _principal(each),
    )


def _principal(each: BlamedChange) -> str:
    """Who it was by the key; the key itself, if it is nobody's; ``-`` without a key."""
    if each.key is None:
        return UNKNOWN
    return each.principal or (f"key {key_text(each.key)}" if each.key else "-")


def _data(found: Blame, changes: list[BlamedChange]) -> dict[str, Any]:
    done = found.replayed
    return {
        "key": found.key,
        "prefix": found.prefix,
        "nodes": found.nodes,
        "first_slot": found.first or None,
        "last_slot": found.last or None,
        "first_us": found.first_ms * 1000 or None,
        "last_us": found.last_ms * 1000 or None,
        "first_revision": done.first_revision if done.last else None,
        "last_revision": done.last_revision if done.last else None,
        "unproven_slots": done.unproven,
        "changes": [
            {
                "time_us": each.command.stamp_ms * 1000,
                "revision": each.change.revision or None,
                "slot": each.change.slot,
                "ballot": ballot_name(each.command.ballot),
                "leader": each.leader,
                "op": each.op,
                "key": each.change.key,
                "value": each.change.value,
                "session": each.command.session,
                "seq": each.command.seq,
                "client": each.client,
                "principal": each.principal or None,
                "public_key": key_text(each.key) if each.key else None,
                "why_nameless": None if each.client else each.why_nameless,
            }
            for each in changes
        ],
    }


def _reach(found: Blame) -> list[str]:
    """How far back it goes, and what is not known there."""
    if not found.first:
        return ["no slot is in the write-ahead logs that were read: name data directories"]
    done = found.replayed
    nodes = ", ".join(found.nodes)
    words = [f"from the logs of {nodes}: slots {found.first} to {found.last}, of "
             f"{short_time(found.first_ms)} to {short_time(found.last_ms)} (UTC, by the clock of "
             "the leader)"]  # fmt: skip
    origin = found.restored
    if origin:
        jump = f"; its revisions went on at {done.first_revision}" * (done.base == origin["slot"])
        words.append(f"the cluster was restored from a snapshot of {origin['cluster']} as of slot "
                     f"{origin['slot']} and revision {origin['revision']}{jump}: what was before "
                     "is in the logs of that cluster, of each key the last change in the snapshot, "
                     "without its author")  # fmt: skip
    if found.first > (origin["slot"] + 1 if origin else 1):
        words.append("older changes were given back with the log; of each key the last one of them "
                     "is in the snapshot, without its author")  # fmt: skip
    if not done.last:
        words.append("which commands took effect, and their revisions, are not known: there is no "
                     "snapshot from which on the log is whole")  # fmt: skip
    else:
        words.append(f"revisions {done.first_revision} to {done.last_revision} are known")
        if done.base >= found.first:
            words.append(f"which of the commands up to slot {done.base} took effect, and their "
                         "revisions, are not known: it is the first snapshot's")  # fmt: skip
    if done.unproven:
        words.append(
            f"left out behind that: {counted(done.unproven, 'slot')} not known to be chosen"
        )
    if not found.prefix and found.first > 1:
        revision = found.present.get(found.key)
        words += [f"before slot {done.base + 1} its last change had revision {revision}"] * bool(
            revision
        )
    return words


def _nameless(changes: list[BlamedChange]) -> list[str]:
    """Why names are not known, each reason once."""
    reasons: dict[str, set[int]] = {}
    for each in changes:
        if not each.client:
            reasons.setdefault(each.why_nameless, set()).add(each.command.session)
    return [
        f"the client of {'session' if len(sessions) == 1 else 'sessions'} "
        f"{_listed(sorted(sessions))} is not known, because {why}"
        for why, sessions in reasons.items()
    ]


def _listed(numbers: list[int], most: int = 8) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
