"""Is a history linearizable? Each key by a search, the whole store by its revisions.

The search is Wing and Gong's with Lowe's memoisation ("Testing for linearizability", Concurrency
and Computation: Practice and Experience, 2017): the operations of one key in a doubly linked list
by invocation; one is taken out when it is linearised, put back when the search returns; a pair
(set of those taken, state) is visited once. As a register is linearizable if every key is
(Herlihy and Wing, locality), keys are searched one by one. What keeps it near linear here:

- A read that the present state allows is taken at once: it can only come earlier, never matter.
- Writes whose revision is known can only come in its order.
- A write of unknown outcome whose value, written by no other, was seen took effect, and at the
  latest by then.
- Any other one is taken only as the reason for another one: just before one
  that the present state forbids and the new one allows. Delaying it otherwise loses nothing:
  what was allowed without it commutes with it or overwrites it.

What the search alone does not see: anomalies across keys. A range that saw key a as of now and
key b as of yesterday passes it, if each alone could be so within the range's time; so does a
DELETE_RANGE that removed one key earlier than another. :mod:`paxosd.check.total_order` sees these
wherever revisions are known, and :func:`check_linearizable` asks both. Keys that transactions share
are not searched here at all: they are judged together, in :mod:`paxosd.check.transactions`.

The search is bounded in steps, not in time, so that a verdict is the same on any machine. Where
the bound is exceeded the verdict is NOT_CHECKED.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from paxosd.check.history import OK, Operation
from paxosd.check.history_words import text
from paxosd.check.register import (
    INITIAL,
    MISS,
    NO_RETURN,
    REMOVE,
    SEE,
    SWAP,
    WIPE,
    WRITE,
    Access,
    Anything,
    State,
    accesses_by_key,
    settle_seen,
    step,
)
from paxosd.check.shared_keys import split_shared
from paxosd.check.stuck_window import smallest_window
from paxosd.check.total_order import check_total_order
from paxosd.check.transactions import check_objects
from paxosd.check.verdict import CHECKED_OK, NOT_CHECKED, VIOLATION, Verdict, violation, worst

STEPS_MAX = 500_000
"""Steps for one key, of some µs each."""
WINDOW_STEPS_MAX = 1_000_000
"""Steps for finding the smallest window of a violation."""

Move = tuple[int, int, State]
"""``(access, used, state)``: its place in the list, the unknown ones taken before it as bits,
and the state after it."""


def check_linearizable(
    operations: Iterable[Operation],
    *,
    steps_max: int = STEPS_MAX,
    alone: bool = False,
    others: Collection[int] = (),
) -> Verdict:
    """Judge a history. ``alone``: it holds every write that the store ever had, from an empty
    store on, so that each revision has to be explained by one of its operations; but those in
    ``others``, which somebody else has made on keys that no operation names."""
    held = list(operations)
    plain, objects = split_shared(held)
    if objects:
        apart = [each for one in objects for each in one.operations]
        others = {*others, *(each.revision for each in apart)}
        alone = alone and all(each.outcome == OK for each in apart)  # else a gap may be theirs
    verdicts = [
        check_keys(plain, steps_max=steps_max),
        check_total_order(plain, alone=alone, others=others),
    ]
    if objects:
        verdicts.append(check_objects(held, objects))
        if all(each.ok for each in verdicts):
            words = f"{verdicts[0].explanation}; {verdicts[2].explanation}"
            return Verdict(CHECKED_OK, None, words)
    return worst(verdicts)


def check_keys(operations: Sequence[Operation], *, steps_max: int = STEPS_MAX) -> Verdict:
    """The search alone, key by key."""
    by_key = accesses_by_key(operations)
    given_up = []
    for key, found in by_key.items():
        accesses = settle_seen(found)
        search = Search(accesses, steps_max)
        status = search.run()
        if status == VIOLATION:
            return _explain(key, accesses, steps_max)
        if status == NOT_CHECKED:
            given_up.append(key)
    if given_up:
        words = ", ".join(text(key) for key in given_up)
        return Verdict(NOT_CHECKED, given_up[0], f"gave up after {steps_max} steps on: {words}")
    return Verdict(CHECKED_OK, None, f"{len(operations)} operations on {len(by_key)} keys")


class Search:
    """One search for an order of the accesses to one key. ``stuck_state`` and ``stuck_after``:
    the state at the deepest point that was reached, and how many accesses were in order there."""

    def __init__(
        self, accesses: Sequence[Access], steps_max: int, initial: State = INITIAL
    ) -> None:
        self.steps = 0
        self.stuck_state = initial
        self.stuck_after = -1
        self._steps_max = steps_max
        self._certain = [each for each in accesses if each.definite]
        self._unknown = [each for each in accesses if not each.definite]
        size = len(self._certain)
        # Places 0 … size - 1 are accesses; place `size` is both ends of the ring.
        self._next = [*range(1, size + 1), 0]
        self._previous = [size, *range(size)]
        self._swaps = [
            (place, each) for place, each in enumerate(self._unknown) if each.kind == SWAP
        ]
        self._swapped_in = {each.value for _, each in self._swaps}
        self._observed = _observed_values(accesses)

    def run(self) -> str:
        """CHECKED_OK, VIOLATION or NOT_CHECKED."""
        head = len(self._certain)
        taken, state = 0, self.stuck_state
        visited: set[tuple[int, State]] = set()
        stack: list[tuple[int, int, Iterator[Move]]] = []
        moves = self._moves(taken, state)
        while self._next[head] != head:
            for place, used, after in moves:
                now = taken | used | 1 << place
                if (now, after) not in visited:
                    break
            else:
                if self.steps > self._steps_max:
                    return NOT_CHECKED
                if not stack:
                    return VIOLATION
                place, taken, moves = stack.pop()
                self._put_back(place)
                continue
            visited.add((now, after))
            self._take_out(place)
            stack.append((place, taken, moves))
            taken, state = now, after
            if len(stack) > self.stuck_after:
                self.stuck_after, self.stuck_state = len(stack), state
            moves = self._moves(taken, state)
        return CHECKED_OK

    def _take_out(self, place: int) -> None:
        before, after = self._previous[place], self._next[place]
        self._next[before], self._previous[after] = after, before

    def _put_back(self, place: int) -> None:
        self._next[self._previous[place]] = place
        self._previous[self._next[place]] = place

    def _moves(self, taken: int, state: State) -> Iterator[Move]:
        """What may come next. Ends early when the steps are used up."""
        places, until = self._candidates()
        forbidden = []
        allowed = []
        for place in places:
            self.steps += 1
            access = self._certain[place]
            after = step(state, access)
            if after is None:
                if 0 <= access.revision < state[2] + (access.kind != SEE):
                    return  # its revision has been passed, for good
                forbidden.append(place)
            elif after == state and access.observes:
                yield place, 0, after
                return
            else:
                allowed.append((place, 0, after))
        yield from allowed
        for place in forbidden:
            access = self._certain[place]
            for used, between in self._reasons(taken, state, access, until):
                after = step(between, access)
                if after is not None:
                    yield place, used, after

    def _candidates(self) -> tuple[list[int], int]:
        """Accesses that began before any other one left ended, and when that was. Of those
        whose revision is known only the one that has to come first."""
        places = []
        first_place, first = NO_RETURN, -1
        until = NO_RETURN
        head = len(self._certain)
        place = self._next[head]
        while place != head:
            access = self._certain[place]
            if access.invoked > until:
                break
            until = min(until, access.returned)
            if access.place < 0:
                places.append(place)
            elif access.place < first_place:
                first_place, first = access.place, place
            place = self._next[place]
        if first >= 0:
            places.append(first)
        return places, until

    def _reasons(
        self, taken: int, state: State, wanted: Access, until: int
    ) -> Iterator[tuple[int, State]]:
        """Unknown ones that could come before ``wanted``: ``(used, state after them)``.

        It is one alone, or one and then CAS only: anything else would make those before it
        needless. And it ends where ``wanted`` becomes possible, for the same reason.
        """
        by_value = wanted.kind == SEE or (wanted.kind == SWAP and wanted.expect_revision < 0)
        needed = wanted.value if wanted.kind == SEE else wanted.expect
        by_revision = wanted.kind == SWAP and not by_value
        chains = wanted.kind == MISS or by_revision or (by_value and needed in self._swapped_in)
        alike: set[int] = set()
        for place, access in enumerate(self._unknown):
            if access.invoked > until or self.steps > self._steps_max:
                return
            bit = 1 << (len(self._certain) + place)
            if taken & bit:
                continue
            removes = access.kind in (REMOVE, WIPE)
            if by_value and not chains and (None if removes else access.value) != needed:
                continue
            if removes or (access.kind == WRITE and access.value not in self._observed):
                # One removal is as good as another, as is one write whose value is never asked for.
                if access.kind in alike:
                    continue
                alike.add(access.kind)
            self.steps += 1
            after = step(state, access)
            if after is None or after[:2] == state[:2]:
                continue
            if step(after, wanted) is not None:
                yield bit, after
            elif chains and not (by_revision and after[0] is not None):
                yield from self._chains(taken | bit, bit, after, wanted, until)

    def _chains(
        self, taken: int, used: int, state: State, wanted: Access, until: int
    ) -> Iterator[tuple[int, State]]:
        """Go on with unknown CAS, in every way."""
        for place, access in self._swaps:
            bit = 1 << (len(self._certain) + place)
            if access.invoked > until or taken & bit or self.steps > self._steps_max:
                continue
            self.steps += 1
            after = step(state, access)
            if after is None:
                continue
            if step(after, wanted) is not None:
                yield used | bit, after
            else:
                yield from self._chains(taken | bit, used | bit, after, wanted, until)


def _observed_values(accesses: Sequence[Access]) -> set[bytes | None]:
    values: set[bytes | None] = set()
    for access in accesses:
        if access.kind == SEE:
            values.add(access.value)
        values.add(access.expect)
    return values


def _explain(key: bytes, accesses: Sequence[Access], steps_max: int) -> Verdict:
    """A violation in as few operations as can be found to show it."""
    left = WINDOW_STEPS_MAX

    def breached(some: Sequence[Access], initial: State) -> bool:
        nonlocal left
        if left <= 0:
            return False
        search = Search(some, min(steps_max, left), initial)
        status = search.run()
        left -= search.steps
        return status == VIOLATION

    window, initial = smallest_window(accesses, breached)
    search = Search(window, steps_max, initial)
    search.run()
    value, _, revision = search.stuck_state
    if isinstance(value, Anything):
        held = "whatever the key held before"
    elif value is None:
        held = "with no such key"
    else:
        held = f"with it at {text(value)}" + (f" (revision {revision})" if revision else "")
    headline = (
        f"key {text(key)}: no order of these operations explains what they returned "
        f"(at best {max(search.stuck_after, 0)} of them, {held}, and then none of the others):"
    )
    return violation(key, headline, _with_writers(window, accesses))


def _with_writers(window: Sequence[Access], accesses: Sequence[Access]) -> list[Operation]:
    """The operations of a window, and who wrote what was seen in it."""
    seen = {access.value for access in window if access.kind == SEE}
    shown = [access.operation for access in window]
    for access in accesses:
        if access.kind in (WRITE, SWAP) and access.value in seen and access.operation not in shown:
            shown.append(access.operation)
    return shown
