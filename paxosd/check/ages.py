"""Is a state ever older than its node stated? Every stated age, against what was acknowledged.

    a node: "my state, of revision 7, is at most 12 ms old"     StatedAge(…, since_ms, 7)
    revision 8 was acknowledged to a client before since_ms     ── a violation

A node states ages by its own clock, which may run fast or slow: ``since_ms`` is the true time at
which that clock showed the moment that is meant.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from paxosd.check.history import Operation
from paxosd.check.verdict import CHECKED_OK, Verdict, violation
from paxosd.core.types import NodeId

STAMP_US = 2
"""Stamps of a history are whole µs, rounded down."""


class StatedAge(NamedTuple):
    """What a node stated about the age of its state.

    At ``at_ms``, ``node`` stated that its state of ``revision`` holds everything that had been
    acknowledged ``age_ms`` earlier, which was at ``since_ms``. ``age_ms`` -1: the node does not
    know. Times are true times in ms.
    """

    node: NodeId
    at_ms: float
    age_ms: int
    since_ms: float
    revision: int


def check_ages(operations: Iterable[Operation], stated: Iterable[StatedAge]) -> Verdict:
    """A violation names the stated age and the operation that contradicts it."""
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
    for each in stated:
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
