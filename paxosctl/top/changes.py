"""What happened at a node between two looks at its status, in words."""

from collections.abc import Iterator

from paxosctl.cli.health import role_of
from paxosd.core.status import NodeStatus
from paxosd.host.wording import counted, listed


def changes(before: NodeStatus, after: NodeStatus) -> Iterator[str]:
    """A sentence for each; nothing that all nodes report alike."""
    node = after.node
    if before.run_id != after.run_id:
        yield f"{node} was started again (boot count {after.boot_count}): {role_of(after)}"
        return
    was, now = role_of(before), role_of(after)
    if now != was and now == "leader":
        yield f"{node} leads, ballot {after.ballot.shown()}"
    elif now != was:
        waits = after.unconfirmed_by
        yield f"{node}: {was} → {now}{f', waits for {listed(waits)}' if waits else ''}"
    elif after.leader and after.leader not in (before.leader, node):
        yield f"{node} follows {after.leader}"
    if after.elections > before.elections:
        more = after.elections - before.elections
        yield f"{node} began {'an election' if more == 1 else counted(more, 'election')}"
    if after.fault_count != before.fault_count:
        yield f"{node}: fault rules {before.fault_count} → {after.fault_count}"
    yield from _files(before, after)


def _files(before: NodeStatus, after: NodeStatus) -> Iterator[str]:
    node, old, new = after.node, before.snapshot, after.snapshot
    if old is not None and new is not None:
        if new.installed > old.installed:
            yield f"{node} took over a peer's snapshot"
        elif new.slot > old.slot:
            yield f"{node} has a snapshot of slot {new.slot}"
    if after.disk.poisoned and not before.disk.poisoned:
        yield f"{node}: a write or a sync of its log failed"
    if node in after.low_space and node not in before.low_space:
        yield f"{node}: its disk is nearly full"


def common_changes(before: NodeStatus, after: NodeStatus) -> Iterator[str]:
    """The same of what all nodes report alike: ``before`` and ``after`` are the two that know
    most."""
    if after.epoch > before.epoch:
        yield f"membership of epoch {after.epoch}: voters {listed(after.membership.voters)}"
    if after.feature_level > before.feature_level:
        yield f"the feature level is {after.feature_level}"
    if after.quota != before.quota and after.quota in ("near", "full"):
        yield "the quota is reached" if after.quota == "full" else "the quota is nearly reached"
