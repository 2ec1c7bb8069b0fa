"""The wall clocks. They decide nothing, but people compare logs by them."""

from collections.abc import Iterator

from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.core.skew import SKEW_MS_MAX

OFF = Flaw(
    "clock.off",
    Severity.WARNING,
    "The wall clock of a node is off by more than a second from those of the others. It decides "
    "nothing, but logs cannot be compared by their times.",
    "have a time service (chrony, systemd-timesyncd) keep the clock of NODE; see: timedatectl",
)
UNSYNCED = Flaw(
    "clock.unsynced",
    Severity.WARNING,
    "The kernel says that no time service keeps the clock of this machine.",
    "start a time service (chrony, systemd-timesyncd) on this machine, or on its host; see: "
    "timedatectl",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    if evidence.machine is not None and evidence.machine.clock_synced is False:
        yield UNSYNCED.at(evidence.own_name, "no time service keeps the clock of this machine")
    for node in sorted({name for status in evidence.statuses for name in status.peers}):
        seen = {
            status.node: status.peers[node].skew_ms
            for status in evidence.statuses
            if status.node != node and node in status.peers
        }
        off = {name: ms for name, ms in seen.items() if ms is not None and abs(ms) > SKEW_MS_MAX}
        # Its own clock is wrong if most of those that see it say so; else theirs are.
        if off and 2 * len(off) > len([ms for ms in seen.values() if ms is not None]):
            name, ms = next(iter(off.items()))
            way = "ahead of" if ms > 0 else "behind"
            yield OFF.at(node, f"its clock is {abs(ms) / 1000:.1f} s {way} that of {name}")


CHECK = Check(
    "clock",
    "How far the nodes' wall clocks are apart, as they see it of each other, and whether a time "
    "service keeps that of this machine.",
    Needs.EITHER,
    (OFF, UNSYNCED),
    _look,
)
