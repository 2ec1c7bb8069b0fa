"""Looking into a cluster: status, health, leader, hash."""

from typing import Any

import click

from paxosctl.cli.app import Settings, negative, verb
from paxosctl.cli.health import (
    key_words,
    limit_words,
    live_tolerance,
    memory_lines,
    memory_words,
    no_quorum_words,
    quota_words,
    role_of,
    scarce_words,
    space_words,
    state_words,
    survives,
    voters_seen,
    waiting_lines,
    waiting_words,
)
from paxosctl.cli.links import link_lines
from paxosctl.cli.public_names import node_status, trouble
from paxosctl.cli.render import View, human_bytes
from paxosctl.cli.survey import NodeView, ask_all, leader_of, members_of, survey
from paxosctl.cli.versions import node_versions, own_level_words, version_lines
from paxosctl.client.errors import EXIT_INCOMPLETE
from paxosctl.commands.node import log_words
from paxosd.config.file_members import words as differing_words
from paxosd.core.skew import SKEW_MS_MAX
from paxosd.core.status import NodeStatus, PeerStatus, SnapshotStatus
from paxosd.host.clock import clock_ms
from paxosd.host.wording import counted, lasted
from paxosd.wire.status import as_table, decode_status

HASH_POLL_MS = 20

COLUMNS = (
    "node",
    "role",
    "ballot",
    "leader",
    "promised",
    "commit",
    "applied",
    "lag",
    "hears",
    "survives",
    "disk free",
    "log",
    "snapshot",
    "version",
    "level",
)


OPTIONAL = (
    "promised", "level", "log", "snapshot", "version", "disk free", "leader", "commit", "ballot",
    "survives",
)  # fmt: skip
"""The columns that a narrow terminal leaves out, in this order."""


@verb("status")
@click.option("--cluster", is_flag=True, help="Ask every node, not only the first that answers.")
def status_verb(settings: Settings, cluster: bool) -> None:
    """Show what a node knows about itself and its peers. Works without a quorum.

    Below the table it says which links are broken, if any, and what to do.
    """
    with settings.client() as client:
        if cluster:
            settings.show(_cluster(survey(client)))
        else:
            settings.show(_node(decode_status(client.status())))


@verb("health")
def health_verb(settings: Settings) -> None:
    """Make a write that leaves no data: exit code 0 only if it commits.

    Otherwise the exit code is 1, and what is wrong with each endpoint is printed.
    """
    from paxosctl.cli.diagnose import diagnose  # noqa: PLC0415 -- only this verb and errors need it
    from paxosctl.client.errors import ClientError  # noqa: PLC0415 -- stands beside its only use

    with settings.client() as client:
        try:
            health = client.health()
            status = decode_status(client.status())
            differs, scarce = state_words([status]), scarce_words([status])
            limits, space = limit_words([status]), space_words([status])
        except ClientError as error:
            troubles = diagnose(client, error)
            words = "".join([f"\n  {endpoint}  {text}" for endpoint, text in troubles])
            data = {
                "healthy": False,
                **trouble(error),
                "commit_ms": None,
                "slot": None,
                "differs": [],
                "scarce": [],
                "limits_differ": [],
                "low_space": [],
                "endpoints": dict(troubles),
            }
            negative(
                f"unhealthy: no write was seen to commit ({error}){words}",
                View(data=data, plain=b"unhealthy\n"),
            )
    settings.show(
        View(
            data={
                "healthy": True,
                **trouble(None),
                "commit_ms": round(health.ms, 3),
                "slot": health.slot,
                "differs": differs,
                "scarce": scarce,
                "limits_differ": limits,
                "low_space": space,
                "endpoints": {},
            },
            plain=b"healthy\n",
            text="\n".join(
                [
                    f"healthy: a write committed in {health.ms:.1f} ms (slot {health.slot})",
                    *differs,
                    *scarce,
                    *limits,
                    *space,
                ]
            ),
        )
    )


@verb("leader")
def leader_verb(settings: Settings) -> None:
    """Print the name and client endpoint of the leader. Exit code 1 if there is none."""
    with settings.client() as client:
        views = survey(client)
    name, endpoint = leader_of(views)
    data = {"leader": name or None, "leader_client": endpoint or None}
    view = View(data=data, plain=f"{name}\n".encode(), text=f"{name}  {endpoint}")
    if not name:
        negative("no leader is known; `paxosctl status --cluster` shows who is missing", view)
    settings.show(view)


