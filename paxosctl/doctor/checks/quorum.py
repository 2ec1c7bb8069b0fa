"""Whether anything can be written, and how many failures more."""

from collections.abc import Iterator

from paxosctl.cli.health import live_tolerance, lost_for_good, no_quorum_words, voters_seen
from paxosctl.doctor.evidence import Evidence
from paxosctl.doctor.finding import Check, Finding, Flaw, Needs, Severity
from paxosd.core.status import NodeStatus

ELECTIONS_MIN = 6
ELECTIONS_AN_HOUR = 6.0

NONE = Flaw(
    "quorum.none",
    Severity.ERROR,
    "Fewer voters than a quorum are up and may vote: nothing can be written.",
    "start or reconnect the voters that are named; those that are up and do not vote: see votes",
)
LOST = Flaw(
    "quorum.lost",
    Severity.ERROR,
    "So many voters lost their memory that no quorum can come about again.",
    "put their data directories back as they were, or begin a new cluster with what NODE has: "
    "paxosctl snapshot save --endpoint ENDPOINT FILE, then paxosctl snapshot restore",
)
LEADERLESS = Flaw(
    "quorum.leaderless",
    Severity.ERROR,
    "Enough voters are up, and none of them leads.",
    "ask again in a few seconds; if it stays so: paxosctl explain leader, and the checks reach and "
    "clock",
)
LAST = Flaw(
    "quorum.last",
    Severity.WARNING,
    "The next failure of a voter stops all writing.",
    "bring back the voters that are away or do not vote, before anything else",
)
UNSTEADY = Flaw(
    "quorum.unsteady",
    Severity.WARNING,
    "A node began elections again and again.",
    "look for a slow disk (fsync), a bad link (reach) or a busy machine; why leaders changed: "
    "paxosctl explain leader",
)


def _look(evidence: Evidence) -> Iterator[Finding]:
    statuses, leader = evidence.statuses, evidence.leader
    latest = max(statuses, key=lambda each: (each.epoch, voters_seen(each).voting))
    final = lost_for_good(statuses)
    if final is not None:
        yield LOST.at(final[0], final[1].partition(". Put ")[0])
    elif leader is None and latest.voters:
        seen = voters_seen(latest, evidence.views)
        if seen.voting < latest.quorum:
            yield NONE.at("", no_quorum_words(latest, seen))
        else:
            yield LEADERLESS.at("", "no node leads, as far as the others say")
    elif leader is not None:
        yield from _of_leader(leader, evidence)
    for status in statuses:
        hours = max(status.uptime_ms / 3_600_000, 1.0)
        if status.elections >= ELECTIONS_MIN and status.elections / hours > ELECTIONS_AN_HOUR:
            yield UNSTEADY.at(status.node, f"it began {status.elections} elections within "
                              f"{status.uptime_ms / 60_000:.0f} min")  # fmt: skip


def _of_leader(leader: NodeStatus, evidence: Evidence) -> Iterator[Finding]:
    left = live_tolerance(leader, evidence.views)
    lacking = voters_seen(leader, evidence.views).lacking()
    if left < 0:
        yield NONE.at("", no_quorum_words(leader, voters_seen(leader, evidence.views)))
    elif left == 0 and lacking:
        yield LAST.at("", f"one more failure stops all writing; {lacking}")


CHECK = Check(
    "quorum",
    "Whether enough voters are up and may vote, whether one leads, and how many failures are left.",
    Needs.ANSWER,
    (NONE, LOST, LEADERLESS, LAST, UNSTEADY),
    _look,
)
