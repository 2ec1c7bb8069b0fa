"""Are commands on several keys atomic, in one order that agrees with real time, each applied once?

    check_objects(operations, objects)    the verdict on the objects of ``shared_keys.split_shared``

The keys of an object cannot be searched one by one. What keeps it near linear: each answer names
its revision, so the order of what was answered is known, and it is replayed once over a plain model
(``transaction_model.py``). To be found is only where those of unknown outcome belong:

- A revision that an answer shows, as of a row's creation or last write, and that no answer made,
  was made by one of them.
- Any other one is put in as late as can be: just before an answer that touches a key of it. Before
  that it commutes with everything.
- It is not before what had been answered when it began.

An answer that differs from the model sends the search back to the latest of these choices. The
search is bounded in steps, so that a verdict is the same on any machine; where the bound is
exceeded, the verdict is NOT_CHECKED. What bounds it in practice is that objects are small.

Checked: the answer of each is that of the model, so every compare, branch and result; all of its
changes are of one revision; no two wrote in one; who began after another had ended has the
higher revision, or at least sees that one; and keys of a lease go all at once, no earlier than the
moment from which on the history expects it, and because of nothing else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    GET,
    OK,
    PUT,
    RANGE,
    READS,
    TXN,
    Operation,
)
from paxosd.check.history_words import text
from paxosd.check.shared_keys import SharedObject, split_shared
from paxosd.check.transaction_model import Pair, State, numbers_seen, run, same
from paxosd.check.verdict import CHECKED_OK, NOT_CHECKED, VIOLATION, Verdict, violation
from paxosd.core import commands

STEPS_MAX = 200_000
"""Commands that are tried, for each object; some 10 µs each."""
SHOWN_KEYS_MAX = 8


def check_objects(
    operations: Sequence[Operation],
    objects: Sequence[SharedObject],
    *,
    steps_max: int = STEPS_MAX,
) -> Verdict:
    """Judge the objects of a history, from an empty store on. ``operations``: the whole history,
    whose revisions are one order."""
    known = [each for each in operations if each.outcome == OK and each.revision >= 0]
    floors = _floors(operations, known)
    shared = {each.number: each for one in objects for each in one.operations}
    for operation in known:
        if operation.number in shared and operation.revision < floors[operation.number]:
            revision = floors[operation.number]
            earlier = [each for each in known if each.revision == revision]
            words = f"began after revision {revision} had been answered, and shows an older one:"
            return violation(None, words, [*earlier[:1], operation])
    given_up, steps = 0, 0
    for one in objects:
        search = ObjectSearch(one, floors, steps_max)
        status = search.run()
        steps += search.steps
        if status == VIOLATION:
            return search.explain()
        given_up += status == NOT_CHECKED
    if given_up:
        words = f"gave up on {given_up} of {len(objects)} objects after {steps_max} steps"
        return Verdict(NOT_CHECKED, None, words)
    count = sum(each.kind == TXN and each.outcome == OK for each in shared.values())
    return Verdict(
        CHECKED_OK, None, f"{count} transactions on {len(objects)} objects, {steps} steps"
    )


def check_transactions(operations: Iterable[Operation]) -> Verdict:
    """The same for a history of nothing else."""
    held = list(operations)
    _, objects = split_shared(held)
    return check_objects(held, objects)


def _floors(operations: Sequence[Operation], known: Sequence[Operation]) -> dict[int, int]:
    """The number of each operation → the highest revision that had been answered when it began."""
    ends = sorted(known, key=lambda each: each.returned)
    ended, floor = 0, -1
    floors = {}
    for operation in sorted(operations, key=lambda each: each.invoked):
        while ended < len(ends) and ends[ended].returned < operation.invoked:
            floor = max(floor, ends[ended].revision)
            ended += 1
        floors[operation.number] = floor
    return floors


# -- one operation over the model


def _tried(operation: Operation, state: State, revision: int) -> State | None:
    """The state after it; None if its answer is not what it would have been."""
    if operation.outcome != OK or operation.revision < 0:
        return run(state, _command(operation, state), revision)[0]
    result: Any = operation.result
    kind = operation.kind
    if kind == TXN:
        assert operation.command is not None
        after, pair = run(state, operation.command, revision)
        return after if same(operation.command, result, pair) else None
    if kind == GET:
        row = state.get(operation.key)
        modified = operation.modified[0] if operation.modified else -1
        return state if _shows(row, result, modified) else None
    if kind == RANGE:
        covered = {key: row for key, row in state.items() if operation.covers(key)}
        seen = dict(operation.rows)
        modified_of = dict(zip(seen, operation.modified, strict=False))
        if seen.keys() != covered.keys():
            return None
        fits = all(_shows(covered[k], seen[k], modified_of.get(k, -1)) for k in seen)
        return state if fits else None
    if kind == CAS and not _as_expected(operation, state):
        return None
    after, (_, results) = run(state, _command(operation, state), revision)
    assert results is not None
    if kind in (DELETE, DELETE_RANGE) and results[0] != int(result):
        return None
    return after


def _command(operation: Operation, state: State) -> Sequence[Any]:
    """What it does to this state, as a command."""
    if operation.kind == TXN:
        assert operation.command is not None
        return operation.command
    if operation.kind == PUT:
        return commands.PUT, operation.key, operation.value
    if operation.kind == DELETE:
        return commands.DELETE, operation.key
    if operation.kind == DELETE_RANGE:
        return commands.DELETE_RANGE, operation.key, operation.end
    assert operation.kind == CAS
    if _as_expected(operation, state):
        return commands.PUT, operation.key, operation.value
    return commands.TXN, (), (), ()


def _as_expected(operation: Operation, state: State) -> bool:
    row = state.get(operation.key)
    if operation.expect_revision >= 0:
        return operation.expect_revision == (0 if row is None else row[2])
    return operation.expect == (None if row is None else row[0])


def _shows(row: Any, value: Any, modified: int) -> bool:
    if row is None:
        return value is None and modified <= 0
    return bool(row[0] == value) and modified in (-1, row[2])


# -- the search


@dataclass(slots=True)
class _Group:
    """All that was answered with one revision, or nothing: it was only seen in rows."""

    revision: int
    members: list[Operation] = field(default_factory=list)
    touches: set[bytes] = field(default_factory=set)
    seen: bool = False


class _Node(NamedTuple):
    """A point of the search: before group ``place``, with ``used`` (bits) of those of unknown
    outcome done; ``last``: the revision that was made last."""

    place: int
    state: State
    last: int
    used: int


class ObjectSearch:
    """One search for an order of the operations of an object. ``steps``: how many were tried."""

    def __init__(
        self, thing: SharedObject, floors: Mapping[int, int], steps_max: int = STEPS_MAX
    ) -> None:
        """``floors``: the number of an operation → the revision that it must be above, or see."""
        self.steps = 0
        self._thing = thing
        self._floors = floors
        self._steps_max = steps_max
        self._groups = _make_groups(thing)
        self._unknown = [each for each in thing.operations if _may_come_anywhere(each)]
        self._stuck = _Node(-1, {}, 0, 0)

    def run(self) -> str:
        """CHECKED_OK, VIOLATION or NOT_CHECKED."""
        visited: set[tuple[int, int, int, frozenset[Any]]] = set()
        start = _Node(0, {}, 0, 0)
        stack = [self._moves(start)]
        if not self._groups:
            return CHECKED_OK
        while stack:
            node = next(stack[-1], None)
            if self.steps > self._steps_max:
                return NOT_CHECKED
            if node is None:
                stack.pop()
                continue
            if node.place == len(self._groups):
                return CHECKED_OK
            if node.used:
                form = node.place, node.last, node.used, frozenset(node.state.items())
                if form in visited:
                    continue
                visited.add(form)
            if node.place > self._stuck.place:
                self._stuck = node
            stack.append(self._moves(node))
        return VIOLATION

    def explain(self) -> Verdict:
        """The verdict after a violation: where no order goes on."""
        node = self._stuck
        group = self._groups[max(node.place, 0)]
        keys = sorted(group.touches)[:SHOWN_KEYS_MAX]
        held = ", ".join(
            f"{text(key)} = {text(node.state[key][0])} (revision {node.state[key][2]})"
            if key in node.state
            else f"no {text(key)}"
            for key in keys
        )
        words = f"no order explains what was answered at revision {group.revision}; before: {held}"
        if not group.members:
            words = (
                f"nothing can have made revision {group.revision}, which was seen; before: {held}"
            )
        return violation(keys[0] if keys else None, words, group.members)

    def _moves(self, node: _Node) -> Iterator[_Node]:
        """What may come next: most likely first."""
        group, state = self._groups[node.place], node.state
        revision, members = group.revision, group.members
        for writer in members:
            after = self._try(writer, state, revision)
            if after is None or after == state:
                continue
            others = [each for each in members if each is not writer]
            if all(each.returned > writer.invoked for each in others) and self._fit(
                others, after, revision
            ):
                yield _Node(node.place + 1, after, revision, node.used)
        if not group.seen and self._fit(members, state, revision):
            yield _Node(node.place + 1, state, revision, node.used)
        for bit, unknown in self._candidates(node.used, group.touches):
            floor = self._floors[unknown.number]
            used = node.used | 1 << bit
            if floor < revision and node.last < revision:
                after = self._try(unknown, state, revision)
                if after is not None and after != state and self._fit(members, after, revision):
                    yield _Node(node.place + 1, after, revision, used)
            number = max(node.last, floor) + 1
            if number < revision:
                after = self._try(unknown, state, number)
                if after is not None and after != state:
                    yield _Node(node.place, after, number, used)

    def _fit(self, members: Sequence[Operation], state: State, revision: int) -> bool:
        """Whether all of these could be answered so, and change nothing."""
        return all(self._try(each, state, revision) == state for each in members)

    def _try(self, operation: Operation, state: State, revision: int) -> State | None:
        self.steps += 1
        return _tried(operation, state, revision)

    def _candidates(self, used: int, touches: Collection[bytes]) -> list[tuple[int, Operation]]:
        """Those of unknown outcome that are left and do not commute with what comes next, be it by
        way of one another."""
        reach = set(touches)
        left = [(n, each) for n, each in enumerate(self._unknown) if not used & 1 << n]
        chosen: list[tuple[int, Operation]] = []
        while True:
            more = [each for each in left if reach & self._thing.touches[each[1].number]]
            if not more:
                return sorted(chosen, key=lambda each: each[0])
            chosen += more
            left = [each for each in left if each not in more]
            for _, operation in more:
                reach |= self._thing.touches[operation.number]


def _may_come_anywhere(operation: Operation) -> bool:
    """Whether its place is not known from its answer: it has none, or one without a revision."""
    if operation.kind in READS:
        return False
    missed = operation.kind in (CAS, DELETE) and operation.outcome == OK and not operation.result
    return not missed and (operation.outcome != OK or operation.revision < 0)


def _make_groups(thing: SharedObject) -> list[_Group]:
    """What was answered and what was seen, in the order of revisions."""
    groups: dict[int, _Group] = {}
    for operation in thing.operations:
        if operation.outcome != OK or operation.revision < 0:
            continue
        group = groups.setdefault(operation.revision, _Group(operation.revision))
        group.members.append(operation)
        group.touches |= thing.touches[operation.number]
        for key, number in _numbers(operation):
            if number > 0:
                seen = groups.setdefault(number, _Group(number))
                seen.seen = True
                seen.touches.add(key)
    return [groups[revision] for revision in sorted(groups)]


def _numbers(operation: Operation) -> Iterator[tuple[bytes, int]]:
    if operation.kind == TXN:
        assert operation.command is not None
        pair: Pair = operation.result  # type: ignore[assignment]  # of what was done
        yield from numbers_seen(operation.command, pair)
    elif operation.kind == GET and operation.modified:
        yield operation.key, operation.modified[0]
    elif operation.kind == RANGE:
        seen = (key for key, _ in operation.rows)
        yield from zip(seen, operation.modified, strict=False)