@verb("hash")
def hash_verb(settings: Settings) -> None:
    """Compare the state of all members, as of one slot.

    Exit code 1 if the states differ; 3 if no difference was found, but not every member could be
    asked.
    """
    with settings.client() as client:
        views = survey(client)
        slot = client.start_checksum()
        answers = _checksums(client, [view for view in views if view.status is not None], slot)
        known = state_words(view.status for view in survey(client) if view.status is not None)
    members = members_of(views)
    rows = [
        {
            "node": view.name,
            "member": view.name in members,
            "checksum": answers.get(view.name) or None,
            **_why_no_checksum(view, answers.get(view.name)),
        }
        for view in views
    ]
    sums = {row["checksum"] for row in rows if row["member"] and row["checksum"]}
    missing = [row["node"] for row in rows if row["member"] and not row["checksum"]]
    differ = len(sums) > 1 or bool(known)
    if len(sums) > 1:
        verdict = "THE STATES DIFFER: keep the data directories, report it"
    elif missing:
        verdict = f"not complete: {', '.join(missing)} did not answer; all others agree"
    else:
        verdict = "all nodes agree"
    verdict = "\n".join([verdict, *known])
    good = not differ and not missing
    agree = False if differ else None if missing else True
    view = View(
        data={"slot": slot, "agree": agree, "missing": missing, "nodes": rows, "differs": known},
        plain="".join([f"{row['node']}\t{row['checksum'] or ''}\n" for row in rows]).encode(),
        columns=("node", f"state as of slot {slot}"),
        rows=[(row["node"], row["checksum"] or _no_checksum_words(row)) for row in rows],
        notes=verdict.split("\n") if good else (),
    )
    settings.show(view)
    if differ:
        negative(verdict)
    if missing:
        negative(verdict, exit_code=EXIT_INCOMPLETE, code="incomplete")


def _why_no_checksum(view: NodeView, checksum: str | None) -> dict[str, Any]:
    if view.error is not None or checksum:
        return trouble(view.error)
    if checksum is None:
        return {"error": "no_answer", "message": "it made no progress with that in time"}
    return {"error": "not_summed", "message": "it has no sum of its state as of that slot"}


def _no_checksum_words(row: dict[str, Any]) -> str:
    return str(row["message"]) if row["member"] else f"no member: {row['message']}"


def _checksums(client: Any, views: list[NodeView], slot: int) -> dict[str, str]:
    """Node → checksum; "" if it has none. Asks until each has it, or has made no progress within
    the time of a request: to sum a large state up takes longer, some 10 s a million keys. A node of
    an earlier version does not say how far it is."""
    patience_ms = int(client.timeout_s * 1000)
    waiting = {view.endpoint: view.name for view in views}
    until_ms = dict.fromkeys(waiting, clock_ms() + patience_ms)
    far: dict[str, Any] = {}
    sums: dict[str, str] = {}
    while waiting:
        for endpoint, answer in ask_all(client, waiting, "checksum", {"slot": slot}).items():
            if answer.error is not None or not answer.body["pending"]:
                sums[waiting.pop(endpoint)] = answer.body.get("checksum", "")
                continue
            progress = answer.body.get("progress")
            if progress != far.get(endpoint):
                far[endpoint] = progress
                until_ms[endpoint] = clock_ms() + patience_ms
            elif clock_ms() >= until_ms[endpoint]:
                del waiting[endpoint]
        if waiting:
            client.turn(HASH_POLL_MS)
    return sums


def _cells(status: NodeStatus) -> list[Any]:
    return [
        status.node,
        role_of(status),
        status.ballot.shown(),
        status.leader or "-",
        status.promised.shown(),
        status.commit,
        status.applied,
        status.lag_slots,
        str(voters_seen(status)),
        _survives(status),
        human_bytes(status.disk.free_bytes),
        human_bytes(status.disk.wal_bytes),
        _snapshot(status.snapshot),
    ]


def _snapshot(snapshot: SnapshotStatus | None) -> str:
    """The newest one's slot and age, or what is done with a peer's."""
    if snapshot is None or not (snapshot.fetching or snapshot.slot):
        return "-"
    if snapshot.fetching:
        return f"{snapshot.fetching} a peer's"
    return f"{snapshot.slot}, {lasted(snapshot.age_ms)} old"


def _survives(status: NodeStatus) -> str:
    """How many more voters may fail, as this node sees it."""
    count = survives(status)
    return "no quorum" if count is None else str(count)


def _cluster(views: list[NodeView]) -> View:
    leader, _ = leader_of(views)
    may_fail: int | None = None
    rows, notes = [], []
    versions = node_versions(views)
    for view in views:
        own = versions[view.name]
        which = [own["version"] or "-", own["feature_level_taken"] or "-"]
        if view.status is not None:
            rows.append([*_cells(view.status), *which])
        else:
            rows.append([view.name, "unreachable", *["-"] * (len(COLUMNS) - 4), *which])
            notes.append(f"{view.name} ({view.endpoint}): {view.why}")
    known = [view.status for view in views if view.status is not None]
    notes += memory_lines(known)
    notes += waiting_lines(known)
    notes += [
        f"the file of {status.node} has other members than the cluster's, which count: {line}"
        for status in known
        for line in differing_words(status.members_differ)
    ]
    notes += version_lines(views)
    notes += state_words(known) + scarce_words(known) + limit_words(known) + space_words(known)
    notes += link_lines(known) + key_words(known)
    leading = next((status for status in known if status.node == leader), None)
    if leading is not None:
        count = live_tolerance(leading, views)
        if count >= 0:
            may_fail = count
            notes.append(f"{leader} leads; the cluster survives {counted(count, 'more failure')}")
        else:
            notes.append(no_quorum_words(leading, voters_seen(leading, views)))
    else:
        notes.append(_without_leader(leader, known, views))
    return View(
        data={
            "leader": leader or None,
            "survives": may_fail,
            "nodes": [
                {
                    "node": view.name,
                    "client": view.endpoint,
                    "reachable": view.status is not None,
                    **trouble(view.error),
                    **(node_status(view.status) if view.status is not None else {}),
                }
                for view in views
            ],
        },
        plain="".join(["\t".join(map(str, row)) + "\n" for row in rows]).encode(),
        columns=COLUMNS,
        rows=rows,
        optional=OPTIONAL,
        notes=notes,
    )


