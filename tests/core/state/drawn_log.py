"""A log drawn from a seed: batches with commands of all kinds, well-formed and not.

    DrawnLog(seed) ── next() ──► batch of the next slot, learning from the results of the one before

Keys and values are few and small, so that commands meet each other; :func:`shrink_limits` makes the
bounds that all nodes share small, too, so that they are met.
"""

import random

from paxosd.core.cluster_settings import DEFAULTS, LEVEL_COORDINATION
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    CLOSE,
    CLUSTER,
    DELETE,
    DELETE_RANGE,
    FENCE,
    GRANT,
    KEEPALIVE,
    MEMBERS,
    OPEN,
    PUT,
    REVOKE,
    TXN,
    Batch,
    Entry,
    Reign,
    Status,
)
from paxosd.core.state import (
    entries,
    key_group,
    kv,
    leases,
    revision_view,
    sessions,
    slot_allowance,
    transaction_run,
    undo_log,
    undo_pieces,
    walk,
)
from paxosd.core.transactions import (
    ADD,
    EQUAL,
    EVERY,
    GET_KEY,
    GET_RANGE,
    GREATER,
    LEASE,
    MODIFY_REVISION,
    SOME,
    VALUE,
    VERSION,
)

KEYS = [b"a", b"a/1", b"a/2", b"b", b"c\0", b"n", b"\xff"]
BULK = [b"k%02d" % number for number in range(40)]
VALUES = [b"", b"0", b"7", b"-3", b"x" * 30, b"y" * 300]
WEIRD = [True, False, 1.0, 15.0, -1, 1 << 63, (1 << 64) - 1, None, "a", b"", [], [1], [[b"a"]], 0.5]
EXOTIC = [bytearray(b"a"), memoryview(b"a"), (1, b"a"), {}, object]
"""What no bytes of a log are decoded to; a machine is to treat it alike in any case."""


def shrink_limits(monkeypatch, *, apart=False):
    """Bounds that all nodes share, so small that a drawn log meets them; ``apart``: but for those
    of one slot."""
    if not apart:
        monkeypatch.setattr(slot_allowance, "STEPS_MAX", 30)
        monkeypatch.setattr(slot_allowance, "IDS_MAX", 6)
        monkeypatch.setattr(leases, "ENDED_PER_SLOT", 3)
    for module, name, value in (
        (entries, "WHOLE_MAX", 20),
        (key_group, "CHUNK", 4),
        (key_group, "SAMPLES_MAX", 8),
        (kv, "REMOVED_AT_ONCE_MAX", 2),
        (kv, "INDEX_LAG_MAX", 12),
        (leases, "KEYS_MAX", 3),
        (revision_view, "GROUP_KEYS_MAX", 8),
        (sessions, "KEPT_BYTES_MAX", 400),
        (sessions, "PIECE_SESSIONS", 2),
        (transaction_run, "KEYS_MAX", 20),
        (transaction_run, "LEASE_KEYS_MAX", 3),
        (undo_log, "BLOCK_REVISIONS", 6),
        (undo_pieces, "PIECE_KEYS", 5),
        (walk, "KEPT_KEYS_MAX", 6),
    ):
        monkeypatch.setattr(module, name, value)


