"""Where time goes in a whole recording, and what that says: a verdict in a sentence.

A verdict is given for a stage that takes a third of the time or more, and names a node or a link
only if it stands out against the others.
"""

from paxosctl.inspection.events import ms
from paxosctl.inspection.request_times import STAGES, NodeTimes, Times

OUTSTANDING = 3.0
"""So many times as slow as the quickest of the others stands out."""
SYNC_US_MIN = 3_000
"""A group commit that is quicker is no trouble, whatever the others take."""
SHARE = 1 / 3


def verdicts(times: Times) -> list[str]:
    """The sentences, the one that matters most first."""
    if not times.requests:
        return ["not known, because no answered request is recorded"]
    shares = stage_shares(times)
    traced = sum(shares.values())
    if not traced:
        return ["not known, because the proposals of the answered requests are not recorded"]
    said: list[str] = []
    for stage in sorted(shares, key=lambda name: -shares[name]):
        share = shares[stage] / traced
        if share >= SHARE or not said:
            said.append(_stage_sentence(times, stage, share))
    said += _disks(times)
    not_traced = sum(each.not_traced for each in times.nodes.values())
    if not_traced:
        said.append(f"of {not_traced} requests the stages are not known, because their proposal or "
                    "votes are not in the recording of the node that answered")  # fmt: skip
    return said


def stage_shares(times: Times) -> dict[str, int]:
    """Stage → microseconds of all requests together."""
    return {
        stage: sum(each.stages[stage].total for each in times.nodes.values()) for stage in STAGES
    }


_WORDS = {
    "queue": "waiting to be proposed",
    "persist": "the leader's own disk",
    "quorum": "waiting for the votes of others, beyond its own disk",
    "apply": "applying what is chosen",
    "reply": "giving answers",
}


def _stage_sentence(times: Times, stage: str, share: float) -> str:
    words = f"{share:.0%} of the time is {stage}: {_WORDS[stage]}"
    if stage in ("quorum", "persist"):
        waits: dict[str, int] = {}
        for node in times.nodes.values():
            for voter, wait in node.waited_for.items():
                waits[voter] = waits.get(voter, 0) + wait
        total = sum(waits.values())
        if total:
            voter = max(waits, key=lambda name: waits[name])
            words += f"; the vote that completed a quorum was most often {voter}'s "
            words += f"({waits[voter] / total:.0%} of that time)"
    return words


def _disks(times: Times) -> list[str]:
    """Disks that are slower than the others', and whether anybody waited for them."""
    measured = [each for each in times.nodes.values() if len(each.syncs)]
    said = []
    for each in measured:
        others = [other for other in measured if other is not each]
        if not others:
            continue
        best = min(others, key=lambda other: other.syncs.at(99))
        own, theirs = each.syncs.at(99), max(1, best.syncs.at(99))
        if own < SYNC_US_MIN or own < OUTSTANDING * theirs:
            continue
        sentence = (
            f"{each.node}'s disk: fsync p99 {ms(own)}, {own / theirs:.0f} times {best.node}'s"
            f" (p50 {ms(each.syncs.at(50))} and {ms(best.syncs.at(50))})"
        )  # fmt: skip
        waits = sum(node.waited_for.get(each.node, 0) for node in times.nodes.values())
        total = sum(sum(node.waited_for.values()) for node in times.nodes.values())
        if total and waits / total < 0.1:
            sentence += "; few requests waited for it, for the others are a quorum"
        said.append(sentence)
    return said


def node_rows(times: Times) -> list[tuple[str, ...]]:
    """For people: each node's figures, p50 and p99."""
    return [
        (
            each.node,
            str(len(each.whole)),
            *(_pair(each.stages[stage].at(50), each.stages[stage].at(99), bool(len(each.whole)))
              for stage in STAGES),
            _pair(each.syncs.at(50), each.syncs.at(99), bool(len(each.syncs))),
            _pair(each.votes.at(50), each.votes.at(99), bool(len(each.votes))),
        )
        for each in times.nodes.values()
    ]  # fmt: skip


def _pair(low: int, high: int, known: bool) -> str:
    return f"{_short(low)} {_short(high)}" if known else "-"


def _short(us: int) -> str:
    value = us / 1000
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def node_data(each: NodeTimes) -> dict[str, object]:
    """For programs: milliseconds would round; these are microseconds."""
    return {
        "node": each.node,
        "requests": len(each.whole),
        "refused": each.refused,
        "not_traced": each.not_traced,
        "stages": {stage: percentiles(each.stages[stage].at) for stage in STAGES},
        "whole": percentiles(each.whole.at),
        "reads": percentiles(each.reads.at),
        "syncs": percentiles(each.syncs.at),
        "votes": percentiles(each.votes.at),
        "waited_for_us": each.waited_for,
        "votes_came_us": {peer: percentiles(trip.at) for peer, trip in each.trips.items()},
    }


def percentiles(at: object) -> dict[str, int]:
    """The usual ones."""
    assert callable(at)
    return {"p50_us": at(50), "p90_us": at(90), "p99_us": at(99), "max_us": at(100)}
