"""Nodes that apply the same log are equal, whatever else they do beside it.

    python -m tests.core.state.test_determinism FIRST COUNT    many seeds, a line for each failure

One node serves: snapshots and checksums are made, earlier revisions read, changes collected. One
only applies, and has its batches from bytes of another form. Others begin with a snapshot.
"""

import random
import sys
import traceback

import msgpack
import pytest

from paxosd.core.commands import Batch, Status
from paxosd.core.state.lease_walk import lease_pieces
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import Restore, SnapshotWalk, former_of, lease_of, session_of
from paxosd.core.state.undo_pieces import undo_fingerprint
from paxosd.wire.entry import decode_batch
from paxosd.wire.fields import WireError
from tests.core.state.drawn_log import DrawnLog, shrink_limits
from tests.core.state.keyed_log import KeyedLog
from tests.core.state.parts import fingerprint, page_of

SLOTS = 60
SEEDS = range(8)


class Snapshot:
    """Taken in small steps, beside what is applied meanwhile."""

    def __init__(self, machine):
        self.walk = SnapshotWalk(machine, {})
        self.slot = machine.applied
        self.parts = {"sessions": [], "names": [], "leases": [], "history": [], "rows": []}

    def step(self):
        """Go on; False: there is nothing left."""
        walk, parts = self.walk, self.parts
        if walk.done:
            walk.close()
            return False
        for kind, take in (
            ("sessions", walk.sessions),
            ("names", walk.names),
            ("leases", walk.leases),
            ("history", walk.history),
            ("rows", lambda: walk.rows(2, 1 << 20)),
        ):
            if taken := take():
                parts[kind].append(taken)
                return True
        return True

    def machine(self):
        """A new machine from it, by plain values as a file has them."""
        while self.step():
            pass
        restore = Restore(self.walk.head)
        for rows in self.parts["sessions"]:
            restore.sessions([session_of(_plain(row)) for row in rows])
        for rows in self.parts["names"]:
            restore.names([former_of(_plain(row)) for row in rows])
        for rows in self.parts["leases"]:
            restore.leases([lease_of(_plain(row)) for row in rows])
        for piece in self.parts["history"]:
            restore.history(_plain(piece))
        for rows in self.parts["rows"]:
            restore.rows(_plain(rows))
        return restore.finish()


def _plain(value):
    return tuple(_plain(each) for each in value) if isinstance(value, list | tuple) else value


class Server:
    """A machine that does much beside applying, drawn from a seed of its own."""

    def __init__(self, seed):
        self.machine = Machine()
        self.machine.collect_changes = True
        self.rng = random.Random(f"beside {seed}")
        self.snapshots = []
        self.open = []
        self.changes = {}

    def apply(self, slot, batch, value):
        machine = self.machine
        results = machine.apply(slot, batch, value)
        self.changes[slot], machine.recent_changes = machine.recent_changes, []
        self._work()
        return results

    def _work(self):
        rng, machine = self.rng, self.machine
        if rng.random() < 0.2:
            self.snapshots.append(Snapshot(machine))
            self.open.append(self.snapshots[-1])
        for snapshot in self.open[:]:
            for _ in range(rng.randint(0, 4)):
                if not snapshot.step():
                    self.open.remove(snapshot)
                    break
        if rng.random() < 0.15:
            machine.sum_up()
        machine.advance_checksum(rng.randint(0, 3)) if rng.random() < 0.6 else None
        machine.store.advance_index(rng.choice([0, 0, 1, 5]))
        machine.store.advance_removal(rng.choice([0, 0, 1, 5]))
        machine.sessions.advance(rng.choice([0, 1]))
        if rng.random() < 0.3 and machine.revision > machine.kept_from_revision:
            revision = rng.randint(machine.kept_from_revision, machine.revision)
            view = machine.queries._views.at(revision)
            view.advance(rng.randint(1, 30))
            if view.is_current:
                page_of(view, b"", b"")


def _wide(value):
    """The same value, in a form of msgpack that is longer than it need be."""
    if type(value) is int and 0 <= value < 1 << 32:
        return b"\xcf" + value.to_bytes(8)
    if type(value) is bytes:
        return b"\xc6" + len(value).to_bytes(4) + value
    if type(value) in (list, tuple):
        return b"\xdd" + len(value).to_bytes(4) + b"".join(map(_wide, value))
    return msgpack.packb(value)


def _decoded(batch, pack):
    """The batch as its bytes give it back; itself, if no log can hold it."""
    if batch is None:
        return None
    try:
        entries = [pack(list(each)) for each in batch.entries]
        return decode_batch(pack([batch.stamp_ms, entries, *(batch.reign or ())]))
    except WireError:
        return batch


def state_of(machine):
    """All that two nodes must have in common."""
    store = machine.store
    quota = store.quota
    store.advance_removal(1 << 30)
    held = None if store.hidden_keys else quota.held_bytes
    rows = page_of(store, b"", b"", limit=4000, bytes_max=1 << 30)[0]
    return {
        "applied": machine.applied,
        "revision": machine.revision,
        "time": machine.log_time_ms,
        "reign": machine.latest_reign,
        "settings": machine.settings,
        "rights": machine.rights,
        "rows": rows,
        "count": (len(store), store.count(b"", b"")),
        "sessions": fingerprint(machine.sessions),
        "leases": b"".join(lease_pieces(machine.leases)),
        "by key": machine.leases.by_key,
        "history": (store.undo.floor, store.undo.bytes, b"".join(undo_fingerprint(store.undo))),
        "quota": (held, quota.limit_bytes),
        "chain": machine.chain,
    }


