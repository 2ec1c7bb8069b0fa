"""Are transactions atomic, in one order that agrees with real time, each applied once?

    workload = TransactionWorkload(rng, keys)    a client's transactions, drawn from a seed
    record = records.invoke("t1", command, now)  before it is sent; then ok, failed or nothing
    check_transactions(records.all)              the verdict

A transaction touches many keys, so the keys that some transactions share are one object: locality
(Herlihy and Wing) does not let them be searched one by one. What keeps the check near linear: each
answer names its revision, so the order is known and is replayed once over a plain model
(:class:`Model`, which shares no code with the store). Each drawn transaction reads all keys first;
so the whole state before it is in its answer, and one of unknown outcome shows in the next answer:
only there is searched, for a few of them that explain the difference.

Checked: the answer of each is that of the model, so every compare, branch and result; all of its
changes are of one revision (the next one reads it); no two wrote in one revision; and who began
after another had ended has the higher revision, or at least sees that one.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paxosd.check.verdict import CHECKED_OK, VIOLATION, Verdict
from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, TXN, Command, prefix_end
from paxosd.core.transactions import ADD, EQUAL, EVERY, GET_KEY, LESS, NOT_EQUAL, VALUE, VERSION

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
DEPTH_MAX = 4
"""So many of unknown outcome, one after the other, are tried between two answers."""
STEPS_MAX = 20_000

Row = tuple[bytes, int, int, int]
"""Value, create and modify revision, version."""
State = dict[bytes, Row]


@dataclass(slots=True, eq=False)
class TxnRecord:
    """One transaction of one client. Times grow in the order of the calls; ``returned`` -1: open.
    ``pair`` and ``revision``: of its answer."""

    process: str
    command: Command
    invoked: int
    returned: int = -1
    outcome: str = UNKNOWN
    pair: Any = None
    revision: int = -1


class TxnRecords:
    """What the clients of one run asked, and were answered."""

    def __init__(self) -> None:
        self.all: list[TxnRecord] = []
        self._stamp = 0

    def invoke(self, process: str, command: Command) -> TxnRecord:
        """It is about to be sent."""
        self._stamp += 1
        record = TxnRecord(process, command, self._stamp)
        self.all.append(record)
        return record

    def ok(self, record: TxnRecord, result: Any) -> None:
        """It was done: ``(OK, revision, pair)``."""
        self._stamp += 1
        record.outcome, record.returned = OK, self._stamp
        _, record.revision, record.pair = result

    def failed(self, record: TxnRecord) -> None:
        """It was not done, and never will be."""
        record.outcome = FAILED


class Model:
    """The rules of a transaction over a dict, one operation after the other."""

    def __init__(self, state: State) -> None:
        self.state = dict(state)

    def run(self, command: Command, revision: int) -> tuple[int, tuple[Any, ...]]:
        """Do it in this revision; the pair of its answer."""
        _, compares, then, otherwise = command
        held = all(self._holds(each) for each in compares)
        results: list[Any] = []
        for op, *parts in then if held else otherwise:
            if op == PUT:
                self._put(parts[0], parts[1], revision)
                results.append(1)
            elif op == DELETE:
                results.append(int(self.state.pop(parts[0], None) is not None))
            elif op == DELETE_RANGE:
                gone = [key for key in self.state if parts[0] <= key < parts[1]]
                for key in gone:
                    del self.state[key]
                results.append(len(gone))
            elif op == ADD:
                row = self.state.get(parts[0])
                number = (int(row[0]) if row is not None else 0) + parts[1]
                self._put(parts[0], b"%d" % number, revision)
                results.append(number)
            elif op == GET_KEY:
                results.append(self.state.get(parts[0]))
            else:
                results.append(self.run([op, *parts], revision))
        return int(held), tuple(results)

    def _put(self, key: bytes, value: bytes, revision: int) -> None:
        _, create, modify, version = self.state.get(key, (b"", revision, 0, 0))
        self.state[key] = value, create, revision, version + (modify != revision)

    def _holds(self, compare: list[Any]) -> bool:
        target, operator, start, operand, *rest = compare
        if rest:
            keys = [key for key in self.state if start <= key < rest[0]]
            found = [self._one(key, target, operator, operand) for key in keys]
            return all(found) if rest[1] == EVERY else any(found)
        return self._one(start, target, operator, operand)

    def _one(self, key: bytes, target: int, operator: int, operand: Any) -> bool:
        row = self.state.get(key)
        found: Any
        if target == VALUE:
            found = None if row is None else row[0]
        else:
            found = 0 if row is None else row[3]
        if operator in (EQUAL, NOT_EQUAL):
            return bool((found == operand) == (operator == EQUAL))
        return found is not None and bool(found < operand if operator == LESS else found > operand)


def check_transactions(records: Sequence[TxnRecord]) -> Verdict:
    """Judge the transactions of a run, from an empty store on, on keys that nobody else writes."""
    done = [each for each in records if each.outcome == OK]
    words = _real_time_breach(done)
    if words:
        return Verdict(VIOLATION, None, words)
    done.sort(key=lambda each: (each.revision, not _wrote(each), each.returned))
    waiting = [each for each in records if each.outcome == UNKNOWN]
    state: State = {}
    last = -1
    for record in done:
        if _wrote(record) and record.revision == last:
            return Verdict(VIOLATION, None, f"two transactions at revision {last}: {_show(record)}")
        model = Model(state)
        if model.run(record.command, record.revision) != record.pair:
            found = _Explanation(record, waiting, last).find(state)
            if found is None:
                words = f"no order explains the answer to {_show(record)}; the state was {state}"
                return Verdict(VIOLATION, None, words)
            state, used = found
            waiting = [each for each in waiting if each not in used]
            model = Model(state)
            model.run(record.command, record.revision)
        state = model.state
        last = record.revision if _wrote(record) else last
    return Verdict(CHECKED_OK, None, f"{len(done)} transactions in order")


class _Explanation:
    """A search for transactions of unknown outcome that were done just before ``record``."""

    def __init__(self, record: TxnRecord, waiting: list[TxnRecord], last: int) -> None:
        self._record = record
        self._waiting = [each for each in waiting if each.invoked < record.returned]
        numbers = {number for row in _rows(record.pair) for number in row[1:3]}
        self._revisions = sorted(
            {last + 1, *(n for n in numbers if last < n <= record.revision)} - {0}
        )
        self._steps = 0

    def find(
        self, state: State, used: tuple[TxnRecord, ...] = (), at: int = 0
    ) -> tuple[State, tuple[TxnRecord, ...]] | None:
        """The state before the record, and those that were done; None: there is none."""
        if len(used) == DEPTH_MAX:
            return None
        for each in self._waiting:
            if each in used:
                continue
            for place in range(at, len(self._revisions)):
                self._steps += 1
                if self._steps > STEPS_MAX:
                    return None
                model = Model(state)
                model.run(each.command, self._revisions[place])
                if model.state == state:
                    break
                after = Model(model.state)
                if after.run(self._record.command, self._record.revision) == self._record.pair:
                    return model.state, (*used, each)
                deeper = self.find(model.state, (*used, each), place + 1)
                if deeper is not None:
                    return deeper
        return None


def _real_time_breach(done: Sequence[TxnRecord]) -> str:
    ends = sorted(done, key=lambda each: each.returned)
    ended, floor = 0, -1
    for record in sorted(done, key=lambda each: each.invoked):
        while ended < len(ends) and ends[ended].returned < record.invoked:
            floor = max(floor, ends[ended].revision)
            ended += 1
        if record.revision < floor + _wrote(record):
            return f"began after revision {floor} had been answered: {_show(record)}"
    return ""


def _wrote(record: TxnRecord) -> bool:
    """Whether it changed something in the end, judging by the state that it read at its begin."""
    held, results = record.pair
    branch = record.command[2] if held else record.command[3]
    before: State = {}
    for operation, row in zip(branch, results, strict=False):
        if operation[0] != GET_KEY:
            break
        if row is not None:
            before[operation[1]] = row
    model = Model(before)
    model.run([TXN, [], branch, []], record.revision)
    return model.state != before


def _rows(pair: Any) -> list[Row]:
    found: list[Row] = []
    for result in pair[1]:
        if type(result) is tuple and len(result) == 4:
            found.append(result)
        elif type(result) is tuple and len(result) == 2:
            found += _rows(result)
    return found


def _show(record: TxnRecord) -> str:
    return f"{record.process} at revision {record.revision}: {record.command} → {record.pair}"


class TransactionWorkload:
    """The transactions of one client, drawn from a seed. ``keys``: those that all clients share."""

    def __init__(self, process: str, rng: random.Random, keys: Sequence[bytes]) -> None:
        self._process = process.encode()
        self._rng = rng
        *self._keys, self._counter = keys
        self._look = [[GET_KEY, key] for key in keys]
        self._written = 0
        self._seen: dict[bytes, bytes | None] = {}

    def draw(self) -> Command:
        """The next one. Each branch reads all keys before it writes."""
        rng = self._rng
        compares = [self._compare() for _ in range(rng.randint(0, 2))]
        then = [*self._look, *(self._write() for _ in range(rng.randint(0, 3)))]
        if rng.random() < 0.3:
            inner = [TXN, [self._compare()], [self._write()], [self._write(), self._write()]]
            then.insert(rng.randint(len(self._look), len(then)), inner)
        otherwise = [*self._look, *(self._write() for _ in range(rng.randint(0, 1)))]
        return [TXN, compares, then, otherwise]

    def learn(self, pair: Any) -> None:
        """Remember what was seen, so that the next compares often hold."""
        for look, row in zip(self._look, pair[1] or (), strict=False):
            key: bytes = look[1]  # type: ignore[assignment]  # of [GET_KEY, key]
            self._seen[key] = None if row is None else row[0]

    def _compare(self) -> list[Any]:
        rng = self._rng
        key = rng.choice(self._keys)
        lot = rng.random()
        if lot < 0.6:
            return [VALUE, rng.choice((EQUAL, EQUAL, NOT_EQUAL)), key, self._seen.get(key)]
        if lot < 0.8:
            return [VERSION, LESS, key, rng.randint(1, 4)]
        start = self._keys[0][:-1]
        return [VERSION, LESS, start, rng.randint(2, 9), prefix_end(start), rng.randint(0, 1)]

    def _write(self) -> list[Any]:
        rng = self._rng
        lot = rng.random()
        if lot < 0.15:
            return [ADD, self._counter, rng.randint(1, 9)]
        if lot < 0.3:
            return [DELETE, rng.choice(self._keys)]
        if lot < 0.35:
            first, last = sorted(rng.choices(self._keys, k=2))
            return [DELETE_RANGE, first, last]
        self._written += 1
        value = b"%s-%d" % (self._process, self._written)
        return [PUT, rng.choice(self._keys), value]
