"""Histories made by hand, by a true store with random clients, and judged by trying everything."""

import itertools

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    GET,
    PUT,
    RANGE,
    READS,
    History,
    Operation,
)
from paxosd.check.register import INITIAL, step

INFINITE = 1 << 40


def op(process, kind, key, invoked, returned, **fields):
    """One operation by hand: acknowledged unless an outcome is given."""
    fields.setdefault("outcome", "ok")
    key = key if isinstance(key, bytes) else key.encode()
    return Operation(process, kind, key, invoked=invoked, returned=returned, **fields)


class TrueStore:
    """A linearizable store: :meth:`apply` gives what ``History.ok`` takes."""

    def __init__(self):
        self.data = {}  # key -> (value, create, modify, version)
        self.revision = 0

    def apply(self, operation):
        return getattr(self, "_" + operation.kind)(operation)

    def _set(self, operation):
        self.revision += 1
        old = self.data.get(operation.key)
        create = old[1] if old else self.revision
        version = old[3] + 1 if old else 1
        self.data[operation.key] = (operation.value, create, self.revision, version)
        return self.revision

    def _put(self, operation):
        return {"revision": self._set(operation)}

    def _cas(self, operation):
        value, _, modified, _ = self.data.get(operation.key, (None, 0, 0, 0))
        if operation.expect_revision >= 0:
            holds = modified == operation.expect_revision
        else:
            holds = value == operation.expect
        if holds:
            return {"result": True, "revision": self._set(operation)}
        return {"result": False, "modified": (modified,)}

    def _delete(self, operation):
        if self.data.pop(operation.key, None) is None:
            return {"result": False, "revision": self.revision}
        self.revision += 1
        return {"result": True, "revision": self.revision}

    def _delete_range(self, operation):
        keys = [key for key in self.data if operation.covers(key)]
        for key in keys:
            del self.data[key]
        self.revision += bool(keys)
        return {"result": len(keys), "revision": self.revision}

    def _get(self, operation):
        value, _, modified, _ = self.data.get(operation.key, (None, 0, 0, 0))
        return {"result": value, "revision": self.revision, "modified": (modified,)}

    def _range(self, operation):
        keys = sorted(key for key in self.data if operation.covers(key))
        return {
            "result": tuple((key, self.data[key][0]) for key in keys),
            "revision": self.revision,
            "modified": tuple(self.data[key][2] for key in keys),
        }


MIX = (PUT,) * 4 + (GET,) * 4 + (CAS,) * 2 + (DELETE, RANGE, DELETE_RANGE)


class Client:
    """One operation at a time against a true store: begin, take effect, end."""

    def __init__(self, name, rng, history, store, *, keys, mix, unknown, revisions, fresh):
        self.name, self.rng, self.history, self.store = name, rng, history, store
        self.keys, self.mix, self.unknown, self.revisions = keys, mix, unknown, revisions
        self.fresh = fresh
        self.operation = None
        self.late = []
        self.count = 0

    def turn(self):
        """One step of whatever is going on; True when an operation has ended."""
        if self.operation is None:
            self.begin()
            return False
        if self.answer is None and self.rng.random() < 0.7:
            self.answer = self.store.apply(self.operation)
            return False
        return self.end()

    def begin(self):
        rng = self.rng
        kind = rng.choice(self.mix)
        fields = {}
        key = rng.choice(self.keys)
        if kind in (RANGE, DELETE_RANGE):
            key, fields["end"] = sorted([key, rng.choice([*self.keys, b"~"])])
        if kind in (PUT, CAS):
            self.count += 1
            value = b"%s.%d" % (self.name.encode(), self.count)
            fields["value"] = value if self.fresh else rng.choice([b"0", b"1", b"2"])
        if kind == CAS:
            held = self.store.data.get(key, (None, 0, 0, 0))
            if rng.random() < 0.5:
                fields["expect"] = held[0] if rng.random() < 0.8 else b"0"
            else:
                fields["expect_revision"] = held[2] if rng.random() < 0.8 else 1
        self.operation = self.history.invoke(self.name, kind, key, **fields)
        self.answer = None

    def end(self):
        operation, self.operation = self.operation, None
        if self.rng.random() < self.unknown:
            self.history.unknown(operation)
            if self.answer is None and self.rng.random() < 0.5:
                self.late.append(operation)
        elif self.answer is None:
            self.history.failed(operation)
        else:
            answer = dict(self.answer)
            if not self.revisions:
                answer = {"result": answer.get("result")}
            self.history.ok(operation, **answer)
        if self.late and self.rng.random() < 0.3:
            self.store.apply(self.late.pop())
        return True


def true_run(
    rng, operations, *, keys=3, clients=3, mix=MIX, unknown=0.0, revisions=True, fresh=True
):
    """A linearizable history, and the store at its end.

    ``unknown``: the part of operations that end unknown, applied before, later or never.
    ``revisions``: whether revisions are recorded; ``fresh``: whether each value is written once.
    """
    history, store = History(), TrueStore()
    names = [b"k%d" % n for n in range(keys)]
    how = {"keys": names, "mix": mix, "unknown": unknown, "revisions": revisions, "fresh": fresh}
    actors = [Client(f"c{n}", rng, history, store, **how) for n in range(clients)]
    ended = 0
    while ended < operations:
        ended += rng.choice(actors).turn()
    for actor in actors:
        if actor.operation is not None and actor.answer is not None:
            actor.end()
    return history, store


# -- trying everything


def brute_force(operations):
    """Whether some order of the operations explains their results, by trying every one; for
    histories without revisions."""
    held = [
        each
        for each in operations
        if each.outcome == "ok" or (each.outcome == "unknown" and each.kind not in READS)
    ]
    certain = [each for each in held if each.outcome == "ok"]
    doubtful = [each for each in held if each.outcome != "ok"]
    for size in range(len(doubtful) + 1):
        for some in itertools.combinations(doubtful, size):
            if _explained({}, [*certain, *some]):
                return True
    return False


def _explained(data, left):
    if not left:
        return True
    first_end = min(_end(each) for each in left)
    for place, each in enumerate(left):
        if each.invoked > first_end:
            continue
        after = _after(data, each)
        if after is not None and _explained(after, left[:place] + left[place + 1 :]):
            return True
    return False


def _end(operation):
    return operation.returned if operation.outcome == "ok" else INFINITE


def _after(data, operation):
    """The data after the operation; None if it would have returned something else."""
    store = TrueStore()
    store.data = {key: (value, 0, 0, 0) for key, value in data.items()}
    answer = store.apply(operation)
    if operation.outcome == "ok" and answer.get("result") != operation.result:
        return None
    return {key: entry[0] for key, entry in store.data.items()}


def brute_force_key(accesses):
    """The same for the accesses to one key, with revisions, by the product's own `step`: it
    judges what a search leaves out, not what a step means."""
    certain = [each for each in accesses if each.definite]
    doubtful = [each for each in accesses if not each.definite]
    return any(
        _stepped(INITIAL, [*certain, *some])
        for size in range(len(doubtful) + 1)
        for some in itertools.combinations(doubtful, size)
    )


def _stepped(state, left):
    if not left:
        return True
    first_end = min(each.returned for each in left)
    for place, each in enumerate(left):
        if each.invoked > first_end:
            continue
        after = step(state, each)
        if after is not None and _stepped(after, left[:place] + left[place + 1 :]):
            return True
    return False
