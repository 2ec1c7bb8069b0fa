"""One member of the small in-memory cluster: its node, its log on a disk, its snapshot."""

import pickle

from paxosd.core.commands import Batch, Entry
from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord, PromiseRecord
from paxosd.core.restart import Restart
from paxosd.core.state.machine import Machine
from paxosd.core.state.snapshot import Restore, SnapshotWalk
from paxosd.core.types import NOOP, NULL_BALLOT


class PickleCodec:
    """Any encoding will do for the core; entries are kept by their pickled form."""

    def encode_batch(self, stamp_ms, entries, reign=None):
        return pickle.dumps((stamp_ms, entries, reign))

    def encode_entry(self, entry):
        return pickle.dumps(tuple(entry))

    def decode_batch(self, value):
        try:
            stamp_ms, entries, reign = pickle.loads(value)
        except pickle.UnpicklingError as error:
            raise ValueError(str(error)) from error
        return Batch(stamp_ms, [Entry(*pickle.loads(blob)) for blob in entries], reign)


def take(machine):
    """A snapshot: (head, sessions, history, rows)."""
    walk = SnapshotWalk(machine, {})
    sessions, rows = [], []
    while some := walk.sessions():
        sessions.append(pickle.dumps(some))
    history = list(iter(walk.history, None))
    while not walk.done:
        rows.append(walk.rows(3, 1 << 20))
    walk.close()
    return walk.head, sessions, history, rows


def make(snapshot):
    """The machine of a snapshot."""
    head, sessions, history, rows = snapshot
    restore = Restore(head)
    for some in sessions:
        restore.sessions(pickle.loads(some))
    for piece in history:
        restore.history(piece)
    for some in rows:
        restore.rows(some)
    return restore.finish()


def is_value(record, floor=0):
    """Whether it is of a slot, from ``floor`` on."""
    return isinstance(record, AcceptRecord | DecisionRecord) and record.slot >= floor


class Member:
    """A node with its disk; ``node`` is None while it is down."""

    def __init__(self, name):
        self.name = name
        self.run_id = 0
        self.durable = []
        self.unsynced = []
        self.group = []
        self.syncing = False
        self.node = None
        self.machine = None
        self.turn_at = None
        self.log = {}
        self.snapshot = None  # a durable one, as ``take`` makes it; and
        self.floor = 1  # the first slot that the log still has
        self.paused = False
        self.inbox = []
        self.joins = False  # it does not know who votes before it has learned it
        self.directory_id = 0
        self.departed = False  # it got Removed, and has ended for good

    def recover(self, check_chosen, *, now_ms):
        """What a start finds on the disk. ``check_chosen(slot, value)`` is called with what was
        applied before."""
        promised, commit, log, votes, decided = NULL_BALLOT, 0, {}, {}, set()
        for record in self.durable:
            if isinstance(record, PromiseRecord):
                promised = record.ballot
            elif isinstance(record, AcceptRecord):
                log[record.slot] = votes[record.slot] = (record.ballot, record.value)
                decided.discard(record.slot)
            elif isinstance(record, DecisionRecord):
                log[record.slot] = (record.ballot, record.value)
                decided.add(record.slot)
            elif isinstance(record, CommitRecord):
                commit = record.slot
            while commit + 1 in decided:
                commit += 1
        machine = Machine() if self.snapshot is None else make(self.snapshot)
        commit = max(commit, machine.applied)
        codec = PickleCodec()
        for slot in range(machine.applied + 1, commit + 1):
            value = log[slot][1]
            check_chosen(slot, value)
            machine.apply(slot, None if value == NOOP else codec.decode_batch(value), value)
        self.log, self.machine = log, machine
        self.unsynced, self.syncing, self.turn_at = [], False, None
        self.paused, self.inbox = False, []
        return Restart(
            machine=machine,
            commit=commit,
            promised=promised,
            accepted={slot: held for slot, held in votes.items() if slot > commit},
            run_id=self.run_id,
            directory_id=self.directory_id,
            now_ms=now_ms,
            wall_ms=int(now_ms),
        )

    def append(self, records):
        """These records are durable now."""
        self.durable.extend(
            record for record in records if is_value(record, self.floor) or not is_value(record)
        )

    def give_back(self, floor):
        """The log begins at ``floor`` from now on."""
        self.floor = max(self.floor, floor)
        for slot in [slot for slot in self.log if slot < self.floor]:
            del self.log[slot]
        self.durable = [
            record
            for record in self.durable
            if is_value(record, self.floor) or not is_value(record)
        ]
