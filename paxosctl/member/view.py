"""How members and changes of them are shown, and the configuration of a new one."""

from collections.abc import Sequence
from typing import Any

from paxosctl.cli.health import (
    MEMORY_LOST,
    live_tolerance,
    memory_lines,
    no_quorum_words,
    voters_seen,
)
from paxosctl.cli.public_names import member_fields
from paxosctl.cli.render import View
from paxosctl.cli.survey import statuses_of
from paxosctl.member.plan import KINDS, Figures, Plan, figures, moves, quorum_words
from paxosctl.member.probe import Present
from paxosd.core.membership import Membership
from paxosd.core.status import NodeStatus
from paxosd.host import toml
from paxosd.host.wording import counted

COLUMNS = ("node", "role", "up", "epoch", "applied", "lag", "peer", "client", "events")

OPTIONAL = ("events", "peer", "epoch", "client", "lag")
"""The columns that a narrow terminal leaves out, in this order."""


def list_view(present: Present) -> View:
    """Every member, and the state of the cluster."""
    rows, nodes = [], []
    for name, member in present.membership.members.items():
        status = present.status(name)
        node = {
            "node": name,
            "role": role_of(present, name),
            "reachable": status is not None,
            "epoch": status.epoch if status is not None else None,
            "applied": status.applied if status is not None else None,
            "lag_slots": present.behind(status) if status is not None else None,
            **member_fields(member._asdict()),
        }
        nodes.append(node)
        cells = {**node, "up": "yes" if node["reachable"] else "no", "lag": node["lag_slots"]}
        rows.append(["-" if cells[column] is None else cells[column] for column in COLUMNS])
    membership = present.membership
    found = figures(membership, present.up)
    return View(
        data={
            "epoch": membership.epoch,
            "slot": membership.slot,
            "leader": present.leader.node if present.leader is not None else None,
            **_figures_data(found),
            "survives": _or_none(_survives_now(present, found)),
            "nodes": nodes,
            "departed": list(membership.departed),
        },
        plain="".join(["\t".join(map(str, row)) + "\n" for row in rows]).encode(),
        columns=COLUMNS,
        rows=rows,
        optional=OPTIONAL,
        notes=_notes(present, found),
    )


def role_of(present: Present, name: str) -> str:
    """leader, voter, learner; memory-lost: a voter that must not vote; newcomer: one that may not
    yet; diverged: one whose state is not what was decided."""
    status = present.status(name) or NodeStatus()
    if status.role in ("leader", "diverged"):
        return status.role
    if not present.membership.members[name].voter:
        return "learner"
    return {"whole": "voter", "lost": MEMORY_LOST}.get(status.memory, "newcomer")


def _notes(present: Present, found: Figures) -> list[str]:
    membership = present.membership
    now = _survives_now(present, found)
    notes = [
        f"epoch {membership.epoch}, from slot {membership.slot} on; it takes "
        f"{quorum_words(found)}, and survives {counted(found.tolerates, 'failure')} when all are up"
    ]
    if now < 0 and present.leader is not None:
        seen = voters_seen(present.leader, present.views)
        notes.append(no_quorum_words(present.leader, seen))
    elif now < 0:
        notes.append(
            f"no quorum: {_names(found.up)} up and able to vote, and it takes {found.need}, so "
            "nothing can be written"
        )
    elif now < found.tolerates:
        notes.append(f"as it is now, it survives {now} more")
    if present.leader is None:
        notes.append("no leader could be asked")
    notes += [
        f"{view.name} ({view.endpoint}): {view.why}"
        for view in present.views
        if view.status is None and view.name in membership.members
    ]
    return notes + memory_lines(statuses_of(present.views))


def _survives_now(present: Present, found: Figures) -> int:
    """How many more voters may fail, -1: nothing can be written."""
    if present.leader is not None:
        return live_tolerance(present.leader, present.views)
    return max(len(found.up) - found.need, -1)


def _names(names: Sequence[str]) -> str:
    return f"only {', '.join(names)} {'is' if len(names) == 1 else 'are'}" if names else "nobody is"


def plan_view(plan: Plan, words: Sequence[str], **extra: Any) -> View:
    """A change: before, after, what is said about it, and what was done. With the
    ``configuration`` of a new node plain is that alone, so that it can be written to the node's
    file; not if the change is refused."""
    was, will = plan.figures_before, plan.figures_after
    rows = [
        ("voters", ", ".join(was.voters), ", ".join(will.voters)),
        ("learners", ", ".join(plan.before.learners) or "-", ", ".join(plan.after.learners) or "-"),
        ("quorum", quorum_words(was), quorum_words(will)),
        ("up", f"{len(was.up)} of {len(was.voters)}", f"{len(will.up)} of {len(will.voters)}"),
        ("survives", counted(was.tolerates, "failure"), counted(will.tolerates, "failure")),
    ]
    for name, new in plan.after.members.items():
        rows += [(f"{name} {k}", a, b) for k, a, b in moves(plan.before.members.get(name), new)]
    data = {
        "change": plan.what,
        "before": {"epoch": plan.before.epoch, **_figures_data(was)},
        "after": {"epoch": plan.after.epoch, **_figures_data(will)},
        "warnings": list(plan.warnings),
        "stops": list(plan.stops),
        "dry_run": False,
        "not_done": [],
        **extra,
    }
    plain = "".join(["\t".join(row) + "\n" for row in rows])
    if not data["not_done"]:
        plain = str(data.get("configuration", plain))
    return View(
        data=data,
        plain=plain.encode(),
        columns=("", "now", "then"),
        rows=rows,
        text="\n".join(words),
    )


def _figures_data(found: Figures) -> dict[str, Any]:
    return {
        "voters": list(found.voters),
        "voters_up": list(found.up),
        "phase1": found.phase1,
        "phase2": found.phase2,
        "survives_all_up": found.tolerates,
    }


def _or_none(count: int) -> int | None:
    """For programs: None instead of -1."""
    return count if count >= 0 else None


def configuration(cluster: str, membership: Membership, name: str) -> str:
    """What the configuration file of a new member must contain, as TOML."""
    tables = [toml.table("cluster", values={"id": cluster})]
    for each, member in membership.members.items():
        values = {kind: getattr(member, kind) for kind in KINDS}
        if not member.voter or each == name:
            values["voter"] = False
        tables.append(toml.table("cluster", "members", each, values=values))
    tables.append(
        toml.table(
            "node",
            values={"name": name, "data_dir": name, "join": True},
            notes={"data_dir": "an empty directory, or none yet"},
        )
    )
    return "\n".join(tables)


def start_words(name: str, snippet: str) -> list[str]:
    """How to start a new member."""
    return [
        f"to start it, write this to its configuration file, say {name}.toml, with the sections "
        "that the other nodes' files have beside [cluster] and [node]:",
        f"\n{snippet}",
        f"and run, on its machine: paxosd --config {name}.toml",
    ]
