"""Whether a node is alive, and whether it is ready to serve, with the reasons.

*Alive* asks for a restart if it fails, so it looks at the process alone: its loop goes round. A
node without a leader, or behind, is alive: to restart it would make both worse. *Ready* asks for
requests to be sent elsewhere: only what concerns this node alone may fail it, or what no other node
is better at. A nearly full disk therefore warns and fails nothing: where all are nearly full,
nobody would be served any more.
"""

from typing import NamedTuple

from paxosd.metrics.observation import Observation

ALIVE_MS_MAX = 10_000.0
"""The loop makes a turn at least every 100 ms; one that makes none for so long is stuck."""
LAG_SLOTS_MAX = 1000
"""How far a ready node may be behind the highest commit index that it has heard of."""


class Check(NamedTuple):
    """``ok``: whether it is as it should be. ``matters``: whether the answer depends on it."""

    name: str
    ok: bool
    words: str
    matters: bool = True


def liveness(turned_ms: float, now_ms: float) -> list[Check]:
    """``turned_ms``: when the loop was last seen to go round, on the clock of ``now_ms``."""
    ago_ms = now_ms - turned_ms
    words = f"the loop made no turn for {ago_ms / 1000:.1f} s"
    return [Check("loop", ago_ms <= ALIVE_MS_MAX, words)]


def readiness(seen: Observation) -> list[Check]:
    """All checks, those that are well included."""
    status, disk = seen.status, seen.status.disk
    voting = status.memory == "whole" and not status.unconfirmed_by
    return [
        Check("leader", status.leader != "", "no leader is known: nothing is written, and no read "
              "is linearizable"),
        Check("applied", status.lag_slots <= LAG_SLOTS_MAX, f"{status.lag_slots} slots behind; at "
              f"most {LAG_SLOTS_MAX} are ready"),
        Check("storage", not disk.poisoned, "a write or a sync of the log failed"),
        Check("state", status.state != "diverged", "the state differs from that of the majority"),
        Check("running", not seen.stopping, "the node is stopping, or no member any more"),
        Check("space", status.node not in status.low_space, "the disk is nearly full: free some "
              "space, a node that cannot write its log stops", matters=False),
        Check("memory", voting, f"it does not vote: its memory is {status.memory}, it waits for "
              f"{', '.join(status.unconfirmed_by) or 'its leader'}", matters=False),
        Check("dispute", status.state != "disputed", "states differ, and no majority says which is "
              "right", matters=False),
        Check("faults", not status.fault_count, f"{status.fault_count} faults are injected",
              matters=False),
    ]  # fmt: skip


def passes(checks: list[Check]) -> bool:
    """Whether all that matters is well."""
    return all(check.ok for check in checks if check.matters)


def report(what: str, checks: list[Check], *, verbose: bool) -> str:
    """In lines for people: all checks, or, not ``verbose``, those alone that are not well."""
    lines = []
    for check in checks:
        if check.ok and verbose:
            lines.append(f"[+] {check.name}: ok")
        elif not check.ok and (verbose or check.matters):
            lines.append(f"{'[-]' if check.matters else '[!]'} {check.name}: {check.words}")
    lines.append(what if passes(checks) else f"not {what}")
    return "\n".join(lines) + "\n"
