"""The verdict of a checker of histories."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paxosd.check.history import UNKNOWN, Operation
from paxosd.check.history_words import describe

CHECKED_OK = "ok"
VIOLATION = "violation"
NOT_CHECKED = "not_checked"

SHOWN_MAX = 24
"""How many operations an explanation lists."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``status``: CHECKED_OK, VIOLATION or NOT_CHECKED, which is never to be taken for ok.

    ``key``: where it went wrong, None if the whole store is meant. ``operations``: those that
    contradict each other, by invocation; the explanation lists them.
    """

    status: str
    key: bytes | None
    explanation: str
    operations: tuple[Operation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all was checked and is as it must be."""
        return self.status == CHECKED_OK


def violation(key: bytes | None, headline: str, operations: Iterable[Operation]) -> Verdict:
    """A breach: the headline, then the operations with their times."""
    ordered = sorted(operations, key=lambda each: each.invoked)
    words = "\n".join([headline, *timeline(ordered)])
    return Verdict(VIOLATION, key, words, tuple(ordered))


def timeline(operations: Sequence[Operation]) -> list[str]:
    """One line per operation, times in ms since the first of them."""
    if not operations:
        return []
    start = operations[0].invoked
    lines = []
    for operation in operations[:SHOWN_MAX]:
        begin = f"{(operation.invoked - start) / 1000:10.3f}"
        ended = operation.returned >= 0 and operation.outcome != UNKNOWN
        end = f"{(operation.returned - start) / 1000:.3f}" if ended else "?"
        lines.append(f"  {begin} … {end:>10} ms  {describe(operation)}")
    if len(operations) > SHOWN_MAX:
        lines.append(f"  … and {len(operations) - SHOWN_MAX} more")
    return lines


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The first violation, else the first not checked, else the first. At least one is needed."""
    found = list(verdicts)
    for status in (VIOLATION, NOT_CHECKED):
        for verdict in found:
            if verdict.status == status:
                return verdict
    return found[0]
