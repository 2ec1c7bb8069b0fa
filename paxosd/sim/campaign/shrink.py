"""Make a failing run smaller: which of its faults are needed, and how little of each.

    items (a fault schedule) ── delta debugging: leave out halves, quarters, … one by one
                             ── simplify: each item by simpler ones, the boldest first
                             ──► a short list that still fails

It knows nothing of schedules: ``fails`` runs a list and returns whether it fails, ``simpler``
offers replacements. The same items and the same answers give the same result, in at most
``runs_max`` runs.

Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (2002), section 3.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar

Item = TypeVar("Item")
Fails = Callable[[tuple[Item, ...]], bool]
Simpler = Callable[[Item], Iterable[Item]]

RUNS_MAX = 200


@dataclass(frozen=True, slots=True)
class Shrunk(Generic[Item]):
    """``items`` still fail. ``runs``: how many were needed. ``complete``: no single item can be
    left out and none of the simpler ones offered will do; False if ``runs_max`` came first."""

    items: tuple[Item, ...]
    runs: int
    complete: bool


class NotFailingError(ValueError):
    """The items that were to be shrunk do not fail."""


def shrink(
    items: Sequence[Item],
    fails: Fails[Item],
    *,
    simpler: Simpler[Item] | None = None,
    runs_max: int = RUNS_MAX,
    verify: bool = True,
) -> Shrunk[Item]:
    """The smallest failing list that was found. ``fails`` must answer alike for equal lists.

    ``verify``: run the items as they are first; raises NotFailingError if they do not fail.
    """
    search = _Search(tuple(items), fails, runs_max)
    try:
        if verify and not search.try_(search.best, known=False):
            raise NotFailingError("the run does not fail, so there is nothing to shrink")
        search.reduce()
        if simpler is not None:
            while search.simplify(simpler):
                search.reduce()
    except _OutOfRuns:
        return Shrunk(search.best, search.runs, complete=False)
    return Shrunk(search.best, search.runs, complete=True)


class _OutOfRuns(Exception):  # noqa: N818 - a way out, not an error
    """As many runs as are allowed were made."""


class _Search(Generic[Item]):
    """``best``: the smallest list so far that fails."""

    def __init__(self, items: tuple[Item, ...], fails: Fails[Item], runs_max: int) -> None:
        self.best = items
        self.runs = 0
        self._fails = fails
        self._runs_max = runs_max
        self._passing: list[tuple[Item, ...]] = []
        """Lists that were tried in vain; compared, not hashed: items may hold dicts."""

    def try_(self, candidate: tuple[Item, ...], *, known: bool = True) -> bool:
        """Whether the candidate fails; if so it is the best from now on."""
        if known and (candidate == self.best or candidate in self._passing):
            return False
        if self.runs >= self._runs_max:
            raise _OutOfRuns
        self.runs += 1
        if self._fails(candidate):
            self.best = candidate
            return True
        self._passing.append(candidate)
        return False

    def reduce(self) -> None:
        """ddmin: afterwards no single item can be left out."""
        if not self.best or self.try_(()):
            return
        parts = 2
        while len(self.best) >= 2:
            if self._without_one(_split(self.best, parts)):
                parts = max(parts - 1, 2)
            elif parts >= len(self.best):
                return
            else:
                parts *= 2
            parts = min(parts, len(self.best))

    def _without_one(self, chunks: list[tuple[Item, ...]]) -> bool:
        """Leave out one chunk; the last ones first: what comes after the failure goes at once."""
        for left_out in reversed(range(len(chunks))):
            rest = [item for i, chunk in enumerate(chunks) if i != left_out for item in chunk]
            if self.try_(tuple(rest)):
                return True
        return False

    def simplify(self, simpler: Simpler[Item]) -> bool:
        """Replace items by simpler ones until none will do; true if any was replaced."""
        changed = False
        place = 0
        while place < len(self.best):
            before, item, after = self.best[:place], self.best[place], self.best[place + 1 :]
            for candidate in simpler(item):
                if self.try_((*before, candidate, *after)):
                    changed = True
                    break
            else:
                place += 1
        return changed


def _split(items: tuple[Item, ...], parts: int) -> list[tuple[Item, ...]]:
    """``parts`` runs of nearly equal length, none of them empty."""
    bounds = [len(items) * i // parts for i in range(parts + 1)]
    return [items[a:b] for a, b in pairwise(bounds) if a < b]