def _without_leader(leader: str, known: list[NodeStatus], views: list[NodeView]) -> str:
    """Why no leader has answered: there is none, or it cannot be reached."""
    # A node that knows the latest membership knows best which nodes vote.
    latest = max(known, key=lambda status: (status.epoch, voters_seen(status).voting))
    seen = voters_seen(latest, views)
    if leader:
        words = f"{leader} leads, say others; it could not be asked"
    elif seen.voting < latest.quorum:
        return no_quorum_words(latest, seen)
    else:
        words = "there is no leader now"
    return "; ".join(filter(None, [words, seen.lacking()]))


def _node(status: NodeStatus) -> View:
    seen = voters_seen(status)
    disk = status.disk
    peers = [f"{name} ({_peer(peer)})" for name, peer in sorted(status.peers.items())]
    missing = f"; {seen.lacking()}" if seen.lacking() else ""
    free, log = human_bytes(disk.free_bytes), human_bytes(disk.wal_bytes)
    table = {
        "node": f"{status.node} of cluster {status.cluster}, version {status.version}",
        "role": memory_words(status) or waiting_words(status) or role_of(status),
        "state": "; ".join(state_words([status])) or status.state,
        "member": _member(status),
        "founded": _founded(status),
        "leader": f"{status.leader or 'none known'} {status.leader_client}".strip(),
        "ballot": f"{status.ballot.shown()}, promised {status.promised.shown()}",
        "commit": f"slot {status.commit}",
        "applied": f"slot {status.applied}, lag {status.lag_slots}",
        "revision": str(status.revision),
        "keys": "; ".join(filter(None, [str(status.keys), quota_words(status)])),
        "sessions": str(status.sessions),
        "level": _level(status),
        "peers": ", ".join(peers) or "none",
        "hears": f"{seen.heard_words}, needs {status.quorum}{missing}",
        "survives": _survives(status),
        "disk": f"{free} free, log {log}, at {disk.path or '?'}",
        "clients": _clients(status),
        "faults": f"{status.fault_count} active" if status.faults_enabled else "not enabled",
        "logs": log_words(as_table(status.log, {})) if status.log is not None else "?",
        "memory": human_bytes(status.rss_bytes),
        "up": f"{status.uptime_ms / 1000:.0f} s, boot count {status.boot_count}",
    }
    differing = differing_words(status.members_differ)
    if differing:
        table["file"] = f"other members than the cluster's, which count: {'; '.join(differing)}"
    rows = list(table.items())
    return View(
        data=node_status(status),
        plain="".join([f"{name}\t{value}\n" for name, value in rows]).encode(),
        columns=("", ""),
        rows=rows,
        notes=link_lines([status], alone=True) + key_words([status]),
    )


def _member(status: NodeStatus) -> str:
    """Its part in the membership, as far as it knows."""
    own = status.membership.members.get(status.node)
    if own is None:
        return "not yet, as far as it knows"
    return f"{'voter' if own.voter else 'learner'}, epoch {status.epoch}"


def _clients(status: NodeStatus) -> str:
    """How many connections of clients and watchers it has, and may have."""
    ports = [status.connections.get(what) for what in ("client", "events")]
    counts = [f"{port.open} of at most {port.most}" for port in ports if port]
    return ", watching ".join(counts) or "not counted"


def _founded(status: NodeStatus) -> str:
    """Which nodes founded the cluster, and the number of its founding."""
    founding = status.founding
    if founding is not None:
        return f"by {', '.join(founding.members)} (record {founding.genesis})"
    if status.genesis:
        return f"by others, or before there were records (known as {status.genesis})"
    return "not yet" if status.role == "newcomer" else "no record is known"


def _level(status: NodeStatus) -> str:
    """The feature level, and the version of the replicated settings."""
    words = own_level_words(status)
    if not status.feature_level:
        return words
    version = status.settings.version if status.settings is not None else "?"
    return f"{words}; settings of version {version}"


def _peer(peer: PeerStatus) -> str:
    skew_ms = peer.skew_ms or 0
    off = ""
    if abs(skew_ms) > SKEW_MS_MAX:
        off = f", its clock {abs(skew_ms) / 1000:.1f} s {'ahead' if skew_ms > 0 else 'behind'}"
    if peer.reachable:
        voteless = peer.voter and not peer.votes
        return f"reachable, does not vote{off}" if voteless else f"reachable{off}"
    ago_ms = peer.heard_ms_ago
    return "never heard" if ago_ms < 0 else f"silent for {ago_ms / 1000:.1f} s"
