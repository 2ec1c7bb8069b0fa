"""A drawn log of a cluster with keys, and what must hold for each result of it.

    KeyedLog(seed) ── next() ──► batch; check(batch, results) after it was applied

The check knows the rules on its own, from the commands as they are written.
"""

from paxosd.core.cluster_settings import LEVEL_KEYS
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CLOSE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    FENCE,
    GRANT,
    MEMBERS,
    OPEN,
    PUT,
    RIGHTS,
    TXN,
    Entry,
    Status,
)
from paxosd.core.rights import NO_RIGHTS, Principal, RightsTable, admin_of
from paxosd.core.transactions import ADD, GET_KEY, GET_RANGE, is_transaction
from tests.core.state.drawn_log import DrawnLog

KEYS = [bytes([number]) * 32 for number in range(1, 8)]
ROOT = KEYS[0]
PREFIXES = [b"", b"a", b"a/", b"k", b"k1", b"n", b"\xff"]
FORBIDDEN = (Status.MALFORMED, 0, Status.FORBIDDEN)
UNKNOWN = (Status.SESSION_UNKNOWN, 0, None)
DONE = {Status.OK, Status.NOT_FOUND, Status.CAS_MISS, Status.TXN_REFUSED}


class KeyedLog(DrawnLog):
    """See above. ``table`` is the one in force for the next slot."""

    LEVEL = LEVEL_KEYS

    def __init__(self, seed, **options):
        super().__init__(f"keyed {seed}", **options)
        self.table = NO_RIGHTS
        self.keys = {}  # session → the key that opened it
        self.seen = set()  # (session, seq)
        self.checked = self.refused = 0

    # ---- drawing

    def _entry(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.12:
            return Entry(0, 1, 0, [self._rights()])
        if draw < 0.26:
            opening = [OPEN, rng.choice(["", "me"]), self._key_of_somebody()]
            return Entry(0, rng.choice([1, 1 << 40, (1 << 40) + 1]), 0, [opening])
        if draw < 0.32:
            return Entry(0, 1, 0, [self._control() for _ in range(rng.randint(1, 3))])
        return super()._entry()

    def _key_of_somebody(self):
        return self.rng.choice([*KEYS, b"", ROOT])

    def _control(self):
        rng = self.rng
        key = rng.choice([self._key_of_somebody(), b"short", None])
        fence = [FENCE, rng.choice([*self._next, 99, True]), rng.randint(0, 60), key]
        members = [MEMBERS, 0, b"{}", key]
        return rng.choice([fence, fence, members, [*self._settings(), key], self._rights(), [OPEN]])

    def _rights(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.08:
            document = rng.choice([b"{}", None, b"\xff", 3])
            return [RIGHTS, self.table.version, document, b""]
        version = self.table.version if draw < 0.9 else rng.choice([0, 99, True])
        table = self._table()
        return [RIGHTS, version, table.to_command(), rng.choice([b"", ROOT, rng.choice(KEYS)])]

    def _table(self):
        rng = self.rng
        keys = KEYS[1:]
        rng.shuffle(keys)
        some = [admin_of("root", (ROOT, *keys[:1]) if rng.random() < 0.3 else (ROOT,))]
        some += [
            Principal(name, role, self._some_prefixes(), self._some_prefixes(), (keys[place],))
            for place, (name, role) in enumerate([("app", "client"), ("ops", "operator"),
                                                  ("web", "client")], 1)
            if rng.random() < 0.8
        ]  # fmt: skip
        if rng.random() < 0.5:
            some.append(Principal("n1", "peer", keys=(keys[4],)))
        some.sort(key=lambda each: each.name)
        return RightsTable(1, rng.random() < 0.85, tuple(some), frozenset(keys[5:]))

    def _some_prefixes(self):
        return tuple(self.rng.sample(PREFIXES, self.rng.randint(0, 3)))

    # ---- checking

    def check(self, batch, results):
        """What must hold by the table that was in force. Call it after each slot."""
        after, opened = self.table, {}
        for entry, answers in zip(batch.entries if batch else [], results, strict=True):
            if type(entry.commands) is not list or type(entry.session) is not int:
                continue
            for place, (command, result) in enumerate(zip(entry.commands, answers, strict=True)):
                if entry.session == 0:
                    after = self._check_control(command, result, after, opened)
                elif self.table.required:
                    seq = entry.first_seq + place if type(entry.first_seq) is int else 0
                    self._check_command(entry.session, seq, command, result)
        self.keys |= opened
        self.table = after

    def _check_control(self, command, result, after, opened):
        if type(command) not in (list, tuple) or not command or type(result) is int:
            return after
        op, done = command[0], result[0] == Status.OK
        key = command[-1] if type(command[-1]) is bytes and len(command[-1]) == 32 else b""
        who = self.table.by_key.get(key)
        if op == OPEN and done:
            opened[result[2]] = key
            assert not self.table.required or who.role != "peer"
        if self.table.required and done and key:
            needed = {MEMBERS: ("admin", "operator"), CLUSTER: ("admin",), RIGHTS: ("admin",)}
            assert op not in needed or who.role in needed[op], command
        if op == FENCE and result[0] in (Status.COMMITTED, Status.FENCED) and self.table.required:
            owner = self.keys.get(command[1], opened.get(command[1]))
            assert owner == key != b"", command
            assert who is not None
        return after.follow(command[2]) if op == RIGHTS and done else after

    def _check_command(self, session, seq, command, result):
        if (session, seq) in self.seen:
            return  # it may be an answer that was kept
        self.seen.add((session, seq))
        done = type(result) is int or result[0] in DONE
        self.checked += 1
        self.refused += result == FORBIDDEN
        key = self.keys.get(session, b"")
        who = self.table.by_key.get(key)
        if not key:
            assert not done
            assert result != FORBIDDEN
        elif who is None or who.role == "peer":
            assert not done, (command, result)
        elif not self._is_covered(who, command):
            assert not done, (who, command, result)
        elif who.role == "admin":
            assert result != FORBIDDEN, command
        elif command[0] in (PUT, DELETE) and [*map(type, command[1:])] in ([bytes], [bytes] * 2):
            assert result != FORBIDDEN, (who, command)

    def _is_covered(self, who, command):
        if type(command) not in (list, tuple) or not command:
            return who.role == "admin"
        return all(
            any(_is_inside(start, end, prefix) for prefix in (who.read if reads else who.write))
            for reads, start, end in _needs(command)
        )


def _is_inside(start, end, prefix):
    """Whether all keys from ``start`` to ``end`` (None: start alone) begin with ``prefix``."""
    if not prefix:
        return True
    if end is None:
        return start[: len(prefix)] == prefix
    top = bytes([prefix[-1] + 1]) if prefix[-1] < 255 else None
    below_top = top is None or (end != b"" and end <= prefix[:-1] + top)
    return start >= prefix and start[: len(prefix)] == prefix and below_top


def _needs(command):
    """(whether to read, start, end) of each part."""
    op = command[0] if type(command[0]) in (int, bool, float) else None
    if op in (PUT, DELETE, CAS_VALUE, CAS_REVISION) and len(command) > 1:
        if type(command[1]) is bytes:
            yield False, command[1], None
            if op in (CAS_VALUE, CAS_REVISION):
                yield True, command[1], None
    elif op == DELETE_RANGE and len(command) == 3:
        if type(command[1]) is type(command[2]) is bytes:
            yield False, command[1], command[2]
    elif op == TXN and is_transaction(command):
        yield from _parts(command)
    elif op not in (GRANT, CLOSE):
        return


def _parts(transaction):
    for compare in transaction[1]:
        yield True, compare[2], compare[4] if len(compare) == 6 else None
    for operation in [*transaction[2], *transaction[3]]:
        op = operation[0]
        if op == TXN:
            yield from _parts(operation)
        elif op == GET_KEY:
            yield True, operation[1], None
        elif op == GET_RANGE:
            yield True, operation[1], operation[2]
        elif op == ADD:
            yield True, operation[1], None
            yield False, operation[1], None
        else:
            yield False, operation[1], operation[2] if op == DELETE_RANGE else None