class DrawnLog:
    """See above. ``apart``: what tells slots apart (changes of settings, bounds of one slot) comes
    alone in its batch or not at all, so that the entries of a batch may come in slots of their
    own. ``exotic``: with what no log can hold. ``LEVEL``: the feature level that it comes to."""

    LEVEL = LEVEL_COORDINATION

    def __init__(self, seed, *, exotic=False, apart=False):
        self.rng = random.Random(seed)
        self._exotic = exotic
        self._apart = apart
        self._next = {}  # session → its next seq, and what it acknowledged
        self._leases = [5]
        self._version = 0
        self._level = 0
        self._elapsed_ms = 0
        self._round = 1
        self._revision = 0

    def next(self):
        """The batch of the next slot; None: a NOOP."""
        rng = self.rng
        if not self._version or rng.random() < 0.06:
            return self._batch([Entry(0, 1, 0, [self._settings()])])
        if rng.random() < 0.03:
            return None
        return self._batch([self._entry() for _ in range(rng.randint(1, 4))])

    def learn(self, batch, results):
        """What came of it."""
        for entry, answers in zip(batch.entries if batch else [], results, strict=True):
            if type(entry.commands) is not list:
                continue
            for command, result in zip(entry.commands, answers, strict=True):
                self._learn(entry.session, command, result)

    def _learn(self, session, command, result):
        if type(result) is int:
            self._revision = result
            return
        if result[0] != Status.OK or type(command) is not list or not command:
            return
        if command[0] == OPEN and session == 0:
            self._next.setdefault(result[2], [1, 0])
        elif command[0] == GRANT:
            self._leases = [*self._leases, result[2]][-6:]
        elif command[0] == CLUSTER:
            self._version = result[1]

    # ---- batches and entries

    def _batch(self, drawn):
        rng = self.rng
        self._elapsed_ms += rng.choice([0, 1, 50, 400, 1500])
        draw = rng.random()
        if draw < 0.04:
            self._round += 1
            self._elapsed_ms = 0
        if draw > 0.96:
            return Batch(self._elapsed_ms, drawn, None)
        round_ = self._round - (draw > 0.92)
        return Batch(self._elapsed_ms, drawn, Reign(round_, "n1", self._elapsed_ms))

    def _settings(self):
        rng = self.rng
        if self._version and rng.random() < 0.2:
            return [CLUSTER, rng.choice([0, 99, True]), 0, rng.choice([b"{}", None, b"\xff"])]
        if rng.random() < 0.8:
            self._level = self.LEVEL
        changed = DEFAULTS._replace(
            level=max(1, self._level),
            sessions_max=rng.choice([4, 8]),
            session_ttl_ms=rng.choice([2000, 60_000]),
            session_idle_evict_ms=rng.choice([0, 5000]),
            session_window_max=rng.choice([6, 30, 1000]),
            commands_per_request_max=1,
        )
        if self._level:
            changed = changed._replace(
                leases_max=rng.choice([2, 5]),
                history_revisions=rng.choice([0, 5, 30, 10_000]),
                history_hours=rng.choice([0, 0, 1]),
                history_bytes_max=rng.choice([0, 3000, 1 << 20]),
                quota_bytes=rng.choice([0, 0, 2500, 6000, 1 << 20]),
            )
        return [CLUSTER, self._version, 0, changed.to_command()]

    def _entry(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.15 or not self._next:
            opening = [OPEN, "me"] if rng.random() < 0.3 else [OPEN]
            return Entry(0, rng.choice([1, 1 << 40, (1 << 40) + 1]), 0, [opening])
        if draw < 0.22:
            return Entry(0, 1, 0, [self._sessionless() for _ in range(rng.randint(1, 2))])
        if draw < 0.25:
            return self._odd_entry()
        session = rng.choice(list(self._next))
        first, acked = seqs = self._next[session]
        count = rng.choice([1, 1, 2, 3, 6])
        if rng.random() < 0.3:
            acked = seqs[1] = rng.randint(acked, first - 1)
        commands = [self._command() for _ in range(count)]
        kind = rng.random()
        if kind < 0.12:  # some of it was sent before, or is ahead
            first = max(1, first + rng.randint(-4, 2))
        if kind > 0.9:
            commands = [[PUT, key, self._value()] for key in rng.sample(BULK, 25)]
        seqs[0] = max(seqs[0], first + len(commands))
        return Entry(session, first, acked, commands)

    def _odd_entry(self):
        rng = self.rng
        odd = rng.choice([0, -1, True, 1.0, None, "1"])
        commands = rng.choice([[], [[]], [[PUT, b"a", b"odd"], []], None, (), b"", 3])
        if rng.random() < 0.5:
            commands = [[PUT, b"a", b"odd"]]
        session = rng.choice([1, 2, 77, odd])
        return Entry(session, rng.choice([1, 500, odd]), rng.choice([0, odd]), commands)

    def _sessionless(self):
        rng = self.rng
        if self._apart:
            return rng.choice([[PUT, b"a", b"0"], [], [OPEN, 3], self._weird()])
        fence = [FENCE, rng.choice([*self._next, 99, True]), rng.randint(0, 60)]
        return rng.choice(
            [
                [CHECKSUM],
                fence,
                fence,
                [PUT, b"a", b"0"],
                [MEMBERS, 0, b"{}"],
                [CLOSE],
                self._weird(),
                [OPEN, "you"],
                self._settings() if rng.random() < 0.3 else [],
            ]
        )

    # ---- commands

    def _key(self):
        rng = self.rng
        return rng.choice(KEYS) if rng.random() < 0.7 else rng.choice(BULK)

    def _value(self):
        return self.rng.choice(VALUES)

    def _range(self):
        rng = self.rng
        return rng.choice(
            [(b"a", b"b"), (b"k1", b"k2"), (b"k", b"l"), (b"", b""), (b"k2", b""), (b"b", b"a")]
        )

    def _lease(self):
        return self.rng.choice([*self._leases, 5, 6, 1 << 40])

    def _weird(self):
        rng = self.rng
        choices = WEIRD + EXOTIC if self._exotic else WEIRD
        if rng.random() < 0.2:
            return rng.choice(choices)
        command = self._well_formed()
        for _ in range(rng.randint(1, 2)):
            draw = rng.random()
            if draw < 0.7:
                command[rng.randrange(len(command))] = rng.choice(choices)
            elif draw < 0.85:
                command.append(rng.choice(choices))
            elif len(command) > 1:
                command.pop()
        return tuple(command) if self._exotic and rng.random() < 0.1 else command

    def _command(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.02:
            return [CLOSE]
        if draw < 0.12:
            return self._weird()
        if draw < 0.17:
            # Equal to PUT, and no int.
            return [rng.choice([True, 1.0]), self._key(), self._value()]
        return self._well_formed()

    def _well_formed(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.4:
            return [PUT, self._key(), self._value()]
        if draw < 0.5:
            return [DELETE, self._key()]
        if draw < 0.56:
            return [DELETE_RANGE, *self._range()]
        if draw < 0.62:
            return [CAS_VALUE, self._key(), rng.choice([None, *VALUES]), self._value()]
        if draw < 0.66:
            return [CAS_REVISION, self._key(), rng.randint(0, self._revision + 1), self._value()]
        if draw < 0.7:
            return [GRANT, rng.choice([1000, 2000, 9000]), rng.choice([0, 0, 5, 6])]
        if draw < 0.75:
            count = 1 if self._apart else rng.randint(1, 4)
            return [KEEPALIVE, [self._lease() for _ in range(count)]]
        if draw < 0.77:
            return [REVOKE, self._lease()]
        if draw < 0.84:
            return [PUT, self._key(), self._value(), self._lease()]
        return self._transaction(0)

    def _transaction(self, depth):
        rng = self.rng
        compares = [self._compare() for _ in range(rng.choice([0, 1, 1, 2]))]
        branches = [
            [self._operation(depth) for _ in range(rng.choice([0, 1, 2, 4]))] for _ in range(2)
        ]
        return [TXN, compares, *branches]

    def _compare(self):
        rng = self.rng
        target = rng.choice([VALUE, VERSION, MODIFY_REVISION, LEASE])
        operator = rng.choice([EQUAL, GREATER])
        operand = self._value() if target == VALUE else rng.choice([0, 1, 5, self._revision])
        if rng.random() < 0.3:
            start, end = self._range()
            return [target, operator, start, operand, end, rng.choice([EVERY, SOME])]
        return [target, operator, self._key(), operand]

    def _operation(self, depth):
        rng = self.rng
        draw = rng.random()
        if draw < 0.25:
            return [PUT, self._key(), self._value()]
        if draw < 0.35:
            return [PUT, self._key(), self._value(), self._lease()]
        if draw < 0.45:
            return [DELETE, self._key()]
        if draw < 0.55:
            return [DELETE_RANGE, *self._range()]
        if draw < 0.68:
            return [ADD, b"n", rng.randint(-5, 5)]
        if draw < 0.78:
            return [GET_KEY, self._key()]
        if draw < 0.9 or depth == 2:
            return [GET_RANGE, *self._range(), rng.randint(0, 3), rng.random() < 0.5, False]
        return self._transaction(depth + 1)
