"""From a history that cannot be explained to the few operations that show why.

Every step weakens the history: what is left demands no more than the whole did, so that a breach
in it is one in the whole.
"""

from collections.abc import Callable, Sequence

from paxosd.check.register import (
    ANYTHING,
    INITIAL,
    NO_RETURN,
    REMOVE,
    SEE,
    SWAP,
    WIPE,
    WRITE,
    Access,
    State,
)

Breached = Callable[[Sequence[Access], State], bool]


def smallest_window(accesses: Sequence[Access], breached: Breached) -> tuple[list[Access], State]:
    """A part of ``accesses``, as small as a greedy search finds, that is a breach by itself, and
    the state that it begins in (INITIAL or ANYTHING).

    First the earliest end: what is still open then may or may not take effect. Then the latest
    beginning: the key may hold anything, and what was open may have taken effect or not. Then
    observers go one by one, and writes whose value is never asked for.
    """
    window = _earliest_end(accesses, breached)
    window, initial = _latest_beginning(window, breached)

    def still(some: Sequence[Access]) -> bool:
        return breached(some, initial)

    window = _without(window, still, lambda access: access.observes)
    weakened = [_undemanding(access) for access in window]
    if still(weakened):
        needed = {each.value for each in weakened if each.kind == SEE}
        needed |= {each.expect for each in weakened if each.kind == SWAP}
        window = _without(
            weakened, still, lambda access: access.kind == WRITE and access.value not in needed
        )
    return window, initial


def _earliest_end(accesses: Sequence[Access], breached: Breached) -> list[Access]:
    ends = sorted(access.returned for access in accesses if access.returned != NO_RETURN)
    low, high = 0, len(ends) - 1  # ends[high] is enough for a breach
    while low < high:
        middle = (low + high) // 2
        if breached(_until(accesses, ends[middle]), INITIAL):
            high = middle
        else:
            low = middle + 1
    return _until(accesses, ends[high]) if ends else list(accesses)


def _until(accesses: Sequence[Access], end: int) -> list[Access]:
    """The accesses as they stood at ``end``."""
    known = []
    for access in accesses:
        if access.returned <= end:
            known.append(access)
        elif access.invoked <= end and not access.observes:
            known.append(_doubtful(access))
    return known


def _latest_beginning(accesses: list[Access], breached: Breached) -> tuple[list[Access], State]:
    begins = sorted(access.invoked for access in accesses)
    low, high = -1, len(begins) - 1  # begins[low] still gives a breach; -1: all from INITIAL on
    while low < high:
        middle = (low + high + 1) // 2
        if breached(_since(accesses, begins[middle]), ANYTHING):
            low = middle
        else:
            high = middle - 1
    if low < 0:
        return accesses, INITIAL
    return _since(accesses, begins[low]), ANYTHING


def _since(accesses: Sequence[Access], begin: int) -> list[Access]:
    """Without what had ended before ``begin``; a write that was open then may have been before."""
    known = []
    for access in accesses:
        if access.invoked >= begin:
            known.append(access)
        elif access.returned >= begin and not access.observes:
            known.append(_doubtful(access))
    return known


def _doubtful(access: Access) -> Access:
    """The same access, but it may or may not take effect. The operation stays as it was."""
    if not access.definite:
        return access
    copy = Access(access.operation, access.kind, access.value)
    copy.definite = False
    copy.returned = NO_RETURN
    copy.revision = copy.place = -1
    return copy


def _undemanding(access: Access) -> Access:
    """The same access without demands that an unseen write could have met."""
    kind, demanding = access.kind, access.modified >= 0
    if kind == REMOVE:
        kind, demanding = WIPE, True
    elif kind == SWAP and access.expect_revision >= 0:
        kind, demanding = WRITE, True
    if not demanding or not access.definite:
        return access
    return Access(access.operation, kind, access.value)


def _without(
    accesses: list[Access],
    still: Callable[[Sequence[Access]], bool],
    may_go: Callable[[Access], bool],
) -> list[Access]:
    """Take away runs of accesses that may go, halves first, while it stays a breach."""
    size = max(len(accesses) // 2, 1)
    while True:
        start = 0
        while start < len(accesses):
            part = accesses[start : start + size]
            left = accesses[:start] + [each for each in part if not may_go(each)]
            left += accesses[start + size :]
            if len(left) < len(accesses) and still(left):
                accesses = left
            else:
                start += size
        if size == 1:
            return accesses
        size = max(size // 2, 1)
