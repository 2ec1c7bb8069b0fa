"""The screen of one node."""

from collections.abc import Iterator

from rich.text import Text

from paxosctl.cli.health import memory_words, quota_words, role_of, voters_seen
from paxosctl.top.figures import age, milliseconds, per_second, percent, size, sparkline
from paxosctl.top.model import Model, Node
from paxosd.core.status import NodeStatus, PeerStatus
from paxosd.host.bucket_counts import percentile_us
from paxosd.host.wording import listed

LABEL_WIDTH = 10


def node_lines(node: Node, model: Model, width: int, bars: str) -> Iterator[Text]:
    """All that matters of it, in two columns where there is room, then its peers."""
    status = node.status
    if status is None or not node.answers:
        since = "" if node.silent_s is None else f" for {model.now_s - node.silent_s:.0f} s"
        yield Text(f"{node.name} does not answer{since}: {node.error}", style="bold red")
        yield Text(f"at {node.endpoint}")
        if status is None:
            return
        yield Text("what it said last:", style="dim")
    yield Text(f"{node.name}: {role_of(status)} of cluster {status.cluster}, version "
               f"{status.version}, at {node.endpoint}", style="bold")  # fmt: skip
    for words in filter(None, (memory_words(status), _waits(status))):
        yield Text(f"! {words}", style="bold red")
    pairs = list(_pairs(node, status))
    columns = 2 if width >= 76 else 1
    room = max(1, width // columns - LABEL_WIDTH - 2)
    for at in range(0, len(pairs), columns):
        line = Text()
        for label, value in pairs[at : at + columns]:
            shown = value if len(value) <= room else f"{value[: room - 1]}…"
            line.append(f"{label:<{LABEL_WIDTH}}", "dim")
            line.append(f"{shown:<{room + 2}}")
        yield line
    yield Text.assemble(("writes/s  ", "dim"), (sparkline(list(node.writes), width - 12, bars=bars),
                                                "cyan"))  # fmt: skip
    yield from _peers(status)


def _waits(status: NodeStatus) -> str:
    waits_for = status.unconfirmed_by
    return f"it does not vote before it has heard from {listed(waits_for)}" if waits_for else ""


def _pairs(node: Node, status: NodeStatus) -> Iterator[tuple[str, str]]:
    rates, disk, snapshot = node.rates, status.disk, status.snapshot
    yield "leader", status.leader or "none known"
    yield "hears", f"{voters_seen(status)} voters, needs {status.quorum}"
    yield "ballot", f"{status.ballot.shown()}, promised {status.promised.shown()}"
    yield "elections", f"{status.elections}, epoch {status.epoch}, level {status.feature_level}"
    yield "applied", f"slot {status.applied}, lag {status.lag_slots}"
    yield "commit", f"slot {status.commit}, open {status.open_slots}"
    yield "writes", f"{per_second(rates.writes if rates else None)}/s, revision {status.revision}"
    yield "requests", f"{per_second(rates.requests if rates else None)}/s, reads " \
        f"{per_second(rates.reads if rates else None)}/s"  # fmt: skip
    yield "waiting", f"{status.queued_commands} commands, {status.reads_waiting} reads"
    yield "sessions", f"{status.sessions}; clients {_connections(status)}"
    yield "fsync", f"p99 {milliseconds(rates.sync_p99_us if rates else None)} now, " \
        f"{milliseconds(percentile_us(disk.sync_us_counts, 0.99) or None)} ever"  # fmt: skip
    yield "syncs", f"{per_second(rates.syncs if rates else None)}/s, median " \
        f"{milliseconds(disk.sync_us_median or None)}"  # fmt: skip
    yield "disk", f"{size(disk.free_bytes)} free, log {size(disk.wal_bytes)}"
    yield "snapshot", "none" if snapshot is None or not snapshot.slot else \
        f"slot {snapshot.slot}, {age(snapshot.age_ms / 1000)} old"  # fmt: skip
    yield "keys", quota_words(status) or f"{status.keys:,}"
    yield "memory", f"{size(status.rss_bytes)}, cpu {percent(rates.cpu if rates else None)}"
    yield "recorder", _recorder(status)
    faults = f"{status.fault_count} active" if status.faults_enabled else "not enabled"
    yield "up", f"{age(status.uptime_ms / 1000)}, boot {status.boot_count}; faults {faults}"


def _connections(status: NodeStatus) -> str:
    port = status.connections.get("client")
    return f"{port.open} of {port.most}" if port else "?"


def _recorder(status: NodeStatus) -> str:
    found = status.recorder
    if found is None or not found.enabled:
        return "off"
    return found.problem or f"{size(found.bytes)} of {size(found.bytes_max)}"


def _peers(status: NodeStatus) -> Iterator[Text]:
    yield Text("  PEER          HEARD     COMMIT      VOTES  CLOCK      LINK", style="reverse")
    for name, peer in sorted(status.peers.items()):
        heard = "never" if peer.heard_ms_ago < 0 else f"{peer.heard_ms_ago} ms"
        votes = "yes" if peer.votes else "no" if peer.voter else "learner"
        clock = "?" if peer.skew_ms is None else f"{peer.skew_ms:+d} ms"
        link = _link(name, peer) or ("" if peer.hears else f"does not hear {status.node}")
        is_good = not link and peer.reachable and (peer.votes or not peer.voter)
        words = f"  {name:<12}  {heard:>8}  {peer.commit:>9}  {votes:>7}  {clock:<9}  {link}"
        yield Text(words.rstrip(), style="" if is_good else "bold red")


def _link(name: str, peer: PeerStatus) -> str:
    """Why there is no connection to it, without its name and endpoint in front."""
    words = peer.link_problem
    if words.startswith(f"{name} at "):
        words = words.removeprefix(f"{name} at ").partition(" ")[2]
    return words