def _check_equal(one, two, what):
    """``two`` may have hidden keys that a walk holds back; then its quota is not compared."""
    for key, value in state_of(one).items():
        other = state_of(two)[key]
        if key == "quota" and None in (value[0], other[0]):
            continue
        assert value == other, f"{what}: {key}"


def _check_quota(machine):
    store = machine.store
    sizes = [len(key) + len(entry[0]) + 150 for key, entry in store.data.items()]
    assert store.quota.held_bytes == sum(sizes)


def compare(seed, *, exotic=False, keyed=False):
    """Apply one drawn log on several nodes. Raises AssertionError where they differ."""
    log = KeyedLog(seed, exotic=exotic) if keyed else DrawnLog(seed, exotic=exotic)
    server, plain = Server(seed), Machine()
    plain.checksums_enabled = False
    later, done = [], []
    for slot in range(1, SLOTS + 1):
        batch = log.next()
        value = repr((batch and batch.stamp_ms, slot)).encode() if batch else b""
        usual, copy = batch, batch
        if not exotic:
            usual, copy = _decoded(batch, msgpack.packb), _decoded(batch, _wide)
        results = server.apply(slot, usual, value)
        assert plain.apply(slot, copy, value) == results, f"slot {slot}: {batch}"
        assert plain.chain == server.machine.chain, f"slot {slot}: {batch}"
        _check_quota(plain)
        _check_quota(server.machine)
        for machine in later:
            assert machine.apply(slot, copy, value) == results, f"restored, slot {slot}: {batch}"
            assert machine.chain == plain.chain, f"restored, slot {slot}: {batch}"
        _check_changes(server, plain, slot, copy)
        if keyed:
            log.check(batch, results)
        done.append((slot, copy, value))
        log.learn(batch, results)
        if slot % 20 == 7:  # from an older snapshot, and from one of now
            for snapshot in [*log.rng.sample(server.snapshots, min(1, len(server.snapshots))),
                             Snapshot(plain)]:  # fmt: skip
                machine = snapshot.machine()
                if log.rng.random() < 0.5:
                    lagging = Machine()
                    for missed in done[: log.rng.randint(0, snapshot.slot - 1)]:
                        lagging.apply(*missed)
                    lagging.adopt(machine)
                    machine = lagging
                for missed in done[snapshot.slot :]:
                    machine.apply(*missed)
                later.append(machine)
    while not server.machine.advance_checksum(100):
        pass
    for snapshot in server.open:
        snapshot.machine()
    server.open = []
    for machine in [server.machine, *later]:
        _check_equal(plain, machine, "the end")


def _check_changes(server, plain, slot, batch):
    """Those that were collected, that are derived from the log, and that the history has."""
    changes = server.changes[slot]
    assert list(map(_spelled, plain.changes_of(slot, batch))) == list(map(_spelled, changes))
    above = [each for each in changes if each.revision > plain.kept_from_revision]
    if above:
        kept = plain.kept_changes(above[0].revision, above[-1].revision)
        assert list(map(_spelled, kept)) == list(map(_spelled, above))


def _spelled(change):
    if not hasattr(change, "keys"):
        return tuple(change)
    values = dict(change.values)
    return change.revision, change.slot, list(change.keys), values, change.reason


def compare_apart(seed):
    """The entries of each batch in slots of their own: the same results and rows."""
    log = DrawnLog(f"apart {seed}", apart=True)
    whole, apart = Machine(), Machine()
    for _ in range(SLOTS):
        batch = log.next()
        results = whole.apply(whole.applied + 1, batch)
        log.learn(batch, results)
        found = []
        for entry in batch.entries if batch else []:
            one = Batch(batch.stamp_ms, [entry], batch.reign)
            found += apart.apply(apart.applied + 1, one)
        assert list(map(_without_slots, found)) == list(map(_without_slots, results)), batch
        for key in ("revision", "time", "rows", "count", "leases", "by key", "quota"):
            assert state_of(apart)[key] == state_of(whole)[key], f"{key}: {batch}"


def _without_slots(results):
    """Settings are in force from the slot after their own."""
    is_change = len(results) == 1 and type(results[0]) is tuple and results[0][0] == Status.OK
    return [each[:2] for each in results] if is_change else results


@pytest.mark.parametrize("seed", SEEDS)
def test_all_nodes_come_to_the_same_state(seed, monkeypatch):
    shrink_limits(monkeypatch)
    compare(seed)
    compare(seed, exotic=True)
    compare(seed, keyed=True)
    compare(seed, exotic=True, keyed=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_where_slots_end_changes_no_result(seed, monkeypatch):
    shrink_limits(monkeypatch, apart=True)
    compare_apart(seed)


def main(first, count):
    runs = {
        "equal": compare,
        "equal, exotic": lambda seed: compare(seed, exotic=True),
        "equal, keyed": lambda seed: compare(seed, keyed=True),
        "equal, keyed, exotic": lambda seed: compare(seed, exotic=True, keyed=True),
        "apart": compare_apart,
    }
    for seed in range(first, first + count):
        for name, run in runs.items():
            with pytest.MonkeyPatch.context() as patch:
                shrink_limits(patch, apart=run is compare_apart)
                try:
                    run(seed)
                except Exception as error:  # noqa: BLE001 - whatever it is, the seed is to be seen
                    where = traceback.extract_tb(error.__traceback__)[-1]
                    print(f"seed {seed} ({name}): {where.name}:{where.lineno}: {error!r:.400}")
    print(f"{count} seeds from {first} on")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
