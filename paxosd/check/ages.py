"""Is no answer older than it says? Every age that a node told, against what was acknowledged.

    a node: "my state, of revision 7, is at most 12 ms old"     AgeTold(…, since_ms, 7)
    a client was told revision 8 before since_ms                ── a violation

Ages are told by a node's own clock, which may run fast or slow: ``since_ms`` is the true time at
which that clock showed the moment that is meant.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from paxosd.check.history import Operation
from paxosd.check.verdict import CHECKED_OK, Verdict, violation
from paxosd.core.types import NodeId

STAMP_US = 2
"""Stamps of a history are whole µs, cut off."""


class AgeTold(NamedTuple):
    """At ``at_ms``, ``node`` said of its state of ``revision`` that it holds everything that was
    acknowledged ``age_ms`` before, which was at ``since_ms`` (-1: that it does not know)."""

    node: NodeId
    at_ms: float
    age_ms: int
    since_ms: float
    revision: int


def check_ages(operations: Iterable[Operation], told: Iterable[AgeTold]) -> Verdict:
    """A violation names the answer and the operation that it denies."""
    ended = sorted(
        (operation.returned, operation.number, operation)
        for operation in operations
        if operation.acknowledged and operation.revision >= 0
    )
    times = [returned for returned, _, _ in ended]
    newest: list[Operation] = []
    for _, _, operation in ended:
        best = newest[-1] if newest else operation
        newest.append(operation if operation.revision > best.revision else best)
    count = 0
    for each in told:
        if each.age_ms < 0:
            continue
        count += 1
        before = bisect_left(times, each.since_ms * 1000 - STAMP_US)
        if before and newest[before - 1].revision > each.revision:
            denied = newest[before - 1]
            words = (
                f"{each.node} said at {each.at_ms:.3f} ms that its state of revision "
                f"{each.revision} is {each.age_ms} ms old, but revision {denied.revision} was "
                f"acknowledged at {denied.returned / 1000:.3f} ms, before "
                f"{each.since_ms:.3f} ms:"
            )
            return violation(denied.key, words, [denied])
    return Verdict(CHECKED_OK, None, f"{count} ages")
